//! Promise: `feamoe export --constants` writes source code that compiles for any names, and whose
//! values are the model's indices and codes.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output};

use feamoe_engine::schema::Kind;
use feamoe_engine::{FeatureIndex, include_model};
use feamoe_testkit::generate::Recipe;
use feamoe_tests::command::{Folder, finished};
use feamoe_tests::repository_file;
use serde_json::json;

/// The reviewed constants of [`odd_model`]; this shows that they compile.
#[path = "../../golden/odd_constants.rs"]
mod odd;

/// If this variable is set, the golden file is written instead of compared: review the difference.
const OVERWRITE: &str = "FEAMOE_OVERWRITE_GOLDEN";
const FEATURES: [&str; 13] = [
    "age",
    "Age",
    "hours-per-week",
    "",
    "?",
    "type",
    "50K",
    "Prüfung",
    "age 1",
    "a */ b /* c ??/ // d /*/",
    "self",
    "line\nbreak\t\\",
    "features",
];
const LEVELS: [&str; 12] =
    ["<=50K", ">50K", "50K", "", "fn", "\u{202e}x", "日本", "a b", "a-b", "\"quoted\"", "back\\", "*/"];

/// A model with the oddest possible names. Every second feature is a category with all the levels.
fn odd_model() -> Vec<u8> {
    let recipe = Recipe { experts: 3, features: FEATURES.len(), gate: 5.0, outputs: 5.0 };
    let mut content = recipe.content_of(1, |index, _| match index % 2 {
        0 => Kind::Category { levels: LEVELS.len() as u16 },
        _ => Kind::Number { transform: Default::default(), low: 0.0, high: 9.0, centre: 1.0, bins: 0 },
    });
    content.threshold = 0.3;
    for (feature, name) in content.features.iter_mut().zip(FEATURES) {
        feature.name = name.to_owned();
        if let Kind::Category { .. } = feature.kind {
            feature.levels = LEVELS.map(str::to_owned).to_vec();
        }
    }
    content.to_bytes(true).as_slice().to_vec()
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("odd.feamoe", odd_model());
    folder
}

fn export(folder: &Folder, options: &[&str]) -> String {
    folder.run(&[&["export", "odd.feamoe"], options].concat()).done()
}

/// Compiles a C or C++ program in the folder without warnings and runs it. Returns `None` if the
/// compiler is missing.
fn compiled(folder: &Folder, compiler: &str, flags: &[&str]) -> Option<Output> {
    if !Command::new(compiler).arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no {compiler}");
        return None;
    }
    let strict = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-o", "program"];
    let ran = finished(folder.command_of(Path::new(compiler), &strict).args(flags));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.called);
    Some(Command::new(folder.path("program")).output().unwrap())
}

#[test]
fn the_header_of_c_compiles_and_holds_the_model() {
    let folder = folder();
    export(&folder, &["--strip-names", "-o", "device.feamoe"]);
    let printed = export(&folder, &["--strip-names", "--constants", "c", "-o", "odd-model.h"]);
    assert!(printed.starts_with("wrote odd-model.h, constants and array of the model ("), "{printed}");
    let device = folder.read("device.feamoe");
    let crc = &folder.run(&["inspect", "device.feamoe", "--format", "json"]).json()["crc32"];
    folder.write(
        "program.c",
        "#include <stdint.h>\n#include <stdio.h>\n#include \"odd-model.h\"\n#include \"odd-model.h\"\n\
         int main(void)\n{\n    fprintf(stderr, \"%08lx %.9g %d %d %u\", (unsigned long)ODD_MODEL_CRC32, (double)ODD_MODEL_THRESHOLD,\n\
         ODD_MODEL_FEATURES, ODD_MODEL_EXPERTS, (unsigned)((uintptr_t)odd_model_blob % 4));\n\
         return fwrite(odd_model_blob, 1, ODD_MODEL_BLOB_BYTES, stdout) != sizeof odd_model_blob;\n}\n",
    );
    let expected = format!("{} {:.9} 13 3 0", crc.as_str().unwrap(), f64::from(0.3_f32));
    for flags in [
        ["cc", "-std=c99", "-xc"],
        ["cc", "-std=c11", "-xc"],
        ["c++", "-std=c++98", "-xc++"],
        ["c++", "-std=c++17", "-xc++"],
    ] {
        let [compiler, standard, language] = flags;
        let Some(output) = compiled(&folder, compiler, &[standard, language, "program.c"]) else { continue };
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), expected.clone()));
        assert!(output.stdout == device, "{standard}: the array is not the model");
    }
}

#[test]
fn the_header_of_c_refuses_a_library_that_is_too_small() {
    let folder = folder();
    export(&folder, &["--constants", "c", "-o", "odd.h"]);
    for (features, experts, code) in [(13, 3, 0), (12, 3, 1), (13, 2, 1)] {
        folder.write("program.c", "#include \"odd.h\"\n");
        let capacity = [format!("-DFEAMOE_FEATURES={features}"), format!("-DFEAMOE_EXPERTS={experts}")];
        let mut command = folder.command_of(Path::new("cc"), &["-fsyntax-only", "-DFEAMOE_H", "program.c"]);
        let ran = finished(command.args(capacity));
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("raise FEAMOE_FEATURES and FEAMOE_EXPERTS"), code == 1, "{}", ran.stderr);
    }
}

#[test]
fn every_name_of_c_has_an_identifier_of_its_own_and_its_number() {
    let folder = folder();
    // A name that the library uses itself, and one that starts with a digit.
    for (file, prefix) in [("odd.h", "ODD"), ("feamoe.h", "MODEL_FEAMOE"), ("2nd.h", "MODEL_2ND")] {
        export(&folder, &["--constants", "c", "-o", file]);
        let text = folder.text(file);
        let entries: Vec<(&str, usize)> = (text.lines().filter_map(|line| line.strip_prefix("    ")))
            .map(|line| {
                let (identifier, rest) = line.split_once(" = ").unwrap();
                (identifier, rest.split([',', ' ']).next().unwrap().parse().unwrap())
            })
            .collect();
        let levels = FEATURES.len().div_ceil(2) * LEVELS.len();
        assert_eq!(entries.len(), FEATURES.len() + levels);
        assert_eq!(entries.iter().map(|(identifier, _)| identifier).collect::<HashSet<_>>().len(), entries.len());
        assert!(entries.iter().all(|(identifier, _)| identifier.starts_with(prefix)), "{entries:?}");
        assert!(entries.iter().take(FEATURES.len()).map(|(_, number)| *number).eq(0..FEATURES.len()));
        assert!(entries.contains(&(&format!("{prefix}_LEVEL_HOURS_PER_WEEK_FN"), 4)), "{entries:?}");
    }
}

#[test]
fn the_module_of_rust_is_that_of_the_golden_file_and_names_the_model() {
    let folder = folder();
    export(&folder, &["--constants", "rust", "-o", "odd.rs"]);
    let golden = repository_file("tests/golden/odd_constants.rs");
    if std::env::var_os(OVERWRITE).is_some() {
        std::fs::write(&golden, folder.text("odd.rs")).unwrap();
    }
    assert_eq!(folder.text("odd.rs"), std::fs::read_to_string(golden).unwrap());

    let blob = odd_model();
    let aligned = feamoe::model::AlignedBytes::new(&blob);
    let model = odd::Device::load(aligned.as_slice()).unwrap();
    assert_eq!((model.crc32(), model.threshold()), (odd::CRC32, odd::THRESHOLD));
    let schema = model.schema();
    for (index, name) in [
        (odd::feature::HOURS_PER_WEEK, "hours-per-week"),
        (odd::feature::TYPE, "type"),
        (odd::feature::_50K, "50K"),
        (odd::feature::PR_U00FC_FUNG, "Prüfung"),
    ] {
        assert_eq!(schema.feature_index(name), Ok(index));
    }
    let codes = [
        (odd::level_50k::FN, "fn"),
        (odd::level_50k::U65E5_U672C, "日本"),
        (odd::level_50k::_50K_1, ">50K"),
        (odd::level_50k::A_B_8, "a-b"),
    ];
    for (code, name) in codes {
        assert_eq!(schema.level_names(odd::feature::_50K.0).nth(usize::from(code)), Some(name));
    }
}

/// Constants replace names as strings.
#[test]
fn a_record_set_by_constants_scores_as_one_set_by_names() {
    static BLOB: &[u8] = include_model!("../../../firmware-example/demo.feamoe");
    let folder = Folder::new();
    folder.write("demo.feamoe", BLOB);
    let _ = folder.run(&["export", "demo.feamoe", "--constants", "rust", "-o", "demo.rs"]).done();
    let text = folder.text("demo.rs");
    let number = |line: &str| -> usize {
        let (_, rest) = text.split_once(line).unwrap_or_else(|| panic!("{line} is not in {text}"));
        rest.split([';', ')']).next().unwrap().parse().unwrap()
    };
    let model = feamoe_engine::Model::<10, 12>::load(BLOB).unwrap();
    let (mut named, mut numbered) = (model.record(), model.record());
    _ = named.set_number("age", 31.0).unwrap();
    _ = named.set_category("employment", "self-employed").unwrap();
    _ = numbered.set_number(FeatureIndex(number("AGE: FeatureIndex = FeatureIndex(")), 31.0).unwrap();
    let employment = FeatureIndex(number("EMPLOYMENT: FeatureIndex = FeatureIndex("));
    _ = numbered.set_level(employment, Some(number("SELF_EMPLOYED: u16 = ") as u16)).unwrap();
    assert_eq!(model.score(&named).unwrap(), model.score(&numbered).unwrap());
}

#[test]
fn the_report_states_what_was_written() {
    let folder = folder();
    let report = |options: &[&str]| {
        folder.run(&[&["export", "odd.feamoe", "-o", "out", "--format", "json"], options].concat()).json()
    };
    assert_eq!(report(&[])["constants"], json!(null));
    assert_eq!(report(&["--constants", "c"])["constants"], json!("c"));
    let rust = report(&["--constants", "rust", "--strip-names"]);
    assert_eq!((&rust["constants"], &rust["names"]), (&json!("rust"), &json!(false)));
    assert!(folder.text("out").contains(rust["crc32"].as_str().unwrap()));
}

#[test]
fn a_model_without_names_is_refused_and_no_file_is_touched() {
    let folder = folder();
    export(&folder, &["--strip-names", "-o", "device.feamoe"]);
    folder.write("old.h", "old");
    let message = folder.refusal(&["export", "device.feamoe", "--constants", "c", "-o", "old.h"]);
    assert_eq!(message, "the model has no names for the constants; make them from the model that it was exported from");
    let message = folder.run(&["export", "odd.feamoe", "--constants", "ada", "-o", "new"]).usage_refused();
    assert!(message.contains("'ada'"), "{message}");
}
