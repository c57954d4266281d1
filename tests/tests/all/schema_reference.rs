//! The page about the schema lists every key of the code with its comment, its default and a tested
//! example. `FEAMOE_OVERWRITE_SCHEMA=1` writes it again.

use std::fmt::Write as _;

use feamoe::schema::{Features, Protected, Schema, Table, Target};
use feamoe_tests::repository_file;
use serde_json::Value;

const PAGE: &str = "docs/schema.md";

/// An example schema with every key once.
const EXAMPLE: &str = r##"[table]
header = false
columns = ["opened", "age", "sex", "region", "white", "black", "days", "amount", "paid"]
delimiter = ";"
trim = true
missing = ["", "NA", "?"]
decimal = ","
thousands = "."
comment = "#"
bad_cells = "missing"

[table.missing_in]
days = ["-1", "never"]

[table.dates.opened]
format = "%d.%m.%Y"
since = "2015-01-01"
parts = ["days", "month", "weekday"]

[target]
column = "paid"
positive = ["yes"]
negative = ["no", "late"]
label = "loan paid back"

[[protected]]
column = "sex"
privileged = ["m"]
unprivileged = ["f"]
as_feature = false

[[protected]]
column = "age"
cuts = [30, 62]
privileged = ["30 to below 62"]

[[protected]]
column = "race"
dummies = ["white", "black"]
privileged = ["white"]

[[intersection]]
columns = ["sex", "race"]

[[filter]]
column = "days"
min = -30
max = 30
keep = ["0", "7"]
drop = ["99"]

[features]
drop = ["opened"]
only = ["opened.days", "days", "amount", "region"]
categorical = ["region"]
log1p = ["amount"]
max_levels = 32
monotone = { days = "down" }
immutable = ["region"]
increase_only = ["days"]
decrease_only = ["amount"]
ranges = { amount = [100, 50000] }
steps = { amount = 100 }
costs = { amount = 2 }
"##;

/// A table of the schema: its heading, its purpose, and its keys.
struct Section {
    heading: String,
    text: String,
    /// Name, type and comment.
    keys: Vec<(String, String, String)>,
}

/// Reads the structs whose comment begins with the name of a table, and the comments of their keys.
fn sections(source: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut comment, mut inside) = (String::new(), false);
    for line in source.lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            comment = format!("{comment} {}", text.trim()).trim().to_owned();
        } else if line.starts_with("pub struct ") {
            let table = comment.strip_prefix("`[").and_then(|rest| rest.split_once("`: "));
            inside = table.is_some();
            if let Some((heading, text)) = table {
                sections.push(Section { heading: format!("[{heading}"), text: text.to_owned(), keys: Vec::new() });
            }
            comment.clear();
        } else if let Some((name, kind)) =
            line.strip_prefix("pub ").and_then(|field| field.split_once(": ")).filter(|_| inside)
        {
            if !name.contains(' ') {
                let key = (name.to_owned(), kind.trim_end_matches(',').to_owned(), std::mem::take(&mut comment));
                sections.last_mut().unwrap().keys.push(key);
            }
        } else if line == "}" {
            inside = false;
        } else if !line.starts_with("#[") {
            comment.clear();
        }
    }
    sections
}

/// Returns the line of the example with a key of a table.
fn example(heading: &str, key: &str) -> Option<&'static str> {
    let heading = heading.replace("COLUMN", "opened");
    let mut blocks = EXAMPLE.split("\n\n").filter(|block| block.starts_with(&heading));
    let found = blocks.find_map(|block| block.lines().find(|line| line.split(" = ").next() == Some(key)));
    found
        .or_else(|| (key == "missing_in").then_some("[table.missing_in] days = [\"-1\", \"never\"]"))
        .or_else(|| (key == "dates").then_some("see below"))
}

fn defaults(heading: &str) -> Value {
    let optional = |value: Result<Value, serde_json::Error>| value.unwrap();
    match heading {
        "[table]" => optional(serde_json::to_value(Table::default())),
        "[features]" => optional(serde_json::to_value(Features::default())),
        "[target]" => optional(serde_json::to_value(Target::default())),
        "[[protected]]" => optional(serde_json::to_value(Protected::default())),
        _ => Value::Null,
    }
}

fn page() -> String {
    let source = std::fs::read_to_string(repository_file("trainer/src/schema/mod.rs")).unwrap();
    let mut page = String::from(
        "# The schema\n\nA TOML file that says how a table is read, what is predicted, who is protected and what the model sees. `feamoe schema DATA` writes a first \
         one; a model carries the one it was trained with. Unknown keys and contradictions are refused with line and column.\n\n\
         This page is made of the comments in `trainer/src/schema/mod.rs`: `FEAMOE_OVERWRITE_SCHEMA=1 cargo test --workspace --test all -- schema_reference::`.\n",
    );
    for Section { heading, text, keys } in sections(&source) {
        let first = text.chars().next().unwrap().to_uppercase();
        let _ = write!(
            page,
            "\n## `{heading}`\n\n{first}{}\n\n| key | what it says | default | example |\n| --- | --- | --- | --- |\n",
            &text[1..]
        );
        let defaults = defaults(&heading);
        for (key, kind, comment) in &keys {
            let default = match &defaults[key] {
                _ if !is_optional(&heading, key, kind) => "must be given".to_owned(),
                Value::Null => "none".to_owned(),
                value => format!("`{value}`"),
            };
            let example = example(&heading, key).unwrap_or_else(|| panic!("no example of {heading} {key}"));
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(page, "| `{key}` | {} | {} | `{}` |", cell(comment), cell(&default), cell(example));
        }
    }
    let _ = write!(page, "\n## All of them together\n\n```toml\n{EXAMPLE}```\n");
    page
}

/// Returns whether a schema may omit a key, by trying it.
fn is_optional(heading: &str, key: &str, kind: &str) -> bool {
    let minimal = |own: &str| format!("[target]\ncolumn = \"y\"\npositive = [\"1\"]\n{own}");
    let without = match heading {
        "[target]" if key == "column" => "[target]\npositive = [\"1\"]\n".to_owned(),
        "[target]" if key == "positive" => "[target]\ncolumn = \"y\"\n".to_owned(),
        "[[protected]]" if key == "column" => minimal("[[protected]]\nprivileged = [\"a\"]\n"),
        "[[protected]]" if key == "privileged" => minimal("[[protected]]\ncolumn = \"a\"\n"),
        "[[intersection]]" => minimal("[[intersection]]\n"),
        "[[filter]]" if key == "column" => minimal("[[filter]]\nmin = 1\n"),
        "[table.dates.COLUMN]" if key == "format" => minimal("[table.dates.d]\nparts = [\"days\"]\n"),
        "[table.dates.COLUMN]" if key == "parts" => minimal("[table.dates.d]\nformat = \"%Y\"\n"),
        _ => return !kind.is_empty(),
    };
    Schema::from_toml("s.toml", &without).is_ok()
}

#[test]
fn the_page_has_every_key_with_an_example_that_is_read() {
    // The page has every key of the code, because the structs serialise to the keys of a schema.
    let schema = Schema::from_toml("example.toml", EXAMPLE).unwrap();
    let written = serde_json::to_value(&schema).unwrap();
    let source = std::fs::read_to_string(repository_file("trainer/src/schema/mod.rs")).unwrap();
    let sections = sections(&source);
    let headings: Vec<&str> = sections.iter().map(|section| section.heading.as_str()).collect();
    assert_eq!(
        headings,
        [
            "[table]",
            "[table.dates.COLUMN]",
            "[target]",
            "[[protected]]",
            "[[intersection]]",
            "[[filter]]",
            "[features]"
        ]
    );
    for section in &sections {
        let of_code = match section.heading.as_str() {
            "[table.dates.COLUMN]" => &written["table"]["dates"]["opened"],
            "[[protected]]" | "[[intersection]]" | "[[filter]]" => {
                &written[section.heading.trim_matches(['[', ']'])][0]
            }
            heading => &written[heading.trim_matches(['[', ']'])],
        };
        let of_code: Vec<&String> = of_code.as_object().unwrap().keys().collect();
        let mut of_page: Vec<&String> = section.keys.iter().map(|(name, ..)| name).collect();
        of_page.sort_unstable();
        assert_eq!(of_page, of_code, "{}", section.heading);
    }
    let page = page();
    let path = repository_file(PAGE);
    if std::env::var_os("FEAMOE_OVERWRITE_SCHEMA").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == page,
        "{PAGE} is not of this code: FEAMOE_OVERWRITE_SCHEMA=1 writes it"
    );
}
