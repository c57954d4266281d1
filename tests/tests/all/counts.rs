//! Counts of shards add up: the evaluation of their sum equals that of all rows, bit by bit,
//! however the rows are split and ordered into shards.

use std::io::Cursor;

use feamoe::encoder;
use feamoe::judge::counts::{CountsError, EvaluationCounts};
use feamoe::judge::evaluation::{Evaluation, RecourseBurden, evaluate};
use feamoe::learner::LearnerOptions;
use feamoe::model::{AlignedBytes, AnyModel, HostModel};
use feamoe::rows::{Records, Stream, Use};
use feamoe::schema::Schema;
use feamoe::training::{Options, Trainer};
use feamoe_testkit::generate::Draw;
use serde_json::Value;

const HEADER: &str = "income,town,sex,race,y";
/// Groups of `race` are open and form an intersection. There are also a filter, labels of neither
/// outcome, values without a group, and cells that are not numbers.
const SCHEMA: &str = "
[target]
column = \"y\"
positive = [\"yes\"]
negative = [\"no\"]
[[protected]]
column = \"sex\"
privileged = [\"m\"]
unprivileged = [\"f\"]
[[protected]]
column = \"race\"
privileged = [\"w\"]
[[intersection]]
columns = [\"sex\", \"race\"]
[[filter]]
column = \"town\"
drop = [\"z\"]
[table]
bad_cells = \"missing\"
";

fn schema(text: &str) -> Schema {
    Schema::from_toml("schema", text).unwrap()
}

/// Rows that contain every case that is counted.
fn rows(seed: u64, count: usize) -> Vec<String> {
    let mut draw = Draw::new(seed);
    let row = |_| {
        let income = match draw.below(12) {
            0 => String::new(),
            1 => "1e9".to_owned(),
            2 => draw.one_of(&["much", "little"]).to_owned(),
            _ => draw.below(100).to_string(),
        };
        let town = draw.one_of(&["a", "b", "c", "rare", "", "z"]);
        let sex = draw.one_of(&["m", "f", "m", "f", "x", ""]);
        let race = draw.one_of(&["w", "w", "w", "b", "b", "1", "1", "o", ""]);
        let is_paid = income.parse().unwrap_or(50.0) + f64::from(draw.between(-60.0, 60.0)) > 50.0;
        let y = if draw.below(20) == 0 {
            draw.one_of(&["perhaps", ""])
        } else if is_paid {
            "yes"
        } else {
            "no"
        };
        format!("{income},{town},{sex},{race},{y}\n")
    };
    (0..count).map(row).collect()
}

/// Returns the rows whose income is a number or missing.
fn numbers(rows: &[String]) -> Vec<String> {
    rows.iter().filter(|row| !row.starts_with(['m', 'l'])).cloned().collect()
}

fn stream(rows: &[String], schema: &Schema) -> Stream<'static> {
    let text = format!("{HEADER}\n{}", rows.concat());
    Stream::from_reader("the rows", Cursor::new(text.into_bytes()), schema, Use::Learn).unwrap()
}

fn model(schema: &Schema, background: u16) -> AlignedBytes {
    let columns: Vec<&str> = HEADER.split(',').collect();
    let options = Options { background, ..Options::new(LearnerOptions::default().experts(2).check().unwrap()) };
    let options = Options { encoder: encoder::Options { warmup: 400, bins: 16 }, ..options };
    let mut trainer = Trainer::new(&columns, schema.clone(), &options).unwrap();
    let text = format!("{HEADER}\n{}", numbers(&rows(0, 3_000)).concat());
    trainer.learn_all(&mut Records::from_reader("t", Cursor::new(text.into_bytes()), &schema.table).unwrap()).unwrap();
    trainer.model().unwrap().bytes
}

/// Returns the counts of a shard after storing and reading them.
fn counts(model: &HostModel<'_>, rows: &[String], schema: &Schema, burden: RecourseBurden) -> EvaluationCounts {
    let stream = &mut stream(rows, schema);
    let counts = EvaluationCounts::count(AnyModel::Float(model), None, stream, schema, burden).unwrap();
    let bytes = counts.to_bytes().unwrap();
    let read = EvaluationCounts::from_bytes(&bytes).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
    read
}

fn sum(shards: &[EvaluationCounts]) -> EvaluationCounts {
    let mut sum = shards[0].clone();
    shards[1..].iter().for_each(|shard| sum.add(shard).unwrap());
    sum
}

/// Returns every figure that adds up, with all its digits. `sorted` orders the groups by name.
fn document(evaluation: &Evaluation, is_sorted: bool) -> Value {
    let mut evaluation = Evaluation { proxies: Vec::new(), warnings: Vec::new(), ..evaluation.clone() };
    if is_sorted {
        evaluation.groups.sort_by(|a, b| (&a.attribute, &a.group).cmp(&(&b.attribute, &b.group)));
        evaluation.fairness.sort_by(|a, b| (&a.attribute, &a.group).cmp(&(&b.attribute, &b.group)));
        evaluation.attributes.iter_mut().for_each(|attribute| attribute.groups.sort());
        for attribute in &mut evaluation.attributes {
            attribute.values_without_group.sort_by(|a, b| a.value.cmp(&b.value));
        }
        evaluation.other_labels.values.sort_by(|a, b| a.value.cmp(&b.value));
    }
    serde_json::to_value(&evaluation).unwrap()
}

#[test]
fn shards_add_up_to_all_rows_wherever_they_are_cut() {
    let schema = schema(SCHEMA);
    let bytes = model(&schema, 20);
    let model = HostModel::load(bytes.as_slice()).unwrap();
    for seed in 1..=12 {
        let mut draw = Draw::new(seed);
        let rows = rows(seed, draw.one_of(&[40, 400, 1_500]));
        let burden = draw.one_of(&[RecourseBurden::LeftOut, RecourseBurden::LeftOut, RecourseBurden::Measured]);
        let rows = if burden == RecourseBurden::Measured { &rows[..40] } else { &rows[..] };
        let whole = evaluate(AnyModel::Float(&model), None, &mut stream(rows, &schema), burden, &mut |_| ()).unwrap();
        // Shards of any length, including empty ones and single rows.
        let mut cuts: Vec<usize> = (0..draw.below(9)).map(|_| draw.below(rows.len())).collect();
        cuts.extend([0, rows.len() / 2, rows.len() / 2, rows.len() / 2 + 1, rows.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[String]> = cuts.windows(2).map(|cut| &rows[cut[0]..cut[1]]).collect();
        let shards: Vec<EvaluationCounts> = parts.iter().map(|part| counts(&model, part, &schema, burden)).collect();
        let summed = sum(&shards);
        assert_eq!(summed.rows(), whole.rows);
        let found = summed.evaluation().unwrap();
        assert_eq!(document(&found, false), document(&whole, false), "seed {seed}");
        assert_eq!(found.warnings[..found.warnings.len() - 1], whole.warnings[..]);
        assert!(found.warnings.last().unwrap().starts_with("proxies are left out"));

        // In another order, and added in pairs.
        let mut shuffled = shards;
        (1..shuffled.len()).rev().for_each(|last| shuffled.swap(last, draw.below(last + 1)));
        let pairs: Vec<EvaluationCounts> = shuffled.chunks(2).map(sum).collect();
        let found = sum(&pairs).evaluation().unwrap();
        assert_eq!(document(&found, true), document(&whole, true), "seed {seed}");
        // The comparison notices one row fewer.
        let fewer = counts(&model, &rows[1..], &schema, burden).evaluation().unwrap();
        assert_ne!(document(&fewer, true), document(&whole, true));
    }
}

#[test]
fn what_does_not_add_up_is_left_out_by_name() {
    let text = SCHEMA.replace(
        "column = \"race\"\nprivileged = [\"w\"]",
        "column = \"income\"\nprivileged = [\"50\"]\nas_feature = true",
    );
    let schema = schema(&text.replace("\"sex\", \"race\"", "\"sex\", \"income\""));
    let bytes = model(&schema, 0);
    let model = HostModel::load(bytes.as_slice()).unwrap();
    let rows = numbers(&rows(3, 300));
    let burden = RecourseBurden::LeftOut;
    let of = |rows: &[String]| counts(&model, rows, &schema, burden);
    let whole = evaluate(AnyModel::Float(&model), None, &mut stream(&rows, &schema), burden, &mut |_| ()).unwrap();
    // A single shard with all rows equals all rows.
    let one = sum(&[of(&[]), of(&rows), of(&[])]).evaluation().unwrap();
    assert_eq!(document(&one, false), document(&whole, false));
    assert!(whole.individual_unfairness > 0.0);
    let two = sum(&[of(&rows[..100]), of(&rows[100..])]).evaluation().unwrap();
    assert!(two.individual_unfairness.is_nan());
    let unfairness = |evaluation: &Evaluation| {
        let each = evaluation.attributes.iter().filter_map(|of| of.individual.as_ref());
        each.map(|of| of.individual_unfairness.is_nan()).collect::<Vec<_>>()
    };
    assert_eq!((unfairness(&whole), unfairness(&two)), (vec![false, false], vec![false, true]));
    assert!(two.warnings.iter().any(|line| line.starts_with("column \"income\": individual unfairness is left out")));
}

#[test]
fn counts_of_something_else_are_refused() {
    let (own, other) = (schema(SCHEMA), schema(&SCHEMA.replace("drop = [\"z\"]", "drop = [\"c\"]")));
    let (bytes, others) = (model(&own, 20), model(&own, 19));
    let (model, another) = (HostModel::load(bytes.as_slice()).unwrap(), HostModel::load(others.as_slice()).unwrap());
    let rows = rows(1, 60);
    let burden = RecourseBurden::LeftOut;
    let first = counts(&model, &rows, &own, burden);
    let differs = |other: EvaluationCounts| {
        let before = first.to_bytes().unwrap();
        let mut sum = first.clone();
        let error = sum.add(&other).unwrap_err();
        assert_eq!(sum.to_bytes().unwrap(), before);
        error
    };
    assert_eq!(differs(counts(&another, &rows, &own, burden)), CountsError::Differs { what: "model" });
    assert_eq!(differs(counts(&model, &rows, &other, burden)), CountsError::Differs { what: "schema" });
    let measured = counts(&model, &rows, &own, RecourseBurden::Measured);
    assert_eq!(differs(measured), CountsError::Differs { what: "search for recourse" });
    let none = counts(&model, &[], &own, burden).evaluation().unwrap_err();
    assert!(none.to_string().contains("there are no records"), "{none}");

    // Any changed bit and any other length is refused.
    let stored = first.to_bytes().unwrap();
    let mut draw = Draw::new(7);
    for _ in 0..200 {
        let mut bytes = stored.clone();
        bytes[draw.below(stored.len())] ^= 1 << draw.below(8);
        assert!(EvaluationCounts::from_bytes(&bytes).is_err());
        assert!(EvaluationCounts::from_bytes(&stored[..draw.below(stored.len())]).is_err());
    }
    let mut newer = stored;
    newer[4] = 2;
    assert_eq!(EvaluationCounts::from_bytes(&newer).unwrap_err(), CountsError::Version { found: 2 });
}
