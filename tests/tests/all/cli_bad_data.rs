//! Data, schemas and options that cannot be used: one message that names file, line and column,
//! exit code 2, nothing written, and an existing model is kept.

use std::io::Write as _;

use feamoe_tests::command::{Folder, lending};

const HEADER: &str = "age,job,sex,y\n";

const SCHEMA: &str = r#"
[target]
column = "y"
positive = ["yes"]
negative = ["no"]

[[protected]]
column = "sex"
privileged = ["m"]
unprivileged = ["f"]
"#;

const TRAIN: [&str; 6] = ["train", "data.csv", "--schema", "schema.toml", "-o", "old.feamoe"];

/// Forty good rows.
fn rows() -> String {
    (0..40)
        .map(|i| {
            let (sex, y) = (["m", "f"][i / 2 % 2], ["yes", "no"][i % 2]);
            format!("{},{},{sex},{y}\n", 20 + i, ["cook", "smith", "clerk"][i % 3])
        })
        .collect()
}

/// A folder with these data, the schema above, and the output of an earlier run.
fn folder(data: impl AsRef<[u8]>) -> Folder {
    let folder = Folder::new();
    folder.write("data.csv", data);
    folder.write("schema.toml", SCHEMA);
    folder.write("old.feamoe", "the model of an earlier run");
    folder
}

fn good() -> String {
    format!("{HEADER}{}", rows())
}

/// Returns the message of training on these data, which must be refused.
fn training_on(data: impl AsRef<[u8]>) -> String {
    folder(data).refusal(&TRAIN)
}

/// Returns the message of training on good data with this schema, which must be refused.
fn training_by(schema: &str) -> String {
    let folder = folder(good());
    folder.write("schema.toml", schema);
    folder.refusal(&TRAIN)
}

/// A folder with a model of the good data, and with these data to score.
fn scoring(data: impl AsRef<[u8]>) -> Folder {
    let folder = folder(good());
    let _ = folder.run(&["train", "data.csv", "--schema", "schema.toml", "-o", "m.feamoe"]).done();
    folder.write("data.csv", data);
    folder.write("old.csv", "earlier scores");
    folder
}

#[test]
fn the_good_data_are_good() {
    let folder = folder(good());
    let text = folder.run(&TRAIN).done();
    assert!(text.starts_with("learned from 40 rows (0 skipped)"), "{text}");
    assert!(folder.read("old.feamoe").starts_with(b"FEAM"));
    assert_eq!(folder.files().len(), 3);
}

#[test]
fn a_missing_column_is_named_with_those_there_are() {
    assert_eq!(
        training_on(good().replace("sex", "Sex")),
        "data.csv: no column \"sex\", which a [[protected]] table needs; the columns are \"age\", \"job\", \"Sex\", \"y\"; \
         did you mean \"Sex\"?"
    );
    assert!(
        training_on(good().replace(",y\n", ",outcome\n"))
            .starts_with("data.csv: no column \"y\", which target.column needs")
    );
    let without_age: String = good().lines().map(|line| line.split_once(',').unwrap().1.to_owned() + "\n").collect();
    let folder = scoring(without_age);
    let expected = "data.csv: no column \"age\", which the model needs; the columns are \"job\", \"sex\", \"y\"";
    assert_eq!(folder.refusal(&["score", "m.feamoe", "data.csv", "-o", "old.csv"]), expected);
    assert_eq!(folder.refusal(&["score", "m.feamoe", "data.csv"]), expected);
    assert_eq!(folder.refusal(&["explain", "m.feamoe", "data.csv"]), expected);
    assert_eq!(folder.refusal(&["evaluate", "m.feamoe", "data.csv", "--schema", "schema.toml"]), expected);
}

#[test]
fn a_file_without_a_header_is_recognised() {
    let message = training_on(rows());
    assert!(
        message.starts_with("data.csv: no column \"y\", which target.column needs; the columns are \"20\", "),
        "{message}"
    );
    assert!(message.contains("the file has no header: name its columns in the [table] of a schema"), "{message}");
    let folder = scoring(rows());
    assert!(folder.refusal(&["score", "m.feamoe", "data.csv"]).contains("(name a schema with --schema)"));
}

#[test]
fn another_delimiter_is_recognised() {
    let message = training_on(good().replace(',', ";"));
    assert!(
        message
            .starts_with("data.csv: no column \"y\", which target.column needs; the columns are \"age;job;sex;y\"; "),
        "{message}"
    );
    assert!(message.contains("set table.delimiter"), "{message}");
}

#[test]
fn target_values_that_the_schema_does_not_know_are_listed() {
    assert_eq!(
        training_on(good().replace("yes", "1").replace("no", "0")),
        "data.csv: column \"y\": found \"1\", \"0\", expected one of \"yes\", \"no\"; correct target.positive and target.negative \
         (40 records read, 0 filtered out)"
    );
    let message = training_on(good().replace("yes", "Yes"));
    assert!(
        message.starts_with("data.csv: column \"y\": all 20 rows have the other outcome, expected both"),
        "{message}"
    );
    assert!(message.contains("the data have \"Yes\""), "{message}");
    let message = scoring(good().replace("yes", "1").replace("no", "0"));
    let message = message.refusal(&["evaluate", "m.feamoe", "data.csv", "--schema", "schema.toml"]);
    assert!(
        message.starts_with("data.csv: column \"y\": found \"1\", \"0\", expected one of \"yes\", \"no\""),
        "{message}"
    );
}

#[test]
fn rows_with_an_unknown_target_among_others_are_counted() {
    let folder = folder(good() + "33,cook,m,maybe\n34,cook,f,\n");
    let report = folder.run(&[&TRAIN[..], &["--format", "json"]].concat()).json();
    assert_eq!((report["rows"].as_u64(), report["skipped"].as_u64()), (Some(40), Some(2)));
}

/// A mistyped number that looks like a code does not turn the column into codes.
#[test]
fn a_mistyped_number_is_named_whatever_it_looks_like() {
    let data = |odd: &[(usize, &str)]| {
        let cell = |i: usize| {
            odd.iter().find(|(at, _)| *at == i).map_or((i % 997).to_string(), |(_, text)| (*text).to_owned())
        };
        (0..2_000).fold(HEADER.to_owned(), |text, i| {
            text + &format!(
                "{},{},{},{}\n",
                cell(i),
                ["cook", "smith"][i % 2],
                ["m", "f"][i / 2 % 2],
                ["yes", "no"][i % 2]
            )
        })
    };
    for odd in [&[(50, "x7")][..], &[(50, "O5"), (1_400, "l2")]] {
        let message = training_on(data(odd));
        let (line, found) = (odd[0].0 + 2, odd[0].1);
        assert!(
            message.starts_with(&format!("data.csv:{line}: column \"age\": found {found:?}, expected a number")),
            "{message}"
        );
        let missing =
            folder(data(odd)).run(&[&TRAIN[..], &["--bad-cells", "missing", "--format", "json"]].concat()).json();
        assert_eq!(
            (&missing["features"][0]["kind"], &missing["features"][0]["bad"]),
            (&"number".into(), &odd.len().into())
        );
    }
}

/// Most cells of a column of names have no learned weights.
#[test]
fn a_feature_whose_cells_are_mostly_unseen_is_warned_of() {
    let data = (0..2_000).fold(HEADER.to_owned(), |text, i| {
        text + &format!("{},name {i},{},{}\n", i % 97, ["m", "f"][i / 2 % 2], ["yes", "no"][i % 2])
    });
    let said = folder(data).run(&TRAIN).well();
    assert!(
        said.contains("column \"job\" is a category, and ")
            && said.contains(" of its cells in 2000 rows are levels too new"),
        "{said}"
    );
    let usual = folder(good()).run(&TRAIN).well();
    assert!(!usual.contains("too new or too rare"), "{usual}");
}

/// A target on groups of a few rows each depends on chance.
#[test]
fn a_target_on_very_small_groups_is_warned_of() {
    let rows = (0..2_000).fold("x,group,y\n".to_owned(), |text, i| {
        text + &format!("{},g{},{}\n", i * 37 % 101, i % 50, u8::from(i * 37 % 101 > 50))
    });
    let warned = |privileged: &str, groups: &str, more: &[&str]| {
        let folder = folder(&rows);
        folder.write("schema.toml", format!("[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"group\"\nprivileged = [{privileged}]\n{groups}"));
        let said = folder.run(&[&TRAIN[..], more].concat()).well();
        said.contains("50 of 50 groups of \"group\" have fewer than 30 of 1000 rows")
    };
    assert!(warned("\"g0\"", "", &["--fair", "spd=0.05"]));
    assert!(!warned("\"g0\"", "", &[]), "without a target");
    assert!(!warned("\"g0\"", "unprivileged = [\"g1\"]", &["--fair", "spd=0.05"]), "other groups");
}

#[test]
fn a_ragged_row_is_named_by_its_line() {
    let advice = "; quote fields that contain the delimiter, or check table.delimiter and table.header";
    assert_eq!(training_on(good() + "50,cook,m\n"), format!("data.csv:42: found 3 fields, expected 4{advice}"));
    assert_eq!(
        training_on(good() + "\n50,cook,m,yes,extra\n"),
        format!("data.csv:43: found 5 fields, expected 4{advice}")
    );
    // Scores were already written to a temporary file; none of them may remain.
    let folder = scoring(good() + "50,cook,m\n");
    let expected = format!("data.csv:42: found 3 fields, expected 4{advice}");
    assert_eq!(folder.refusal(&["score", "m.feamoe", "data.csv", "-o", "old.csv"]), expected);
    assert_eq!(folder.refusal(&["score", "m.feamoe", "data.csv", "-o", "new.csv"]), expected);
}

#[test]
fn on_standard_output_the_scores_before_a_bad_row_stay_and_the_exit_code_shows_it() {
    let folder = scoring(good() + "50,cook,m\n");
    let ran = folder.unchanged(|| folder.run(&["score", "m.feamoe", "data.csv"]));
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(2), 41));
    assert!(ran.stderr.starts_with("error: data.csv:42: found 3 fields"), "{}", ran.stderr);
}

#[test]
fn text_in_a_numeric_column_is_named_by_line_and_column() {
    // The bad cell comes after the rows that decide the type of a column.
    let many = lending(1, 6_000);
    let folder = Folder::with_model();
    folder.write("bad.csv", many.clone() + "6001,Male,about 40,30000,10000,700,5,salaried,car,north,1,yes\n");
    let message = folder.refusal(&["train", "bad.csv", "--schema", "lending.toml", "-o", "lending.feamoe"]);
    assert!(message.starts_with("bad.csv:6002: column \"age\": found \"about 40\", expected a number; "), "{message}");
    assert!(message.contains("table.missing") && message.contains("features.categorical"), "{message}");
    for command in [&["score"][..], &["explain", "--method", "path"], &["evaluate", "--schema", "lending.toml"]] {
        let (name, options) = command.split_first().unwrap();
        let ran = folder.run(&[&[*name, "lending.feamoe", "bad.csv"], options].concat());
        let expected = "error: bad.csv:6002: column \"age\": found \"about 40\", expected a number; the column is a number in the model";
        assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
        assert_eq!(ran.code, Some(2));
    }
}

#[test]
fn an_empty_file_is_named() {
    let expected =
        "data.csv: the file is empty, expected a header line and records; check that the step which writes it has run";
    for data in ["", "\n\n"] {
        assert_eq!(training_on(data), expected);
    }
    let folder = scoring("");
    for command in [
        &["score", "m.feamoe", "data.csv", "-o", "old.csv"][..],
        &["score", "m.feamoe", "data.csv"],
        &["explain", "m.feamoe", "data.csv"],
        &["evaluate", "m.feamoe", "data.csv", "--schema", "schema.toml"],
        &["schema", "data.csv", "-o", "old.csv"],
    ] {
        assert_eq!(folder.refusal(command), expected, "{command:?}");
    }
    let ran = folder.unchanged(|| folder.run_on(b"", &["score", "m.feamoe", "-"]));
    assert!(ran.refused().starts_with("standard input: the file is empty"));
}

#[test]
fn a_file_of_only_a_header_is_nothing_to_learn_from_or_to_judge() {
    let expected = "data.csv: there are no records, only a header";
    assert_eq!(training_on(HEADER), expected);
    let folder = scoring(HEADER);
    assert_eq!(folder.refusal(&["evaluate", "m.feamoe", "data.csv", "--schema", "schema.toml"]), expected);
    assert_eq!(folder.refusal(&["explain", "m.feamoe", "data.csv"]), expected);
    assert_eq!(folder.refusal(&["explain", "m.feamoe", "data.csv", "--row", "1"]), expected);
    assert!(folder.refusal(&["schema", "data.csv", "-o", "old.csv"]).starts_with(expected));
}

#[test]
fn what_is_not_text_is_said_to_be_none() {
    for (data, expected) in [
        (&b"\x7fELF\0\0\0\0"[..], "data.csv:1: found binary data (a NUL byte), expected CSV text"),
        (b"PK\x03\x04rest of a zip", "data.csv:1: found a zip archive (or a spreadsheet), expected CSV text"),
        (b"PAR1rest of a table", "data.csv: found a Parquet or Arrow file that cannot be read"),
        (b"\xff\xfea\0g\0e\0", "data.csv:1: found UTF-16 text, expected CSV text"),
        (
            b"age,job,sex,y\n30,caf\xe9,m,yes\n",
            "data.csv:2: field 2: found byte 0xe9, which is not UTF-8; convert the file first",
        ),
        (
            b"age,job,sex,y\n30,\"cook,m,yes\n31,smith,f,no\n",
            "data.csv:2: the record has an opening quote that is never closed",
        ),
    ] {
        let message = training_on(data);
        assert!(message.starts_with(expected), "{message}");
        let message = scoring(data).refusal(&["evaluate", "m.feamoe", "data.csv", "--schema", "schema.toml"]);
        assert!(message.starts_with("data.csv"), "{message}");
    }
    let random: Vec<u8> = (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert!(training_on(random).starts_with("data.csv:"));
}

#[test]
fn a_gzip_file_that_ends_early_or_is_damaged_is_named() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(lending(1, 3_000).as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    let folder = Folder::with_model();
    let train = ["train", "data.gz", "--schema", "lending.toml", "-o", "lending.feamoe"];
    for length in [3, 20, whole.len() / 2, whole.len() - 1] {
        folder.write("data.gz", &whole[..length]);
        let message = folder.refusal(&train);
        assert!(
            message.starts_with("data.gz:") && message.contains(": the gzip stream ends too early; "),
            "{length}: {message}"
        );
    }
    let mut damaged = whole.clone();
    damaged[whole.len() - 6] ^= 1;
    folder.write("data.gz", &damaged);
    let message = folder.refusal(&train);
    // Only the checksum at the end is wrong, so the message names the last line.
    assert!(message.starts_with("data.gz:3002: the gzip stream is damaged ("), "{message}");
    let message = folder.run_on(&damaged, &["evaluate", "lending.feamoe", "-", "--schema", "lending.toml"]).refused();
    assert!(message.starts_with("standard input:3002: the gzip stream is damaged ("), "{message}");
}

#[test]
fn a_protected_group_that_never_occurs_is_named_with_the_values_there_are() {
    assert_eq!(
        training_on(good().replace(",f,", ",F,")),
        "data.csv: column \"sex\": no row belongs to the unprivileged group \"f\"; the values are \"m\", \"F\"; correct the \
         unprivileged list"
    );
    assert_eq!(
        training_by(&SCHEMA.replace("[\"m\"]", "[\"M\"]")),
        "data.csv: column \"sex\": no row belongs to the privileged group \"M\"; the values are \"f\", \"m\"; correct the \
         privileged list"
    );
    let folder = scoring(good().replace(",f,", ",m,"));
    let evaluate = ["evaluate", "m.feamoe", "data.csv", "--schema", "schema.toml"];
    // If a group has no rows, the others are evaluated; if all groups lack rows, that is an error.
    let text = folder.run(&evaluate).done();
    assert!(text.contains("sex: no row is in the group f\n"), "{text}");
    folder.write("schema.toml", SCHEMA.replace("[\"m\"]", "[\"M\"]").replace("[\"f\"]", "[\"F\"]"));
    let message = folder.refusal(&evaluate);
    assert_eq!(
        message,
        "data.csv: column \"sex\": no row belongs to the privileged group \"M\"; the values are \"m\"; correct the privileged list"
    );
}

#[test]
fn columns_that_differ_between_files_are_named() {
    let folder = folder(good());
    folder.write("more.csv", good().replace("job", "work"));
    let message = folder.refusal(&["train", "data.csv", "more.csv", "--schema", "schema.toml", "-o", "old.feamoe"]);
    assert!(message.starts_with("more.csv: the header differs from that of data.csv: "), "{message}");
    assert!(message.contains("job") && message.contains("work"), "{message}");
}

#[test]
fn a_file_that_is_not_there_or_is_a_folder_is_named() {
    let folder = scoring(good());
    std::fs::create_dir(folder.path("folder")).unwrap();
    for (name, reason) in
        [("none", "No such file or directory (os error 2)"), ("folder", "Is a directory (os error 21)")]
    {
        let expected = format!("cannot read {name}: {reason}");
        for command in [
            &["train", name, "--schema", "schema.toml", "-o", "old.feamoe"][..],
            &["train", "data.csv", "--schema", name, "-o", "old.feamoe"],
            &["score", name, "data.csv"],
            &["score", "m.feamoe", name, "-o", "old.csv"],
            &["explain", "m.feamoe", name],
            &["evaluate", "m.feamoe", name, "--schema", "schema.toml"],
            &["evaluate", name, "data.csv", "--schema", "schema.toml"],
            &["inspect", name],
            &["schema", name, "-o", "old.csv"],
        ] {
            assert_eq!(folder.refusal(command), expected, "{command:?}");
        }
    }
}

#[test]
fn a_schema_with_an_unknown_key_is_refused_at_the_key() {
    let message = training_by(&format!("{SCHEMA}[features]\nlog = [\"age\"]\n"));
    assert!(
        message.starts_with("schema.toml:12:1: unknown field `log`, expected one of `drop`, `only`, "),
        "{message}"
    );
    let message = training_by(&SCHEMA.replace("positive", "favourable"));
    assert!(
        message.starts_with("schema.toml:4:1: unknown field `favourable`, expected one of `column`, `positive`, "),
        "{message}"
    );
    assert!(training_by("").starts_with("schema.toml:1:1: missing field `target`"));
    assert!(training_by("[target\n").starts_with("schema.toml:1:8: "));
}

#[test]
fn a_schema_that_contradicts_itself_is_refused_where_it_does() {
    for (old, new, expected) in [
        ("negative = [\"no\"]", "negative = [\"yes\"]", "schema.toml:5:12: \"yes\" is also listed under positive"),
        (
            "column = \"sex\"",
            "column = \"y\"",
            "schema.toml:8:10: column \"y\" is the target, so it cannot be protected",
        ),
        ("[target]", "[table]\nheader = false\n[target]", "schema.toml:3:10: header = false needs the column names"),
        (
            "[\"f\"]",
            "[\"f\"]\n[features]\nonly = [\"age\"]\ndrop = [\"age\"]",
            "schema.toml:12:8: \"age\" is also listed under drop",
        ),
        (
            "[\"f\"]",
            "[\"f\"]\n[features]\nonly = [\"sex\"]",
            "schema.toml:12:8: column \"sex\" is protected; set as_feature = true",
        ),
    ] {
        let message = training_by(&SCHEMA.replace(old, new));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_schema_that_does_not_fit_the_data_says_which_column() {
    for (table, expected) in [
        ("[features]\nlog1p = [\"wage\"]", "data.csv: no column \"wage\", which features.log1p needs"),
        ("[features]\nlog1p = [\"job\"]", "data.csv:2: column \"job\": found \"cook\", expected a number"),
        ("[features]\ndrop = [\"age\", \"job\"]", "found 0 feature columns, expected 1 to 512"),
        ("[[filter]]\ncolumn = \"job\"\nmin = 1", "data.csv:2: column \"job\": found \"cook\", expected a number"),
        ("[[filter]]\ncolumn = \"age\"\nmin = 1000", "data.csv: none of the 40 records passes the filters"),
    ] {
        let message = training_by(&format!("{SCHEMA}{table}\n"));
        assert!(message.starts_with(expected), "{message}\nexpected {expected}");
    }
}

#[test]
fn more_columns_than_a_model_may_have_are_refused_before_learning() {
    let names: Vec<String> = (0..600).map(|i| format!("x{i}")).collect();
    let zeros = "0,".repeat(600);
    let row = |rest: &str| format!("{zeros}{rest}\n");
    let message = training_on(format!("{},sex,y\n{}{}", names.join(","), row("m,yes"), row("f,no")));
    assert_eq!(message, "found 600 feature columns, expected 1 to 512; choose with features.only or features.drop");
}

#[test]
fn options_out_of_their_range_say_the_range() {
    let folder = folder(good());
    let usage = |options: &[&str]| folder.unchanged(|| folder.run(&[&TRAIN[..], options].concat())).usage_refused();
    for (option, value, expected) in [
        ("--experts <K|auto>", "0", "expected a whole number from 1 to 64, or auto"),
        ("--experts <K|auto>", "65", "expected a whole number from 1 to 64, or auto"),
        ("--experts <K|auto>", "-1", "expected a whole number from 1 to 64, or auto"),
        ("--experts <K|auto>", "many", "expected a whole number from 1 to 64, or auto"),
        ("--bins <N>", "4097", "expected a whole number from 0 to 4096"),
        ("--background <N>", "65536", "expected a whole number from 0 to 65535"),
        ("--epochs <N|auto>", "0", "expected a whole number from 1 to 4294967295, or auto"),
        ("--window <N>", "0", "expected a whole number from 1 to 18446744073709551615"),
        ("--checkpoint-every <N>", "0", "expected a whole number from 1 to 18446744073709551615"),
        ("--seed <N>", "-7", "expected a whole number from 0 to 18446744073709551615"),
        (
            "--grow <POLICY>",
            "4000",
            "found `4000`, expected every=N (rows), drift, unfair=M (rows), or several separated by commas, for example every=4000,drift; every=0 \
             for a single expert",
        ),
        (
            "--fair <MEASURE=LIMIT,...>",
            "parity=0.1",
            "found measure `parity`, expected one of spd, aod, eodds, eopp, burden, recourse_burden, impact",
        ),
        (
            "--fair <MEASURE=LIMIT,...>",
            "spd=0",
            "spd: found `0`, expected a limit above 0 and at most 1, for example spd=0.05",
        ),
        ("--fair <MEASURE=LIMIT,...>", "spd=0.1,spd=0.2", "spd is named twice"),
        ("--penalties <NAME,...>", "eodds", "found penalty `eodds`, expected any of spd,aod,burden, or none"),
    ] {
        let flag = option.split(' ').next().unwrap();
        assert_eq!(usage(&[flag, value]), format!("invalid value '{value}' for '{option}': {expected}"));
    }
    for rate in ["0", "-0.1", "1.5", "nan", "inf"] {
        let message = folder.refusal(&[&TRAIN[..], &["--lr", rate]].concat());
        assert!(
            message.starts_with("learning-rate: found ") && message.ends_with(", allowed above 0, at most 1"),
            "{message}"
        );
    }
    for (increment, found) in [("0.2", "0.2"), ("0", "0"), ("-0.02", "-0.02"), ("nan", "NaN")] {
        let message = folder.refusal(&[&TRAIN[..], &["--fairness", "paper", "--increment", increment]].concat());
        assert_eq!(message, format!("increment: found {found}, allowed above 0, at most 0.1"));
    }
    for (weight, found) in [("1.5", "1.5"), ("-0.4", "-0.4"), ("nan", "NaN")] {
        let message = folder.refusal(&[&TRAIN[..], &["--individual", weight]].concat());
        assert_eq!(message, format!("individual: found {found}, allowed 0 to 1"));
    }
    assert!(usage(&["--lr", "fast"]).starts_with("invalid value 'fast' for '--lr <RATE>'"));
    assert_eq!(usage(&["--loss", "mse"]), "invalid value 'mse' for '--loss <LOSS>'");
    assert_eq!(usage(&["--momentum", "0.9"]), "unexpected argument '--momentum' found");
    assert_eq!(usage(&["--checkpoint-every", "9"]), "the following required arguments were not provided:");
    let usage = folder.run(&["learn", "data.csv"]).usage_refused();
    assert_eq!(usage, "unrecognized subcommand 'learn'");
    let usage = folder.run(&["train", "data.csv"]).usage_refused();
    assert_eq!(usage, "the following required arguments were not provided:");
}

#[test]
fn targets_and_penalties_are_not_mixed() {
    let folder = folder(good());
    let message = |options: &[&str]| folder.refusal(&[&TRAIN[..], options].concat());
    assert_eq!(
        message(&["--fairness", "paper", "--fair", "spd=0.1"]),
        "--fair names targets, --fairness paper has penalties instead; leave out --fairness paper to hold the targets, or --fair to learn as \
         the paper does"
    );
    let advice = "applies to the paper's penalties; add --fairness paper, or set targets with --fair instead";
    assert_eq!(message(&["--penalties", "spd"]), format!("--penalties {advice}"));
    assert_eq!(message(&["--increment", "0.02", "--fair", "spd=0.1"]), format!("--increment {advice}"));
}

#[test]
fn options_about_groups_need_groups() {
    let folder = folder(good());
    folder.write("schema.toml", SCHEMA.split("[[protected]]").next().unwrap());
    for (flag, options) in [
        ("--fair", &["--fair", "spd=0.1"][..]),
        ("--fairness paper", &["--fairness", "paper"]),
        ("--individual", &["--individual", "0"]),
        ("--grow unfair", &["--grow", "drift,unfair=9"]),
    ] {
        assert_eq!(
            folder.refusal(&[&TRAIN[..], options].concat()),
            format!(
                "{flag} compares groups of protected columns, but schema.toml names no protected column; add a [[protected]] table, or leave out {flag}"
            )
        );
    }
    let _ = folder.run(&[&TRAIN[..], &["--fairness", "paper", "--penalties", "none"]].concat()).done();
}

#[test]
fn a_row_to_explain_that_is_not_there_says_how_many_there_are() {
    let folder = scoring(good());
    let explain = |row| folder.run(&["explain", "m.feamoe", "data.csv", "--row", row]);
    assert_eq!(explain("41").refused(), "data.csv: no record 41, expected a row from 1 to 40");
    let expected = "invalid value '0' for '--row <N>': expected a whole number from 1 to 18446744073709551615";
    assert_eq!(explain("0").usage_refused(), expected);
}

#[test]
fn standard_input_cannot_be_read_twice() {
    let folder = folder(good());
    let train = |inputs: &[&str], options: &[&str]| {
        let fixed = ["--schema", "schema.toml", "-o", "old.feamoe"];
        folder.run_on(good().as_bytes(), &[&["train"], inputs, &fixed, options].concat())
    };
    folder.unchanged(|| {
        assert_eq!(
            train(&["-"], &["--epochs", "2"]).refused(),
            "2 passes read the data again, but standard input can be read only once; shuffle the rows, which keeps them in memory, \
             or name a file"
        );
        let twice = "standard input (-) is named twice, but can be read only once";
        assert_eq!(train(&["-", "-"], &[]).refused(), twice);
    });
    let text = train(&["-"], &["--epochs", "2", "--shuffle"]).done();
    assert!(text.starts_with("learned from 80 rows"), "{text}");
}

/// Otherwise every figure would refer to the other outcome, and none would look wrong.
#[test]
fn a_schema_for_the_other_outcome_is_refused() {
    let folder = Folder::with_model();
    let swapped = folder.text("lending.toml").replace("positive = [\"yes\"]", "positive = [\"no\"]");
    assert_ne!(swapped, folder.text("lending.toml"), "the demo's outcome has another name");
    folder.write("swapped.toml", swapped.replace("negative = [\"no\"]", "negative = [\"yes\"]"));
    let of_rows = |command| [command, "lending.feamoe", "lending.csv", "--schema", "swapped.toml"];
    let monitor = ["monitor", "--status", "any", "--model", "lending.feamoe", "--schema", "swapped.toml"];
    for command in [&of_rows("evaluate")[..], &of_rows("recourse"), &monitor] {
        let refused = folder.refusal(command);
        assert_eq!(
            refused,
            "target.positive: found \"no\", expected \"yes\" among them, the favourable outcome that the model was trained for; take the schema \
             that it was trained with, or add \"yes\" if it means the same",
            "{command:?}"
        );
    }
    // The schema may add spellings of the same outcome.
    let wider = folder.text("lending.toml").replace("positive = [\"yes\"]", "positive = [\"paid back\", \"yes\"]");
    folder.write("wider.toml", wider);
    let _ = folder.run(&["evaluate", "lending.feamoe", "lending.csv", "--schema", "wider.toml"]).done();
}
