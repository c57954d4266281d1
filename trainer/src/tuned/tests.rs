//! Measures the effect of each tuned constant: two neighbours of each, on training data.
//!
//! `FEAMOE_DATA=FOLDER cargo test --release -p feamoe --lib --no-default-features -- --ignored
//! tuned:: --nocapture` prints a table. It takes ten minutes on one core;
//! `FEAMOE_OVERWRITE_CONSTANTS=1` writes it to `docs/constants.md`. A constant is only tried where
//! it is read.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use feamoe_engine::fairness::Measure;
use flate2::read::GzDecoder;
use tempfile::TempDir;

use crate::demo::{self, LendingStream, write_csv};
use crate::judge::evaluation::{RecourseBurden, evaluate};
use crate::learner::{ClassWeight, FairBy, LearnerOptions, Objective, Penalties, ThresholdRule};
use crate::model::{AnyModel, HostModel};
use crate::rows::{Input, Part, Split, Stream, Use};
use crate::schema::Schema;
use crate::training::{self, Options, unwatched};

/// A constant whose neighbours can be tried, one at a time.
pub(crate) struct Tuned<T: 'static> {
    value: T,
    neighbours: &'static [T],
    place: Place,
    was_read: AtomicBool,
    /// 0 for the value itself, otherwise the number of the neighbour.
    tried: AtomicUsize,
}

/// File and line of a declaration.
type Place = (&'static str, u32);

/// The constants that were read since the list was last emptied.
static READ: Mutex<Vec<&'static dyn Constant>> = Mutex::new(Vec::new());

/// The number types of constants.
pub(crate) trait Number: Copy + Display + Sync {
    fn half(self) -> Self;
    fn double(self) -> Self;
}

macro_rules! numbers {
    ($($number:ty: $two:expr),+) => {$(impl Number for $number {
        fn half(self) -> Self {
            self / $two
        }
        fn double(self) -> Self {
            self * $two
        }
    })+};
}
numbers!(f32: 2.0, f64: 2.0, u32: 2, u64: 2, usize: 2);

impl<T: Number> Tuned<T> {
    pub(crate) const fn new(value: T, neighbours: &'static [T], file: &'static str, line: u32) -> Self {
        let place = (file, line);
        Self { value, neighbours, place, was_read: AtomicBool::new(false), tried: AtomicUsize::new(0) }
    }

    /// Returns the value, or the neighbour that is currently tried.
    pub(crate) fn get(&'static self) -> T {
        if !self.was_read.load(Ordering::Relaxed) && !self.was_read.swap(true, Ordering::Relaxed) {
            READ.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
        self.of(self.tried.load(Ordering::Relaxed))
    }

    fn of(&self, tried: usize) -> T {
        match (tried, self.neighbours) {
            (0, _) => self.value,
            (1, []) => self.value.half(),
            (_, []) => self.value.double(),
            (_, neighbours) => neighbours[tried - 1],
        }
    }
}

/// A tuned constant of any type.
trait Constant: Sync {
    fn place(&self) -> Place;
    fn text(&self, tried: usize) -> String;
    fn try_out(&self, tried: usize);
    fn forget(&self);
}

impl<T: Number> Constant for Tuned<T> {
    fn place(&self) -> Place {
        self.place
    }

    fn text(&self, tried: usize) -> String {
        self.of(tried).to_string()
    }

    fn try_out(&self, tried: usize) {
        self.tried.store(tried, Ordering::Relaxed);
    }

    fn forget(&self) {
        self.was_read.store(false, Ordering::Relaxed);
    }
}

/// Returns the constants that were read since the last call.
fn taken() -> Vec<&'static dyn Constant> {
    let read = std::mem::take(&mut *READ.lock().unwrap_or_else(PoisonError::into_inner));
    read.iter().for_each(|constant| constant.forget());
    read
}

/// Returns the name of a constant with its module, and the first sentence of its documentation.
fn described(place: Place, repository: &Path) -> (String, String) {
    let text = fs::read_to_string(repository.join(place.0)).unwrap();
    let lines: Vec<&str> = text.lines().take(place.1 as usize).collect();
    let name = lines.last().unwrap().split("static ").nth(1).unwrap().split(':').next().unwrap();
    let module = place.0.trim_start_matches("trainer/").trim_start_matches("src/").trim_end_matches(".rs");
    let before = lines.iter().rev().skip_while(|line| line.contains("tuned!(") && !line.starts_with("///"));
    let mut docs: Vec<&str> = before.map_while(|line| line.strip_prefix("///")).collect();
    docs.reverse();
    let docs = docs.concat();
    let sentence = docs.split(". ").next().unwrap().split(": ").next().unwrap().trim().trim_end_matches('.');
    let module = module.trim_end_matches("/mod").trim_start_matches("learner/");
    (format!("{module}::{name}").replace('/', "::"), sentence.replace("[`", "`").replace("`]", "`"))
}

/// A data set, and how to learn from it.
struct Scenario {
    name: &'static str,
    file: PathBuf,
    schema: Schema,
    learner: LearnerOptions,
    /// The measure that is held, or otherwise reported for fairness.
    measure: Option<Measure>,
    /// Number of splits of the file, judged on the third that is held out; with 0, rows are judged
    /// in order of arrival, before they are learned from.
    splits: u64,
}

/// Means over splits.
#[derive(Clone, Copy, Default)]
struct Figures {
    log_loss: f64,
    /// Accuracy; balanced accuracy if the labels are balanced.
    accuracy: f64,
    /// Magnitude of the largest value of the measure; 0 without a measure.
    gap: f64,
}

impl Scenario {
    fn run(&self, seed: u64) -> Figures {
        let all: Vec<Figures> = (1..=self.splits.max(1)).map(|split| self.run_split(seed, split)).collect();
        mean(&all)
    }

    fn run_split(&self, seed: u64, split: u64) -> Figures {
        let part = |part| Split { seed: split, training_share: 2.0 / 3.0, part };
        let learner = self.learner.clone().seed(seed).check().unwrap();
        let balanced = learner.class_weight() == ClassWeight::Balanced;
        let mut options = Options { background: 0, ..Options::new(learner) };
        options.split = (self.splits > 0).then(|| part(Part::Training));
        let input = [Input::from(self.file.as_path())];
        let run = training::run(&input, &self.schema, &options, &mut unwatched).unwrap();
        let gap = |worst: &dyn Fn(Measure) -> Option<f32>| {
            self.measure.map_or(0.0, |measure| worst(measure).map_or(f64::NAN, |gap| f64::from(measure.magnitude(gap))))
        };
        if self.splits == 0 {
            let total = run.prequential().total();
            let all = total.all();
            return Figures {
                log_loss: total.mean_log_loss(),
                accuracy: if balanced { all.balanced_accuracy() } else { all.accuracy() }.into(),
                gap: gap(&|measure| total.worst(measure)),
            };
        }
        let exported = run.model().unwrap();
        let model = HostModel::load(exported.bytes.as_slice()).unwrap();
        let mut rows = Stream::open(&input, &self.schema, Use::Learn).unwrap();
        rows.keep(part(Part::HeldOut));
        let has_recourse = self.measure == Some(Measure::RecourseBurden);
        let burden = if has_recourse { RecourseBurden::Measured } else { RecourseBurden::LeftOut };
        let found = evaluate(AnyModel::Float(&model), None, &mut rows, burden, &mut |_| ()).unwrap();
        Figures {
            log_loss: found.log_loss,
            accuracy: if balanced { found.balanced_accuracy } else { found.accuracy }.into(),
            gap: gap(&|measure| found.worst(measure)),
        }
    }
}

fn mean(all: &[Figures]) -> Figures {
    let n = all.len() as f64;
    let of = |figure: fn(&Figures) -> f64| all.iter().map(figure).sum::<f64>() / n;
    Figures { log_loss: of(|f| f.log_loss), accuracy: of(|f| f.accuracy), gap: of(|f| f.gap) }
}

/// Number of rows of the streams.
const ROWS: usize = 20_000;

fn scenarios(data: &Path, folder: &TempDir) -> Vec<Scenario> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let schema = |name: &str| Schema::open(&schemas.join(name)).unwrap();
    let [diabetes, lending] = ["diabetes.csv", "lending.csv"].map(|name| folder.path().join(name));
    let packed = fs::File::open(data.join("diabetes_1999_2008.csv.gz")).unwrap();
    let mut first = fs::File::create(&diabetes).unwrap();
    for line in BufReader::new(GzDecoder::new(packed)).lines().take(1 + ROWS) {
        writeln!(first, "{}", line.unwrap()).unwrap();
    }
    write_csv(&mut fs::File::create(&lending).unwrap(), LendingStream::new(1).take(ROWS)).unwrap();
    let adult = || (data.join("adult.data"), schema("adult.toml"));
    let compas = || (data.join("compas-scores-two-years.csv"), schema("compas.toml"));
    let diabetes = || (diabetes.clone(), schema("diabetes-130.toml"));
    let lending = || (lending.clone(), Schema::from_toml("lending", demo::SCHEMA).unwrap());
    let scenario =
        |name, (file, schema), splits, learner, measure| Scenario { name, file, schema, learner, measure, splits };
    let plain = LearnerOptions::default;
    let held = |name, from, splits, measure| scenario(name, from, splits, plain().target(measure, 0.05), Some(measure));
    let balanced = ThresholdRule::Auto(Objective::Balanced);
    vec![
        scenario("Adult", adult(), 1, plain(), None),
        scenario("COMPAS", compas(), 3, plain(), None),
        scenario("Diabetes-130", diabetes(), 0, plain(), None),
        scenario("demo's drifts", lending(), 0, plain(), None),
        held("Adult, spd=0.05", adult(), 1, Measure::Spd),
        held("COMPAS, aod=0.05", compas(), 3, Measure::Aod),
        held("Diabetes-130, spd=0.05", diabetes(), 0, Measure::Spd),
        held("demo's drifts, spd=0.05", lending(), 0, Measure::Spd),
        held("Adult, burden=0.05", adult(), 1, Measure::Burden),
        held("COMPAS, recourse_burden=0.05", compas(), 2, Measure::RecourseBurden),
        scenario(
            "Adult, spd=0.05 by threshold",
            adult(),
            1,
            plain().target(Measure::Spd, 0.05).fair_by(FairBy::Threshold),
            Some(Measure::Spd),
        ),
        scenario(
            "Adult, balanced labels, auto:balanced",
            adult(),
            1,
            plain().class_weight(ClassWeight::Balanced).threshold_rule(balanced),
            Some(Measure::Spd),
        ),
        scenario("COMPAS, individual=0.4", compas(), 2, plain().individual(0.4), Some(Measure::Spd)),
        scenario("Adult, penalties of the paper", adult(), 1, plain().penalties(Penalties::ALL), Some(Measure::Spd)),
    ]
}

/// Returns the change in units of 0.0001, with a sign.
fn change(now: f64, before: f64) -> String {
    format!("{:+.0}", 1e4 * (now - before)).replace("-0", "0").replace("+0", "0")
}

#[test]
#[ignore = "ten minutes in a release build, on real data; alone, since it changes constants"]
fn ablation() {
    let Some(data) = std::env::var_os("FEAMOE_DATA").map(PathBuf::from) else {
        println!("skipped: FEAMOE_DATA not set");
        return;
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = TempDir::new().unwrap();
    let scenarios = scenarios(&data, &folder);
    _ = taken();

    let mut page = String::new();
    let mut readers: BTreeMap<Place, (&dyn Constant, Vec<usize>)> = BTreeMap::new();
    let mut defaults = Vec::new();
    writeln!(page, "| learned from | log-loss | accuracy | gap | another seed: log-loss | accuracy | gap |").unwrap();
    writeln!(page, "| --- | --- | --- | --- | --- | --- | --- |").unwrap();
    for (index, scenario) in scenarios.iter().enumerate() {
        let before = scenario.run(1);
        for constant in taken() {
            readers.entry(constant.place()).or_insert((constant, Vec::new())).1.push(index);
        }
        let others = [2, 3, 4].map(|seed| scenario.run(seed));
        let noise = |of: fn(&Figures) -> f64| {
            let sum: f64 = others.iter().map(|other| (of(other) - of(&before)).abs()).sum();
            format!("{:.0}", 1e4 * sum / others.len() as f64)
        };
        let Figures { log_loss, accuracy, gap } = before;
        let gap = if scenario.measure.is_some() { format!("{gap:.4}") } else { "-".into() };
        let row = format!(
            "| {} | {log_loss:.4} | {accuracy:.4} | {gap} | {} | {} | {} |",
            scenario.name,
            noise(|f| f.log_loss),
            noise(|f| f.accuracy),
            if scenario.measure.is_some() { noise(|f| f.gap) } else { "-".into() }
        );
        println!("{row}");
        writeln!(page, "{row}").unwrap();
        defaults.push(before);
    }

    let head = "\n| constant | value | tried | log-loss | with fairness: log-loss | accuracy | gap | largest change of a log-loss | what it is |\n\
                | --- | --- | --- | --- | --- | --- | --- | --- | --- |";
    println!("{head}");
    writeln!(page, "{head}").unwrap();
    for (place, (constant, reads)) in &readers {
        let (name, what) = described(*place, &repository);
        for tried in [1, 2] {
            constant.try_out(tried);
            let found: Vec<(usize, Figures)> = reads.iter().map(|index| (*index, scenarios[*index].run(1))).collect();
            constant.try_out(0);
            let part = |is_fair: bool| {
                let of_part = found.iter().filter(|(index, _)| scenarios[*index].measure.is_some() == is_fair);
                let (now, before): (Vec<_>, Vec<_>) = of_part.map(|(index, now)| (*now, defaults[*index])).unzip();
                (!now.is_empty()).then(|| (mean(&now), mean(&before)))
            };
            let cell = |part: Option<(Figures, Figures)>, of: fn(&Figures) -> f64| {
                part.map_or("-".to_owned(), |(now, before)| change(of(&now), of(&before)))
            };
            let change_of = |(index, now): &(usize, Figures)| now.log_loss - defaults[*index].log_loss;
            let largest = found.iter().max_by(|a, b| change_of(a).abs().total_cmp(&change_of(b).abs())).unwrap();
            let mut shown = change(largest.1.log_loss, defaults[largest.0].log_loss);
            if shown != "0" {
                write!(shown, " ({})", scenarios[largest.0].name).unwrap();
            }
            let row = format!(
                "| `{name}` | {} | {} | {} | {} | {} | {} | {shown} | {} |",
                constant.text(0),
                constant.text(tried),
                cell(part(false), |f| f.log_loss),
                cell(part(true), |f| f.log_loss),
                cell(part(true), |f| f.accuracy),
                cell(part(true), |f| f.gap),
                if tried == 1 { &what } else { "" },
            );
            println!("{row}");
            writeln!(page, "{row}").unwrap();
        }
    }
    if std::env::var_os("FEAMOE_OVERWRITE_CONSTANTS").is_some() {
        let path = repository.join("docs/constants.md");
        let text = fs::read_to_string(&path).unwrap();
        let (head, _) = text.split_once("\n| learned from |").unwrap();
        fs::write(path, format!("{head}\n{page}")).unwrap();
    }
}
