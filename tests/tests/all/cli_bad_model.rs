//! Model files that cannot be used, and data that do not fit a model: one message, exit code 2,
//! nothing written.

use feamoe_engine::format::{Provenance, VERSION, checksum};
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::Kind;
use feamoe_testkit::content::{Content, FeatureContent};
use feamoe_tests::command::Folder;

/// Returns the message of every command that reads this model; all must give the same one.
fn refusal_of(model: &[u8]) -> String {
    let folder = Folder::with_model();
    folder.write("bad.feamoe", model);
    folder.write("old.csv", "earlier scores");
    let message = folder.refusal(&["inspect", "bad.feamoe"]);
    for command in [
        &["score", "bad.feamoe", "lending.csv", "-o", "old.csv"][..],
        &["score", "bad.feamoe", "lending.csv"],
        &["explain", "bad.feamoe", "lending.csv", "--row", "1"],
        &["evaluate", "bad.feamoe", "lending.csv", "--schema", "lending.toml"],
    ] {
        assert_eq!(folder.refusal(command), message, "{command:?}");
    }
    message.strip_prefix("bad.feamoe: cannot use this model: ").unwrap().to_owned()
}

fn good() -> Vec<u8> {
    Folder::with_model().read("lending.feamoe")
}

/// Returns a changed blob with a correct checksum.
fn sealed(mut blob: Vec<u8>) -> Vec<u8> {
    let crc = checksum(&blob[..16], &blob[16..]);
    blob[12..16].copy_from_slice(&crc.to_le_bytes());
    blob
}

#[test]
fn a_file_that_is_no_model_is_said_to_be_none() {
    assert_eq!(refusal_of(b"age,job\n1,cook\n2,smith\n"), "not a feamoe model: does not start with FEAM (at byte 0)");
    assert_eq!(refusal_of(b""), "blob ends after 0 bytes, but needs 16 (at byte 0)");
    // The two arguments are swapped.
    let folder = Folder::with_model();
    assert_eq!(
        folder.refusal(&["score", "lending.csv", "lending.feamoe"]),
        "lending.csv: cannot use this model: not a feamoe model: does not start with FEAM (at byte 0)"
    );
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let message = Folder::with_model().refusal(&["score", "/dev/zero", "lending.csv"]);
    assert_eq!(message, "/dev/zero: cannot use this model: not a feamoe model: does not start with FEAM (at byte 0)");
}

#[test]
fn a_model_of_another_version_names_both_versions() {
    let mut blob = good();
    blob[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes());
    assert_eq!(
        refusal_of(&sealed(blob)),
        "format version 2, but this build reads 1; export the model again (at byte 4)"
    );
}

#[test]
fn a_damaged_model_is_found_out_wherever_it_is_damaged() {
    let blob = good();
    for at in [16, 200, blob.len() / 2, blob.len() - 1] {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x10;
        let message = refusal_of(&damaged);
        assert!(
            message.starts_with("checksum ") && message.ends_with("; the blob is damaged (at byte 12)"),
            "{message}"
        );
    }
}

#[test]
fn a_model_cut_short_or_with_more_behind_it_says_how_long_it_should_be() {
    let blob = good();
    let whole = blob.len();
    for length in [15, 16, whole / 2, whole - 1] {
        let needed = if length < 16 { 16 } else { whole };
        let expected = format!("blob ends after {length} bytes, but needs {needed} (at byte {length})");
        assert_eq!(refusal_of(&blob[..length]), expected);
    }
    let expected = format!("blob has {} bytes, declares {whole} (at byte {whole})", whole + 1);
    assert_eq!(refusal_of(&[&blob[..], b"\n"].concat()), expected);
}

/// A model of categories without levels, with two weight rows each.
fn model(features: usize, names: bool) -> Vec<u8> {
    let experts = 2;
    let feature =
        |index| FeatureContent { name: format!("x{index}"), kind: Kind::Category { levels: 0 }, levels: Vec::new() };
    let content = Content {
        threshold: 0.5,
        provenance: Provenance::default(),
        experts,
        features: (0..features).map(feature).collect(),
        positive_name: "yes".into(),
        bias: vec![0.0; stride(experts)],
        rows: vec![0.0; 2 * features * stride(experts)],
        edges: Vec::new(),
        deviations: Vec::new(),
        calibration: Vec::new(),
        background: Vec::new(),
    };
    content.to_bytes(names).as_slice().to_vec()
}

#[test]
fn a_model_past_the_capacity_of_this_build_names_both_numbers() {
    let message = refusal_of(&model(513, true));
    assert!(
        message.starts_with("the blob needs 513 features, but this build supports 512 (raise FEATURES) (at byte "),
        "{message}"
    );
    let folder = Folder::new();
    folder.write("largest.feamoe", model(512, true));
    assert!(folder.run(&["inspect", "largest.feamoe"]).done().contains("needs Model<512, 2>"));
}

#[test]
fn a_model_without_names_can_be_inspected_but_not_bound_to_columns() {
    let folder = Folder::with_model();
    folder.write("stripped.feamoe", model(3, false));
    assert!(folder.run(&["inspect", "stripped.feamoe"]).done().contains("(names stripped)"));
    let expected = "the model has no names, so its features cannot be matched with columns; export it with names";
    for command in [
        &["score", "stripped.feamoe", "lending.csv", "-o", "scores.csv"][..],
        &["explain", "stripped.feamoe", "lending.csv"],
        &["evaluate", "stripped.feamoe", "lending.csv", "--schema", "lending.toml"],
    ] {
        assert_eq!(folder.refusal(command), expected, "{command:?}");
    }
}

#[test]
fn data_of_another_table_name_the_first_column_that_the_model_misses() {
    let folder = Folder::with_model();
    folder.write("other.csv", "name,wage\nAda,3\n");
    let expected = "other.csv: no column \"sex\", which the model needs; the columns are \"name\", \"wage\"";
    assert_eq!(folder.refusal(&["score", "lending.feamoe", "other.csv"]), expected);
    assert_eq!(folder.refusal(&["explain", "lending.feamoe", "other.csv"]), expected);
    let message = folder.refusal(&["evaluate", "lending.feamoe", "other.csv", "--schema", "lending.toml"]);
    assert_eq!(
        message,
        "other.csv: no column \"approved\", which target.column needs; the columns are \"name\", \"wage\""
    );
}
