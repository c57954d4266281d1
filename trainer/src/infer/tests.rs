#![allow(clippy::unwrap_used)]
use super::*;
use crate::schema::Schema;

fn infer_text(file: &str, text: &[u8]) -> Result<String, Error> {
    super::infer_text(file, text, &Options::default()).map(|inferred| inferred.text)
}

/// Sixty records of a small lending file, with the traps of real ones.
fn lending() -> String {
    let mut text = String::from("id,Sex,race,age,income,zip_code,children,opened,note,approved\n");
    for i in 0..60 {
        let sex = if i % 3 == 0 { "F" } else { "M" };
        let race = ["White", "White", "White", "Black", "Unknown"][i % 5];
        let age = 20 + (i * 7) % 45;
        let income = if i % 10 == 9 { "N/A".into() } else { (1000 + i * i * i).to_string() };
        let (zip, children, day) = (10_000 + i % 4, i % 4, 1 + i % 28);
        let approved = if i % 3 == 0 && i % 2 == 0 { "no" } else { "yes" };
        text += &format!("{i},{sex},{race},{age},{income},{zip},{children},2020-01-{day},\"n, {i}\",{approved}\n");
    }
    text
}

#[test]
fn a_small_file_gives_a_schema_that_is_right_about_every_column() {
    let text = infer_text("lending.csv", lending().as_bytes()).unwrap();
    let schema = Schema::from_toml("inferred.toml", &text).unwrap();
    assert!(schema.table.header && schema.table.delimiter == ',');
    assert_eq!(schema.table.missing, ["", "NA", "NaN", "?"]);
    assert_eq!(schema.table.missing_in["income"], ["N/A"]);
    assert_eq!(schema.target.column, "approved");
    assert_eq!((schema.target.positive, schema.target.negative), (vec!["yes".into()], vec!["no".into()]));
    let [sex, race] = &schema.protected[..] else { unreachable!("{text}") };
    assert_eq!((sex.column.as_str(), &sex.privileged[..]), ("Sex", &["M".to_string()][..]));
    assert_eq!(sex.unprivileged, Some(vec!["F".into()]));
    // The unknown are not a group.
    assert_eq!((&race.privileged[..], &race.unprivileged), (&["White".to_string()][..], &Some(vec!["Black".into()])));
    assert_eq!(schema.features.drop, ["id", "opened", "note"]);
    assert_eq!(schema.features.categorical, ["zip_code"]);
    assert_eq!(schema.features.immutable, ["Sex", "race", "age"]);
    for evidence in [
        "header = true # the first line has words, 5 columns below it are numbers",
        "[table.missing_in]\n\"income\" = [\"N/A\"]",
        "\"id\", # no value occurs twice: an identifier?",
        "\"opened\", # dates, written as %Y-%m-%d",
        "# [table.dates.\"opened\"]\n# format = \"%Y-%m-%d\"",
        "\"note\", # no value occurs twice",
        "\"zip_code\", # whole numbers with 4 values, and the name of a code",
        "#   \"children\": 4 values from 0 to 3, 0.0 % missing",
        "# column = \"age\"\n# cuts = [30, 62] # the groups: below 30, 30 to below 62, 62 and more",
        "It has the name of an outcome and two values; its values: \"yes\" 83.3 %, \"no\" 16.7 %",
        "\"M\" 100.0 % of 40, \"F\" 50.0 % of 20",
    ] {
        assert!(text.contains(evidence), "{evidence}\n{text}");
    }
}

#[test]
fn without_a_target_its_place_is_there_to_be_filled_in() {
    let rows: String = (0..30).map(|i| format!("{};{};x{}\n", i * 3, i % 5, i % 4)).collect();
    let text = infer_text("f.csv", format!("a;b;c\n{rows}").as_bytes()).unwrap();
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["target"]["column"].as_str(), Some(""));
    assert_eq!(table["table"]["delimiter"].as_str(), Some(";"));
    let error = Schema::from_toml("inferred.toml", &text).unwrap_err().to_string();
    assert!(error.ends_with("fill in the name of the column"), "{error}");
    let line = text.lines().position(|line| line == "column = \"\"").unwrap() + 1;
    assert!(error.starts_with(&format!("inferred.toml:{line}:10: ")), "{error}");
    let filled =
        text.replacen("column = \"\"", "column = \"c\"", 1).replacen("positive = []", "positive = [\"x1\"]", 1);
    Schema::from_toml("inferred.toml", &filled).unwrap();
}

#[test]
fn headerless_files_with_comment_lines_get_numbered_columns() {
    let rows: String =
        (0..30).map(|i| format!("{i}, Male, {}\n", if i % 2 == 0 { ">50K." } else { "<=50K." })).collect();
    let text = infer_text("f.csv", format!("|1x3 Cross validator\n{rows}").as_bytes()).unwrap();
    let schema = Schema::from_toml("inferred.toml", &text).unwrap();
    assert!(!schema.table.header);
    assert_eq!(schema.table.columns, ["column.1", "column.2", "column.3"]);
    assert_eq!(schema.table.comment, Some('|'));
    assert_eq!(schema.target.positive, [">50K."]);
    assert!(text.contains("all 30 records"), "{text}");
}

#[test]
fn an_unwanted_outcome_makes_the_other_value_the_favourable_one() {
    let rows: String = (0..30).map(|i| format!("{},{}\n", i % 7, i % 2)).collect();
    let text = infer_text("f.csv", format!("x,loan_default\n{rows}").as_bytes()).unwrap();
    let schema = Schema::from_toml("inferred.toml", &text).unwrap();
    assert_eq!((&schema.target.positive[0][..], &schema.target.negative[0][..]), ("0", "1"));
}

#[test]
fn names_and_values_of_any_kind_stay_valid_toml() {
    let header = "\"a \"\"b\"\"\",\"two\nlines\",c\\d,\"tab\t\",y";
    let rows: String = (0..60).map(|i| format!("\"v\"\"{}\",\"x\ny\",'{}',é,{}\n", i % 3, i % 2, i % 2)).collect();
    let text = infer_text("strange\nname.csv", format!("{header}\n{rows}").as_bytes()).unwrap();
    let schema = Schema::from_toml("inferred.toml", &text).unwrap();
    assert_eq!(schema.features.drop, ["two\nlines", "tab"]);
    assert_eq!(schema.target.column, "y");
}

/// Found by fuzzing: numbers may have any Unicode space around and inside them, but a TOML comment
/// may not contain all of these.
#[test]
fn evidence_with_control_characters_stays_valid_toml() {
    for cell in ["0,5\u{b}", "$\u{b}0,5", "\u{85}1,5", "1,5\u{c}\u{2028}"] {
        let rows = format!("a;b\n{}", format!("{cell};x\n").repeat(9));
        for text in [&rows[..], rows.trim_start_matches("a;b\n")] {
            let text = infer_text("f.csv", text.as_bytes()).unwrap();
            let schema = Schema::from_toml("inferred.toml", &text);
            assert!(schema.is_ok() || schema.unwrap_err().to_string().contains("fill in"), "{cell:?}\n{text}");
        }
    }
}

/// A column that is not a feature cannot be one that recourse must keep.
#[test]
fn a_dropped_column_is_not_immutable_too() {
    let text = infer_text("f.csv", b"age,sex,approved\n,f,no\n,m,yes\n,f,yes\n").unwrap();
    let schema = Schema::from_toml("inferred.toml", &text).unwrap();
    assert_eq!((&schema.features.drop[..], &schema.features.immutable[..]), (&["age".into()][..], &["sex".into()][..]));
}

#[test]
fn files_without_information_are_errors() {
    let message = |text: &str| infer_text("f.csv", text.as_bytes()).unwrap_err().to_string();
    assert!(message("").starts_with("f.csv: the file is empty"));
    assert!(message("a,b\n").starts_with("f.csv: there are no records, only a header"));
    assert!(message("a,b\n1,2\n3\n").starts_with("f.csv:3: found 1 field, expected 2"));
    assert!(message("a,\0\n").starts_with("f.csv:1: found binary data"));
}

#[test]
fn the_same_text_gives_the_same_schema() {
    let text = lending();
    assert_eq!(infer_text("f", text.as_bytes()).unwrap(), infer_text("f", text.as_bytes()).unwrap());
}
