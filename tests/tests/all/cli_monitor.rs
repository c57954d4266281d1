//! `feamoe monitor`: statuses of devices are read, named, added up and compared with limits.

use feamoe::model::{AlignedBytes, HostModel};
use feamoe_engine::fairness::Measure;
use feamoe_engine::monitor::{Monitor, Tally};
use feamoe_engine::schema::Note;
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::{Folder, gap_keys, keys};
use serde_json::Value;

const GROUPS: usize = 2;
const FEATURES: usize = 10;
type Device = Monitor<GROUPS, FEATURES>;

/// A monitor of the folder's model after a number of records, one in three of them labelled. Women
/// get a favourable outcome less often by `bias`.
fn watched(folder: &Folder, seed: u64, records: u64, bias: impl Fn(u64) -> f32) -> Device {
    let blob = AlignedBytes::read(&folder.path("lending.feamoe")).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    assert_eq!(model.schema().features().len(), FEATURES);
    let (mut draw, mut monitor) = (Draw::new(seed), Device::new());
    monitor.start(&model, 1_700_000_000 + seed).unwrap();
    for record in 0..records {
        let female = draw.below(2) == 1;
        let favourable = draw.between(0.0, 1.0) < if female { 0.6 - bias(record) } else { 0.6 };
        let p = if favourable { draw.between(0.5, 1.0) } else { draw.between(0.0, 0.499) };
        let mut notes = [Note::Usual; FEATURES];
        notes[3] = if draw.below(10) == 0 { Note::Missing } else { Note::Usual };
        let token = monitor.observe(p, &notes, Some(u8::from(female))).unwrap();
        if !favourable {
            monitor.distance(&token, Some(p)).unwrap();
        }
        if draw.below(3) == 0 {
            monitor.label(token, favourable == (draw.below(10) > 0)).unwrap();
        }
    }
    monitor
}

fn write(folder: &Folder, name: &str, monitor: &Device) {
    folder.write(name, monitor.write(&mut [0; Device::STATUS_BYTES]).unwrap());
}

/// A folder with `a.status` of 9,000 records, in which women are favoured less from row 4,000 on,
/// `b.status` of 6,000 and `few.status` of 40.
fn folder() -> Folder {
    let folder = Folder::with_model();
    write(&folder, "a.status", &watched(&folder, 1, 9_000, |record| if record < 4_000 { 0.0 } else { 0.3 }));
    write(&folder, "b.status", &watched(&folder, 2, 6_000, |_| 0.05));
    write(&folder, "few.status", &watched(&folder, 3, 40, |_| 0.0));
    folder
}

#[test]
fn a_fleet_is_added_up_and_each_status_listed() {
    let folder = folder();
    let of = ["--schema", "lending.toml", "--model", "lending.feamoe", "--format", "json"];
    let json = |files: &[&str]| folder.run(&[&["monitor", "--status"], files, &of].concat()).json();
    let report = json(&["a.status", "b.status"]);
    // The model itself also has the names of the groups.
    let without = ["monitor", "--status", "a.status", "b.status", "--model", "lending.feamoe", "--format", "json"];
    assert_eq!(folder.run(&without).json(), report);
    let monitors = [
        watched(&folder, 1, 9_000, |record| if record < 4_000 { 0.0 } else { 0.3 }),
        watched(&folder, 2, 6_000, |_| 0.05),
    ];
    let sum = |group: usize| {
        let mut sum = monitors[0].groups()[group];
        sum.merge(&monitors[1].groups()[group]);
        sum
    };
    let (men, women): (Tally, Tally) = (sum(0), sum(1));
    let number = |place: &str| report.pointer(place).and_then(Value::as_f64).unwrap() as f32;
    for (place, expected) in [
        ("/rows", 15_000.0),
        ("/labelled", (men.labelled().rows() + women.labelled().rows()) as f32),
        ("/without_group", 0.0),
        ("/fairness/0/spd", women.gap(Measure::Spd, &men)),
        ("/fairness/0/spd_interval/0", women.interval(Measure::Spd, &men).unwrap().low),
        ("/fairness/0/aod", women.gap(Measure::Aod, &men)),
        ("/fairness/0/aod_interval/1", women.interval(Measure::Aod, &men).unwrap().high),
        ("/fairness/0/eodds", women.gap(Measure::Eodds, &men)),
        ("/fairness/0/eopp", women.gap(Measure::Eopp, &men)),
        ("/fairness/0/burden", women.gap(Measure::Burden, &men)),
        ("/fairness/0/recourse_burden", women.gap(Measure::RecourseBurden, &men)),
        ("/fairness/0/impact", women.gap(Measure::Impact, &men)),
        ("/fairness/0/eodds_interval/1", women.interval(Measure::Eodds, &men).unwrap().high),
        ("/fairness/0/impact_interval/0", women.interval(Measure::Impact, &men).unwrap().low),
        ("/fairness/0/rows", women.rows() as f32),
        ("/groups/0/score_mean", men.score_mean()),
        ("/groups/1/accuracy", women.labelled().accuracy()),
        ("/inputs/missing", monitors.iter().map(|monitor| monitor.inputs().missing).sum::<u32>() as f32),
        ("/features/3/missing", monitors.iter().map(|monitor| monitor.inputs().missing).sum::<u32>() as f32),
        ("/statuses/0/rows", 9_000.0),
        ("/statuses/1/rows", 6_000.0),
        ("/statuses/1/since", 1_700_000_002.0),
    ] {
        assert_eq!(number(place), expected, "{place}");
    }
    let text = |place: &str| report.pointer(place).and_then(Value::as_str).unwrap().to_owned();
    for (place, expected) in [
        ("/fairness/0/group", "Female"),
        ("/fairness/0/reference", "Male"),
        ("/groups/1/attribute", "sex"),
        ("/statuses/1/file", "b.status"),
    ] {
        assert_eq!(text(place), expected);
    }
    let names: Vec<&str> =
        report["features"].as_array().unwrap().iter().map(|f| f["feature"].as_str().unwrap()).collect();
    assert!(names.contains(&"income") && names.len() == FEATURES, "{names:?}");
    // The drift is reported, with nothing before it and nothing in the other status.
    let events = report["statuses"][0]["events"].as_array().unwrap();
    let gap = events.iter().find(|event| event["rate"] == "favourable rate" && event["group"] == "Female").unwrap();
    assert!(gap["row"].as_u64().unwrap() > 4_000 && gap["after"].as_f64().unwrap() < -0.1, "{gap}");
    assert!(events.iter().any(|event| event["rate"] == "favourable rate" && event["group"].is_null()));
    assert_eq!(
        (&report["statuses"][1]["events"], &report["statuses"][0]["events_dropped"]),
        (&Value::Array(vec![]), &0.into())
    );
    // The total of a single status is that status.
    let one = json(&["b.status"]);
    assert_eq!((&one["fairness"], &one["rows"]), (&report["statuses"][1]["fairness"], &report["statuses"][1]["rows"]));
}

#[test]
fn the_document_has_these_keys() {
    let report = folder().run(&["monitor", "--status", "a.status", "--format", "json"]).json();
    let total = ["accuracy", "fairness", "labelled", "rows", "score_mean", "without_group"];
    let with = |more: &[&'static str]| {
        let mut keys = [&total[..], more].concat();
        keys.sort_unstable();
        keys
    };
    assert_eq!(
        keys(&report),
        with(&[
            "authenticated",
            "decisive",
            "features",
            "groups",
            "inputs",
            "model",
            "outliers",
            "refused",
            "replays_excluded",
            "requirements",
            "silent",
            "statuses",
            "threshold"
        ])
    );
    assert_eq!(keys(&report["statuses"][0]), with(&["counter", "device", "events", "events_dropped", "file", "since"]));
    assert_eq!(keys(&report["fairness"][0]), gap_keys(&["labelled", "reference_labelled"]));
    assert_eq!(
        keys(&report["groups"][0]),
        [
            "accuracy",
            "attribute",
            "burden",
            "fpr",
            "full",
            "group",
            "labelled",
            "precision",
            "recourse_burden",
            "rows",
            "score_mean",
            "selection_rate",
            "tpr",
            "without_recourse"
        ]
    );
    assert_eq!(keys(&report["inputs"]), ["clamped", "missing", "unseen"]);
    assert_eq!(keys(&report["features"][0]), ["clamped", "feature", "missing", "unseen"]);
    let event = keys(&report["statuses"][0]["events"][0]);
    assert_eq!(event, ["after", "before", "group", "rate", "records_after", "records_before", "row"]);
    // Without schema and model, groups and features have numbers.
    assert_eq!(
        (&report["groups"][1]["group"], &report["features"][3]["feature"]),
        (&"group 1".into(), &"feature 3".into())
    );
}

#[test]
fn the_text_reports_gaps_drifts_inputs_and_doubts() {
    let folder = folder();
    let text = folder.run(&["monitor", "--schema", "lending.toml", "--status", "a.status", "few.status"]).done();
    for part in [
        "2 statuses of model ",
        "rows 9040  labelled ",
        "sex: Female - Male  ",
        "favourable rate ",
        "a.status: row ",
        "Female, gap in favourable rate ",
        "records with such a value",
        "feature 3",
        "1700000003",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("too few"), "{text}");
    let text = folder.run(&["monitor", "--schema", "lending.toml", "--status", "few.status"]).done();
    assert!(text.contains("records in the group, too few to judge spd, impact: "), "{text}");
    assert!(
        text.contains("records with the favourable outcome in the group, too few to judge aod, eodds, eopp: "),
        "{text}"
    );
}

#[test]
fn bounds_are_held_as_evaluate_holds_them() {
    let folder = folder();
    let monitor = |file: &str, gaps: &str| {
        folder.run(&["monitor", "--schema", "lending.toml", "--status", file, "--require", gaps])
    };
    let passed = monitor("a.status", "spd=1,aod=1,eodds=1,eopp=1,burden=1,recourse_burden=100");
    assert_eq!(passed.code, Some(0), "{}", passed.stderr);
    let verdicts: Vec<&str> = passed.stderr.lines().map(|line| line.split(':').next().unwrap()).collect();
    // A device has no intervals for burdens.
    assert_eq!(verdicts, ["met", "met", "met", "met", "not shown", "not shown"]);
    let report = passed.stdout;
    let ran = monitor("a.status", "spd=0.05,aod=1");
    assert_eq!((ran.code, ran.stdout), (Some(1), report));
    assert!(ran.stderr.starts_with("not met: spd at most 0.05: the most unequal value is -0."), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    let ran = monitor("few.status", "aod=1");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.starts_with("not shown: aod at most 1: no group could be judged\nnot judged by aod: "),
        "{}",
        ran.stderr
    );
    // The limit holds, but the interval does not show it.
    let ran = monitor("b.status", "spd=0.07");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("not shown: spd at most 0.07: the most unequal value is -0.0"), "{}", ran.stderr);
    assert!(ran.stderr.contains(": more records are needed; judged: "), "{}", ran.stderr);
    let strict = folder.run(&["monitor", "--status", "b.status", "--require", "spd=0.07", "--strict"]);
    assert_eq!(strict.code, Some(1), "{}", strict.stderr);
    let usage = folder.run(&["monitor", "--status", "a.status", "--require", "sdp=0.1"]).usage_refused();
    assert!(usage.contains("found measure `sdp`"), "{usage}");
}

#[test]
fn what_does_not_fit_is_refused_with_what_was_found_and_expected() {
    let folder = folder();
    let refusal = |arguments: &[&str]| folder.refusal(&[&["monitor", "--status"], arguments].concat());
    let bytes = folder.read("a.status");
    folder.write("cut.status", &bytes[..bytes.len() - 5]);
    let mut damaged = bytes.clone();
    damaged[40] ^= 4;
    folder.write("damaged.status", damaged);
    folder.write("huge.status", [bytes.clone(), vec![0; 1 << 20]].concat());
    folder.write("empty.status", "");
    let mut other = Monitor::<3, FEATURES>::new();
    let blob = AlignedBytes::read(&folder.path("lending.feamoe")).unwrap();
    other.start(&HostModel::load(blob.as_slice()).unwrap(), 0).unwrap();
    folder.write("three.status", other.write(&mut [0; 2_000]).unwrap());
    let _ =
        folder.run(&["train", "lending.csv", "--schema", "lending.toml", "--seed", "7", "-o", "other.feamoe"]).done();
    let two = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n\
               [[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\n[[protected]]\ncolumn = \"race\"\nprivileged = [\"w\"]\n";
    folder.write("two.toml", two);
    folder.write("none.toml", two.split("[[protected]]").next().unwrap());

    let length = bytes.len();
    for (arguments, expected) in [
        (&["cut.status"][..], format!("cut.status: status ends after {} bytes, but needs {length}", length - 5)),
        (&["empty.status"], "empty.status: status ends after 0 bytes, but needs 16".into()),
        (&["lending.feamoe"], "lending.feamoe: not the status of a feamoe monitor: does not start with FEMS".into()),
        (
            &["a.status", "./a.status"],
            "./a.status: found the same status twice, which would be counted twice; name each status once".into(),
        ),
    ] {
        assert_eq!(refusal(arguments), expected);
    }
    for (arguments, start, end) in [
        (&["damaged.status"][..], "damaged.status: checksum ", "; the status is damaged, send it again"),
        (&["huge.status"], "huge.status: status has ", &format!(" bytes, declares {length}")),
        (&["missing.status"], "cannot read missing.status: ", ""),
        (
            &["a.status", "--model", "other.feamoe"],
            "a.status: found the status of model ",
            "name the model that the device runs",
        ),
        (
            &["three.status", "--schema", "lending.toml"],
            "three.status: found 3 groups, expected the 2 that",
            "choose another attribute (use --attribute COLUMN)",
        ),
        (
            &["a.status", "--schema", "two.toml"],
            "found none named, expected ",
            "the schema has [\"sex\", \"race\"] (use --attribute COLUMN)",
        ),
        (
            &["a.status", "--schema", "two.toml", "--attribute", "age"],
            "found \"age\", expected ",
            "[\"sex\", \"race\"] (use --attribute COLUMN)",
        ),
        (&["a.status", "--schema", "none.toml"], "found none named", "the schema has [] (use --attribute COLUMN)"),
    ] {
        let message = refusal(arguments);
        assert!(message.starts_with(start) && message.ends_with(end), "{arguments:?}: {message}");
    }
    // Statuses of different monitors do not add up. Of equally many, the kind that comes first
    // counts.
    let ran = folder.run(&["monitor", "--status", "a.status", "three.status"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(0), "statuses that do not count: 1 of other groups or features\n")
    );
    assert!(ran.stdout.contains("three.status does not count: of other groups or features; found model "));
    // For an open attribute only the privileged group has a name.
    let report = folder
        .run(&["monitor", "--status", "a.status", "--schema", "two.toml", "--attribute", "race", "--format", "json"])
        .json();
    assert_eq!((&report["groups"][0]["group"], &report["groups"][1]["group"]), (&"w".into(), &"group 1".into()));
    let message = folder.refusal(&["monitor", "--status", "a.status", "--attribute", "sex"]);
    assert!(message.starts_with("--attribute needs a schema with the column"), "{message}");
}
