//! Promise: the example loads its model from flash and prints the same bits as the host computes. A
//! damaged model is refused with exit code 1.

use std::fs;

use feamoe::model::{AlignedBytes, HostModel};
use feamoe_engine::schema::Kind;
use feamoe_tests::firmware::vectors::Capacity;
use feamoe_tests::{firmware, repository_file};

/// Number of records in the example.
const RECORDS: usize = 3;

#[test]
fn example_prints_the_bits_of_the_host_on_every_board() {
    for board in firmware::boards().filter(|board| board.bare && board.available()) {
        let image = board.build("firmware-example", "release", "").unwrap();
        let printed = firmware::run(&image, &firmware::folder()).unwrap();
        assert_prints_the_bits_of_the_host(&printed);
        assert_eq!(printed.contains("\ninstructions "), board.counts, "{printed}");
    }
}

fn assert_prints_the_bits_of_the_host(printed: &str) {
    let blob = AlignedBytes::read(&firmware::folder().join("demo.feamoe")).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let mut table = csv::Reader::from_path(firmware::folder().join("demo.csv")).unwrap();
    let columns = table.headers().unwrap().clone();
    let mut shown = 0;
    for (number, row) in (1..).zip(table.records().take(RECORDS)) {
        let row = row.unwrap();
        let mut record = model.record();
        for (column, cell) in columns.iter().zip(row.iter()).filter(|(_, cell)| !cell.is_empty()) {
            let Ok(index) = model.schema().feature_index(column) else { continue };
            _ = match model.schema().features()[index.0].kind() {
                Kind::Number { .. } => record.set_number(index, cell.parse().unwrap()).unwrap(),
                Kind::Category { .. } => record.set_category(index, cell).unwrap(),
            };
        }
        let path = model.explain(&record).unwrap();
        let mut frozen = path;
        model.frozen_into(&record, &mut frozen).unwrap();
        let p = path.score.probability;
        assert!(printed.contains(&format!("record {number}: p {p:.6} [{:08x}]", p.to_bits())), "{printed}");
        for (expert, gate) in (1..).zip(path.score.gate.iter().take(model.experts())) {
            let bits = format!("gate of expert {expert:2} {gate:10.6} [{:08x}]", gate.to_bits());
            assert!(printed.contains(&bits), "{bits}: {printed}");
        }
        for (frozen, path) in frozen.values.iter().zip(&path.values).take(model.schema().features().len()) {
            let bits = format!("{frozen:+10.6} [{:08x}] {path:+10.6} [{:08x}]", frozen.to_bits(), path.to_bits());
            assert!(printed.contains(&bits), "{bits}: {printed}");
        }
        shown += 1;
    }
    assert_eq!(shown, RECORDS);
}

/// Two integer models in slots, a monitor, power cuts at every word, and a failed trial:
/// `engine/examples/field/device.rs` checks itself. The small board has too little RAM for a
/// monitor of two groups and its stored state.
#[test]
fn a_device_in_the_field_lives_through_cuts_and_a_failed_trial_on_every_board() {
    for board in firmware::boards().filter(|board| board.bare && board.capacity != Capacity::SMALL && board.available())
    {
        // Signatures are verified on one board only, for which the dependencies are built anyway.
        let features = if board.target == "thumbv7em-none-eabihf" { "signed" } else { "" };
        let image = board.build("field", "release", features).unwrap();
        let printed = firmware::run(&image, &firmware::folder()).unwrap();
        let model = fs::read(repository_file("engine/golden/field-v2.feamoe")).unwrap();
        let crc32 = u32::from_le_bytes(*model[12..].first_chunk().unwrap());
        let confirmed = format!("confirmed: model {crc32:08x}, 8 records counted\n");
        assert!(printed.contains(&confirmed), "{}: {printed}", board.target);
        let is_refused = printed.contains("counter 2: the older model ");
        assert_eq!(is_refused, !features.is_empty(), "{}: {printed}", board.target);
        assert!(printed.contains("\nboth slots lost: "), "{}: {printed}", board.target);
    }
}

#[test]
fn example_refuses_a_damaged_model() {
    if !firmware::available() {
        return;
    }
    // A separate build folder, because the other test runs the example with the good model.
    let target = firmware::folder().join("target/damaged");
    fs::create_dir_all(&target).unwrap();
    let damaged = target.join("damaged.feamoe");
    let mut bytes = fs::read(firmware::folder().join("demo.feamoe")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    if fs::read(&damaged).ok().as_ref() != Some(&bytes) {
        fs::write(&damaged, bytes).unwrap();
    }
    let image = firmware::build_with("firmware-example", "release", "", &target, &[("FEAMOE_BLOB", &damaged)]).unwrap();
    let message = firmware::run(&image, &target).unwrap_err();
    assert!(message.contains("firmware: model: checksum"), "{message}");
}
