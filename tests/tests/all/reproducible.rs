//! Promise: `engine/reproducible.sh` builds the same bytes in any folder, with any home of cargo,
//! with crates from the registry or vendored. Tested with the engine's example by `cargo test
//! --workspace --test all -- --ignored reproducible::`, which takes two builds of a minute each.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use feamoe_tests::command::{Ran, finished};
use feamoe_tests::repository_file;

/// Copies the files that git tracks, with their changes.
fn copy(to: &Path) {
    let listed = finished(Command::new("git").arg("ls-files").current_dir(repository_file(".")));
    for name in listed.well().lines() {
        let file = to.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let from = repository_file(name);
        if from.is_file() {
            fs::copy(from, file).unwrap();
        }
    }
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// Makes a home of cargo that unpacks the already downloaded crates again.
fn other_home(to: &Path) {
    fs::create_dir_all(to.join("registry")).unwrap();
    for name in ["registry/index", "registry/cache", "config.toml"] {
        let from = cargo_home().join(name);
        if from.exists() {
            symlink(from, to.join(name)).unwrap();
        }
    }
}

/// Builds the example `score` and returns its bytes.
fn built(repository: &Path, home: &Path, flags: (&str, &str)) -> Vec<u8> {
    let mut build = Command::new(repository.join("engine/reproducible.sh"));
    build.args(["cargo", "build", "--quiet", "--release", "--locked", "--offline", "-p", "feamoe-engine"]);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_TARGET_DIR"] {
        build.env_remove(name);
    }
    build.args(["--example", "score"]).current_dir(repository).env("CARGO_HOME", home).env(flags.0, flags.1);
    let _: Ran = finished(&mut build);
    fs::read(repository.join("target/release/examples/score")).unwrap()
}

#[test]
#[ignore = "two builds of a minute"]
fn the_folder_leaves_no_trace() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    copy(&at("one"));
    copy(&at("a second"));
    other_home(&at("a home"));
    let one = built(&at("one"), &cargo_home(), ("RUSTFLAGS", "-C force-frame-pointers=yes  -C debuginfo=1"));
    // With vendored crates.
    let vendor = ["vendor", "--quiet", "--locked", "--offline", "--versioned-dirs", "vendored"];
    let mut cargo = Command::new("cargo");
    let config = finished(cargo.args(vendor).current_dir(at("a second")).env("CARGO_HOME", at("a home"))).well();
    fs::create_dir_all(at("a second/.cargo")).unwrap();
    fs::write(at("a second/.cargo/config.toml"), config).unwrap();
    let flags = "-C\x1fforce-frame-pointers=yes\x1f-C\x1fdebuginfo=1";
    let two = built(&at("a second"), &at("a home"), ("CARGO_ENCODED_RUSTFLAGS", flags));
    assert!(one == two, "{} and {} bytes differ", one.len(), two.len());
    for folder in [root.path().to_str().unwrap(), cargo_home().to_str().unwrap()] {
        assert!(!one.windows(folder.len()).any(|bytes| bytes == folder.as_bytes()), "{folder} is named");
    }
}
