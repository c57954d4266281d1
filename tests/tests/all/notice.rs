//! The notices that third parties require with shipped code: the pages are generated from the files
//! of their packages. `FEAMOE_OVERWRITE_NOTICE=1` writes them again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use feamoe_tests::command::finished;
use feamoe_tests::repository_file;

use super::packages::metadata;

const OVERWRITE: &str = "FEAMOE_OVERWRITE_NOTICE";

/// A package of ours: its workspace, its name, and its build options.
type Shipped = (&'static str, &'static str, &'static [&'static str]);

/// The library for C, which is also the npm package, without parts that only a device needs.
const LIBRARY: Shipped = ("engine/c/", "feamoe-engine-c", &[]);
const MODULE: Shipped = ("engine/c/", "feamoe-engine-c", &["--no-default-features"]);

/// A page: its file, its subject, and the shipped packages.
type Page = (&'static str, &'static str, &'static [Shipped]);

/// npm does not pack links, so its package has a separate page.
const PAGES: [Page; 2] = [
    (
        "docs/NOTICE.md",
        "The command, the library for C, the module for Python and the package for npm hold",
        &[("", "feamoe", &[]), LIBRARY, ("trainer/python/", "feamoe-python", &[])],
    ),
    ("engine/js/NOTICE.md", "`feamoe.wasm` holds", &[MODULE]),
];

/// A package's name and version, with its licence.
type Package = (String, String);

/// Returns the third-party packages that are compiled into one of ours on any platform.
fn compiled_into((workspace, package, built): &Shipped) -> Vec<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let tree = ["tree", "--locked", "-e", "normal,no-proc-macro", "--target", "all", "--prefix", "none"];
    let manifest = repository_file(workspace).join("Cargo.toml");
    let ran = finished(
        cargo
            .args(tree)
            .args(*built)
            .args(["--format", "{p}", "-p", package, "--manifest-path"])
            .arg(manifest)
            .current_dir("/"),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // Packages from a folder are ours.
    let lines = ran.stdout.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.contains(" ("));
    lines.map(|line| line.replacen(" v", " ", 1)).collect()
}

/// Returns the text of each licence file, trimmed.
fn texts(folder: &Path) -> Vec<String> {
    let is_about = |name: &str| {
        let name = name.to_lowercase();
        ["licen", "copying", "copyright", "notice"].iter().any(|start| name.starts_with(start))
    };
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    files.sort_by_key(|entry| entry.file_name());
    let files = files.iter().filter(|file| file.file_type().unwrap().is_file());
    let files = files.filter(|file| is_about(&file.file_name().to_string_lossy()));
    files.map(|file| tidy(&fs::read_to_string(file.path()).unwrap())).collect()
}

fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// Returns whether a text is a whole licence that is named instead of repeated: Apache's, which is
/// shipped beside the page, or one that nobody has to choose.
fn is_left_out(text: &str) -> bool {
    let start = text.trim_start();
    let is_whole = |name: &str| start.starts_with(name) && text.len() > 8_000;
    is_whole("Apache License")
        || is_whole("GNU GENERAL PUBLIC LICENSE")
        || start.starts_with("This is free and unencumbered")
}

fn page(about: &str, shipped: &[Shipped]) -> String {
    let mut packages: BTreeMap<Package, Vec<String>> = BTreeMap::new();
    for shipped in shipped {
        let (compiled, (workspace, ..)) = (compiled_into(shipped), shipped);
        for package in metadata(workspace)["packages"].as_array().unwrap() {
            let text = |key: &str| package[key].as_str().unwrap();
            let name = format!("{} {}", text("name"), text("version"));
            if compiled.contains(&name) {
                let folder = Path::new(text("manifest_path")).parent().unwrap();
                packages.entry((name, text("license").to_owned())).or_insert_with(|| texts(folder));
            }
        }
    }
    let mut page = format!(
        "# Third-party notices\n\n\
         {about} code of the packages below, each under the licence named. Where a licence lets one choose, any\n\
         of them may be chosen. The text of Apache-2.0 is that of `LICENSE-APACHE`, beside this file or in the folder above. The standard library of\n\
         Rust is compiled in too: MIT OR Apache-2.0, copyright The Rust Project contributors.\n\n\
         This page is made of what the packages hold: `{OVERWRITE}=1 cargo test --workspace --test all -- notice::`.\n\n"
    );
    let mut by_text: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for ((name, licence), texts) in &packages {
        let remark = if texts.is_empty() { ", no text in the package" } else { "" };
        let _ = writeln!(page, "- {name}: {licence}{remark}");
        for text in texts.iter().filter(|text| !is_left_out(text)) {
            let names = by_text.entry(text).or_default();
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let mut texts: Vec<(Vec<&str>, &str)> = by_text.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort_unstable();
    for (names, text) in texts {
        let _ = write!(page, "\n## {}\n\n~~~text\n{text}\n~~~\n", names.join(", "));
    }
    page
}

#[test]
fn the_notice_has_the_texts_of_all_that_is_compiled_in() {
    for (name, about, shipped) in PAGES {
        let (path, page) = (repository_file(name), page(about, shipped));
        if std::env::var_os(OVERWRITE).is_some() {
            fs::write(&path, &page).unwrap();
        }
        assert!(page.len() < 250_000, "{name}: {} bytes", page.len());
        for part in ["- serde 1", "- libm 0", "- heapless 0", "Copyright (c) 2019 Anthony James Munns"] {
            assert!(page.contains(part), "{name}: {part}");
        }
        for part in ["- cbindgen ", "- insta ", "- proptest ", "- syn "] {
            assert!(!page.contains(part), "{name}: {part} is in nothing that is shipped");
        }
        for part in ["- zstd-sys ", "- pyo3 ", "- clap 4", "- hmac 0"] {
            assert_eq!(page.contains(part), shipped.len() > 1, "{name}: {part}");
        }
        assert!(fs::read_to_string(&path).unwrap() == page, "{name} is not of these packages: {OVERWRITE}=1 writes it");
    }
}
