//! Promise: the page of `feamoe report` has the same numbers as `feamoe evaluate`, to the last
//! digit. The same inputs give the same bytes on any number of threads. Data appear on the page
//! only as text. Whatever the given file does not contain is stated as missing.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use feamoe_tests::command::Folder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const REPORT: [&str; 6] = ["report", "lending.feamoe", "--data", "test.csv", "--schema", "lending.toml"];

/// A folder with a model, its checkpoint, and other rows to evaluate it on.
fn folder() -> Folder {
    let folder = Folder::with_lending();
    folder.write("test.csv", feamoe_tests::command::lending(2, 1_500));
    let train = ["train", "lending.csv", "--schema", "lending.toml", "--fair", "spd=0.05,impact=0.8"];
    let outputs = ["-o", "lending.feamoe", "--checkpoint", "run.ckpt"];
    let _ = folder.run(&[&train[..], &outputs].concat()).well();
    folder
}

/// Writes a page and returns it.
fn page(folder: &Folder, arguments: &[&str]) -> String {
    let _ = folder.run(&[arguments, &["-o", "page.html"]].concat()).well();
    folder.text("page.html")
}

/// Returns the rows of a table, each as its numbers with all their digits.
pub fn numbers(page: &str, table: &str) -> Vec<Vec<f64>> {
    let start = page.find(&format!("<table id=\"{table}\">")).unwrap_or_else(|| panic!("no table {table}"));
    let body = page[start..].split("</table>").next().unwrap().split("<tbody>").nth(1).unwrap();
    let value =
        |cell: &str| cell.split('"').next().unwrap().split(' ').map(|x| x.parse().unwrap()).collect::<Vec<f64>>();
    body.split("<tr>").skip(1).map(|row| row.split("<data value=\"").skip(1).flat_map(value).collect()).collect()
}

/// Returns the values of some keys of a JSON object. Intervals give their ends one by one; nulls
/// are left out.
fn values(of: &Value, keys: &[&str]) -> Vec<f64> {
    keys.iter()
        .flat_map(|key| match &of[*key] {
            Value::Null => Vec::new(),
            Value::Array(ends) => ends.iter().map(|end| end.as_f64().unwrap()).collect(),
            number => vec![number.as_f64().unwrap()],
        })
        .collect()
}

/// Returns the differences between a page and an evaluation.
fn differences(page: &str, evaluation: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, page: &[f64], evaluation: &[f64]| {
        let same = page.len() == evaluation.len() && page.iter().zip(evaluation).all(|(a, b)| *a as f32 == *b as f32);
        if !same {
            found.push(format!("{what}: {page:?}, evaluated {evaluation:?}"));
        }
    };
    let facts = page.split("<dl class=\"facts\">").nth(1).unwrap().split("</dl>").next().unwrap();
    let facts: Vec<f64> =
        facts.split("<data value=\"").skip(1).map(|fact| fact.split('"').next().unwrap().parse().unwrap()).collect();
    let keys = ["accuracy", "balanced_accuracy", "auc", "log_loss", "calibration_error", "selection_rate"];
    compare("facts", &facts[..keys.len()], &values(evaluation, &keys));

    let groups = evaluation["groups"].as_array().unwrap();
    // Only the page has intervals of the rates.
    let without = |row: &[f64], left_out: &[usize]| -> Vec<f64> {
        row.iter().enumerate().filter(|(index, _)| !left_out.contains(index)).map(|(_, x)| *x).collect()
    };
    for (row, group) in numbers(page, "group-rates").iter().zip(groups) {
        let keys = ["rows", "base_rate", "selection_rate", "accuracy", "precision", "calibration_error"];
        compare("rates", &without(row, &[2, 3, 5, 6]), &values(group, &keys));
    }
    for (row, group) in numbers(page, "group-errors").iter().zip(groups) {
        compare("errors", &without(row, &[1, 2, 4, 5]), &values(group, &["tpr", "fpr", "tp", "fp", "fn", "tn"]));
    }
    let measures = ["spd", "aod", "eodds", "eopp", "burden", "recourse_burden", "impact"];
    let intervals = measures.map(|measure| format!("{measure}_interval"));
    let gaps = evaluation["fairness"].as_array().unwrap();
    let table = numbers(page, "gaps");
    let lines = if gaps.len() > 1 { 3 } else { 2 };
    compare("gaps", &[table.len() as f64], &[(lines * gaps.len()) as f64]);
    for (rows, gap) in table.chunks(lines).zip(gaps) {
        compare("gap", &rows[0], &values(gap, &[&["rows"], &measures[..]].concat()));
        compare("interval", &rows[1], &values(gap, &intervals.each_ref().map(String::as_str)));
    }
    let inputs = evaluation["inputs"].as_array().unwrap();
    for (row, input) in numbers(page, "features").iter().zip(inputs) {
        compare("inputs", &row[..4], &values(input, &["missing", "bad", "clamped", "unseen"]));
    }
    found
}

#[test]
fn every_number_is_that_of_evaluate() {
    let folder = folder();
    folder.write(
        "both.toml",
        folder.text("lending.toml") + "[[protected]]\ncolumn = \"region\"\nprivileged = [\"north\"]\n",
    );
    for schema in ["lending.toml", "both.toml"] {
        let evaluate = ["evaluate", "lending.feamoe", "test.csv", "--schema", schema, "--format", "json"];
        let evaluation = folder.run(&evaluate).json();
        let page = page(&folder, &["report", "lending.feamoe", "--data", "test.csv", "--schema", schema]);
        let found = differences(&page, &evaluation);
        assert!(found.is_empty(), "{schema}: {found:#?}");
        // The comparison detects a wrong digit in each of the tables.
        for table in ["group-rates", "group-errors", "gaps", "features"] {
            let at = page.find(&format!("<table id=\"{table}\">")).unwrap();
            let at = at + page[at..].find("<data value=\"").unwrap() + "<data value=\"".len();
            let wrong = format!("{}9{}", &page[..at], &page[at..]);
            assert_ne!(differences(&wrong, &evaluation), Vec::<String>::new(), "{table}");
        }
        assert_ne!(
            differences(&page, &folder.run(&[&evaluate[..2], &["lending.csv"], &evaluate[3..]].concat()).json()),
            Vec::<String>::new()
        );
    }
}

#[test]
fn the_threads_change_no_byte_and_a_checkpoint_is_its_model() {
    let folder = folder();
    let made = |model: &str, threads: &str| {
        let more = ["--data", "test.csv", "--row", "7", "--threads", threads, "--card", "card.md"];
        (page(&folder, &[&["report", model], &more[..]].concat()), folder.text("card.md"))
    };
    let (one, card) = made("run.ckpt", "1");
    assert!((one.clone(), card.clone()) == made("run.ckpt", "2") && one.contains("Record 7, asked for"));
    assert!(one.contains("Gaps by sex over the training stream") && !one.contains("Not known: a model file"));
    let (of_model, _) = made("lending.feamoe", "2");
    assert!(of_model.contains("Not known: a model file") && !of_model.contains("training stream</span>"));
    for table in ["group-rates", "gaps", "sweep", "gate", "importance-table", "record-7", "recourse-examples"] {
        assert_eq!(numbers(&one, table), numbers(&of_model, table), "{table}");
        assert!(!numbers(&one, table).is_empty(), "{table}");
    }
    // The page explains a record in the same way as `explain`.
    let explain = ["explain", "lending.feamoe", "test.csv", "--row", "7", "--format", "json"];
    let explained = folder.run(&explain).json();
    let mut expected: Vec<f32> =
        explained["values"][0].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
    expected.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
    let found: Vec<f32> = numbers(&one, "record-7").iter().map(|row| *row.last().unwrap() as f32).collect();
    assert_eq!(found, expected);
}

/// Returns the tags of a page, each with its attributes.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|part| part.split('>').next().unwrap()).collect()
}

/// Returns a page without its scripts, and the tag and content of each script.
fn without_scripts(page: &str) -> (String, Vec<(String, String)>) {
    let mut parts = page.split("<script");
    let (mut rest, mut scripts) = (parts.next().unwrap().to_owned(), Vec::new());
    for part in parts {
        let (script, after) = part.split_once("</script>").unwrap_or((part, ""));
        let (tag, text) = script.split_once('>').unwrap();
        scripts.push((tag.to_owned(), text.to_owned()));
        rest += after;
    }
    (rest, scripts)
}

/// Returns what a page does except showing text and the form that scores typed values.
fn not_of_the_page(page: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let known = [
        "!DOCTYPE",
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "a",
        "header",
        "h1",
        "h2",
        "h3",
        "p",
        "strong",
        "span",
        "code",
        "pre",
        "nav",
        "ol",
        "ul",
        "li",
        "main",
        "section",
        "dl",
        "dt",
        "dd",
        "div",
        "small",
        "data",
        "figure",
        "figcaption",
        "details",
        "summary",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "footer",
        "svg",
        "rect",
        "text",
        "line",
        "path",
        "polygon",
        "circle",
        "desc",
        "noscript",
    ];
    let (page, scripts) = without_scripts(page);
    // The form's data, and its code, whose hash the policy names.
    if let [(form, data), (kind, code)] = &scripts[..] {
        if form != " id=\"what-if-data\" type=\"application/json\"" || serde_json::from_str::<Value>(data).is_err() {
            wrong.push(format!("script{form}: {data}"));
        }
        let hash = STANDARD.encode(Sha256::digest(code));
        let policy = format!("content=\"script-src 'sha256-{hash}' 'wasm-unsafe-eval'; default-src 'none'; ");
        if kind != " type=\"module\"" || !page.contains(&policy) {
            wrong.push(format!("script{kind}, not that of the policy"));
        }
    } else {
        wrong.push(format!("{} scripts", scripts.len()));
    }
    let page = page.as_str();
    for tag in tags(page) {
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap().trim_end_matches('/');
        // Values are in quotes. Of these, only `href` is more than text.
        let names: String = tag.split('"').step_by(2).collect();
        let is_whole = tag.matches('"').count() % 2 == 0;
        let acts =
            names.contains(" on") || names.contains("src") || tag.contains("href=\"") && !tag.contains("href=\"#");
        if !known.contains(&name) || !is_whole || acts {
            wrong.push(tag.to_owned());
        }
    }
    let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let distinct: BTreeSet<&&str> = ids.iter().collect();
    if distinct.len() < ids.len() {
        wrong.push("an identifier stands there twice".into());
    }
    wrong.extend(ids.iter().filter(|id| id.contains(char::is_whitespace)).map(|id| format!("identifier {id}")));
    if page.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}') {
        wrong.push("a control character".into());
    }
    wrong
}

#[test]
fn names_are_text_whatever_they_are() {
    let names = [
        "</style><script>alert(1)</script>",
        "\" onload=\"alert(1)",
        "'><img src=x onerror=alert(1)>",
        "a&amp;<b>",
        "]]>--><svg/onload=x>",
    ];
    let mut text = format!(
        "{}\n",
        [names[0], names[1], names[2], "y"].map(|name| format!("\"{}\"", name.replace('"', "\"\""))).join(",")
    );
    for row in 0..900_u32 {
        let mixed = row.wrapping_mul(2_654_435_761) >> 16;
        let level = [names[3], names[4], "\u{202e}x\u{1}"][(mixed % 3) as usize];
        let group = ["<b>them</b>", "<i>us</i>"][(mixed / 3 % 2) as usize];
        let label = if mixed % 5 < 2 + (mixed / 3) % 2 { "<u>yes</u>" } else { "no" };
        text += &format!("{},\"{level}\",{group},{label}\n", mixed % 97);
    }
    let quoted = |name: &str| serde_json::to_string(name).unwrap();
    let folder = Folder::new();
    folder.write("rows.csv", text);
    folder.write(
        "schema.toml",
        format!(
            "[target]\ncolumn = \"y\"\npositive = [\"<u>yes</u>\"]\n[[protected]]\ncolumn = {}\nprivileged = [\"<i>us</i>\"]\nas_feature = true\n",
            quoted(names[2])
        ),
    );
    let train = [
        "train",
        "rows.csv",
        "--schema",
        "schema.toml",
        "--fair",
        "spd=0.05",
        "-o",
        "m&<b>.feamoe",
        "--checkpoint",
        "m.ckpt",
    ];
    let _ = folder.run(&train).well();
    for model in ["m.ckpt", "m&<b>.feamoe"] {
        let page = page(&folder, &["report", model, "--data", "rows.csv", "--card", "card.md"]);
        assert_eq!(not_of_the_page(&page), Vec::<String>::new());
        assert!(page.contains("Content-Security-Policy") && page.contains("default-src 'none'"));
        for name in names {
            let shown = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            assert!(page.contains(&shown) || page.contains(&shown.replace('"', "&quot;")), "{name}");
        }
        let card = folder.text("card.md");
        assert!(!card.contains("<script") && !card.contains("<img") && !card.contains("<b>them"), "{card}");
    }
    let compare = ["compare", "m&<b>.feamoe", "m&<b>.feamoe", "rows.csv", "-o", "compared.html"];
    let _ = folder.run(&compare).well();
    let compared = folder.text("compared.html");
    assert_eq!(not_of_the_page(&compared), ["0 scripts"], "it has no form");
    assert!(compared.contains("&lt;b&gt;them&lt;/b&gt;") && compared.contains("default-src 'none'"));
    // Each of these faults would be detected.
    let page = folder.text("page.html");
    for fault in [
        "<script>1</script>",
        "<p onclick=\"x\">",
        "<img src=\"http://example.invalid/\">",
        "<p id=\"gaps\">",
        "<a href=\"http://example.invalid\">",
        "\u{202e}",
        "<script type=\"module\">1",
    ] {
        assert_ne!(
            not_of_the_page(&page.replace("<footer>", &format!("{fault}<footer>"))),
            Vec::<String>::new(),
            "{fault}"
        );
    }
    let other = page.replace("const FEATURES = 512;", "const FEATURES = 511;");
    assert!(other != page && !not_of_the_page(&other).is_empty());
}

/// The form starts from the explained records and uses the model of the page.
#[test]
fn the_form_starts_from_the_records_explained() {
    let folder = folder();
    let arguments = ["report", "lending.feamoe", "--data", "test.csv", "--row", "7"];
    let page = page(&folder, &arguments);
    let (_, scripts) = without_scripts(&page);
    let data: Value = serde_json::from_str(&scripts[0].1).unwrap();
    let model = STANDARD.decode(data["model"].as_str().unwrap()).unwrap();
    assert!(model == std::fs::read(folder.path("lending.feamoe")).unwrap());
    let explain = ["explain", "lending.feamoe", "test.csv", "--row", "7", "--format", "json"];
    let explained = folder.run(&explain).json();
    let codes = explained["data"][0].as_array().unwrap();
    let is_category = |index: usize| explained["display_data"][0][index].is_string();
    let values = data["records"][0]["values"].as_array().unwrap();
    assert_eq!((data["records"][0]["name"].as_str(), values.len()), (Some("Record 7, asked for"), codes.len()));
    for (index, (value, code)) in values.iter().zip(codes).enumerate() {
        let value = if is_category(index) { &value[0] } else { value };
        assert_eq!(value.as_f64(), code.as_f64(), "{index}");
    }
    // The page states the margin of the command.
    assert_eq!((&data["margin"], page.contains("it passes the threshold by 0.05")), (&0.05.into(), true));
    let recourse = folder.run(&["recourse", "lending.feamoe", "test.csv", "--row", "7", "--format", "json"]).json();
    for (rule, stated) in data["rules"].as_array().unwrap().iter().zip(recourse["rules"].as_array().unwrap()) {
        for key in ["direction", "low", "high", "step", "cost"] {
            assert_eq!(rule[key].as_f64(), stated[key].as_f64(), "{key}: {rule} {stated}");
            assert_eq!(rule[key].as_str(), stated[key].as_str(), "{key}: {rule} {stated}");
        }
    }
}

#[test]
fn every_plot_has_a_name_and_a_table() {
    let folder = folder();
    let page = page(&folder, &["report", "run.ckpt", "--data", "test.csv"]);
    let figures: Vec<&str> =
        page.split("<figure>").skip(1).map(|rest| rest.split("</figure>").next().unwrap()).collect();
    assert!(figures.len() >= 14, "{}", figures.len());
    for figure in figures {
        let id = figure.split("aria-labelledby=\"").nth(1).unwrap().split('"').next().unwrap();
        let title = figure.split(&format!("<title id=\"{id}\">")).nth(1).unwrap();
        assert!(!title.split('<').next().unwrap().trim().is_empty(), "{id}");
        assert!(figure.contains("<details>") && figure.contains("<tbody><tr>"), "{id}");
        assert!(figure.contains("tabindex=\"0\" role=\"region\"") && !figure.contains("NaN"), "{id}");
    }
}

/// The page has every number of the front, and marks the model itself with a ring.
#[test]
fn what_fairness_costs_is_what_the_search_found() {
    let folder = folder();
    let tune =
        ["tune", "lending.csv", "--schema", "lending.toml", "--candidates", "1", "--repeats", "1", "-o", "o.toml"];
    let found = folder.run(&[&tune[..], &["--format", "json"]].concat()).well();
    folder.write("tune.json", &found);
    let tuned: Value = serde_json::from_str(&found).unwrap();
    let page = page(&folder, &[&REPORT[..], &["--front", "tune.json"]].concat());
    let rows = numbers(&page, "front-table");
    let front = tuned["front"].as_array().unwrap();
    assert!(front.len() > 10 && rows.len() == front.len(), "{} {}", front.len(), rows.len());
    for (row, point) in rows.iter().zip(front) {
        let figures = &point["figures"];
        let expected =
            [&point["limit"], &figures["gaps"]["spd"], &figures["accuracy"], &figures["log_loss"], &figures["rows"]];
        let expected: Vec<f32> = expected.iter().filter_map(|value| value.as_f64()).map(|x| x.abs() as f32).collect();
        assert_eq!(row.iter().map(|x| *x as f32).collect::<Vec<_>>(), expected, "{point}");
    }
    let figure = page.split("id=\"plot-front\"").nth(1).unwrap().split("</svg>").next().unwrap();
    assert_eq!((figure.matches("class=\"point\"").count(), figure.matches("class=\"own\"").count()), (front.len(), 3));
    assert!(page.contains("--front tune.json"), "the command");
    // A page without a search result, and with one that has no front.
    assert!(!crate::report::page(&folder, &REPORT).contains("front-table"));
    folder.write("none.json", found.replace("\"measure\": \"spd\"", "\"measure\": null"));
    folder.write("other.json", found.replace("\"target\": \"approved\"", "\"target\": \"income\""));
    let mut unjudged = tuned.clone();
    for point in unjudged["front"].as_array_mut().unwrap() {
        point["figures"]["gaps"]["spd"] = Value::Null;
    }
    folder.write("unjudged.json", unjudged.to_string());
    let unjudged = self::page(&folder, &[&REPORT[..], &["--front", "unjudged.json"]].concat());
    assert!(unjudged.contains("Nothing is drawn") && !unjudged.contains("plot-front"));
    for (file, sentence) in [
        ("none.json", "the search has no front"),
        ("other.json", "the search is for another problem: target \"income\""),
        ("lending.toml", "expected the output of `feamoe tune --format json`"),
    ] {
        let said = folder.run(&[&REPORT[..], &["--front", file, "-o", "page.html"]].concat());
        assert_ne!(said.code, Some(0));
        assert!(said.stderr.contains(sentence), "{}", said.stderr);
    }
}

#[test]
fn the_card_is_the_hubs_and_has_the_same_figures() {
    let folder = folder();
    let _ = page(&folder, &[&REPORT[..], &["--card", "card.md"]].concat());
    let card = folder.text("card.md");
    let [empty, front, body] = card.splitn(3, "---\n").collect::<Vec<_>>().try_into().unwrap();
    assert!(empty.is_empty() && body.starts_with("\n# lending.feamoe\n"));
    let evaluation = folder.run(&["evaluate", "lending.feamoe", "test.csv", "--format", "json"]).json();
    for (kind, key) in [("accuracy", "accuracy"), ("roc_auc", "auc"), ("log_loss", "log_loss")] {
        let metric = front.split(&format!("- type: {kind}\n")).nth(1).unwrap();
        let value: f64 = metric.split("value: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert_eq!(value as f32, evaluation[key].as_f64().unwrap() as f32, "{kind}");
    }
    assert!(front.contains("library_name: feamoe\npipeline_tag: tabular-classification\n"), "{front}");
    for heading in
        ["## Intended use", "## Training", "## Evaluation", "### Groups", "### Fairness targets", "## Limits"]
    {
        assert!(body.contains(heading), "{heading}");
    }
}

#[test]
fn what_cannot_be_reported_is_refused_and_nothing_is_written() {
    let folder = folder();
    folder.write("stripped.feamoe", feamoe_tests::without_card(&folder.read("lending.feamoe")).as_slice());
    for (arguments, message) in [
        (
            vec!["--row", "1501"],
            "test.csv: no record 1501, expected a row from 1 to 1500 that has an outcome and passes the filters",
        ),
        (vec!["--card", "new.html"], "--card and --output name the same file; name two different files"),
        (vec!["--card", "./new.html"], "--card and --output name the same file; name two different files"),
        (
            vec!["--card", "test.csv"],
            "the output test.csv is the input test.csv, which it would replace; name another file after --card",
        ),
    ] {
        let refused = folder.refusal(&[&REPORT[..], &["-o", "new.html"], &arguments[..]].concat());
        assert_eq!(refused, message);
    }
    let refused = folder.refusal(&["report", "stripped.feamoe", "--data", "test.csv", "-o", "new.html"]);
    assert!(refused.contains("name a schema with --schema"), "{refused}");
    let page = page(&folder, &["report", "stripped.feamoe", "--data", "test.csv", "--schema", "lending.toml"]);
    assert!(page.contains("does not say how the model was made") && page.contains("without a fairness target"));
    // Integer weights: explained with the gate frozen, without recourse.
    let _ = folder.run(&["export", "lending.feamoe", "--quantize", "i16", "-o", "integer.feamoe"]).well();
    let page = self::page(&folder, &["report", "integer.feamoe", "--data", "test.csv", "--schema", "lending.toml"]);
    assert!(
        page.contains("in integer weights")
            && page.contains("Not known: recourse is looked for in models of float weights")
    );
}

#[test]
fn little_is_reported_as_little() {
    let folder = folder();
    // No protected attribute; one record of each kind; a run that has just started.
    let alone = folder.text("lending.toml").split("[[protected]]").next().unwrap().to_owned();
    folder.write("alone.toml", alone);
    let _ = folder.run(&["train", "lending.csv", "--schema", "alone.toml", "-o", "alone.feamoe"]).well();
    let page = page(&folder, &["report", "alone.feamoe", "--data", "test.csv"]);
    assert!(page.contains("names no protected column") && !numbers(&page, "recourse-examples").is_empty());
    let few: String = folder.text("test.csv").lines().take(41).map(|line| format!("{line}\n")).collect();
    folder.write("few.csv", few);
    let page = self::page(&folder, &["report", "lending.feamoe", "--data", "few.csv", "--schema", "lending.toml"]);
    assert!(page.contains("no window of the rows has enough records") && !numbers(&page, "not-judged").is_empty());
    let short = ["train", "few.csv", "--schema", "lending.toml", "-o", "short.feamoe", "--checkpoint", "short.ckpt"];
    let _ = folder.run(&short).well();
    let (page, _) = without_scripts(&self::page(&folder, &["report", "short.ckpt", "--data", "test.csv"]));
    assert!(page.contains("Accuracy over the training stream") && !page.contains("NaN"));
    assert!(page.contains("learned from, 40 rows. Every row") && !page.contains("learned from, 0 rows"));
    // Its target is judged by what the run has learned so far.
    folder.write("start.csv", feamoe_tests::command::lending(1, 2_000));
    let short = ["train", "start.csv", "--schema", "lending.toml", "-o", "short.feamoe", "--checkpoint", "short.ckpt"];
    let trained = folder.run(&[&short[..], &["--fair", "spd=0.05", "--format", "json"]].concat()).well();
    let trained: Value = serde_json::from_str(&trained).unwrap();
    let page = self::page(&folder, &["report", "short.ckpt", "--data", "test.csv"]);
    assert!(page.contains("learned from, 2,000 rows") && !page.contains("Nothing happened"));
    let gaps: Vec<f64> =
        trained["targets"].as_array().unwrap().iter().map(|target| target["gap"].as_f64().unwrap()).collect();
    let shown: Vec<f64> = numbers(&page, "training-verdicts").iter().map(|row| row[0]).collect();
    assert!(
        !gaps.is_empty() && gaps.iter().zip(&shown).all(|(a, b)| (*a as f32).to_bits() == (*b as f32).to_bits()),
        "{gaps:?} {shown:?}"
    );
}

/// The command that a page states makes the same page again, from any kind of input.
#[test]
fn the_command_of_a_page_makes_it_again() {
    let folder = folder();
    let rows = folder.text("test.csv");
    let _ = folder.run(&["export", "lending.feamoe", "-o", "other name.feamoe"]).well();
    for command in [
        &[
            "report",
            "other name.feamoe",
            "--data",
            "-",
            "--schema",
            "lending.toml",
            "--bad-cells",
            "missing",
            "--card",
            "card.md",
            "-o",
            "page.html",
        ][..],
        &[
            "compare",
            "lending.feamoe",
            "other name.feamoe",
            "-",
            "--bad-cells",
            "missing",
            "--sample",
            "10",
            "-o",
            "page.html",
        ],
    ] {
        let _ = folder.run_on(rows.as_bytes(), command).well();
        let page = folder.text("page.html");
        let stated = page.split("<pre>feamoe ").nth(1).unwrap().split("</pre>").next().unwrap();
        assert_eq!(stated, command.join(" ").replace("other name.feamoe", "'other name.feamoe'"));
    }
}
