//! The service answers with the bits of the model, before, during and after a swap.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use feamoe::model::{AlignedBytes, HostIntegerModel, HostModel, HostRecord, Width, quantize};
use feamoe_engine::Scored;
use feamoe_tests::command::{Folder, feamoe};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::running::{Running, models, wait_for};

/// Number of swaps while requests run.
const SWAPS: usize = 60;
const CLIENTS: usize = 4;

/// Records as a request has them, and the same records for the engine.
fn records() -> [(Value, impl Fn(&mut HostRecord<'_>)); 3] {
    type Set = fn(&mut HostRecord<'_>);
    let all: [(Value, Set); 3] = [
        (json!({ "income": 24_000, "region": "north" }), |record| {
            _ = record.set_number("income", 24_000.0).unwrap();
            _ = record.set_category("region", "north").unwrap();
        }),
        (json!({ "income": 1e300, "region": "the moon" }), |record| {
            _ = record.set_number("income", f32::INFINITY).unwrap();
            _ = record.set_category("region", "the moon").unwrap();
        }),
        (json!({ "income": null }), |_| ()),
    ];
    all
}

/// Calls `run` with the first or second model, as the engine loads it.
fn with_model<R>(index: usize, run: impl FnOnce(&HostModel<'_>) -> R) -> R {
    let bytes = AlignedBytes::new(&models()[index]);
    run(&HostModel::load(bytes.as_slice()).unwrap())
}

/// Returns the name of a model: its SHA-256, as `sha256sum` prints it.
fn name(blob: &[u8]) -> Value {
    json!(Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Returns the bits of the engine's scores and probabilities of [`records`].
fn expected_bits(model: &HostModel<'_>) -> Vec<[u32; 2]> {
    let score = |set: &dyn Fn(&mut HostRecord<'_>)| {
        let mut record = model.record();
        set(&mut record);
        let score = model.score(&record).unwrap();
        [score.probability, model.calibrated(&record, &score).unwrap()].map(f32::to_bits)
    };
    records().iter().map(|(_, set)| score(set)).collect()
}

fn bodies() -> Vec<Value> {
    records().into_iter().map(|(body, _)| body).collect()
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

/// Returns the score that decided, which is the probability if that was not calibrated.
fn score(answer: &Value) -> f32 {
    number(answer.get("score").unwrap_or(&answer["probability"]))
}

fn bits(answer: &Value) -> Vec<[u32; 2]> {
    let bits = |answer: &Value| [score(answer), number(&answer["probability"])].map(f32::to_bits);
    answer["scores"].as_array().unwrap().iter().map(bits).collect()
}

#[test]
fn answers_have_the_bits_of_the_model() {
    let service = Running::start(&[]);
    let ask = || service.post("/score?gate=true", Value::from(bodies()).to_string());
    let (status, answer) = ask();
    assert_eq!((status, &answer["model"]), (200, &name(&models()[0])));
    assert_eq!(bits(&answer), with_model(0, expected_bits));
    // If the probability is calibrated, the answer has both the score and the probability.
    assert_eq!(service.post("/model", &models()[1]).0, 200);
    let apart = bits(&ask().1);
    assert_eq!(apart, with_model(1, expected_bits));
    assert!(apart.iter().all(|[score, probability]| score != probability));
    assert_eq!(service.post("/model", &models()[0]).0, 200);
    let scores = answer["scores"].as_array().unwrap();
    for score in scores {
        let gate: f64 = score["gate"].as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap()).sum();
        assert!((gate - 1.0).abs() < 1e-6);
    }
    assert_eq!(scores[1]["notes"]["clamped"], json!(["income"]));
    assert_eq!(scores[1]["notes"]["unseen"], json!(["region"]));
    assert!(scores[2]["notes"]["missing"].as_array().unwrap().contains(&json!("region")));
    // A single record is answered like an array of one.
    let (_, one) = service.post("/score", bodies()[0].to_string());
    assert_eq!(bits(&one), bits(&answer)[..1]);
}

#[test]
fn explanations_add_up_to_the_score() {
    let service = Running::start(&[]);
    for method in ["frozen", "path", "exact"] {
        let (status, answer) = service.post(&format!("/explain?method={method}"), Value::from(bodies()).to_string());
        assert_eq!((status, answer["method"].as_str()), (200, Some(method)), "{answer}");
        assert_eq!(answer["background"].is_object(), method == "exact");
        for why in answer["explanations"].as_array().unwrap() {
            let values: f64 = why["values"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).sum();
            let sum = why["base_value"].as_f64().unwrap() + values + why["residual"].as_f64().unwrap();
            assert!((sum - why["output"].as_f64().unwrap()).abs() < 1e-5, "{why}");
            if method != "frozen" {
                assert!((number(&why["output"]) - score(why)).abs() < 2e-6, "{why}");
            }
        }
    }
    let (_, by_default) = service.post("/explain", bodies()[0].to_string());
    with_model(0, |model| {
        let mut record = model.record();
        records()[0].1(&mut record);
        let why = model.explain(&record).unwrap();
        let found = &by_default["explanations"][0]["values"];
        for (index, value) in why.values.iter().enumerate().take(model.schema().features().len()) {
            assert_eq!(number(&found[model.schema().feature_name(index).unwrap()]).to_bits(), value.to_bits());
        }
    });
}

/// A model with integer weights replaces a float model and answers with its own bits.
#[test]
fn integer_models_are_served() {
    let service = Running::start(&[]);
    let blob = quantize(&AlignedBytes::new(&models()[0]), Width::I16).unwrap();
    let (status, swapped) = service.post("/model", blob.as_slice());
    assert_eq!(status, 200, "{swapped}");
    let model = HostIntegerModel::load(blob.as_slice()).unwrap();
    let (status, answer) = service.post("/score?gate=true", Value::from(bodies()).to_string());
    assert_eq!((status, &answer["model"]), (200, &name(blob.as_slice())));
    let mut record = model.record();
    _ = record.set_number("income", 24_000.0).unwrap();
    _ = record.set_category("region", "north").unwrap();
    let score = model.score(&record).unwrap();
    assert_eq!(bits(&answer)[0], [Scored::probability(&score).to_bits(); 2]);
    assert_eq!(answer["scores"][1]["notes"]["unseen"], json!(["region"]));
    let (status, answer) = service.post("/explain?method=frozen", bodies()[0].to_string());
    assert_eq!(status, 200, "{answer}");
    let why = &answer["explanations"][0];
    let values: f64 = why["values"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).sum();
    assert!((why["base_value"].as_f64().unwrap() + values - why["output"].as_f64().unwrap()).abs() < 1e-5, "{why}");
    let (status, answer) = service.post("/explain?method=path", bodies()[0].to_string());
    assert!(status == 422 && answer["error"].as_str().unwrap().contains("method=frozen"), "{answer}");
}

/// Every request during a swap is answered, by one of the two models as a whole.
#[test]
fn swaps_fail_no_request_and_mix_no_models() {
    let service = Running::start(&[]);
    let expected: Vec<_> = [0, 1].map(|index| (name(&models()[index]), with_model(index, expected_bits))).into();
    assert_ne!(expected[0].1, expected[1].1);
    let swapping = AtomicBool::new(true);
    let body = Value::from(bodies()).to_string();
    thread::scope(|scope| {
        let ask = || {
            let mut seen = [0, 0];
            while swapping.load(Ordering::Relaxed) {
                let (status, answer) = service.post("/score", &body);
                assert_eq!(status, 200, "{answer}");
                let model = expected.iter().position(|(name, _)| *name == answer["model"]).expect("an unknown model");
                assert_eq!(bits(&answer), expected[model].1);
                seen[model] += 1;
            }
            seen
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        let swaps: Vec<_> = (1..=SWAPS).map(|swap| service.post("/model", &models()[swap % 2])).collect();
        swapping.store(false, Ordering::Relaxed);
        for (swap, (status, answer)) in (1..).zip(swaps) {
            assert_eq!((status, &answer["model"]), (200, &expected[swap % 2].0));
        }
        let seen = clients.into_iter().map(|client| client.join().unwrap());
        let seen = seen.fold([0, 0], |all: [usize; 2], seen| [all[0] + seen[0], all[1] + seen[1]]);
        assert!(seen.iter().all(|requests| *requests > 0), "{seen:?}: a model that no request saw");
    });
}

#[test]
fn a_bad_model_leaves_the_old_one_and_says_why() {
    let service = Running::start(&[]);
    let [first, second] = [0, 1].map(|index| name(&models()[index]));
    let mut flipped = models()[1].clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (blob, why) in [
        (&flipped[..], "checksum"),
        (&models()[1][..100], "needs"),
        (b"not a model, but long enough", "FEAM"),
        (b"", "needs"),
    ] {
        let (status, answer) = service.post("/model", blob);
        let error = answer["error"].as_str().unwrap();
        assert!(status == 422 && error.contains(why) && error.ends_with("stays"), "{status} {error}");
        assert_eq!(service.model(), first);
    }
    // The signal makes the service read the file again.
    let publish = |blob: &[u8]| {
        service.folder.write("new", blob);
        fs::rename(service.folder.path("new"), service.folder.path("first.feamoe")).unwrap();
        service.signal("HUP");
    };
    publish(&models()[1]);
    wait_for("the second model", || service.model() == second);
    let refusals = || service.metric("feamoe_swaps_total{outcome=\"refused\"}");
    let before = refusals();
    publish(&flipped);
    wait_for("the refusal", || refusals() == before + 1.0);
    assert_eq!(service.model(), second);
    let line = format!("\"event\":\"model\",\"model\":{second}");
    wait_for("the log", || service.folder.text("log").contains(&line));
    publish(&models()[0]);
    wait_for("the first model", || service.model() == first);
}

#[test]
fn requests_at_fault_are_refused_with_what_is_wrong() {
    let service = Running::start(&[]);
    for (path, body, status, why) in [
        ("/score", r#"{"income": 1"#, 400, "line 1 column 12"),
        ("/score", r#"{"income": 1} x"#, 400, "trailing characters"),
        ("/score", r#"{"incomes": 1}"#, 422, "found the feature `incomes`, expected one of: "),
        ("/score", r#"{"income": "1"}"#, 422, "expected a number or null for `income`"),
        ("/score", r#"{"region": 1}"#, 422, "expected a string or null for `region`"),
        ("/score", r#"{"region": true}"#, 422, "expected a string or null for `region`"),
        ("/score", r#"{"income": 1, "income": 2}"#, 422, "found `income` twice"),
        ("/score", "[[]]", 422, "expected a record"),
        ("/score", "17", 422, "expected a record"),
        ("/score?gates=true", "{}", 400, "gates"),
        ("/explain?method=guess", "{}", 400, "expected one of `frozen`, `path`, `exact`"),
        ("/scores", "{}", 404, "found POST /scores, expected one of POST /score, "),
        ("/metrics", "{}", 405, "found POST /metrics, expected one of POST /score, "),
    ] {
        let (found, answer) = service.post(path, body);
        let error = answer["error"].as_str().unwrap();
        assert!(found == status && error.contains(why), "{path} {body}: {found} {error}");
    }
}

#[test]
fn metrics_count_what_was_asked() {
    let service = Running::start(&["--group", "region", "--other-group", "plan"]);
    for region in ["north", "south", "the moon"] {
        assert_eq!(service.post("/score", json!({ "region": region, "plan": 7 }).to_string()).0, 200);
    }
    assert_eq!(service.post("/score", "[").0, 400);
    assert_eq!(service.post("/explain", "{}").0, 200);
    let (_, text) = service.get("/metrics");
    for name in text.lines().filter_map(|line| line.split(['{', ' ']).next()).filter(|name| *name != "#") {
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        for word in ["HELP", "TYPE"] {
            assert!(text.contains(&format!("# {word} {name} ")), "{name} has no {word}");
        }
    }
    let count = |endpoint: &str, status: u16| {
        service.metric(&format!("feamoe_request_seconds_count{{endpoint=\"POST /{endpoint}\",status=\"{status}\"}}"))
    };
    assert_eq!([count("score", 200), count("score", 400), count("explain", 200)], [3.0, 1.0, 1.0]);
    assert_eq!([count("model", 200), count("recourse", 200)], [0.0, 0.0]);
    let decisions = ["declined", "favourable"];
    let all = decisions.map(|outcome| service.metric(&format!("feamoe_decisions_total{{outcome=\"{outcome}\"}}")));
    assert_eq!(all.iter().sum::<f64>(), 3.0);
    assert_eq!(service.metric("feamoe_notes_total{kind=\"unseen\"}"), 1.0);
    for (column, group, expected) in [("region", "north", 1.0), ("region", "other", 1.0), ("plan", "7", 3.0)] {
        let found = decisions.map(|outcome| {
            let labels = format!("column=\"{column}\",group=\"{group}\",outcome=\"{outcome}\"");
            service.metric(&format!("feamoe_group_decisions_total{{{labels}}}"))
        });
        assert_eq!(found.iter().sum::<f64>(), expected, "{column} {group}");
    }
}

/// A batch of Arrow records gets the same scores as the same records in JSON.
#[cfg(feature = "tables")]
#[test]
fn a_batch_of_arrow_is_scored_to_the_same_bits() {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray,
        StringViewArray, UInt16Array,
    };
    use arrow_ipc::CompressionType;
    use arrow_ipc::reader::StreamReader;
    use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
    use arrow_schema::{Field, Schema};

    const ARROW: &str = "application/vnd.apache.arrow.stream";
    let service = Running::start(&["--max-records", "5"]);
    assert_eq!(service.post("/model", &models()[1]).0, 200);
    let json: Value = serde_json::from_str(&service.get("/model").1).unwrap();
    let columns = |rows: usize| -> Vec<(String, ArrayRef)> {
        let feature = |feature: &Value| {
            let array: ArrayRef = match (feature["low"].as_f64(), feature["high"].as_f64()) {
                (Some(low), Some(high)) => Arc::new(Float64Array::from_iter(
                    (0..rows).map(|row| (row != 1).then_some(low + row as f64 * high)),
                )),
                _ => Arc::new(StringArray::from_iter_values((0..rows).map(|_| feature["levels"][0].as_str().unwrap()))),
            };
            (feature["name"].as_str().unwrap().to_owned(), array)
        };
        json["features"].as_array().unwrap().iter().map(feature).collect()
    };
    let stream = |rows: usize, compression: Option<CompressionType>| {
        let batch = RecordBatch::try_from_iter(columns(rows)).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    // Columns of the same name must not take time quadratic in their number. Views and dictionaries
    // must not take memory in proportion to rows times bytes.
    let of_column = |names: &[&str], array: ArrayRef| {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, array.data_type().clone(), true)).collect();
        let columns = names.iter().map(|_| Arc::clone(&array)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(["a text that is longer than a view"; 3]));
    let keys = Int32Array::from(vec![0, 1, 2]);
    let of_views: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::clone(&views)));
    for (names, array, why) in [
        (&["x", "x"][..], Arc::new(Float64Array::from(vec![1.0])) as ArrayRef, "found two columns"),
        (&["x"], views, "expected numbers, booleans, text"),
        (&["x"], of_views, "expected numbers, booleans, text"),
    ] {
        let (status, answer) = service.post_bytes("/score", ARROW, &of_column(names, array));
        let answer = String::from_utf8(answer).unwrap();
        assert!(status == 422 && answer.contains(why), "{why}: {status} {answer}");
    }
    let many: Vec<String> = (0..5_000).map(|column| column.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (status, answer) =
        service.post_bytes("/score", ARROW, &of_column(&many, Arc::new(Float64Array::from(vec![1.0]))));
    assert_eq!((status, String::from_utf8_lossy(&answer).contains("5000 columns, expected at most 4096")), (422, true));
    let (status, answer) = service.post_bytes("/score", ARROW, &stream(3, None));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let batch = StreamReader::try_new(&answer[..], None).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.schema().metadata()["model"], service.model());
    let records: Vec<Value> = (0..3)
        .map(|row| {
            let value = |(name, array): (String, ArrayRef)| {
                let text = array.as_any().downcast_ref::<StringArray>();
                let number = array.as_any().downcast_ref::<Float64Array>();
                let value = text.map(|array| json!(array.value(row)));
                (
                    name,
                    value.unwrap_or_else(|| number.map_or(Value::Null, |array| array.iter().nth(row).unwrap().into())),
                )
            };
            columns(3).into_iter().map(value).collect::<serde_json::Map<_, _>>().into()
        })
        .collect();
    let (_, expected) = service.post("/score", Value::from(records).to_string());
    let found = ["score", "probability"].map(|name| batch[name].as_any().downcast_ref::<Float32Array>().unwrap());
    let found = (0..3).map(|row| found.map(|column| column.value(row).to_bits()));
    assert_eq!(found.collect::<Vec<_>>(), bits(&expected));
    let missing = batch["missing"].as_any().downcast_ref::<UInt16Array>().unwrap();
    assert!(missing.value(0) == 0 && missing.value(1) > 0);
    assert!(batch["decision"].as_any().downcast_ref::<BooleanArray>().is_some());

    // A body that would take much more memory than its size, or that is no stream, is refused
    // before it is decoded.
    let good = stream(3, None);
    let mut damaged = good.clone();
    damaged[20] ^= 0xff;
    for (body, why) in [
        (&stream(6, None)[..], "more than 5 records, expected at most 5"),
        (&stream(3, Some(CompressionType::ZSTD)), "expected one without compression"),
        (&good[..good.len() / 2], "cut off or damaged"),
        (&damaged, "damaged"),
        (b"", "no schema"),
        (b"[]", "cut off or damaged"),
    ] {
        let (status, answer) = service.post_bytes("/score", ARROW, body);
        let answer = String::from_utf8(answer).unwrap();
        assert!(status == 422 && answer.contains(why), "{why}: {status} {answer}");
    }
    // No damaged byte of a stream takes the service down.
    for at in (0..good.len()).step_by(7) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x55;
        let (status, _) = service.post_bytes("/score", ARROW, &damaged);
        assert!(status == 200 || status == 422, "byte {at}: {status}");
    }
}

/// The proposed changes turn the decision, as the service's own scores show.
#[test]
fn recourse_turns_the_decision() {
    let service = Running::start(&[]);
    let record = json!({ "income": 8_000, "region": "north" });
    let (status, answer) = service.post("/recourse?answers=2", json!([record, { "income": 250_000 }]).to_string());
    assert_eq!(status, 200, "{answer}");
    let declined = &answer["recourse"][0];
    let answers = declined["answers"].as_array().unwrap();
    assert!(declined["decision"] == json!(false) && (1..=2).contains(&answers.len()), "{answer}");
    for found in answers {
        let mut changed = record.clone();
        for (name, value) in found["changes"].as_object().unwrap() {
            changed[name] = value.clone();
        }
        let (_, scored) = service.post("/score", changed.to_string());
        let scored = &scored["scores"][0];
        assert_eq!(scored["decision"], json!(true), "{found}");
        assert_eq!(score(scored), number(&found["probability"]));
    }
    for (query, why) in
        [("answers=0", "answers from 1 to 20"), ("answers=x", "answers"), ("changes=0", "from 1 to 255")]
    {
        let (status, answer) = service.post(&format!("/recourse?{query}"), "{}");
        assert!((400..=422).contains(&status) && answer["error"].as_str().unwrap().contains(why), "{query}: {answer}");
    }
}

/// The description lists every endpoint and the features of the model.
#[test]
fn the_service_describes_itself() {
    let service = Running::start(&["--other-group", "plan"]);
    let found: Value = serde_json::from_str(&service.get("/openapi.json").1).unwrap();
    let paths: Vec<&String> = found["paths"].as_object().unwrap().keys().collect();
    let expected = ["/explain", "/health", "/metrics", "/model", "/openapi.json", "/ready", "/recourse", "/score"];
    assert_eq!(paths, expected);
    let record = &found["components"]["schemas"]["Record"];
    assert_eq!(record["properties"]["income"]["type"], json!(["number", "null"]));
    assert_eq!(record["properties"]["region"]["type"], json!(["string", "null"]));
    assert!(record["properties"]["plan"].is_object() && record["additionalProperties"] == json!(false));
    assert_eq!((service.get("/health").0, service.get("/ready").0), (200, 200));
}

/// A request that has begun is answered before the process ends.
#[test]
fn the_end_waits_for_requests_that_run() {
    let mut service = Running::start(&[]);
    let mut connection = service.connect();
    let head = "POST /score HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    // The interim answer shows that the service has begun to read the body.
    let mut first = [0; 12];
    connection.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100");
    service.signal("TERM");
    thread::sleep(Duration::from_millis(100));
    assert!(service.process.try_wait().unwrap().is_none(), "ended before the answer");
    connection.write_all(b"{}").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    assert!(service.process.wait().unwrap().success());
}

#[test]
fn without_a_usable_model_it_does_not_start() {
    let folder = Folder::new();
    folder.write("bad.feamoe", "FEAM");
    let output = Command::new(feamoe()).arg("serve").arg(folder.path("bad.feamoe")).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty() && error.contains("cannot use this model"), "{error}");
}
