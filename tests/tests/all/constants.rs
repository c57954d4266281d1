//! Promise: for every tuned constant of the trainer, `docs/constants.md` states the effect of
//! neighbouring values.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use feamoe_tests::repository_file;

/// Adds the tuned constants in the files of a folder, named by their modules.
fn declared(folder: &Path, source: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            declared(&path, source, found);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let module = path.strip_prefix(source).unwrap().with_extension("");
        let module =
            module.to_str().unwrap().trim_end_matches("/mod").trim_start_matches("learner/").replace('/', "::");
        let text = fs::read_to_string(&path).unwrap();
        let names = text.lines().filter(|line| line.contains(" = tuned!(")).filter_map(|line| {
            let (name, _) = line.split_once("static ")?.1.split_once(':')?;
            Some(format!("{module}::{name}"))
        });
        found.extend(names);
    }
}

#[test]
fn every_tuned_constant_is_measured() {
    let source = repository_file("trainer/src");
    let mut declared_names = BTreeSet::new();
    declared(&source, &source, &mut declared_names);
    let page = fs::read_to_string(repository_file("docs/constants.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let measured: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert!(declared_names.len() > 50, "{declared_names:?}");
    assert_eq!(
        declared_names, measured,
        "FEAMOE_OVERWRITE_CONSTANTS=1 writes the page: see trainer/src/tuned/tests.rs"
    );
}
