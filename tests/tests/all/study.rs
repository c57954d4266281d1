//! The parts of `feamoe study` that need no data.

use feamoe_tests::command::Folder;
use serde_json::Value;

#[test]
fn the_generated_parts_run_and_their_figures_are_plausible() {
    let arguments = ["study", "--data", ".", "--only", "streams,shapes", "--runs", "1", "--format", "json"];
    let ran = Folder::new().run(&arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let list = |value: &Value, name: &str| value[name].as_array().unwrap().clone();
    let number = |value: &Value, name: &str| value[name].as_f64().unwrap();
    assert_eq!((list(&report, "rows").len(), list(&report, "streams").len()), (0, 12));

    let gaps = list(&report, "gaps");
    assert_eq!(gaps.len(), 3);
    for gap in &gaps {
        assert!((0.7..0.8).contains(&number(gap, "accuracy")) && number(gap, "soon") < 0.2, "{gap}");
    }
    // Each target narrows the gap that there is without one.
    let last: Vec<f64> = gaps.iter().map(|gap| number(gap, "last")).collect();
    assert!(last[0] > last[1] && last[1] > last[2] && last[2] < 0.03, "{last:?}");

    let shapes = &report["shapes"];
    let columns = list(shapes, "columns");
    assert_eq!(columns.len(), 4);
    for column in &columns {
        assert!((0.0..1.0).contains(&number(column, "correlation")), "{column}");
        // At least the way from the lowest effect to the highest.
        assert!((1.0 - 1e-9..5.0).contains(&number(column, "variation")), "{column}");
    }
    assert!((0.0..0.2).contains(&number(shapes, "noise")), "{shapes}");
    let distances = list(shapes, "distances");
    assert_eq!(distances.len(), 3);
    for distance in &distances {
        assert!((0.01..1.0).contains(&number(distance, "median")), "{distance}");
    }
    // By less than a third over five runs; with steps alone it was 0.33 in this one.
    let [few, default] = [&distances[0], &distances[2]].map(|distance| number(distance, "median"));
    assert!(few > default / 2.0, "{few} with 16 bins for {default}");
}
