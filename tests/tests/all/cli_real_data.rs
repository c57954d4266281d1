//! End to end on real data, with the files of `FEAMOE_DATA`: Adult is learned in one pass, and
//! memory does not grow with the file.

use std::io::Write as _;
use std::process::Stdio;

use feamoe_tests::command::{Folder, Ran};
use feamoe_tests::{data_file, repository_file};

/// Accuracy on adult.test after one pass over adult.data in file order, without targets.
const ACCURACY_IN_ONE_PASS: f64 = 0.860;
/// Number of copies of Adult.
const COPIES: usize = 50;

fn adult_schema() -> String {
    repository_file("trainer/schemas/adult.toml").to_str().unwrap().to_owned()
}

#[test]
fn adult_in_one_pass() {
    let (Some(data), Some(test)) = (data_file("adult.data"), data_file("adult.test")) else { return };
    let (data, test, schema) = (data.to_str().unwrap(), test.to_str().unwrap(), &*adult_schema());
    let folder = Folder::new();
    let train = folder.run(&["train", data, "--schema", schema, "-o", "adult.feamoe", "--format", "json"]).json();
    assert_eq!((train["rows"].as_u64(), train["skipped"].as_u64()), (Some(32_561), Some(0)));
    assert!(train["experts"].as_u64().unwrap() <= 12);
    let report = folder.run(&["evaluate", "adult.feamoe", test, "--schema", schema, "--format", "json"]).json();
    assert_eq!(report["rows"].as_u64(), Some(16_281));
    let accuracy = report["accuracy"].as_f64().unwrap();
    assert!(accuracy >= ACCURACY_IN_ONE_PASS, "{accuracy}");

    let explain = ["explain", "adult.feamoe", test, "--schema", schema, "--row", "16281", "--format", "json"];
    let explained = folder.run(&explain).json();
    assert_eq!(explained["feature_names"].as_array().unwrap().len(), 13);
    let scores = folder.run(&["score", "adult.feamoe", test, "--schema", schema]).done();
    assert_eq!(scores.lines().count(), 16_282);
    let last: f32 = scores.lines().last().unwrap().split(',').nth(1).unwrap().parse().unwrap();
    assert_eq!(explained["probability"][0].as_f64().unwrap() as f32, last);
}

#[test]
fn the_commands_of_the_readme_work_as_they_stand() {
    let (Some(data), Some(test)) = (data_file("adult.data"), data_file("adult.test")) else { return };
    let folder = Folder::new();
    std::fs::copy(data, folder.path("adult.data")).unwrap();
    std::fs::copy(test, folder.path("adult.test")).unwrap();
    std::fs::create_dir_all(folder.path("trainer/schemas")).unwrap();
    std::fs::copy(adult_schema(), folder.path("trainer/schemas/adult.toml")).unwrap();
    let pages = ["README.md", "docs/commands.md"];
    let text = pages.map(|page| std::fs::read_to_string(repository_file(page)).unwrap()).concat();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    feamoe ")).collect();
    let named = |name: &str| commands.iter().any(|command| command.split(' ').next() == Some(name));
    assert!(
        ["train", "evaluate", "score", "explain", "inspect", "compare", "merge"].into_iter().all(named),
        "{commands:?}"
    );
    for command in commands {
        let words = command.split('#').next().unwrap_or_default().split_whitespace();
        let ran = folder.run(&words.collect::<Vec<_>>());
        // Long commands print their expected time, so standard error may not be empty.
        assert_eq!(ran.code, Some(0), "{command}: {}", ran.stderr);
    }
}

/// Trains on `copies` of a file through a pipe. Returns the peak memory in bytes, if the system
/// reports it.
fn peak_memory(folder: &Folder, text: &[u8], copies: usize) -> Option<f64> {
    let train = ["train", "-", "--schema", &adult_schema(), "-o", "m.feamoe", "--format", "json"];
    let mut command = folder.command(&train);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for _ in 0..copies {
        pipe.write_all(text).unwrap();
    }
    drop(pipe);
    let report = Ran::new(&command, &child.wait_with_output().unwrap()).json();
    assert_eq!(report["rows"].as_u64(), Some(32_561 * copies as u64));
    // The windows double in length instead of growing in number.
    assert!(report["prequential"]["windows"].as_array().unwrap().len() <= 512);
    report["peak_memory_bytes"].as_f64()
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let Some(data) = data_file("adult.data") else { return };
    let text = std::fs::read(data).unwrap();
    let folder = Folder::new();
    let (Some(once), Some(often)) = (peak_memory(&folder, &text, 1), peak_memory(&folder, &text, COPIES)) else {
        println!("this system does not tell how much memory a process took");
        return;
    };
    println!("peak memory: {:.1} MB once, {:.1} MB {COPIES} times", once / 1e6, often / 1e6);
    assert!((often / once - 1.0).abs() < 0.1, "{once} bytes once, {often} bytes {COPIES} times");
}
