//! `feamoe explain --shapes`: every effect is compared with its slow twin, the scores of rows
//! altered one cell at a time, and shares are compared with the rows. Also what is left out,
//! refused and drawn.

use feamoe::model::{AlignedBytes, HostModel};
use feamoe_engine::{FeatureIndex, Value as Raw};
use feamoe_tests::command::{Folder, keys, keys_in_order, lending};
use feamoe_tests::repository_file;
use roxmltree::Document;
use serde_json::Value;

/// Means of f32 scores compared with the decimals of a file.
const TOLERANCE: f64 = 2e-6;
/// Log-odds computed back from an f32 probability within [`INSIDE`].
const OF_LOG_ODDS: f64 = 2e-3;
const INSIDE: std::ops::Range<f32> = 0.001..0.999;
const BACKGROUND: usize = 40;

/// The features of the golden model are age, hours-per-week, capital-gain and occupation. These
/// rows have values of every kind, including missing, clamped and unseen.
const GOLDEN_ROWS: &str = "age,hours-per-week,capital-gain,occupation\n\
    39,40,2174,Sales\n50,13,0,Craft-repair\n,40,0,Sales\n53,99,99999,Prüfung\n28,,0,Astronaut\n16,45,0,Sales\n95,60,500,\n37,20,3,Craft-repair\n";

fn folder() -> Folder {
    let folder = Folder::with_model();
    // Also missing values, numbers out of range and levels that are unseen in training.
    let mut rows = lending(11, BACKGROUND).replacen(",salaried,", ",astronaut,", 2).replacen(",salaried,", ",,", 3);
    rows = rows.replacen(",0\n", ",\n", 1);
    folder.write("others.csv", rows);
    folder.write("new.csv", lending(9, 60));
    folder
}

fn golden() -> Folder {
    let folder = Folder::new();
    folder.write("golden.feamoe", std::fs::read(repository_file("engine/golden/v1.feamoe")).unwrap());
    folder.write("rows.csv", GOLDEN_ROWS);
    folder
}

const GOLDEN: [&str; 5] = ["explain", "golden.feamoe", "--shapes", "--background", "rows.csv"];

fn shapes(folder: &Folder, model: &str, options: &[&str]) -> Value {
    let fixed = ["explain", model, "--shapes", "--format", "json"];
    folder.run(&[&fixed, options].concat()).json()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn scores(folder: &Folder, model: &str, rows: &str) -> Vec<f64> {
    folder.write("altered.csv", rows);
    let scores = folder.run(&["score", model, "altered.csv"]).well();
    scores.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect()
}

/// Returns the rows, with one cell of each replaced.
fn altered(rows: &str, feature: &str, cell: &str) -> String {
    let column = rows.lines().next().unwrap().split(',').position(|name| name == feature).unwrap();
    let line = |(index, line): (usize, &str)| {
        let mut cells: Vec<&str> = line.split(',').collect();
        if index > 0 {
            cells[column] = cell;
        }
        cells.join(",") + "\n"
    };
    rows.lines().enumerate().map(line).collect()
}

/// Returns the value of a point as a file has it.
fn cell(point: &Value) -> String {
    match (&point["value"], point["kind"].as_str().unwrap()) {
        (Value::String(level), _) => level.clone(),
        (Value::Null, "unseen") => "never heard of".to_owned(),
        (Value::Null, _) => String::new(),
        (number, _) => number.to_string(),
    }
}

/// Returns the smallest change that at least `percent` % of the changes do not exceed.
fn quantile(mut changes: Vec<f64>, percent: usize) -> f64 {
    changes.sort_by(f64::total_cmp);
    *changes.iter().enumerate().find(|(index, _)| 100 * (index + 1) >= percent * changes.len()).unwrap().1
}

#[test]
fn the_mixture_s_effects_are_those_of_scores_of_altered_rows() {
    let folder = folder();
    let _ = folder.run(&["export", "lending.feamoe", "-o", "integer.feamoe", "--quantize", "i16"]).done();
    let rows = folder.text("others.csv");
    for model in ["lending.feamoe", "integer.feamoe"] {
        let features = "employment,dependants,income";
        let report = shapes(&folder, model, &["--background", "others.csv", "--features", features]);
        let base = scores(&folder, model, &rows);
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
        assert!((number(&report["base_value"]) - mean(&base)).abs() < TOLERANCE);
        assert_eq!((&report["space"], &report["expert_space"]), (&"probability".into(), &"log-odds".into()));
        let mut seen = 0;
        for shape in list(&report["shapes"]) {
            let points = list(&shape["points"]);
            // All points if there are few; otherwise some, including both ends.
            for point in points.iter().step_by(points.len().div_ceil(12)).chain(points.iter().rev().take(2)) {
                let moved = scores(&folder, model, &altered(&rows, shape["feature"].as_str().unwrap(), &cell(point)));
                let changes: Vec<f64> = moved.iter().zip(&base).map(|(score, base)| score - base).collect();
                for (key, expected) in [
                    ("effect", mean(&changes)),
                    ("lower", quantile(changes.clone(), 5)),
                    ("upper", quantile(changes.clone(), 95)),
                ] {
                    assert!((number(&point[key]) - expected).abs() < TOLERANCE, "{model} {point}: {key} {expected}");
                }
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen}");
    }
}

/// An expert's log-odds are a sum over features. So a change of one value moves them by the
/// difference of two effects, whatever else a record holds.
#[test]
fn an_expert_s_effects_are_differences_of_its_log_odds() {
    let folder = folder();
    let report = shapes(&folder, "lending.feamoe", &["--background", "others.csv"]);
    let blob = AlignedBytes::read(&folder.path("lending.feamoe")).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let raw = |point: &Value| match (&point["value"], point["kind"].as_str().unwrap()) {
        (Value::Null, "unseen") => Raw::Unseen,
        (Value::Null, _) => Raw::Missing,
        (Value::String(level), _) => {
            let schema = model.schema();
            let code = (0..10).find_map(|feature| schema.level_code(feature, level).unwrap());
            Raw::Level(code.unwrap())
        }
        (x, _) => Raw::Number(number(x) as f32),
    };
    let mut record = model.record();
    let mut seen = 0;
    for (feature, shape) in list(&report["shapes"]).iter().enumerate() {
        assert_eq!(shape["feature"].as_str(), model.schema().feature_name(feature));
        let points = list(&shape["points"]);
        let mut first: Option<Vec<f32>> = None;
        for point in points {
            _ = record.set_value(FeatureIndex(feature), raw(point)).unwrap();
            let outputs = model.score(&record).unwrap().expert_probabilities[..model.experts()].to_vec();
            let from = first.get_or_insert_with(|| outputs.clone());
            for (expert, (output, from)) in outputs.iter().zip(from.iter()).enumerate() {
                if !INSIDE.contains(output) || !INSIDE.contains(from) {
                    continue;
                }
                let log_odds = |p: f32| (f64::from(p) / (1.0 - f64::from(p))).ln();
                let effect = |point: &Value| number(&point["expert_effects"][expert]);
                let (found, expected) = (effect(point) - effect(&points[0]), log_odds(*output) - log_odds(*from));
                assert!((found - expected).abs() < OF_LOG_ODDS, "{point} of expert {expert}: {found} {expected}");
                seen += 1;
            }
        }
        // The effects of a category average to 0 over the records that they are centred on.
        for expert in 0..if shape["is_number"] == false { model.experts() } else { 0 } {
            let part = |point: &Value| number(&point["share"]) * number(&point["expert_effects"][expert]);
            assert!(points.iter().map(part).sum::<f64>().abs() < 1e-6, "{shape}");
        }
    }
    assert!(seen > 1_500, "{seen}");
}

#[test]
fn shares_are_of_the_background_or_of_the_data() {
    let folder = folder();
    for (options, file, from) in [(&[][..], "others.csv", "background"), (&["new.csv"], "new.csv", "data")] {
        let report = shapes(&folder, "lending.feamoe", &[&["--background", "others.csv"], options].concat());
        let text = folder.text(file);
        let mut table = csv::Reader::from_reader(text.as_bytes());
        let headings = table.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(report["rows"], serde_json::json!({ "from": from, "count": rows.len() }));
        assert_eq!(report["background"]["rows"], BACKGROUND);
        for shape in list(&report["shapes"]) {
            let column = headings.iter().position(|name| Some(name) == shape["feature"].as_str()).unwrap();
            let cells: Vec<&str> = rows.iter().map(|row| &row[column]).collect();
            let points = list(&shape["points"]);
            let levels: Vec<&str> = points.iter().filter_map(|point| point["value"].as_str()).collect();
            let bins: Vec<&Value> = points.iter().filter(|point| point["kind"] == "bin").collect();
            let mut total = 0.0;
            for (place, point) in points.iter().enumerate() {
                if point["share"].is_null() {
                    assert!(point["kind"] == "low" && place == 0 || point["kind"] == "high", "{point}");
                    continue;
                }
                let is_in = |cell: &&&str| match (point["kind"].as_str().unwrap(), cell.parse::<f32>()) {
                    ("missing", _) => cell.is_empty(),
                    ("unseen", _) => !cell.is_empty() && !levels.contains(*cell),
                    ("level", _) => point["value"].as_str() == Some(**cell),
                    (_, Ok(x)) => {
                        // A number outside the range belongs to the bin at that end.
                        let from = bins[0] == point || f64::from(x) >= number(&point["from"]);
                        from && (bins[bins.len() - 1] == point || f64::from(x) < number(&point["to"]))
                    }
                    _ => false,
                };
                let expected = cells.iter().filter(is_in).count() as f64 / rows.len() as f64;
                assert!((number(&point["share"]) - expected).abs() < 1e-6, "{} {point}: {expected}", shape["feature"]);
                total += expected;
            }
            assert!((total - 1.0).abs() < 1e-9, "each row is somewhere");
            assert_eq!(shape["left_out"], serde_json::json!({ "points": 0, "share": 0.0 }));
        }
    }
}

#[test]
fn a_bin_is_at_a_number_that_occurs_and_the_ends_of_the_range_are_there() {
    let report = shapes(&golden(), "golden.feamoe", &["--background", "rows.csv"]);
    let of = |feature: usize, key: &str| -> Vec<Value> {
        list(&report["shapes"][feature]["points"]).iter().map(|point| point[key].clone()).collect()
    };
    let json = |text: &str| -> Vec<Value> { serde_json::from_str(text).unwrap() };
    // The values are 13, 20, 40, 40, 45, 60 and 99; the bins begin at 1, 20, 39.5 and 45.
    let hours = &report["shapes"][1];
    assert_eq!((&hours["is_number"], &hours["is_binned"]), (&true.into(), &true.into()), "{hours}");
    assert_eq!(of(1, "kind"), json(r#"["low", "bin", "bin", "bin", "bin", "high", "missing"]"#));
    let [from, to] = ["from", "to"].map(|key| of(1, key));
    assert_eq!((&from[2..5], &from[0], &from[5]), (&to[1..4], &Value::Null, &Value::Null), "bins join");
    assert_eq!((&from[1], &to[4]), (&of(1, "value")[0], &of(1, "value")[5]), "from end to end");
    for (place, value) in of(1, "value").iter().enumerate().take(5).skip(1) {
        assert!(number(&from[place]) <= number(value) && number(value) <= number(&to[place]), "{place}: {value}");
    }
    // A number on an edge belongs to the bin that begins there.
    assert_eq!(of(1, "share"), json("[null, 0.125, 0.125, 0.25, 0.375, null, 0.125]"));
    // A number without bins gets 20 parts of equal width. 16 and 95 are clamped to the ends of the
    // range, which therefore need no separate points.
    assert_eq!((report["shapes"][0]["is_binned"].as_bool(), of(0, "kind").len()), (Some(false), 21));
    let ages = of(0, "value");
    assert!([28.0, 37.0, 39.0, 50.0].iter().all(|x| ages.contains(&serde_json::json!(x))), "{ages:?}");
    assert!(ages[..20].windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "{ages:?}");
    assert_eq!(of(3, "value"), json(r#"["Sales", "Craft-repair", "Prüfung", null, null]"#));
    assert_eq!(of(3, "kind"), json(r#"["level", "level", "level", "unseen", "missing"]"#));
}

#[test]
fn csv_json_and_text_have_the_same_numbers() {
    let folder = folder();
    let options = ["--background", "others.csv", "new.csv"];
    let report = shapes(&folder, "lending.feamoe", &options);
    let explain =
        |more: &[&str]| folder.run(&[&["explain", "lending.feamoe", "--shapes"], &options[..], more].concat()).done();
    let csv = explain(&["--format", "csv"]);
    let mut table = csv::Reader::from_reader(csv.as_bytes());
    let headings = "feature,point,value,from,to,share,curve,space,effect,lower,upper";
    assert_eq!(table.headers().unwrap().iter().collect::<Vec<_>>().join(","), headings);
    let mut lines = table.records().map(Result::unwrap);
    let same = |cell: &str, expected: &Value| match expected {
        Value::Null => assert_eq!(cell, ""),
        Value::String(text) => assert_eq!(cell, text),
        x => assert_eq!(cell.parse::<f32>().unwrap().to_bits(), (number(x) as f32).to_bits()),
    };
    for shape in list(&report["shapes"]) {
        for point in list(&shape["points"]) {
            let mut next = |curve: &str, space: &Value| {
                let line = lines.next().unwrap();
                same(&line[0], &shape["feature"]);
                for (cell, key) in [(1, "kind"), (2, "value"), (3, "from"), (4, "to"), (5, "share")] {
                    same(&line[cell], &point[key]);
                }
                assert_eq!((&line[6], Some(&line[7])), (curve, space.as_str()));
                line
            };
            let line = next("mixture", &report["space"]);
            for (cell, key) in [(8, "effect"), (9, "lower"), (10, "upper")] {
                same(&line[cell], &point[key]);
            }
            for (expert, effect) in (1..).zip(list(&point["expert_effects"])) {
                let line = next(&format!("expert {expert}"), &report["expert_space"]);
                same(&line[8], effect);
                assert_eq!((&line[9], &line[10]), ("", ""));
            }
        }
    }
    assert!(lines.next().is_none());

    let text = explain(&[]);
    let hash = report["background"]["hash"].as_str().unwrap();
    let first = format!(
        "effects on the score for yes, against {BACKGROUND} background records ({hash}), mean score {:.4}; rows: 60 of data\n",
        number(&report["base_value"])
    );
    assert!(text.starts_with(&first), "{text}");
    let mut last = f64::INFINITY;
    for line in text.lines().skip(2).take(10) {
        let shape = list(&report["shapes"]).iter().find(|shape| line.starts_with(shape["feature"].as_str().unwrap()));
        let shape = shape.unwrap();
        let mean = number(&shape["mean_absolute_effect"]);
        assert!(mean <= last && line.contains(&format!(" {mean:.4} ")), "{line}");
        last = mean;
        let weights = list(&shape["points"]).iter().filter_map(|point| Some((point["share"].as_f64()?, point)));
        let expected: f64 = weights.map(|(share, point)| share * number(&point["effect"]).abs()).sum();
        assert!((mean - expected).abs() < 1e-6, "{line}: {expected}");
    }
}

#[test]
fn the_document_has_its_keys_and_threads_change_no_byte() {
    let folder = folder();
    let explain = |threads: &str| {
        let options = ["--format", "json", "--plot", "p.svg", "--threads", threads, "--features", "age,region"];
        let text = folder.run(&[&["explain", "lending.feamoe", "--shapes"], &options[..]].concat()).done();
        (text, folder.text("p.svg"))
    };
    let one = explain("1");
    assert_eq!(explain("4"), one);
    let of_all = [
        "shapes",
        "output_names",
        "base_value",
        "space",
        "expert_space",
        "quantiles",
        "gate",
        "rows",
        "background",
        "model",
    ];
    assert_eq!(keys_in_order(&one.0), of_all);
    let report: Value = serde_json::from_str(&one.0).unwrap();
    let of_shape = ["feature", "is_binned", "is_number", "left_out", "mean_absolute_effect", "points"];
    assert_eq!(keys(&report["shapes"][0]), of_shape);
    let of_point = ["effect", "expert_effects", "from", "kind", "lower", "share", "to", "upper", "value"];
    assert_eq!(keys(&report["shapes"][0]["points"][0]), of_point);
    assert_eq!((list(&report["shapes"]).len(), report["background"]["rows"].as_u64()), (2, Some(1_000)));
    assert_eq!(list(&report["quantiles"]).iter().map(|x| number(x) as f32).collect::<Vec<_>>(), [0.05, 0.95]);
    assert!((list(&report["gate"]).iter().map(number).sum::<f64>() - 1.0).abs() < 1e-5);
    // A selection of features has the same numbers as all features together.
    assert_eq!(shapes(&folder, "lending.feamoe", &[])["shapes"][1], report["shapes"][0]);
}

#[test]
fn of_too_many_bins_or_levels_some_are_given_and_the_others_counted() {
    let folder = Folder::new();
    let rows: String = (0..2_400)
        .map(|i| {
            format!("{},{},{}\n", i * 7 % 1_201, if i % 3 == 0 { 0 } else { i % 191 }, u8::from(i * 7 % 1_201 > 600))
        })
        .collect();
    folder.write("data.csv", format!("x,code,y\n{rows}"));
    let schema =
        "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[features]\ncategorical = [\"code\"]\nmax_levels = 300\n";
    folder.write("s.toml", schema);
    let _ = folder.run(&["train", "data.csv", "--schema", "s.toml", "--bins", "160", "-o", "m"]).done();
    let ran = folder.run(&["explain", "m", "data.csv", "--shapes", "--format", "json", "--plot", "p.svg"]);
    let (notes, report) = (ran.stderr.clone(), serde_json::from_str::<Value>(&ran.well()).unwrap());
    for (shape, kind, what) in [(&report["shapes"][0], "bin", "bins"), (&report["shapes"][1], "level", "levels")] {
        let points = list(&shape["points"]);
        let given: Vec<&Value> = points.iter().filter(|point| point["kind"] == kind).collect();
        let left = shape["left_out"]["points"].as_u64().unwrap();
        assert!(given.len() == 128 && left >= 20, "{shape}");
        assert!(
            notes.contains(&format!("note: {}: {left} {what} with ", shape["feature"].as_str().unwrap())),
            "{notes}"
        );
        let share: f64 = points.iter().filter_map(|point| point["share"].as_f64()).sum();
        assert!((share + number(&shape["left_out"]["share"]) - 1.0).abs() < 1e-5, "{shape}");
    }
    // The most frequent level is kept, and so are the first and the last bin.
    let values = |shape: usize| list(&report["shapes"][shape]["points"]).iter().map(|point| point["value"].clone());
    assert!(values(1).any(|value| value == "0"));
    assert!(values(0).any(|value| value.as_f64() == Some(1_200.0)) && values(0).next().unwrap() == 0.0);
    let svg = folder.text("p.svg");
    assert!(svg.contains("rarer levels are not shown") && svg.contains("bins are not shown"));
}

#[test]
fn what_cannot_be_combined_is_refused() {
    let folder = golden();
    let explain = |options: &[&str]| folder.run(&[&["explain", "golden.feamoe"], options].concat());
    for option in [
        &["--row", "1"][..],
        &["--method", "path"],
        &["--groups", "a=age+occupation"],
        &["--global"],
        &["--plot", "p.svg", "--plot-kind", "bar"],
        &["--reasons", "2"],
        &["--space", "log-odds"],
        &["--budget", "9"],
        &["--tolerance", "0.1"],
        &["--max-evaluations", "9"],
        &["--max-seconds", "9"],
    ] {
        let message = explain(&[&["--shapes", "--background", "rows.csv"], option].concat()).usage_refused();
        let says_what_to_do =
            ["cannot be used with", "leave out one of them"].iter().any(|words| message.contains(words));
        assert!(message.contains("--shapes") && says_what_to_do, "{message}");
    }
    for options in [&["rows.csv", "--features", "age"][..], &[]] {
        let message = explain(options).usage_refused();
        assert!(message.contains("required arguments were not provided"), "{message}");
    }
    let against = ["--shapes", "--background", "rows.csv"];
    folder.write("none.csv", "age,hours-per-week,capital-gain,occupation\n");
    for (options, message) in [
        (
            vec!["--shapes"],
            "shapes need background records, and the model holds none; name a file of records with --background",
        ),
        (
            [&against[..], &["--features", "age,agee"]].concat(),
            "\"agee\" is not a feature of the model; the features are \"age\", \"hours-per-week\", \"capital-gain\", \"occupation\"",
        ),
        ([&against[..], &["--features", "age,age"]].concat(), "feature \"age\" is named twice"),
        ([&against[..], &["--plot", "p.png"]].concat(), "--plot writes SVG, found png; name the file .svg"),
        ([&["none.csv"], &against[..]].concat(), "none.csv: there are no records, only a header"),
        (
            [&against[..], &["-o", "rows.csv"]].concat(),
            "the output rows.csv is the input rows.csv, which it would replace; name another file after --output",
        ),
    ] {
        let arguments = [&["explain", "golden.feamoe"], &options[..]].concat();
        assert_eq!(folder.refusal(&arguments), message);
    }
}

/// Returns the elements of a class.
fn of_class<'a>(svg: &'a Document<'a>, class: &str) -> Vec<roxmltree::Node<'a, 'a>> {
    svg.descendants().filter(|node| node.attribute("class") == Some(class)).collect()
}

#[test]
fn the_plot_is_to_scale_and_says_what_it_shows() {
    let folder = golden();
    let report = shapes(&folder, "golden.feamoe", &["--background", "rows.csv", "--features", "occupation"]);
    let _ = folder.run(&[&GOLDEN[..], &["--features", "occupation", "--plot", "p.svg"]].concat()).done();
    let text = folder.text("p.svg");
    let svg = Document::parse(&text).unwrap();
    assert!(!text.contains("NaN") && !text.contains("inf"));
    let has = |wanted: &str| svg.descendants().any(|node| node.is_text() && node.text().map(str::trim) == Some(wanted));
    for words in ["occupation", "Sales", "Prüfung", "unseen", "missing", "mixture: mean change, in score for >50K"] {
        assert!(has(words), "{words}");
    }
    let named = |name: &str| svg.root_element().children().any(|node| node.has_tag_name(name));
    assert!(named("title") && named("desc") && svg.root_element().attribute("role") == Some("img"));
    let bars = of_class(&svg, "mixture");
    let mut effects: Vec<(f64, f64)> = list(&report["shapes"][0]["points"])
        .iter()
        .map(|point| (number(&point["effect"]), point["share"].as_f64().unwrap()))
        .collect();
    // Levels are ordered by their number of rows; unseen and missing come last.
    effects[..3].sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!((bars.len(), of_class(&svg, "expert").len()), (5, 5 * 3));
    let height = |bar: &roxmltree::Node<'_, '_>| {
        let points = bar.attribute("points").unwrap().split(' ');
        let y: Vec<f64> = points.map(|point| point.split(',').nth(1).unwrap().parse().unwrap()).collect();
        y[0] - y[1]
    };
    let pixels = height(&bars[0]) / effects[0].0;
    for (bar, (effect, share)) in bars.iter().zip(&effects) {
        assert!((height(bar) - effect * pixels).abs() < 0.05, "{effect}");
        assert_eq!(bar.attribute("fill") == Some("#ffffff"), *share == 0.0);
    }
}

#[test]
fn a_small_model_s_shapes_change_only_on_purpose() {
    let folder = golden();
    let explain = |features: &str, format: &str| {
        let more = ["--features", features, "--format", format, "--plot", "p.svg"];
        folder.run(&[&GOLDEN[..], &more].concat()).done()
    };
    insta::assert_snapshot!("text", explain("age,hours-per-week,capital-gain,occupation", "text"));
    insta::assert_snapshot!("csv", explain("hours-per-week,occupation", "csv"));
    insta::assert_snapshot!("svg", folder.text("p.svg").replace("><", ">\n<"));
}
