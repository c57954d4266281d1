//! Promise: the packages can be published. Every dependency has a compatible licence and comes from
//! the registry, and every package has the metadata that a registry requires.

use std::process::Command;

use feamoe_tests::command::finished;
use feamoe_tests::repository_file;
use serde_json::Value;
use toml::Table;

/// Every workspace: one for each `Cargo.lock` of the repository.
const WORKSPACES: [&str; 6] =
    ["", "engine/c/", "firmware-example/", "firmware-example/compare/ours/", "tests/fuzz/", "trainer/python/"];

/// The policy for dependencies, from the file that `cargo deny` reads.
fn policy() -> Table {
    std::fs::read_to_string(repository_file(".deny.toml")).unwrap().parse().unwrap()
}

/// Returns cargo's metadata of the packages of a workspace.
pub fn metadata(workspace: &str) -> Value {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ran = finished(
        cargo
            .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
            .arg(repository_file(workspace).join("Cargo.toml"))
            // The firmware's own configuration is meant for the device, so cargo runs in the root.
            .current_dir(repository_file("")),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Returns whether the policy allows a package's licence: exactly the listed licences and their
/// exceptions.
fn allows(policy: &Table, name: &str, licence: &str) -> bool {
    let licences = &policy["licenses"];
    let exceptions = licences["exceptions"].as_array().unwrap().iter();
    let own = exceptions.filter(|exception| exception["crate"].as_str() == Some(name));
    let lists = own.chain([licences]).flat_map(|list| list["allow"].as_array().unwrap());
    let allowed: Vec<&str> = lists.map(|licence| licence.as_str().unwrap()).collect();
    let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
    expression.evaluate(|requirement| allowed.contains(&requirement.to_string().as_str()))
}

#[test]
fn every_dependency_has_a_licence_that_goes_with_ours() {
    let policy = policy();
    let allows = |name: &str, licence: &str| allows(&policy, name, licence);
    assert!(allows("any", "MIT/Apache-2.0") && allows("any", "Apache-2.0 WITH LLVM-exception OR GPL-3.0-only"));
    assert!(!allows("any", "GPL-3.0-only") && !allows("any", "MIT AND GPL-2.0-only"));
    assert!(allows("cbindgen", "MPL-2.0") && !allows("any", "MPL-2.0"));
    let mut checked = 0;
    for workspace in WORKSPACES {
        for package in metadata(workspace)["packages"].as_array().unwrap() {
            let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str());
            let licence = licence.unwrap_or_else(|| panic!("{workspace}: {name} names no licence"));
            assert!(allows(name, licence), "{workspace}: {name} is under {licence}");
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked} packages");
}

/// Returns the packages of a lock file that are neither from the registry, with a checksum, nor
/// ours.
fn strangers(lock: &str, registry: &str, ours: &[&str]) -> Vec<String> {
    let lock: Table = lock.parse().unwrap();
    let is_known = |package: &toml::Value| {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
        match text("source") {
            Some(source) => {
                source.strip_prefix("registry+") == Some(registry)
                    && text("checksum").is_some_and(|checksum| checksum.len() == 64)
            }
            None => ours.contains(&text("name").unwrap()),
        }
    };
    let packages = lock["package"].as_array().unwrap().iter();
    packages.filter(|package| !is_known(package)).map(ToString::to_string).collect()
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let policy = policy();
    let registry = policy["sources"]["allow-registry"][0].as_str().unwrap();
    let planted = [
        "source = \"git+https://example.org/name\"",
        "source = \"registry+https://example.org/index\"\nchecksum = \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
        &format!("source = \"registry+{registry}\""),
        "",
    ];
    for lines in planted {
        let lock = format!("[[package]]\nname = \"name\"\n{lines}");
        assert_eq!(strangers(&lock, registry, &["ours"]).len(), 1, "{lines}");
    }
    let root = repository_file("").canonicalize().unwrap();
    let listed = finished(Command::new("git").args(["ls-files", "*Cargo.lock"]).current_dir(&root)).stdout;
    let mut locks: Vec<&str> = listed.lines().collect();
    locks.sort_unstable();
    assert_eq!(locks, WORKSPACES.map(|workspace| format!("{workspace}Cargo.lock")), "a workspace is not checked");
    let all = WORKSPACES.map(metadata);
    let packages = all.iter().flat_map(|workspace| workspace["packages"].as_array().unwrap());
    let here = packages.filter(|package| {
        let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap());
        package["source"].is_null() && manifest.canonicalize().unwrap().starts_with(&root)
    });
    let ours: Vec<&str> = here.map(|package| package["name"].as_str().unwrap()).collect();
    for workspace in WORKSPACES {
        let lock = std::fs::read_to_string(root.join(workspace).join("Cargo.lock")).unwrap();
        assert_eq!(strangers(&lock, registry, &ours), [""; 0], "{workspace}Cargo.lock");
    }
}

#[test]
fn every_published_package_says_what_a_registry_asks() {
    let metadata = metadata("");
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
