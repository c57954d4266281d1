//! Resuming a run from its checkpoint gives the same bytes as never stopping: with newer data,
//! after a kill at any moment, after a full disk.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use feamoe_tests::command::{Folder, Ran, feamoe, finished, lending};
use feamoe_tests::{data_file, repository_file, without_card};

/// The number of rows that the encoder is fitted on.
const WARMUP: usize = 5_000;

const TRAIN: [&str; 4] = ["train", "--schema", "lending.toml", "-o"];

/// A folder with the schema, and rows of the demo's stream in files of these lengths: `0.csv`,
/// `1.csv`, ...
fn parts(lengths: &[usize]) -> Folder {
    let folder = Folder::with_lending();
    let text = lending(7, lengths.iter().sum());
    let (header, rows) = text.split_once('\n').unwrap();
    let mut rows = rows.lines();
    for (part, length) in lengths.iter().enumerate() {
        let rows: Vec<&str> = rows.by_ref().take(*length).collect();
        folder.write(&format!("{part}.csv"), format!("{header}\n{}\n", rows.join("\n")));
    }
    folder
}

fn train(folder: &Folder, data: &[&str], name: &str, options: &[&str]) {
    let (model, checkpoint) = (format!("{name}.feamoe"), format!("{name}.ckpt"));
    let outputs = [model.as_str(), "--checkpoint", &checkpoint];
    let _ = folder.run(&[&TRAIN[..], &outputs, data, options].concat()).done();
}

fn update<'a>(name: &'a str, data: &[&'a str], options: &[&'a str]) -> Vec<&'a str> {
    let (checkpoint, model) = match name {
        "parts" => ("parts.ckpt", "parts.feamoe"),
        _ => ("killed.ckpt", "killed.feamoe"),
    };
    [&["update", checkpoint, "-o", model], data, options].concat()
}

#[track_caller]
fn assert_same(folder: &Folder, one: &str, other: &str, what: impl std::fmt::Debug) {
    for kind in ["feamoe", "ckpt"] {
        let [one, other] = [one, other].map(|name| folder.read(&format!("{name}.{kind}")));
        assert!(one == other, "{what:?}: the {kind} differs");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn training_and_updating_is_training_on_both() {
    for (lengths, options) in [
        (&[100, 50, 70][..], &[][..]),
        (&[100, WARMUP, 2_000], &["--fair", "spd=0.03,burden=0.05"]),
        (&[WARMUP - 1, 1, 1, 600], &["--loss", "competitive", "--seed", "5"]),
        (&[WARMUP, 1, 3_000], &["--experts", "3", "--bins", "7", "--lr", "0.1"]),
        (&[WARMUP + 1, 1_000], &["--grow", "every=900,drift", "--window", "3"]),
        (&[6_000, 3_000], &["--fair", "eodds=0.05,aod=0.05", "--freeze"]),
        (&[6_000, 3_000], &["--fair", "impact=0.8", "--threshold", "auto:balanced"]),
        (&[6_000, 2_000], &["--fairness", "paper", "--individual", "0.4"]),
        (&[600, 700, 6_000], &["--background", "0"]),
        (&[1_500, 5_000, 300], &["--background", "1600"]),
    ] {
        let folder = parts(lengths);
        let files: Vec<String> = (0..lengths.len()).map(|part| format!("{part}.csv")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        train(&folder, &files, "whole", options);
        train(&folder, &files[..1], "parts", options);
        for file in &files[1..] {
            let _ = folder.run(&update("parts", &[file], &[])).done();
        }
        assert_same(&folder, "whole", "parts", (lengths, options));
        // All files in one update.
        train(&folder, &files[..1], "parts", options);
        let _ = folder.run(&update("parts", &files[1..], &["--checkpoint-every", "777"])).done();
        assert_same(&folder, "whole", "parts", (lengths, options));
    }
}

#[test]
fn a_model_of_what_was_learned_so_far_is_the_one_of_plain_training() {
    let folder = parts(&[200, 6_000]);
    for data in [&["0.csv"][..], &["1.csv"]] {
        train(&folder, data, "stored", &[]);
        let _ = folder.run(&[&TRAIN[..], &["plain.feamoe"], data].concat()).done();
        assert!(folder.read("stored.feamoe") == folder.read("plain.feamoe"), "{data:?}");
    }
}

#[test]
fn it_does_not_matter_how_the_data_come_in() {
    let folder = parts(&[3_000, 2_500, 1_000]);
    let zipped = gzip(&folder.read("1.csv"));
    folder.write("zipped.gz", &zipped);
    // The checkpoint's sample of rows stores file names, and a pipe has its own name: both runs
    // read the last part from a pipe.
    let arguments = [&TRAIN[..], &["whole.feamoe", "--checkpoint", "whole.ckpt", "0.csv", "zipped.gz", "-"]].concat();
    let _ = folder.run_on(&folder.read("2.csv"), &arguments).done();
    train(&folder, &["0.csv"], "parts", &[]);
    let _ = folder.run(&update("parts", &["zipped.gz"], &[])).done();
    let _ = folder.run_on(&folder.read("2.csv"), &update("parts", &["-"], &[])).done();
    assert_same(&folder, "whole", "parts", "gzip and a pipe");
    // The model stores the SHA-256 of all the files in sequence.
    let all = [folder.read("0.csv"), zipped, folder.read("2.csv")].concat();
    folder.write("all.bin", &all);
    let sum = finished(&mut folder.command_of(std::path::Path::new("sha256sum"), &["all.bin"])).done();
    let inspected = folder.run(&["inspect", "parts.feamoe", "--format", "json"]).json();
    assert_eq!(inspected["training"]["data_sha256"].as_str(), sum.split(' ').next());
}

#[test]
fn columns_are_found_by_name() {
    let folder = parts(&[WARMUP + 500, 1_000]);
    let text = folder.text("1.csv");
    // Columns in reverse order, and one column more.
    let turned: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(line, row)| {
            let mut cells: Vec<&str> = row.split(',').collect();
            cells.reverse();
            cells.insert(3, if line == 0 { "branch" } else { "x" });
            cells.join(",")
        })
        .collect();
    folder.write("turned.csv", turned.join("\n"));
    train(&folder, &["0.csv", "1.csv"], "whole", &[]);
    train(&folder, &["0.csv"], "parts", &[]);
    let _ = folder.run(&update("parts", &["turned.csv"], &[])).done();
    let scores = |model: &str| folder.run(&["score", model, "1.csv"]).done();
    assert_eq!(scores("parts.feamoe"), scores("whole.feamoe"));
    let lacking = text.replacen("income", "earnings", 1);
    folder.write("lacking.csv", lacking);
    let message = folder.refusal(&update("parts", &["lacking.csv"], &[]));
    assert!(
        message.starts_with("lacking.csv: the header differs from that of the run so far: it lacks \"income\","),
        "{message}"
    );
}

#[test]
fn data_that_break_off_are_gone_on_with_from_where_they_did() {
    let folder = parts(&[1_000, 7_000, 500]);
    train(&folder, &["0.csv", "1.csv", "2.csv"], "whole", &[]);
    let good = folder.text("1.csv");
    let middle = good.match_indices('\n').nth(6_400).unwrap().0 + 1;
    let bad = format!("{}1,Male,old,1,1,1,1,salaried,car,north,1,yes\n{}", &good[..middle], &good[middle..]);
    train(&folder, &["0.csv"], "parts", &[]);
    folder.write("1.csv", bad);
    let every = ["--checkpoint-every", "1000"];
    let failed = folder.run(&update("parts", &["1.csv", "2.csv"], &every)).refused();
    assert!(failed.starts_with("1.csv:6402: column \"age\": found \"old\""), "{failed}");

    // Fewer or changed rows are refused, because they are not the rows that were read.
    let message = folder.refusal(&update("parts", &["2.csv"], &every));
    let expected = "expected the first 6000 records of 1.csv, which the run had read when it stopped; name the same data again, from the \
                    first file on, or resume with other data as the rest of them (--rest)";
    assert_eq!(message, format!("2.csv: found fewer records, {expected}"));
    let one = good.replacen(",yes\n", ",no\n", 1);
    folder.write("changed.csv", one);
    let message = folder.refusal(&update("parts", &["changed.csv"], &every));
    assert_eq!(message, format!("changed.csv: found other records, {expected}"));

    // The data are corrected: the rows that were learned are not learned again.
    let stored = folder.read("parts.ckpt");
    folder.write("1.csv", &good);
    let _ = folder.run(&update("parts", &["1.csv", "2.csv"], &[])).done();
    assert_same(&folder, "whole", "parts", "mended");

    // A pipe gives only the remaining rows.
    folder.write("parts.ckpt", stored);
    let rest: String = good.lines().take(1).chain(good.lines().skip(6_001)).map(|line| format!("{line}\n")).collect();
    let _ = folder.run_on(rest.as_bytes(), &update("parts", &["-", "2.csv"], &["--rest"])).done();
    let scores = |model: &str| folder.run(&["score", model, "2.csv"]).done();
    assert_eq!(scores("parts.feamoe"), scores("whole.feamoe"));
}

#[test]
fn a_file_learned_from_again_is_newer_data() {
    let folder = parts(&[6_000, 300]);
    train(&folder, &["0.csv", "1.csv", "1.csv"], "whole", &[]);
    train(&folder, &["0.csv"], "parts", &[]);
    for again in [&[][..], &["--again"]] {
        let _ = folder.run(&update("parts", &["1.csv"], again)).done();
    }
    assert_same(&folder, "whole", "parts", "twice");
}

/// Runs a command again and again until it finishes. Each run is killed after a time that grows
/// from `first` by `more`. Returns the number of kills.
///
/// The checkpoint is replaced last: a kill between that and the exit comes after the end of the
/// run. The same command, run once more, would then rightly learn from newer data.
fn killed_again_and_again(folder: &Folder, arguments: &[&str], first: Duration, more: Duration) -> u32 {
    let last_checkpoint = folder.read("whole.ckpt");
    let mut patience = first;
    for killed in 0.. {
        let mut child = folder.command(arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{arguments:?}");
                return killed;
            }
            if started.elapsed() >= patience {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.read("killed.ckpt") == last_checkpoint {
            return killed;
        }
        patience += more;
    }
    0
}

/// Rows in three files, the checkpoint of a run over the first, and the checkpoint of a run over
/// all.
fn begun() -> Folder {
    let folder = parts(&[2_000, 26_000, 4_000]);
    let options = ["--fair", "spd=0.05"];
    train(&folder, &["0.csv", "1.csv", "2.csv"], "whole", &options);
    train(&folder, &["0.csv"], "killed", &options);
    folder
}

const REST: [&str; 9] =
    ["update", "killed.ckpt", "1.csv", "2.csv", "-o", "killed.feamoe", "--checkpoint-every", "500", "--quiet"];

/// Kills runs in chains: each run resumes the one before it. Ends once at least `wanted` runs were
/// killed, and returns the number of chains.
fn kill_in_chains(folder: &Folder, wanted: u32) -> u32 {
    let begun = folder.read("killed.ckpt");
    let (mut kills, mut chains) = (0, 0);
    while kills < wanted {
        folder.write("killed.ckpt", &begun);
        kills += killed_again_and_again(folder, &REST, Duration::from_millis(5), Duration::from_millis(1));
        assert_same(folder, "whole", "killed", "a chain");
        chains += 1;
        assert!(chains < 20 + wanted, "{kills} kills in {chains} chains");
    }
    chains
}

/// Takes about a minute: `cargo test --release --workspace --test all -- --ignored
/// a_thousand_kills`.
#[test]
#[ignore = "minutes"]
fn a_thousand_kills_lose_nothing() {
    let chains = kill_in_chains(&begun(), 1_000);
    println!("1,000 kills in {chains} chains, each ended in the bytes of a run that was not killed");
}

#[test]
fn killed_at_any_moment_it_resumes_to_the_same_bytes() {
    let folder = begun();
    let begun = folder.read("killed.ckpt");
    // Each round starts from the beginning, and after the kill resumes to the end.
    let mut kills = 0;
    for milliseconds in (1..=200).map(|i| i * 12) {
        folder.write("killed.ckpt", &begun);
        let (first, never) = (Duration::from_millis(milliseconds), Duration::from_secs(600));
        let killed = killed_again_and_again(&folder, &REST, first, never);
        assert_same(&folder, "whole", "killed", milliseconds);
        kills += killed;
        // On a busy machine the first kills may come too late.
        if killed == 0 && kills >= 5 {
            break;
        }
    }
    folder.write("killed.ckpt", &begun);
    let _ = kill_in_chains(&folder, 5);
    assert!(kills >= 5, "{kills}");
    let mut files = folder.files();
    // Temporary files and the lock file may remain.
    files.retain(|name, _| !name.starts_with(".feamoe-") && name != ".killed.ckpt.lock");
    assert_eq!(files.len(), 9, "{:?}", files.keys());
}

#[test]
fn killed_training_is_gone_on_with_by_update() {
    let folder = parts(&[6_000, 20_000]);
    let rows = folder.read("1.csv");
    let train = |name: &str| -> Vec<String> {
        let outputs = [format!("{name}.feamoe"), "--checkpoint".into(), format!("{name}.ckpt")];
        [&TRAIN.map(String::from)[..], &outputs, &["0.csv".into(), "-".into()]].concat()
    };
    let arguments = train("whole");
    let _ = folder.run_on(&rows, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).done();
    let arguments = train("killed");
    let mut command = folder.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    // Kept open: the run waits for more rows until it is killed.
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&rows).unwrap();
    let started = Instant::now();
    while !folder.path("killed.ckpt").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "there was never a checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path("killed.feamoe").exists());
    let arguments = update("killed", &["0.csv", "-"], &["--format", "json"]);
    let report = folder.run_on(&rows, &arguments).json();
    // The first checkpoint is written with the encoder; with the default interval no other follows.
    assert_eq!((report["earlier_rows"].as_u64(), report["rows"].as_u64()), (Some(5_000), Some(26_000)));
    assert_same(&folder, "whole", "killed", "train");
}

/// Runs `feamoe` in a shell that limits files to this many blocks of 512 or 1,024 bytes.
fn with_little_space(folder: &Folder, blocks: usize, arguments: &[&str]) -> Ran {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut shell = folder.command_of(std::path::Path::new("sh"), &["-c", &script, "sh"]);
    finished(shell.arg(feamoe()).args(arguments))
}

#[test]
fn a_full_disk_leaves_the_last_good_checkpoint() {
    let folder = parts(&[6_000, 3_000]);
    train(&folder, &["0.csv", "1.csv"], "whole", &[]);
    train(&folder, &["0.csv"], "parts", &[]);
    // Enough space for the model, too little for an intermediate or a final checkpoint. The model
    // is not replaced in that case.
    let blocks = folder.read("whole.feamoe").len().div_ceil(512);
    assert!(folder.read("parts.ckpt").len() > blocks * 1024);
    for every in ["500", "1000000"] {
        let arguments = update("parts", &["1.csv"], &["--checkpoint-every", every]);
        let ran = folder.unchanged(|| with_little_space(&folder, blocks, &arguments));
        let reason = "File too large (os error 27); free some space, or choose another place";
        assert_eq!(ran.refused(), format!("cannot write parts.ckpt: {reason}"));
    }
    // If the report cannot be written, the run changes nothing.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let before = folder.read("parts.ckpt");
    let status = folder
        .command(&update("parts", &["1.csv"], &[]))
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
    assert!(folder.read("parts.ckpt") == before);
    let _ = folder.run(&update("parts", &["1.csv"], &[])).done();
    assert_same(&folder, "whole", "parts", "with space again");
}

#[test]
fn several_passes_over_one_period_then_a_single_one_over_newer_data() {
    let folder = parts(&[3_000, 2_000]);
    for options in [&["--epochs", "3"][..], &["--shuffle", "--epochs", "2"]] {
        train(&folder, &["0.csv"], "parts", options);
        let report = folder.run(&[&update("parts", &["1.csv"], &[])[..], &["--format", "json"]].concat()).json();
        let passes = if options.len() == 2 { 3 } else { 2 };
        assert_eq!(report["earlier_rows"].as_u64(), Some(3_000 * passes));
        assert_eq!(report["rows"].as_u64(), Some(3_000 * passes + 2_000));
        assert_eq!(report["prequential"]["rows"].as_u64(), Some(5_000));
        let refused = [&TRAIN[..], &["m", "0.csv", "--checkpoint", "c", "--checkpoint-every", "9"], options].concat();
        assert_eq!(
            folder.refusal(&refused),
            "--checkpoint-every needs a run in one pass; with --shuffle or several --epochs, the checkpoint is written at the end; leave out --checkpoint-every"
        );
    }
}

/// Returns the accuracy and the mean log-loss over the windows of a report after a row.
fn since(report: &serde_json::Value, row: u64) -> (f64, f64) {
    let (mut rows, mut right, mut loss) = (0.0, 0.0, 0.0);
    for window in report["prequential"]["windows"].as_array().unwrap() {
        if window["from"].as_u64().unwrap() > row {
            let of = |key: &str| window[key].as_f64().unwrap();
            rows += of("rows");
            right += of("rows") * of("accuracy");
            loss += of("rows") * of("log_loss");
        }
    }
    (right / rows, loss / rows)
}

#[test]
fn newer_years_started_from_a_model_of_the_first_go_better_than_from_nothing() {
    let Some(data) = data_file("hmda_2014_2017.csv.gz") else { return };
    let folder = Folder::new();
    let schema = repository_file("trainer/schemas/hmda.toml").to_str().unwrap().to_owned();
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(data).unwrap()).read_to_string(&mut text).unwrap();
    let years = |years: &[&str]| {
        let of_the_years = |line: &str| years.iter().any(|year| line.starts_with(year));
        let rows = text.lines().enumerate().filter(|(number, line)| *number == 0 || of_the_years(line));
        rows.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    folder.write("2014.csv", years(&["2014"]));
    folder.write("later.csv", years(&["2015", "2016", "2017"]));
    let run = |arguments: &[&str]| {
        let common = ["-o", "m.feamoe", "--format", "json"];
        folder.run(&[arguments, &common].concat()).json()
    };
    let windows = ["--schema", &schema, "--window", "200"];
    let scratch = since(&run(&[&["train", "later.csv"], &windows[..]].concat()), 0);
    let several = ["--epochs", "5", "--shuffle", "--checkpoint", "run.ckpt"];
    let first = run(&[&["train", "2014.csv"], &windows[..], &several].concat());
    let started = run(&["update", "run.ckpt", "later.csv"]);
    let started = since(&started, first["prequential"]["rows"].as_u64().unwrap());
    println!("accuracy and log-loss over 2015-2017: {started:?} started from 2014, {scratch:?} from nothing");
    assert!(started.0 > scratch.0 && started.1 < scratch.1, "{started:?}, {scratch:?}");
}

#[test]
fn an_update_may_freeze_and_let_go_again() {
    let folder = parts(&[6_000, 500, 500]);
    train(&folder, &["0.csv"], "parts", &[]);
    let begun = folder.read("parts.ckpt");
    let after = |freezes: [&[&str]; 2]| {
        folder.write("parts.ckpt", &begun);
        for (file, freeze) in ["1.csv", "2.csv"].into_iter().zip(freezes) {
            let _ = folder.run(&update("parts", &[file], freeze)).done();
        }
        folder.read("parts.feamoe")
    };
    let free = after([&[], &[]]);
    let frozen = after([&["--freeze"], &[]]);
    assert!(frozen == after([&["--freeze"], &["--freeze=true"]]), "the option stays");
    assert!(frozen != free && frozen != after([&["--freeze"], &["--freeze=false"]]));
    assert!(free == after([&["--freeze=false"], &[]]));
}

#[test]
fn an_update_learns_something_or_says_why_not() {
    let folder = parts(&[200]);
    train(&folder, &["0.csv"], "parts", &[]);
    folder.write("other.csv", folder.text("0.csv").replace(",yes\n", ",granted\n").replace(",no\n", ",refused\n"));
    let message = folder.refusal(&update("parts", &["other.csv"], &[]));
    assert!(message.starts_with("other.csv: column \"approved\": found "), "{message}");
    folder.write("empty.csv", folder.text("0.csv").lines().next().unwrap());
    let message = folder.refusal(&update("parts", &["empty.csv"], &[]));
    assert_eq!(message, "empty.csv: there are no records, only a header");
}

#[test]
fn what_is_read_is_not_overwritten() {
    let folder = parts(&[200]);
    train(&folder, &["0.csv"], "parts", &[]);
    let said = |input: &str, option: &str| {
        format!("the output {input} is the input {input}, which it would replace; name another file after {option}")
    };
    let refusal = |arguments: &[&str]| folder.refusal(&[&["update", "parts.ckpt", "0.csv"], arguments].concat());
    assert_eq!(refusal(&["-o", "0.csv"]), said("0.csv", "--output"));
    assert_eq!(refusal(&["-o", "parts.ckpt", "--checkpoint", "c"]), said("parts.ckpt", "--output"));
    assert_eq!(refusal(&["-o", "m", "--checkpoint", "0.csv"]), said("0.csv", "--checkpoint"));
    let both = |place: &str| {
        format!("{place}: both the model and the checkpoint would be written to this file; name two different files")
    };
    assert_eq!(refusal(&["-o", "m", "--checkpoint", "./m"]), both("./m"));
    assert_eq!(
        folder.refusal(&[&TRAIN[..], &["m", "0.csv", "--checkpoint", "lending.toml"]].concat()),
        said("lending.toml", "--checkpoint")
    );
    let missing = refusal(&["-o", "m", "--checkpoint", "none/c"]);
    assert_eq!(missing, "cannot write none/c: No such file or directory (os error 2); create the folder first");
}

#[test]
fn a_checkpoint_does_not_grow_with_the_stream() {
    let folder = parts(&[8_000, 60_000]);
    let options = ["--window", "10", "--experts", "12"];
    train(&folder, &["0.csv"], "parts", &options);
    let before = folder.read("parts.ckpt").len();
    let _ = folder.run(&update("parts", &["1.csv"], &[])).done();
    let after = folder.read("parts.ckpt").len();
    assert!(after < before + before / 4, "{before} bytes, then {after}");
}

#[test]
fn data_that_were_learned_from_are_refused_unless_they_are_wanted_again() {
    for rows in [40, 700, 2_500] {
        let folder = parts(&[rows, 300]);
        let both = folder.text("0.csv") + folder.text("1.csv").split_once('\n').unwrap().1;
        folder.write("both.csv", both);
        train(&folder, &["0.csv"], "parts", &[]);
        let of_several = update("parts", &["2.csv", "0.csv"], &[]);
        let update = |data, options: &[&'static str]| folder.run(&update("parts", &[data], options));
        let before = folder.read("parts.ckpt");
        let refused = update("0.csv", &[]).refused();
        let expected = format!("0.csv: the run learned from the first {} records before", rows.min(1_000));
        assert!(refused.starts_with(&expected) && refused.ends_with("(--again)"), "{refused}");
        if rows >= 100 {
            assert!(update("both.csv", &[]).refused().starts_with("both.csv: the run learned"), "{rows}");
        }
        assert!(folder.read("parts.ckpt") == before, "{rows}");
        let _ = update("1.csv", &[]).done();
        // The rows of every update are recognised, not only those of the first run.
        let before = folder.read("parts.ckpt");
        for (data, records) in [("1.csv", 300), ("0.csv", rows.min(1_000))] {
            let expected = format!("{data}: the run learned from the first {records} records before");
            assert!(update(data, &[]).refused().starts_with(&expected), "{rows}");
        }
        // Known rows are also refused as a later file of several.
        folder.write("2.csv", folder.text("1.csv").replace("yes", "no"));
        let several = folder.run(&of_several).refused();
        assert!(several.starts_with("0.csv: the run learned from the first"), "{several}");
        assert!(folder.read("parts.ckpt") == before, "{rows}");
        let _ = update("0.csv", &["--again"]).done();
    }
}

#[test]
fn a_checkpoint_is_exported_as_the_model_of_its_run() {
    for rows in [400, 6_500] {
        let folder = parts(&[rows]);
        train(&folder, &["0.csv"], "run", &[]);
        let export = ["export", "run.ckpt", "-o", "x.feamoe", "--background", if rows == 400 { "400" } else { "1000" }];
        let _ = folder.run(&export).done();
        assert!(folder.read("x.feamoe") == without_card(&folder.read("run.feamoe")).as_slice(), "{rows}");
    }
}

/// Sends a signal to a process.
#[cfg(unix)]
fn signal(name: &str, child: &std::process::Child) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// A run that is asked to stop finishes its row, stores itself and leaves no partial file. Resuming
/// gives the same bytes as never stopping.
#[cfg(unix)]
#[test]
fn a_signal_stores_the_run_and_a_second_run_resumes_it() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = parts(&[2_000, 60_000]);
    train(&folder, &["0.csv", "1.csv"], "whole", &[]);
    let mut stopped = 0;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        for milliseconds in [40, 80, 120, 160, 240, 320] {
            let outputs = ["s.feamoe", "--checkpoint", "s.ckpt"];
            for file in ["s.feamoe", "s.ckpt"] {
                let _ = std::fs::remove_file(folder.path(file));
            }
            let arguments = [&TRAIN[..], &outputs, &["0.csv", "1.csv"]].concat();
            let mut command = folder.command(&arguments);
            let child =
                command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            signal(name, &child);
            let ended = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(folder.files().keys().all(|name| !name.starts_with(".feamoe-")), "{said}");
            match ended.status.code() {
                Some(0) => assert_same(&folder, "whole", "s", "it was done already"),
                // The run had not installed its signal handler yet.
                None => assert!(ended.status.signal().is_some()),
                Some(found) if !folder.path("s.ckpt").exists() => assert_eq!(found, code, "{said}"),
                // The run had finished except for its exit.
                Some(_) if folder.read("s.ckpt") == folder.read("whole.ckpt") => {}
                Some(found) => {
                    assert_eq!(found, code, "{said}");
                    let on_its_way = said.contains("rows, which are in the checkpoint");
                    assert!(on_its_way || said.contains("is the last one that was written"), "{said}");
                    assert!(!on_its_way || !folder.path("s.feamoe").exists());
                    let _ = folder.run(&["update", "s.ckpt", "0.csv", "1.csv", "-o", "s.feamoe"]).done();
                    assert_same(&folder, "whole", "s", milliseconds);
                    stopped += 1;
                }
            }
        }
    }
    println!("{stopped} runs of 12 were stopped on their way");
    assert!(stopped > 0);
}

/// Starts an update that waits for more rows. It is given more bytes than a pipe holds: once they
/// are written, it has read some, so it has the lock and the checkpoint.
fn waiting(folder: &Folder) -> std::process::Child {
    const PIPE: usize = 1 << 16;
    let mut command = folder.command(&["update", "both.ckpt", "-", "-o", "first.feamoe"]);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    let rows = folder.read("1.csv");
    assert!(rows.len() > PIPE, "{}", rows.len());
    child.stdin.as_mut().unwrap().write_all(&rows).unwrap();
    assert!(folder.path(LOCK).exists());
    child
}

const LOCK: &str = ".both.ckpt.lock";

#[test]
fn two_updates_of_one_checkpoint_do_not_overwrite_each_other() {
    let folder = parts(&[2_000, 4_000, 1_000]);
    train(&folder, &["0.csv"], "both", &[]);
    let before = folder.read("both.ckpt");
    let second = ["update", "both.ckpt", "2.csv", "-o", "second.feamoe"];
    let finish = |mut first: std::process::Child| {
        drop(first.stdin.take());
        let ended = first.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };

    let first = waiting(&folder);
    let refused = folder.run(&second).refused();
    assert!(refused.starts_with("both.ckpt: another process is writing this file, as "), "{refused}");
    let (code, said) = finish(first);
    assert_eq!(code, Some(0), "{said}");
    assert!(!folder.path(LOCK).exists() && !folder.path("second.feamoe").exists());
    let _ = folder.run(&second).done();

    // A program that takes no lock may replace the checkpoint too.
    let stored = folder.read("both.ckpt");
    folder.write("both.ckpt", &before);
    let first = waiting(&folder);
    folder.write("both.ckpt", &stored);
    let (code, said) = finish(first);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("both.ckpt: another run has replaced the checkpoint"), "{said}");
    assert!(folder.read("both.ckpt") == stored);
}

/// A killed run leaves its lock file but not its lock.
#[test]
fn a_killed_run_locks_nobody_out() {
    let folder = parts(&[2_000, 4_000]);
    train(&folder, &["0.csv"], "both", &[]);
    let mut first = waiting(&folder);
    first.kill().unwrap();
    let _ = first.wait().unwrap();
    assert!(folder.path(LOCK).exists());
    let _ = folder.run(&["update", "both.ckpt", "1.csv", "-o", "m.feamoe"]).done();
    assert!(!folder.path(LOCK).exists());
}

/// Infinite numbers and 64-bit options, as the command accepts them.
#[test]
fn extreme_data_and_options_are_stored() {
    let folder = parts(&[1_500, 1_500]);
    for file in ["0.csv", "1.csv"] {
        let rows = folder.text(file);
        let wider = |(at, row): (usize, &str)| match at {
            0 => format!("{row},endless\n"),
            _ => format!("{row},{}\n", ["inf", "-inf", "NaN", "1e300", "-0.0", "5"][at % 6]),
        };
        folder.write(file, rows.lines().enumerate().map(wider).collect::<String>());
    }
    let schema = folder.text("lending.toml");
    folder.write("lending.toml", schema + "\n[table]\nmissing = [\"\"]\n");
    let options = ["--seed", "18446744073709551615", "--window", "18446744073709551615"];
    let more = ["--grow", "every=18446744073709551615,unfair=18446744073709551615", "--label-delay", "3"];
    let train = ["train", "0.csv", "--schema", "lending.toml", "-o", "x.feamoe", "--checkpoint", "x.ckpt"];
    let _ = folder.run(&[&train[..], &options, &more].concat()).well();
    let _ = folder.run(&["update", "x.ckpt", "1.csv", "-o", "x.feamoe"]).well();
}
