//! Promise: `explain --top N` sums the features that it leaves out. Shapes are a kind of plot.

use feamoe_tests::command::{Folder, lending};
use serde_json::Value;

/// The sum of the other features comes last, and the order is the same in every output.
#[test]
fn the_top_features_and_the_rest() {
    let folder = Folder::with_model();
    folder.write("few.csv", lending(2, 30));
    let run =
        |options: &str| folder.run(&format!("explain lending.feamoe few.csv {options}").split(' ').collect::<Vec<_>>());
    let numbers =
        |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let rows = |value: &Value| -> Vec<Vec<f64>> { value.as_array().unwrap().iter().map(numbers).collect() };
    for method in ["exact", "path", "sampled --max-evaluations 2000"] {
        let whole = run(&format!("--format json --method {method}")).json();
        let top = run(&format!("--format json --method {method} --top 3")).json();
        let names: Vec<&str> =
            top["feature_names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let all: Vec<&str> =
            whole["feature_names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let place = |name: &str| all.iter().position(|known| *known == name).unwrap();
        let size = |name: &str| rows(&whole["values"]).iter().map(|row| row[place(name)].abs()).sum::<f64>();
        assert_eq!((names.len(), names[3]), (4, "other"));
        assert!(names[..2].iter().zip(&names[1..3]).all(|(a, b)| size(a) >= size(b)), "{names:?}");
        assert!(all.iter().all(|name| names.contains(name) || size(name) <= size(names[2])), "{names:?}");
        for (row, few) in rows(&whole["values"]).iter().zip(rows(&top["values"])) {
            assert!((0..3).all(|index| few[index] == row[place(names[index])]));
            assert!((row.iter().sum::<f64>() - few.iter().sum::<f64>()).abs() < 1e-5);
        }
        for key in
            ["values", "data", "display_data", "notes", "gate_values", "error_std", "lower_bounds", "upper_bounds"]
        {
            let lengths = top[key].as_array().into_iter().flatten().map(|row| row.as_array().unwrap().len());
            assert!(lengths.clone().all(|length| length == 4), "{key}");
            assert_eq!(lengths.count(), whole[key].as_array().map_or(0, Vec::len), "{key}");
        }
        if method.starts_with("sampled") {
            let (errors, low, high) = (rows(&top["error_std"]), rows(&top["lower_bounds"]), rows(&top["upper_bounds"]));
            let sums: Vec<f64> = rows(&whole["error_std"]).iter().map(|row| row.iter().sum()).collect();
            for (row, sum) in sums.iter().enumerate() {
                assert!((errors[row].iter().sum::<f64>() - sum).abs() < 1e-6);
                assert!(
                    ((high[row][3] - low[row][3]) - 2.0 * 1.96 * errors[row][3]).abs() < 1e-3 * errors[row][3] + 1e-6
                );
            }
        }
    }
    // The means of all records.
    let (whole, top) = (run("--global --format json").json(), run("--global --format json --top 4").json());
    for key in ["mean_absolute_values", "mean_values"] {
        let (all, few) = (numbers(&whole[key]), numbers(&top[key]));
        assert_eq!((few.len(), &few[..4]), (5, &all[..4]));
        assert!((few[4] - all[4..].iter().sum::<f64>()).abs() < 1e-6);
    }
    // With no more features than requested there is nothing to sum.
    assert_eq!(run("--global --format json --top 10").stdout, run("--global --format json").stdout);
    // As text, a single record is ordered by its own values; the drawing has the same rows.
    let text = run("--row 2 --top 3").done();
    assert!(text.lines().any(|line| line.starts_with("other") && line.contains("7 features")), "{text}");
    let _ = run("--row 2 --top 3 --plot a.svg").done();
    let _ = run("--row 2 --max-display 4 --plot b.svg").done();
    assert_eq!(folder.text("a.svg"), folder.text("b.svg"));
    let refused = folder.refusal(&["explain", "lending.feamoe", "few.csv", "--top", "3", "--format", "csv"]);
    assert!(refused.contains("--global"), "{refused}");
}

#[test]
fn shapes_are_a_kind_of_plot() {
    let folder = Folder::with_model();
    folder.write("few.csv", lending(2, 30));
    let explain = |options: &[&str]| folder.run(&[&["explain", "lending.feamoe", "few.csv"], options].concat());
    let by_kind = explain(&["--plot", "a.svg", "--plot-kind", "shapes"]).done();
    assert_eq!(by_kind, explain(&["--plot", "b.svg", "--shapes"]).done());
    assert_eq!(folder.text("a.svg"), folder.text("b.svg"));
    let _ = explain(&["--plot", "c.svg", "--shapes", "--plot-kind", "shapes"]).done();
    assert_eq!(folder.text("c.svg"), folder.text("b.svg"));
    for (options, said) in [
        (&["--shapes", "--plot-kind", "bar"][..], "--plot-kind bar"),
        (&["--plot-kind", "shapes", "--row", "1"], "leave out --row"),
        (&["--plot-kind", "shapes", "--tolerance", "0.1"], "leave out --tolerance"),
        (&["--plot-kind", "shapes", "--global"], "leave out --global"),
    ] {
        let arguments = [&["explain", "lending.feamoe", "few.csv", "--plot", "d.svg"], options].concat();
        let refused = folder.refusal(&arguments);
        assert!(refused.contains(said), "{refused}");
    }
}
