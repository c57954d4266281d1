//! Promise: a table gives the same rows, the same model and the same answers of every command in
//! CSV, Parquet and Arrow. Only the needed columns are read, memory does not grow, and a damaged
//! file is an error.

use std::fs::File;
use std::io::{Cursor, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array,
    Float64Array, Int64Array, LargeStringArray, ListArray, NullArray, RecordBatch, RecordBatchIterator, StringArray,
    StringViewArray, TimestampMillisecondArray, UInt8Array,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use feamoe::rows::{ArrowRows, ArrowTable, Cell, Input, ResumeFrom, Source, open};
use feamoe::schema::{Schema, Table};
use feamoe::training::{self, Options, Trainer};
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::{Folder, Ran};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::rows::{options, without_hash};

const SCHEMA: &str = "
    [table]
    missing = [\"?\", \"\", \"-1\"]
    [target]
    column = \"paid\"
    positive = [\"true\"]
    [features]
    drop = [\"day\", \"noise\"]
    [[filter]]
    column = \"rate\"
    min = 0.25
    [[protected]]
    column = \"sex\"
    privileged = [\"1\"]
";

/// The same rows as CSV text and as one batch.
struct Drawn {
    csv: String,
    batch: RecordBatch,
}

/// Draws rows with every type of column; some cells are missing, in each possible way.
fn drawn(rows: usize, seed: u64) -> Drawn {
    let mut draw = Draw::new(seed);
    let (mut age, mut rate, mut half, mut job, mut code, mut sex, mut day, mut price, mut paid) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    let mut csv = String::from("age,rate,half,job,code,sex,day,price,noise,paid\n");
    for row in 0..rows {
        let x = draw.between(0.0, 1.0);
        let missing = |draw: &mut Draw| draw.below(15) == 0;
        let years = if missing(&mut draw) { None } else { Some((x * 70.0) as i64) };
        // A number that stands for a missing value.
        let years = if missing(&mut draw) { Some(-1) } else { years };
        let share = if missing(&mut draw) { f64::NAN } else { f64::from(draw.between(0.0, 2.0)) };
        // The shortest decimals of the f32 decide which of the two nearest f64 it is.
        let tenth = (!missing(&mut draw)).then(|| (x * 100.0).round() / 10.0 + 0.1);
        let text = ["clerk", " smith ", "?", "", "nurse"][draw.below(5)];
        let level = (!missing(&mut draw)).then(|| ["a", "b", "?"][draw.below(3)]);
        let group = draw.below(2) as u8;
        let date = 15_000 + draw.below(3_000) as i32;
        let cents = draw.below(100_000) as i128;
        let outcome = (x + draw.between(0.0, 1.0) + f32::from(group) * 0.2) > 1.0;
        let shown = |text: Option<String>| text.unwrap_or_default();
        csv += &format!(
            "{},{},{},{text},{},{group},{},{},{row},{outcome}\n",
            shown(years.map(|x| x.to_string())),
            shown((!share.is_nan()).then(|| share.to_string())),
            shown(tenth.map(|x| x.to_string())),
            level.unwrap_or_default(),
            Date32Array::from(vec![date]).value_as_date(0).unwrap(),
            format_args!("{}.{:02}", cents / 100, cents % 100),
        );
        age.push(years);
        rate.push(share);
        half.push(tenth);
        job.push(text);
        code.push(level);
        sex.push(group);
        day.push(date);
        price.push(cents);
        paid.push(outcome);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("age", Arc::new(Int64Array::from(age))),
        ("rate", Arc::new(Float64Array::from(rate))),
        ("half", Arc::new(Float32Array::from(half))),
        ("job", Arc::new(StringArray::from(job))),
        ("code", Arc::new(code.into_iter().collect::<DictionaryArray<Int8Type>>())),
        ("sex", Arc::new(UInt8Array::from(sex))),
        ("day", Arc::new(Date32Array::from(day))),
        ("price", Arc::new(Decimal128Array::from(price).with_precision_and_scale(10, 2).unwrap())),
        ("noise", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("paid", Arc::new(BooleanArray::from(paid))),
    ];
    Drawn {
        csv,
        batch: RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap(),
    }
}

fn parquet(batch: &RecordBatch, row_group: usize, compression: Compression) -> Vec<u8> {
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(row_group)).set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn slices(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> + '_ {
    (0..batch.num_rows()).step_by(rows).map(move |at| batch.slice(at, rows.min(batch.num_rows() - at)))
}

fn arrow_file(batch: &RecordBatch, rows: usize) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    slices(batch, rows).for_each(|slice| writer.write(&slice).unwrap());
    writer.into_inner().unwrap()
}

fn arrow_stream(batch: &RecordBatch, rows: usize) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    slices(batch, rows).for_each(|slice| writer.write(&slice).unwrap());
    writer.into_inner().unwrap()
}

fn compressed(batch: &RecordBatch, rows: usize, by: CompressionType) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(Some(by)).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    slices(batch, rows).for_each(|slice| writer.write(&slice).unwrap());
    writer.into_inner().unwrap()
}

/// A batch without rows has no bytes; reading it must not consume those of its neighbour.
#[test]
fn batches_without_rows_change_nothing() {
    let column = |range: std::ops::Range<i64>| -> RecordBatch {
        let values: arrow_array::ArrayRef = Arc::new(arrow_array::Int64Array::from_iter_values(range));
        RecordBatch::try_from_iter([("x", Arc::clone(&values)), ("y", values)]).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    for counts in [&[300, 0, 200][..], &[0, 300], &[300, 0], &[0, 0, 5, 0, 0, 7, 0], &[0], &[]] {
        let mut next = 0;
        let batches: Vec<RecordBatch> = counts
            .iter()
            .map(|count| {
                next += count;
                column(next - count..next)
            })
            .collect();
        let schema = column(0..0).schema();
        let mut file = FileWriter::try_new(Vec::new(), &schema).unwrap();
        let mut stream = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        for batch in &batches {
            file.write(batch).unwrap();
            stream.write(batch).unwrap();
        }
        let (file, stream) = (file.into_inner().unwrap(), stream.into_inner().unwrap());
        // The end-of-stream mark is optional.
        let unmarked = stream[..stream.len() - 8].to_vec();
        for bytes in [file, stream, unmarked] {
            std::fs::write(&path, &bytes).unwrap();
            let mut source = open(&[Input::File(path.clone())], &Table::default()).unwrap();
            let mut read = 0;
            while source.advance().unwrap() {
                assert_eq!(source.record().cell(0), Cell::Number(read as f64), "{counts:?}");
                read += 1;
            }
            assert_eq!(read, next, "{counts:?}");
        }
    }
}

/// A false length could exhaust memory and end the process: it must be checked before the
/// allocation.
#[test]
fn what_compressed_buffers_say_they_hold_is_not_believed() {
    let Drawn { batch, .. } = drawn(5_000, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let mut refused = 0;
    for by in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let whole = compressed(&batch, 1_000, by);
        let read = |bytes: &[u8]| -> Result<usize, String> {
            std::fs::write(&path, bytes).unwrap();
            let mut source =
                open(&[Input::File(path.clone())], &Table::default()).map_err(|error| error.to_string())?;
            let mut rows = 0;
            while source.advance().map_err(|error| error.to_string())? {
                rows += 1;
            }
            Ok(rows)
        };
        assert_eq!(read(&whole), Ok(5_000));
        // Buffers begin at multiples of 8 with the length of their content: 8,000 for a column of
        // f64.
        let places = (0..whole.len() - 8).step_by(8).filter(|at| whole[*at..at + 8] == 8_000_u64.to_le_bytes());
        for at in places {
            for length in [-2, 1 << 31, 1 << 34, 1 << 40, 1 << 62, i64::MAX] {
                let mut bytes = whole.clone();
                bytes[at..at + 8].copy_from_slice(&i64::to_le_bytes(length));
                let message = read(&bytes).unwrap_err();
                if length > 1 << 31 {
                    let expected = format!("found a batch of {length} bytes, expected at most 2147483648");
                    assert!(message.contains(&expected), "{message}");
                }
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn the_same_table_gives_the_same_model_in_any_format() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let Drawn { csv, batch } = drawn(9_000, 5);
    let folder = tempfile::tempdir().unwrap();
    let model = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let run = training::run(&[path.as_path().into()], &schema, &options(), &mut training::unwatched).unwrap();
        let hash = Content::read(run.model().unwrap().bytes.as_slice()).provenance.data_sha256;
        assert_eq!(hash, feamoe::rows::Digest::of(bytes), "{name}: the hash of the file as it lies");
        (run.counts(), without_hash(&run.model().unwrap().bytes))
    };
    let expected = model("table.csv", csv.as_bytes());
    assert!(expected.0.filtered > 500 && expected.0.positive > 3_000, "{:?}", expected.0);
    for (name, bytes) in [
        ("one group", parquet(&batch, 100_000, Compression::SNAPPY)),
        ("small groups", parquet(&batch, 700, Compression::UNCOMPRESSED)),
        ("zstd", parquet(&batch, 5_000, Compression::ZSTD(Default::default()))),
        ("an Arrow file", arrow_file(&batch, 10_000)),
        ("small batches", arrow_file(&batch, 999)),
        ("an Arrow stream", arrow_stream(&batch, 4_096)),
    ] {
        assert_eq!(model(name, &bytes), expected, "{name}");
    }

    // Batches smaller and larger than the reader's own, with the run stored and restored on the
    // way.
    for rows in [1, 777, 8_192, 9_000] {
        let reader = RecordBatchIterator::new(slices(&batch, rows).map(Ok).collect::<Vec<_>>(), batch.schema());
        let mut source = ArrowRows::new("batches", reader, &schema.table).unwrap();
        let mut trainer = Trainer::new(source.columns(), schema.clone(), &options()).unwrap();
        while source.advance().unwrap() {
            trainer.learn(&source.record()).unwrap();
            if [10, 5_500, 8_191].contains(&source.record().position.number) {
                trainer = Trainer::from_bytes(&trainer.checkpoint().to_bytes().unwrap()).unwrap();
            }
        }
        assert_eq!((trainer.counts(), without_hash(&trainer.model().unwrap().bytes)), expected, "{rows} a batch");
    }
}

/// Reads every cell.
fn cells(source: &mut dyn Source) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    while source.advance().unwrap() {
        let text = |column| source.record().cell(column).text().map(|text| String::from_utf8(text.into()).unwrap());
        rows.push((0..source.columns().len()).map(text).collect());
    }
    rows
}

#[test]
fn every_type_is_read_as_its_text_would_be() {
    let columns: Vec<(&str, ArrayRef, [Option<&str>; 2])> = vec![
        ("u8", Arc::new(UInt8Array::from(vec![Some(255), None])), [Some("255"), None]),
        (
            "beyond f64",
            Arc::new(Int64Array::from(vec![9_007_199_254_740_993, -5])),
            [Some("9007199254740993"), Some("-5")],
        ),
        ("f32", Arc::new(Float32Array::from(vec![0.1, -2.5e-8])), [Some("0.1"), Some("-0.000000025")]),
        ("f64", Arc::new(Float64Array::from(vec![0.1, f64::NAN])), [Some("0.1"), None]),
        ("zero", Arc::new(Float64Array::from(vec![-0.0, 1e300])), [Some("0"), None]),
        ("boolean", Arc::new(BooleanArray::from(vec![true, false])), [Some("true"), Some("false")]),
        ("null", Arc::new(NullArray::new(2)), [None, None]),
        ("large", Arc::new(LargeStringArray::from(vec!["x", "NA"])), [Some("x"), None]),
        (
            "view",
            Arc::new(StringViewArray::from(vec!["a text longer than a view", " b "])),
            [Some("a text longer than a view"), Some("b")],
        ),
        ("bytes", Arc::new(BinaryArray::from(vec!["ä".as_bytes(), b""])), [Some("ä"), None]),
        ("date", Arc::new(Date32Array::from(vec![0, 20_000])), [Some("1970-01-01"), Some("2024-10-04")]),
        (
            "time",
            Arc::new(TimestampMillisecondArray::from(vec![0, 1_500])),
            [Some("1970-01-01T00:00:00"), Some("1970-01-01T00:00:01.500")],
        ),
        (
            "decimal",
            Arc::new(Decimal128Array::from(vec![1_250, -5]).with_precision_and_scale(9, 2).unwrap()),
            [Some("12.50"), Some("-0.05")],
        ),
        (
            "dictionary",
            Arc::new(vec![Some("p"), None].into_iter().collect::<DictionaryArray<Int8Type>>()),
            [Some("p"), None],
        ),
        (
            "numbers by key",
            Arc::new(DictionaryArray::new(
                arrow_array::Int8Array::from(vec![1, 0]),
                Arc::new(Int64Array::from(vec![7, 8])),
            )),
            [Some("8"), Some("7")],
        ),
        (
            "no levels",
            Arc::new(DictionaryArray::new(
                arrow_array::Int8Array::from(vec![None, None]),
                Arc::new(StringArray::from(Vec::<&str>::new())),
            )),
            [None, None],
        ),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c, _)| (*n, Arc::clone(c), true))).unwrap();
    let reader = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
    let mut read = cells(&mut ArrowRows::new("memory", reader, &Table::default()).unwrap());
    // A very large number is compared as a number: its decimals would be unreadable.
    let huge = columns.iter().position(|(name, ..)| *name == "zero").unwrap();
    assert_eq!(read[1][huge].take().unwrap().parse(), Ok(1e300));
    for (row, cells) in read.iter().enumerate() {
        let expected: Vec<Option<String>> = columns.iter().map(|(.., text)| text[row].map(str::to_owned)).collect();
        assert_eq!(*cells, expected, "row {row}");
    }
}

#[test]
fn only_wanted_columns_are_read_and_an_unreadable_one_is_named_where_it_is_wanted() {
    let list =
        ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>([Some([Some(1)]), None, Some([None])]);
    let latin: Vec<&[u8]> = vec![b"caf\xe9", b"b", b"c"];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]))),
        ("lists", Arc::new(list)),
        ("latin", Arc::new(BinaryArray::from(latin))),
        ("y", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let folder = Folder::new();
    folder.write("t.parquet", parquet(&batch, 2, Compression::SNAPPY));
    folder.write("t.arrow", arrow_file(&batch, 2));
    for name in ["t.parquet", "t.arrow"] {
        let inputs = [Input::File(folder.path(name))];
        let mut source = open(&inputs, &Table::default()).unwrap();
        assert_eq!(source.unreadable(), [1]);
        source.want(&[3, 0]);
        let row = |x: &str, y: &str| vec![Some(x.to_owned()), None, None, Some(y.to_owned())];
        assert_eq!(cells(&mut *source), [row("1", "a"), row("2", "b"), row("3", "c")], "{name}");

        let message = |wanted: &[usize]| {
            let mut source = open(&inputs, &Table::default()).unwrap();
            source.want(wanted);
            source.advance().unwrap_err().to_string()
        };
        let lists = message(&[0, 1]);
        assert!(lists.contains(&format!("{name}: column \"lists\": found the type List")), "{lists}");
        assert!(
            lists
                .ends_with("expected numbers, text, booleans or dates; drop the column (features.drop), or convert it")
        );
        let latin = message(&[2]);
        assert!(latin.contains("column \"latin\": found the type Binary"), "{latin}");

        // The schema of such a file leaves the column out, with the reason.
        let schema = folder.run(&["schema", name]).stdout;
        for column in ["lists", "latin"] {
            let why = format!("{column:?}, # its cells are neither numbers nor text");
            assert!(schema.contains(&why), "{schema}");
        }
    }
}

#[test]
fn files_follow_each_other_with_their_columns_in_any_order() {
    let text = |texts: &[&str]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let batch = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns).unwrap();
    let folder = Folder::new();
    folder
        .write("1", parquet(&batch(vec![("a", text(&["1", "2"])), ("b", text(&["3", "4"]))]), 9, Compression::SNAPPY));
    let more = batch(vec![("c", text(&["x"])), ("b", text(&["6"])), ("a", text(&["5"]))]);
    folder.write("2", arrow_stream(&more, 1));
    folder.write("3", parquet(&batch(vec![("a", text(&[])), ("b", text(&[]))]), 9, Compression::SNAPPY));
    folder.write("4", arrow_file(&batch(vec![("b", text(&["8"])), ("a", text(&["7"]))]), 1));
    folder.write("lacking", arrow_file(&batch(vec![("a", text(&["7"]))]), 1));
    folder.write("text", "a,b\n1,2\n");
    let inputs = |names: &[&str]| names.iter().map(|name| Input::File(folder.path(name))).collect::<Vec<_>>();
    let mut source = open(&inputs(&["1", "2", "3", "4"]), &Table::default()).unwrap();
    let rows = [("1", "3"), ("2", "4"), ("5", "6"), ("7", "8")];
    assert_eq!(cells(&mut *source), rows.map(|(a, b)| vec![Some(a.to_owned()), Some(b.to_owned())]));
    assert_eq!(source.record().position.number, 4);

    let message = |names: &[&str]| match open(&inputs(names), &Table::default()) {
        Err(error) => error.to_string(),
        Ok(mut source) => loop {
            match source.advance() {
                Ok(more) => assert!(more),
                Err(error) => break error.to_string(),
            }
        },
    };
    assert!(message(&["1", "lacking"]).contains("it lacks \"b\""), "{}", message(&["1", "lacking"]));
    assert!(message(&["1", "text"]).contains("text: expected a Parquet or Arrow file, as the first one is"));
    assert!(message(&["text", "1"]).contains("found a Parquet file, expected CSV text"), "{}", message(&["text", "1"]));
}

#[test]
fn every_command_reads_them_as_it_reads_text() {
    let folder = Folder::with_model();
    let text = folder.text("lending.csv");
    // A column becomes numeric if all its cells are numbers.
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let column = |index: usize| -> ArrayRef {
        let cells = lines[1..].iter().map(|line| line[index]);
        let numbers: Option<Vec<Option<f64>>> =
            cells.clone().map(|cell| if cell.is_empty() { Some(None) } else { cell.parse().ok().map(Some) }).collect();
        match numbers {
            Some(numbers) => Arc::new(Float64Array::from(numbers)),
            None => Arc::new(StringArray::from_iter_values(cells)),
        }
    };
    let columns = lines[0].iter().enumerate().map(|(index, name)| (*name, column(index), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    assert!(batch.columns().iter().any(|column| *column.data_type() == arrow_schema::DataType::Float64));
    folder.write("lending.parquet", parquet(&batch, 500, Compression::SNAPPY));
    folder.write("lending.arrow", arrow_file(&batch, 500));
    let pipe = arrow_stream(&batch, 500);

    let model = ["lending.feamoe"];
    let schema = ["--schema", "lending.toml"];
    let commands: [(&str, &[&str], &[&str]); 6] = [
        ("score", &model, &["--gate"]),
        ("evaluate", &model, &["--schema", "lending.toml", "--format", "json"]),
        ("explain", &model, &["--method", "path", "--row", "7"]),
        ("explain", &model, &["--method", "exact", "--global", "--background", "lending.csv"]),
        ("recourse", &model, &["--format", "json", "--row", "3"]),
        ("train", &[], &["--schema", "lending.toml", "-o", "new.feamoe", "--checkpoint", "new.ckpt"]),
    ];
    for (command, before, after) in commands {
        let arguments = |data: &str| -> Vec<String> {
            [&[command], before, &[data], after].concat().into_iter().map(str::to_owned).collect()
        };
        let done = |ran: Ran| {
            assert_eq!(ran.code, Some(0), "{}: {}", ran.called, ran.stderr);
            ran.stdout
        };
        let run = |data: &str| {
            let arguments = arguments(data);
            done(folder.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
        };
        // The output of `train` names the time and the file, so it differs.
        let is_said = command == "train";
        let expected = run("lending.csv");
        for data in ["lending.parquet", "lending.arrow"] {
            let found = run(data);
            assert!(is_said || found == expected, "{command} {data}: {found}\nexpected {expected}");
        }
        let arguments = arguments("-");
        let found = done(folder.run_on(&pipe, &arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        assert!(is_said || found == expected, "{command} -: {found}\nexpected {expected}");
    }
    // The model trained last came through a pipe.
    let (pipe_model, ckpt) = (folder.read("new.feamoe"), folder.read("new.ckpt"));
    assert_eq!(Content::read(&pipe_model).experts, Content::read(&folder.read("lending.feamoe")).experts);
    assert!(!ckpt.is_empty());

    let refused =
        folder.run_on(&folder.read("lending.parquet"), &[&["train", "-"], &schema[..], &["-o", "n"]].concat());
    assert!(refused.refused().starts_with("standard input: found a Parquet file, expected text or an Arrow stream"));
    let inferred = folder.run(&["schema", "lending.parquet"]).well();
    let from_text = folder.run(&["schema", "lending.csv"]).well();
    let target = |schema: &str| schema.split("[target]").nth(1).map(str::to_owned);
    assert_eq!(target(&inferred), target(&from_text));
    assert!(Schema::from_toml("inferred", &inferred).is_ok());
}

#[test]
fn a_run_that_was_killed_resumes_in_the_file() {
    let folder = Folder::with_lending();
    let Drawn { csv, batch } = drawn(9_000, 21);
    folder.write("t.parquet", parquet(&batch, 1_000, Compression::SNAPPY));
    folder.write("t.csv", csv);
    folder.write("t.toml", SCHEMA);
    let schema = Schema::from_toml("t.toml", SCHEMA).unwrap();
    let input = [Input::File(folder.path("t.parquet"))];
    let whole = training::run(&input, &schema, &options(), &mut training::unwatched).unwrap().model().unwrap();
    let mut stored = Vec::new();
    let never = AtomicBool::new(false);
    let saving = training::Saving {
        stop: &never,
        every: 500,
        save: &mut |trainer| {
            stored.push(trainer.checkpoint().to_bytes().unwrap());
            Ok(())
        },
    };
    training::run_saving(&input, &schema, &options(), Some(saving), &mut training::unwatched).unwrap();
    assert!(stored.len() >= 3);
    for bytes in &stored {
        let resume = |data: &[Input]| {
            let checkpoint = training::checkpoint::Checkpoint::from_bytes(bytes).unwrap();
            training::resume(checkpoint, data, ResumeFrom::Same, None, &mut training::unwatched)
        };
        assert_eq!(resume(&input).unwrap().model().unwrap().bytes.as_slice(), whole.bytes.as_slice());
        assert!(resume(&[Input::File(folder.path("t.csv"))]).is_err());
    }
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let batch = drawn(400, 3).batch;
    let whole = [
        parquet(&batch, 150, Compression::SNAPPY),
        parquet(&batch, 400, Compression::UNCOMPRESSED),
        arrow_file(&batch, 150),
        arrow_stream(&batch, 150),
        compressed(&batch, 150, CompressionType::LZ4_FRAME),
        compressed(&batch, 150, CompressionType::ZSTD),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let read = |bytes: &[u8]| -> Result<usize, String> {
        std::fs::write(&path, bytes).unwrap();
        let mut source = open(&[Input::File(path.clone())], &Table::default()).map_err(|error| error.to_string())?;
        let mut rows = 0;
        while source.advance().map_err(|error| error.to_string())? {
            for column in 0..source.columns().len() {
                assert!(source.record().cell(column) != Cell::Text(b"nobody wrote this"));
            }
            rows += 1;
        }
        Ok(rows)
    };
    let mut draw = Draw::new(99);
    let mut refused = 0;
    for (which, bytes) in whole.iter().enumerate() {
        assert_eq!(read(bytes), Ok(400));
        // An Arrow stream may end between any two batches: nothing shows that more should follow.
        for _ in 0..60 {
            let length = draw.below(bytes.len());
            let found = read(&bytes[..length]);
            assert!(found.is_err() || which >= 3, "{which}: {length} of {} bytes: {found:?}", bytes.len());
        }
        for _ in 0..500 {
            let mut bytes = bytes.clone();
            for _ in 0..=draw.below(3) {
                let at = draw.below(bytes.len());
                bytes[at] = draw.below(256) as u8;
            }
            refused += usize::from(read(&bytes).is_err());
        }
    }
    println!("{refused} of 3,000 damaged files were refused");
    assert!(refused > 200, "{refused}");
}

/// Writes one row group with many rows, which may take much memory in the test itself.
fn write_long(path: &Path, rows: usize) {
    let Drawn { batch, .. } = drawn(20_000, 8);
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(usize::MAX)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    for _ in 0..rows.div_ceil(batch.num_rows()) {
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn memory_does_not_grow_with_a_row_group() {
    /// In bytes; the learner itself needs about ten million.
    const MOST: f64 = 60e6;
    let folder = Folder::new();
    folder.write("t.toml", SCHEMA);
    let peak = |rows: usize| {
        write_long(&folder.path("t.parquet"), rows);
        let train = ["train", "t.parquet", "--schema", "t.toml", "-o", "t.feamoe", "--format", "json"];
        folder.run(&train).json()["peak_memory_bytes"].as_f64()
    };
    let (Some(short), Some(long)) = (peak(20_000), peak(600_000)) else {
        println!("this system does not tell how much memory a process took");
        return;
    };
    println!("peak memory: {:.1} MB for 20,000 rows, {:.1} MB for 600,000 in one group", short / 1e6, long / 1e6);
    assert!(long < MOST && long < short * 1.25, "{short} {long}");
}

#[test]
fn an_arrow_stream_is_read_while_it_is_written() {
    let batch = drawn(3_000, 17).batch;
    let folder = Folder::new();
    folder.write("t.toml", SCHEMA);
    let train = ["train", "-", "--schema", "t.toml", "-o", "t.feamoe", "--format", "json"];
    let mut command = folder.command(&train);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let bytes = arrow_stream(&batch, 100);
    let mut pipe = child.stdin.take().unwrap();
    for piece in bytes.chunks(4_097) {
        pipe.write_all(piece).unwrap();
    }
    drop(pipe);
    let report = Ran::new(&command, &child.wait_with_output().unwrap()).json();
    let read = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(read("rows") + read("skipped"), 3_000);
    assert!(arrow_ipc::reader::StreamReader::try_new(Cursor::new(bytes), None).unwrap().count() == 30);
}

#[test]
fn a_table_in_memory_is_read_as_often_as_a_file() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let Drawn { csv, batch } = drawn(9_000, 33);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, csv).unwrap();
    let table = |rows| ArrowTable::new("people", batch.schema(), slices(&batch, rows).collect()).unwrap();
    for (epochs, shuffle) in [(1, false), (3, false), (2, true)] {
        let options = Options { epochs, shuffle, ..options() };
        let model = |input: Input| {
            let run = training::run(&[input], &schema, &options, &mut training::unwatched).unwrap();
            (run.counts(), without_hash(&run.model().unwrap().bytes))
        };
        let expected = model(Input::File(path.clone()));
        for rows in [9_000, 777] {
            assert!(model(Input::Table(table(rows))) == expected, "{epochs} {shuffle} {rows}");
        }
    }

    // Newer rows, with the columns in another order and one column more.
    let mut order: Vec<usize> = (0..batch.num_columns()).rev().collect();
    order.insert(3, 0);
    let parts = [batch.slice(0, 5_000), batch.slice(5_000, 4_000).project(&order).unwrap()];
    let [older, newer] = parts.map(|part| Input::Table(ArrowTable::new("p", part.schema(), vec![part]).unwrap()));
    let run = training::run(&[older], &schema, &options(), &mut training::unwatched).unwrap();
    let resumed =
        training::resume(run.checkpoint(), &[newer], ResumeFrom::Same, None, &mut training::unwatched).unwrap();
    let whole = training::run(&[Input::Table(table(9_000))], &schema, &options(), &mut training::unwatched).unwrap();
    let bytes = |run: &training::Run| without_hash(&run.model().unwrap().bytes);
    assert!(bytes(&resumed) == bytes(&whole));

    let other = ArrowTable::new("p", batch.schema(), vec![batch.project(&[0]).unwrap()]).err().unwrap().to_string();
    assert!(other.starts_with("p: ") && other.contains("found a batch of"), "{other}");
    let two = [Input::Table(table(9_000)), Input::File(path)];
    let two = training::run(&two, &schema, &options(), &mut training::unwatched).err().unwrap().to_string();
    assert_eq!(two, "people is a table in memory; it is the only input of its run");
}

#[test]
fn a_run_is_interrupted_where_its_watcher_says_so() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let Drawn { batch, .. } = drawn(20_000, 34);
    let table = Input::Table(ArrowTable::new("people", batch.schema(), vec![batch]).unwrap());
    for (epochs, shuffle, wanted) in [(1, false, 1), (3, false, 2), (3, true, 3)] {
        let mut reports = 0;
        let options = Options { epochs, shuffle, ..options() };
        let run = training::run(std::slice::from_ref(&table), &schema, &options, &mut |progress| {
            reports += 1;
            if progress.epoch == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let error = run.err().unwrap().to_string();
        assert!(error.starts_with("interrupted after ") && error.ends_with(" rows"), "{error}");
        assert_eq!(reports == 1, wanted == 1);
    }
}

#[test]
fn parts_of_a_table_are_its_rows_with_their_numbers() {
    let Drawn { batch, .. } = drawn(1_000, 35);
    let whole = ArrowTable::new("people", batch.schema(), slices(&batch, 300).collect()).unwrap();
    let read = |table: &ArrowTable| {
        let (mut rows, mut read) = (table.rows(&Table::default()).unwrap(), Vec::new());
        while rows.advance().unwrap() {
            let record = rows.record();
            let cells: Vec<_> = (0..10).map(|column| record.text(column).into_owned()).collect();
            read.push((record.position.number, cells));
        }
        read
    };
    let expected = read(&whole);
    assert_eq!(expected.last().unwrap().0, 1_000);
    for most in [1, 7, 300, 5_000] {
        let parts = whole.parts(most);
        assert!(parts.iter().flat_map(read).collect::<Vec<_>>() == expected, "{most}");
        assert!(
            parts.iter().flat_map(|part| part.parts(3)).flat_map(|part| read(&part)).eq(expected.clone()),
            "{most}"
        );
    }
}

/// Training continues with newer rows in the same way from a run and from its checkpoint, after any
/// number of epochs.
#[test]
fn a_trainer_taken_from_a_run_goes_the_way_of_its_checkpoint() {
    let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
    let Drawn { batch, .. } = drawn(9_000, 38);
    let table = |from, rows| ArrowTable::new("people", batch.schema(), vec![batch.slice(from, rows)]).unwrap();
    for (epochs, shuffle, older) in [(1, false, 6_000), (3, false, 6_000), (3, true, 6_000), (1, false, 300)] {
        let options = Options { epochs, shuffle, ..options() };
        let older_rows = [Input::Table(table(0, older))];
        let run = training::run(&older_rows, &schema, &options, &mut training::unwatched).unwrap();
        let mut stored = Trainer::from_bytes(&run.checkpoint().to_bytes().unwrap()).unwrap();
        let mut taken = run.into_trainer();
        for trainer in [&mut stored, &mut taken] {
            trainer
                .learn_all(&mut table(older, 3_000).rows_of(&schema.table, &trainer.columns().clone()).unwrap())
                .unwrap();
        }
        assert_eq!(taken.rows(), stored.rows());
        assert!(taken.model().unwrap().bytes == stored.model().unwrap().bytes, "{epochs} {shuffle} {older}");
    }
}
