//! Checks a schema beyond its types, and locates a fault in the file.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use chrono::format::{Item, StrftimeItems};
use feamoe_engine::limits::MAX_LEVELS;
use feamoe_engine::recourse::{Rule, Rules};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Features, Filter, Intersection, Protected, Schema, Table, Target};
use crate::error::list;

/// Maximum number of unprivileged groups of one attribute: group ids are a `u8`, 0 is the
/// privileged group and 255 means *no group*.
pub(crate) const MAX_UNPRIVILEGED: usize = 254;

/// A step from a TOML value into one of its parts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// A contradiction, with the path of keys that leads to it.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub path: Vec<Step<'a>>,
    pub message: String,
}

type Outcome<'a> = Result<(), Fault<'a>>;

fn fault<'a>(path: &[Step<'a>], message: String) -> Fault<'a> {
    Fault { path: path.to_vec(), message }
}

pub(super) fn check(schema: &Schema) -> Outcome<'_> {
    let Schema { table, target, protected, intersection, filter, features } = schema;
    check_table(table)?;
    check_target(target)?;
    for (index, attribute) in protected.iter().enumerate() {
        let path = [Step::Key("protected"), Step::Index(index)];
        check_protected(attribute, target, path)?;
        if protected[..index].iter().any(|earlier| earlier.column == attribute.column) {
            return Err(fault(
                &[path[0], path[1], Step::Key("column")],
                format!("column {:?} is protected twice; merge the two [[protected]] tables", attribute.column),
            ));
        }
    }
    for (index, together) in intersection.iter().enumerate() {
        let path = [Step::Key("intersection"), Step::Index(index), Step::Key("columns")];
        check_intersection(together, &intersection[..index], protected, path)?;
    }
    for (index, filter) in filter.iter().enumerate() {
        check_filter(filter, [Step::Key("filter"), Step::Index(index)])?;
    }
    check_features(features, target, protected)
}

fn check_table(table: &Table) -> Outcome<'_> {
    let at = |key| [Step::Key("table"), Step::Key(key)];
    if !table.delimiter.is_ascii() || matches!(table.delimiter, '"' | '\n' | '\r' | '\0') {
        return Err(fault(
            &at("delimiter"),
            format!(
                "found delimiter {:?}, expected one ASCII character that is no quote and no line end",
                table.delimiter
            ),
        ));
    }
    if let Some(comment) = table.comment
        && (!comment.is_ascii() || comment == table.delimiter || matches!(comment, '"' | '\n' | '\r' | '\0'))
    {
        return Err(fault(
            &at("comment"),
            format!(
                "found comment {comment:?}, expected one ASCII character other than the delimiter, quote and line ends"
            ),
        ));
    }
    let is_mark = |mark: char| !(mark.is_alphanumeric() || mark.is_control() || matches!(mark, '+' | '-' | '"'));
    if !is_mark(table.decimal) {
        return Err(fault(
            &at("decimal"),
            format!("found decimal {:?}, expected a mark such as a comma", table.decimal),
        ));
    }
    if let Some(mark) = table.thousands.filter(|mark| !is_mark(*mark) || *mark == table.decimal) {
        let expected = "a mark such as a point, other than the decimal mark";
        return Err(fault(&at("thousands"), format!("found thousands {mark:?}, expected {expected}")));
    }
    for (column, dates) in &table.dates {
        let at = |key| [at("dates")[0], at("dates")[1], Step::Key(column), Step::Key(key)];
        if StrftimeItems::new(&dates.format).any(|item| matches!(item, Item::Error)) || !dates.format.contains('%') {
            let message =
                format!("found the format {:?}, expected the notation of strftime, such as %Y-%m-%d", dates.format);
            return Err(fault(&at("format"), message));
        }
        if let Some(day) = dates.since.as_ref().filter(|day| day.parse::<NaiveDate>().is_err()) {
            return Err(fault(&at("since"), format!("found {day:?}, expected a day such as 2015-01-31")));
        }
        if dates.parts.is_empty() || (1..).zip(&dates.parts).any(|(next, part)| dates.parts[next..].contains(part)) {
            let message = "expected one or more of days, year, month, weekday, hour, each once";
            return Err(fault(&at("parts"), message.into()));
        }
    }
    for (column, words) in &table.missing_in {
        distinct(words, &[at("missing_in")[0], at("missing_in")[1], Step::Key(column)])?;
    }
    match (table.header, table.columns.is_empty()) {
        (false, true) => Err(fault(
            &at("header"),
            "header = false needs the column names: add columns = [\"...\"] in the order of the file".into(),
        )),
        (true, false) => Err(fault(
            &at("columns"),
            "columns are given, but header is true; set header = false, or leave columns out to use the file's names"
                .into(),
        )),
        _ => distinct(&table.columns, &at("columns")),
    }
}

fn check_target(target: &Target) -> Outcome<'_> {
    let at = |key| [Step::Key("target"), Step::Key(key)];
    named(&target.column, &at("column"))?;
    if target.positive.is_empty() {
        return Err(fault(&at("positive"), "list at least one value of the favourable outcome".into()));
    }
    distinct(&target.positive, &at("positive"))?;
    distinct(&target.negative, &at("negative"))?;
    if let Some(label) = &target.label {
        named(label, &at("label"))?;
    }
    disjoint(&target.negative, &target.positive, "positive", &at("negative"))
}

fn check_protected<'a>(attribute: &'a Protected, target: &Target, [table, index]: [Step<'a>; 2]) -> Outcome<'a> {
    let at = |key| [table, index, Step::Key(key)];
    named(&attribute.column, &at("column"))?;
    if attribute.columns().any(|column| *column == target.column) {
        return Err(fault(
            &at("column"),
            format!("column {:?} is the target, so it cannot be protected", target.column),
        ));
    }
    check_made_groups(attribute, [table, index])?;
    if attribute.privileged.is_empty() {
        return Err(fault(&at("privileged"), "list at least one value of the privileged group".into()));
    }
    distinct(&attribute.privileged, &at("privileged"))?;
    let Some(unprivileged) = &attribute.unprivileged else { return Ok(()) };
    if unprivileged.is_empty() || unprivileged.len() > MAX_UNPRIVILEGED {
        return Err(fault(
            &at("unprivileged"),
            format!(
                "found {} values, expected 1 to {MAX_UNPRIVILEGED}; leave the key out to make every other value a group",
                unprivileged.len()
            ),
        ));
    }
    distinct(unprivileged, &at("unprivileged"))?;
    disjoint(unprivileged, &attribute.privileged, "privileged", &at("unprivileged"))
}

/// Checks groups that are derived from numbers or from several columns.
fn check_made_groups<'a>(attribute: &'a Protected, [table, index]: [Step<'a>; 2]) -> Outcome<'a> {
    let at = |key| [table, index, Step::Key(key)];
    let Protected { cuts, dummies, privileged, unprivileged, .. } = attribute;
    if attribute.is_plain() {
        return Ok(());
    }
    if !cuts.is_empty() && !dummies.is_empty() {
        return Err(fault(&at("cuts"), "found cuts and dummies, expected only one of the two".into()));
    }
    if !(cuts.iter().all(|cut| cut.is_finite()) && cuts.windows(2).all(|two| two[0] < two[1])) {
        return Err(fault(&at("cuts"), "expected ascending numbers, such as [30, 62]".into()));
    }
    if dummies.len() == 1 {
        return Err(fault(
            &at("dummies"),
            "found one column, expected two or more; remove the key, and name the column as column".into(),
        ));
    }
    distinct(dummies, &at("dummies"))?;
    let mut names = attribute.cut_names();
    if names.is_empty() {
        names =
            dummies.iter().map(String::as_str).chain([Protected::NONE, Protected::SEVERAL]).map(String::from).collect();
    }
    for (key, listed) in [("privileged", Some(privileged)), ("unprivileged", unprivileged.as_ref())] {
        if let Some(other) = listed.into_iter().flatten().find(|value| !names.contains(value)) {
            return Err(fault(&at(key), format!("found {other:?}, expected some of {}", list(&names))));
        }
    }
    Ok(())
}

fn check_intersection<'a>(
    Intersection { columns }: &'a Intersection,
    earlier: &[Intersection],
    protected: &[Protected],
    path: [Step<'a>; 3],
) -> Outcome<'a> {
    if columns.len() < 2 {
        return Err(fault(&path, format!("found {} columns, expected two or more protected ones", columns.len())));
    }
    distinct(columns, &path)?;
    if let Some(open) = columns.iter().find(|column| protected.iter().all(|p| p.column != **column)) {
        return Err(fault(&path, format!("column {open:?} is not protected; add a [[protected]] table for it")));
    }
    let set: BTreeSet<_> = columns.iter().collect();
    if earlier.iter().any(|other| other.columns.iter().collect::<BTreeSet<_>>() == set) {
        return Err(fault(&path, "these columns are an intersection already; remove one of the two tables".into()));
    }
    Ok(())
}

fn check_filter<'a>(filter: &'a Filter, [table, index]: [Step<'a>; 2]) -> Outcome<'a> {
    let at = |key| [table, index, Step::Key(key)];
    named(&filter.column, &at("column"))?;
    for (key, bound) in [("min", filter.min), ("max", filter.max)] {
        if bound.is_some_and(f64::is_nan) {
            return Err(fault(&at(key), "found nan, expected a number".into()));
        }
    }
    if let (Some(min), Some(max)) = (filter.min, filter.max)
        && min > max
    {
        return Err(fault(&at("max"), format!("found max {max}, expected at least min {min}")));
    }
    if filter.min.is_none() && filter.max.is_none() && filter.keep.is_empty() && filter.drop.is_empty() {
        return Err(fault(&[table, index], "a filter needs at least one of min, max, keep and drop".into()));
    }
    disjoint(&filter.drop, &filter.keep, "keep", &at("drop"))
}

fn check_features<'a>(features: &'a Features, target: &Target, protected: &[Protected]) -> Outcome<'a> {
    let at = |key| [Step::Key("features"), Step::Key(key)];
    let lists = [
        ("drop", &features.drop),
        ("only", &features.only),
        ("categorical", &features.categorical),
        ("log1p", &features.log1p),
        ("immutable", &features.immutable),
        ("increase_only", &features.increase_only),
        ("decrease_only", &features.decrease_only),
    ];
    for (key, names) in lists {
        distinct(names, &at(key))?;
        if key == "drop" {
            continue;
        }
        disjoint(names, &features.drop, "drop", &at(key))?;
        if names.contains(&target.column) {
            return Err(fault(
                &at(key),
                format!("column {:?} is the target, so it cannot be a feature", target.column),
            ));
        }
    }
    let of = |as_feature| protected.iter().filter(move |p| p.as_feature == as_feature).flat_map(Protected::columns);
    if let Some(hidden) = of(false).find(|column| features.only.contains(column)) {
        return Err(fault(
            &at("only"),
            format!(
                "column {hidden:?} is protected; set as_feature = true in its [[protected]] table to let the model see it"
            ),
        ));
    }
    for column in features.monotone.keys() {
        let path = column_of(features, target, "monotone", column, true)?;
        if features.drop.contains(column) || !(features.only.is_empty() || features.only.contains(column)) {
            let key = if features.only.is_empty() { "drop lists it" } else { "only does not list it" };
            return Err(fault(
                &path,
                format!("column {column:?} is not a feature: features.{key}; remove one of the two entries"),
            ));
        }
        if of(false).any(|hidden| hidden == column) {
            return Err(fault(
                &path,
                format!(
                    "column {column:?} is protected and not a feature; set as_feature = true in its [[protected]] table, or remove it here"
                ),
            ));
        }
    }
    if let Some(seen) = of(true).find(|column| features.drop.contains(column)) {
        return Err(fault(&at("drop"), format!("column {seen:?} is protected with as_feature = true")));
    }
    disjoint(&features.log1p, &features.categorical, "categorical", &at("log1p"))?;
    if !(1..=MAX_LEVELS).contains(&features.max_levels) {
        return Err(fault(
            &at("max_levels"),
            format!("found {}, expected a number from 1 to {MAX_LEVELS}", features.max_levels),
        ));
    }
    check_recourse(features, target)
}

/// Checks the limits on what recourse may propose.
#[allow(clippy::cast_possible_truncation)] // the engine's precision
fn check_recourse<'a>(features: &'a Features, target: &Target) -> Outcome<'a> {
    let Features { categorical, immutable, increase_only, decrease_only, ranges, steps, costs, .. } = features;
    for (key, names) in [("increase_only", increase_only), ("decrease_only", decrease_only)] {
        let path = [Step::Key("features"), Step::Key(key)];
        disjoint(names, immutable, "immutable", &path)?;
        disjoint(names, categorical, "categorical", &path)?;
    }
    disjoint(decrease_only, increase_only, "increase_only", &[Step::Key("features"), Step::Key("decrease_only")])?;
    let column_of = |key, column, needs_number| column_of(features, target, key, column, needs_number);
    for (column, [low, high]) in ranges {
        let path = column_of("ranges", column, true)?;
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return Err(fault(&path, format!("found [{low}, {high}], expected [lowest, highest]")));
        }
    }
    for (column, step) in steps {
        let path = column_of("steps", column, true)?;
        let rule = Rule { step: *step as f32, ..Rule::FREE };
        if rule.step == 0.0 || Rules::new([rule]).is_err() {
            return Err(fault(&path, format!("found {step}, expected a number above 0, such as 1 for whole numbers")));
        }
    }
    for (column, cost) in costs {
        let path = column_of("costs", column, false)?;
        if Rules::new([Rule { cost: *cost as f32, ..Rule::FREE }]).is_err() {
            let (least, most) = (Rule::LEAST_COST, Rule::MOST_COST);
            return Err(fault(&path, format!("found {cost}, expected a number from {least} to {most}")));
        }
    }
    Ok(())
}

/// Checks a column that a table under `features` names. Returns the path to it.
fn column_of<'a>(
    features: &Features,
    target: &Target,
    key: &'static str,
    column: &'a String,
    needs_number: bool,
) -> Result<[Step<'a>; 3], Fault<'a>> {
    let path = [Step::Key("features"), Step::Key(key), Step::Key(column)];
    if *column == target.column {
        return Err(fault(&path, format!("column {column:?} is the target, so it cannot be a feature")));
    }
    if needs_number && features.categorical.contains(column) {
        return Err(fault(&path, format!("column {column:?} is categorical, but features.{key} needs a number")));
    }
    Ok(path)
}

fn named<'a>(column: &str, path: &[Step<'a>]) -> Outcome<'a> {
    if column.is_empty() {
        return Err(fault(path, "fill in the name of the column".into()));
    }
    Ok(())
}

fn distinct<'a>(names: &[String], path: &[Step<'a>]) -> Outcome<'a> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => Err(fault(path, format!("{twice:?} is listed twice"))),
        None => Ok(()),
    }
}

fn disjoint<'a>(names: &[String], others: &[String], other_key: &str, path: &[Step<'a>]) -> Outcome<'a> {
    let both: Vec<&String> = names.iter().filter(|name| others.contains(name)).collect();
    if both.is_empty() {
        return Ok(());
    }
    Err(fault(path, format!("{} is also listed under {other_key}, expected only one of the two", list(&both))))
}

/// Returns the byte offset of the value at `path`, or of the nearest enclosing table that is in the
/// text.
pub(super) fn locate(text: &str, path: &[Step]) -> usize {
    let Ok(root) = DeTable::parse(text) else { return 0 };
    let mut offset = 0;
    let mut value: Option<&Spanned<DeValue>> = None;
    for step in path {
        let next = match (step, value.map(Spanned::get_ref)) {
            (Step::Key(key), None) => root.get_ref().get(*key),
            (Step::Key(key), Some(DeValue::Table(table))) => table.get(*key),
            (Step::Index(index), Some(DeValue::Array(array))) => array.get(*index),
            _ => None,
        };
        let Some(next) = next else { break };
        offset = next.span().start;
        value = Some(next);
    }
    offset
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEAD: &str = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n";

    const SEX_AND_ONE: &str =
        "[[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\n\n[[intersection]]\ncolumns = [\"sex\", \"race\"]";
    const SEX_TWICE: &str =
        "[[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\n\n[[intersection]]\ncolumns = [\"sex\", \"sex\"]";
    const THE_SAME_PAIR: &str = "[[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\n\
        [[protected]]\ncolumn = \"race\"\nprivileged = [\"w\"]\n\
        [[intersection]]\ncolumns = [\"sex\", \"race\"]\n\n[[intersection]]\ncolumns = [\"race\", \"sex\"]";

    /// Text after a minimal head, the expected position, and a part of the message.
    const FAULTS: [(&str, &str, &str); 53] = [
        ("negative = [\"0\", \"1\"]", "4:12", "\"1\" is also listed under positive"),
        ("negative = [\"0\", \"0\"]", "4:12", "\"0\" is listed twice"),
        ("[table]\nheader = false", "5:10", "needs the column names"),
        ("[table]\ncolumns = [\"a\"]", "5:11", "set header = false"),
        ("[table]\nheader = false\ncolumns = [\"a\", \"a\"]", "6:11", "\"a\" is listed twice"),
        ("[table]\ndelimiter = \"\\\"\"", "5:13", "expected one ASCII character"),
        ("[table]\ndelimiter = \"é\"", "5:13", "expected one ASCII character"),
        ("[table]\ncomment = \",\"", "5:11", "other than the delimiter"),
        ("[[protected]]\ncolumn = \"y\"\nprivileged = [\"a\"]", "5:10", "is the target"),
        ("[[protected]]\ncolumn = \"s\"\nprivileged = []", "6:14", "at least one value"),
        ("[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\ncuts = [3, 2]", "7:8", "expected ascending numbers"),
        (
            "[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\ncuts = [3]",
            "6:14",
            "found \"a\", expected some of \"below 3\", \"3 and more\"",
        ),
        (
            "[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\ncuts = [3]\ndummies = [\"a\", \"b\"]",
            "7:8",
            "one of the two",
        ),
        ("[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\ndummies = [\"a\"]", "7:11", "found one column"),
        ("[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\ndummies = [\"a\", \"y\"]", "5:10", "is the target"),
        ("[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\nunprivileged = []", "7:16", "found 0 values"),
        (
            "[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\nunprivileged = [\"a\"]",
            "7:16",
            "also listed under privileged",
        ),
        (
            "[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]\n[[protected]]\ncolumn = \"s\"\nprivileged = [\"b\"]",
            "8:10",
            "protected twice",
        ),
        ("[table]\ndecimal = \"5\"", "5:11", "expected a mark such as a comma"),
        ("[table]\nthousands = \".\"", "5:13", "other than the decimal mark"),
        ("[table.missing_in]\nage = [\"-1\", \"-1\"]", "5:7", "\"-1\" is listed twice"),
        ("[table.dates.d]\nformat = \"%Q\"\nparts = [\"days\"]", "5:10", "expected the notation of strftime"),
        ("[table.dates.d]\nformat = \"%Y\"\nparts = []", "6:9", "one or more of days"),
        ("[table.dates.d]\nformat = \"%Y\"\nsince = \"1.1.2020\"\nparts = [\"days\"]", "6:9", "expected a day"),
        ("[[intersection]]\ncolumns = []", "5:11", "found 0 columns, expected two or more"),
        (SEX_AND_ONE, "9:11", "column \"race\" is not protected"),
        (SEX_TWICE, "9:11", "\"sex\" is listed twice"),
        (THE_SAME_PAIR, "14:11", "an intersection already"),
        ("[[filter]]\ncolumn = \"f\"\nmin = 3\nmax = 2", "7:7", "found max 2, expected at least min 3"),
        ("[[filter]]\ncolumn = \"f\"", "4:1", "at least one of min"),
        ("[features]\nonly = [\"a\"]\ndrop = [\"a\"]", "5:8", "listed under drop"),
        ("[features]\nlog1p = [\"a\"]\ncategorical = [\"a\"]", "5:9", "listed under categorical"),
        ("[features]\nlog1p = [\"y\"]", "5:9", "is the target"),
        ("[features]\nmax_levels = 0", "5:14", "expected a number from 1 to"),
        ("[features]\nranges = { a = [2, 1] }", "5:16", "expected [lowest, highest]"),
        ("[features]\nranges = { y = [1, 2] }", "5:16", "is the target"),
        ("[features]\ncategorical = [\"a\"]\nranges = { a = [1, 2] }", "6:16", "features.ranges needs a number"),
        ("[features]\ncategorical = [\"a\"]\nsteps = { a = 1 }", "6:15", "features.steps needs a number"),
        ("[features]\nsteps = { a = 0 }", "5:15", "found 0, expected a number above 0"),
        ("[features]\nsteps = { a = -1 }", "5:15", "found -1, expected a number above 0"),
        ("[features]\ncosts = { a = 0 }", "5:15", "found 0, expected a number from 0.001 to 1000"),
        ("[features]\ncosts = { a = nan }", "5:15", "found NaN, expected a number from 0.001 to 1000"),
        ("[features]\nmonotone = { a = \"rising\" }", "5:18", "unknown variant `rising`, expected `up` or `down`"),
        ("[features]\nmonotone = { y = \"up\" }", "5:18", "is the target"),
        ("[features]\ncategorical = [\"a\"]\nmonotone = { a = \"up\" }", "6:18", "features.monotone needs a number"),
        ("[features]\ndrop = [\"a\"]\nmonotone = { a = \"up\" }", "6:18", "is not a feature: features.drop lists it"),
        ("[features]\nonly = [\"b\"]\nmonotone = { a = \"up\" }", "6:18", "features.only does not list it"),
        (
            "[features]\nmonotone = { s = \"up\" }\n[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]",
            "5:18",
            "is protected and not a feature; set as_feature = true",
        ),
        ("[features]\nincrease_only = [\"a\", \"a\"]", "5:17", "listed twice"),
        ("[features]\nimmutable = [\"a\"]\nincrease_only = [\"a\"]", "6:17", "listed under immutable"),
        ("[features]\ncategorical = [\"a\"]\ndecrease_only = [\"a\"]", "6:17", "listed under categorical"),
        ("[features]\nincrease_only = [\"a\"]\ndecrease_only = [\"a\"]", "6:17", "listed under increase_only"),
        (
            "[features]\nonly = [\"s\"]\n[[protected]]\ncolumn = \"s\"\nprivileged = [\"a\"]",
            "5:8",
            "set as_feature = true",
        ),
    ];

    #[test]
    fn every_contradiction_is_found_where_it_stands() {
        for (tail, position, part) in FAULTS {
            let text = format!("{HEAD}{tail}\n");
            let message = Schema::from_toml("s.toml", &text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("s.toml:{position}: ")), "{text}\n{message}");
            assert!(message.contains(part), "{text}\n{message}");
        }
    }

    #[test]
    fn an_empty_target_asks_to_be_filled_in() {
        let text = "[target]\ncolumn = \"\"\npositive = []\n";
        let message = Schema::from_toml("s.toml", text).unwrap_err().to_string();
        assert_eq!(message, "s.toml:2:10: fill in the name of the column");
        let message = Schema::from_toml("s.toml", &text.replace("\"\"", "\"y\"")).unwrap_err().to_string();
        assert!(message.starts_with("s.toml:3:12: list at least one value"), "{message}");
    }
}
