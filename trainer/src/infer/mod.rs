//! Infers a schema from a file: a starting point to read and correct. A comment beside every guess
//! gives the evidence. The user must fill in what cannot be inferred.

mod column;
mod guess;
mod layout;
mod names;
mod survey;
mod write;

use std::fmt::Write as _;
use std::io::Read as _;

use crate::error::Error;
use crate::rows::Input;
use crate::rows::csv::text::text_of;
use column::{Column, Kind};
use guess::{Guesses, Role};
use survey::{Survey, in_memory};

/// Maximum number of values that a comment lists.
const MOST_LISTED: usize = 8;

/// Options: limits, and facts that the user knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Maximum number of records read, for files that take too long to read in full.
    pub rows: u64,
    /// The column to predict.
    pub target: Option<String>,
    /// The value that is the favourable outcome. All other values are the other outcome.
    pub positive: Option<String>,
    /// Columns to protect. Other columns with the name of a protected attribute are then only
    /// proposed.
    pub protected: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rows: u64::MAX, target: None, positive: None, protected: Vec::new() }
    }
}

/// A schema, with notes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inferred {
    /// The TOML text. It is a valid schema if `open` is `None`.
    pub text: String,
    /// The decisions made, and what the user should check.
    pub summary: Vec<String>,
    /// A decision left to the user.
    pub open: Option<Open>,
}

/// A decision left to the user, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// The target column.
    Target(String),
    /// The favourable value of the target.
    Outcome(String),
}

/// Infers a schema for `input` from counts over all records and a uniform sample, in one pass and
/// in constant memory.
///
/// # Errors
/// Those of reading the file; [`Error::Title`] for lines before the column names;
/// [`Error::NoUsableRows`] if it has only a header; [`Error::Input`] for a column or value in the
/// options that the file does not have.
pub fn infer(input: &Input, options: &Options) -> Result<Inferred, Error> {
    of_survey(&Survey::read(input, options.rows)?, options)
}

/// Infers a schema for data in memory. `file` stands for them in comments and messages.
///
/// # Errors
/// The same as [`infer()`].
pub fn infer_text(file: &str, text: &[u8], options: &Options) -> Result<Inferred, Error> {
    let mut plain = Vec::new();
    let mut reader = text_of(Box::new(in_memory(text)), file)?;
    reader.read_to_end(&mut plain).map_err(|error| crate::rows::csv::text::read_error(error, file, 1))?;
    of_survey(&Survey::of_text(file, in_memory(&plain), options.rows)?, options)
}

fn of_survey(survey: &Survey, options: &Options) -> Result<Inferred, Error> {
    let guesses =
        guess::guess(survey, options).map_err(|message| Error::Input(format!("{}: {message}", survey.file)))?;
    let open = open(survey, &guesses);
    Ok(Inferred { text: write::write(survey, &guesses), summary: summary(survey, &guesses), open })
}

/// Returns the decision that the user must make, if any.
fn open(survey: &Survey, guesses: &Guesses) -> Option<Open> {
    let Some(target) = &guesses.target else {
        let mut candidates: Vec<String> = guesses
            .target_candidates
            .iter()
            .take(MOST_LISTED)
            .map(|index| format!("{} ({})", plain(&survey.columns[*index].name), counted(&survey.columns[*index])))
            .collect();
        if candidates.is_empty() {
            candidates.push("none: columns of two values that are no protected characteristic".into());
        }
        let message = format!("which column is the target is not clear; candidates: {}", candidates.join("; "));
        return Some(Open::Target(message));
    };
    let column = &survey.columns[target.column];
    target.positive.is_empty().then(|| {
        Open::Outcome(format!(
            "which value of the target {} is the favourable outcome is not clear; its values: {}",
            plain(&column.name),
            counted(column)
        ))
    })
}

/// Returns the decisions made, one per line.
fn summary(survey: &Survey, guesses: &Guesses) -> Vec<String> {
    let mut lines = Vec::new();
    let Survey { file, records, partial, columns, .. } = survey;
    let extent =
        if *partial { format!("the first {records} records; there are more") } else { format!("{records} records") };
    lines.push(format!("{file}: {extent}, {} columns", columns.len()));
    if let Some(target) = &guesses.target {
        let favourable = match target.positive.first() {
            Some(value) => format!(", favourable {} ({})", plain(value), target.positive_evidence),
            None => String::new(),
        };
        lines.push(format!("target: {}{favourable}", plain(&columns[target.column].name)));
    }
    for protection in guesses.protected.iter().filter(|protection| !protection.suggested) {
        let attribute = &protection.attribute;
        let others = attribute.unprivileged.as_ref().map_or_else(|| "every other group".into(), |all| join(all));
        lines.push(format!(
            "protected: {}, {others} against {}",
            plain(&attribute.column),
            join(&attribute.privileged)
        ));
    }
    let proposed: Vec<String> =
        guesses.protected.iter().filter(|p| p.suggested).map(|p| plain(&p.attribute.column)).collect();
    if !proposed.is_empty() {
        lines.push(format!("protected in some jurisdictions, comments in the schema: {}", proposed.join(", ")));
    }
    let count = |wanted: fn(&Role) -> bool| guesses.roles.iter().filter(|role| wanted(role)).count();
    lines.push(format!(
        "features, by kind: number {}, category {}",
        count(|role| matches!(role, Role::Number | Role::HeavyTail(_) | Role::FewValues(_))),
        count(|role| matches!(role, Role::Category | Role::Code(_)))
    ));
    for (column, role) in columns.iter().zip(&guesses.roles) {
        if let Role::Drop(why) = role {
            lines.push(format!("left out: {}: {why}", plain(&column.name)));
        }
    }
    lines.extend(warnings(survey, guesses).into_iter().map(|warning| format!("check: {warning}")));
    lines
}

/// Returns what the user should check before training, one item per line.
fn warnings(survey: &Survey, guesses: &Guesses) -> Vec<String> {
    let mut lines = survey.notes.clone();
    let is_feature = |role: &Role| !matches!(role, Role::Drop(_) | Role::Target | Role::Protected);
    if !guesses.roles.iter().any(is_feature) {
        lines.push("no column is left as a feature, so that nothing can be learned".into());
    }
    let reading = &guesses.reading;
    if let Some(layout) = &survey.layout {
        let renamed = layout.renamed.iter().map(|name| match name.is_empty() {
            true => "a column has no name: it is called column.N by its place".to_owned(),
            false => format!("several columns are called {name:?}: the later ones are {:?}, ...", format!("{name}.2")),
        });
        lines.extend(renamed);
        lines.extend(layout.doubt.clone());
        lines.extend(layout.marks.iter().map(|marks| format!("{marks}: table.decimal and table.thousands say so")));
    }
    if let [only] = &survey.columns[..] {
        lines.push(format!(
            "there is only one column, {}: is the delimiter none of , ; tab | and blank?",
            plain(&only.name)
        ));
    }
    if let Some(footer) = survey.footer() {
        lines.push(format!(
            "the last record begins with {footer:?}, like the end of a report: if it is, take the line out"
        ));
    }
    for column in &reading.na_is_a_value {
        lines.push(format!("NA is taken for a value of {}, one of many codes of two letters", plain(column)));
    }
    for (column, words) in &reading.missing_in {
        let words: Vec<String> = words.iter().map(|(word, count)| format!("{word:?} ({count})")).collect();
        lines.push(format!("{}: taken as missing: {}", plain(column), words.join(", ")));
    }
    for (column, cells) in &reading.odd {
        let all: u64 = cells.iter().map(|(_, count)| count).sum();
        let shown: Vec<String> =
            cells.iter().take(MOST_LISTED).map(|(text, count)| format!("{} ({count})", plain(text))).collect();
        lines.push(format!(
            "{}: {all} cells are not numbers: {}; correct them, or list them under table.missing_in, where they are a comment",
            plain(column),
            shown.join(", ")
        ));
    }
    for (column, role) in survey.columns.iter().zip(&guesses.roles) {
        if matches!(role, Role::Code(_)) && !column.is_number() && column.numbers() * 2 > column.present() {
            lines.push(format!(
                "{} becomes a category, though {} of its cells are numbers; the others: {}",
                plain(&column.name),
                percent(column.numbers(), column.present()),
                others(column)
            ));
        }
    }
    for (column, value, why) in &reading.sentinels {
        lines.push(format!("{}: {value} {why}: does it mean that the value is not known?", plain(column)));
    }
    lines
}

/// Describes a column: kind, missing share and values.
fn describe(column: &Column) -> String {
    let mut text = String::new();
    let kind = column.kind();
    match kind {
        _ if column.is_unreadable => return "of a type that cannot be read".into(),
        Kind::Empty => return "no value in these records".into(),
        Kind::Number => {
            let (low, high) = column.extent();
            let whole = if column.is_whole() { "whole numbers" } else { "numbers" };
            let _ = write!(text, "{whole} {low} to {high}, mean {:.4}", column.mean());
        }
        Kind::Dates(_) => text.push_str("dates"),
        Kind::Text => text.push_str("text"),
    }
    match column.distinct() {
        Some(1) => text.push_str(", 1 value"),
        Some(count) => {
            let _ = write!(text, ", {count} values");
        }
        None => text.push_str(", a great many values"),
    }
    let words: u64 = if kind == Kind::Text { 0 } else { column.words().map(|(_, count)| count).sum() };
    let missing = column.missing + usize::try_from(words).unwrap_or_default();
    if missing > 0 {
        let _ = write!(text, ", {} missing", percent(missing, column.records));
    }
    if kind == Kind::Text && !column.is_unique() {
        let _ = write!(text, " ({})", counted(column));
    }
    text
}

/// Lists the most frequent values with their shares.
fn counted(column: &Column) -> String {
    let values = column.by_frequency();
    let shown = values.iter().take(MOST_LISTED);
    let mut text = shown
        .map(|(value, count)| format!("{} {}", plain(value), percent(*count, column.records)))
        .collect::<Vec<_>>()
        .join(", ");
    if values.len() > MOST_LISTED {
        text.push_str(", ...");
    }
    text
}

/// Lists the first cells that are not numbers, with their counts.
fn others(column: &Column) -> String {
    let shown = column.others().take(MOST_LISTED).map(|(text, count)| format!("{} ({count})", plain(text)));
    shown.collect::<Vec<_>>().join(", ")
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Quotes a name or value for a comment: on one line, whatever it contains.
fn plain(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

fn join(values: &[String]) -> String {
    let shown: Vec<String> = values.iter().take(MOST_LISTED).map(|value| plain(value)).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests;
