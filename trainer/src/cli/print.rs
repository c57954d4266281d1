//! Tables and JSON on standard output, messages on standard error.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use feamoe::output::{OutputFile, WriteError};
use serde::Serialize;
use terminal_size::{Width, terminal_size};

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    to_standard_output(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}

/// Prints lines of text.
pub fn text(text: &str) -> anyhow::Result<()> {
    to_standard_output(|out| out.write_all(safe(text).as_bytes()))
}

/// Writes to standard output, through a buffer since its own ends at every line.
fn to_standard_output(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out).and_then(|()| out.flush()).map_err(WriteError::standard_output)?;
    Ok(())
}

/// Writes results to a file, or without one to standard output; a failure to write names the place.
pub fn write(output: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // What fails without a name of its own is the writing.
    let named = |error: anyhow::Error, name: &dyn Fn(io::Error) -> WriteError| match error.downcast::<io::Error>() {
        Ok(cause) => name(cause).into(),
        Err(other) => other,
    };
    match output {
        Some(path) => {
            let mut file = OutputFile::create(path)?;
            write(&mut file).map_err(|error| named(error, &|cause| WriteError::new(path, cause)))?;
            file.commit()?;
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            let written = write(&mut out).and_then(|()| Ok(out.flush()?));
            written.map_err(|error| named(error, &WriteError::standard_output))?;
        }
    }
    Ok(())
}

/// Quotes a field where CSV needs it (RFC 4180).
pub fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Prints a line on standard error; where nothing can be written there, the exit code still says
/// so.
pub fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{}", safe(text));
}

/// Prints the notes of a reader and the warnings on columns.
pub fn warnings(notes: &[String], warnings: &[String]) {
    for note in notes {
        message(&format!("note: {note}"));
    }
    for warning in warnings {
        message(&format!("warning: {warning}"));
    }
}

/// Escapes control characters and those that change the direction of text, except line ends and
/// tabs: names and cells must not control a terminal.
pub fn safe(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let is_unsafe = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c);
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe.into()
}

/// Returns the names of data columns, with a prefix where one equals the name of an own column.
pub fn names_apart(names: &[String], own: &[&str], prefix: &str) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let mut apart = name.clone();
        while own.contains(&apart.as_str()) || taken.contains(&apart) || (apart != *name && names.contains(&apart)) {
            apart.insert_str(0, prefix);
        }
        taken.push(apart);
    }
    taken
}

/// As [`safe`], on one line.
fn on_one_line(text: &str) -> String {
    safe(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// A table with aligned columns: the first to the left, the others to the right. On a terminal that
/// is too narrow for it, cells are wrapped between words: no number is ever split.
pub struct TextTable(Table);

/// Blanks between two columns.
const GAP: u16 = 2;

impl TextTable {
    /// Starts a table with its headings.
    pub fn new(headings: &[&str]) -> Self {
        let terminal = io::stdout().is_terminal().then(terminal_size).flatten();
        Self::within(headings, terminal.map(|(Width(width), _)| width))
    }

    /// As [`TextTable::new`], for a terminal of this many columns.
    fn within(headings: &[&str], width: Option<u16>) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).add_row(headings);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            let (gap, alignment) = if index == 0 { (0, CellAlignment::Left) } else { (GAP, CellAlignment::Right) };
            column.set_padding((gap, 0)).set_cell_alignment(alignment);
        }
        Self(table)
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| on_one_line(&cell)).collect::<Vec<_>>());
    }

    /// Returns the table's lines.
    pub fn render(&self) -> String {
        let mut table = self.0.clone();
        let words = |cell: &Cell| {
            let content = cell.content();
            content.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0)
        };
        let mut longest: Vec<usize> = vec![0; table.column_count()];
        for row in table.row_iter() {
            longest.iter_mut().zip(row.cell_iter()).for_each(|(longest, cell)| *longest = words(cell).max(*longest));
        }
        for ((index, column), longest) in table.column_iter_mut().enumerate().zip(longest) {
            let gap = if index == 0 { 0 } else { GAP };
            let least = u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(gap);
            column.set_constraint(ColumnConstraint::LowerBoundary(comfy_table::Width::Fixed(least)));
        }
        table.trim_fmt() + "\n"
    }
}

/// A number with a sign and four decimals; `-` for NaN.
pub fn signed(x: impl Into<f64>) -> String {
    let x = x.into();
    if x.is_nan() { "-".into() } else { format!("{x:+.4}") }
}

/// A bar from a line in the middle of `width` characters, to the right for a positive share of
/// `[-1, 1]`; in steps of half a character.
pub fn bar(share: f64, width: usize) -> String {
    let side = width.saturating_sub(1) / 2;
    let halves = (share.abs().clamp(0.0, 1.0) * (2 * side) as f64).round() as usize;
    let (full, half) = (halves / 2, halves % 2 == 1);
    let empty = " ".repeat(side - full - usize::from(half));
    if share < 0.0 {
        format!("{empty}{}{}│{}", if half { "▐" } else { "" }, "█".repeat(full), " ".repeat(side))
    } else {
        format!("{}│{}{}{empty}", " ".repeat(side), "█".repeat(full), if half { "▌" } else { "" })
    }
}

/// A share with four decimals; `-` for NaN.
pub fn share(x: impl Into<f64>) -> String {
    let x = x.into();
    if x.is_nan() { "-".into() } else { format!("{x:.4}") }
}

/// Returns a word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,+%@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{TextTable, bar};

    /// However narrow the terminal, every word of a cell stands in one line.
    #[test]
    fn no_number_is_split() {
        let headings = ["gap to the reference", "rows", "SPD", "95 %", "calibration error"];
        let cells = ["sex: Female - Male", "5421", "-0.0331", "-0.042 -0.023", "0.0752"];
        for width in [None, Some(200), Some(72), Some(40), Some(20), Some(1)] {
            let mut table = TextTable::within(&headings, width);
            table.row(cells.map(str::to_owned));
            let text = table.render();
            for word in headings.iter().chain(&cells).flat_map(|cell| cell.split_whitespace()) {
                assert!(text.split_whitespace().any(|found| found == word), "{width:?}: {word} in\n{text}");
            }
        }
        let mut wide = TextTable::within(&headings, Some(200));
        wide.row(cells.map(str::to_owned));
        assert_eq!(wide.render().lines().count(), 2);
        let mut narrow = TextTable::within(&headings, Some(50));
        narrow.row(cells.map(str::to_owned));
        assert!(narrow.render().lines().all(|line| line.chars().count() <= 50), "{}", narrow.render());
    }

    #[test]
    fn bars_have_one_width_and_grow_from_the_middle() {
        assert_eq!(bar(0.0, 9), "    │    ");
        assert_eq!(bar(1.0, 9), "    │████");
        assert_eq!(bar(-0.4, 9), "  ▐█│    ");
        assert_eq!(bar(0.6, 9), "    │██▌ ");
        assert_eq!(bar(-7.0, 8), "███│   ");
        assert_eq!(bar(f64::NAN, 3), " │ ");
    }
}
