//! Promise: everything that people read changes only on purpose: every help text, every table, and
//! the messages of common mistakes. `cargo insta review`, or `INSTA_UPDATE=always cargo test -p
//! feamoe-tests snapshots::`, accepts a change.

use feamoe_tests::command::Folder;

const COMMANDS: [&str; 21] = [
    "schema",
    "train",
    "tune",
    "update",
    "merge",
    "evaluate",
    "compare",
    "score",
    "explain",
    "recourse",
    "inspect",
    "report",
    "export",
    "sign",
    "monitor",
    "serve",
    "study",
    "demo",
    "json-schema",
    "completions",
    "man",
];

/// Runs a command as on a terminal with this many columns.
fn ran(folder: &Folder, columns: &str, arguments: &[&str]) -> String {
    let output = folder.command(arguments).env("COLUMNS", columns).env_remove("FEAMOE_DATA").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Removes figures that depend on the machine.
fn without_figures_of_the_machine(text: &str) -> String {
    let part = |part: &str| match part {
        part if part.ends_with(" rows/s") => "N rows/s".to_owned(),
        part if part.trim_end().ends_with(" MB") && part.starts_with("peak memory") => "peak memory N MB\n".to_owned(),
        part => part.to_owned(),
    };
    let line = |line: &str| line.split(", ").map(part).collect::<Vec<_>>().join(", ");
    text.split_inclusive('\n').map(line).collect()
}

#[test]
fn help() {
    let folder = Folder::new();
    let mut text = ran(&folder, "100", &["--help"]);
    for command in COMMANDS {
        text += &format!("\n== {command} ==\n{}", ran(&folder, "100", &[command, "--help"]));
    }
    insta::assert_snapshot!("help", text);
}

#[test]
fn every_command_has_completions_and_a_page() {
    let folder = Folder::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = folder.run(&["completions", shell]).done();
        for word in COMMANDS.into_iter().chain(["checkpoint-every"]) {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let _ = folder.run(&["man", "-o", "."]).done();
    let pages = folder.files();
    assert_eq!(pages.len(), 1 + COMMANDS.len());
    for command in COMMANDS {
        let page = folder.text(&format!("feamoe-{command}.1"));
        assert!(
            page.contains(".SH SYNOPSIS") && page.contains(&format!("feamoe {}", command.replace('-', "\\-"))),
            "{page}"
        );
    }
    assert_eq!(folder.run(&["man"]).done(), folder.text("feamoe.1"));
}

#[test]
fn tables() {
    let folder = Folder::with_model();
    let schema = ["--schema", "lending.toml"];
    let model = "lending.feamoe";
    for (name, arguments) in [
        ("schema", vec!["schema", "lending.csv"]),
        ("train", [&["train", "lending.csv", "--fair", "spd=0.05", "-o", "new.feamoe"], &schema[..]].concat()),
        ("evaluate", [&["evaluate", model, "lending.csv"], &schema[..]].concat()),
        ("inspect", vec!["inspect", model]),
        ("inspect_device", vec!["inspect", model, "--device", "cortex-m4f"]),
        ("compare", vec!["compare", model, "new.feamoe", "lending.csv"]),
        ("monitor", vec!["monitor", model, "lending.csv", "--reference", "lending.csv"]),
        ("explain_a_record", vec!["explain", model, "lending.csv", "--row", "3"]),
        ("explain_all", vec!["explain", model, "lending.csv", "--global", "--method", "path"]),
        ("recourse_of_a_record", vec!["recourse", model, "lending.csv", "--row", "5"]),
        ("recourse", vec!["recourse", model, "lending.csv"]),
    ] {
        let text = without_figures_of_the_machine(&ran(&folder, "100", &arguments));
        insta::assert_snapshot!(name, format!("feamoe {}\n\n{text}", arguments.join(" ")));
    }
}

#[test]
fn messages() {
    let folder = Folder::with_model();
    folder.write("empty.csv", "");
    folder.write("ragged.csv", "a,b\n1,2\n3\n");
    folder.write("text.csv", "income,age\nmany,30\n");
    folder.write("broken.toml", "[target\n");
    let train = |data: &'static str, schema: &'static str| vec!["train", data, "--schema", schema, "-o", "new.feamoe"];
    let mistakes = [
        train("nowhere.csv", "lending.toml"),
        train("empty.csv", "lending.toml"),
        train("ragged.csv", "lending.toml"),
        train("lending.csv", "nowhere.toml"),
        train("lending.csv", "broken.toml"),
        train("lending.csv", "lending.csv"),
        train("lending.feamoe", "lending.toml"),
        vec!["train", "lending.csv", "--schema", "lending.toml", "-o", "lending.csv"],
        vec!["train", "lending.csv", "--schema", "lending.toml", "-o", "no/such/folder"],
        vec!["train", "lending.csv", "--schema", "lending.toml", "-o", "m", "--fair", "parity=0.1"],
        vec!["score", "lending.feamoe", "text.csv"],
        vec!["score", "lending.csv", "lending.csv"],
        vec!["explain", "lending.feamoe", "lending.csv", "--row", "4000"],
        vec!["update", "lending.feamoe", "lending.csv", "-o", "new.feamoe"],
        vec!["export", "lending.feamoe", "-o", "lending.feamoe"],
    ];
    let said = mistakes.map(|arguments| format!("feamoe {}\n{}", arguments.join(" "), ran(&folder, "100", &arguments)));
    insta::assert_snapshot!("messages", said.join("\n"));
}
