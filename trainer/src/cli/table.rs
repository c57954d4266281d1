//! Text tables, at most as wide as the terminal.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use terminal_size::terminal_size;

use super::print::on_one_line;

/// A table with aligned columns: the first to the left, the others to the right. If the terminal is
/// too narrow, cells are wrapped between words, and columns that do not fit are printed in a
/// further block below, with the first column repeated. Numbers are never split; names are split
/// only if they are longer than half a line.
pub struct TextTable {
    rows: Vec<Vec<String>>,
    /// Width of the terminal, in columns.
    width: Option<u16>,
}

/// Length of the longest word that is never split, including the blanks before it.
const LONGEST_NUMBER: u16 = 20;
/// Number of blanks between two columns.
const GAP: u16 = 2;

/// Whether results go into a file, even if standard output is a terminal.
static IS_FOR_A_FILE: AtomicBool = AtomicBool::new(false);

/// Runs `act`, whose results go into a file, without limiting the width of lines.
pub fn fitting_no_terminal<T>(act: impl FnOnce() -> T) -> T {
    IS_FOR_A_FILE.store(true, Ordering::SeqCst);
    let result = act();
    IS_FOR_A_FILE.store(false, Ordering::SeqCst);
    result
}

/// Returns the width of the terminal that results are printed on, or `None` if they are not printed
/// on one.
pub fn terminal_width() -> Option<u16> {
    if IS_FOR_A_FILE.load(Ordering::SeqCst) {
        return None;
    }
    io::stdout().is_terminal().then(terminal_size).flatten().map(|(terminal_size::Width(width), _)| width)
}

impl TextTable {
    /// Starts a table with its headings.
    pub fn new(headings: &[&str]) -> Self {
        Self::within(headings, terminal_width())
    }

    /// Like [`TextTable::new`], for a terminal of the given width.
    fn within(headings: &[&str], width: Option<u16>) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()], width }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| on_one_line(&cell)).collect());
    }

    /// Returns the table's lines.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let least = |most: u16| -> Vec<u16> {
            (0..columns).map(|column| (self.longest(column, longest_word) + gap(column)).min(most)).collect()
        };
        let Some(width) = self.width else { return self.block(&(0..columns).collect::<Vec<_>>(), &least(u16::MAX)) };
        let least = least((width / 2).max(LONGEST_NUMBER));
        // The first column gets up to a third of the line.
        let first = least.first().copied().unwrap_or(0).max(self.longest(0, length).min(width / 3));
        let (mut blocks, mut used) = (vec![vec![0]], first);
        for (column, least) in least.iter().enumerate().skip(1) {
            match blocks.last_mut() {
                Some(block) if block.len() == 1 || used + least <= width => block.push(column),
                _ => {
                    blocks.push(vec![0, column]);
                    used = first;
                }
            }
            used += least;
        }
        blocks.iter().map(|block| self.block(block, &least)).collect::<Vec<_>>().join("\n")
    }

    /// Returns the largest value of `of` over the cells of a column.
    fn longest(&self, column: usize, of: fn(&str) -> usize) -> u16 {
        let longest = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| of(cell)).max().unwrap_or(0);
        u16::try_from(longest).unwrap_or(u16::MAX / 4)
    }

    /// Renders some of the columns; `least` holds the smallest width of each.
    fn block(&self, columns: &[usize], least: &[u16]) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        if let Some(width) = self.width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for row in &self.rows {
            table.add_row(columns.iter().map(|column| row.get(*column).map_or("", String::as_str)));
        }
        for (column, index) in table.column_iter_mut().zip(columns) {
            let alignment = if *index == 0 { CellAlignment::Left } else { CellAlignment::Right };
            column.set_padding((gap(*index), 0)).set_cell_alignment(alignment);
            let least = least.get(*index).copied().unwrap_or(0);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        }
        table.trim_fmt() + "\n"
    }
}

fn gap(column: usize) -> u16 {
    if column == 0 { 0 } else { GAP }
}

fn length(cell: &str) -> usize {
    cell.chars().count()
}

fn longest_word(cell: &str) -> usize {
    cell.split_whitespace().map(length).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::TextTable;

    /// However narrow the terminal, no word of a cell is split.
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

    /// A name without blanks that is longer than a line is split.
    #[test]
    fn a_long_name_makes_no_line_too_long() {
        for width in [60, 80, 120] {
            let mut table = TextTable::within(&["feature", "value", "mean"], Some(width));
            let name = "x".repeat(300);
            table.row([name.clone(), "-0.0331".to_owned(), name.clone()]);
            let text = table.render();
            assert!(text.lines().all(|line| line.chars().count() <= width.into()), "{width}:\n{text}");
            // Each block has the whole first column.
            let names = text.matches('x').count();
            assert!(names >= 600 && names.is_multiple_of(300) && text.matches("-0.0331").count() == 1, "{text}");
        }
    }

    /// Columns that do not fit are printed below, with the names repeated; no line is too long.
    #[test]
    fn a_wide_table_is_broken_between_columns() {
        let headings: Vec<String> = (0..12).map(|n| format!("measure{n}")).collect();
        let mut all = vec!["gap to the reference"];
        all.extend(headings.iter().map(String::as_str));
        for width in [40, 60, 80, 120] {
            let mut table = TextTable::within(&all, Some(width));
            table.row(["sex: Female - Male".to_owned()].into_iter().chain((0..12).map(|n| format!("-0.{n}123"))));
            let text = table.render();
            assert!(text.lines().all(|line| line.chars().count() <= width.into()), "{width}:\n{text}");
            assert!(headings.iter().all(|heading| text.matches(heading.as_str()).count() >= 1), "{width}:\n{text}");
            assert_eq!((0..12).filter(|n| text.contains(&format!("-0.{n}123"))).count(), 12, "{width}:\n{text}");
        }
    }
}
