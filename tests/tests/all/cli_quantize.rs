//! `feamoe export --quantize`: what it writes and refuses, and which commands accept the model.

use feamoe::model::{AlignedBytes, HostIntegerModel, HostModel};
use feamoe::model::{Width, quantize};
use feamoe_engine::schema::Kind;
use feamoe_engine::slots::{Anyone, Target, choose};
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::{Folder, lending};
use feamoe_tests::repository_file;

const SCHEMA: &str = "lending.toml";

/// A folder with a model, its schema and later rows.
fn folder() -> Folder {
    let folder = Folder::with_model();
    folder.write("later.csv", lending(2, 2_000));
    folder
}

fn quantized(folder: &Folder, width: &str) {
    let _ = folder.run(&["export", "lending.feamoe", "-o", "integer.feamoe", "--quantize", width]).done();
}

#[test]
fn measures_the_loss_on_background_records_or_on_data() {
    let folder = folder();
    for (width, weights_bytes) in [("i16", 2), ("i8", 1)] {
        let export = ["export", "lending.feamoe", "-o", "integer.feamoe", "--quantize", width, "--format", "json"];
        let report = folder.run(&export).json();
        assert_eq!(report["integer"]["weights"], width);
        assert_eq!(
            (report["integer"]["rows"].as_u64(), report["integer"]["tolerated"].as_bool()),
            (Some(1000), Some(true))
        );
        let bytes = folder.read("integer.feamoe").len() as u64;
        assert_eq!(report["bytes"].as_u64(), Some(bytes));
        assert!(bytes < report["bytes_before"].as_u64().unwrap() * (1 + weights_bytes) / 4);

        let data = [&export[..], &["--data", "later.csv", "--schema", SCHEMA]].concat();
        let report = folder.run(&data).json();
        let integer = &report["integer"];
        assert_eq!(integer["rows"].as_u64(), Some(2_000));
        let gaps = integer["gaps"].as_array().unwrap();
        assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap["float"].is_number() && gap["integer"].is_number()));
        assert!(integer["largest_difference"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn writes_nothing_past_a_tolerance() {
    let folder = folder();
    let export = ["export", "lending.feamoe", "-o", "integer.feamoe", "--quantize", "i8"];
    let data = ["--data", "later.csv", "--schema", SCHEMA];
    for tolerance in [&["--max-difference", "1e-6"][..], &["--max-changed-decisions", "0", "--max-difference", "0"]] {
        let ran = folder.unchanged(|| folder.run(&[&export[..], &data, tolerance].concat()));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains("not met: with i8 weights the largest difference in p is"), "{}", ran.stderr);
        assert!(ran.stdout.contains("did not write"), "{}", ran.stdout);
    }
    let _ = folder.run(&[&export[..], &data].concat()).done();
}

#[test]
fn refuses_what_does_not_go_together() {
    let folder = folder();
    let export = ["export", "lending.feamoe", "-o", "integer.feamoe"];
    for (more, expected) in [
        (&["--quantize", "i32"][..], "i16"),
        (&["--max-difference", "0.1"], "--quantize"),
        (&["--quantize", "i16", "--data", "later.csv"], "--schema"),
        (&["--quantize", "i16", "--schema", SCHEMA], "--data"),
        (&["--quantize", "i16", "--background", "3"], "--background"),
        (&["--quantize", "i16", "--max-difference", "2"], "expected a number from 0 to 1"),
        (&["--quantize", "i16", "--max-changed-decisions", "-1"], "expected a number from 0 to 1"),
    ] {
        let ran = folder.unchanged(|| folder.run(&[&export[..], more].concat()));
        assert_eq!(ran.code, Some(2), "{}", ran.stdout);
        assert!(ran.stderr.contains(expected), "{more:?}: {}", ran.stderr);
    }
    let _ = folder.run(&["export", "lending.feamoe", "-o", "bare.feamoe"]).done();
    let message = folder.refusal(&["export", "bare.feamoe", "-o", "integer.feamoe", "--quantize", "i16"]);
    assert!(message.contains("--data"), "{message}");
}

#[test]
fn scores_evaluates_inspects_and_explains() {
    let folder = folder();
    quantized(&folder, "i16");
    let scores = |model: &str| folder.run(&["score", model, "later.csv", "--schema", SCHEMA, "--gate"]).done();
    let (float, integer) = (scores("lending.feamoe"), scores("integer.feamoe"));
    let mut differ = 0;
    for (a, b) in float.lines().zip(integer.lines()).skip(1) {
        let p = |line: &str| line.split(',').nth(1).unwrap().parse::<f64>().unwrap();
        assert!((p(a) - p(b)).abs() < 1e-3, "{a} {b}");
        differ += u32::from(a != b);
    }
    assert_eq!(float.lines().count(), integer.lines().count());
    assert!(differ > 1_000, "the integer kernel scored: {differ} lines differ");

    let evaluate = |model: &str| {
        let options = ["evaluate", model, "later.csv", "--schema", SCHEMA, "--format", "json", "--no-recourse"];
        folder.run(&options).json()
    };
    let (float, integer) = (evaluate("lending.feamoe"), evaluate("integer.feamoe"));
    let accuracy = |report: &serde_json::Value| report["accuracy"].as_f64().unwrap();
    assert!((accuracy(&float) - accuracy(&integer)).abs() < 2e-3);

    let inspection = folder.run(&["inspect", "integer.feamoe", "--format", "json"]).json();
    assert_eq!(inspection["integer"]["bits"].as_u64(), Some(16));
    let numbers = inspection["features"].as_array().unwrap().iter().filter(|feature| feature["kind"] == "number");
    assert!(numbers.into_iter().all(|feature| feature["fraction_bits"].is_number()));
    assert!(folder.run(&["inspect", "integer.feamoe"]).done().contains("needs integer::Model<"));

    let explain = |model: &str| {
        let options = ["explain", model, "later.csv", "--schema", SCHEMA, "--method", "frozen", "--format", "json"];
        folder.run(&options).json()
    };
    let (float, integer) = (explain("lending.feamoe"), explain("integer.feamoe"));
    for (a, b) in float["values"].as_array().unwrap().iter().zip(integer["values"].as_array().unwrap()) {
        for (a, b) in a.as_array().unwrap().iter().zip(b.as_array().unwrap()) {
            assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 5e-3, "{a} {b}");
        }
    }
    assert!(integer["residual"].as_array().unwrap().iter().all(|residual| residual == 0.0));
    // The gate shares are computed by the integer model, and are close to the float model's.
    let shares = |report: &serde_json::Value| -> Vec<f64> {
        report["gate_share"].as_array().unwrap().iter().map(|share| share.as_f64().unwrap()).collect()
    };
    let (float, integer) = (shares(&float), shares(&integer));
    assert!(float.iter().zip(&integer).all(|(a, b)| (a - b).abs() < 0.02) && float != integer);
    assert!(integer.iter().any(|share| *share > 0.05), "the gate is at work");
}

#[test]
fn says_what_integer_weights_cannot_do() {
    let folder = folder();
    quantized(&folder, "i8");
    for command in [
        &["explain", "integer.feamoe", "later.csv", "--schema", SCHEMA][..],
        &["explain", "integer.feamoe", "later.csv", "--schema", SCHEMA, "--method", "path"],
        &["recourse", "integer.feamoe", "later.csv", "--schema", SCHEMA],
    ] {
        let message = folder.refusal(command);
        assert!(message.contains("integer weights"), "{command:?}: {message}");
    }
    let message = folder.refusal(&["export", "integer.feamoe", "-o", "again.feamoe", "--quantize", "i16"]);
    assert!(message.contains("the model has integer weights already"), "{message}");
}

/// Frozen explanations warn if the gate decides, for any kind of weights.
#[test]
fn warns_of_the_gate_as_the_float_model_does() {
    let folder = Folder::new();
    let golden = AlignedBytes::read(&repository_file("engine/golden/adult-gated.feamoe")).unwrap();
    let integer = quantize(&golden, Width::I16).unwrap();
    folder.write("float.feamoe", golden.as_slice());
    folder.write("integer.feamoe", integer.as_slice());
    let model = HostModel::load(golden.as_slice()).unwrap();
    let names: Vec<&str> = (0..).map_while(|index| model.schema().feature_name(index)).collect();
    let mut draw = Draw::new(1);
    let mut rows = names.join(",") + "\n";
    for _ in 0..60 {
        let cell = |index: usize| match model.schema().features()[index].kind() {
            Kind::Number { low, high, .. } => draw.between(low, high).to_string(),
            Kind::Category { levels } => {
                let level = draw.below(levels.into());
                model.schema().level_names(index).nth(level).unwrap().to_owned()
            }
        };
        rows += &((0..names.len()).map(cell).collect::<Vec<_>>().join(",") + "\n");
    }
    folder.write("rows.csv", rows);
    let shown = |model: &str| {
        let text = folder.run(&["explain", model, "rows.csv", "--method", "frozen"]).done();
        let reported: Vec<String> = text
            .lines()
            .filter(|line| line.contains("runs through it") || line.contains("gate"))
            .map(str::to_owned)
            .collect();
        let warnings = text.matches("warning").count();
        (reported, warnings)
    };
    let ((float, float_warnings), (integer, integer_warnings)) = (shown("float.feamoe"), shown("integer.feamoe"));
    assert!(float_warnings > 5, "{float_warnings} of the float model's records warn: {float:?}");
    assert_eq!(integer_warnings, float_warnings);
    assert_eq!(integer.len(), float.len());
}

#[test]
fn integer_models_have_constants_copies_and_factory_images() {
    let folder = folder();
    quantized(&folder, "i16");
    // Names can be stripped from an integer model, and constants can be written while quantising or
    // later.
    let bytes = folder.read("integer.feamoe").len();
    let _ = folder.run(&["export", "integer.feamoe", "-o", "bare.feamoe", "--strip-names"]).done();
    assert!(folder.read("bare.feamoe").len() < bytes);
    let options = ["export", "lending.feamoe", "--quantize", "i16", "--strip-names", "-o"];
    let _ = folder.run(&[&options[..], &["stripped.feamoe"]].concat()).done();
    assert_eq!(folder.read("stripped.feamoe"), folder.read("bare.feamoe"));
    let constants = |model: &str, more: &[&str]| {
        let options = ["export", model, "--strip-names", "--constants", "rust", "-o", "constants.rs"];
        let _ = folder.run(&[&options[..], more].concat()).done();
        String::from_utf8(folder.read("constants.rs")).unwrap()
    };
    let text = constants("lending.feamoe", &["--quantize", "i16"]);
    assert_eq!(text, constants("integer.feamoe", &[]));
    assert!(text.contains("pub type Device<'a> = feamoe_engine::integer::Model<'a, FEATURES, EXPERTS>;"), "{text}");
    let crc = &folder.run(&["inspect", "bare.feamoe", "--format", "json"]).json()["crc32"];
    assert!(text.contains(&format!("pub const CRC32: u32 = 0x{};", crc.as_str().unwrap())), "{text}");

    // Both slots hold the confirmed model, and a device's build accepts it.
    let factory = ["export", "integer.feamoe", "-o", "factory.bin", "--factory", "16384", "--word", "16"];
    let printed = folder.run(&factory).done();
    assert!(printed.contains("32768 bytes, both slots of the model"), "{printed}");
    let image = AlignedBytes::new(&folder.read("factory.bin"));
    let (first, second) = image.as_slice().split_at(16384);
    let chosen = choose::<HostIntegerModel<'_>, HostIntegerModel<'_>>(first, second, &Anyone).unwrap();
    assert_eq!((chosen.slot, chosen.passed_over, chosen.on_trial()), (0, None, false));
    assert_eq!(first[chosen.blob.clone()], folder.read("integer.feamoe"));
    assert_eq!(chosen.target().unwrap(), Target { slot: 1, sequence: 2, least_version: 0, failed_at: None });
    for (more, expected) in
        [(&["--factory", "512"][..], "the model needs"), (&["--factory", "8191"], "not a multiple of 4")]
    {
        let message = folder.refusal(&[&["export", "integer.feamoe", "-o", "no.bin"], more].concat());
        assert!(message.contains(expected), "{message}");
    }
    for more in [&["--factory", "8192", "--word", "24"][..], &["--word", "8"], &["--factory", "0"]] {
        let ran = folder.run(&[&["export", "integer.feamoe", "-o", "no.bin"], more].concat());
        assert_eq!(ran.code, Some(2), "{more:?}");
    }
}
