//! Promise: `--dry-run` gives the same counts and errors as the run, and writes nothing.

use feamoe_tests::command::{Folder, lending};
use serde_json::Value;

/// A folder with more rows than a dry run learns from, a tripled income in the later ones, and odd
/// cells, labels and groups.
fn folder() -> Folder {
    let folder = Folder::with_lending();
    let rows = lending(5, 26_000);
    let mut text = String::new();
    for (number, line) in rows.lines().enumerate() {
        let mut cells: Vec<&str> = line.split(',').collect();
        let tripled = cells[3].parse::<u32>().map_or(String::new(), |income| (3 * income).to_string());
        match number {
            // The header.
            0 => {}
            number if number % 50 == 1 => cells[11] = "perhaps",
            number if number % 50 == 2 => cells[1] = "unknown",
            number if number % 50 == 3 => cells[2] = "old",
            number if number % 50 == 4 => cells[8] = "yacht",
            10_001.. => cells[3] = &tripled,
            _ => {}
        }
        text += &(cells.join(",") + "\n");
    }
    folder.write("odd.csv", text);
    folder
}

fn run(folder: &Folder, command: &str) -> Value {
    folder.run(&command.split(' ').chain(["--format", "json"]).collect::<Vec<_>>()).json()
}

#[test]
fn it_counts_what_the_run_counts_and_writes_nothing() {
    let folder = folder();
    let same = |dry: &Value, real: &Value| {
        for key in ["rows", "skipped", "weightless", "other_labels", "features", "attributes"] {
            assert_eq!(dry[key], real[key], "{key}");
        }
        for key in ["seconds", "rows_per_second"] {
            assert!(dry[key].as_f64().is_some_and(|estimate| estimate > 0.0 && estimate < 1e9), "{key}: {dry}");
        }
    };
    let train = "train odd.csv --schema lending.toml -o m.feamoe --checkpoint m.ckpt --bad-cells missing";
    let dry = folder.unchanged(|| run(&folder, &format!("{train} --dry-run")));
    let real = run(&folder, train);
    same(&dry, &real);
    // The rows after the learned ones also have something to count.
    assert_eq!((&dry["timed_rows"], &dry["passes"]), (&20_000.into(), &1.into()));
    let income = dry["features"].as_array().unwrap().iter().find(|cells| cells["feature"] == "income").unwrap();
    assert!(income["refits"].as_u64() > Some(0), "{income}");
    let memory = |report: &Value, key: &str| report[key].as_f64().unwrap();
    let ratio = memory(&dry, "memory_bytes") / memory(&real, "peak_memory_bytes");
    assert!((0.5..2.0).contains(&ratio), "{ratio}");

    // More passes take more time, and rows in memory take more memory.
    let passes = folder.unchanged(|| run(&folder, &format!("{train} --dry-run --epochs 10 --shuffle")));
    // The run's own speed applies, because it differs between runs.
    let of = |key: &str| passes[key].as_f64().unwrap();
    assert!(of("seconds") > 8.99 * of("rows") / of("rows_per_second"), "{passes}");
    let kept = memory(&passes, "rows_in_memory_bytes")
        / memory(&run(&folder, &format!("{train} --shuffle")), "rows_in_memory_bytes");
    assert!((0.8..1.25).contains(&kept), "{kept}");

    // An update continues the counts of the run.
    let _ = run(&folder, train);
    folder.write("new.csv", lending(6, 1_000));
    let update = "update m.ckpt new.csv -o n.feamoe";
    let dry = folder.unchanged(|| run(&folder, &format!("{update} --dry-run")));
    let real = run(&folder, update);
    assert_eq!(
        (&dry["rows"], &dry["features"], &dry["attributes"]),
        (&1_000.into(), &real["features"], &real["attributes"])
    );
}

#[test]
fn it_finds_the_faults_of_a_run() {
    let folder = folder();
    folder.write("late.csv", lending(7, 22_000) + "22001,Male,thirty,100,100,600,1,public,car,west,0,yes\n");
    for options in [
        "odd.csv --schema lending.toml -o m.feamoe",
        "late.csv --schema lending.toml -o m.feamoe",
        "none.csv --schema lending.toml -o m.feamoe",
        "odd.csv --schema none.toml -o m.feamoe",
        "late.csv --schema lending.toml -o none/m.feamoe",
        "late.csv --schema lending.toml -o late.csv",
        "late.csv --schema lending.toml -o m.feamoe --lr 7",
    ] {
        let words = |command: &str| folder.refusal(&command.split(' ').collect::<Vec<_>>());
        let run = words(&format!("train {options}"));
        assert_eq!(words(&format!("train {options} --dry-run")), run);
    }
}
