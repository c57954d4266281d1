//! Promise: C firmware can link the engine. The header matches the source, and C99 and C++
//! compilers accept it without a warning. Misuse gives an error code, and no panic is linked. The C
//! example prints the same bits on a Cortex-M4F and on this machine as the Rust engine computes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use feamoe::model::{AlignedBytes, HostIntegerModel, HostModel};
use feamoe::model::{Width, quantize, sign};
use feamoe_engine::attribution::{Background, Game, Workspace};
use feamoe_engine::mixture::Term;
use feamoe_engine::monitor::Key;
use feamoe_engine::schema::Kind;
use feamoe_engine::{Attribution, Model, Recourse, Space, Value};
use feamoe_tests::command::{feamoe, finished};
use feamoe_tests::{firmware, repository_file};

/// If this variable is set, the header is written instead of compared: review the difference.
const OVERWRITE: &str = "FEAMOE_OVERWRITE_HEADER";
/// The capacity of a library that is not built with the defaults.
const OTHER_CAPACITY: [(&str, &str); 5] = [
    ("FEAMOE_FEATURES", "12"),
    ("FEAMOE_EXPERTS", "12"),
    ("FEAMOE_BACKGROUND", "2"),
    ("FEAMOE_GROUPS", "5"),
    ("FEAMOE_WORD", "32"),
];
/// The path that `make` gives the firmware.
const IMAGE: &str = "thumbv7em-none-eabihf/firmware.elf";

#[test]
fn the_header_is_that_of_the_source() {
    let folder = repository_file("engine/c");
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    // cbindgen finds the other files through this one.
    let builder = cbindgen::Builder::new().with_config(config).with_src(folder.join("src/lib.rs"));
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    let header = String::from_utf8(header).unwrap();
    // The defaults of the C header are those of the library.
    let capacity = fs::read_to_string(folder.join("src/capacity.rs")).unwrap();
    let chosen: Vec<_> = capacity.lines().filter(|line| line.starts_with("pub const ")).collect();
    assert_eq!(chosen.len(), 5);
    for line in chosen {
        let name = line.split(' ').nth(2).unwrap().trim_end_matches(':');
        let default = line.rsplit(' ').next().unwrap().trim_end_matches(");");
        assert!(header.contains(&format!("#ifndef {name}\n#define {name} {default}\n#endif")), "{line}");
    }
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

/// Tests static and shared linking with a C and a C++ compiler, and another capacity.
#[test]
fn the_whole_interface_works_and_computes_the_bits_of_the_engine() {
    if !have(&["cc", "make"]) {
        return;
    }
    let build = host_build();
    let blob = AlignedBytes::read(&repository_file("firmware-example/demo.feamoe")).unwrap();
    let narrow = quantize(&blob, Width::I16).unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let names = HostModel::load(blob.as_slice()).unwrap();
    for (name, blob, version) in [("narrow", &narrow, 1), ("narrower", &quantize(&blob, Width::I8).unwrap(), 2)] {
        let path = build.join(name).with_extension("feamoe");
        let signed = sign(blob, names.schema(), &key, "demo", version).unwrap();
        fs::write(&path, signed.as_slice()).unwrap();
        let header = build.join(name).with_extension("h");
        let export = ["export", path.to_str().unwrap(), "--constants", "c", "-o", header.to_str().unwrap()];
        assert_eq!(finished(Command::new(feamoe()).args(export)).code, Some(0));
    }
    let library = host_library(build);
    let compile = |compiler: &str, arguments: &[&str], library: &Path, image: &str| {
        let image = build.join(image);
        let mut command = Command::new(compiler);
        command.args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-O2"]).args(arguments);
        command.arg(repository_file("engine/c/tests/whole.c")).args(["-x", "none"]);
        command.arg("-I").arg(repository_file("engine/c/include")).arg("-I").arg(build);
        command.arg(golden()).arg(library).args(["-lm", "-o"]).arg(&image);
        let compiled = finished(&mut command);
        assert_eq!((compiled.code, compiled.stderr.as_str()), (Some(0), ""), "{compiler}");
        let folder = library.parent().unwrap();
        let ran = finished(Command::new(&image).env("LD_LIBRARY_PATH", folder).env("DYLD_LIBRARY_PATH", folder));
        assert_eq!(ran.code, Some(0), "{}", ran.stdout);
        ran.stdout
    };
    let printed = compile("cc", &["-std=c99", "-x", "c"], &library, "whole");
    if have(&["c++"]) {
        assert_eq!(compile("c++", &["-std=c++11", "-x", "c++"], &library, "whole-cpp"), printed);
    }
    let shared = library.with_extension(std::env::consts::DLL_EXTENSION);
    assert_eq!(compile("cc", &["-std=c99", "-x", "c"], &shared, "whole-shared"), printed);

    let model = Model::<32, 16>::load(blob.as_slice()).unwrap();
    let mut record = model.record();
    let values: [(&str, Value); 10] = [
        ("age", Value::Number(31.0)),
        ("income", Value::Number(22_410.0)),
        ("loan_amount", Value::Number(35_400.0)),
        ("credit_score", Value::Number(560.0)),
        ("years_employed", Value::Number(14.0)),
        ("dependants", Value::Number(3.0)),
        ("sex", level(&model, "sex", "Female")),
        ("employment", level(&model, "employment", "salaried")),
        ("purpose", level(&model, "purpose", "car")),
        ("region", level(&model, "region", "west")),
    ];
    for (name, value) in values {
        _ = record.set_value(name, value).unwrap();
    }
    let (mut terms, mut workspace) = (vec![Term::default(); 128], Box::new(Workspace::new()));
    let mut background = Background::new(&model, &mut terms, &mut []);
    background.push(&model, &model.record()).unwrap();
    background.push(&model, &model.record()).unwrap();
    let mut why = Attribution::new();
    let game = Game { space: Space::Probability, player_of: None };
    model.exact_into(&record, &background, &game, &mut workspace, &mut why).unwrap();
    let mut expected: String =
        (0..10).map(|index| format!("exact {index} {:08x}\n", why.values[index].to_bits())).collect();
    let mut recourse = Recourse::new();
    model.recourse_into(&record, &mut recourse).unwrap();
    let (distance, probability) = (recourse.distance.unwrap().to_bits(), recourse.probability.to_bits());
    expected += &format!("recourse {distance:08x} {probability:08x}\n");
    let narrow = HostIntegerModel::load(narrow.as_slice()).unwrap();
    let mut record = narrow.record();
    for (name, value) in values {
        _ = record.set_value(name, value).unwrap();
    }
    expected += &format!("integer {:08x}\n", narrow.score(&record).unwrap().probability);
    // The line of the status depends on the capacity for groups, so it is left out.
    let but_status =
        |printed: &str| -> String { printed.lines().filter(|line| !line.starts_with("status ")).collect() };
    assert_eq!(but_status(&printed), expected.replace('\n', ""));
    // The owner of the key can read the status that C writes.
    let hex = printed.lines().find_map(|line| line.strip_prefix("status ")).unwrap();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let status = feamoe_engine::monitor::Status::read(&bytes).unwrap();
    let sender = status.sender().unwrap();
    assert_eq!((sender.device.to_string(), sender.counter), ("pump-7".to_owned(), 9));
    assert!(status.is_authentic(&Key::new(*b"thirty-two bytes of this device\0")));
    assert!(!status.is_authentic(&Key::new([0; 32])));

    // The capacity is chosen when the library is built. A program compiled for another capacity is
    // refused.
    let target = build.join("other-capacity");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
    cargo.arg(repository_file("engine/c/Cargo.toml")).arg("--target-dir").arg(&target);
    for (name, value) in OTHER_CAPACITY {
        cargo.env(name, value);
    }
    assert_eq!(finished(cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS")).code, Some(0));
    let defines: Vec<String> = OTHER_CAPACITY.iter().map(|(name, value)| format!("-D{name}={value}")).collect();
    let defines: Vec<&str> =
        [&["-std=c99", "-x", "c"][..], &defines.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    let other = target.join("release/libfeamoe.a");
    assert_eq!(but_status(&compile("cc", &defines, &other, "whole-other")), but_status(&printed));
    let image = build.join("whole-mismatched");
    let mut mismatched = Command::new("cc");
    mismatched.arg(repository_file("engine/c/tests/whole.c"));
    mismatched.arg("-I").arg(repository_file("engine/c/include")).arg("-I").arg(build);
    assert_eq!(finished(mismatched.arg(golden()).arg(&other).args(["-lm", "-o"]).arg(&image)).code, Some(0));
    let ran = finished(&mut Command::new(&image));
    assert!(ran.code != Some(0) && ran.stdout.contains("the memory has another size"), "{}", ran.stdout);
}

/// As part of a CMake project that chooses the capacity, and installed and found by pkg-config.
#[test]
fn cmake_and_pkg_config_bring_the_library() {
    if !have(&["cc", "make", "cmake", "pkg-config"]) {
        return;
    }
    let headers = host_build();
    let (project, whole) = (repository_file("engine/c"), repository_file("engine/c/tests/misuse.c"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let cmake = |arguments: &[&str]| {
        let mut command = Command::new("cmake");
        command.current_dir(folder.path()).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let ran = finished(command.args(arguments));
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    };
    fs::create_dir(path("app")).unwrap();
    let text = format!(
        "cmake_minimum_required(VERSION 3.16)\nproject(app C)\nset(FEAMOE_FEATURES 12 CACHE STRING \"\")\n\
         add_subdirectory({} feamoe)\n\
         foreach(kind feamoe shared)\n\
         add_executable(app_${{kind}} {})\n\
         target_include_directories(app_${{kind}} PRIVATE {})\n\
         target_link_libraries(app_${{kind}} feamoe::${{kind}})\n\
         endforeach()\n",
        project.display(),
        whole.display(),
        headers.display()
    );
    fs::write(path("app/CMakeLists.txt"), text).unwrap();
    cmake(&["-S", "app", "-B", "built", "-DFEAMOE_GROUPS=2", "-DCMAKE_INSTALL_LIBDIR=lib"]);
    cmake(&["--build", "built"]);
    for app in ["built/app_feamoe", "built/app_shared"] {
        let ran = finished(&mut Command::new(path(app)));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    }
    cmake(&["--install", "built", "--prefix", "installed"]);
    let package = |what: &str| {
        let mut command = Command::new("pkg-config");
        let printed =
            finished(command.args([what, "feamoe"]).env("PKG_CONFIG_PATH", path("installed/lib/pkgconfig"))).done();
        printed.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(package("--cflags").contains(&"-DFEAMOE_GROUPS=2".to_owned()));
    let mut compiler = Command::new("cc");
    compiler.arg("-I").arg(headers).args(package("--cflags")).arg(&whole).args(package("--libs"));
    let compiled = finished(compiler.arg("-o").arg(path("app_installed")));
    assert_eq!((compiled.code, compiled.stderr.as_str()), (Some(0), ""));
    let lib = path("installed/lib");
    let mut app = Command::new(path("app_installed"));
    let ran = finished(app.env("LD_LIBRARY_PATH", &lib).env("DYLD_LIBRARY_PATH", &lib));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
}

/// The flag for the folder of golden files.
fn golden() -> String {
    format!("-DGOLDEN=\"{}\"", repository_file("engine/golden").display())
}

fn level(model: &Model<'_, 32, 16>, feature: &str, level: &str) -> Value {
    let index = model.schema().feature_index(feature).unwrap();
    Value::Level(model.schema().level_code(index.0, level).unwrap().unwrap())
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
                .map(|(expert, gate)| format!("gate of expert {:2} {gate:10.6} [{:08x}]", expert + 1, gate.to_bits())),
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

/// Builds the example for this machine, once. Returns the build folder.
fn host_build() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let build = folder().join("build");
        make(&build, "host", &[]).unwrap();
        build
    })
}

/// Returns the library that the example for this machine was linked with.
fn host_library(build: &Path) -> PathBuf {
    let targets = fs::read_dir(build.join("engine")).unwrap().map(|entry| entry.unwrap().path());
    let library = |folder: PathBuf| folder.join("release/libfeamoe.a");
    let host = format!("{}-", std::env::consts::ARCH);
    let mut found =
        targets.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&host)));
    library(found.next().unwrap())
}

/// Makes a file of the example again. The error is the output of make.
fn make(build: &Path, file: &str, variables: &[&str]) -> Result<(), String> {
    let mut command = Command::new("make");
    command.args(["--always-make", "--directory"]).arg(folder()).arg(build.join(file)).args(variables);
    command.arg(format!("BUILD={}", build.display())).arg(format!("FEAMOE={}", feamoe().display()));
    // The flags of this test's own build are not meant for the device.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let made = finished(&mut command);
    if made.code == Some(0) { Ok(()) } else { Err(made.stdout + &made.stderr) }
}

/// Returns whether all the tools are installed, and prints which one is missing.
fn have(tools: &[&str]) -> bool {
    let runs = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    tools.iter().all(|tool| {
        runs(tool) || {
            eprintln!("skipped: no {tool} (setup.sh brings it)");
            false
        }
    })
}
