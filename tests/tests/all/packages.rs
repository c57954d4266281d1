//! Promise: what is published can be: every dependency's licence goes with ours, and every package
//! says what a registry asks.

use std::process::Command;

use feamoe_tests::command::finished;
use feamoe_tests::repository_file;
use serde_json::Value;

/// Licences that a work under MIT OR Apache-2.0 may depend on: permissive ones.
const PERMISSIVE: [&str; 9] =
    ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "Unicode-3.0", "Zlib"];
/// Of the tests alone, of which nothing is distributed.
const OF_TESTS: [&str; 3] = ["BSL-1.0", "MIT-0", "MPL-2.0"];

/// Every workspace, and whether it is published.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "engine/c/Cargo.toml", "firmware-example/Cargo.toml"];

fn metadata(manifest: &str) -> Value {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ran = finished(
        cargo
            .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
            .arg(repository_file(manifest))
            // The firmware's own configuration is for the device.
            .current_dir(repository_file("")),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn every_dependency_has_a_licence_that_goes_with_ours() {
    let allows = |expression: &str, licences: &[&str]| {
        let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).unwrap();
        // An exception allows more than the licence does.
        expression.evaluate(|requirement| requirement.license.id().is_some_and(|id| licences.contains(&id.name)))
    };
    assert!(allows("MIT/Apache-2.0", &PERMISSIVE) && allows("Apache-2.0 WITH LLVM-exception OR GPL-3.0", &PERMISSIVE));
    assert!(!allows("GPL-3.0-only", &PERMISSIVE) && !allows("MIT AND GPL-2.0-only", &PERMISSIVE));
    let mut checked = 0;
    for workspace in WORKSPACES {
        for package in metadata(workspace)["packages"].as_array().unwrap() {
            let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str());
            let licence = licence.unwrap_or_else(|| panic!("{workspace}: {name} names no licence"));
            let all = [&PERMISSIVE[..], &OF_TESTS].concat();
            let allowed = if workspace == "Cargo.toml" { &all[..] } else { &PERMISSIVE };
            assert!(allows(licence, allowed), "{workspace}: {name} is under {licence}");
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked} packages");
}

#[test]
fn every_published_package_says_what_a_registry_asks() {
    let metadata = metadata("Cargo.toml");
    let members: Vec<&str> =
        metadata["workspace_members"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let mut published = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let is_ours = members.contains(&package["id"].as_str().unwrap());
        if !is_ours || package["publish"].as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        let name = package["name"].as_str().unwrap();
        let folder = std::path::Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        for field in ["description", "license", "readme", "rust_version"] {
            assert!(package[field].is_string(), "{name}: {field}");
        }
        for field in ["keywords", "categories"] {
            assert!((1..=5).contains(&package[field].as_array().unwrap().len()), "{name}: {field}");
        }
        for file in ["LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
            assert!(std::fs::read_to_string(folder.join(file)).unwrap().len() > 300, "{name}: {file}");
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let is_path = dependency["path"].is_string() && dependency["kind"].is_null();
            assert!(!is_path || dependency["req"] != "*", "{name}: a version of {}", dependency["name"]);
        }
        published.push(name);
    }
    published.sort_unstable();
    assert_eq!(published, ["feamoe", "feamoe-armv7em", "feamoe-engine"]);
}

#[test]
fn the_library_takes_nothing_of_the_command() {
    let crates = |arguments: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let tree = ["tree", "--locked", "-p", "feamoe", "-e", "normal", "--prefix", "none", "--format", "{p}"];
        let ran = finished(cargo.args(tree).args(arguments).current_dir(repository_file("")));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let names: Vec<String> =
            ran.stdout.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        names
    };
    let (command, library) = (crates(&[]), crates(&["--no-default-features"]));
    for name in ["clap", "indicatif", "anyhow", "maud"] {
        assert!(command.iter().any(|found| found == name), "the command takes {name}");
        assert!(!library.iter().any(|found| found == name), "the library takes {name}");
    }
}
