//! Infers a schema from the first records of a file: a starting point to read and correct, with the
//! evidence for every guess in a comment beside it.

mod column;
mod guess;
mod head;

use std::fmt::Write;

use crate::error::Error;
use crate::rows::Input;
use crate::schema::Table;
use column::Column;
use guess::{Guesses, Protection, Role};
use head::Head;

/// Most values that a comment lists.
const MOST_LISTED: usize = 8;

/// Returns the text of a schema for `input`, from its first records.
///
/// The text parses as TOML and is a valid schema if a target was found; if not, `target.column` and
/// `target.positive` are there but empty, for the user to fill in.
///
/// # Errors
///
/// Those of reading the file; [`Error::NoUsableRows`] if it has a header only.
pub fn infer(input: &Input) -> Result<String, Error> {
    Ok(write(&Head::read(input)?))
}

/// Returns the text of a schema for data that are in memory; `file` stands for them in comments and
/// messages.
///
/// # Errors
///
/// As [`infer()`].
pub fn infer_text(file: &str, text: &[u8]) -> Result<String, Error> {
    Ok(write(&Head::of(file.into(), text.to_vec())?))
}

/// Collects lines; a macro-free `writeln!` to a `String`, which cannot fail.
struct Lines(String);

impl Lines {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }
}

fn write(head: &Head) -> String {
    let guesses = guess::guess(head);
    let mut out = Lines(String::new());
    let extent = if head.partial { "the first" } else { "all" };
    out.line(format_args!(
        "# Inferred by `feamoe schema` from {extent} {} records of {}.",
        head.records,
        plain(&head.file)
    ));
    out.line(format_args!("# Every guess has its evidence beside it. Read it through and correct it before training."));
    write_columns(&mut out, head, &guesses);
    write_table(&mut out, head, &guesses);
    write_target(&mut out, head, &guesses);
    write_protected(&mut out, head, &guesses);
    write_features(&mut out, head, &guesses);
    out.0
}

fn write_columns(out: &mut Lines, head: &Head, guesses: &Guesses) {
    out.line(format_args!("#\n# The columns:"));
    for (column, role) in head.columns.iter().zip(&guesses.roles) {
        out.line(format_args!("#   {}: {}; {}", plain(&column.name), describe(column), role.text()));
    }
}

/// Kind, missing share and values of a column.
fn describe(column: &Column) -> String {
    let mut text = String::new();
    if column.is_number() {
        let (low, high) = column.extent();
        let whole = if column.is_whole() { "whole numbers" } else { "numbers" };
        let _ = write!(text, "{whole} {low} to {high}, mean {:.4}", column.mean());
    } else if column.is_unreadable {
        return "of a type that cannot be read".into();
    } else if column.present() == 0 {
        return "no value in these records".into();
    } else if column.is_date() {
        text.push_str("dates");
    } else {
        text.push_str("text");
    }
    match column.distinct() {
        Some(1) => text.push_str(", 1 value"),
        Some(count) => {
            let _ = write!(text, ", {count} values");
        }
        None => text.push_str(", a great many values"),
    }
    if column.missing > 0 {
        let _ = write!(text, ", {} missing", percent(column.missing, column.codes.len()));
    }
    if !column.is_number() && !column.is_date() && !column.is_unique() {
        let _ = write!(text, " ({})", counted(column));
    }
    text
}

fn write_table(out: &mut Lines, head: &Head, guesses: &Guesses) {
    let Table { header, columns, delimiter, comment, .. } = &head.table;
    out.line(format_args!("\n[table]"));
    if let Some(evidence) = &head.evidence {
        out.line(format_args!("header = {header} # {}", evidence.header));
        if !header {
            out.line(format_args!("# The file has no names: give the columns better ones, here and below."));
            out.line(format_args!("columns = {}", array(columns)));
        }
        out.line(format_args!("delimiter = {} # {}", quoted(&delimiter.to_string()), evidence.delimiter));
    } else {
        out.line(format_args!("# The file itself says which columns it has. Text in them:"));
    }
    out.line(format_args!("trim = true"));
    if guesses.missing.is_empty() {
        out.line(format_args!("missing = {}", array(&head.table.missing)));
    } else {
        let words: Vec<String> =
            guesses.missing.iter().map(|(word, column)| format!("{word:?} in {}", plain(column))).collect();
        out.line(format_args!("# Words among numbers that seem to mean no value: {}.", words.join(", ")));
        let mut missing = head.table.missing.clone();
        for (word, _) in guesses.missing.iter().filter(|(word, _)| !head.table.missing.contains(word)) {
            if !missing.contains(word) {
                missing.push(word.clone());
            }
        }
        out.line(format_args!("missing = {}", array(&missing)));
    }
    let evidence = head.evidence.as_ref().and_then(|evidence| evidence.comment.as_ref());
    if let (Some(mark), Some(evidence)) = (comment, evidence) {
        out.line(format_args!("comment = {} # {evidence}", quoted(&mark.to_string())));
    }
}

fn write_target(out: &mut Lines, head: &Head, guesses: &Guesses) {
    out.line(format_args!("\n[target]"));
    let Some(target) = &guesses.target else {
        out.line(format_args!(
            "# Which column is to be predicted is not clear: fill in its name, and below the values of the"
        ));
        out.line(format_args!("# favourable outcome. Candidates, columns of a few values:"));
        for index in &guesses.target_candidates {
            let column = &head.columns[*index];
            out.line(format_args!("#   {}: {}", plain(&column.name), counted(column)));
        }
        if guesses.target_candidates.is_empty() {
            out.line(format_args!("#   none"));
        }
        out.line(format_args!("column = \"\"\npositive = []\nnegative = []"));
        return;
    };
    let column = &head.columns[target.column];
    out.line(format_args!("# {}; its values: {}.", target.evidence, counted(column)));
    out.line(format_args!("column = {}", quoted(&column.name)));
    out.line(format_args!(
        "# The favourable outcome: {}. Swap the two lists if it is the other one.",
        target.positive_evidence
    ));
    out.line(format_args!("positive = {}", array(&[&target.positive])));
    out.line(format_args!("negative = {}", array(&target.negative)));
}

fn write_protected(out: &mut Lines, head: &Head, guesses: &Guesses) {
    if guesses.protected.is_empty() {
        out.line(format_args!("\n# No column has the name of a usual protected attribute. To protect one:"));
        out.line(format_args!("# [[protected]]\n# column = \"\"\n# privileged = [\"\"]"));
    }
    for Protection { column, evidence, privileged, unprivileged, rates, suggested } in &guesses.protected {
        // What is only a suggestion is a comment.
        let mark = if *suggested { "# " } else { "" };
        let column = &head.columns[*column];
        out.line(format_args!("\n# {evidence}: {rates}."));
        out.line(format_args!("{mark}[[protected]]"));
        out.line(format_args!("{mark}column = {}", quoted(&column.name)));
        out.line(format_args!("{mark}privileged = {}", array(&[privileged])));
        if !unprivileged.is_empty() {
            let groups = array(unprivileged);
            out.line(format_args!("{mark}unprivileged = {groups} # the others with 1 % of the records or more"));
        }
        out.line(format_args!(
            "{mark}as_feature = false # the model does not see it, and it is not needed for scoring"
        ));
    }
    for (column, hint) in &guesses.hints {
        out.line(format_args!("\n# {}: {hint}.", plain(&head.columns[*column].name)));
    }
}

fn write_features(out: &mut Lines, head: &Head, guesses: &Guesses) {
    let names = |wanted: fn(&Role) -> bool| -> Vec<(&Column, &Role)> {
        head.columns.iter().zip(&guesses.roles).filter(|(_, role)| wanted(role)).collect()
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
    let fixed: Vec<&str> = guesses.immutable.iter().map(|index| head.columns[*index].name.as_str()).collect();
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

/// The most frequent values with their shares.
fn counted(column: &Column) -> String {
    let values = column.by_frequency();
    let shown = values.iter().take(MOST_LISTED);
    let mut text = shown
        .map(|(value, count)| format!("{} {}", plain(value), percent(*count, column.codes.len())))
        .collect::<Vec<_>>()
        .join(", ");
    if values.len() > MOST_LISTED {
        text.push_str(", ...");
    }
    text
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// A name or value in a comment: on one line, whatever it holds.
fn plain(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

/// A TOML string on one line.
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

#[cfg(test)]
mod tests;
