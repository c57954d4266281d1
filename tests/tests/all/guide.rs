//! Every command in the guide works and prints the output shown there.
//!
//! The pages run in the order of `docs/SUMMARY.md`, in one folder. `$ feamoe ... | head -3` shows
//! the first lines, `| tail -3` the last. `FEAMOE_OVERWRITE_GUIDE=1` writes the output of the
//! commands into the pages.

use std::fmt::Write as _;

use feamoe_tests::command::Folder;
use feamoe_tests::repository_file;

/// The line that begins a block of commands with their output.
const BEGIN: &str = "```console\n";
const END: &str = "```\n";

/// The picture on the front page, which the guide's explanation draws.
const PICTURE: &str = "docs/images/why.svg";

/// Returns the pages of the guide in order.
fn pages() -> Vec<String> {
    let summary = std::fs::read_to_string(repository_file("docs/SUMMARY.md")).unwrap();
    let links = summary.lines().filter_map(|line| line.split_once("](")?.1.strip_suffix(')'));
    let pages: Vec<String> =
        links.filter(|link| link.starts_with("guide/")).map(|link| format!("docs/{link}")).collect();
    assert!(pages.len() >= 10, "{pages:?}");
    pages
}

/// Runs a command line of the guide. Returns its output, followed by its errors if it fails.
fn output(folder: &Folder, line: &str) -> String {
    let (command, filter) = line.split_once(" | ").map_or((line, None), |(command, filter)| (command, Some(filter)));
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words.first(), Some(&"feamoe"), "{line}: the guide runs feamoe only");
    let ran = folder.run(&words[1..]);
    let mut text = ran.stdout.clone();
    if ran.code != Some(0) {
        text += &ran.stderr;
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let lines = match filter.map(|filter| filter.split_once(" -").unwrap_or_else(|| panic!("{line}"))) {
        None => &lines[..],
        Some(("head", count)) => &lines[..count.parse::<usize>().unwrap().min(lines.len())],
        Some(("tail", count)) => &lines[lines.len().saturating_sub(count.parse().unwrap())..],
        Some(_) => panic!("{line}: expected head or tail"),
    };
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

/// Removes what differs between runs: speed, memory, and hashes of new keys.
fn masked(text: &str) -> String {
    let is_number = |word: &str| word.trim_start_matches('(').trim_end_matches(',').parse::<f64>().is_ok();
    let is_hash = |word: &str| {
        [8, 64].contains(&word.trim_end_matches([',', ')']).len())
            && word.trim_end_matches([',', ')']).bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let varies = |index: usize| {
            let next = words.get(index + 1).copied().unwrap_or_default();
            is_number(words[index]) && (next.starts_with("rows/s") || next.starts_with("MB")) || is_hash(words[index])
        };
        let masked: Vec<&str> = (0..words.len()).map(|index| if varies(index) { "?" } else { words[index] }).collect();
        masked.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_of_the_guide_prints_what_stands_there() {
    let folder = Folder::new();
    let overwrite = std::env::var_os("FEAMOE_OVERWRITE_GUIDE").is_some();
    let mut commands = 0;
    let mut different = Vec::new();
    for page in pages() {
        let path = repository_file(&page);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut blocks = text.split(BEGIN);
        let mut written = blocks.next().unwrap_or_default().to_owned();
        for block in blocks {
            let (block, rest) = block.split_once(END).unwrap_or_else(|| panic!("{page}: a block does not end"));
            written += BEGIN;
            for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
                commands += 1;
                let _ = write!(written, "$ {command}\n{}", output(&folder, command));
            }
            written += END;
            written += rest;
        }
        if overwrite {
            std::fs::write(&path, written).unwrap();
        } else if masked(&written) != masked(&text) {
            let pairs = written.lines().zip(text.lines());
            let first = pairs.map(|(now, page)| (masked(now), masked(page))).find(|(now, page)| now != page);
            different.push(format!("{page}: {first:?}"));
        }
    }
    assert!(commands >= 20, "{commands} commands");
    let drawn = folder.read("why.svg");
    if overwrite {
        std::fs::write(repository_file(PICTURE), &drawn).unwrap();
    }
    assert!(drawn == std::fs::read(repository_file(PICTURE)).unwrap(), "{PICTURE} is another picture");
    assert!(different.is_empty(), "(now, page), FEAMOE_OVERWRITE_GUIDE=1 writes the pages: {different:#?}");
}

/// Every link of the guide, of the front page and of the pages it links to names an existing file.
#[test]
fn links_lead_somewhere() {
    let others =
        ["README.md", "CHANGELOG.md", "docs/SUMMARY.md", "docs/commands.md", "docs/device.md", "docs/service.md"];
    let more = ["docs/libraries.md", "docs/results.md", "docs/schema.md", "docs/SECURITY.md", "docs/CONTRIBUTING.md"];
    let mut links = 0;
    for page in pages().into_iter().chain(others.into_iter().chain(more).map(str::to_owned)) {
        let path = repository_file(&page);
        let text = std::fs::read_to_string(&path).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let link = rest.split(')').next().unwrap_or_default();
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            assert!(path.parent().unwrap().join(target).exists(), "{page}: {link}");
        }
    }
    assert!(links >= 20, "{links} links");
}
