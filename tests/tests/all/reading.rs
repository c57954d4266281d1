//! Reads data as people have it: numbers in other notations, words for missing values, odd cells,
//! joined files, reports and dummy columns. A trained model reads new data as it read the training
//! data.

use std::fmt::Write as _;

use feamoe_tests::command::Folder;
use feamoe_tests::data_file;
use serde_json::Value;

/// A random generator that gives the same numbers on every platform.
struct Draws(u64);

impl Draws {
    /// Returns a number from 0 to below 1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }
}

/// An applicant: team, years at the address, wage in cents, trade, whether the loan was paid back.
struct Person {
    team: &'static str,
    years: usize,
    wage: f64,
    trade: &'static str,
    paid: bool,
}

/// Draws people whose wage almost determines whether the loan is paid back.
fn people(seed: u64, count: usize) -> Vec<Person> {
    let mut draws = Draws(seed);
    let person = |_| {
        let wage = (1_500.0 + 30_000.0 * draws.uniform() * draws.uniform()).round()
            + (draws.uniform() * 100.0).floor() / 100.0;
        Person {
            team: ["red", "blue"][draws.below(2)],
            years: draws.below(40),
            wage,
            trade: ["baker", "tailor", "mason"][draws.below(3)],
            paid: draws.uniform() < 1.0 / (1.0 + (-(wage - 8_000.0) / 1_500.0).exp()),
        }
    };
    (0..count).map(person).collect()
}

/// Writes people as CSV. `wage` formats a wage; its first argument is the index of the row.
fn csv(people: &[Person], delimiter: char, wage: impl Fn(usize, f64) -> String) -> String {
    let d = delimiter;
    let mut text = format!("team{d}years{d}wage{d}trade{d}paid\n");
    for (index, p) in people.iter().enumerate() {
        let paid = if p.paid { "yes" } else { "no" };
        let wage = wage(index, p.wage);
        let _ = writeln!(text, "{}{d}{}{d}{wage}{d}{}{d}{paid}", p.team, p.years, p.trade);
    }
    text
}

fn plain(_: usize, wage: f64) -> String {
    wage.to_string()
}

const TEAMS: &str = "[target]\ncolumn = \"paid\"\npositive = [\"yes\"]\nnegative = [\"no\"]\n\
    [[protected]]\ncolumn = \"team\"\nprivileged = [\"red\"]\nunprivileged = [\"blue\"]\n";

/// Infers a schema, trains with it unchanged, and returns the report.
fn inferred(folder: &Folder, file: &str) -> Value {
    let printed = folder.run(&["schema", file, "-o", "inferred.toml"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    folder.run(&["train", file, "--schema", "inferred.toml", "-o", "m.feamoe", "--format", "json"]).json()
}

fn accuracy(report: &Value) -> f64 {
    report["prequential"]["accuracy"].as_f64().unwrap()
}

/// A notation for numbers.
type Way<'a> = Box<dyn Fn(f64) -> String + 'a>;

/// Separates the digits of a whole number into groups of three.
fn grouped(whole: u64, mark: &str) -> String {
    let digits = whole.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push_str(mark);
        }
        out.push(digit);
    }
    out
}

/// The most important feature gives the same accuracy in every notation as in plain numbers.
#[test]
fn a_number_may_be_written_as_people_write_it() {
    let people = people(1, 3_000);
    let folder = Folder::new();
    folder.write("plain.csv", csv(&people, ';', plain));
    let whole = |wage: f64| wage.trunc() as u64;
    folder.write("whole.csv", csv(&people, ';', |_, wage| whole(wage).to_string()));
    let [plain_report, whole_report] = ["plain.csv", "whole.csv"].map(|name| inferred(&folder, name));
    let expected = [accuracy(&plain_report), accuracy(&whole_report)];
    assert!(expected[0] > 0.85, "{expected:?}");
    let cents = |wage: f64| ((wage.fract() * 100.0).round() as u64).min(99);
    let english = |wage: f64| format!("{}.{:02}", grouped(whole(wage), ","), cents(wage));
    let german = |wage: f64| {
        format!("{}.{:02}", grouped(whole(wage), "\u{1}"), cents(wage)).replace('.', ",").replace('\u{1}', ".")
    };
    let wide = |text: String| -> String {
        let wide = |c: char| c.to_digit(10).and_then(|digit| char::from_u32(0xff10 + digit)).unwrap_or(c);
        text.chars().map(wide).collect()
    };
    let arabic = |text: String| -> String {
        let digit = |c: char| c.to_digit(10).and_then(|digit| char::from_u32(0x0660 + digit)).unwrap_or(c);
        text.chars().map(digit).collect()
    };
    let ways: Vec<(&str, bool, Way<'_>)> = vec![
        ("1,234.50", false, Box::new(english)),
        ("1,234", true, Box::new(move |x| grouped(whole(x), ","))),
        ("1.234,50", false, Box::new(german)),
        ("1234,50", false, Box::new(|x| x.to_string().replace('.', ","))),
        ("1 234.50", false, Box::new(move |x| english(x).replace(',', " "))),
        ("1 234,50", false, Box::new(move |x| german(x).replace('.', " "))),
        ("1\u{a0}234", true, Box::new(move |x| grouped(whole(x), "\u{a0}"))),
        ("1\u{202f}234", true, Box::new(move |x| grouped(whole(x), "\u{202f}"))),
        ("1'234", true, Box::new(move |x| grouped(whole(x), "'"))),
        ("1_234", true, Box::new(move |x| grouped(whole(x), "_"))),
        ("$1234.5", false, Box::new(|x| format!("${x}"))),
        ("$ 1,234.50", false, Box::new(move |x| format!("$ {}", english(x)))),
        ("1234.5 €", false, Box::new(|x| format!("{x} €"))),
        ("€1.234,50", false, Box::new(move |x| format!("€{}", german(x)))),
        ("£1234.5", false, Box::new(|x| format!("£{x}"))),
        ("USD 1234.5", false, Box::new(|x| format!("USD {x}"))),
        ("1234.5 EUR", false, Box::new(|x| format!("{x} EUR"))),
        ("1234.5%", false, Box::new(|x| format!("{x}%"))),
        ("1234.5 %", false, Box::new(|x| format!("{x} %"))),
        ("+1234.5", false, Box::new(|x| format!("+{x}"))),
        ("(1234.5)", false, Box::new(|x| format!("({x})"))),
        ("1234.5-", false, Box::new(|x| format!("{x}-"))),
        ("\u{2212}1234.5", false, Box::new(|x| format!("\u{2212}{x}"))),
        ("1.2345e3", false, Box::new(|x| format!("{x:e}"))),
        ("full width", false, Box::new(move |x| wide(x.to_string()))),
        ("Arabic", true, Box::new(move |x| arabic(whole(x).to_string()))),
        ("hexadecimal", true, Box::new(move |x| format!("0x{:x}", whole(x)))),
        ("quoted", false, Box::new(|x| format!("\"{x}\""))),
        ("padded", false, Box::new(|x| format!("   {x} "))),
        ("001234.5", false, Box::new(|x| format!("{x:012.2}"))),
    ];
    for (name, is_whole, way) in ways {
        folder.write("way.csv", csv(&people, ';', |_, wage| way(wage)));
        let report = inferred(&folder, "way.csv");
        let feature = report["features"].as_array().unwrap().iter().find(|feature| feature["feature"] == "wage");
        assert_eq!(feature.unwrap_or_else(|| panic!("{name}: left out"))["kind"], "number", "{name}");
        let expected = expected[usize::from(is_whole)];
        assert!((accuracy(&report) - expected).abs() < 0.01, "{name}: {} for {expected}", accuracy(&report));
    }
}

/// A few cells with a word for a missing value leave the column a number, whatever the word and its
/// case.
#[test]
fn words_for_no_value_keep_their_column() {
    let people = people(2, 2_000);
    let folder = Folder::new();
    let words = [
        "na",
        "NA",
        "Na",
        "nan",
        "NaN",
        "NAN",
        "-nan",
        "n.a.",
        "N.A.",
        "n/a",
        "N/A",
        "#N/A",
        "#NA",
        "<NA>",
        "null",
        "NULL",
        "Null",
        "(null)",
        "nil",
        "None",
        "NONE",
        "\\N",
        "-",
        "--",
        "---",
        ".",
        "..",
        "...",
        "?",
        "??",
        "*",
        "missing",
        "Missing",
        "(missing)",
        "unknown",
        "UNKNOWN",
        "(blank)",
        "blank",
        "empty",
        "undefined",
        "NaT",
        "#DIV/0!",
        "#VALUE!",
        "#REF!",
        "not available",
        "Not applicable",
        "n.d.",
        "k.A.",
        "\u{2014}",
        "not reported",
        "",
    ];
    for word in words {
        let text = csv(&people, ',', |index, wage| if index % 17 == 3 { word.to_owned() } else { wage.to_string() });
        folder.write("words.csv", text);
        let report = inferred(&folder, "words.csv");
        let feature = report["features"].as_array().unwrap().iter().find(|feature| feature["feature"] == "wage");
        let feature = feature.unwrap_or_else(|| panic!("{word:?}: left out"));
        assert_eq!((feature["kind"].as_str(), feature["missing"].as_u64()), (Some("number"), Some(118)), "{word:?}");
        assert!(accuracy(&report) > 0.8, "{word:?}: {}", accuracy(&report));
    }
}

/// The result does not depend on the row that holds the odd cell: an error that names the cell, or
/// a missing value that is counted. An inferred schema keeps the column.
#[test]
fn an_odd_cell_has_the_same_outcome_in_every_row() {
    let people = people(3, 6_500);
    let folder = Folder::new();
    folder.write("s.toml", TEAMS);
    for odd in ["n.a.", "twelve", "12 hours"] {
        for row in [0, 100, 6_200] {
            let text = csv(&people, ',', |index, wage| if index == row { odd.into() } else { wage.to_string() });
            folder.write("odd.csv", text);
            let train = ["train", "odd.csv", "--schema", "s.toml", "-o", "m.feamoe"];
            let refused = folder.refusal(&train);
            let start = format!("odd.csv:{}: column \"wage\": found {odd:?}, expected a number; ", row + 2);
            assert!(refused.starts_with(&start) && refused.ends_with("(use --bad-cells missing)"), "{refused}");
            let printed = folder.run(&[&train[..], &["--bad-cells", "missing"]].concat()).done();
            assert!(
                printed.contains(&format!("column \"wage\": 1 cells are not numbers and count as missing: {odd:?}")),
                "{printed}"
            );
            let line = printed.lines().find(|line| line.starts_with("wage ")).unwrap();
            assert_eq!(
                line.split_whitespace().collect::<Vec<_>>(),
                ["wage", "number", "0", "1", "0", "0", "0"],
                "{printed}"
            );
            // The model stores this setting: scoring counts the cell as missing too.
            let scored = folder.run(&["score", "m.feamoe", "odd.csv"]);
            assert_eq!(scored.code, Some(0), "{}", scored.stderr);
            assert!(scored.stderr.contains("1 cells are not numbers"), "{}", scored.stderr);
            let strict = folder.run(&["score", "m.feamoe", "odd.csv", "--bad-cells", "error"]);
            assert!(
                strict.code == Some(2) && strict.stderr.starts_with(&format!("error: {start}")),
                "{}",
                strict.stderr
            );

            let said = folder.run(&["schema", "odd.csv", "-o", "inferred.toml"]).stderr;
            assert!(said.contains("\"wage\":") && said.contains(&format!("{odd:?} (1)")), "{said}");
            let schema = folder.text("inferred.toml");
            assert!(!schema.contains("\"wage\", #"), "the column is kept:\n{schema}");
        }
    }
}

#[test]
fn a_header_that_repeats_is_passed_over_and_counted() {
    let people = people(4, 2_000);
    let folder = Folder::new();
    folder.write("s.toml", TEAMS);
    let whole = csv(&people, ',', plain);
    folder.write("whole.csv", &whole);
    let lines: Vec<&str> = whole.lines().collect();
    let joined: Vec<&str> = [&lines[..901], &lines[..1], &lines[901..1_500], &lines[..1], &lines[1_500..]].concat();
    folder.write("joined.csv", joined.join("\n") + "\n");
    let train =
        |file: &str| folder.run(&["train", file, "--schema", "s.toml", "-o", "m.feamoe", "--format", "json"]).json();
    let (whole, joined) = (train("whole.csv"), train("joined.csv"));
    assert_eq!((&whole["rows"], &whole["prequential"]), (&joined["rows"], &joined["prequential"]));
    let warnings = joined["warnings"].to_string();
    assert!(
        warnings.contains("2 lines repeat the header, the first at joined.csv:902; they were skipped"),
        "{warnings}"
    );
    let scored = folder.run(&["score", "m.feamoe", "joined.csv"]);
    assert_eq!(scored.stdout, folder.run(&["score", "m.feamoe", "whole.csv"]).done());
    assert!(scored.stderr.contains("2 lines repeat the header"), "{}", scored.stderr);
    let said = folder.run(&["schema", "joined.csv", "-o", "inferred.toml"]);
    assert!(said.stderr.contains("2 lines repeat the header"), "{}", said.stderr);
    assert!(folder.text("inferred.toml").contains("header = true"));
}

/// A file that is no table gives an error that names its kind and the remedy.
#[test]
fn what_is_no_table_is_noticed_with_the_remedy() {
    let people = people(5, 300);
    let folder = Folder::new();
    folder.write("s.toml", TEAMS);
    let table = csv(&people, ',', plain);
    folder.write("title.csv", format!("Loans of 2025\n\n{table}"));
    folder.write("footer.csv", format!("{table}Total,,300,,\n"));
    folder.write("ragged.csv", format!("{table}Total: 300\n"));
    folder.write("rows.jsonl", "{\"team\":\"red\",\"wage\":5}\n{\"team\":\"blue\",\"wage\":6}\n");
    folder.write("sep.csv", format!("sep=;\n{}", csv(&people, ';', plain)));
    folder.write("comma.csv", table.replace('\n', ",\n"));
    folder.write("ends.csv", table.replacen("paid\n", "paid", 1).replace('\n', ",\n").replacen("paid", "paid\n", 1));
    folder.write("twice.csv", table.replacen("team,years", "team,team", 1));
    for (file, expected) in [
        ("title.csv", "found 1 field where nearly all lines have 5; expected the column names"),
        ("ragged.csv", "this looks like the end of a report: take the line out"),
        ("ends.csv", "the line ends with a delimiter, the header does not"),
        ("rows.jsonl", "found JSON, expected CSV text"),
    ] {
        let refused = folder.refusal(&["schema", file]);
        assert!(refused.contains(expected), "{refused}");
    }
    let title = folder.refusal(&["train", "title.csv", "--schema", "s.toml", "-o", "m.feamoe"]);
    assert!(title.contains("no column") || title.contains("title"), "{title}");
    for (file, expected) in [
        ("footer.csv", "the last record begins with \"Total\""),
        ("comma.csv", "a column has no name"),
        ("twice.csv", "several columns are called \"team\""),
    ] {
        let said = folder.run(&["schema", file, "--target", "paid"]).stderr;
        assert!(said.contains(expected), "{said}");
    }
    assert!(accuracy(&inferred(&folder, "sep.csv")) > 0.7);
    let other = folder.refusal(&["train", "sep.csv", "--schema", "s.toml", "-o", "m.feamoe"]);
    assert!(other.starts_with("sep.csv:1: found \"sep=;\", expected the delimiter ','"), "{other}");
}

/// A protected characteristic is never chosen as the target, wherever its column stands. The user
/// is asked if the target is unclear.
#[test]
fn the_target_is_the_outcome_or_is_asked_for() {
    let people = people(6, 1_000);
    let folder = Folder::new();
    let rows = |header: &str, row: &dyn Fn(usize, &Person) -> String| {
        let rows: String = people.iter().enumerate().map(|(index, person)| row(index, person) + "\n").collect();
        format!("{header}\n{rows}")
    };
    let yes = |is: bool| if is { "yes" } else { "no" };
    for name in
        ["gender", "Race", "geschlecht", "hispanic", "foreign_worker", "married", "pregnant", "disability", "is_white"]
    {
        folder.write(
            "last.csv",
            rows(&format!("wage,loan_default,{name}"), &|index, p| {
                format!("{},{},{}", p.wage, u8::from(!p.paid), yes(index % 3 == 0))
            }),
        );
        let said = folder.run(&["schema", "last.csv", "-o", "s.toml"]);
        assert_eq!(said.code, Some(0), "{name}: {}", said.stderr);
        assert!(said.stderr.contains("target: \"loan_default\", favourable \"0\""), "{name}: {}", said.stderr);
        // It is no target even if it is the only candidate.
        folder.write(
            "alone.csv",
            rows(&format!("wage,{name}"), &|index, p| format!("{},{}", p.wage, yes(index % 3 == 0))),
        );
        let asked = folder.run(&["schema", "alone.csv", "-o", "s.toml"]).stderr;
        assert!(
            asked.contains("which column is the target is not clear") && asked.contains("--target COLUMN"),
            "{name}: {asked}"
        );
    }
    // Two columns could be the target, and their values do not show which one is favourable.
    folder.write("two.csv", rows("wage,a,b", &|index, p| format!("{},{},{}", p.wage, u8::from(p.paid), index % 2)));
    let asked = folder.run(&["schema", "two.csv", "-o", "s.toml"]).stderr;
    assert!(asked.contains("candidates: \"a\" (") && asked.contains("\"b\" ("), "{asked}");
    let asked = folder.run(&["schema", "two.csv", "--target", "a", "-o", "s.toml"]).stderr;
    assert!(asked.contains("give it with --positive VALUE"), "{asked}");
    assert_eq!(folder.run(&["schema", "two.csv", "--target", "a", "--positive", "1"]).code, Some(0));
    folder.write(
        "colours.csv",
        rows("wage,result", &|_, p| format!("{},{}", p.wage, if p.paid { "green" } else { "violet" })),
    );
    let asked = folder.run(&["schema", "colours.csv", "-o", "s.toml"]).stderr;
    assert!(asked.contains("which value of the target \"result\" is the favourable outcome is not clear"), "{asked}");
    assert_eq!(folder.run(&["schema", "colours.csv", "--positive", "green", "-o", "s.toml"]).code, Some(0));
    assert!(folder.text("s.toml").contains("positive = [\"green\"]\nnegative = [\"violet\"]"));
    let wrong = folder.refusal(&["schema", "colours.csv", "--positive", "blue"]);
    assert!(wrong.contains("no value \"blue\"; its values are \"violet\""), "{wrong}");
    let wrong = folder.refusal(&["schema", "colours.csv", "--target", "colour"]);
    assert!(wrong.contains("no column \"colour\"; the columns are \"wage\", \"result\""), "{wrong}");
}

/// In a sorted file the first rows do not represent the others.
#[test]
fn all_rows_are_looked_at() {
    let mut people = people(7, 30_000);
    people.sort_by_key(|person| (person.paid, person.team == "red"));
    let folder = Folder::new();
    folder.write("sorted.csv", csv(&people, ',', plain));
    let said = folder.run(&["schema", "sorted.csv", "-o", "s.toml", "--protected", "team"]).stderr;
    for expected in
        ["30000 records", "target: \"paid\", favourable \"yes\"", "protected: \"team\"", "number 2, category 1"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let part = folder.run(&["schema", "sorted.csv", "--rows", "5000", "--target", "paid"]);
    assert!(part.stderr.contains("the first 5000 records; there are more"), "{}", part.stderr);
    assert!(part.stdout.contains("always \"no\"") || part.stderr.contains("not clear"), "{}", part.stderr);
}

/// Dummy columns become one attribute with the same groups as a column of values; cuts turn numbers
/// into groups.
#[test]
fn dummies_and_cuts_make_groups() {
    let people = people(8, 4_000);
    let folder = Folder::new();
    let race = |index: usize| ["white", "black", "asian"][index * 7 % 11 % 3];
    let mut plain_text = String::from("wage,age,race,approved\n");
    let mut dummies = String::from("wage,age,white,black,asian,approved\n");
    for (index, p) in people.iter().enumerate() {
        let (race, age, paid) = (race(index), 18 + p.years * 2, u8::from(p.paid));
        let one = |name: &str| u8::from(race == name);
        let _ = writeln!(plain_text, "{},{age},{race},{paid}", p.wage);
        let _ = writeln!(dummies, "{},{age},{},{},{},{paid}", p.wage, one("white"), one("black"), one("asian"));
    }
    folder.write("plain.csv", plain_text);
    folder.write("dummies.csv", dummies);
    let [plain, dummies] = ["plain.csv", "dummies.csv"].map(|file| {
        let report = inferred(&folder, file);
        let attribute = report["fairness"].as_array().unwrap().clone();
        assert_eq!(attribute.len(), 2, "{attribute:?}");
        attribute
    });
    for (plain, dummy) in plain.iter().zip(&dummies) {
        for key in ["attribute", "group", "reference", "rows", "spd", "eopp"] {
            assert_eq!(plain[key], dummy[key], "{key}");
        }
    }
    assert!(folder.text("inferred.toml").contains("dummies = [\"white\", \"black\", \"asian\"]"));

    folder.write("cuts.toml", "[target]\ncolumn = \"approved\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"age\"\ncuts = [30, 62]\nprivileged = [\"30 to below 62\"]\n");
    let trained =
        folder.run(&["train", "plain.csv", "--schema", "cuts.toml", "-o", "m.feamoe", "--format", "json"]).json();
    let groups: Vec<&str> =
        trained["attributes"][0]["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap()).collect();
    assert_eq!(groups[0], "30 to below 62");
    assert!(groups.contains(&"below 30") && groups.contains(&"62 and more"), "{groups:?}");
    let of = |low: usize, high: usize| people.iter().filter(|p| (low..high).contains(&(18 + p.years * 2))).count();
    let evaluated = folder.run(&["evaluate", "m.feamoe", "plain.csv", "--no-recourse", "--format", "json"]).json();
    for group in evaluated["groups"].as_array().unwrap() {
        let expected = match group["group"].as_str().unwrap() {
            "below 30" => of(0, 30),
            "62 and more" => of(62, 1_000),
            _ => of(30, 62),
        };
        assert_eq!(group["rows"].as_u64(), Some(expected as u64), "{group}");
    }
    // A requested age column gets cuts by default.
    let said = folder.run(&["schema", "plain.csv", "--protected", "age", "-o", "s.toml"]);
    assert!(said.code == Some(0) && folder.text("s.toml").contains("\ncuts = [30, 62]"), "{}", folder.text("s.toml"));
}

/// The model stores the schema's rules for cells: every command reads the same without the schema.
#[test]
fn a_model_reads_as_its_training_did() {
    let people = people(9, 4_000);
    let folder = Folder::new();
    folder.write("s.toml", format!("[table]\ndelimiter = \";\"\ndecimal = \",\"\nmissing = [\"\", \"keine\"]\n[table.missing_in]\nyears = [\"-1\"]\n{TEAMS}"));
    let german =
        |index: usize, wage: f64| if index % 9 == 4 { "keine".into() } else { wage.to_string().replace('.', ",") };
    let text = csv(&people, ';', german);
    let rows = |from: usize, to: usize| {
        let lines: Vec<&str> = text.lines().collect();
        [&lines[..1], &lines[from..to]].concat().join("\n").replace(";7;", ";-1;") + "\n"
    };
    folder.write("train.csv", rows(1, 3_001));
    folder.write("new.csv", rows(3_001, 4_001));
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let both = |arguments: &[&str]| {
        let without = folder.run(arguments).done();
        assert_eq!(without, folder.run(&[arguments, &["--schema", "s.toml"]].concat()).done(), "{arguments:?}");
        without
    };
    let scores = both(&["score", "m.feamoe", "new.csv"]);
    assert!(scores.lines().count() == 1_001 && !scores.contains("clamped: years"), "{scores}");
    let evaluated = both(&["evaluate", "m.feamoe", "new.csv", "--no-recourse", "--format", "json"]);
    let evaluated: Value = serde_json::from_str(&evaluated).unwrap();
    assert!(evaluated["accuracy"].as_f64().unwrap() > 0.8, "{evaluated}");
    let inputs = evaluated["inputs"].as_array().unwrap();
    let missing =
        |name: &str| inputs.iter().find(|input| input["feature"] == name).unwrap()["missing"].as_u64().unwrap();
    assert_eq!(missing("wage"), (3_000..4_000).filter(|index| index % 9 == 4).count() as u64);
    assert_eq!(missing("years"), people[3_000..].iter().filter(|p| p.years == 7).count() as u64);
    let _ = both(&["explain", "m.feamoe", "new.csv", "--row", "3", "--format", "json"]);
    let _ = both(&["recourse", "m.feamoe", "new.csv", "--row", "3", "--format", "json"]);
    // Without a card the model does not store them.
    let blind = folder.run(&["export", "m.feamoe", "-o", "device.feamoe"]);
    assert_eq!(blind.code, Some(0), "{}", blind.stderr);
    let refused = folder.refusal(&["evaluate", "device.feamoe", "new.csv"]);
    assert!(refused.contains("does not state which column is the target"), "{refused}");
}

/// A feature that is suddenly empty, as after a failed join, is reported in the notes of every
/// record and in a summary.
#[test]
fn a_feature_that_was_never_missing_and_is_empty_now_is_noted() {
    let people = people(10, 3_000);
    let folder = Folder::new();
    folder.write("s.toml", TEAMS);
    folder.write("train.csv", csv(&people, ',', plain));
    folder.write("empty.csv", csv(&people[..400], ',', |_, _| String::new()));
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let scored = folder.run(&["score", "m.feamoe", "empty.csv"]);
    assert!(scored.stdout.lines().skip(1).all(|line| line.ends_with(",missing: wage")), "{}", scored.stdout);
    let expected = "warning: column \"wage\": missing in 400 of 400 records, but never in training\n";
    assert_eq!(scored.stderr, expected);
    for command in ["evaluate", "recourse"] {
        let said = folder.run(&[command, "m.feamoe", "empty.csv"]).stderr;
        assert_eq!(said, expected, "{command}");
    }
    // Levels absent from training, and numbers far outside the training range.
    let other = csv(&people[..400], ',', |_, wage| (wage * 1_000.0).to_string())
        .replace("baker", "pilot")
        .replace("mason", "smith")
        .replace("tailor", "cook");
    folder.write("other.csv", other);
    let said = folder.run(&["score", "m.feamoe", "other.csv"]).stderr;
    assert!(
        said.contains("\"wage\": outside the training range in 400 of 400")
            && said.contains("\"trade\": a level that was absent or rare in training in 400 of 400"),
        "{said}"
    );
}

/// Columns are copied unchanged, in every format, under distinct names.
#[test]
fn scores_keep_columns_in_every_format() {
    let folder = Folder::new();
    folder.write("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[features]\nonly = [\"row\", \"a,b\"]\n");
    let header = "row,\"a,b\",\"the \"\"name\"\"\",probability,y\n";
    let rows: String = (0..400)
        .map(|i| {
            format!("{i},{},\"N, {i}\nx\",{},{}\n", i % 7, if i % 5 == 0 { "NA" } else { "kept" }, u8::from(i % 7 > 3))
        })
        .collect();
    folder.write("d.csv", format!("{header}{rows}"));
    let _ = folder.run(&["train", "d.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let keep = ["score", "m.feamoe", "d.csv", "--keep", "the \"name\",probability,row"];
    let text = folder.run(&keep).done();
    assert!(text.starts_with("row,\"the \"\"name\"\"\",data.probability,data.row,probability,decision,"), "{text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!((&records[10][1], &records[10][2], &records[10][3]), ("N, 10\nx", "NA", "10"));
    let document = folder.run(&[&keep[..], &["--format", "json"]].concat()).json();
    let record = &document["records"][10];
    assert_eq!((&record["kept"]["the \"name\""], &record["kept"]["probability"]), (&"N, 10\nx".into(), &Value::Null));
    assert_eq!(record["row"], 11);
    let same = records.iter().zip(document["records"].as_array().unwrap());
    for (line, record) in same {
        // The JSON has the same shortest digits as the CSV.
        assert_eq!(record["probability"].to_string(), line[4]);
    }
    let twice = folder.refusal(&["score", "m.feamoe", "d.csv", "--keep", "row,row"]);
    assert!(twice.contains("--keep names \"row\" twice"), "{twice}");
    let absent = folder.refusal(&["score", "m.feamoe", "d.csv", "--keep", "id"]);
    assert!(absent.contains("no column \"id\", which --keep needs"), "{absent}");

    let refused = folder.refusal(&["score", "m.feamoe", "d.csv", "--format", "parquet"]);
    assert!(refused.contains("name a file with --output"), "{refused}");
    let _ = folder.run(&["score", "m.feamoe", "d.csv", "--format", "parquet", "-o", "p.parquet", "--keep", "y"]).done();
    // Read back by our own reader: a decision can be the target.
    let back = folder.run(&["schema", "p.parquet", "--target", "decision", "--positive", "1"]);
    assert!(back.code == Some(0) && back.stderr.contains("400 records"), "{}", back.stderr);
    // An explanation keeps its own columns apart from features of the same name.
    let explained = folder.run(&["explain", "m.feamoe", "d.csv", "--format", "csv"]).done();
    let header = explained.lines().next().unwrap();
    assert!(header.starts_with("row,probability,") && header.ends_with(",feature.row,\"a,b\""), "{header}");
}

/// Names must not send control sequences to a terminal.
#[test]
fn names_with_control_characters_are_safe_on_the_terminal() {
    let folder = Folder::new();
    folder.write("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n");
    let rows: String = (0..300).map(|i| format!("{},{},{}\n", i % 7, i % 3, u8::from(i % 7 > 3))).collect();
    folder.write("d.csv", format!("\"red\u{1b}[31m\",\"two\nlines\",y\n{rows}"));
    let outputs = [
        folder.run(&["train", "d.csv", "--schema", "s.toml", "-o", "m.feamoe"]),
        folder.run(&["explain", "m.feamoe", "d.csv", "--row", "1"]),
        folder.run(&["explain", "m.feamoe", "d.csv", "--global"]),
        folder.run(&["inspect", "m.feamoe"]),
        folder.run(&["recourse", "m.feamoe", "d.csv"]),
        folder.run(&["evaluate", "m.feamoe", "d.csv", "--schema", "none.toml"]),
        folder.run(&["schema", "d.csv"]),
    ];
    for ran in outputs {
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!printed.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{printed:?}");
    }
}

/// Dates become numbers if the schema says so, in training and in scoring.
#[test]
fn dates_become_numbers_on_request() {
    let people = people(11, 3_000);
    let folder = Folder::new();
    // The outcome depends on the number of days since the account was opened.
    let mut text = String::from("opened,note,approved\n");
    for (index, p) in people.iter().enumerate() {
        let day = index * 7 % 3_000;
        let (year, month, day) = (2015 + day / 360, 1 + day % 360 / 30, 1 + day % 28);
        let old = year < 2019;
        let _ = writeln!(
            text,
            "{day:02}.{month:02}.{year},{},{}",
            p.trade,
            if old == (index % 10 > 0) { "yes" } else { "no" }
        );
    }
    folder.write("d.csv", text);
    let said = folder.run(&["schema", "d.csv", "-o", "s.toml"]);
    assert!(said.stderr.contains("dates, written as %d.%m.%Y"), "{}", said.stderr);
    let before = folder.run(&["train", "d.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json"]).json();
    let schema = folder.text("s.toml");
    let schema = schema
        .replace("# [table.dates.", "[table.dates.")
        .replace("# format = ", "format = ")
        .replace("# parts = ", "parts = ");
    folder.write("dated.toml", schema);
    let after = folder.run(&["train", "d.csv", "--schema", "dated.toml", "-o", "m.feamoe", "--format", "json"]).json();
    assert!(accuracy(&before) < 0.7 && accuracy(&after) > 0.85, "{} {}", accuracy(&before), accuracy(&after));
    let names: Vec<&str> =
        after["features"].as_array().unwrap().iter().map(|f| f["feature"].as_str().unwrap()).collect();
    assert_eq!(names, ["note", "opened.days", "opened.month", "opened.weekday"]);
    let scores = folder.run(&["score", "m.feamoe", "d.csv"]).done();
    assert_eq!(scores, folder.run(&["score", "m.feamoe", "d.csv", "--schema", "dated.toml"]).done());
    folder.write("bad.csv", "opened,note,approved\n2020-01-05,baker,yes\n");
    let refused = folder.run(&["score", "m.feamoe", "bad.csv"]).stderr;
    assert!(
        refused.starts_with("error: bad.csv:2: column \"opened.days\": found \"2020-01-05\", expected a number"),
        "{refused}"
    );
}

/// Numbers that stand for a missing value are noticed, and codes are distinguished from counts.
#[test]
fn sentinels_and_codes_are_noticed() {
    let people = people(12, 3_000);
    let folder = Folder::new();
    let mut text = String::from("days,score,post,visits,closed,wage,approved\n");
    for (index, p) in people.iter().enumerate() {
        let days = if index % 8 == 0 { "-1".into() } else { (index % 300).to_string() };
        let score = if index % 11 == 0 { "999".into() } else { (index * 13 % 90).to_string() };
        let post = ["01067", "20095", "80331", "04109"][index % 4];
        let closed = if index % 20 == 0 { "9999-12-31".into() } else { format!("2020-01-{:02}", 1 + index % 28) };
        let _ = writeln!(text, "{days},{score},{post},{},{closed},{},{}", index % 6, p.wage, u8::from(p.paid));
    }
    folder.write("d.csv", text);
    let said = folder.run(&["schema", "d.csv", "-o", "s.toml"]).stderr;
    assert!(said.contains("\"days\": -1 in 375 cells") && said.contains("\"score\": 999 in 273 cells"), "{said}");
    assert!(said.contains("\"closed\": 9999-12-31 in 150 cells"), "{said}");
    assert!(!said.contains("\"wage\": ") && !said.contains("\"visits\": "), "{said}");
    let schema = folder.text("s.toml");
    assert!(schema.contains("# \"days\" = [\"-1\"]") && schema.contains("# \"score\" = [\"999\"]"), "{schema}");
    assert!(schema.contains("\"post\", # numbers of one length, some with zeros before them; 4 values"), "{schema}");
}

/// The stored rules for cells do not depend on the delimiter or on a header.
#[test]
fn a_model_reads_files_of_another_delimiter() {
    let people = people(13, 3_000);
    let folder = Folder::new();
    folder.write("s.toml", format!("[table]\ndelimiter = \";\"\nmissing = [\"\", \"0\"]\n{TEAMS}"));
    folder.write("train.csv", csv(&people, ';', plain));
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let new = &people[..200];
    let mut all = Vec::new();
    for delimiter in [';', ',', '\t', '|'] {
        folder.write("new.csv", csv(new, delimiter, plain));
        let scored = folder.run(&["score", "m.feamoe", "new.csv"]);
        let note = format!("note: new.csv is read with the delimiter {delimiter:?}, as ';' is not in its first line\n");
        assert_eq!(scored.stderr, if delimiter == ';' { String::new() } else { note });
        all.push(scored.well());
        let evaluated = folder.run(&["evaluate", "m.feamoe", "new.csv", "--no-recourse"]);
        assert_eq!(evaluated.code, Some(0), "{}", evaluated.stderr);
    }
    assert!(all[0].lines().count() == 201 && all.iter().all(|scores| *scores == all[0]));

    // A model trained on a file without names reads a file with names, in any order of columns.
    let columns = "header = false\ncolumns = [\"team\", \"years\", \"wage\", \"trade\", \"paid\"]";
    folder.write("bare.toml", format!("[table]\n{columns}\n{TEAMS}"));
    let text = csv(&people, ',', plain);
    folder.write("bare.csv", text.split_once('\n').unwrap().1);
    let _ = folder.run(&["train", "bare.csv", "--schema", "bare.toml", "-o", "bare.feamoe"]).done();
    let scores = folder.run(&["score", "bare.feamoe", "bare.csv"]).done();
    folder.write("named.csv", &text);
    let turned: String = text.lines().map(|line| line.split(',').rev().collect::<Vec<_>>().join(",") + "\n").collect();
    folder.write("turned.csv", turned);
    for name in ["named.csv", "turned.csv"] {
        let scored = folder.run(&["score", "bare.feamoe", name]);
        assert_eq!(
            scored.stderr,
            format!("note: {name}:1 names the columns, but the schema names them too; the line was skipped\n")
        );
        assert!(scored.well() == scores, "{name}");
    }
    // Files with and without names in one run: each file has its own column order.
    let lines = |text: &str| -> Vec<String> {
        text.lines().skip(1).map(|line| line.split_once(',').unwrap().1.to_owned()).collect()
    };
    for files in [["turned.csv", "bare.csv", "named.csv"], ["bare.csv", "turned.csv", "bare.csv"]] {
        let scored = folder.run(&[&["score", "bare.feamoe"], &files[..]].concat()).well();
        assert!(lines(&scored) == vec![lines(&scores); 3].concat(), "{files:?}");
    }
}

/// A column with some text is one category in all rows. The inferred schema says so; without that,
/// training warns or refuses.
#[test]
fn a_column_of_numbers_and_text_is_said_to_be_a_category() {
    let people = people(14, 8_000);
    let folder = Folder::new();
    folder.write("s.toml", TEAMS);
    // Only numbers in the first rows, and text in a third of the rows after them.
    let mixed = |from: usize| {
        move |index: usize, wage: f64| {
            if index >= from && index.is_multiple_of(3) { "on leave".into() } else { ((wage as u64) % 50).to_string() }
        }
    };
    folder.write("late.csv", csv(&people, ',', mixed(6_000)));
    let report = inferred(&folder, "late.csv");
    let kind = |report: &Value| {
        report["features"].as_array().unwrap().iter().find(|f| f["feature"] == "wage").unwrap()["kind"].clone()
    };
    assert_eq!(kind(&report), "category");
    assert!(
        folder.text("inferred.toml").contains("\"wage\", # text, and 91.7 % numbers"),
        "{}",
        folder.text("inferred.toml")
    );
    let refused = folder.refusal(&["train", "late.csv", "--schema", "s.toml", "-o", "m.feamoe"]);
    assert!(refused.starts_with("late.csv:6002: column \"wage\": found \"on leave\""), "{refused}");
    folder.write("early.csv", csv(&people, ',', mixed(0)));
    let report = folder.run(&["train", "early.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json"]).json();
    assert_eq!(kind(&report), "category");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("\\\"wage\\\" is a category, though most of its levels are numbers"), "{warnings}");
    // Points that could be thousands separators are reported.
    folder.write(
        "points.csv",
        csv(&people, ',', |_, wage| format!("{}.{:03}", wage as u64 / 1_000, wage as u64 % 1_000)),
    );
    let said = folder.run(&["schema", "points.csv"]).stderr;
    assert!(said.contains("\"wage\" have three digits after the point"), "{said}");
}

/// Different spellings of a label count as the same outcome; a word for an unknown outcome is no
/// outcome.
#[test]
fn labels_are_two_outcomes_however_they_are_written() {
    let people = people(15, 2_000);
    let folder = Folder::new();
    let mut text = String::from("wage,approved\n");
    for (index, p) in people.iter().enumerate() {
        let label = match (p.paid, index % 10) {
            (_, 7) => "Unknown",
            (true, 1..=3) => "YES",
            (true, _) => "yes",
            (false, 4) => "No",
            (false, _) => "no",
        };
        let _ = writeln!(text, "{},{label}", p.wage);
    }
    folder.write("d.csv", text);
    let report = inferred(&folder, "d.csv");
    assert_eq!((report["rows"].as_u64(), report["skipped"].as_u64()), (Some(1_800), Some(200)));
    assert!(accuracy(&report) > 0.8);
    let schema = folder.text("inferred.toml");
    assert!(schema.contains("positive = [\"yes\", \"YES\"]\nnegative = [\"no\", \"No\"]"), "{schema}");
}

/// A column with fewer than 95 % numbers becomes a category or is left out, and the message says
/// which.
#[test]
fn a_category_of_many_numbers_is_pointed_out() {
    let people = people(16, 2_000);
    let folder = Folder::new();
    let pending =
        |index: usize, wage: f64| if index.is_multiple_of(9) { "pending".to_owned() } else { wage.to_string() };
    folder.write("many.csv", csv(&people, ',', pending));
    let said = folder.run(&["schema", "many.csv"]).stderr;
    assert!(said.contains("left out: \"wage\": 88.8 % numbers, the others \"pending\" (223)"), "{said}");
    folder.write("few.csv", csv(&people, ',', |index, wage| pending(index, (wage / 1_000.0).trunc())));
    let said = folder.run(&["schema", "few.csv"]).stderr;
    let expected = "\"wage\" becomes a category, though 88.8 % of its cells are numbers; the others: \"pending\" (223)";
    assert!(said.contains(expected), "{said}");
}

/// What is inferred, or asked, on real tables. `tests/tables/inferred.py` covers more of them.
#[test]
fn real_tables_are_read_right_or_asked_about() {
    let folder = Folder::new();
    for (file, said) in [
        (
            "adult.data",
            &[
                "target: \"column.15\", favourable \">50K\"",
                "protected: \"column.10\", \"Female\" against \"Male\"",
                "99999 in 159 cells",
            ][..],
        ),
        (
            "compas-scores-two-years.csv",
            &[
                "target: \"two_year_recid\", favourable \"0\"",
                "protected: \"race\", \"African-American\", \"Hispanic\", \"Other\" against \"Caucasian\"",
            ],
        ),
        (
            "hmda_2014_2017.csv.gz",
            &[
                "which column is the target is not clear; candidates: \"action_taken\"",
                "protected: \"applicant_sex\", \"Female\" against \"Male\"",
            ],
        ),
        (
            "diabetes_1999_2008.csv.gz",
            &["which column is the target is not clear; candidates: \"readmitted\"", "left out: \"encounter_id\""],
        ),
    ] {
        let Some(path) = data_file(file) else { return };
        let ran = folder.run(&["schema", path.to_str().unwrap(), "-o", "s.toml"]);
        for expected in said {
            assert!(ran.stderr.contains(expected), "{file}: {expected}\n{}", ran.stderr);
        }
    }
}
