//! Promise: a table gives the same model wherever its rows come from: CSV text, an array in memory,
//! or records pushed one by one. A trainer that was stored and resumed gives the same model.

use std::ops::ControlFlow;

use feamoe::explanation::{Explainer, Procedure, attributions};
use feamoe::judge::{self, binding::Binding};
use feamoe::learner::LearnerOptions;
use feamoe::model::{AlignedBytes, AnyModel, HostModel};
use feamoe::rows::{ArrayRows, Cell, Cells, Records, Source};
use feamoe::schema::Schema;
use feamoe::training::{self, Options, Trainer};
use feamoe_engine::fairness::Measure;
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::Draw;
use ndarray::Array2;

const COLUMNS: [&str; 6] = ["age", "income", "code", "noise", "sex", "paid"];
const SCHEMA: &str = "
    [target]
    column = \"paid\"
    positive = [\"1\"]
    [features]
    drop = [\"noise\"]
    categorical = [\"code\"]
    log1p = [\"income\"]
    [[protected]]
    column = \"sex\"
    privileged = [\"1\"]
";
const ROWS: usize = 7_000;

/// A table of numbers that survive a round trip through decimals, some of them missing, and a
/// category of numbers.
fn table() -> Array2<f64> {
    let mut draw = Draw::new(11);
    Array2::from_shape_fn((ROWS, COLUMNS.len()), |(row, column)| {
        let x = f64::from(draw.between(0.0, 1.0));
        let value = match column {
            0 => (x * 700.0).floor() / 10.0,
            1 => x * x * 100_000.0,
            2 => (x * 5.0).floor(),
            3 => x,
            4 => f64::from(u8::from(x < 0.6)),
            _ => f64::from(u8::from((row * 7 + (x * 10.0) as usize) % 10 < 4)),
        };
        if column < 4 && draw.below(20) == 0 { f64::NAN } else { value }
    })
}

fn csv(table: &Array2<f64>) -> String {
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let cell = |x: &f64| if x.is_nan() { String::new() } else { x.to_string() };
    let rows = table.rows().into_iter().map(|row| line(row.iter().map(cell).collect()));
    line(COLUMNS.map(str::to_owned).to_vec()) + &rows.collect::<String>()
}

pub fn options() -> Options {
    Options::new(LearnerOptions::default().target(Measure::Spd, 0.05).check().unwrap())
}

/// Returns the model without the hash of its data.
pub fn without_hash(model: &AlignedBytes) -> Content {
    let mut content = Content::read(model.as_slice());
    content.provenance.data_sha256 = [0; 32];
    content
}

#[test]
fn csv_an_array_and_pushed_cells_give_the_same_model() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let table = table();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, csv(&table)).unwrap();
    let from_csv = training::run(&[path.as_path().into()], &schema, &options(), &mut training::unwatched)
        .unwrap()
        .model()
        .unwrap();

    let mut trainer = Trainer::new(&COLUMNS, schema.clone(), &options()).unwrap();
    trainer.learn_all(&mut ArrayRows::new(table.view(), &COLUMNS).unwrap()).unwrap();
    let from_array = trainer.model().unwrap();
    assert_eq!(without_hash(&from_array.bytes), without_hash(&from_csv.bytes));

    // Pushed as text and as numbers, and stored and resumed at odd places before and after the
    // encoder is fitted.
    let mut trainer = Trainer::new(&COLUMNS, schema, &options()).unwrap();
    let mut cells = Cells::new(COLUMNS.len());
    for (number, row) in (1..).zip(table.rows()) {
        let texts: Vec<String> = row.iter().map(f64::to_string).collect();
        cells.clear();
        for (column, (text, x)) in texts.iter().zip(row).enumerate() {
            match (x.is_nan(), number % 2) {
                (true, _) => {}
                (false, 0) => cells.put(column, Cell::Text(text.as_bytes())),
                (false, _) => cells.put(column, Cell::Number(*x)),
            }
        }
        trainer.learn(&cells.record("pushed", number)).unwrap();
        if [1, 4_999, 5_000, 6_001].contains(&number) {
            trainer = Trainer::from_bytes(&trainer.checkpoint().to_bytes().unwrap()).unwrap();
        }
    }
    assert_eq!(without_hash(&trainer.model().unwrap().bytes), without_hash(&from_csv.bytes));
    assert_eq!(trainer.rows(), ROWS as u64);
}

#[test]
fn an_array_scores_as_its_text_does() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let table = table();
    let mut trainer = Trainer::new(&COLUMNS, schema.clone(), &options()).unwrap();
    trainer.learn_all(&mut ArrayRows::new(table.view(), &COLUMNS).unwrap()).unwrap();
    let exported = trainer.model().unwrap();
    let model = HostModel::load(exported.bytes.as_slice()).unwrap();
    let from_array = judge::scores(AnyModel::Float(&model), &mut ArrayRows::new(table.view(), &COLUMNS).unwrap());
    let mut text = Records::from_reader("t.csv", std::io::Cursor::new(csv(&table)), &schema.table).unwrap();
    let from_text = judge::scores(AnyModel::Float(&model), &mut text).unwrap();
    assert_eq!(from_array.unwrap(), from_text);
    assert_eq!(from_text.len(), ROWS);

    // Explanations of each record equal those of the engine, too.
    let explainer = Explainer::new(AnyModel::Float(&model), Procedure::Path, &[]).unwrap();
    let mut rows = ArrayRows::new(table.view(), &COLUMNS).unwrap();
    let why = attributions(&explainer, &mut rows).unwrap();
    assert_eq!(why.values.dim(), (ROWS, model.schema().features().len()));
    assert!(why.output.iter().zip(&from_text).all(|(output, score)| output == score));
    let mut rows = ArrayRows::new(table.view(), &COLUMNS).unwrap();
    let binding = Binding::new(&model, |name| rows.column(name, "the test")).unwrap();
    let mut record = model.record();
    for row in 0..ROWS {
        assert!(rows.advance().unwrap());
        binding.fill(&rows.record(), &mut record).unwrap();
        let one = model.explain(&record).unwrap();
        let values = why.values.row(row);
        assert!(values.iter().zip(one.values).all(|(found, expected)| found.to_bits() == expected.to_bits()), "{row}");
        assert_eq!((why.base_values[row], why.residual[row]), (one.base_value, one.residual));
    }
}

#[test]
fn what_was_not_asked_for_is_in_no_file() {
    // Dropped columns, a column used only by a filter, and rows that were replaced in the sample.
    let secret = |row: usize| format!("secret-{row}-name");
    let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[features]\ndrop = [\"name\"]\n[[filter]]\ncolumn = \"town\"\n\
                  drop = [\"secret town\"]\n[[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\n";
    let schema =
        Schema::from_toml("s.toml", &schema.replace("drop = [\"name\"]", "drop = [\"name\", \"town\"]")).unwrap();
    for rows in [300, 9_000] {
        let mut trainer = Trainer::new(&["name", "town", "sex", "kind", "y"], schema.clone(), &options()).unwrap();
        let mut cells = Cells::new(5);
        for row in 0..rows {
            let kind = format!("kind {}", row % 3);
            let name = secret(row);
            let sex = ["m", "f"][row % 2];
            let y = ["0", "1"][usize::from(row % 5 > 2)];
            cells.set(&[&name, "hidden town", sex, &kind, y].map(|text: &str| Cell::Text(text.as_bytes())));
            trainer.learn(&cells.record("people", row as u64 + 1)).unwrap();
        }
        let files = [trainer.checkpoint().to_bytes().unwrap(), trainer.model().unwrap().bytes.as_slice().to_vec()];
        for file in files {
            let text = String::from_utf8_lossy(&file);
            assert!(!text.contains("secret-") && !text.contains("hidden town") && !text.contains("people"), "{rows}");
            assert!(text.contains("kind 1"));
        }
    }
}

#[test]
fn a_source_of_other_columns_is_refused() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let table = table();
    let mut names = COLUMNS;
    names.swap(0, 1);
    let mut trainer = Trainer::new(&COLUMNS, schema.clone(), &options()).unwrap();
    let message = |result: Result<(), feamoe::error::Error>| result.unwrap_err().to_string();
    let refused = message(trainer.learn_all(&mut ArrayRows::new(table.view(), &names).unwrap()));
    assert!(refused.starts_with("found the columns \"income\", \"age\""), "{refused}");
    let few = ArrayRows::new(table.view(), &COLUMNS[..5]).map(drop);
    assert_eq!(message(few), "found 5 names, expected one for each of the 6 columns");
    let twice = ArrayRows::new(table.view(), &["a", "b", "c", "d", "e", "a"]).map(drop);
    assert_eq!(message(twice), "found two columns named \"a\", expected each name once");
    let missing = message(Trainer::new(&COLUMNS[..5], schema, &options()).map(drop));
    assert!(missing.starts_with("the table: no column \"paid\", which target.column needs"), "{missing}");
    let mut rows = ArrayRows::new(table.view(), &COLUMNS).unwrap();
    while rows.advance().unwrap() {}
    assert!(!rows.advance().unwrap(), "the end stays the end");
}

#[cfg(unix)]
#[test]
fn several_passes_want_data_that_stay_as_they_are() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let table = table();
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["table.csv", "other.csv"].map(|name| folder.path().join(name));
    let text = csv(&table);
    let long = text.clone() + text.split_once('\n').unwrap().1;
    let options = Options { epochs: 2, ..options() };
    let renamed = long.replacen("age,income", "income,age", 1);
    let last = long.rfind(",0\n").unwrap();
    let one_label = format!("{},1{}", &long[..last], &long[last + 2..]);
    for (changed, refused) in [(&renamed, true), (&one_label, true), (&long, false)] {
        std::fs::write(&path, &long).unwrap();
        let mut is_first = true;
        let run = training::run(&[path.as_path().into()], &schema, &options, &mut |_| {
            // Another file replaces the data during the first pass.
            if std::mem::take(&mut is_first) {
                std::fs::write(&other, changed).unwrap();
                std::fs::rename(&other, &path).unwrap();
            }
            ControlFlow::Continue(())
        });
        match run {
            Ok(_) => assert!(!refused),
            Err(error) => {
                assert!(refused, "{error}");
                let message = error.to_string();
                assert!(message.contains("table.csv: pass 2 found other data than the first one"), "{message}");
            }
        }
    }
    // Nobody writes to this pipe: opening it would block forever.
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let refused =
        training::run(&[pipe.as_path().into()], &schema, &options, &mut training::unwatched).err().unwrap().to_string();
    assert!(refused.contains("pipe can be read only once; shuffle the rows"), "{refused}");
}

/// Trains on `name,y` and returns the result of one more record.
fn said(name: &str, y: &str) -> Result<(), String> {
    let schema = Schema::from_toml("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n").unwrap();
    let mut trainer = Trainer::new(&["name", "y"], schema, &options_without_targets()).unwrap();
    let mut cells = Cells::new(2);
    for number in 1..=3 {
        cells.set(&[Cell::Text(b"short"), Cell::Text(b"1")]);
        trainer.learn(&cells.record("people", number)).unwrap();
    }
    cells.set(&[Cell::Text(name.as_bytes()), Cell::Text(y.as_bytes())]);
    let said = trainer.learn(&cells.record("people", 4)).map(drop).map_err(|error| error.to_string());
    // A refused record is not learned; the next one is.
    cells.set(&[Cell::Text(b"short"), Cell::Text(b"0")]);
    trainer.learn(&cells.record("people", 5)).unwrap();
    let counts = trainer.counts();
    assert_eq!((counts.read, counts.negative), (5, 1));
    said
}

fn options_without_targets() -> Options {
    Options::new(LearnerOptions::default().check().unwrap())
}

#[test]
fn a_text_too_long_to_keep_is_refused_with_its_place() {
    assert_eq!(said(&"x".repeat(1_024), "1"), Ok(()));
    assert_eq!(
        said(&"x".repeat(1_025), "1").unwrap_err(),
        "people: record 4: column \"name\": found a text of 1025 bytes, expected at most 1024 in a column that is a feature; drop the \
         column (features.drop), or shorten its texts"
    );
}

#[test]
fn columns_that_floats_cannot_hold_apart_are_refused() {
    let schema = Schema::from_toml("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n").unwrap();
    let train = |first: f64| {
        let table = Array2::from_shape_fn((6_000, 2), |(row, column)| match column {
            0 => first + row as f64 * 60.0,
            _ => f64::from(u8::from(row % 3 == 0)),
        });
        let mut trainer = Trainer::new(&["seconds", "y"], schema.clone(), &options_without_targets()).unwrap();
        trainer
            .learn_all(&mut ArrayRows::new(table.view(), &["seconds", "y"]).unwrap())
            .map_err(|error| error.to_string())
    };
    assert_eq!(train(0.0), Ok(()));
    let refused = train(1_700_000_000.0).unwrap_err();
    assert!(refused.starts_with("column \"seconds\": found 5000 distinct numbers, of which only "), "{refused}");
    assert!(refused.contains("subtract a fixed offset from the column"), "{refused}");
}

/// The numbers are hours while the encoding is fitted, and seconds later.
#[test]
fn numbers_that_come_too_close_together_later_are_warned_of() {
    let schema = Schema::from_toml("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n").unwrap();
    let warnings = |later: f64| {
        let table = Array2::from_shape_fn((60_000, 2), |(row, column)| match (column, row) {
            (0, 0..6_000) => 1_700_000_000.0 + row as f64 * 3_600.0,
            (0, _) => 1_721_600_000.0 + row as f64 * later,
            _ => f64::from(u8::from(row % 3 == 0)),
        });
        let mut trainer = Trainer::new(&["seconds", "y"], schema.clone(), &options_without_targets()).unwrap();
        trainer.learn_all(&mut ArrayRows::new(table.view(), &["seconds", "y"]).unwrap()).unwrap();
        trainer.model().unwrap().warnings
    };
    assert!(warnings(3_600.0).is_empty());
    let [warning] = &warnings(1.0)[..] else { panic!("one column") };
    assert!(warning.starts_with("in a sample of the rows, column \"seconds\": found "), "{warning}");
}

#[test]
fn files_of_another_kind_are_not_read_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("schema.toml");
    std::fs::write(&path, "# nothing\n".repeat(500_000)).unwrap();
    let refused = Schema::open(&path).unwrap_err().to_string();
    assert!(refused.contains("found more than 4 MB, expected a schema in TOML"), "{refused}");

    let path = folder.path().join("run.ckpt");
    let mut bytes = Trainer::new(&COLUMNS, Schema::from_toml("s", SCHEMA).unwrap(), &options())
        .unwrap()
        .checkpoint()
        .to_bytes()
        .unwrap();
    bytes[8..16].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let refused = training::checkpoint::Checkpoint::read(&path).err().unwrap().to_string();
    assert!(
        refused.contains("a header that states 1099511627776 bytes of content, expected at most 2147483648"),
        "{refused}"
    );
}
