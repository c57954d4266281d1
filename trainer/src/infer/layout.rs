//! The layout of a text file, inferred from its beginning: delimiter, comment lines, header, and
//! the marks in numbers.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use super::plain;
use crate::error::Error;
use crate::rows::csv::splitter::Splitter;
use crate::rows::{Marks, means_missing, parse};
use crate::schema::Table;

/// Number of lines from which the delimiter is inferred.
const PROBE_LINES: usize = 200;

/// Number of lines from which header and marks are inferred.
const MOST_LINES: usize = 20_000;

/// Maximum number of title lines.
const MOST_TITLES: usize = 10;

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

const COMMENTS: [char; 3] = ['#', '|', '%'];

/// The layout of the text, with the evidence.
pub(super) struct Layout {
    pub(super) table: Table,
    /// Names of columns that are empty or occur twice in the file.
    pub(super) renamed: Vec<String>,
    pub(super) delimiter: String,
    pub(super) comment: Option<String>,
    pub(super) header: String,
    /// Why numbers have marks other than a point.
    pub(super) marks: Option<String>,
    /// Another possible meaning of the numbers.
    pub(super) doubt: Option<String>,
}

impl Layout {
    /// Infers the layout from the beginning of a text, which must consist of whole lines.
    pub(super) fn of(file: &str, text: &Arc<[u8]>) -> Result<Self, Error> {
        let named = named_delimiter(text);
        let (delimiter, delimiter_evidence) = match named {
            Some(named) => (named, "the first line names it".to_owned()),
            None => delimiter(file, text)?,
        };
        let (comment, comment_evidence) = comment(file, text, delimiter)?;
        let mut table = Table { delimiter, comment, ..Table::default() };
        refuse_title(file, text, &table, named.is_some())?;
        let mut lines = Lines::new(file, text, &table, named.is_some());
        let Some(first) = lines.next()? else { return Err(Error::EmptyFile { file: file.into(), header: true }) };
        let mut below: Vec<Below> = Vec::new();
        below.resize_with(first.len(), Below::default);
        let mut count = 0;
        while count < MOST_LINES {
            // Reading the records reports errors further down.
            let Ok(Some(cells)) = lines.next() else { break };
            // A repeated header, as in concatenated files.
            if cells == first {
                continue;
            }
            count += 1;
            below.iter_mut().zip(&cells).zip(&first).for_each(|((below, cell), name)| below.add(cell, name));
        }
        let (header, header_evidence) = header(&first, &below, count);
        table.header = header;
        if !header {
            table.columns = (1..=first.len()).map(|n| format!("column.{n}")).collect();
        }
        let marks = marks(&below, delimiter);
        if let Some((decimal, thousands, _)) = marks {
            (table.decimal, table.thousands) = (decimal, thousands);
        }
        let twice = |(index, name): (usize, &String)| {
            header && (name.is_empty() || first.iter().take(index).any(|earlier| earlier == name))
        };
        let renamed = first.iter().enumerate().filter(|(index, name)| twice((*index, name)));
        Ok(Self {
            renamed: renamed.map(|(_, name)| name.clone()).collect(),
            table,
            delimiter: delimiter_evidence,
            comment: comment_evidence,
            header: header_evidence,
            doubt: if marks.is_none() { doubt(&first, &below) } else { None },
            marks: marks.map(|(.., evidence)| evidence),
        })
    }
}

/// What the first lines show about a column, below its name.
#[derive(Default)]
struct Below {
    /// Number of cells with text, and of those that are numbers with any marks.
    present: usize,
    numbers: usize,
    /// Numbers with a decimal comma, with commas between thousands, and with a comma that can be
    /// either.
    decimal_commas: usize,
    thousands_commas: usize,
    either: usize,
    /// Numbers with points that can only stand between thousands: 1.234, 1.234.567
    points: usize,
    other_points: usize,
    several_points: usize,
    /// Whole numbers of four digits or more without any mark.
    unmarked: usize,
    /// Whether the name also occurs as a cell.
    has_name: bool,
    an_example: Option<String>,
}

impl Below {
    fn add(&mut self, cell: &str, name: &str) {
        const DECIMAL: Marks = Marks { decimal: Some(','), thousands: Some('.') };
        const THOUSANDS: Marks = Marks { decimal: None, thousands: Some(',') };
        self.has_name |= cell == name;
        if cell.is_empty() {
            return;
        }
        self.present += 1;
        if cell.contains('.') && !cell.contains(',') {
            match DECIMAL.number(cell.as_bytes()) {
                Some(_) => {
                    self.points += 1;
                    self.several_points += usize::from(cell.matches('.').count() > 1);
                }
                None => self.other_points += 1,
            }
        }
        if parse(cell.as_bytes()).is_some() {
            self.numbers += 1;
            self.unmarked += usize::from(cell.len() >= 4 && cell.bytes().all(|byte| byte.is_ascii_digit()));
            return;
        }
        if !cell.contains(',') {
            self.numbers += usize::from(DECIMAL.number(cell.as_bytes()).is_some());
            return;
        }
        let [decimal, thousands] = [DECIMAL, THOUSANDS].map(|marks| marks.number(cell.as_bytes()).is_some());
        match (decimal, thousands) {
            (true, true) => self.either += 1,
            (true, false) => self.decimal_commas += 1,
            (false, true) => self.thousands_commas += 1,
            (false, false) => return,
        }
        self.numbers += 1;
        self.an_example.get_or_insert_with(|| cell.to_owned());
    }

    /// Returns whether it is a column of numbers, in whatever notation.
    fn is_number(&self) -> bool {
        self.numbers > 0 && self.numbers * 10 >= self.present * 8
    }
}

/// Decides what commas and points in numbers mean; `None` if they mean the same as in program text.
fn marks(below: &[Below], delimiter: char) -> Option<(char, Option<char>, String)> {
    let numbers = || below.iter().filter(|below| below.is_number());
    let sum = |of: fn(&Below) -> usize| numbers().map(of).sum::<usize>();
    let (decimal, thousands) = (sum(|below| below.decimal_commas), sum(|below| below.thousands_commas));
    let either = sum(|below| below.either);
    let example = numbers().find_map(|below| below.an_example.clone()).unwrap_or_default();
    // Points stand between thousands if a comma is in the same cell, if a cell has several of them,
    // or if a column has no other points.
    let points = numbers().any(|below| below.several_points > 0 || (below.points > 0 && below.other_points == 0));
    let several = sum(|below| below.several_points) > 0;
    let both = || example.contains('.') && example.contains(',');
    // A comma in whole thousands alone is ambiguous. It is a decimal comma if the column also has
    // thousands without a mark.
    let is_decimal = decimal > thousands
        || (decimal == thousands && either > 0 && numbers().any(|below| below.either > 0 && below.unmarked > 0));
    if decimal + thousands + either == 0 {
        return several
            .then(|| (',', Some('.'), "numbers have several points, which stand between thousands".to_owned()));
    }
    let doubt = if decimal + thousands == 0 { "; it could be the other mark: check it" } else { "" };
    Some(if is_decimal {
        let thousands = (points || both()).then_some('.');
        (',', thousands, format!("numbers are written like {}{doubt}", plain(&example)))
    } else {
        let semicolons = if doubt.is_empty() || delimiter == ',' { "" } else { " all the more between semicolons" };
        ('.', Some(','), format!("numbers are written like {}{doubt}{semicolons}", plain(&example)))
    })
}

/// Describes a column whose points could stand between thousands: all stand before three digits,
/// and no number of four digits lacks one.
fn doubt(first: &[String], below: &[Below]) -> Option<String> {
    let is_doubtful =
        |below: &&Below| below.is_number() && below.points >= 5 && below.other_points == 0 && below.unmarked == 0;
    let (name, _) = first.iter().zip(below).find(|(_, below)| is_doubtful(below))?;
    Some(format!(
        "all numbers of {name:?} have three digits after the point, as if it stood between thousands: if it does, set table.decimal = \",\" and table.thousands = \".\""
    ))
}

/// The records at the beginning of a text, as trimmed cells.
struct Lines {
    splitter: Splitter,
}

impl Lines {
    fn new(file: &str, text: &Arc<[u8]>, table: &Table, names_delimiter: bool) -> Self {
        let mut splitter = splitter(file, text, table.delimiter, table.comment);
        if names_delimiter {
            let _ = splitter.advance();
        }
        Self { splitter }
    }

    fn next(&mut self) -> Result<Option<Vec<String>>, Error> {
        if !self.splitter.advance()? {
            return Ok(None);
        }
        let (bytes, fields) = self.splitter.record();
        let cell = |field: &Range<u32>| {
            let cell = bytes.get(field.start as usize..field.end as usize).unwrap_or_default();
            String::from_utf8_lossy(cell.trim_ascii()).into_owned()
        };
        Ok(Some(fields.iter().map(cell).collect()))
    }
}

fn splitter(file: &str, text: &Arc<[u8]>, delimiter: char, comment: Option<char>) -> Splitter {
    Splitter::new(Box::new(Cursor::new(Arc::clone(text))), file.into(), delimiter as u8, comment.map(|mark| mark as u8))
}

/// Returns the delimiter that the first line declares, as spreadsheets write it: `sep=;`.
fn named_delimiter(text: &[u8]) -> Option<char> {
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    line.strip_prefix(b"sep=").filter(|rest| rest.len() == 1 && rest.is_ascii())?.first().map(|mark| char::from(*mark))
}

/// Returns, for each of the first records, the number of fields, and the mark of [`COMMENTS`] that
/// it starts with, if any.
fn widths(file: &str, text: &Arc<[u8]>, delimiter: char) -> Result<Vec<(usize, Option<char>)>, Error> {
    let mut splitter = splitter(file, text, delimiter, None);
    let mut widths = Vec::new();
    // A wrong delimiter may split inside quotes and leave one open. The records read before that
    // still count.
    while widths.len() < PROBE_LINES && matches!(splitter.advance(), Ok(true)) {
        let (bytes, fields) = splitter.record();
        let mark = bytes.first().map(|byte| char::from(*byte)).filter(|mark| COMMENTS.contains(mark));
        widths.push((fields.len(), mark));
    }
    if widths.is_empty() {
        // Nothing could be read: return the reason.
        splitter = self::splitter(file, text, delimiter, None);
        if !splitter.advance()? {
            return Err(Error::EmptyFile { file: file.into(), header: true });
        }
    }
    Ok(widths)
}

/// Returns the most frequent width (the larger one of two equally frequent ones), and the number of
/// records that have it.
fn usual_width(widths: &[(usize, Option<char>)]) -> (usize, usize) {
    let count = |width: usize| widths.iter().filter(|other| other.0 == width).count();
    widths.iter().map(|&(width, _)| (count(width), width)).max().map_or((1, 0), |(count, width)| (width, count))
}

/// Returns the delimiter with which most records have the same number of fields, two or more.
fn delimiter(file: &str, text: &Arc<[u8]>) -> Result<(char, String), Error> {
    let mut best: Option<(usize, usize, char, usize)> = None;
    for candidate in DELIMITERS {
        let widths = widths(file, text, candidate)?;
        let (width, count) = usual_width(&widths);
        let better = best.is_none_or(|(best_count, best_width, ..)| (count, width) > (best_count, best_width));
        if width > 1 && better {
            best = Some((count, width, candidate, widths.len()));
        }
    }
    if best.is_none() {
        // Blanks are tried only if nothing else divides the lines.
        let widths = widths(file, text, ' ')?;
        let (width, count) = usual_width(&widths);
        if width > 1 && count * 20 >= widths.len() * 19 {
            best = Some((count, width, ' ', widths.len()));
        }
    }
    Ok(match best {
        Some((count, width, delimiter, lines)) => {
            (delimiter, format!("{count} of the first {lines} records have {width} fields"))
        }
        None => (',', "no line has a second field with any of , ; tab |".into()),
    })
}

/// Returns a character that starts lines which do not have the usual number of fields.
fn comment(file: &str, text: &Arc<[u8]>, delimiter: char) -> Result<(Option<char>, Option<String>), Error> {
    let widths = widths(file, text, delimiter)?;
    let (usual, _) = usual_width(&widths);
    for mark in COMMENTS.into_iter().filter(|mark| *mark != delimiter) {
        let marked = || widths.iter().filter(|(_, first)| *first == Some(mark));
        if marked().next().is_some() && marked().all(|(width, _)| *width != usual) {
            let evidence = format!("{} of the first lines start with it and have no {usual} fields", marked().count());
            return Ok((Some(mark), Some(evidence)));
        }
    }
    Ok((None, None))
}

/// Refuses lines before the column names that do not have the usual number of fields, such as a
/// title, the date of a report, or counts.
fn refuse_title(file: &str, text: &Arc<[u8]>, table: &Table, names_delimiter: bool) -> Result<(), Error> {
    let mut lines = Lines::new(file, text, table, names_delimiter);
    let mut widths = Vec::new();
    let mut open_ends = 0;
    while widths.len() < PROBE_LINES
        && let Ok(Some(cells)) = lines.next()
    {
        open_ends += usize::from(cells.last().is_some_and(String::is_empty));
        // A title line of a spreadsheet has the delimiters, but nothing between them.
        let filled = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        widths.push((cells.len(), if widths.len() < MOST_TITLES && filled == 1 { 1 } else { cells.len() }));
    }
    let (usual, count) = usual_width(&widths.iter().map(|(width, _)| (*width, None)).collect::<Vec<_>>());
    let titles = widths.iter().take_while(|(_, filled)| *filled != usual).count();
    // Lines that end with a delimiter, unlike the header, are a different error.
    if titles == 1 && widths.first().is_some_and(|(width, _)| width + 1 == usual) && open_ends + 1 == widths.len() {
        return Ok(());
    }
    if usual > 1 && (1..=MOST_TITLES).contains(&titles) && count * 10 >= (widths.len() - titles) * 9 {
        let lines = if titles == 1 { "the line".to_owned() } else { format!("the first {titles} lines") };
        let found = widths.first().map_or(0, |(_, filled)| *filled);
        return Err(Error::Title { file: file.into(), found, lines, fields: usual, first: titles + 1 });
    }
    Ok(())
}

/// Returns whether the first record names the columns below it.
fn header(first: &[String], below: &[Below], count: usize) -> (bool, String) {
    let is_number = |cell: &str| parse(cell.as_bytes()).is_some_and(|x| !x.is_nan());
    let numbers = below.iter().filter(|below| below.is_number()).count();
    // A word above numbers is a name, even if other columns are named by years.
    let is_name = |name: &str| !name.is_empty() && !is_number(name) && !means_missing(name);
    let has_names = first.iter().zip(below).any(|(name, below)| below.is_number() && is_name(name));
    if let Some(number) = first.iter().find(|cell| is_number(cell)).filter(|_| !has_names) {
        return (false, format!("the first line has the number {}", plain(number)));
    }
    if numbers == 0
        && count > 0
        && let Some((name, _)) = first.iter().zip(below).find(|(name, below)| !name.is_empty() && below.has_name)
    {
        return (false, format!("{name:?} of the first line occurs again below it"));
    }
    match numbers {
        0 => (true, "nothing in the first line occurs again below it".into()),
        numbers => (true, format!("the first line has words, {numbers} columns below it are numbers")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        Layout::of("f", &text.as_bytes().into()).unwrap()
    }

    #[test]
    fn marks_in_numbers() {
        for (cells, expected) in [
            (&["1.5", "1234"][..], ('.', None)),
            (&["1,5", "12,25"], (',', None)),
            (&["1.234,5", "12,25"], (',', Some('.'))),
            (&["1.234", "12,25"], (',', Some('.'))),
            (&["1.234.567", "1.234"], (',', Some('.'))),
            (&["1,234", "999"], ('.', Some(','))),
            (&["1,234.50", "99.5"], ('.', Some(','))),
            (&["$1,234", "$12,345,678"], ('.', Some(','))),
            (&["1,234", "1,5"], (',', None)),
            (&["a,b", "c"], ('.', None)),
        ] {
            let rows: String = cells.iter().cycle().take(20).map(|cell| format!("{cell};x\n")).collect();
            let table = layout(&format!("amount;name\n{rows}")).table;
            assert_eq!((table.decimal, table.thousands), expected, "{cells:?}");
        }
    }

    #[test]
    fn a_header_is_known_though_files_were_joined_or_a_name_is_a_year() {
        assert!(layout("sex,age\nm,30\nsex,age\nf,40\n").table.header);
        assert!(layout("name,income,2019,2020\na,5,1,2\nb,6,3,4\n").table.header);
        assert!(!layout("5,m\n6,f\n5,m\n").table.header && !layout("m,a\nf,b\nm,c\n").table.header);
        assert_eq!(layout("sep=;\na;b\n1;2\n").table.delimiter, ';');
        let german = layout(&"A11 6 A34 1\n".repeat(30)).table;
        assert_eq!((german.delimiter, german.columns.len(), german.header), (' ', 4, false));
        assert_eq!(layout("some words\nand a few more of them\n").table.delimiter, ',');
        assert_eq!(layout("a,b,a,\n1,2,3,\n").renamed, ["a", ""]);
        let rows = |cell: &str| format!("a,b\n{}", format!("{cell},x\n").repeat(9));
        assert!(layout(&rows("1.234")).doubt.is_some() && layout(&rows("1.23")).doubt.is_none());
    }

    #[test]
    fn a_title_is_refused_with_what_to_do() {
        for text in ["Loans 2020\n\na,b,c\n1,2,3\n4,5,6\n", "Loans 2020,,\na,b,c\n1,2,3\n4,5,6\n"] {
            let error = Layout::of("f.csv", &text.as_bytes().into()).err().unwrap().to_string();
            assert!(
                error.starts_with("f.csv:1: found 1 field where nearly all lines have 3; expected the column names")
                    && error.contains("tail -n +2"),
                "{error}"
            );
        }
    }
}
