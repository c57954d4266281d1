//! The text of an inferred schema.

use std::fmt::Write;

use super::column::{Column, DATE_FORMATS};
use super::guess::{Guesses, Protection, Role};
use super::survey::Survey;
use super::{counted, describe, plain};
use crate::schema::{Protected, Table};

/// Collects lines. Writing to a `String` cannot fail.
struct Lines(String);

impl Lines {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }
}

pub(super) fn write(survey: &Survey, guesses: &Guesses) -> String {
    let mut out = Lines(String::new());
    let extent = if survey.partial { "the first" } else { "all" };
    out.line(format_args!(
        "# Inferred by `feamoe schema` from {extent} {} records of {}.",
        survey.records,
        plain(&survey.file)
    ));
    out.line(format_args!("# Every guess has its evidence beside it. Read it through and correct it before training."));
    out.line(format_args!("#\n# The columns:"));
    for (column, role) in survey.columns.iter().zip(&guesses.roles) {
        out.line(format_args!("#   {}: {}; {}", plain(&column.name), describe(column), role.text()));
    }
    write_table(&mut out, survey, guesses);
    write_target(&mut out, survey, guesses);
    write_protected(&mut out, guesses);
    write_features(&mut out, survey, guesses);
    out.0
}

fn write_table(out: &mut Lines, survey: &Survey, guesses: &Guesses) {
    let Table { header, columns, delimiter, comment, decimal, thousands, .. } = &survey.table;
    let reading = &guesses.reading;
    out.line(format_args!("\n[table]"));
    if let Some(layout) = &survey.layout {
        out.line(format_args!("header = {header} # {}", layout.header));
        if !header {
            out.line(format_args!("# The file has no names: give the columns better ones, here and below."));
            out.line(format_args!("columns = {}", array(columns)));
        }
        out.line(format_args!("delimiter = {} # {}", quoted(&delimiter.to_string()), layout.delimiter));
        if let Some(marks) = &layout.marks {
            out.line(format_args!("decimal = {} # {marks}", quoted(&decimal.to_string())));
            if let Some(thousands) = thousands {
                out.line(format_args!("thousands = {}", quoted(&thousands.to_string())));
            }
        }
        if let (Some(mark), Some(evidence)) = (comment, &layout.comment) {
            out.line(format_args!("comment = {} # {evidence}", quoted(&mark.to_string())));
        }
    } else {
        out.line(format_args!("# The file itself says which columns it has. Text in them:"));
    }
    out.line(format_args!("trim = true"));
    for column in &reading.na_is_a_value {
        out.line(format_args!("# NA is a value of {}, one of many codes of two letters.", plain(column)));
    }
    out.line(format_args!("missing = {}", array(&reading.missing)));
    if !(reading.missing_in.is_empty() && reading.odd.is_empty() && reading.sentinels.is_empty()) {
        write_missing_in(out, guesses);
    }
    for (index, format) in &guesses.dates {
        let name = &survey.columns[*index].name;
        let doubt = if is_ambiguous(format) { "; check the order of day and month" } else { "" };
        out.line(format_args!("\n# Columns of numbers that can be made of these dates{doubt}."));
        out.line(format_args!("# [table.dates.{}]", quoted(name)));
        out.line(format_args!("# format = {}", quoted(format)));
        out.line(format_args!("# parts = [\"days\", \"month\", \"weekday\"] # days since 1970-01-01, or `since`"));
    }
}

/// Returns whether another format differs only in the order of day and month.
fn is_ambiguous(format: &str) -> bool {
    let swapped = format.replace("%m", "%x").replace("%d", "%m").replace("%x", "%d");
    swapped != format && DATE_FORMATS.contains(&swapped.as_str()) && !format.starts_with("%Y")
}

/// Writes the words that mean a missing value in one column, and possible ones as comments.
fn write_missing_in(out: &mut Lines, guesses: &Guesses) {
    let reading = &guesses.reading;
    out.line(format_args!("\n# Cells that mean that the value is not known, in one column."));
    out.line(format_args!("[table.missing_in]"));
    let mut names: Vec<&String> = reading.missing_in.keys().collect();
    names.extend(reading.odd.iter().map(|(name, _)| name).chain(reading.sentinels.iter().map(|(name, ..)| name)));
    names.sort_unstable();
    names.dedup();
    for name in names {
        let words: Vec<String> =
            reading.missing_in.get(name).into_iter().flatten().map(|(word, _)| word.clone()).collect();
        let mut proposed = words.clone();
        for (_, cells) in reading.odd.iter().filter(|(column, _)| column == name) {
            let all: u64 = cells.iter().map(|(_, count)| count).sum();
            out.line(format_args!(
                "# {all} cells of {} are no numbers, which is an error in training: correct them, or take them as missing",
                plain(name)
            ));
            for (text, count) in cells.iter().take(super::MOST_LISTED) {
                out.line(format_args!("#   {}: {count}", plain(text)));
            }
            proposed.extend(cells.iter().map(|(text, _)| text.clone()));
        }
        for (_, value, why) in reading.sentinels.iter().filter(|(column, ..)| column == name) {
            out.line(format_args!("# {value} of {}: {why}: take it as missing, if it means that", plain(name)));
            proposed.push(value.clone());
        }
        if proposed != words {
            out.line(format_args!("# {} = {}", quoted(name), array(&proposed)));
        }
        if !words.is_empty() {
            out.line(format_args!("{} = {}", quoted(name), array(&words)));
        }
    }
}

fn write_target(out: &mut Lines, survey: &Survey, guesses: &Guesses) {
    out.line(format_args!("\n[target]"));
    let Some(target) = &guesses.target else {
        out.line(format_args!(
            "# Which column is to be predicted is not clear: fill in its name, and below the values of the"
        ));
        out.line(format_args!("# favourable outcome. Candidates, columns of a few values:"));
        for index in &guesses.target_candidates {
            let column = &survey.columns[*index];
            out.line(format_args!("#   {}: {}", plain(&column.name), counted(column)));
        }
        if guesses.target_candidates.is_empty() {
            out.line(format_args!("#   none"));
        }
        out.line(format_args!("column = \"\"\npositive = []\nnegative = []"));
        return;
    };
    let column = &survey.columns[target.column];
    out.line(format_args!("# {}; its values: {}.", target.evidence, counted(column)));
    out.line(format_args!("column = {}", quoted(&column.name)));
    if target.positive.is_empty() {
        out.line(format_args!(
            "# Which of the values is the favourable outcome is not clear: list it, and the others below."
        ));
    } else {
        out.line(format_args!(
            "# The favourable outcome: {}. Swap the two lists if it is the other one.",
            target.positive_evidence
        ));
    }
    out.line(format_args!("positive = {}", array(&target.positive)));
    out.line(format_args!("negative = {}", array(&target.negative)));
}

fn write_protected(out: &mut Lines, guesses: &Guesses) {
    if guesses.protected.is_empty() {
        out.line(format_args!("\n# No column has the name of a usual protected attribute. To protect one:"));
        out.line(format_args!("# [[protected]]\n# column = \"\"\n# privileged = [\"\"]"));
    }
    for Protection { attribute, evidence, rates, suggested, .. } in &guesses.protected {
        // A mere suggestion is written as a comment.
        let mark = if *suggested { "# " } else { "" };
        let Protected { column, privileged, unprivileged, cuts, dummies, .. } = attribute;
        out.line(format_args!("\n# {evidence}: {rates}."));
        out.line(format_args!("{mark}[[protected]]"));
        out.line(format_args!("{mark}column = {}", quoted(column)));
        if !dummies.is_empty() {
            out.line(format_args!("{mark}dummies = {} # columns of 0 and 1, at most one of them 1", array(dummies)));
        }
        if !cuts.is_empty() {
            let cuts: Vec<String> = cuts.iter().map(f64::to_string).collect();
            let names = attribute.cut_names().join(", ");
            out.line(format_args!("{mark}cuts = [{}] # the groups: {names}", cuts.join(", ")));
        }
        out.line(format_args!("{mark}privileged = {}", array(privileged)));
        if let Some(unprivileged) = unprivileged {
            out.line(format_args!(
                "{mark}unprivileged = {} # the others with 1 % of the records or more",
                array(unprivileged)
            ));
        }
        out.line(format_args!(
            "{mark}as_feature = false # the model does not see it, and it is not needed for scoring"
        ));
    }
}

fn write_features(out: &mut Lines, survey: &Survey, guesses: &Guesses) {
    let names = |wanted: fn(&Role) -> bool| -> Vec<(&Column, &Role)> {
        survey.columns.iter().zip(&guesses.roles).filter(|(_, role)| wanted(role)).collect()
    };
    out.line(format_args!("\n[features]"));
    let list = |out: &mut Lines, key: &str, columns: &[(&Column, &Role)]| {
        if columns.is_empty() {
            out.line(format_args!("{key} = []"));
            return;
        }
        out.line(format_args!("{key} = ["));
        for (column, role) in columns {
            out.line(format_args!("    {}, # {}", quoted(&column.name), role.evidence()));
        }
        out.line(format_args!("]"));
    };
    list(out, "drop", &names(|role| matches!(role, Role::Drop(_))));
    list(out, "categorical", &names(|role| matches!(role, Role::Code(_))));
    let few = names(|role| matches!(role, Role::FewValues(_)));
    if !few.is_empty() {
        out.line(format_args!(
            "# Whole numbers with few values: add those that are codes rather than amounts to `categorical`."
        ));
        for (column, role) in few {
            out.line(format_args!("#   {}: {}", quoted(&column.name), role.evidence()));
        }
    }
    list(out, "log1p", &names(|role| matches!(role, Role::HeavyTail(_))));
    let many = |column: &Column| column.distinct().is_none_or(|count| count > 64) && !column.is_number();
    for (column, _) in names(|role| matches!(role, Role::Category)).iter().filter(|(column, _)| many(column)) {
        out.line(format_args!(
            "# {} has more levels than this; the rarer ones share one row of weights.",
            plain(&column.name)
        ));
    }
    out.line(format_args!("max_levels = 64"));
    let fixed: Vec<&str> = guesses.immutable.iter().map(|index| survey.columns[*index].name.as_str()).collect();
    out.line(format_args!("immutable = {} # what recourse must not propose to change", array(&fixed)));
    let amounts = names(|role| matches!(role, Role::Number | Role::HeavyTail(_) | Role::FewValues(_)));
    let whole = amounts.iter().filter(|(column, _)| column.is_whole() && !fixed.contains(&column.name.as_str()));
    for (index, (column, _)) in whole.enumerate() {
        if index == 0 {
            out.line(format_args!(
                "\n[features.steps] # all whole numbers: what recourse proposes is a multiple of the step"
            ));
        }
        out.line(format_args!("{} = 1", quoted(&column.name)));
    }
}

/// Returns a TOML string on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn array<S: AsRef<str>>(values: &[S]) -> String {
    format!("[{}]", values.iter().map(|value| quoted(value.as_ref())).collect::<Vec<_>>().join(", "))
}
