//! Every command of `feamoe` on good input: results go to standard output only, standard error is
//! empty, and the exit code is 0. The JSON documents have exactly the documented keys.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use feamoe::judge::binding::Binding;
use feamoe::model::{AlignedBytes, HostModel};
use feamoe::rows::{Input, Records, Source};
use feamoe::schema::Table;
use feamoe_tests::command::{Folder, gap_keys, keys, lending};
use serde_json::Value;

/// The commands that `feamoe --help` lists, each with its options except `--help`.
/// `every_option_works` runs all of them.
const COMMANDS: [(&str, &[&str]); 21] = [
    ("schema", &["--output", "--target", "--positive", "--protected", "--rows"]),
    (
        "train",
        &[
            "--schema",
            "--output",
            "--config",
            "--fair",
            "--fair-by",
            "--fairness",
            "--penalties",
            "--increment",
            "--individual",
            "--experts",
            "--grow",
            "--freeze",
            "--loss",
            "--bins",
            "--lr",
            "--epochs",
            "--shuffle",
            "--background",
            "--seed",
            "--threshold",
            "--window",
            "--weight",
            "--label-delay",
            "--class-weight",
            "--checkpoint",
            "--dry-run",
            "--checkpoint-every",
            "--encoding",
            "--follow",
            "--flush",
            "--format",
            "--bad-cells",
        ],
    ),
    (
        "tune",
        &[
            "--schema",
            "--output",
            "--bad-cells",
            "--candidates",
            "--by",
            "--holdout",
            "--validation",
            "--stream",
            "--repeats",
            "--time-limit",
            "--state",
            "--plot",
            "--config",
            "--fair",
            "--fair-by",
            "--fairness",
            "--penalties",
            "--increment",
            "--individual",
            "--experts",
            "--grow",
            "--freeze",
            "--loss",
            "--bins",
            "--lr",
            "--epochs",
            "--shuffle",
            "--background",
            "--seed",
            "--threshold",
            "--window",
            "--weight",
            "--label-delay",
            "--class-weight",
            "--format",
            "--threads",
        ],
    ),
    (
        "update",
        &[
            "--output",
            "--checkpoint",
            "--dry-run",
            "--checkpoint-every",
            "--rest",
            "--again",
            "--follow",
            "--flush",
            "--freeze",
            "--weight",
            "--label-delay",
            "--format",
            "--bad-cells",
        ],
    ),
    ("merge", &["--output", "--how", "--polish", "--experts", "--checkpoint", "--checkpoint-every", "--format"]),
    ("evaluate", &["--bad-cells", "--schema", "--require", "--strict", "--no-recourse", "--format", "--threads"]),
    ("compare", &["--schema", "--bad-cells", "--sample", "--output", "--format"]),
    ("score", &["--output", "--gate", "--schema", "--bad-cells", "--keep", "--follow", "--flush", "--format"]),
    (
        "explain",
        &[
            "--row",
            "--method",
            "--sample",
            "--top",
            "--max-display",
            "--global",
            "--shapes",
            "--features",
            "--plot",
            "--plot-kind",
            "--reasons",
            "--format",
            "--output",
            "--schema",
            "--bad-cells",
            "--groups",
            "--threads",
            "--space",
            "--background",
            "--background-where",
            "--background-rows",
            "--save-background",
            "--budget",
            "--tolerance",
            "--max-evaluations",
            "--max-seconds",
            "--seed",
        ],
    ),
    (
        "recourse",
        &[
            "--schema",
            "--bad-cells",
            "--row",
            "--answers",
            "--fix",
            "--increase-only",
            "--margin",
            "--max-changes",
            "--decrease-only",
            "--range",
            "--step",
            "--cost",
            "--format",
            "--threads",
        ],
    ),
    ("inspect", &["--device", "--verify", "--line", "--format"]),
    ("report", &["--data", "--schema", "--bad-cells", "--output", "--card", "--front", "--row", "--threads"]),
    (
        "export",
        &[
            "--output",
            "--strip-names",
            "--background",
            "--delta",
            "--erased",
            "--factory",
            "--onnx",
            "--word",
            "--constants",
            "--quantize",
            "--data",
            "--schema",
            "--max-difference",
            "--max-changed-decisions",
            "--max-gap-change",
            "--format",
            "--threshold",
            "--experts",
            "--tolerance",
            "--verify",
            "--line",
        ],
    ),
    (
        "sign",
        &[
            "--key",
            "--line",
            "--model-version",
            "--output",
            "--names-of",
            "--new-key",
            "--device-key",
            "--key-file",
            "--format",
        ],
    ),
    (
        "monitor",
        &[
            "--reference",
            "--id",
            "--waiting",
            "--window",
            "--false-alarms",
            "--follow",
            "--flush",
            "--on-event",
            "--bad-cells",
            "--key-file",
            "--seen",
            "--status",
            "--model",
            "--schema",
            "--attribute",
            "--require",
            "--strict",
            "--format",
        ],
    ),
    (
        "serve",
        &[
            "--listen",
            "--token-file",
            "--trust",
            "--line",
            "--least-version",
            "--version-file",
            "--allow-older",
            "--host",
            "--group",
            "--other-group",
            "--max-records",
            "--max-coalitions",
            "--max-body",
            "--max-answer",
            "--memory",
            "--connections",
            "--threads",
            "--queue",
            "--header-timeout",
            "--body-timeout",
            "--work-timeout",
            "--write-timeout",
            "--grace",
        ],
    ),
    ("study", &["--data", "--only", "--runs", "--plots", "--format"]),
    ("demo", &["--output"]),
    ("json-schema", &[]),
    ("completions", &[]),
    ("man", &["--output"]),
];

/// The options that every command has.
const EVERYWHERE: [&str; 3] = ["--help", "--quiet", "--verbose"];

/// Returns the names that a help text lists: the first word of each line of the section
/// `Commands:`, or the long options.
fn listed(help: &str, is_entry: impl Fn(&str) -> Option<String>) -> Vec<String> {
    help.lines().filter_map(is_entry).collect()
}

#[test]
fn help_names_what_works_and_nothing_else() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]).done();
    let commands = help.split_once("Commands:").unwrap().1.split_once("Options:").unwrap().0;
    let commands = listed(commands, |line| line.split_whitespace().next().map(str::to_owned));
    assert_eq!(commands, COMMANDS.map(|(name, _)| name));
    for (command, options) in COMMANDS {
        let help = folder.run(&[command, "--help"]).done();
        let found = listed(&help, |line| {
            let words =
                line.trim_start().trim_start_matches(|c: char| c == '-' && !line.trim_start().starts_with("--"));
            let long = words.split([' ', ',', '[']).find(|word| word.starts_with("--"))?;
            (line.starts_with("  -") || line.starts_with("      --")).then(|| long.to_owned())
        });
        let (help, rest): (Vec<&str>, Vec<&str>) =
            found.iter().map(String::as_str).partition(|name| EVERYWHERE.contains(name));
        assert_eq!(help.len(), EVERYWHERE.len(), "{command}");
        let sorted = |names: Vec<&str>| {
            let mut names = names;
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!(sorted(rest), sorted(options.to_vec()), "{command}");
    }
    assert_eq!(folder.run(&["--version"]).done(), format!("feamoe {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_option_of_training_works_and_is_heard() {
    let folder = Folder::with_lending();
    let train = |options: &[&str]| {
        let fixed = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--format", "json"];
        let report = folder.run(&[&fixed, options].concat()).json();
        (report, folder.read("m.feamoe"))
    };
    let (plain, plain_bytes) = train(&[]);
    for options in [
        &["--fair", "spd=0.02,eopp=0.05"][..],
        &["--fairness", "paper"],
        &["--fairness", "paper", "--penalties", "burden"],
        &["--fairness", "paper", "--increment", "0.1"],
        &["--individual", "0.4"],
        &["--experts", "3"],
        &["--grow", "every=700"],
        &["--freeze"],
        &["--class-weight", "balanced"],
        &["--label-delay", "100"],
        &["--loss", "competitive"],
        &["--bins", "8"],
        &["--lr", "0.05"],
        &["--epochs", "2"],
        &["--shuffle"],
        &["--seed", "7"],
        &["--background", "7"],
        &["--learning-rate", "0.05"],
    ] {
        assert_ne!(train(options).1, plain_bytes, "{options:?} changes nothing");
    }
    let paper = |options: &[&str]| train(&[&["--fairness", "paper"], options].concat()).1;
    assert_eq!(paper(&["--penalties", "none"]), plain_bytes, "MOE is the learner without targets");
    assert_eq!(paper(&[]), paper(&["--penalties", "burden,aod,spd", "--increment", "0.02"]));
    assert_ne!(paper(&[]), paper(&["--penalties", "burden"]));
    assert_ne!(paper(&[]), paper(&["--increment", "0.1"]));
    let (report, bytes) = train(&["--window", "500", "--experts", "5"]);
    assert_eq!((report["experts"].as_u64(), report["seed"].as_u64()), (Some(5), Some(1)));
    assert_eq!(report["prequential"]["windows"].as_array().unwrap().len(), 6);
    assert_eq!(plain["prequential"]["windows"].as_array().unwrap().len(), 3);
    assert_eq!(report["blob"]["bytes"].as_u64(), Some(bytes.len() as u64));
    assert_eq!(train(&["--epochs", "3", "--shuffle"]).0["rows"].as_u64(), Some(9_000));
}

#[test]
fn the_training_report_has_its_keys() {
    let folder = Folder::with_lending();
    let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe"];
    let report = folder.run(&[&train[..], &["--format", "json"]].concat()).json();
    assert_eq!(
        keys(&report),
        [
            "attributes",
            "blob",
            "checkpoint",
            "earlier_rows",
            "events",
            "events_dropped",
            "experts",
            "fairness",
            "features",
            "judged_on",
            "learning_rows_per_second",
            "other_labels",
            "peak_memory_bytes",
            "prequential",
            "proxies",
            "rows",
            "rows_in_memory_bytes",
            "rows_per_second",
            "seed",
            "shards",
            "skipped",
            "targets",
            "threshold",
            "threshold_rule",
            "waiting",
            "warnings",
            "weightless",
        ]
    );
    assert_eq!((&report["checkpoint"], report["earlier_rows"].as_u64()), (&Value::Null, Some(0)));
    assert_eq!(keys(&report["blob"]), ["bytes", "checked_rows", "crc32", "largest_difference", "path"]);
    let window = [
        "accuracy",
        "aod",
        "balanced_accuracy",
        "burden",
        "eodds",
        "eopp",
        "from",
        "impact",
        "individual_unfairness",
        "log_loss",
        "rows",
        "spd",
    ];
    assert_eq!(keys(&report["prequential"]), [&window[..], &["windows"]].concat());
    assert_eq!(keys(&report["prequential"]["windows"][1]), window);
    let event = serde_json::json!({ "row": 500, "event": "expert added", "cause": "every", "expert": 2, "parent": 1 });
    assert_eq!(report["events"][0], event);
    assert_eq!((report["rows"].as_u64(), report["skipped"].as_u64()), (Some(3_000), Some(0)));

    let inspected = folder.run(&["inspect", "m.feamoe", "--format", "json"]).json();
    assert_eq!(inspected["crc32"], report["blob"]["crc32"]);
    assert_eq!(inspected["experts"], report["experts"]);

    let text = folder.run(&train).done();
    assert!(text.starts_with("learned from 3000 rows (0 skipped), seed 1, "), "{text}");
    assert!(text.contains(&format!("CRC-32 {}", report["blob"]["crc32"].as_str().unwrap())), "{text}");
    // With --shuffle the report states how much memory the rows take.
    let report = folder.run(&[&train[..], &["--shuffle", "--format", "json"]].concat()).json();
    assert!(report["rows_in_memory_bytes"].as_u64().unwrap() > 3_000 * 10);
    assert!(report["learning_rows_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn every_target_is_reported_by_group_met_or_not() {
    let folder = Folder::with_lending();
    let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--fair", "spd=0.02,eodds=0.9"];
    let report = folder.run(&[&train[..], &["--format", "json"]].concat()).json();
    let targets = report["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    for (target, (measure, gap)) in targets.iter().zip([("spd", 0.02), ("eodds", 0.9)]) {
        assert_eq!(
            keys(target),
            [
                "at_limit",
                "attribute",
                "conflicts_with",
                "from",
                "gap",
                "group",
                "interval",
                "measure",
                "reason",
                "reference",
                "reference_rows",
                "rows",
                "smallest_possible",
                "target",
                "verdict",
            ]
        );
        assert_eq!((target["measure"].as_str(), target["group"].as_str()), (Some(measure), Some("Female")));
        assert!((target["target"].as_f64().unwrap() - gap).abs() < 1e-6);
        // The last quarter of the 3,000 rows, rounded to whole windows.
        assert_eq!(target["from"].as_u64(), Some(2_001));
        let past = target["gap"].as_f64().unwrap().abs() > gap;
        assert_eq!(past, target["verdict"] == "not met", "{target}");
        assert!(!past || target["reason"].is_string(), "{target}");
    }
    let gaps = &report["fairness"][0];
    assert_eq!((&gaps["spd"], &gaps["rows"]), (&targets[0]["gap"], &targets[0]["rows"]));

    let text = folder.run(&train).done();
    assert!(
        text.contains("sex: Female - Male: spd 0.02  ") && text.contains("sex: Female - Male: eodds 0.9  "),
        "{text}"
    );
    assert!(text.contains("the exported weights over the last rows") && text.contains("  met\n"), "{text}");
    let free = folder.run(&[&train[..6], &["--format", "json"]].concat()).json();
    assert_eq!(
        (free["targets"].as_array().map(Vec::len), free["fairness"].as_array().map(Vec::len)),
        (Some(0), Some(1))
    );
}

#[test]
fn the_evaluation_has_its_keys_and_the_gaps_are_group_minus_reference() {
    let folder = Folder::with_model();
    let evaluate = ["evaluate", "lending.feamoe", "lending.csv", "--schema", "lending.toml"];
    let report = folder.run(&[&evaluate[..], &["--format", "json"]].concat()).json();
    assert_eq!(
        keys(&report),
        [
            "accuracy",
            "attributes",
            "auc",
            "balanced_accuracy",
            "calibration_error",
            "fairness",
            "favourable_outcome",
            "groups",
            "individual_unfairness",
            "inputs",
            "log_loss",
            "other_labels",
            "proxies",
            "reliability",
            "requirements",
            "rows",
            "selection_rate",
            "skipped",
            "threshold",
            "warnings"
        ]
    );
    let gaps = &report["fairness"][0];
    assert_eq!(keys(gaps), gap_keys(&[]));
    let groups = &report["groups"];
    assert_eq!(
        keys(&groups[0]),
        [
            "accuracy",
            "attribute",
            "base_rate",
            "calibration_error",
            "fn",
            "fnr",
            "fp",
            "fpr",
            "group",
            "precision",
            "recourse_burden",
            "reliability",
            "rows",
            "selection_rate",
            "tn",
            "tp",
            "tpr",
            "without_recourse"
        ]
    );
    assert_eq!(
        (&gaps["attribute"], &gaps["group"], &gaps["reference"]),
        (&"sex".into(), &"Female".into(), &"Male".into())
    );
    let rate = |group: usize| groups[group]["selection_rate"].as_f64().unwrap();
    assert!((gaps["spd"].as_f64().unwrap() - (rate(1) - rate(0))).abs() < 1e-6, "{gaps}");
    assert_eq!(
        report["rows"].as_u64().unwrap(),
        gaps["rows"].as_u64().unwrap() + gaps["reference_rows"].as_u64().unwrap()
    );

    let text = folder.run(&evaluate).done();
    assert!(text.starts_with("rows 3000  skipped 0  accuracy 0."), "{text}");
    assert!(text.contains("sex: Female - Male"), "{text}");
    // The recourse burden: a mean for each group, and their difference.
    let burden = |group: &Value| group["recourse_burden"].as_f64().unwrap();
    let (reference, other) = (burden(&groups[0]), burden(&groups[1]));
    assert!((0.1..10.0).contains(&reference) && (0.1..10.0).contains(&other), "{reference} {other}");
    assert!((burden(gaps) - (other - reference)).abs() < 1e-5);
    let mut without = folder.run(&[&evaluate[..], &["--no-recourse", "--format", "json"]].concat()).json();
    for (left_out, measured) in [("/fairness/0", gaps), ("/groups/0", &groups[0]), ("/groups/1", &groups[1])] {
        let object = without.pointer_mut(left_out).unwrap();
        assert_eq!(object["recourse_burden"], Value::Null);
        object["recourse_burden"] = measured["recourse_burden"].clone();
        if left_out == "/fairness/0" {
            assert_eq!(object["too_few"][0]["measure"], "recourse_burden");
            // Without the recourse burden there is one comparison fewer.
            for key in gap_keys(&[]).iter().filter(|key| key.ends_with("_corrected") || key.starts_with("recourse")) {
                object[key] = measured[key].clone();
            }
            object["too_few"] = measured["too_few"].clone();
        }
    }
    assert_eq!(without, report);
}

#[test]
fn a_requirement_that_is_not_met_is_exit_code_1_with_the_report_still_printed() {
    let folder = Folder::with_model();
    let require = |gaps: &str| {
        folder.run(&["evaluate", "lending.feamoe", "lending.csv", "--schema", "lending.toml", "--require", gaps])
    };
    let passed = require("spd=1,aod=1,eodds=1,eopp=1,burden=1,recourse_burden=100,impact=0.01");
    assert_eq!(passed.code, Some(0), "{}", passed.stderr);
    let report = passed.stdout;
    let ran = require("spd=0.0001,aod=1");
    assert_eq!((ran.code, ran.stdout), (Some(1), report));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [missed, met] = lines[..] else { unreachable!("{}", ran.stderr) };
    assert!(missed.starts_with("not met: spd at most 0.0001: the most unequal value is -0."), "{missed}");
    for line in [missed, met] {
        assert!(line.contains(" (95 % ") && line.contains("sex: Female - Male; judged: sex: Female ("), "{line}");
    }
    assert!(met.starts_with("met: aod at most 1: the most unequal value is "), "{met}");

    // Ten rows prove nothing about a group, so the requirement does not pass.
    folder.write("few.csv", lending(1, 10));
    let ran = folder.run(&["evaluate", "lending.feamoe", "few.csv", "--schema", "lending.toml", "--require", "spd=1"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.starts_with("not shown: spd at most 1: no group could be judged\nnot judged by spd: sex: Female ("),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains(" records in the group, ") && ran.stderr.ends_with(" more are needed\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_requirement_that_nothing_can_be_said_of_says_what_is_lacking() {
    let folder = Folder::new();
    // Three in four outcomes are favourable whatever the features, so all rows are accepted.
    let rows = (0..400).map(|i| format!("1,{},{}\n", ["m", "f"][i / 4 % 2], ["yes", "no"][usize::from(i % 4 == 0)]));
    folder.write("data.csv", format!("a,sex,y\n{}", rows.collect::<String>()));
    let target = "[target]\ncolumn = \"y\"\npositive = [\"yes\"]\n[features]\nonly = [\"a\"]\n";
    folder.write("all.toml", format!("{target}[[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\n"));
    folder.write("none.toml", target);
    let _ = folder.run(&["train", "data.csv", "--schema", "all.toml", "-o", "m.feamoe"]).done();
    let evaluate = |schema: &str| {
        let ran =
            folder.run(&["evaluate", "m.feamoe", "data.csv", "--schema", schema, "--require", "spd=0.1,burden=0.1"]);
        assert_eq!(ran.code, Some(1));
        ran.stderr
    };
    assert_eq!(
        evaluate("all.toml"),
        "not shown: spd at most 0.1: the most unequal value is 0.0000 (95 % -0.0188 to 0.0188), sex: f - m; almost nobody or almost everybody is selected, \
         so the limit could not be exceeded; judged: sex: f (200 rows)\n\
         not shown: burden at most 0.1: no group could be judged\n\
         not judged by burden: sex: f (200 rows), no value: 0 declined records in the group, 30 more are needed\n"
    );
    let no_groups = "the schema has no [[protected]] groups to compare\n";
    assert_eq!(
        evaluate("none.toml"),
        format!("not shown: spd at most 0.1: {no_groups}not shown: burden at most 0.1: {no_groups}")
    );
}

/// Scores computed by the engine itself, without the command.
fn scores(folder: &Folder, data: &str) -> Vec<(f32, Vec<f32>)> {
    let blob = AlignedBytes::read(&folder.path("lending.feamoe")).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let mut records = Records::open(&[Input::File(folder.path(data))], &Table::default()).unwrap();
    let binding = Binding::new(&model, |name| records.column(name, "the test")).unwrap();
    let mut record = model.record();
    let mut scores = Vec::new();
    while records.advance().unwrap() {
        binding.fill(&records.record(), &mut record).unwrap();
        let score = model.score(&record).unwrap();
        scores.push((score.probability, score.gate[..model.experts()].to_vec()));
    }
    scores
}

#[test]
fn scores_read_back_to_the_bits_of_the_engine() {
    let folder = Folder::with_model();
    folder.write("new.csv", lending(5, 200));
    let expected = scores(&folder, "new.csv");
    let experts = expected[0].1.len();
    let plain = folder.run(&["score", "lending.feamoe", "new.csv"]).done();
    let gated = folder.run(&["score", "lending.feamoe", "new.csv", "--gate"]).done();
    assert_eq!(plain.lines().next(), Some("row,probability,decision,notes"));
    let gates: Vec<String> = (1..=experts).map(|expert| format!("gate_{expert}")).collect();
    assert_eq!(gated.lines().next(), Some(format!("row,probability,decision,{},notes", gates.join(",")).as_str()));
    assert_eq!((plain.lines().count(), gated.lines().count()), (201, 201));
    for (index, ((short, long), (probability, gate))) in
        plain.lines().zip(gated.lines()).skip(1).zip(&expected).enumerate()
    {
        let cells: Vec<&str> = long.split(',').collect();
        assert_eq!(cells[..3], short.split(',').take(3).collect::<Vec<_>>()[..]);
        assert_eq!(cells[0], (index + 1).to_string());
        let bits = |cell: &str| cell.parse::<f32>().unwrap().to_bits();
        assert_eq!(bits(cells[1]), probability.to_bits());
        assert_eq!(cells[2], if *probability >= 0.5 { "1" } else { "0" });
        let found: Vec<u32> = cells[3..3 + experts].iter().map(|cell| bits(cell)).collect();
        assert_eq!(found, gate.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>());
    }
}

#[test]
fn notes_report_what_was_clamped_and_what_was_never_seen() {
    let folder = Folder::with_model();
    let header = lending(1, 0);
    let rows = [
        ("1,Male,40,30000,10000,700,5,salaried,car,north,1,", ""),
        ("2,Male,400,30000,10000,7000,5,salaried,car,north,1,", "clamped: age credit_score"),
        ("3,Male,40,30000,10000,700,5,astronaut,car,\"moon, far side\",1,", "unseen: employment region"),
        ("4,Male,-3,,10000,700,,robot,car,,1,", "missing: region; clamped: age; unseen: employment"),
        // Income and years are not noted: they were missing in training too.
        ("5,,,,,,,,,,,", "missing: sex age loan_amount credit_score employment purpose region dependants"),
    ];
    let text: String = rows.iter().map(|(row, _)| format!("{row}\n")).collect();
    folder.write("odd.csv", header + &text);
    let scores = folder.run(&["score", "lending.feamoe", "odd.csv"]).done();
    let notes: Vec<&str> = scores.lines().skip(1).map(|line| line.splitn(4, ',').nth(3).unwrap()).collect();
    assert_eq!(notes, rows.map(|(_, note)| note));

    let explained = folder.run(&["explain", "lending.feamoe", "odd.csv", "--row", "4", "--format", "json"]).json();
    let feature = |name: &str| explained["feature_names"].as_array().unwrap().iter().position(|n| n == name).unwrap();
    let column = |key: &str, name: &str| explained[key][0][feature(name)].clone();
    for (name, note, data, display) in [
        ("age", "clamped", (-3).into(), (-3).into()),
        ("income", "missing", Value::Null, Value::Null),
        ("employment", "unseen", (-1).into(), "robot".into()),
        ("region", "missing", Value::Null, Value::Null),
        ("purpose", "", explained["data"][0][feature("purpose")].clone(), "car".into()),
    ] {
        assert_eq!(column("notes", name), note, "{name}");
        assert_eq!((column("data", name), column("display_data", name)), (data, display), "{name}");
    }
    assert!(column("data", "purpose").as_u64().is_some());
}

#[test]
fn inspect_reports_what_a_model_needs_and_where_it_comes_from() {
    let folder = Folder::with_model();
    let i = folder.run(&["inspect", "lending.feamoe", "--format", "json"]).json();
    assert_eq!(
        keys(&i),
        [
            "background",
            "bounded",
            "bytes",
            "capacity",
            "card",
            "crc32",
            "device",
            "experts",
            "features",
            "format_version",
            "integer",
            "line_checked",
            "malformed_signature",
            "not_verified",
            "positive",
            "sha256",
            "signature",
            "threshold",
            "training",
            "verified"
        ]
    );
    assert_eq!(keys(&i["capacity"]), ["experts", "features"]);
    assert_eq!(i["background"], serde_json::json!({ "rows": 1_000, "bytes": 32_000 }));
    assert_eq!(keys(&i["training"]), ["data_sha256", "rows", "seed", "trainer_version"]);
    assert_eq!(keys(&i["features"][1]), ["bins", "index", "kind", "name", "range", "transform"]);
    assert_eq!(keys(&i["features"][0]), ["index", "kind", "levels", "name"]);
    assert_eq!(i["features"][0]["levels"].as_array().unwrap().len(), 2);
    assert_eq!((&i["positive"], &i["threshold"], &i["training"]["rows"]), (&"yes".into(), &0.5.into(), &3_000.into()));
    assert_eq!(i["bytes"].as_u64(), Some(folder.read("lending.feamoe").len() as u64));
    assert_eq!(i["capacity"]["features"], 10);
    let text = folder.run(&["inspect", "lending.feamoe"]).done();
    for part in [
        "format version 1, ",
        i["crc32"].as_str().unwrap(),
        "favourable outcome yes",
        "Model<10, ",
        "income",
        "\nbackground of 1000 records, 32000 bytes\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_inferred_schema_trains_as_it_stands() {
    let folder = Folder::new();
    folder.write("lending.csv", lending(1, 3_000));
    let printed = folder.run(&["schema", "lending.csv"]).well();
    assert_eq!(folder.run(&["schema", "lending.csv", "-o", "s.toml"]).well(), "");
    assert_eq!(folder.text("s.toml"), printed);
    assert!(printed.contains("column = \"approved\"") && printed.contains("column = \"sex\""), "{printed}");
    let from_pipe = folder.run_on(&folder.read("lending.csv"), &["schema", "-"]).well();
    assert_eq!(from_pipe.lines().skip(1).collect::<Vec<_>>(), printed.lines().skip(1).collect::<Vec<_>>());
    let report = folder.run(&["train", "lending.csv", "--schema", "s.toml", "-o", "m", "--format", "json"]).json();
    assert_eq!(report["rows"], 3_000);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn standard_input_gzip_and_several_files_give_what_a_plain_file_gives() {
    let folder = Folder::with_model();
    let text = folder.text("lending.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let (first, second) = rows.split_at(rows.match_indices('\n').nth(1_499).unwrap().0 + 1);
    folder.write("1.csv", format!("{header}\n{first}"));
    folder.write("2.csv.gz", gzip(format!("{header}\n{second}").as_bytes()));
    // Gzip is recognised by content, not by name.
    folder.write("zipped", gzip(text.as_bytes()));
    for command in [
        &["score", "lending.feamoe"][..],
        &["score", "lending.feamoe", "--gate"],
        &["evaluate", "lending.feamoe", "--schema", "lending.toml"],
        &["evaluate", "lending.feamoe", "--schema", "lending.toml", "--format", "json"],
        &["explain", "lending.feamoe", "--row", "2000"],
    ] {
        let plain = folder.run(&[command, &["lending.csv"]].concat()).done();
        assert_eq!(folder.run(&[command, &["zipped"]].concat()).done(), plain, "{command:?} on gzip");
        assert_eq!(folder.run(&[command, &["1.csv", "2.csv.gz"]].concat()).done(), plain, "{command:?} on two files");
        assert_eq!(folder.run_on(text.as_bytes(), &[command, &["-"]].concat()).done(), plain, "{command:?} on a pipe");
        let zipped = folder.read("zipped");
        assert_eq!(folder.run_on(&zipped, &[command, &["-"]].concat()).done(), plain, "{command:?} on a gzip pipe");
    }
    assert_eq!(folder.run(&["score", "lending.feamoe", "lending.csv", "-o", "scores.csv"]).done(), "");
    assert_eq!(folder.text("scores.csv"), folder.run(&["score", "lending.feamoe", "lending.csv"]).done());
}

#[test]
fn a_file_without_a_header_is_read_by_its_schema() {
    let folder = Folder::with_model();
    let text = folder.text("lending.csv").replace(',', "; ");
    let (header, rows) = text.split_once('\n').unwrap();
    folder.write("bare.csv", format!("# a comment\n{rows}"));
    let names: Vec<String> = header.split("; ").map(|name| format!("{name:?}")).collect();
    let table =
        format!("[table]\nheader = false\ndelimiter = \";\"\ncomment = \"#\"\ncolumns = [{}]\n", names.join(", "));
    folder.write("bare.toml", table + &folder.text("lending.toml"));
    let plain = folder.run(&["score", "lending.feamoe", "lending.csv"]).done();
    assert_eq!(folder.run(&["score", "lending.feamoe", "bare.csv", "--schema", "bare.toml"]).done(), plain);
    let explain =
        |data, schema| folder.run(&["explain", "lending.feamoe", data, "--schema", schema, "--row", "3"]).done();
    assert_eq!(explain("bare.csv", "bare.toml"), explain("lending.csv", "lending.toml"));
    let evaluate = |data, schema| folder.run(&["evaluate", "lending.feamoe", data, "--schema", schema]).done();
    assert_eq!(evaluate("bare.csv", "bare.toml"), evaluate("lending.csv", "lending.toml"));
}

#[test]
fn columns_may_come_in_another_order_and_no_target_is_needed_for_scores() {
    let folder = Folder::with_model();
    let text = folder.text("lending.csv");
    let reversed: String =
        text.lines().map(|line| line.split(',').rev().skip(1).collect::<Vec<_>>().join(",") + "\n").collect();
    folder.write("reversed.csv", reversed);
    assert_eq!(
        folder.run(&["score", "lending.feamoe", "reversed.csv"]).done(),
        folder.run(&["score", "lending.feamoe", "lending.csv"]).done()
    );
}

#[test]
fn numbers_of_any_size_are_learned_from_as_they_are_scored() {
    let folder = Folder::new();
    folder.write("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"yes\"]\n");
    // Infinities and numbers beyond f32 are clamped, and `nan` is missing. A column of tiny numbers
    // gets no weight that could overflow.
    for cells in [
        ["inf", "5", "6"],
        ["-inf", "inf", "5"],
        ["1e300", "-1e300", "1"],
        ["nan", "5", "6"],
        ["1e-40", "2e-40", "0"],
        ["3e38", "-3e38", "1"],
    ] {
        let rows: String = (0..200).map(|i| format!("{},{}\n", cells[i * i % 7 % 3], ["yes", "no"][i % 2])).collect();
        folder.write("data.csv", format!("x,y\n{rows}"));
        // The export compares its scores with those of the learner.
        let report = folder.run(&["train", "data.csv", "--schema", "s.toml", "-o", "m", "--format", "json"]).json();
        assert_eq!(report["blob"]["checked_rows"], 200, "{cells:?}");
        let scores = folder.run(&["score", "m", "data.csv"]).well();
        assert!(
            scores.lines().skip(1).all(|line| line.split(',').nth(1).is_some_and(|p| p.starts_with("0."))),
            "{scores}"
        );
    }
}

#[test]
fn a_file_of_no_records_has_no_scores() {
    let folder = Folder::with_model();
    folder.write("none.csv", lending(1, 0));
    let scores = folder.run(&["score", "lending.feamoe", "none.csv"]);
    assert_eq!((scores.code, scores.stdout.as_str()), (Some(0), "row,probability,decision,notes\n"));
    assert_eq!(scores.stderr, "note: none.csv: there are no records, only a header\n");
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let folder = Folder::with_model();
    for command in
        [&["score", "lending.feamoe"][..], &["explain", "lending.feamoe", "--method", "path", "--format", "json"]]
    {
        let mut command = folder.command(&[command, &["lending.csv"; 4]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(!line.is_empty());
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{command:?}");
    }
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    let folder = Folder::with_model();
    let train = ["train", "lending.csv", "--schema", "lending.toml", "-o"];
    let _ = folder.run(&[&train[..], &["/dev/null"]].concat()).done();
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    // Standard output by name is the pipe of this test.
    let scores = folder.run(&["score", "lending.feamoe", "lending.csv", "-o", "/dev/stdout"]).done();
    assert_eq!(scores, folder.run(&["score", "lending.feamoe", "lending.csv"]).done());
    assert!(std::fs::symlink_metadata("/dev/stdout").unwrap().is_symlink());
}
