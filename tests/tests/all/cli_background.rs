//! `feamoe explain` against background records: which records are used, that they are named, that
//! values add up from the mean score of the background to the score, and the effect of the budget,
//! groups and threads.

use feamoe_tests::command::{Folder, lending};
use serde_json::{Value, json};

const RECORDS: usize = 12;
const FEATURES: &str = "sex,age,income,loan_amount,credit_score,years_employed,employment,purpose,region,dependants";

/// A folder with a model, records to explain, and a few background records.
fn folder() -> Folder {
    let folder = Folder::with_model();
    folder.write("new.csv", lending(9, RECORDS));
    folder.write("others.csv", lending(11, 60));
    folder
}

fn explain(folder: &Folder, options: &[&str]) -> Value {
    folder.run(&[&["explain", "lending.feamoe", "new.csv", "--format", "json"], options].concat()).json()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Returns the mean score of those records of a file whose line satisfies `wanted`.
fn mean_score(folder: &Folder, file: &str, wanted: impl Fn(&str) -> bool) -> f64 {
    let scores = folder.run(&["score", "lending.feamoe", file]).done();
    let text = folder.text(file);
    let lines = text.lines().zip(scores.lines()).skip(1).filter(|(line, _)| wanted(line));
    let scores: Vec<f64> = lines.map(|(_, score)| score.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(!scores.is_empty());
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// Checks that the values of every record lead from the base to its output. Returns the common
/// base.
fn base(e: &Value) -> f64 {
    let (bases, outputs) = (numbers(&e["base_values"]), numbers(&e["output"]));
    assert_eq!(bases.len(), RECORDS);
    for (record, (start, end)) in bases.iter().zip(outputs).enumerate() {
        let sum = start + numbers(&e["values"][record]).iter().sum::<f64>();
        assert!((sum - end).abs() < 1e-6, "record {record}: {sum} is not {end}");
        assert!((start - bases[0]).abs() < 1e-6, "one background has one base");
    }
    bases[0]
}

#[test]
fn the_base_is_the_mean_score_of_the_records_chosen() {
    let folder = folder();
    for (options, rows, wanted) in [
        (&[][..], 60, &(|_: &str| true) as &dyn Fn(&str) -> bool),
        (&["--background-where", "approved=yes"], 0, &|line| line.ends_with(",yes")),
        (&["--background-where", "sex=Female", "--background-where", "approved=no"], 0, &|line| {
            line.ends_with(",no") && line.contains(",Female,")
        }),
        (&["--background-where", "region=east", "--background-where", "region=west"], 0, &|line| {
            line.contains(",east,") || line.contains(",west,")
        }),
    ] {
        let e = explain(&folder, &[&["--background", "others.csv"], options].concat());
        let text = folder.text("others.csv");
        let expected = text.lines().skip(1).filter(|line| wanted(line)).count();
        assert!(rows == 0 || rows == expected);
        assert_eq!((e["method"].as_str(), e["background"]["rows"].as_u64()), (Some("exact"), Some(expected as u64)));
        let mean = mean_score(&folder, "others.csv", wanted);
        assert!((base(&e) - mean).abs() < 1e-6, "{options:?}: {} is not {mean}", base(&e));
    }
}

#[test]
fn what_was_saved_is_read_again_to_the_same_hash() {
    let folder = folder();
    // Missing values, and levels unseen in training, are kept too.
    let odd = folder.text("others.csv").replacen(",east,", ",moon,", 3).replacen(",Female,", ",,", 3);
    folder.write("others.csv", odd);
    for options in [
        &["--background-rows", "15"][..],
        &["--background", "others.csv"],
        &["--background", "others.csv", "--background-rows", "15", "--seed", "7"],
        &["--background", "others.csv", "--background", "lending.csv", "--background-rows", "15"],
    ] {
        let e = explain(&folder, &[options, &["--save-background", "saved.csv"]].concat());
        let saved = folder.text("saved.csv");
        assert_eq!(saved.lines().next(), Some(FEATURES));
        assert_eq!(e["background"]["rows"], json!(saved.lines().count() - 1));
        let again = explain(&folder, &["--background", "saved.csv"]);
        assert_eq!((&again["background"], &again["values"]), (&e["background"], &e["values"]), "{options:?}");
        assert!((base(&e) - mean_score(&folder, "saved.csv", |_| true)).abs() < 1e-6);
        assert_eq!(explain(&folder, options), e, "the same again");
    }
    let hash = |options: &[&str]| explain(&folder, options)["background"]["hash"].clone();
    let seeded = |seed| hash(&["--background", "lending.csv", "--background-rows", "15", "--seed", seed]);
    assert_ne!(seeded("1"), seeded("2"));
}

#[test]
fn a_table_without_a_header_has_its_background_saved_as_it_is_read() {
    let folder = folder();
    let header = folder.text("new.csv").lines().next().unwrap().to_owned();
    for file in ["new.csv", "others.csv"] {
        folder.write(file, folder.text(file).split_once('\n').unwrap().1.replace(',', ";"));
    }
    let columns: Vec<String> = header.split(',').map(|name| format!("{name:?}")).collect();
    let table = format!("[table]\nheader = false\ndelimiter = \";\"\ncolumns = [{}]\n", columns.join(", "));
    folder.write("bare.toml", format!("{table}[target]\ncolumn = \"approved\"\npositive = [\"yes\"]\n"));
    let options = ["--schema", "bare.toml", "--background"];
    let e = explain(&folder, &[&options[..], &["others.csv", "--save-background", "saved.csv"]].concat());
    assert_eq!(explain(&folder, &[&options[..], &["saved.csv"]].concat()), e);
}

/// In a table with one column a missing value is an empty line, which would be skipped unless it is
/// quoted.
#[test]
fn a_missing_value_alone_in_its_line_is_saved() {
    let folder = Folder::with_lending();
    let rows = (0..600).map(|i| match i % 3 {
        0 => ",no\n".to_owned(),
        _ => format!("{},{}\n", i % 50, if i % 50 > 20 { "yes" } else { "no" }),
    });
    folder.write("one.csv", format!("x,y\n{}", rows.collect::<String>()));
    folder.write("one.toml", "[target]\ncolumn = \"y\"\npositive = [\"yes\"]\n");
    let _ = folder.run(&["train", "one.csv", "--schema", "one.toml", "-o", "one.feamoe"]).done();
    let run = |options: &[&str]| {
        let command = ["explain", "one.feamoe", "one.csv", "--row", "2", "--format", "json"];
        folder.run(&[&command, options].concat()).json()
    };
    let e = run(&["--save-background", "saved.csv"]);
    assert!(folder.text("saved.csv").lines().any(|line| line == "\"\""));
    assert_eq!(run(&["--background", "saved.csv"])["background"], e["background"]);
}

#[test]
fn an_updated_model_explains_against_old_and_new_records() {
    let folder = Folder::with_lending();
    let run = |arguments: &[&str]| drop(folder.run(arguments).done());
    folder.write("newer.csv", lending(4, 2_000));
    folder.write("new.csv", lending(9, RECORDS));
    run(&["train", "lending.csv", "--schema", "lending.toml", "-o", "old.feamoe", "--checkpoint", "run.ckpt"]);
    run(&["update", "run.ckpt", "newer.csv", "-o", "lending.feamoe"]);
    let e = explain(&folder, &["--save-background", "saved.csv", "--row", "1"]);
    assert_eq!(e["background"]["rows"], 1_000);
    let of = |file: &str| {
        let rows = folder.text(file);
        let rows: Vec<String> =
            rows.lines().map(|line| line.split(',').skip(1).take(10).collect::<Vec<_>>().join(",")).collect();
        folder.text("saved.csv").lines().skip(1).filter(|line| rows.iter().any(|row| row == line)).count()
    };
    let (old, newer) = (of("lending.csv"), of("newer.csv"));
    assert!(old > 500 && newer > 300 && old + newer >= 1_000, "{old} of the first data, {newer} of the newer");
}

#[test]
fn a_group_is_one_player() {
    let folder = folder();
    let all = format!("everything={}", FEATURES.replace(',', "+"));
    let single = |method| {
        explain(&folder, &["--method", method, "--background-rows", "10"][..if method == "path" { 2 } else { 4 }])
    };
    for method in ["exact", "sampled", "path"] {
        let options = &["--method", method, "--background-rows", "10", "--groups"][..];
        let options =
            [if method == "path" { &["--method", "path", "--groups"][..] } else { options }, &[&all]].concat();
        let e = explain(&folder, &options);
        assert_eq!(e["feature_names"], json!(["everything"]));
        for record in 0..RECORDS {
            let number = |key: &str| e[key][record].as_f64().unwrap();
            let change = number("output") - number("base_values") - number("residual");
            assert!((numbers(&e["values"][record])[0] - change).abs() < 1e-6, "{method}");
        }
    }
    let money = ["--groups", "money=income+loan_amount", "--groups", "person=sex+age"];
    let (path, grouped) = (single("path"), explain(&folder, &[&["--method", "path"], &money[..]].concat()));
    let names = "person,money,credit_score,years_employed,employment,purpose,region,dependants";
    assert_eq!(grouped["feature_names"], json!(names.split(',').collect::<Vec<_>>()));
    for record in 0..RECORDS {
        let (values, of_features) = (numbers(&grouped["values"][record]), numbers(&path["values"][record]));
        assert!((values[0] - of_features[0] - of_features[1]).abs() < 1e-7);
        assert!((values[1] - of_features[2] - of_features[3]).abs() < 1e-7);
        assert_eq!(values[2..], of_features[4..]);
    }
    let e = explain(&folder, &[&["--background-rows", "10"], &money[..]].concat());
    assert!((base(&e) - base(&single("exact"))).abs() < 1e-6);
    assert_eq!(e["display_data"][0][0], json!("sex = Female, age = 63"));
}

#[test]
fn a_record_above_the_budget_is_sampled_and_marked() {
    let folder = folder();
    let few = ["--background-rows", "20"];
    let exact = explain(&folder, &few);
    let coalitions = exact["evaluations"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap());
    let mut sorted: Vec<u64> = coalitions.clone().collect();
    sorted.sort_unstable();
    let budget = sorted[RECORDS / 2];
    let above: Vec<bool> = coalitions.map(|count| count > budget).collect();
    let count = above.iter().filter(|above| **above).count();
    assert!(count > 0);
    let is_above = above.clone();
    let of = |sampled: bool| is_above.iter().position(|above| *above == sampled).unwrap();
    let budget = budget.to_string();
    let options = [&few[..], &["--budget", &budget, "--seed", "5", "--format"]].concat();
    let said = format!(
        "{count} of {RECORDS} records take more than {budget} coalitions (--budget) and were sampled instead of exact\n"
    );
    let run = |format| {
        let ran = folder.run(&[&["explain", "lending.feamoe", "new.csv"], &options[..], &[format]].concat());
        assert_eq!((ran.code, &ran.stderr), (Some(0), &said));
        ran.stdout
    };
    let e: Value = serde_json::from_str(&run("json")).unwrap();
    // If any record is sampled, all records state errors.
    assert_eq!((&e["method"], &e["seed"]), (&json!("sampled"), &json!(5)));
    let drawing = |budget: &str, more: &[&str]| {
        let options = [&few[..], &["--budget", budget, "--plot", "p.svg"], more].concat();
        let ran = folder.run(&[&["explain", "lending.feamoe", "new.csv"], &options[..]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        folder.text("p.svg")
    };
    assert!(drawing(&budget, &[]).contains(&format!("method exact, {count} of {RECORDS} records sampled · against")));
    let csv = run("csv");
    for (record, above) in above.into_iter().enumerate() {
        let method = if above { "sampled" } else { "exact" };
        assert_eq!(e["methods"][record], json!(method));
        assert_eq!(csv.lines().nth(record + 1).unwrap().split(',').nth(7), Some(method));
        let (errors, values) = (numbers(&e["error_std"][record]), numbers(&e["values"][record]));
        let (expected, low) = (numbers(&exact["values"][record]), numbers(&e["lower_bounds"][record]));
        assert!(errors.iter().all(|error| *error < 1e-3) && errors.iter().any(|error| *error > 0.0) == above);
        if !above {
            assert_eq!((&values, &low), (&expected, &values));
        }
        for ((value, error), expected) in values.iter().zip(errors).zip(expected) {
            assert!((value - expected).abs() <= 5.0 * error + 1e-6, "{record}: {value} +- {error} is not {expected}");
        }
    }
    let _ = base(&e);
    let text = run("text");
    assert_eq!(text.matches("sampled in probability, against 20 background records (").count(), count);

    // The method is named for all records together and for each record.
    let options = [&few[..], &["--budget", "1", "--format", "json"]].concat();
    let all = folder.run(&[&["explain", "lending.feamoe", "new.csv"], &options[..]].concat()).stdout;
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!((&all["method"], &all["methods"]), (&json!("sampled"), &Value::Null));
    assert!(drawing("1", &[]).contains("method sampled · against"));
    for (record, method) in [(of(false), "exact"), (of(true), "sampled")] {
        let row = (record + 1).to_string();
        assert!(drawing(&budget, &["--row", &row]).contains(&format!("method {method} · against")), "{method}");
    }
}

#[test]
fn sampling_ends_at_its_tolerance_or_its_evaluations() {
    let folder = folder();
    let sampled =
        |options: &[&str]| explain(&folder, &[&["--method", "sampled", "--background-rows", "20"], options].concat());
    let evaluations = |e: &Value| numbers(&e["evaluations"]);
    let (usual, fine) = (sampled(&[]), sampled(&["--tolerance", "0.0004"]));
    assert!(usual["methods"].is_null());
    for (e, tolerance) in [(&usual, 1e-3), (&fine, 4e-4)] {
        let errors = e["error_std"].as_array().unwrap().iter().flat_map(numbers);
        assert!(errors.fold(0.0, f64::max) < tolerance);
        let _ = base(e);
    }
    assert!(evaluations(&usual).iter().zip(evaluations(&fine)).all(|(usual, fine)| *usual < fine));
    let ended = sampled(&["--tolerance", "1e-9", "--max-evaluations", "1000"]);
    assert!(evaluations(&ended).iter().all(|count| *count >= 1_000.0));
    assert!(evaluations(&ended).iter().zip(evaluations(&fine)).all(|(ended, fine)| *ended < fine));
    assert_ne!(sampled(&["--seed", "2"])["values"], usual["values"]);
    let in_no_time = sampled(&["--tolerance", "1e-9", "--max-seconds", "1e-9"]);
    assert_eq!(in_no_time, sampled(&["--tolerance", "1e-9", "--max-evaluations", "1"]), "one round");
}

#[test]
fn log_odds_are_those_of_the_score() {
    let folder = folder();
    for method in ["exact", "sampled"] {
        let e = explain(&folder, &["--method", method, "--space", "log-odds", "--background-rows", "10"]);
        assert_eq!(e["space"], "log-odds");
        for record in 0..RECORDS {
            let (output, p) = (e["output"][record].as_f64().unwrap(), e["probability"][record].as_f64().unwrap());
            // Both numbers are rounded, which the quotient shows near 0 and 1.
            let tolerance = 1e-4 + 1e-6 / (p * (1.0 - p));
            assert!((output - (p / (1.0 - p)).ln()).abs() < tolerance, "{output} for {p}");
        }
        let residual = numbers(&e["residual"]).into_iter().map(f64::abs).fold(0.0, f64::max);
        assert!(residual < 1e-5, "{residual}");
    }
}

#[test]
fn no_output_depends_on_the_number_of_threads() {
    let folder = folder();
    // More than one batch of records.
    folder.write("many.csv", lending(9, 300));
    let few = ["--background-rows", "4"];
    for command in [
        &["explain", "lending.feamoe", "many.csv", "--format", "json"][..],
        &["explain", "lending.feamoe", "many.csv", "--format", "csv"],
        &["explain", "lending.feamoe", "many.csv", "--global", "--method", "sampled", "--tolerance", "0.01"],
        &["recourse", "lending.feamoe", "many.csv", "--format", "json"],
        &["evaluate", "lending.feamoe", "lending.csv", "--schema", "lending.toml", "--format", "json"],
    ] {
        let few = if command[0] == "explain" { &few[..] } else { &[] };
        let by = |threads| folder.run(&[command, few, &["--threads", threads]].concat()).done();
        let one = by("1");
        assert!(one == by("2") && one == by("7"), "{command:?}");
        let counted = folder.command(&[command, few].concat()).env("RAYON_NUM_THREADS", "3").output().unwrap();
        assert!(counted.stdout == one.as_bytes(), "{command:?}");
    }
}

#[test]
fn a_model_without_records_is_explained_by_path_unless_some_are_named() {
    let folder = folder();
    let _ = folder.run(&["export", "lending.feamoe", "-o", "device.feamoe"]).done();
    let explain = ["explain", "device.feamoe", "new.csv", "--row", "1"];
    let ran = folder.run(&explain);
    let said = "explained by path, since the model holds no background records; for exact values, name a file of records with --background\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), said));
    assert_eq!(ran.stdout, folder.run(&[&explain[..], &["--method", "path"]].concat()).done());
    let text = folder.run(&[&explain[..], &["--background", "others.csv"]].concat()).done();
    assert!(text.contains("\nexact in probability, against 60 background records ("), "{text}");
    for method in ["exact", "sampled"] {
        let expected = format!(
            "{method} values need background records, and the model holds none; name a file of records with --background, or use --method path"
        );
        assert_eq!(folder.refusal(&[&explain[..], &["--method", method]].concat()), expected);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = folder();
    let features: Vec<String> = FEATURES.split(',').map(|name| format!("{name:?}")).collect();
    let features = features.join(", ");
    for (options, message) in [
        (
            &["--background-where", "approved=yes"][..],
            format!(
                "the model's background: no feature \"approved\"; the features are {features}; to choose by another column, draw from a file that has it (use --background FILE)"
            ),
        ),
        (
            &["--background-where", "sex=Robot"],
            "the model's background: no record has sex=Robot; sex is \"Female\", \"Male\"".into(),
        ),
        (
            &["--background", "others.csv", "--background-where", "approved=maybe"],
            "others.csv: no record has approved=maybe; approved is \"yes\", \"no\"".into(),
        ),
        (
            &["--method", "path", "--budget", "3"],
            "--budget is for exact and sampled values; leave it out, or leave out --method path".into(),
        ),
        (
            &["--method", "frozen", "--space", "probability"],
            "--space is for exact and sampled values; leave it out, or leave out --method frozen".into(),
        ),
        (&["--groups", "a=sex+colour"], format!("group a: \"colour\" is not a feature of the model; the features are {features}")),
        (&["--groups", "a=sex", "--groups", "b=sex+age"], "group b: feature \"sex\" is already in group a".into()),
        (&["--groups", "a=sex", "--groups", "a=age"], "group a: there is another group of this name".into()),
        (&["--groups", "age=sex+income"], "group age: a feature outside of the group has this name".into()),
        (
            &["--save-background", "new.csv"],
            "the output new.csv is the input new.csv, which it would replace; name another file after --save-background".into(),
        ),
        (
            &["--background", "others.csv", "-o", "others.csv"],
            "the output others.csv is the input others.csv, which it would replace; name another file after --output".into(),
        ),
        (&["--save-background", "x", "-o", "x"], "--output and --save-background name the same file; name two different files".into()),
        (&["--save-background", "./x", "-o", "x"], "--output and --save-background name the same file; name two different files".into()),
    ] {
        assert_eq!(folder.refusal(&[&["explain", "lending.feamoe", "new.csv"], options].concat()), message);
    }
    let missing = folder.refusal(&[
        "explain",
        "lending.feamoe",
        "new.csv",
        "--background",
        "others.csv",
        "--background-where",
        "aproved=yes",
    ]);
    assert!(
        missing.starts_with("others.csv: no column \"aproved\", which the choice of background records needs; "),
        "{missing}"
    );
    let twice = folder.refusal(&["explain", "lending.feamoe", "-", "--background", "-"]);
    assert!(twice.starts_with("standard input (-) is named for the records and for --background"), "{twice}");
    for (options, expected) in [
        (&["--background-where", "sex"][..], "expected COLUMN=VALUE, such as approved=yes"),
        (&["--groups", "sex+age"], "expected NAME=FEATURE+FEATURE, such as money=income+debt"),
        (&["--tolerance", "0"], "expected a number above 0"),
        (&["--max-seconds", "-1"], "expected a number above 0"),
        (&["--background-rows", "0"], "expected a whole number from 1 to 65535"),
        (&["--threads", "0"], "expected a whole number from 1 to 1024"),
    ] {
        let message = folder.run(&[&["explain", "lending.feamoe", "new.csv"], options].concat()).usage_refused();
        assert!(message.contains(expected), "{options:?}: {message}");
    }
}
