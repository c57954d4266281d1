//! Promise: the modules of the trainer depend on each other in one direction, in the order listed
//! here, without a cycle. The library does not know its command: its messages name no flag.

use std::fs;
use std::path::Path;

use feamoe_tests::repository_file;

/// Each module uses only those before it.
const ROOMS: [&str; 25] = [
    "tuned",
    "text",
    "escaped",
    "links",
    "output",
    "secret",
    "keys",
    "error",
    "lock",
    "random",
    "threads",
    "demo",
    "schema",
    "rows",
    "infer",
    "model",
    "encoder",
    "learner",
    "judge",
    "training",
    "tuning",
    "explanation",
    "plot",
    "report",
    "serve",
];

const OF_THE_COMMAND: [&str; 2] = ["cli", "main"];

/// Returns the code of a file without comments and tests, since tests may use anything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Returns the modules named after `crate::`, one by one or in braces.
fn used(code: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut rooms: Vec<String> = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.push(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (index, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    rooms.push(name(&list[start..index]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    rooms.push(name(&list[start..index]));
                    start = index + 1;
                }
                _ => {}
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn nothing_imports_upwards() {
    let source = repository_file("trainer/src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let (mut seen, mut upwards) = (0, Vec::new());
    for path in all {
        let inside = path.strip_prefix(&source).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if inside.ends_with("tests.rs") || OF_THE_COMMAND.contains(&room) || room == "lib" {
            continue;
        }
        let floor = ROOMS.iter().position(|name| *name == room).unwrap_or_else(|| panic!("{room} is no listed room"));
        for used in used(&code(&path)) {
            seen += 1;
            if used != room && !ROOMS[..floor].contains(&used.as_str()) {
                upwards.push(format!("{} uses {used}", inside.display()));
            }
        }
    }
    assert!(upwards.is_empty(), "{upwards:#?}");
    assert!(seen > 100, "{seen} uses were found");
}

#[test]
fn what_is_used_is_found() {
    let code = "use crate::a::{b, c};\nuse crate::{d::e, f::{g, h}, i};\nfn j() { crate::k::l() }";
    assert_eq!(used(code), ["a", "d", "f", "i", "k"]);
}

/// Returns the flags that a message names: two dashes and a letter, after a blank, a quote or a
/// bracket.
fn flags(code: &str) -> Vec<&str> {
    let is_one = |at: usize| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let after = code[at + 2..].chars().next().unwrap_or(' ');
        after.is_ascii_lowercase() && (before.is_whitespace() || "\"`'([".contains(before))
    };
    let found = code.match_indices("--").filter(|(at, _)| is_one(*at));
    found
        .map(|(at, _)| code[at..].split(|c: char| c.is_whitespace() || "\"`'),;".contains(c)).next().unwrap())
        .collect()
}

#[test]
fn messages_of_the_library_name_no_flag() {
    assert_eq!(flags("x -- y; a--b; \"lower --experts, or `--bins`\""), ["--experts", "--bins"]);
    let source = repository_file("trainer/src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let mut named = Vec::new();
    for path in all {
        let inside = path.strip_prefix(&source).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if OF_THE_COMMAND.contains(&room) {
            continue;
        }
        for flag in flags(&code(&path)) {
            // A generated file states the flag that made it.
            if flag != "--constants" {
                named.push(format!("{}: {flag}", inside.display()));
            }
        }
    }
    assert!(named.is_empty(), "{named:#?}");
}
