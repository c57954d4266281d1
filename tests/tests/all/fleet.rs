//! Promise: a status counts only if it has the key of its device, and only once. Devices that stand
//! out, or that decide a verdict alone, are shown.

use std::path::Path;

use feamoe::judge::fleet::Inbox;
use feamoe::judge::monitor::{Report, report};
use feamoe::judge::received::Names;
use feamoe::judge::verdict::Verdict;
use feamoe::lock::Lock;
use feamoe_engine::fairness::Measure;
use feamoe_engine::format::{HEADER_BYTES, checksum};
use feamoe_engine::monitor::{DeviceId, Key, Monitor, Sender, Status};
use feamoe_engine::schema::Note;
use feamoe_testkit::generate::{Draw, Recipe};
use feamoe_testkit::load;
use feamoe_tests::aligned;
use feamoe_tests::command::Folder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const FEATURES: usize = 2;
type Device = Monitor<2, FEATURES>;

const KEY: [u8; 32] = *b"a key of thirty-two bytes, or so";

/// A monitor of this many records. The second group gets the favourable outcome less often by
/// `bias`.
fn monitor(seed: u64, records: usize, bias: f32) -> Device {
    monitor_of(1, seed, records, bias)
}

/// Like [`monitor`], for the model of this seed.
fn monitor_of(model: u64, seed: u64, records: usize, bias: f32) -> Device {
    let recipe = Recipe { experts: 2, features: FEATURES, gate: 12.0, outputs: 12.0 };
    let bytes = aligned(&recipe.content(model).to_bytes(true));
    let (mut draw, mut monitor) = (Draw::new(seed), Device::new());
    monitor.start(&load::<FEATURES, 4>(bytes.as_slice()), 0).unwrap();
    for _ in 0..records {
        let group = draw.below(2);
        let favourable = draw.between(0.0, 1.0) < if group == 1 { 0.6 - bias } else { 0.6 };
        let p = if favourable { 1.0 } else { 0.0 };
        let token = monitor.observe(p, &[Note::Usual; FEATURES], Some(u8::from(group == 1))).unwrap();
        monitor.label(token, favourable == (draw.below(5) > 0)).unwrap();
    }
    monitor
}

fn sender(device: &str, counter: u64) -> Sender {
    Sender { device: DeviceId::new(device.as_bytes()).unwrap(), counter }
}

/// Returns the status of a device, authenticated with its own key.
fn authenticated(monitor: &Device, device: &str, counter: u64) -> Vec<u8> {
    let sender = sender(device, counter);
    let key = Key::new(KEY).of_device(&sender.device);
    monitor.write_authenticated(&sender, &key, &mut [0; Device::SENT_STATUS_BYTES]).unwrap().to_vec()
}

/// Returns a changed status with a correct length and checksum.
fn mended(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    let length = u32::try_from(bytes.len() - HEADER_BYTES).unwrap();
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&bytes[..HEADER_BYTES], &bytes[HEADER_BYTES..]);
    bytes[12..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn with_key() -> Folder {
    let folder = Folder::new();
    let digits: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.write_secret("fleet.key", digits + "\n");
    folder
}

fn run(folder: &Folder, files: &[&str], more: &[&str]) -> Value {
    let fixed = ["--key-file", "fleet.key", "--require", "spd=0.1", "--format", "json"];
    let ran = folder.run(&[&["monitor", "--status"], files, &fixed, more].concat());
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn hostile_statuses_are_named_and_decide_nothing() {
    let folder = with_key();
    let honest: Vec<String> = (0..5).map(|device| format!("pump-{device}.status")).collect();
    for (seed, file) in honest.iter().enumerate() {
        let monitor = monitor(seed as u64, 400, 0.0);
        folder.write(file, authenticated(&monitor, file.trim_end_matches(".status"), 10));
    }
    let liar = monitor(99, 4_000, 0.5);
    let mut buffer = [0; Device::SENT_STATUS_BYTES];
    // Authenticated with another key: an unknown one, the key of the fleet, the key of another
    // device.
    let wrong = |key: &Key| {
        let mut buffer = [0; Device::SENT_STATUS_BYTES];
        liar.write_authenticated(&sender("pump-1", 11), key, &mut buffer).unwrap().to_vec()
    };
    folder.write("wrong-key", wrong(&Key::new([7; 32])));
    folder.write("fleet-key", wrong(&Key::new(KEY)));
    folder.write("others-key", wrong(&Key::new(KEY).of_device(&sender("pump-2", 0).device)));
    let of_pump = folder.read("pump-1.status");
    let sender_at = of_pump.len() - 40;
    // A correct MAC with other content: a newer counter, other counts, the MAC cut off.
    folder.write("counter", mended(of_pump.clone(), |bytes| bytes[sender_at + 16] = 11));
    folder.write("device", mended(of_pump.clone(), |bytes| bytes[sender_at + 5] = b'7'));
    folder.write(
        "stripped",
        mended(of_pump.clone(), |bytes| {
            bytes.truncate(bytes.len() - 16);
            bytes[6] = 0;
        }),
    );
    folder.write("unnamed", liar.write(&mut buffer).unwrap());
    folder.write("flipped", {
        let mut bytes = of_pump.clone();
        bytes[30] ^= 1;
        bytes
    });
    folder.write("cut", &of_pump[..of_pump.len() - 1]);
    folder.write("copy", &of_pump);
    folder.write("older", authenticated(&liar, "pump-2", 9));
    folder.write("twin-1", authenticated(&liar, "pump-9", 3));
    folder.write("twin-2", authenticated(&monitor(98, 4_000, 0.5), "pump-9", 3));
    let expected = [
        ("counter", Some("pump-1"), Some(11), "forged"),
        ("device", Some("pump-7"), Some(10), "forged"),
        ("fleet-key", Some("pump-1"), Some(11), "forged"),
        ("others-key", Some("pump-1"), Some(11), "forged"),
        ("wrong-key", Some("pump-1"), Some(11), "forged"),
        ("stripped", Some("pump-1"), Some(10), "not_authenticated"),
        ("unnamed", None, None, "not_authenticated"),
        ("cut", None, None, "damaged"),
        ("flipped", None, None, "damaged"),
        ("twin-1", Some("pump-9"), Some(3), "conflicting"),
        ("twin-2", Some("pump-9"), Some(3), "conflicting"),
        ("copy", Some("pump-1"), Some(10), "replayed"),
        ("older", Some("pump-2"), Some(9), "superseded"),
    ];
    let honest: Vec<&str> = honest.iter().map(String::as_str).collect();
    let hostile: Vec<&str> = expected.iter().map(|(file, ..)| *file).collect();
    let alone = run(&folder, &honest, &[]);
    assert_eq!((&alone["refused"], &alone["authenticated"]), (&json!([]), &json!(true)));
    assert_eq!((&alone["requirements"][0]["verdict"], &alone["rows"]), (&json!("met"), &json!(2_000)));
    let mut among = run(&folder, &[&honest[..], &hostile].concat(), &[]);
    let refused = expected.map(|(file, device, counter, why)| {
        json!({"file": file, "device": device, "counter": counter, "why": why, "found": null})
    });
    assert_eq!(among["refused"].take(), json!(refused));
    // Nothing else may differ.
    among["refused"] = json!([]);
    assert_eq!(among, alone);
    // The order does not matter, except that the first of two equal statuses counts.
    let reversed: Vec<&str> = [&honest[..], &hostile].concat().into_iter().rev().collect();
    let reversed = run(&folder, &reversed, &[]);
    assert_eq!((&reversed["fairness"], &reversed["rows"]), (&alone["fairness"], &alone["rows"]));
    assert_eq!(reversed["refused"].as_array().unwrap().len(), expected.len());

    let files = [&honest[..], &hostile].concat();
    let ran = folder.run(&[&["monitor", "--key-file", "fleet.key", "--status"], &files[..]].concat());
    let (text, said) = (ran.stdout.clone(), ran.stderr.clone());
    assert_eq!(ran.code, Some(0));
    assert!(said.starts_with("statuses that do not count: 5 forged: a wrong MAC, 2 without a MAC, 2 not a status, or damaged, 2 one of several"), "{said}");
    assert!(
        text.contains(", authenticated; without the counters of an earlier run (--seen), it is unknown whether they were seen before\n")
            && text.contains("wrong-key (device pump-1), counter 11 does not count: forged: a wrong MAC\n"),
        "{text}"
    );
    let refusal = folder.refusal(&["monitor", "--key-file", "fleet.key", "--status", "cut", "unnamed", "wrong-key"]);
    let expected = "found no status that counts: 1 forged: a wrong MAC, 1 without a MAC, 1 not a status, or damaged; the first is wrong-key";
    assert_eq!(refusal, expected);
}

#[test]
fn without_a_key_the_report_says_that_nothing_is_authenticated() {
    let folder = with_key();
    let (small, large) = (monitor(1, 100, 0.0), monitor(1, 300, 0.0));
    let mut buffer = [0; Device::SENT_STATUS_BYTES];
    folder.write("old", small.write_from(&sender("a", 1), &mut buffer).unwrap());
    folder.write("new", authenticated(&large, "a", 2));
    folder.write("unnamed", small.write(&mut buffer).unwrap());
    folder.write("unnamed-too", small.write(&mut buffer).unwrap());
    let ran = folder.run(&["monitor", "--status", "old", "new", "unnamed", "unnamed-too"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr, "statuses that do not count: 1 superseded by a newer status of the device\n");
    assert!(
        ran.stdout.contains("3 statuses of model ")
            && ran.stdout.contains(", not authenticated: anyone could have written them\nrows 500 "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("old (device a), counter 1 does not count: superseded"), "{}", ran.stdout);
    let usage = folder.run(&["monitor", "--status", "new", "--seen", "seen.json"]).usage_refused();
    assert!(usage.contains("required arguments were not provided"), "{usage}");
}

#[test]
fn what_was_seen_before_counts_no_more() {
    let folder = with_key();
    let statuses = [("a", 5), ("b", 1), ("a", 6), ("b", 1), ("c", 0)];
    for (at, (device, counter)) in statuses.into_iter().enumerate() {
        folder.write(&format!("{at}"), authenticated(&monitor(at as u64, 50, 0.0), device, counter));
    }
    let rows = |files: &[&str]| {
        let report = run(&folder, files, &["--seen", "seen.json"]);
        (report["rows"].as_u64().unwrap(), report["refused"].as_array().unwrap().len())
    };
    assert_eq!(rows(&["0", "1"]), (100, 0));
    let first = "{\n  \"61000000000000000000000000000000\": 5,\n  \"62000000000000000000000000000000\": 1\n}\n";
    assert_eq!(folder.text("seen.json"), first);
    // If all statuses were seen before, the command fails and the list stays the same.
    let again = ["monitor", "--key-file", "fleet.key", "--seen", "seen.json", "--status", "0", "1", "3"];
    let refusal = folder.refusal(&again);
    assert_eq!(refusal, "found no status that counts: 3 replayed: seen before; the first is 0");
    assert_eq!(folder.text("seen.json"), first);
    assert_eq!(rows(&["0", "1", "2", "3"]), (50, 3));
    // A counter of 0 is valid, and counts once.
    assert_eq!(rows(&["4", "2"]), (50, 1));
    assert!(folder.text("seen.json").contains("\"63000000000000000000000000000000\": 0"));
    for damaged in ["", "[]", "{\"a\": 1}", "{\"61000000000000000000000000000000\": -1}", "\u{fffd}"] {
        folder.write("seen.json", damaged);
        let refusal = folder.refusal(&again);
        assert!(refusal.starts_with("seen.json: the file is not a list of counters"), "{refusal}");
        assert_eq!(folder.text("seen.json"), damaged);
    }
    for key in ["", "00", &"0".repeat(65), &"g".repeat(64), &format!("{}\u{e9}", "0".repeat(62))] {
        folder.write_secret("fleet.key", key);
        let refusal = folder.refusal(&["monitor", "--key-file", "fleet.key", "--status", "0"]);
        assert!(refusal.starts_with("fleet.key: found no key, expected 64 hexadecimal digits"), "{refusal}");
        assert!(key.is_empty() || key == "00" || !refusal.contains(key), "the key is shown");
    }
}

/// A device with a valid key may send inconsistent counts: its status is left out and shown, and
/// the others still count.
#[test]
fn what_does_not_add_up_is_left_out_and_shown() {
    let folder = with_key();
    let honest = ["a", "b", "c"];
    for (seed, device) in (1..).zip(honest) {
        folder.write(device, authenticated(&monitor(seed, 200, 0.0), device, 1));
    }
    let alone = run(&folder, &honest, &[]);
    folder.write("other", authenticated(&monitor_of(2, 9, 5_000, 0.5), "d", 1));
    let mut three = Monitor::<3, FEATURES>::new();
    let bytes =
        aligned(&Recipe { experts: 2, features: FEATURES, gate: 12.0, outputs: 12.0 }.content(1).to_bytes(true));
    three.start(&load::<FEATURES, 4>(bytes.as_slice()), 0).unwrap();
    let key = Key::new(KEY).of_device(&sender("e", 0).device);
    folder.write("three", three.write_authenticated(&sender("e", 1), &key, &mut [0; 4_000]).unwrap());
    // Devices with counts near the largest counter: of decisions, or of labels or distances for few
    // decisions.
    let like = monitor(1, 200, 0.0);
    let mut counts = [0; 14];
    counts[FALSE_POSITIVE] = u32::MAX - 100;
    folder.write("full", counting(&like, &sender("f", 1), u32::MAX - 100, counts));
    let ends = [("found", FOUND, 0), ("labels", LABELLED, 0), ("nearly", LABELLED + 2, 30), ("without", FOUND + 1, 0)];
    for (file, cell, less) in ends {
        let mut counts = [0; 14];
        counts[FALSE_POSITIVE] = 60;
        counts[cell] = u32::MAX - less;
        folder.write(file, counting(&like, &sender(file, 1), 60, counts));
    }
    // The liars come first: neither the first nor the largest status decides which model and groups
    // the report is about.
    let liars = ["full", "labels", "found", "nearly", "without", "three", "other"];
    let mut among = run(&folder, &[&liars[..], &honest].concat(), &[]);
    let refused: Vec<(String, String)> = among["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            assert!(text("found").starts_with("found "), "{one}");
            (text("file"), text("why"))
        })
        .collect();
    let past = ["found", "full", "labels", "nearly", "without"].map(|file| (file, "past_counters"));
    let expected = [&[("other", "other_model"), ("three", "other_groups")][..], &past].concat();
    let expected: Vec<_> = expected.iter().map(|(file, why)| ((*file).to_owned(), (*why).to_owned())).collect();
    assert_eq!(refused, expected);
    among["refused"] = json!([]);
    assert_eq!(among, alone);
    // Alone, its counts are reported as they are.
    assert_eq!(run(&folder, &["full"], &[])["refused"], json!([]));
}

/// Indices of counts in a tally: favourable decisions, labelled records, distances.
const FALSE_POSITIVE: usize = 1;
const LABELLED: usize = 5;
const FOUND: usize = 11;

/// Returns the authenticated status of a device that has the model of `like` and these counts in
/// group 0.
fn counting(like: &Device, sender: &Sender, observed: u32, group: [u32; 14]) -> Vec<u8> {
    let varint = |mut number: u32| {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let written = like.write_from(sender, &mut [0; Device::SENT_STATUS_BYTES]).unwrap().to_vec();
    let model = Status::read(&written).unwrap().model_crc32();
    let start = varint(model).len();
    // Model and threshold; the numbers of groups, features, events and dropped events, `since`;
    // observed records, input notes; the counts without a group, of group 0 and of group 1; two
    // features.
    let payload = [
        &written[HEADER_BYTES..][..start + 4],
        &[2, 2, 0, 0, 0],
        &varint(observed),
        &[0; 3],
        &[0; 14],
        &group.map(varint).concat(),
        &[0; 14],
        &[0; 6],
        sender.device.as_bytes(),
        &sender.counter.to_le_bytes(),
        &[0; 16],
    ];
    let bytes = [&written[..HEADER_BYTES], &payload.concat()].concat();
    mended(bytes, |bytes| {
        bytes[6] = 1;
        let (end, length) = (bytes.len() - 16, bytes.len() - HEADER_BYTES);
        bytes[8..12].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        // HMAC (RFC 2104).
        let key = Key::new(KEY).of_device(&sender.device);
        let block = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.as_bytes().get(at).unwrap_or(&0) ^ pad).collect() };
        let inner = Sha256::digest([&block(0x36)[..], &bytes[..12], &bytes[HEADER_BYTES..end]].concat());
        let mac = Sha256::digest([&block(0x5c)[..], &inner[..]].concat());
        bytes[end..].copy_from_slice(&mac[..16]);
    })
}

/// A device whose status is withheld or damaged is listed as silent, if an earlier run has seen it.
#[test]
fn devices_that_fall_silent_are_listed() {
    let folder = with_key();
    for (seed, device) in (1..).zip(["a", "b", "j"]) {
        folder.write(device, authenticated(&monitor(seed, 1_000, 0.0), device, 1));
        folder.write(&format!("{device}2"), authenticated(&monitor(seed, 1_000, 0.0), device, 2));
    }
    let command = |files: &[&str], more: &[&str]| {
        let fixed = ["monitor", "--key-file", "fleet.key", "--seen", "seen.json", "--require", "spd=0.2", "--status"];
        folder.run(&[&fixed, files, more].concat())
    };
    let first = command(&["a", "b", "j"], &["--strict"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stderr.starts_with("note: seen.json does not exist; this run creates it"), "{}", first.stderr);
    assert!(
        first.stdout.contains("without the counters of an earlier run (--seen), it is unknown"),
        "{}",
        first.stdout
    );
    let begun = folder.text("seen.json");
    // The list may have been edited by hand, with upper-case digits.
    assert_ne!(begun.to_uppercase(), begun);
    folder.write("seen.json", begun.to_uppercase());
    // Of the three devices, a sends a new status, b the old one again, and j a damaged one.
    let mut damaged = folder.read("j2");
    damaged[30] ^= 1;
    folder.write("damaged", damaged);
    let ran = command(&["a2", "b", "damaged"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains(", authenticated\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("devices in --seen without a status that counts: 2;"), "{}", ran.stderr);
    assert!(
        ran.stdout.contains(
            "device b: no status that counts since counter 1\ndevice j: no status that counts since counter 1"
        ),
        "{}",
        ran.stdout
    );
    assert_eq!(folder.text("seen.json"), begun.replacen(": 1", ": 2", 1));
    folder.write("seen.json", &begun);
    let strict = command(&["a2", "b", "damaged"], &["--strict", "--format", "json"]);
    assert_eq!(strict.code, Some(1), "{}", strict.stderr);
    let report: Value = serde_json::from_str(&strict.stdout).unwrap();
    assert_eq!(report["silent"], json!([{"device": "b", "counter": 1}, {"device": "j", "counter": 1}]));
    assert_eq!((&report["authenticated"], &report["replays_excluded"]), (&json!(true), &json!(true)));
    // Another run holds the lock of the list.
    let lock = Lock::beside(&folder.path("seen.json")).unwrap();
    let refused = command(&["a2", "b2"], &[]).refused();
    assert!(refused.contains("seen.json: another process is writing this file"), "{refused}");
    drop(lock);
    // A link to a status in the same run is that status again, so it is refused as replayed.
    #[cfg(unix)]
    std::os::unix::fs::symlink("j2", folder.path("link")).unwrap();
    folder.write("seen.json", &begun);
    let linked = command(&["a2", "b2", "j2", "link"], &["--strict", "--format", "json"]);
    assert_eq!(linked.code, Some(0), "{}", linked.stderr);
    let report: Value = serde_json::from_str(&linked.stdout).unwrap();
    assert_eq!(report["refused"][0]["why"], json!("replayed"));
}

/// A device whose only status is refused is also silent, and the run reports a failure.
#[test]
fn authentic_statuses_that_are_refused_are_no_success() {
    let folder = with_key();
    let of = |file: &str, monitor: &Device, device: &str, counter| {
        folder.write(file, authenticated(monitor, device, counter));
    };
    for (seed, device) in (1..).zip(["a", "b", "c", "d"]) {
        of(device, &monitor(seed, 1_000, 0.0), device, 1);
        of(&format!("{device}2"), &monitor(seed, 1_000, 0.0), device, 2);
    }
    of("other", &monitor_of(2, 9, 1_000, 0.0), "d", 3);
    of("twin", &monitor(9, 900, 0.0), "d", 2);
    let mut counts = [0; 14];
    counts[LABELLED] = u32::MAX;
    folder.write("full", counting(&monitor(1, 200, 0.0), &sender("d", 3), 0, counts));
    let command = |files: &[&str]| {
        let fixed = ["monitor", "--key-file", "fleet.key", "--seen", "seen.json", "--require", "spd=0.2"];
        let ran = folder.run(&[&fixed[..], &["--strict", "--format", "json", "--status"], files].concat());
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let silent: Vec<String> = report["silent"]
            .as_array()
            .unwrap()
            .iter()
            .map(|silent| silent["device"].as_str().unwrap().to_owned())
            .collect();
        (ran.code, silent.concat(), report["replays_excluded"] == true)
    };
    assert_eq!(command(&["a", "b", "c", "d"]), (Some(0), String::new(), false));
    let begun = folder.text("seen.json");
    for refused in [&["other"][..], &["full"], &["d2", "twin"], &["d2", "other"]] {
        folder.write("seen.json", &begun);
        assert_eq!(command(&[&["a2", "b2", "c2"], refused].concat()), (Some(1), "d".to_owned(), true), "{refused:?}");
        // The run also fails for a device that was never seen before.
        std::fs::remove_file(folder.path("seen.json")).unwrap();
        assert_eq!(command(&[&["a2", "b2", "c2"], refused].concat()), (Some(1), String::new(), false));
    }
    folder.write("seen.json", &begun);
    assert_eq!(command(&["a2", "b2", "c2", "d", "d2"]), (Some(0), String::new(), true));
}

/// A status that was superseded or in conflict does not count in a later run either. A status of
/// another model still counts in a run for that model.
#[test]
fn what_was_refused_for_good_counts_in_no_later_run() {
    let folder = with_key();
    for (file, device, counter, model) in [
        ("a", "a", 1, 1),
        ("b", "b", 1, 1),
        ("c10", "c", 10, 1),
        ("c11", "c", 11, 2),
        ("d", "d", 4, 1),
        ("a2", "a", 2, 1),
    ] {
        folder.write(file, authenticated(&monitor_of(model, counter, 50, 0.0), device, counter));
    }
    folder.write("twin", authenticated(&monitor(9, 50, 0.0), "d", 4));
    let whys = |files: &[&str]| {
        let report = run(&folder, files, &["--seen", "seen.json"]);
        let refused = report["refused"].as_array().unwrap();
        refused.iter().map(|one| one["why"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = whys(&["a", "b", "c10", "c11", "d", "twin"]);
    assert_eq!(first, ["conflicting", "conflicting", "other_model", "superseded"]);
    assert_eq!(whys(&["a2", "c10", "d", "twin"]), ["replayed"; 3]);
    assert_eq!(whys(&["c11"]), [""; 0]);
    // A conflict is remembered even if no status counted.
    std::fs::remove_file(folder.path("seen.json")).unwrap();
    let none = folder.run(&["monitor", "--key-file", "fleet.key", "--seen", "seen.json", "--status", "d", "twin"]);
    assert!(none.stderr.contains("error: found no status that counts: 2 one of several"), "{}", none.stderr);
    assert_eq!(whys(&["a", "d"]), ["replayed"]);
}

/// The command derives the same keys as the engine, and only the owner can read the key files.
#[test]
fn the_command_derives_the_keys_of_devices() {
    let folder = with_key();
    let derive = |id: &str, file: &str| {
        folder.run(&["sign", "--device-key", id, "--key-file", "fleet.key", "-o", file, "--format", "json"])
    };
    for (id, shown, bytes) in [
        ("pump-7", "pump-7", b"pump-7".to_vec()),
        (
            "0102030405060708090a0b0c0d0e0fF0",
            "0102030405060708090a0b0c0d0e0ff0",
            [(1..=15).collect(), vec![0xf0]].concat(),
        ),
    ] {
        let report = derive(id, shown).json();
        assert_eq!(report["device"], shown);
        let key = Key::new(KEY).of_device(&DeviceId::new(&bytes).unwrap());
        let digits: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(folder.text(shown), digits + "\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(folder.path(shown).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    let shown = derive("pump-8", "-").refused();
    assert!(shown.contains("expected a file: the key is secret") && !folder.path("-").exists(), "{shown}");
    let again = derive("pump-8", "pump-7").refused();
    assert!(again.contains("pump-7"), "{again}");
    for id in ["", "a b", "seventeen-letters", &"g".repeat(32)] {
        let usage = derive(id, "x").usage_refused();
        assert!(usage.contains("expected 1 to 16 visible ASCII characters"), "{usage}");
    }
    #[cfg(unix)]
    for mode in [0o640, 0o604, 0o620] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.path("fleet.key"), std::fs::Permissions::from_mode(mode)).unwrap();
        for arguments in [
            &["monitor", "--key-file", "fleet.key", "--status", "x"][..],
            &["sign", "--device-key", "a", "--key-file", "fleet.key", "-o", "x"],
        ] {
            let refused = folder.refusal(arguments);
            assert!(
                refused.starts_with(&format!("fleet.key: found mode {mode:03o}, with which others may")),
                "{refused}"
            );
        }
    }
}

/// Returns the library's report on these files.
fn judged(files: &[Vec<u8>], folder: &Path) -> Report {
    let mut inbox = Inbox::new(Some(Key::new(KEY)));
    for (at, bytes) in files.iter().enumerate() {
        let path = folder.join(format!("{at}"));
        std::fs::write(&path, bytes).unwrap();
        inbox.read(&path).unwrap();
    }
    report(&inbox.settle(None, &Names::default()), &Names::default(), &[(Measure::Spd, 0.1)]).unwrap()
}

/// A lying device with a valid key, and with as many records as all the others together.
#[test]
fn one_liar_among_a_thousand_devices_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let of = |device: usize, records: usize, bias: f32| {
        authenticated(&monitor(device as u64, records, bias), &format!("device-{device}"), 1)
    };
    let mut files: Vec<Vec<u8>> = (0..1_000).map(|device| of(device, 60, 0.0)).collect();
    let honest = judged(&files, folder.path());
    assert_eq!(honest.requirements[0].verdict, Verdict::Met);
    assert_eq!((honest.outliers.len(), honest.decisive.len()), (0, 0), "{:?}", honest.outliers);
    files[700] = of(700, 60_000, 0.5);
    let lied = judged(&files, folder.path());
    assert_eq!(lied.requirements[0].verdict, Verdict::NotMet);
    let decisive: Vec<Option<&str>> = lied.decisive.iter().map(|decisive| decisive.device.as_deref()).collect();
    assert_eq!(decisive, [Some("device-700")]);
    assert_eq!((lied.decisive[0].measure, lied.decisive[0].without), ("spd", Verdict::Met));
    let first = &lied.outliers[0];
    assert_eq!((first.device.as_deref(), first.measure, first.group.as_str()), (Some("device-700"), "spd", "group 1"));
    assert!(first.interval[1] < -0.3, "{first:?}");
}

/// Few fleets of similar devices have an outlier. A device that decides differently is found, even
/// with as many records as each of the others.
#[test]
fn outliers_are_beyond_chance() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alarms, mut found) = (0, 0);
    for fleet in 0..40 {
        let of =
            |device: u64, bias: f32| authenticated(&monitor(1_000 * fleet + device, 80, bias), &format!("{device}"), 1);
        let mut files: Vec<Vec<u8>> = (0..40).map(|device| of(device, 0.0)).collect();
        alarms += usize::from(!judged(&files, folder.path()).outliers.is_empty());
        files[3] = of(3, 0.55);
        let outliers = judged(&files, folder.path()).outliers;
        found += usize::from(outliers.first().is_some_and(|first| first.device.as_deref() == Some("3")));
    }
    // About 2 of 40 false alarms by chance; more than 6 occur once in 300 runs.
    assert!(alarms <= 6 && found >= 36, "{alarms} false alarms, {found} found");
}
