//! The background of a model is a uniform sample of the rows it learned from, as the model reads
//! them. It is drawn in the first pass, in the order of the data. A copy for a device has no
//! background and gives the same scores.

use std::collections::BTreeMap;

use feamoe::judge::binding::Binding;
use feamoe::model::device_copy;
use feamoe::model::{AlignedBytes, HostModel, HostRecord};
use feamoe::rows::{Input, Records, Source};
use feamoe::schema::Table;
use feamoe_testkit::content::Content;
use feamoe_tests::command::Folder;
use feamoe_tests::without_card;

/// Number of rows in `lending.csv`.
const ROWS: usize = 3_000;

/// Trains on `lending.csv` and returns the model.
fn trained(folder: &Folder, options: &[&str]) -> AlignedBytes {
    let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe"];
    let _ = folder.run(&[&train, options].concat()).done();
    AlignedBytes::new(&folder.read("m.feamoe"))
}

/// Returns what a model sees of a record.
fn values(record: &HostRecord<'_>) -> String {
    format!("{:?} {:?}", record.terms(), record.notes())
}

fn background(model: &HostModel<'_>) -> Vec<String> {
    let mut record = model.record();
    (0..model.background_rows())
        .map(|row| {
            model.background_record(row, &mut record).unwrap();
            values(&record)
        })
        .collect()
}

/// The rows of `lending.csv` as the model reads them.
fn rows(folder: &Folder, model: &HostModel<'_>) -> Vec<String> {
    let mut records = Records::open(&[Input::File(folder.path("lending.csv"))], &Table::default()).unwrap();
    let binding = Binding::new(model, |name| records.column(name, "the model")).unwrap();
    let mut record = model.record();
    let mut rows = Vec::new();
    while records.advance().unwrap() {
        binding.fill(&records.record(), &mut record).unwrap();
        rows.push(values(&record));
    }
    rows
}

/// A folder whose data have missing values and values that the model does not know.
fn with_odd_values() -> Folder {
    let folder = Folder::with_lending();
    let text = folder.text("lending.csv");
    let odd = text.lines().enumerate().map(|(number, line)| {
        let mut cells: Vec<&str> = line.split(',').collect();
        match number {
            7.. if number % 7 == 0 => cells[2] = "",
            7.. if number % 7 == 1 => cells[8] = "",
            2_990.. => cells[2] = "1e300",
            _ => {}
        }
        cells.join(",") + "\n"
    });
    folder.write("lending.csv", odd.collect::<String>());
    folder.write("lending.toml", folder.text("lending.toml").replace("[features]", "[features]\nmax_levels = 2"));
    folder
}

#[test]
fn it_is_as_many_of_the_rows_as_were_asked_for_each_at_most_once() {
    let folder = with_odd_values();
    for (options, expected) in [
        (&[][..], 1_000),
        (&["--background", "40"], 40),
        (&["--background", "3000"], ROWS),
        (&["--background", "65535"], ROWS),
    ] {
        let bytes = trained(&folder, options);
        let model = HostModel::load(bytes.as_slice()).unwrap();
        let found = background(&model);
        assert_eq!(found.len(), expected, "{options:?}");
        assert!(["Missing", "Unseen"].iter().all(|note| found.iter().any(|record| record.contains(note))), "{found:?}");
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        rows(&folder, &model).into_iter().for_each(|row| *left.entry(row).or_default() += 1);
        for record in found {
            let count = left.get_mut(&record).unwrap_or_else(|| unreachable!("{record} is no row"));
            *count = count.checked_sub(1).unwrap();
        }
    }
}

#[test]
fn it_is_drawn_in_the_first_pass_in_the_order_of_the_data() {
    let folder = Folder::with_lending();
    // Without bins and with the ranges of all rows, each of these models reads the records in the
    // same way.
    let cells = |options: &[&str]| {
        let bytes = trained(&folder, options);
        let model = HostModel::load(bytes.as_slice()).unwrap();
        let all = rows(&folder, &model);
        background(&model).iter().map(|record| all.iter().position(|row| row == record).unwrap()).collect::<Vec<_>>()
    };
    let once = cells(&[]);
    assert_eq!(once, cells(&["--epochs", "2"]));
    assert_eq!(once, cells(&["--shuffle"]));
    assert_eq!(once, cells(&["--fair", "spd=0.05", "--experts", "2"]));
    assert_ne!(once, cells(&["--seed", "2"]));
    // A smaller background is the beginning of a larger one.
    assert_eq!(once[..30], cells(&["--background", "30"]));
    // The rows are neither the first ones nor in the order of the data.
    let late = once.iter().filter(|row| **row >= ROWS / 2).count();
    assert!((400..600).contains(&late) && !once.is_sorted(), "{late} of 1000 in the second half");
}

#[test]
fn an_export_scores_as_the_model_it_was_made_from() {
    let folder = with_odd_values();
    let bytes = trained(&folder, &["--fair", "spd=0.05"]);
    let scores = |model: &str| folder.run(&["score", model, "lending.csv", "--gate"]).done();
    let whole = scores("m.feamoe");
    for (options, same_as) in [(&[][..], &["--background", "0"]), (&["--background", "300"], &["--background", "300"])]
    {
        let _ = folder.run(&[&["export", "m.feamoe", "-o", "device.feamoe"], options].concat()).done();
        assert_eq!(scores("device.feamoe"), whole);
        folder.write("kept.feamoe", bytes.as_slice());
        // Equals the output of training with this size of background.
        assert_eq!(
            without_card(trained(&folder, &[&["--fair", "spd=0.05"], &same_as[..]].concat()).as_slice()).as_slice(),
            folder.read("device.feamoe")
        );
        folder.write("m.feamoe", folder.read("kept.feamoe"));
    }
    let copy = device_copy(&bytes, false, 20).unwrap();
    let (model, stripped) = (HostModel::load(bytes.as_slice()).unwrap(), HostModel::load(copy.as_slice()).unwrap());
    assert_eq!((stripped.schema().positive_name(), stripped.background_rows()), (None, 20));
    let (mut record, mut again) = (model.record(), stripped.record());
    for row in 0..20 {
        model.background_record(row, &mut record).unwrap();
        stripped.background_record(row, &mut again).unwrap();
        assert_eq!(values(&record), values(&again));
        let [expected, found] = [model.score(&record), stripped.score(&again)];
        assert_eq!(expected.unwrap(), found.unwrap());
    }
    let deviations = |model: &HostModel<'_>| (0..10).map(|index| model.schema().deviation(index)).collect::<Vec<_>>();
    assert_eq!(deviations(&model), deviations(&stripped));
    assert_eq!(model.provenance(), stripped.provenance());
}

#[test]
fn export_says_what_it_wrote() {
    let folder = Folder::with_model();
    let export = ["export", "lending.feamoe", "-o", "device.feamoe"];
    let before = folder.read("lending.feamoe").len();
    let report = folder.run(&[&export[..], &["--strip-names", "--format", "json"]].concat()).json();
    let inspected = folder.run(&["inspect", "device.feamoe", "--format", "json"]).json();
    let after = folder.read("device.feamoe").len();
    let expected = serde_json::json!({
        "path": "device.feamoe", "bytes": after, "bytes_before": before, "crc32": inspected["crc32"], "threshold": 0.5, "names": false, "background_rows": 0, "merging": null,
        "integer": null, "constants": null, "factory_bytes": null, "onnx_bytes": null
    });
    assert_eq!(report, expected);
    assert!(inspected["background"].is_null() && after + 32_000 < before);
    assert!(folder.run(&["inspect", "device.feamoe"]).done().contains("\nno background\n"));
    let text = folder.run(&[&export[..], &["--background", "2"]].concat()).done();
    let (bytes, crc32) = (folder.read("device.feamoe").len(), &text[text.find("CRC-32 ").unwrap() + 7..][..8]);
    assert_eq!(
        text,
        format!(
            "wrote device.feamoe ({bytes} bytes of {before}, CRC-32 {crc32}): threshold 0.5, with names, 2 background records\n"
        )
    );
}

#[test]
fn export_refuses_what_it_cannot_copy() {
    let folder = Folder::with_model();
    let message = folder.refusal(&["export", "lending.feamoe", "-o", "d", "--background", "1001"]);
    assert_eq!(
        message,
        "the model has 1000 background records, but 1001 were asked for; ask for fewer, or train with more"
    );
    let message = folder.refusal(&["export", "lending.csv", "-o", "d"]);
    assert!(message.starts_with("lending.csv: cannot use this model: not a feamoe model"), "{message}");
}

#[test]
fn the_testkit_writes_a_trained_model_to_the_same_bytes() {
    let folder = with_odd_values();
    let bytes = without_card(trained(&folder, &[]).as_slice());
    let content = Content::read(bytes.as_slice());
    assert!(!content.background.is_empty() && !content.deviations.is_empty() && !content.edges.is_empty());
    assert_eq!(content.to_bytes(true).as_slice(), bytes.as_slice());
    let copy = device_copy(&bytes, false, 0).unwrap();
    let without = Content { background: Vec::new(), ..content };
    assert_eq!(without.to_bytes(false).as_slice(), copy.as_slice());
}
