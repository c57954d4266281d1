//! Promise: C firmware links the engine: the header is that of the source, C99 and C++ compilers take it without a warning, misuse is an error code, no panic
//! is linked, and the C example prints the same bits on a Cortex-M4F, on this machine and as the Rust engine computes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use feamoe::blob_file::{AlignedBytes, HostModel};
use feamoe_engine::schema::Kind;
use feamoe_tests::command::{feamoe, finished};
use feamoe_tests::{firmware, repository_file};

/// With this set, the header is written anew instead of compared: review the difference.
const OVERWRITE: &str = "FEAMOE_OVERWRITE_HEADER";
/// Where `make` puts the firmware.
const IMAGE: &str = "thumbv7em-none-eabihf/firmware.elf";

#[test]
fn the_header_is_that_of_the_source() {
    let folder = repository_file("engine/c");
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let sources = ["lib.rs", "status.rs"].map(|file| folder.join("src").join(file));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        builder = builder.with_src(source);
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    let header = String::from_utf8(header).unwrap();
    let path = folder.join("include/feamoe.h");
    if std::env::var_os(OVERWRITE).is_some() {
        fs::write(&path, &header).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(header == committed, "{} is not that of the source: {OVERWRITE}=1 writes it anew", path.display());
}

#[test]
fn misuse_is_an_error_code_by_any_compiler() {
    if !have(&["cc", "make"]) {
        return;
    }
    let build = host_build();
    let demo = build.join("../../demo.feamoe");
    let other = build.join("other.h");
    let export = ["export", demo.to_str().unwrap(), "--strip-names", "--constants", "c", "-o", other.to_str().unwrap()];
    assert_eq!(finished(Command::new(feamoe()).args(export)).code, Some(0));
    for (compiler, language, standard) in
        [("cc", "c", "c99"), ("cc", "c", "c11"), ("c++", "c++", "c++11"), ("c++", "c++", "c++20")]
    {
        if !have(&[compiler]) {
            continue;
        }
        let image = build.join(format!("misuse-{}", standard.replace('+', "x")));
        let mut command = Command::new(compiler);
        command.args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-DOTHER_MODEL", "-x", language]);
        command.arg(format!("-std={standard}")).arg(repository_file("engine/c/tests/misuse.c")).args(["-x", "none"]);
        command.arg("-I").arg(repository_file("engine/c/include")).arg("-I").arg(build);
        command.arg(host_library(build)).arg("-o").arg(&image);
        let compiled = finished(&mut command);
        assert_eq!((compiled.code, compiled.stderr.as_str()), (Some(0), ""), "{standard}");
        let ran = finished(&mut Command::new(&image));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{standard}");
    }
}

#[test]
fn the_example_prints_the_bits_of_the_engine() {
    if !have(&["cc", "make"]) {
        return;
    }
    let printed = finished(&mut Command::new(host_build().join("host"))).done();
    let blob = AlignedBytes::read(&repository_file("firmware-example/demo.feamoe")).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let mut table = csv::Reader::from_path(repository_file("firmware-example/demo.csv")).unwrap();
    let columns = table.headers().unwrap().clone();
    let mut records = 0;
    for row in table.records() {
        records += 1;
        let row = row.unwrap();
        let mut record = model.record();
        for (column, cell) in columns.iter().zip(row.iter()).filter(|(_, cell)| !cell.is_empty()) {
            let Ok(index) = model.schema().feature_index(column) else { continue };
            _ = match model.schema().features().get(index.0).unwrap().kind() {
                Kind::Number { .. } => record.set_number(index, cell.parse().unwrap()).unwrap(),
                Kind::Category { .. } => record.set_category(index, cell).unwrap(),
            };
        }
        let path = model.explain(&record).unwrap();
        let mut frozen = path;
        model.frozen_into(&record, &mut frozen).unwrap();
        let p = path.score.probability;
        let mut expected = vec![format!("record {records}: p {p:.6} [{:08x}]", p.to_bits())];
        expected.extend(
            path.score
                .gate
                .iter()
                .take(model.experts())
                .enumerate()
                .map(|(expert, gate)| format!("gate of expert {expert:2} {gate:10.6} [{:08x}]", gate.to_bits())),
        );
        let names = (0..model.schema().features().len()).map(|index| model.schema().feature_name(index).unwrap());
        let values =
            [frozen.base_value].into_iter().chain(frozen.values).zip([path.base_value].into_iter().chain(path.values));
        expected.extend(["(base)"].into_iter().chain(names).zip(values).map(|(name, (frozen, path))| {
            format!("  {name:20} {frozen:+10.6} [{:08x}] {path:+10.6} [{:08x}]\n", frozen.to_bits(), path.to_bits())
        }));
        for line in expected {
            assert!(printed.contains(&line), "{line}: {printed}");
        }
    }
    assert_eq!((records, printed.matches("record ").count()), (3, 3));
}

#[test]
fn the_example_prints_on_the_device_what_it_prints_here_and_cannot_panic() {
    if !have(&["cc", "make", "arm-none-eabi-gcc"]) || !firmware::available() {
        return;
    }
    let here = finished(&mut Command::new(host_build().join("host"))).done();
    let build = folder().join("build");
    let error = make(&build, IMAGE, &["ENGINE_FLAGS=--features plant-panic"]).unwrap_err();
    assert!(error.contains("undefined reference to `feamoe_a_panic_is_reachable'"), "{error}");
    make(&build, IMAGE, &[]).unwrap();
    assert_eq!(firmware::run(&build.join(IMAGE), &build).unwrap(), here);
}

fn folder() -> PathBuf {
    firmware::folder().join("c")
}

/// Builds the example for this machine, once; returns the folder of what was built.
fn host_build() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let build = folder().join("build");
        make(&build, "host", &[]).unwrap();
        build
    })
}

/// The library that the example for this machine was linked with.
fn host_library(build: &Path) -> PathBuf {
    let targets = fs::read_dir(build.join("engine")).unwrap().map(|entry| entry.unwrap().path());
    let library = |folder: PathBuf| folder.join("release/libfeamoe.a");
    let host = format!("{}-", std::env::consts::ARCH);
    let mut found =
        targets.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&host)));
    library(found.next().unwrap())
}

/// Makes a file of the example anew; an error is what make printed.
fn make(build: &Path, file: &str, variables: &[&str]) -> Result<(), String> {
    let mut command = Command::new("make");
    command.args(["--always-make", "--directory"]).arg(folder()).arg(build.join(file)).args(variables);
    command.arg(format!("BUILD={}", build.display())).arg(format!("FEAMOE={}", feamoe().display()));
    // The flags of this test's own build are not for the device.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let made = finished(&mut command);
    if made.code == Some(0) { Ok(()) } else { Err(made.stdout + &made.stderr) }
}

/// Returns whether all the tools are here; says which is not.
fn have(tools: &[&str]) -> bool {
    let runs = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    tools.iter().all(|tool| {
        runs(tool) || {
            eprintln!("skipped: no {tool} (setup.sh brings it)");
            false
        }
    })
}
