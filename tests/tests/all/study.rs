//! The parts of `feamoe study` that need no data, and one experiment of the paper.

use feamoe_tests::command::Folder;
use feamoe_tests::data_file;
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
    // Each target narrows the gap of the run without one.
    let last: Vec<f64> = gaps.iter().map(|gap| number(gap, "last")).collect();
    assert!(last[0] > last[1] && last[1] > last[2] && last[2] < 0.03, "{last:?}");

    let shapes = &report["shapes"];
    let columns = list(shapes, "columns");
    assert_eq!(columns.len(), 4);
    for column in &columns {
        assert!((0.0..1.0).contains(&number(column, "correlation")), "{column}");
        // At least the distance from the lowest to the highest effect.
        assert!((1.0 - 1e-9..5.0).contains(&number(column, "variation")), "{column}");
    }
    assert!((0.0..0.2).contains(&number(shapes, "noise")), "{shapes}");
    let distances = list(shapes, "distances");
    assert_eq!(distances.len(), 3);
    for distance in &distances {
        assert!((0.01..1.0).contains(&number(distance, "median")), "{distance}");
    }
    // Fewer bins shorten the distance by less than a third, as a mean of five runs.
    let [few, default] = [&distances[0], &distances[2]].map(|distance| number(distance, "median"));
    assert!(few > default / 2.0, "{few} with 16 bins for {default}");
}

/// The paper's A.10: a penalty on individually unfair decisions reduces their number.
#[test]
fn an_experiment_of_the_paper_stands_beside_its_figures() {
    let Some(file) = data_file("compas-scores-two-years.csv") else { return };
    let data = file.parent().unwrap().to_str().unwrap();
    let arguments = ["study", "--data", data, "--only", "individual", "--runs", "2", "--format", "json"];
    let ran = Folder::new().run(&arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let lines = report["sections"][0]["lines"].as_array().unwrap();
    let published = lines.iter().filter(|line| line["is_published"] == true).count();
    assert_eq!((published, lines.len()), (2, 7), "{lines:#?}");
    let figure = |setting: &str, name: &str| {
        let line = lines.iter().rfind(|line| line["setting"].as_str().unwrap().starts_with(setting)).unwrap();
        let figures = line["figures"].as_array().unwrap();
        let figure = figures.iter().find(|figure| figure["name"] == name).unwrap();
        (line["runs"] == 2).then(|| figure["mean"].as_f64().unwrap()).unwrap()
    };
    let unfair = |setting| figure(setting, "individually unfair");
    let (network, without, with) = (unfair("NN"), unfair("an expert every"), unfair("the same, penalty"));
    assert!(with < 0.5 * without && with < 0.5 * network, "{with} with the penalty, {without} without, {network}");
    for setting in ["NN", "an expert every", "the same, penalty", "our default"] {
        let accuracy = figure(setting, "accuracy");
        assert!((0.63..0.72).contains(&accuracy), "{setting}: {accuracy}");
    }
}
