//! Promise: a watch on the rows that a model scores raises no alarm while nothing changes, however
//! long the stream, and soon names what has changed.

use std::io::{Cursor, Read};

use feamoe::demo::{Application, FAIRNESS_DRIFT_AT, LendingStream, SCHEMA, write_csv};
use feamoe::error::Error;
use feamoe::judge::watch::report::{Alarm, Group, Quantity, Reference, ReferenceFrom, Summary, Window};
use feamoe::judge::watch::{Event, Options, Watch, Watched};
use feamoe::model::{AlignedBytes, HostModel, device_copy};
use feamoe::rows::{Stream, Use};
use feamoe::schema::Schema;
use feamoe_engine::Value;
use feamoe_engine::fairness::Measure;
use feamoe_tests::command::Folder;

/// The row at which planted changes begin, and the number of rows within which they must be found.
const CHANGE_AT: u64 = 20_000;
const SOON: u64 = 4_500;

/// Applications as CSV text, generated while they are read.
struct Lending<I> {
    rows: I,
    text: Cursor<Vec<u8>>,
    is_begun: bool,
}

impl<I: Iterator<Item = Application>> Read for Lending<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.text.read(buffer)?;
        if length > 0 || buffer.is_empty() {
            return Ok(length);
        }
        let mut some = self.rows.by_ref().take(500).peekable();
        if some.peek().is_none() {
            return Ok(0);
        }
        let mut text = Vec::new();
        write_csv(&mut text, some)?;
        let header = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let from = if std::mem::replace(&mut self.is_begun, true) { header } else { 0 };
        self.text = Cursor::new(text.split_off(from));
        self.text.read(buffer)
    }
}

/// A stream without drift, except for what `change` does to its rows.
fn stream(seed: u64, rows: u64, mut change: impl FnMut(u64, &mut Application) + Send + 'static) -> Stream<'static> {
    let rows = LendingStream::starting_at(seed, FAIRNESS_DRIFT_AT).take(rows as usize);
    let rows = rows.zip(0_u64..).map(move |(mut application, row)| {
        change(row, &mut application);
        application
    });
    let text = Lending { rows, text: Cursor::default(), is_begun: false };
    let schema = Schema::from_toml("lending.toml", SCHEMA).unwrap();
    Stream::from_reader("lending", text, &schema, Use::Score).unwrap()
}

fn model() -> AlignedBytes {
    AlignedBytes::read(&Folder::with_model().path("lending.feamoe")).unwrap()
}

struct Seen {
    alarms: Vec<Alarm>,
    windows: Vec<Window>,
    summary: Summary,
}

fn observe(mut watch: Watch<'_>, stream: &mut Stream<'_>) -> Seen {
    let (mut alarms, mut windows) = (Vec::new(), Vec::new());
    watch
        .observe_all::<Error>(stream, None, |event| {
            match event {
                Event::Alarm(alarm) => alarms.push(alarm),
                Event::Window(window) => windows.push(*window),
                Event::SoFar(window) => panic!("a file never pauses: {window:?}"),
            }
            Ok(())
        })
        .unwrap();
    Seen { alarms, windows, summary: watch.summary() }
}

fn watched(blob: &AlignedBytes, stream: &mut Stream<'_>) -> Seen {
    let model = HostModel::load(blob.as_slice()).unwrap();
    let mut watch = Watch::new(&model, Options::default()).unwrap();
    assert!(watch.learn_background());
    observe(watch, stream)
}

#[test]
fn nothing_is_raised_while_nothing_changes() {
    let blob = model();
    for seed in 100..130 {
        let seen = watched(&blob, &mut stream(seed, 3_000, |_, _| {}));
        assert_eq!(seen.alarms, [], "seed {seed}");
        assert_eq!((seen.windows.len(), seen.summary.rows, seen.summary.labelled), (3, 3_000, 3_000));
    }
}

/// Gives the figure in `docs/commands.md`: `cargo test --workspace --locked --test all -- --ignored
/// watch::ten_long`.
#[test]
#[ignore = "3 million rows"]
fn ten_long_streams_raise_nothing() {
    let blob = model();
    for seed in 0..10 {
        let seen = watched(&blob, &mut stream(1_000 + seed, 300_000, |_, _| {}));
        assert_eq!(seen.alarms, [], "seed {seed}");
        assert_eq!(seen.summary.rows, 300_000);
    }
}

fn input(feature: &str) -> Quantity {
    Quantity::Input { feature: feature.into() }
}

fn group(name: &str) -> Group {
    Group { attribute: "sex".into(), group: name.into() }
}

type Change = fn(&mut Application);

#[test]
fn a_planted_change_is_named_soon_and_nothing_before_it() {
    let blob = model();
    let changes: [(&str, Quantity, u64, Change); 13] = [
        ("income tripled", input("income"), 100, |a| a.income = a.income.map(|x| 3 * x)),
        ("loan tripled", input("loan_amount"), 300, |a| a.loan_amount *= 3),
        ("years tripled", input("years_employed"), 500, |a| a.years_employed = a.years_employed.map(|x| 3 * x)),
        ("dependants tripled", input("dependants"), 100, |a| a.dependants *= 3),
        ("credit score 20 lower", input("credit_score"), 1_500, |a| a.credit_score -= 20),
        ("income lost for one in four", input("income"), 300, |a| {
            a.income = a.income.filter(|_| a.number % 4 > 0);
        }),
        ("a new level", input("region"), 200, |a| a.region = if a.region == "east" { "centre" } else { a.region }),
        ("a rare level renamed", input("employment"), 600, |a| {
            a.employment = if a.employment == "unemployed" { "none" } else { a.employment }
        }),
        ("two levels swapped", input("employment"), 200, |a| {
            a.employment = match a.employment {
                "salaried" => "public",
                "public" => "salaried",
                other => other,
            }
        }),
        ("two levels of like frequency swapped", input("region"), SOON, |a| {
            a.region = match a.region {
                "north" => "east",
                "east" => "north",
                other => other,
            }
        }),
        ("labels flipped", Quantity::Calibration, 200, |a| a.approved = !a.approved),
        ("women's loans refused", Quantity::Tpr(group("Female")), SOON, |a| {
            a.credit_score -= if a.female { 60 } else { 0 };
        }),
        ("women's incomes halved", Quantity::SelectionRate(group("Female")), 1_500, |a| {
            a.income = a.income.map(|x| if a.female { x / 2 } else { x });
        }),
    ];
    for (name, quantity, within, change) in changes {
        let change = move |row, a: &mut Application| {
            if row >= CHANGE_AT {
                change(a)
            }
        };
        let seen = watched(&blob, &mut stream(5, CHANGE_AT + SOON, change));
        let first = seen.alarms.iter().find(|alarm| alarm.quantity == quantity);
        let first = first.unwrap_or_else(|| panic!("{name}: {:?}", seen.alarms));
        let delay = first.row - CHANGE_AT;
        println!("{name}: {delay} rows, {first:?}");
        assert!(delay < within, "{name}: found after {delay} rows");
        assert!(seen.alarms.iter().all(|alarm| alarm.row > CHANGE_AT), "{name}: {:?}", seen.alarms);
        let untouched = seen.alarms.iter().filter(|alarm| alarm.quantity == input("purpose"));
        assert_eq!(untouched.count(), 0, "{name}");
    }
}

/// A temporary change raises one alarm at its start and one at its end.
#[test]
fn a_burst_is_found_and_so_is_its_end() {
    let blob = model();
    let burst = |row, a: &mut Application| {
        if (3_000..6_000).contains(&row) {
            a.loan_amount *= 2;
        }
    };
    let seen = watched(&blob, &mut stream(6, 8_000, burst));
    let rows: Vec<u64> = seen.alarms.iter().filter(|a| a.quantity == input("loan_amount")).map(|a| a.row).collect();
    assert!(matches!(rows[..], [a, b] if (3_001..3_600).contains(&a) && (6_001..6_600).contains(&b)), "{rows:?}");
    let psi = |window: usize| seen.windows[window].inputs.iter().find(|i| i.feature == "loan_amount").unwrap().drift;
    assert!(psi(0).psi < 2.0 * psi(0).psi_by_chance && psi(4).psi > 5.0 * psi(4).psi_by_chance);
}

/// Without drift the stability index exceeds its chance level in about one window in twenty.
#[test]
fn the_stability_index_is_rarely_beyond_chance() {
    let blob = model();
    let seen = watched(&blob, &mut stream(7, 40_000, |_, _| {}));
    let drifts: Vec<_> = seen.windows.iter().flat_map(|window| &window.inputs).map(|input| input.drift).collect();
    let beyond = drifts.iter().filter(|drift| drift.psi > drift.psi_by_chance).count();
    println!("{beyond} of {}", drifts.len());
    // All windows share one reference, so its random error affects all of them.
    assert!(beyond * 100 < 20 * drifts.len(), "{beyond} of {}", drifts.len());
}

/// Without a reference the first rows serve as one. With data as the reference, groups and labels
/// are compared too.
#[test]
fn what_is_compared_with_is_stated() {
    let blob = model();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let new = || Watch::new(&model, Options::default()).unwrap();
    let seen = observe(new(), &mut stream(8, 2_500, |_, _| {}));
    assert_eq!(seen.summary.reference, Reference { from: ReferenceFrom::Stream, rows: 1_000 });
    assert!(seen.windows[0].score.psi.is_nan() && seen.windows[1].score.psi < 0.1);
    assert_eq!(seen.alarms, []);

    let mut watch = new();
    watch.learn_all(&mut stream(9, 5_000, |_, _| {})).unwrap();
    let worse = |_, a: &mut Application| a.approved &= !a.number.is_multiple_of(3);
    let seen = observe(watch, &mut stream(10, 2_500, worse));
    assert_eq!(seen.summary.reference, Reference { from: ReferenceFrom::Data, rows: 5_000 });
    let first = seen.alarms.first().map(|alarm| (&alarm.quantity, alarm.row < 1_000, alarm.before > alarm.after));
    assert_eq!(first, Some((&Quantity::Calibration, true, true)), "{:?}", seen.alarms);
    // The gaps of a window are those of the engine.
    let gaps = &seen.windows[0].fairness[0];
    assert_eq!((gaps.group.as_str(), gaps.rows + gaps.reference_rows), ("Female", 1_000));
    assert!(gaps.magnitude(Measure::Aod).is_some() && gaps.interval(Measure::Spd).is_some());
}

/// A copy without background, tiny streams, constant columns, rows without values.
#[test]
fn hostile_rows_are_watched_too() {
    let blob = device_copy(&model(), true, 0).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let mut watch = Watch::new(&model, Options { window: 10, ..Options::default() }).unwrap();
    assert!(!watch.learn_background());
    assert!(watch.finish().is_none());
    let features = model.schema().features().len();
    let one = |values: Vec<Value>| Watched { values, label: None, ..Watched::default() };
    let rows =
        [Value::Missing, Value::Unseen, Value::Number(f32::INFINITY), Value::Number(f32::NAN), Value::Level(9_999)];
    let same = |value: &Value| one(vec![*value; features]);
    for value in &rows {
        for _ in 0..5_000 {
            watch.observe(&same(value));
        }
    }
    // A row with fewer values, an additional group, and a group without a name.
    watch.observe(&Watched { groups: vec![3, 255, 0], label: Some(true), ..Watched::default() });
    let summary = watch.summary();
    assert_eq!((summary.rows, summary.labelled), (25_001, 1));
    assert!(summary.alarms > 0);

    let mut watch = Watch::new(&model, Options::default()).unwrap();
    let alarms =
        (0..100_000).filter(|_| !watch.observe(&same(&Value::Missing)).iter().all(|e| matches!(e, Event::Window(_))));
    assert_eq!(alarms.count(), 0);
    for (options, expected) in [
        (Options { false_alarms: 0.0, ..Options::default() }, "expected one above 0 and below 1"),
        (Options { false_alarms: f64::NAN, ..Options::default() }, "expected one above 0 and below 1"),
        (Options { window: 0, ..Options::default() }, "expected at least 1 row"),
    ] {
        assert!(Watch::new(&model, options).unwrap_err().to_string().contains(expected));
    }
}

/// A late outcome belongs to its record: the counts are the same as if it had come with the record.
#[test]
fn late_outcomes_are_joined_by_id() {
    let blob = model();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let options = Options { window: 1_000_000, most_waiting: 300, ..Options::default() };
    let features = model.schema().features().len();
    let values = |n: u64| {
        (0..features).map(move |f| if f == 4 { Value::Number(400.0 + (n * 37 % 400) as f32) } else { Value::Missing })
    };
    let id = |n: u64| Some(format!("id {n}").into_bytes());
    let row =
        |n: u64, label| Watched { row: n, values: values(n).collect(), label, groups: vec![(n % 2) as u8], id: id(n) };
    let outcome =
        |n: u64, label| Watched { values: vec![Value::Missing; features], groups: vec![255], ..row(n, Some(label)) };
    let label = |n: u64| n.is_multiple_of(3);
    let window = |watch: &mut Watch<'_>| match watch.finish() {
        Some(Event::Window(window)) => window,
        other => panic!("{other:?}"),
    };
    let mut at_once = Watch::new(&model, options).unwrap();
    let mut late = Watch::new(&model, options).unwrap();
    for n in 0..1_000 {
        at_once.observe(&row(n, Some(label(n))));
        late.observe(&row(n, None));
        if n >= 200 {
            late.observe(&outcome(n - 200, label(n - 200)));
        }
    }
    for n in 800..1_000 {
        late.observe(&outcome(n, label(n)));
    }
    let (a, b) = (window(&mut at_once), window(&mut late));
    assert_eq!((a.rows, a.labelled, a.accuracy, a.fairness), (b.rows, b.labelled, b.accuracy, b.fairness));
    assert_eq!((a.log_loss, a.calibration_error), (b.log_loss, b.calibration_error));
    let ids = late.summary().ids.unwrap();
    assert_eq!((ids.joined, ids.waiting, ids.expired, ids.unknown, ids.repeated), (1_000, 0, 0, 0, 0));

    // An outcome before its record, a repeated outcome, an outcome for an expired id; repeated
    // records; records without an id.
    let mut hostile = Watch::new(&model, options).unwrap();
    hostile.observe(&outcome(1, true));
    hostile.observe(&row(1, None));
    hostile.observe(&row(1, None));
    hostile.observe(&outcome(1, true));
    hostile.observe(&outcome(1, false));
    hostile.observe(&row(1, Some(true)));
    hostile.observe(&row(2, Some(true)));
    hostile.observe(&outcome(2, true));
    hostile.observe(&Watched { id: None, ..row(3, Some(true)) });
    (10..400).for_each(|n| drop(hostile.observe(&row(n, None))));
    hostile.observe(&outcome(10, true));
    let summary = hostile.summary();
    let ids = summary.ids.unwrap();
    assert_eq!((summary.rows, summary.labelled), (3 + 390, 3));
    assert_eq!((ids.joined, ids.unknown, ids.repeated, ids.without_id), (1, 2, 4, 1));
    assert_eq!((ids.waiting, ids.expired), (300, 90));
}
