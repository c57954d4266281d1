//! The same data, options and seed give the same bytes, whatever form the data have and whichever
//! other outputs are requested.

use std::collections::BTreeMap;
use std::io::Write as _;

use feamoe_tests::command::Folder;
use feamoe_tests::{repository_file, without_card};

/// CRC-32 of the model of `feamoe demo`, which must be the same with any machine and compiler. A
/// change of the learner, encoder, stream, blob or version changes it. Then print the new value
/// with `cargo run --release -- demo` and `cargo run --release -- inspect
/// feamoe-demo/lending.feamoe`.
const DEMO_CRC32: &str = "c1d2d28b";
/// CRC-32 of its copy for the device, which is `firmware-example/demo.feamoe`.
const DEVICE_CRC32: &str = "87a58081";

/// Trains on these inputs and returns the model. The last input may be `-`, which reads `pipe`.
fn train(folder: &Folder, inputs: &[&str], pipe: &[u8], options: &[&str]) -> Vec<u8> {
    let fixed = ["--schema", "lending.toml", "-o", "m.feamoe"];
    let _ = folder.run_on(pipe, &[&["train"], inputs, &fixed, options].concat()).done();
    folder.read("m.feamoe")
}

/// Returns a model's bytes without the hash of its data and the checksum that covers it.
fn without_provenance(folder: &Folder, mut model: Vec<u8>) -> Vec<u8> {
    folder.write("inspected.feamoe", &model);
    let inspected = folder.run(&["inspect", "inspected.feamoe", "--format", "json"]).json();
    let hex = inspected["training"]["data_sha256"].as_str().unwrap();
    let hash: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    let places: Vec<usize> =
        model.windows(32).enumerate().filter(|(_, bytes)| *bytes == hash).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 1, "the hash stands in the model once");
    model[places[0]..places[0] + 32].fill(0);
    model[12..16].fill(0);
    model
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let (folder, other) = (Folder::with_lending(), Folder::with_lending());
    for options in [
        &[][..],
        &["--fair", "spd=0.03,burden=0.05", "--loss", "competitive"],
        &["--epochs", "2"],
        &["--shuffle", "--epochs", "2", "--seed", "9"],
    ] {
        let model = train(&folder, &["lending.csv"], b"", options);
        assert!(train(&other, &["lending.csv"], b"", options) == model, "{options:?}");
    }
}

#[test]
fn what_is_printed_and_measured_changes_nothing() {
    let folder = Folder::with_lending();
    let model = train(&folder, &["lending.csv"], b"", &[]);
    let again = train(&folder, &["lending.csv"], b"", &["--format", "json", "--window", "7"]);
    assert!(without_card(&again) == without_card(&model));
}

#[test]
fn the_seed_decides() {
    let folder = Folder::with_lending();
    let with = |options: &[&str]| without_provenance(&folder, train(&folder, &["lending.csv"], b"", options));
    assert!(with(&["--seed", "2"]) != with(&["--seed", "3"]));
    assert!(with(&["--shuffle", "--seed", "2"]) == with(&["--shuffle", "--seed", "2"]));
    assert!(with(&["--shuffle", "--seed", "2"]) != with(&["--shuffle", "--seed", "3"]));
    assert!(with(&["--shuffle", "--seed", "2"]) != with(&["--seed", "2"]));
}

#[test]
fn a_pipe_gives_the_bytes_that_the_file_gives() {
    let folder = Folder::with_lending();
    let text = folder.read("lending.csv");
    folder.write("zipped.gz", gzip(&text));
    let zipped = folder.read("zipped.gz");
    for options in [&[][..], &["--shuffle", "--epochs", "2"]] {
        let plain = train(&folder, &["lending.csv"], b"", options);
        assert!(train(&folder, &["-"], &text, options) == plain);
        let from_gzip = train(&folder, &["zipped.gz"], b"", options);
        assert!(train(&folder, &["-"], &zipped, options) == from_gzip);
        // The hash covers the bytes as stored, which differ; everything else is the same.
        assert!(from_gzip != plain);
        assert!(without_provenance(&folder, from_gzip) == without_provenance(&folder, plain));
    }
}

#[test]
fn a_file_in_two_parts_gives_the_model_of_the_whole() {
    let folder = Folder::with_lending();
    let text = folder.text("lending.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let middle = rows.match_indices('\n').nth(1_233).unwrap().0 + 1;
    folder.write("1.csv", format!("{header}\n{}", &rows[..middle]));
    folder.write("2.csv", format!("{header}\r\n\r\n{}", rows[middle..].replace('\n', "\r\n")));
    let whole = train(&folder, &["lending.csv"], b"", &[]);
    let parts = train(&folder, &["1.csv", "2.csv"], b"", &[]);
    assert!(without_provenance(&folder, parts) == without_provenance(&folder, whole));
}

#[test]
fn later_passes_are_learned_from_but_not_measured() {
    let folder = Folder::with_lending();
    let report = |options: &[&str]| {
        let fixed = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--format", "json"];
        folder.run(&[&fixed, options].concat()).json()
    };
    let (one, three) = (report(&[]), report(&["--epochs", "3"]));
    assert_eq!((three["rows"].as_u64(), three["blob"]["crc32"] == one["blob"]["crc32"]), (Some(9_000), false));
    assert_eq!(three["prequential"], one["prequential"]);
}

#[test]
fn the_demo_gives_the_same_files_here_and_everywhere() {
    // The page states the command that made it, so both folders have the same name.
    let demo = || -> (Folder, BTreeMap<String, Vec<u8>>) {
        let (folder, name) = (Folder::new(), "one");
        let text = folder.run(&["demo", "--out", name]).done();
        assert!(text.contains(&format!("$ feamoe train {name}/lending.csv")), "{text}");
        let files = std::fs::read_dir(folder.path(name)).unwrap().map(|entry| {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let bytes = folder.read(&format!("{name}/{file}"));
            (file, bytes)
        });
        let files = files.collect();
        (folder, files)
    };
    let (folder, files) = demo();
    let (_, again) = demo();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "explanation.svg",
            "lending-device.feamoe",
            "lending-new.csv",
            "lending-test.csv",
            "lending.ckpt",
            "lending.csv",
            "lending.feamoe",
            "lending.toml",
            "model-card.md",
            "report.html",
            "scores.csv"
        ]
    );
    for (name, bytes) in &files {
        assert!(again[name] == *bytes, "{name}");
    }
    for (model, crc32) in [("one/lending.feamoe", DEMO_CRC32), ("one/lending-device.feamoe", DEVICE_CRC32)] {
        let inspected = folder.run(&["inspect", model, "--format", "json"]).json();
        assert_eq!(inspected["crc32"], crc32, "see DEMO_CRC32 in this file");
    }
    let on_the_device = std::fs::read(repository_file("firmware-example/demo.feamoe")).unwrap();
    assert!(files["lending-device.feamoe"] == on_the_device, "copy it to firmware-example/demo.feamoe");
}
