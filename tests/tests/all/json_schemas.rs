//! Promise: `feamoe json-schema COMMAND` describes every key of the JSON that a command prints, and
//! no other.

use boon::{Compiler, SchemaIndex, Schemas};
use feamoe::model::{AlignedBytes, HostModel};
use feamoe_engine::monitor::Monitor;
use feamoe_engine::schema::Note;
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::{Folder, finished, lending};
use serde_json::{Map, Value};

/// Commands that print JSON, with options that change the keys.
const RUNS: [&str; 53] = [
    "train lending.csv --schema lending.toml -o a.feamoe --checkpoint a.ckpt --fair spd=0.05,aod=0.1 --individual 0.4 --grow every=500 --threshold auto:balanced",
    "train moved.csv --schema lending.toml -o b.feamoe --shuffle --epochs 2 --experts 2",
    "train moved.csv --schema nogroup.toml -o c.feamoe --label-delay 10 --class-weight balanced",
    "train odd.csv --schema lending.toml -o d.feamoe --fairness paper --background 0 --bad-cells missing",
    "train small.csv --schema lending.toml -o g.feamoe --bins 0",
    "train odd.csv --schema lending.toml -o d.feamoe --bad-cells missing --dry-run",
    "update a.ckpt moved.csv -o e.feamoe --dry-run",
    "update a.ckpt moved.csv -o e.feamoe",
    "train small.csv --schema lending.toml --encoding a.ckpt -o s.feamoe --checkpoint s.ckpt",
    "train few.csv --schema lending.toml --encoding a.ckpt -o t.feamoe --checkpoint t.ckpt",
    "merge s.ckpt t.ckpt --polish small.csv -o u.feamoe",
    "export lending.feamoe --onnx m.onnx",
    "tune small.csv --schema lending.toml -o o.toml --candidates 3 --repeats 1 --fair spd=0.1",
    "tune small.csv --schema nogroup.toml -o o.toml --candidates 2 --stream",
    "evaluate lending.feamoe odd.csv --require spd=0.1 --bad-cells missing",
    "evaluate c.feamoe small.csv --no-recourse --schema lending.toml",
    "evaluate lending.feamoe few.csv --require spd=0.1,aod=0.1",
    "evaluate lending.feamoe small.csv --schema nogroup.toml",
    "compare lending.feamoe a.feamoe odd.csv --bad-cells missing",
    "compare lending.feamoe c.feamoe few.csv --sample 0",
    "score lending.feamoe odd.csv --gate --keep application,sex --bad-cells missing",
    "score c.feamoe few.csv",
    "explain lending.feamoe few.csv --reasons 2",
    "explain lending.feamoe few.csv --method path",
    "explain lending.feamoe few.csv --method frozen --row 3",
    "explain lending.feamoe few.csv --method sampled --row 3 --max-evaluations 2000",
    "explain lending.feamoe few.csv --budget 60000 --background-rows 100 --max-evaluations 2000",
    "explain lending.feamoe few.csv --groups money=income+loan_amount --row 1 --space log-odds",
    "explain lending.feamoe few.csv --top 3 --method sampled --max-evaluations 2000",
    "explain lending.feamoe few.csv --global --sample 20",
    "explain lending.feamoe few.csv --global --method frozen",
    "explain lending.feamoe --shapes",
    "explain lending.feamoe few.csv --shapes --features purpose,income",
    "explain integer.feamoe few.csv --method frozen",
    "recourse lending.feamoe few.csv",
    "recourse lending.feamoe few.csv --row 1",
    "recourse lending.feamoe few.csv --row 2 --fix income",
    "sign --new-key own.key",
    "sign lending.feamoe --key own.key --line loans --model-version 1 -o signed.feamoe",
    "inspect signed.feamoe --verify own.key.pub",
    "inspect lending.feamoe --device cortex-m0",
    "inspect integer.feamoe --device cortex-m4f",
    "inspect stripped.feamoe",
    "export lending.feamoe -o h.feamoe --quantize i8 --data small.csv --schema lending.toml",
    "export lending.feamoe -o fewer.feamoe --experts 1 --tolerance 1 --data small.csv --schema lending.toml",
    "export lending.feamoe -o i.h --constants c",
    "export lending.feamoe -o j.bin --factory 262144",
    "export integer.feamoe -o k.delta --delta integer.feamoe",
    "monitor lending.feamoe moved.csv --window 500",
    "monitor lending.feamoe few.csv --id application --reference lending.csv",
    "monitor --status a.status --model lending.feamoe --require spd=0.1",
    "monitor --status a.status b.status",
    "study --data . --only shapes --runs 1",
];

/// Keys whose objects have keys taken from the data, such as columns; the schema cannot list them.
const MAPS: [&str; 10] =
    ["kept", "notes", "gaps", "options", "measures", "ranges", "costs", "steps", "missing_in", "monotone"];

struct Described {
    command: &'static str,
    schema: Value,
    schemas: Schemas,
    index: SchemaIndex,
}

impl Described {
    fn new(folder: &Folder, command: &'static str) -> Self {
        let schema = folder.run(&["json-schema", command]).json();
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.add_resource("schema.json", schema.clone()).unwrap();
        let index = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{command}: {error}"));
        Self { command, schema, schemas, index }
    }

    fn fits(&self, document: &Value) -> Result<(), String> {
        self.schemas.validate(document, self.index).map_err(|error| format!("{error:#}"))
    }

    /// Asserts that the document fits, and that it does not fit with an additional key in any
    /// object.
    fn describes(&self, document: &Value, run: &str) {
        self.fits(document).unwrap_or_else(|error| panic!("{run}: {error}"));
        let mut objects = Vec::new();
        find_objects(document, "", &mut objects);
        // A list has hundreds of objects with the same keys.
        for kind in objects.chunk_by(|(_, a), (_, b)| a == b) {
            let mut planted = document.clone();
            let (pointer, _) = &kind[0];
            let object = planted.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            object.insert("undocumented".to_owned(), 1.into());
            assert!(self.fits(&planted).is_err(), "{run}: an unknown key at {pointer:?} is not noticed");
        }
    }
}

/// Collects the objects whose keys are listed in the schema, with their pointers and keys.
fn find_objects(value: &Value, pointer: &str, found: &mut Vec<(String, Vec<String>)>) {
    match value {
        Value::Object(object) => {
            if !MAPS.iter().any(|map| pointer.ends_with(&format!("/{map}"))) {
                found.push((pointer.to_owned(), object.keys().cloned().collect()));
            }
            for (key, inner) in object {
                find_objects(inner, &format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(values) => {
            for (index, inner) in values.iter().enumerate() {
                find_objects(inner, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// A folder with what the runs need: drifting rows, odd cells, labels and groups, few rows.
fn folder() -> Folder {
    let folder = Folder::with_model();
    let rows = lending(3, 3_000);
    let edit = |edit: &dyn Fn(usize, &mut Vec<String>)| {
        let mut lines = rows.lines();
        let mut text = format!("{}\n", lines.next().unwrap());
        for (row, line) in lines.enumerate() {
            let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            edit(row, &mut cells);
            text += &(cells.join(",") + "\n");
        }
        text
    };
    folder.write(
        "moved.csv",
        edit(&|row, cells| {
            if row >= 1_500 {
                cells[3] = cells[3].parse::<u32>().map_or(String::new(), |income| (3 * income).to_string());
                cells[8] = format!("new {}", cells[8]);
            }
        }),
    );
    folder.write(
        "odd.csv",
        edit(&|row, cells| match row % 40 {
            0 => cells[11] = "perhaps".to_owned(),
            1 => cells[1] = "unknown".to_owned(),
            2 => cells[2] = "old".to_owned(),
            3 => cells[2] = "190".to_owned(),
            4 => cells[9] = "abroad".to_owned(),
            5 => cells[4] = String::new(),
            _ => {}
        }),
    );
    let head = |rows_kept: usize| rows.lines().take(rows_kept + 1).map(|line| format!("{line}\n")).collect::<String>();
    folder.write("small.csv", head(1_500));
    folder.write("few.csv", head(40));
    let schema = folder.text("lending.toml");
    let (start, rest) = schema.split_once("[[protected]]").unwrap();
    let end = rest.find("\n[").map_or("", |end| &rest[end..]);
    folder.write("nogroup.toml", format!("{start}{end}"));
    for (name, options) in [("integer", ["--quantize", "i16"].as_slice()), ("stripped", &["--strip-names"])] {
        let output = format!("{name}.feamoe");
        let _ = folder.run(&[&["export", "lending.feamoe", "-o", &output], options].concat()).well();
    }
    for (name, seed) in [("a.status", 1), ("b.status", 2)] {
        folder.write(name, status(&folder, seed));
    }
    folder
}

/// Returns the status of a device with a monitor; its labels become worse over time.
fn status(folder: &Folder, seed: u64) -> Vec<u8> {
    let blob = AlignedBytes::read(&folder.path("lending.feamoe")).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let (mut draw, mut monitor) = (Draw::new(seed), Monitor::<2, 10>::new());
    monitor.start(&model, 1_700_000_000 + seed).unwrap();
    for record in 0..6_000 {
        let p = draw.between(0.0, 1.0);
        let female = draw.below(2) == 1;
        let p = if female && record > 3_000 { p * 0.6 } else { p };
        let token = monitor.observe(p, &[Note::Usual; 10], Some(u8::from(female))).unwrap();
        monitor.label(token, (p >= 0.5) == (draw.below(10) > 0)).unwrap();
    }
    monitor.write(&mut [0; Monitor::<2, 10>::STATUS_BYTES]).unwrap().to_vec()
}

#[test]
fn every_key_is_described_and_no_other() {
    let folder = folder();
    let mut described: Vec<Described> = Vec::new();
    for run in RUNS {
        let command = run.split(' ').next().unwrap();
        if described.last().is_none_or(|last| last.command != command) {
            described.push(Described::new(&folder, command));
        }
        let ran = folder.run(&[&run.split(' ').collect::<Vec<_>>(), ["--format", "json"].as_slice()].concat());
        assert!(matches!(ran.code, Some(0 | 1)), "{run}: {}", ran.stderr);
        let schema = described.last().unwrap();
        // For rows, monitor prints a document on each line.
        let is_lines = command == "monitor" && !run.contains("--status");
        let documents: Vec<&str> = if is_lines { ran.stdout.lines().collect() } else { vec![&ran.stdout] };
        for document in documents {
            schema.describes(&serde_json::from_str(document).unwrap(), run);
        }
    }
    let alarm = Described::new(&folder, "on-event");
    let watch = ["monitor", "lending.feamoe", "moved.csv", "--on-event", "cat >> events.jsonl"];
    assert_eq!(finished(&mut folder.command(&watch)).code, Some(1));
    let alarms = folder.text("events.jsonl");
    assert!(alarms.lines().count() > 1, "{alarms}");
    alarms.lines().for_each(|line| alarm.describes(&serde_json::from_str(line).unwrap(), "on-event"));

    for Described { command, schema, .. } in described.iter().chain([&alarm]) {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{command}");
        let mut undescribed = Vec::new();
        find_undescribed(schema, &mut undescribed);
        assert!(undescribed.is_empty(), "{command}: {undescribed:?}");
    }
}

/// Collects the keys that have neither a description nor a constant value.
fn find_undescribed(schema: &Value, found: &mut Vec<String>) {
    let properties = schema["properties"].as_object().into_iter().flat_map(Map::iter);
    let bare = properties.filter(|(_, inner)| inner["description"].is_null() && inner["const"].is_null());
    found.extend(bare.map(|(key, _)| key.clone()));
    match schema {
        Value::Object(object) => object.values().for_each(|inner| find_undescribed(inner, found)),
        Value::Array(schemas) => schemas.iter().for_each(|inner| find_undescribed(inner, found)),
        _ => {}
    }
}
