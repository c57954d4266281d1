#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| feamoe_tests::fuzz::schema(data));
