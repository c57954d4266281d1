//! `feamoe serve`, as a process behind a socket: what it answers has the model's bits, before,
//! during and after a swap; a bad model changes nothing.

#![cfg(unix)]
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use feamoe::model::{AlignedBytes, HostIntegerModel, HostModel, HostRecord};
use feamoe::model::{Width, quantize};
use feamoe_engine::Scored;
use feamoe_tests::command::{Folder, feamoe};
use serde_json::{Value, json};

/// Swaps while requests run.
const SWAPS: usize = 60;
const CLIENTS: usize = 4;
/// What a test waits for at most: a loaded machine, not the service, decides.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running service of `first.feamoe`, in a folder with `second.feamoe` too.
struct Running {
    folder: Folder,
    process: Child,
    address: String,
    agent: ureq::Agent,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two models of the same features.
fn models() -> &'static [Vec<u8>; 2] {
    static MODELS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    MODELS.get_or_init(|| {
        let folder = Folder::with_model();
        let data = ["train", "lending.csv", "--schema", "lending.toml", "--bins", "8", "-o", "second.feamoe"];
        let _ = folder.run(&data).done();
        [folder.read("lending.feamoe"), folder.read("second.feamoe")]
    })
}

impl Running {
    fn start(options: &[&str]) -> Self {
        let folder = Folder::new();
        for (name, model) in ["first.feamoe", "second.feamoe"].iter().zip(models()) {
            folder.write(name, model);
        }
        let mut command = Command::new(feamoe());
        command.arg("serve").arg(folder.path("first.feamoe")).args(["--listen", "127.0.0.1:0"]).args(options);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = config.build().new_agent();
        Self { folder, process, address: address.trim().into(), agent }
    }

    fn post(&self, path: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
        let mut response = self.agent.post(format!("{}{path}", self.address)).send(body.as_ref()).unwrap();
        (response.status().as_u16(), response.body_mut().read_json().unwrap())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut response = self.agent.get(format!("{}{path}", self.address)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn model(&self) -> Value {
        serde_json::from_str::<Value>(&self.get("/model").1).unwrap()["model"].clone()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap().success());
    }

    /// Waits until the service tells of another model.
    fn becomes(&self, model: &Value) {
        let start = Instant::now();
        while self.model() != *model {
            assert!(start.elapsed() < PATIENCE, "still {}", self.model());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A request's record, and the same for the engine.
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

/// Gives the first or second model to `run`, as the engine loads it.
fn with_model<R>(index: usize, run: impl FnOnce(&HostModel<'_>) -> R) -> R {
    let bytes = AlignedBytes::new(&models()[index]);
    run(&HostModel::load(bytes.as_slice()).unwrap())
}

fn crc(model: &HostModel<'_>) -> Value {
    json!(format!("{:08x}", model.crc32()))
}

/// The bits of the scores that the engine gives [`records`].
fn expected_bits(model: &HostModel<'_>) -> Vec<u32> {
    let score = |set: &dyn Fn(&mut HostRecord<'_>)| {
        let mut record = model.record();
        set(&mut record);
        model.score(&record).unwrap().probability.to_bits()
    };
    records().iter().map(|(_, set)| score(set)).collect()
}

fn bodies() -> Vec<Value> {
    records().into_iter().map(|(body, _)| body).collect()
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

fn bits(answer: &Value) -> Vec<u32> {
    answer["scores"].as_array().unwrap().iter().map(|score| number(&score["probability"]).to_bits()).collect()
}

/// The value of a line of the metrics.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).trim().parse().unwrap()
}

#[test]
fn answers_have_the_bits_of_the_model() {
    {
        let service = Running::start(&[]);
        let (status, answer) = service.post("/score?gate=true", Value::from(bodies()).to_string());
        with_model(0, |model| {
            assert_eq!((status, &answer["model"]), (200, &crc(model)));
            assert_eq!(bits(&answer), expected_bits(model));
        });
        let scores = answer["scores"].as_array().unwrap();
        for score in scores {
            let gate: f64 = score["gate"].as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap()).sum();
            assert!((gate - 1.0).abs() < 1e-6);
        }
        assert_eq!(scores[1]["notes"]["clamped"], json!(["income"]));
        assert_eq!(scores[1]["notes"]["unseen"], json!(["region"]));
        assert!(scores[2]["notes"]["missing"].as_array().unwrap().contains(&json!("region")));
        // One record alone is answered like an array of one.
        let (_, one) = service.post("/score", bodies()[0].to_string());
        assert_eq!(bits(&one), bits(&answer)[..1]);
    }
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
                assert!((number(&why["output"]) - number(&why["probability"])).abs() < 2e-6, "{why}");
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

/// A model of integer weights takes the place of one of floats, and answers with its own bits.
#[test]
fn integer_models_are_served() {
    let service = Running::start(&[]);
    let blob = quantize(&AlignedBytes::new(&models()[0]), Width::I16).unwrap();
    let (status, swapped) = service.post("/model", blob.as_slice());
    assert_eq!(status, 200, "{swapped}");
    let model = HostIntegerModel::load(blob.as_slice()).unwrap();
    let (status, answer) = service.post("/score?gate=true", Value::from(bodies()).to_string());
    assert_eq!((status, &answer["model"]), (200, &json!(format!("{:08x}", model.crc32()))));
    let mut record = model.record();
    _ = record.set_number("income", 24_000.0).unwrap();
    _ = record.set_category("region", "north").unwrap();
    let score = model.score(&record).unwrap();
    assert_eq!(bits(&answer)[0], Scored::probability(&score).to_bits());
    assert_eq!(answer["scores"][1]["notes"]["unseen"], json!(["region"]));
    let (status, answer) = service.post("/explain?method=frozen", bodies()[0].to_string());
    assert_eq!(status, 200, "{answer}");
    let why = &answer["explanations"][0];
    let values: f64 = why["values"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).sum();
    assert!((why["base_value"].as_f64().unwrap() + values - why["output"].as_f64().unwrap()).abs() < 1e-5, "{why}");
    let (status, answer) = service.post("/explain?method=path", bodies()[0].to_string());
    assert!(status == 422 && answer["error"].as_str().unwrap().contains("method=frozen"), "{answer}");
}

/// Every request that runs while models are swapped is answered, by one model as a whole.
#[test]
fn swaps_fail_no_request_and_mix_no_models() {
    let service = Running::start(&[]);
    let expected: Vec<_> = [0, 1].map(|index| with_model(index, |model| (crc(model), expected_bits(model)))).into();
    assert_ne!(expected[0].1, expected[1].1);
    let swapping = AtomicBool::new(true);
    let body = Value::from(bodies()).to_string();
    thread::scope(|scope| {
        let ask = || {
            let mut seen = [0, 0];
            while swapping.load(Ordering::Relaxed) {
                let (status, answer) = service.post("/score", &body);
                assert_eq!(status, 200, "{answer}");
                let model = expected.iter().position(|(crc, _)| *crc == answer["model"]).expect("an unknown model");
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
    let [first, second] = [0, 1].map(|index| with_model(index, crc));
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
    // By signal: the file is read again.
    let publish = |blob: &[u8]| {
        service.folder.write("new", blob);
        fs::rename(service.folder.path("new"), service.folder.path("first.feamoe")).unwrap();
        service.signal("HUP");
    };
    publish(&models()[1]);
    service.becomes(&second);
    publish(&flipped);
    publish(&models()[0]);
    service.becomes(&first);
}

#[test]
fn requests_at_fault_are_told_what_is_wrong() {
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
        ("/scores", "{}", 404, "found POST /scores, expected POST /score, "),
        ("/metrics", "{}", 405, "found POST /metrics, expected POST /score, "),
    ] {
        let (found, answer) = service.post(path, body);
        let error = answer["error"].as_str().unwrap();
        assert!(found == status && error.contains(why), "{path} {body}: {found} {error}");
    }
}

#[test]
fn metrics_count_what_was_asked() {
    let service = Running::start(&[]);
    for _ in 0..5 {
        assert_eq!(service.post("/score", "{}").0, 200);
    }
    assert_eq!(service.post("/score", "[").0, 400);
    assert_eq!(service.post("/explain", "{}").0, 200);
    let (_, text) = service.get("/metrics");
    for (endpoint, count, refused) in
        [("POST /score", 6.0, 1.0), ("POST /explain", 1.0, 0.0), ("POST /model", 0.0, 0.0)]
    {
        assert_eq!(metric(&text, &format!("feamoe_request_seconds_count{{endpoint=\"{endpoint}\"}}")), count);
        assert_eq!(metric(&text, &format!("feamoe_requests_refused_total{{endpoint=\"{endpoint}\"}}")), refused);
    }
    let quantile =
        |q: &str| metric(&text, &format!("feamoe_request_seconds{{endpoint=\"POST /score\",quantile=\"{q}\"}}"));
    let max = metric(&text, "feamoe_request_seconds_max{endpoint=\"POST /score\"}");
    assert!(0.0 < quantile("0.5") && quantile("0.5") <= quantile("0.9") && quantile("0.99") <= max && max < 60.0);
}

/// A request that has begun is answered, then the process ends.
#[test]
fn the_end_waits_for_requests_that_run() {
    let mut service = Running::start(&[]);
    let mut connection = TcpStream::connect(service.address.trim_start_matches("http://")).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /score HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    // The service has begun to read the body when it asks for it.
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
    assert!(!output.status.success() && output.stdout.is_empty() && error.contains("not a usable model"), "{error}");
}
