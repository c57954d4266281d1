//! `feamoe recourse`: each answer, written into the data, gives a favourable outcome. Features that
//! may not change are left unchanged. The summary by group adds up.

use feamoe_tests::command::{Folder, keys, lending};
use serde_json::Value;

const RECOURSE: [&str; 5] = ["recourse", "lending.feamoe", "new.csv", "--schema", "lending.toml"];

/// A folder with the demo's model and 200 new rows.
fn folder() -> Folder {
    let folder = Folder::with_model();
    folder.write("new.csv", lending(5, 200));
    folder
}

fn json(folder: &Folder, options: &[&str]) -> Value {
    folder.run(&[&RECOURSE[..], options, &["--format", "json"]].concat()).json()
}

fn numbers(column: &Value) -> Vec<f64> {
    column.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Returns the cells of each line of a CSV file.
fn cells(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn every_answer_is_favourable_when_written_into_the_data_and_scored() {
    let folder = folder();
    let found = json(&folder, &[]);
    let rows = cells(&folder.text("new.csv"));
    let column = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let answers = &found["answers"];
    let mut changed = vec![rows[0].clone()];
    for (index, row) in numbers(&answers["row"]).into_iter().enumerate() {
        let mut cells = rows[row as usize].clone();
        let features = answers["features"][index].as_array().unwrap();
        assert!(!features.is_empty());
        for (place, feature) in features.iter().map(|name| name.as_str().unwrap()).enumerate() {
            assert!(!["sex", "age", "dependants"].contains(&feature), "{feature} is not to be changed");
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (from, to) = (&answers["from"][index][place], &answers["to"][index][place]);
            assert_eq!(text(from), cells[column(feature)]);
            assert_ne!(from, to);
            if feature == "income" || feature == "loan_amount" {
                assert_eq!(to.as_i64().unwrap() % 100, 0, "{feature} {to}");
            }
            if feature == "years_employed" {
                assert!(to.as_i64() > from.as_i64(), "{from} {to}");
            }
            cells[column(feature)] = text(to);
        }
        changed.push(cells);
    }
    assert!(changed.len() > 100);
    let text: String = changed.iter().map(|cells| cells.join(",") + "\n").collect();
    folder.write("changed.csv", text);
    let scores = cells(&folder.run(&["score", "lending.feamoe", "changed.csv"]).done());
    for (score, probability) in scores[1..].iter().zip(numbers(&answers["probability"])) {
        assert_eq!((score[1].parse::<f32>().unwrap(), score[2].as_str()), (probability as f32, "1"));
    }
}

/// Answers are fit for a letter: few changes, to numbers as they occur in the data, with a margin
/// above the threshold.
#[test]
fn answers_are_few_changes_to_usual_numbers_with_a_margin() {
    let folder = folder();
    folder.write(
        "bare.toml",
        folder
            .text("lending.toml")
            .lines()
            .filter(|line| !line.starts_with("steps"))
            .fold(String::new(), |text, line| text + line + "\n"),
    );
    // The model without its card has no steps from training.
    let _ = folder.run(&["export", "lending.feamoe", "-o", "lending.feamoe.bare", "--background", "1000"]).done();
    let bare = |options: &[&str]| {
        let command = ["recourse", "lending.feamoe.bare", "new.csv", "--schema", "bare.toml", "--format", "json"];
        folder.run(&[&command, options].concat()).json()
    };
    let steps = |report: &Value| -> Vec<(String, f64)> {
        let rules = report["rules"].as_array().unwrap().iter();
        rules.map(|rule| (rule["feature"].as_str().unwrap().to_owned(), rule["step"].as_f64().unwrap())).collect()
    };
    let found = bare(&[]);
    for (feature, step) in [("income", 10.0), ("loan_amount", 100.0), ("credit_score", 1.0), ("dependants", 1.0)] {
        assert!(steps(&found).contains(&(feature.to_owned(), step)), "{feature}: {:?}", steps(&found));
    }
    let changes = |report: &Value| -> Vec<usize> {
        report["answers"]["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(|features| features.as_array().unwrap().len())
            .collect()
    };
    assert!(changes(&found).iter().all(|count| *count <= 3));
    assert!(numbers(&found["answers"]["probability"]).iter().all(|p| *p >= 0.55));
    let one = bare(&["--max-changes", "1", "--margin", "0.2"]);
    assert!(!changes(&one).is_empty() && changes(&one).iter().all(|count| *count == 1));
    assert!(numbers(&one["answers"]["probability"]).iter().all(|p| *p >= 0.7));
    let any = bare(&["--max-changes", "9", "--margin", "0"]);
    let with = |report: &Value| report["summary"]["with_recourse"].as_u64().unwrap();
    assert!(with(&any) >= with(&found) && with(&found) > 20);
    assert!(any["summary"]["mean_distance"].as_f64() < found["summary"]["mean_distance"].as_f64());
    let refused = folder.refusal(&[&RECOURSE[..], &["--margin", "1"]].concat());
    assert_eq!(refused, "--margin 1: expected 0 or more, below 1");
}

#[test]
fn the_document_has_its_keys_and_adds_up() {
    let folder = folder();
    let found = json(&folder, &["--answers", "2"]);
    assert_eq!(
        keys(&found),
        ["answers", "declined", "model", "output_names", "rules", "summary", "threshold", "warnings"]
    );
    assert_eq!(keys(&found["rules"][0]), ["cost", "direction", "feature", "high", "low", "step"]);
    let (declined, answers, summary) = (&found["declined"], &found["answers"], &found["summary"]);
    assert_eq!(keys(declined), ["answers", "probability", "row"]);
    assert_eq!(keys(answers), ["distance", "features", "from", "probability", "rank", "row", "to"]);
    assert_eq!(
        keys(summary),
        ["changed", "declined", "groups", "mean_distance", "rows", "with_recourse", "without_recourse"]
    );

    let scores = cells(&folder.run(&["score", "lending.feamoe", "new.csv"]).done());
    let expected = scores[1..].iter().filter(|score| score[2] == "0").map(|score| score[0].parse().unwrap());
    let rows = numbers(&declined["row"]);
    assert_eq!(rows, expected.collect::<Vec<f64>>());
    let count = |key: &str| summary[key].as_u64().unwrap() as usize;
    assert_eq!((count("rows"), count("declined")), (200, rows.len()));
    assert_eq!(count("with_recourse") + count("without_recourse"), rows.len());
    let per_row = numbers(&declined["answers"]);
    assert!(per_row.iter().all(|found| *found <= 2.0) && per_row.contains(&2.0));
    assert_eq!(per_row.iter().sum::<f64>() as usize, numbers(&answers["row"]).len());
    let ranked = || numbers(&answers["rank"]).into_iter().zip(numbers(&answers["distance"]));
    let nearest: Vec<f64> = ranked().filter(|(rank, _)| *rank == 1.0).map(|(_, distance)| distance).collect();
    let mean = |distances: &[f64]| distances.iter().sum::<f64>() / distances.len() as f64;
    assert!((summary["mean_distance"].as_f64().unwrap() - mean(&nearest)).abs() < 1e-4);

    // The same figures by group, from the data.
    let data = cells(&folder.text("new.csv"));
    let answered: Vec<f64> =
        rows.iter().zip(&per_row).filter(|(_, found)| **found > 0.0).map(|(row, _)| *row).collect();
    let of = |sex: &str| {
        let own = answered.iter().zip(&nearest).filter(|(row, _)| data[**row as usize][1] == sex);
        mean(&own.map(|(_, distance)| *distance).collect::<Vec<_>>())
    };
    let groups = &summary["groups"];
    assert_eq!((&groups[0]["group"], &groups[1]["group"]), (&"Male".into(), &"Female".into()));
    assert!((groups[1]["mean_distance"].as_f64().unwrap() - of("Female")).abs() < 1e-4);
    assert!((groups[1]["gap"].as_f64().unwrap() - (of("Female") - of("Male"))).abs() < 1e-4);

    let text = folder.run(&RECOURSE).done();
    assert!(text.starts_with(&format!("rows 200  declined {}  with recourse ", rows.len())), "{text}");
    assert!(text.contains("sex: Female") && text.contains("changed by the nearest answers"), "{text}");
    // The model itself also has the groups.
    let without = folder.run(&["recourse", "lending.feamoe", "new.csv", "--format", "json"]).json();
    assert_eq!(without["summary"]["groups"], found["summary"]["groups"]);
}

#[test]
fn one_record_gets_what_to_change_or_that_nothing_helps() {
    let folder = folder();
    let found = json(&folder, &["--answers", "1"]);
    let declined = numbers(&found["declined"]["row"]);
    let row = (declined[0] as u64).to_string();
    let text = folder.run(&[&RECOURSE[..], &["--row", &row]].concat()).done();
    assert!(text.starts_with(&format!("record {row}: score for yes 0.")) && text.contains(": declined\n"), "{text}");
    assert!(text.contains("answer 1: distance ") && text.contains("verified by scoring\nfeature"), "{text}");

    let all = "income,loan_amount,credit_score,years_employed,employment,purpose,region,dependants,age";
    let text = folder.run(&[&RECOURSE[..], &["--row", &row, "--fix", all]].concat()).done();
    assert!(text.contains("no recourse within the ranges"), "{text}");
    let none = json(&folder, &["--row", &row, "--fix", all]);
    assert_eq!(none["summary"]["without_recourse"], 1);

    let favourable = (1..).find(|row| !declined.contains(&f64::from(*row))).unwrap().to_string();
    let text = folder.run(&[&RECOURSE[..], &["--row", &favourable]].concat()).done();
    assert!(text.contains("favourable already, nothing to change"), "{text}");

    let past = folder.refusal(&[&RECOURSE[..], &["--row", "201"]].concat());
    assert_eq!(past, "new.csv: no record 201, expected a row from 1 to 200");
}

#[test]
fn every_rule_is_heard() {
    let folder = folder();
    let plain = json(&folder, &["--answers", "1"]);
    let changes = |found: &Value, feature: &str| -> Vec<(f64, f64)> {
        let answers = &found["answers"];
        let mut changes = Vec::new();
        for (index, features) in answers["features"].as_array().unwrap().iter().enumerate() {
            let place = features.as_array().unwrap().iter().position(|name| name == feature);
            let value = |key: &str, place: usize| answers[key][index][place].as_f64().unwrap();
            changes.extend(place.map(|place| (value("from", place), value("to", place))));
        }
        changes
    };
    let with = |options: &[&str]| changes(&json(&folder, &[&["--answers", "1"], options].concat()), "income");
    let free = changes(&plain, "income");
    assert!(free.len() > 20 && free.iter().any(|(_, to)| *to > 20_000.0), "{free:?}");
    assert!(with(&["--fix", "income"]).is_empty());
    assert!(with(&["--decrease-only", "income"]).iter().all(|(from, to)| to < from));
    let grown = with(&["--increase-only", "income"]);
    assert!(!grown.is_empty() && grown.iter().all(|(from, to)| to > from));
    let ranged = with(&["--range", "income=10000..20000"]);
    assert!(!ranged.is_empty() && ranged.iter().all(|(_, to)| (10_000.0..=20_000.0).contains(to)), "{ranged:?}");
    let stepped = with(&["--step", "income=5000"]);
    assert!(!stepped.is_empty() && stepped.iter().all(|(_, to)| to % 5_000.0 == 0.0), "{stepped:?}");
    assert!(with(&["--cost", "income=100"]).len() < free.len());

    // A protected column never changes, even if the schema does not list it as fixed.
    folder.write("lending.toml", folder.text("lending.toml").replace("\"sex\", ", ""));
    let found = json(&folder, &[]);
    assert_eq!((&found["rules"][0]["feature"], &found["rules"][0]["direction"]), (&"sex".into(), &"fixed".into()));
    assert_eq!(found["rules"][1]["direction"], "fixed");
    let unruled = folder.run(&["recourse", "lending.feamoe", "new.csv", "--format", "json", "--row", "1"]).json();
    assert_eq!(unruled["rules"][0]["direction"], "fixed", "by what it was trained with");
}

#[test]
fn what_cannot_be_a_rule_is_refused() {
    let folder = folder();
    let refusal = |options: &[&str]| folder.refusal(&[&RECOURSE[..], options].concat());
    assert_eq!(refusal(&["--fix", "sex"]), "recourse: column \"sex\" is protected, which recourse never changes");
    assert_eq!(
        refusal(&["--increase-only", "age"]),
        "recourse: column \"age\" is immutable in the schema, so recourse never changes it"
    );
    let unknown = refusal(&["--increase-only", "incom"]);
    assert!(
        unknown.starts_with("recourse: column \"incom\" is not a feature of the model; the features are \"sex\""),
        "{unknown}"
    );
    assert_eq!(
        refusal(&["--range", "region=1..2"]),
        "recourse: column \"region\" is a category of the model, but features.ranges needs a number"
    );
    assert_eq!(
        refusal(&["--range", "income=2..1"]),
        "recourse: column \"income\" has the range 2..1, expected LOW..HIGH with LOW not above HIGH"
    );
    let outside = refusal(&["--range", "income=-20..-10"]);
    assert!(outside.contains("has the range -20..-10, expected one that overlaps the training range"), "{outside}");
    assert_eq!(
        refusal(&["--fix", "income", "--increase-only", "income"]),
        "recourse: column \"income\" is immutable and increase_only, expected only one of them"
    );
    let twice = refusal(&["--increase-only", "income", "--decrease-only", "income"]);
    assert!(twice.contains("increase_only and decrease_only"), "{twice}");
    assert_eq!(
        refusal(&["--step", "income=1", "--step", "income=2"]),
        "--step names \"income\" twice, expected it once"
    );
    let step = refusal(&["--step", "income=-1"]);
    assert_eq!(step, "recourse: column \"income\" has the step -1, expected a number above 0, or 0 for any number");
    let cost = refusal(&["--cost", "income=0"]);
    assert_eq!(cost, "recourse: column \"income\" has the cost 0, expected a number from 0.001 to 1000");
    let usage = |options: &[&str]| folder.run(&[&RECOURSE[..], options].concat()).usage_refused();
    for (options, part) in [
        (["--range", "income"], "expected COLUMN=LOW..HIGH, such as hours=20..40"),
        (["--range", "income=1-2"], "expected COLUMN=LOW..HIGH"),
        (["--step", "income=many"], "expected COLUMN=N, such as income=100"),
        (["--answers", "0"], "expected a whole number from 1 to 20"),
        (["--row", "0"], "expected a whole number from 1 to"),
    ] {
        let message = usage(&options);
        assert!(message.contains(part), "{message}");
    }
}
