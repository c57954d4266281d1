//! Dates as numbers. For each column listed under `table.dates` of the schema, adds columns such as
//! the days since a given day, the month and the weekday.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

use super::record::{Cell, Cells, Derived};
use super::{BadCells, Digest, Record, Source};
use crate::error::Error;
use crate::schema::{DatePart, Dates, Table};

/// A source with additional columns, derived from its dates, after its own.
pub(super) struct Dated<'s> {
    source: Box<dyn Source + 's>,
    /// All columns.
    columns: Arc<[String]>,
    made: Vec<Made>,
    /// Number of columns of the source itself.
    own: usize,
    cells: Cells,
}

/// A column derived from another.
struct Made {
    from: usize,
    format: String,
    since: NaiveDate,
    part: DatePart,
    is_wanted: bool,
}

/// Returns the columns that the data have themselves, from those of an earlier run: the columns
/// derived from dates are last.
pub(super) fn without_dates<'c>(columns: &'c [String], table: &Table) -> &'c [String] {
    let made = table.dates.values().map(|dates| dates.parts.len()).sum::<usize>();
    columns.get(..columns.len().saturating_sub(made)).unwrap_or_default()
}

impl<'s> Dated<'s> {
    /// Adds the columns that a table asks for, if any.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Input`] if a derived column has the name of another
    /// column.
    pub(super) fn of(source: Box<dyn Source + 's>, table: &Table) -> Result<Box<dyn Source + 's>, Error> {
        if table.dates.is_empty() {
            return Ok(source);
        }
        let mut columns = source.columns().to_vec();
        let mut made = Vec::new();
        for (name, dates) in &table.dates {
            let from = source.column(name, "table.dates")?;
            for part in &dates.parts {
                let column = format!("{name}.{}", part.name());
                if columns.contains(&column) {
                    return Err(Error::Input(format!(
                        "{}: column {column:?} is there already; rename it",
                        source.file()
                    )));
                }
                columns.push(column);
                let Dates { format, .. } = dates;
                made.push(Made { from, format: format.clone(), since: dates.since(), part: *part, is_wanted: true });
            }
        }
        let (own, cells) = (source.columns().len(), Cells::new(made.len()));
        Ok(Box::new(Self { source, columns: columns.into(), made, own, cells }))
    }
}

impl Made {
    /// Returns the number derived from a date. Text that is not a date stays as it is, and is a bad
    /// cell.
    #[allow(clippy::cast_lossless)]
    fn cell<'a>(&self, cell: Cell<'a>) -> Cell<'a> {
        let Cell::Text(text) = cell else { return self.of_number(cell) };
        self.number(&String::from_utf8_lossy(text)).map_or(cell, Cell::Number)
    }

    /// Like [`Made::cell`], for a date written as a number, such as 20130814.
    fn of_number<'a>(&self, cell: Cell<'a>) -> Cell<'a> {
        let text = cell.text().map(|text| String::from_utf8_lossy(&text).into_owned());
        text.and_then(|text| self.number(&text)).map_or(cell, Cell::Number)
    }

    fn number(&self, text: &str) -> Option<f64> {
        let moment = moment(text.trim(), &self.format)?;
        Some(match self.part {
            DatePart::Days => (moment.date() - self.since).num_days() as f64,
            DatePart::Year => moment.year().into(),
            DatePart::Month => moment.month().into(),
            DatePart::Weekday => moment.weekday().number_from_monday().into(),
            DatePart::Hour => moment.hour().into(),
        })
    }
}

/// Reads a date. If a time follows that is not part of the format, only its hour is kept.
pub(crate) fn moment(text: &str, format: &str) -> Option<NaiveDateTime> {
    if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
        return Some(moment);
    }
    let (date, rest) = NaiveDate::parse_and_remainder(text, format).ok()?;
    if rest.is_empty() {
        return date.and_hms_opt(0, 0, 0);
    }
    let time = rest.strip_prefix(['T', ' '])?.trim_start();
    let hour: u32 = time.get(..2)?.trim_end_matches(':').parse().ok()?;
    time.contains(':').then_some(())?;
    date.and_hms_opt(hour, 0, 0)
}

impl Source for Dated<'_> {
    fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    fn want(&mut self, columns: &[usize]) {
        let mut wanted: Vec<usize> = columns.iter().copied().filter(|column| *column < self.own).collect();
        for (index, made) in self.made.iter_mut().enumerate() {
            made.is_wanted = columns.contains(&(self.own + index));
            wanted.extend(made.is_wanted.then_some(made.from));
        }
        self.source.want(&wanted);
    }

    fn unreadable(&self) -> Vec<usize> {
        self.source.unreadable()
    }

    fn advance(&mut self) -> Result<bool, Error> {
        if !self.source.advance()? {
            return Ok(false);
        }
        self.cells.clear();
        let record = self.source.record();
        for (index, made) in self.made.iter().enumerate().filter(|(_, made)| made.is_wanted) {
            self.cells.put(index, made.cell(record.cell(made.from)));
        }
        Ok(true)
    }

    fn record(&self) -> Record<'_> {
        Record { derived: Derived::new(self.own, &self.cells), ..self.source.record() }
    }

    fn names(&self) -> &[String] {
        self.source.names()
    }

    fn digest(&self) -> Digest {
        self.source.digest()
    }

    fn bad_cells(&self) -> BadCells {
        self.source.bad_cells()
    }

    fn notes(&self) -> Vec<String> {
        self.source.notes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows::Records;
    use crate::schema::Schema;

    #[test]
    fn a_column_of_dates_gives_further_columns() {
        let schema = "[table]\ndates = { opened = { format = \"%d.%m.%Y\", since = \"2020-01-01\", \
                      parts = [\"days\", \"month\", \"weekday\"] } }\n[target]\ncolumn = \"y\"\npositive = [\"1\"]\n";
        let table = Schema::from_toml("s.toml", schema).unwrap().table;
        let text = "opened,y\n01.03.2020,1\n31.12.2019,0\n,1\nnever,0\n";
        let mut rows =
            Dated::of(Box::new(Records::from_reader("f", text.as_bytes(), &table).unwrap()), &table).unwrap();
        assert_eq!(rows.columns()[..], ["opened", "y", "opened.days", "opened.month", "opened.weekday"]);
        let mut all = Vec::new();
        while rows.advance().unwrap() {
            let record = rows.record();
            assert_eq!(record.cell(1).number(), Some(f64::from(all.len().is_multiple_of(2))));
            all.push(
                [2, 3, 4].map(|column| record.cell(column).text().map(|t| String::from_utf8_lossy(&t).into_owned())),
            );
        }
        let some = |cells: [&str; 3]| cells.map(|cell| Some(cell.to_owned()));
        assert_eq!(all, [some(["60", "3", "7"]), some(["-1", "12", "2"]), [const { None }; 3], some(["never"; 3])]);
    }

    #[test]
    fn a_time_after_the_date_is_passed_over_but_for_its_hour() {
        for (text, format, hour) in [
            ("2013-08-14", "%Y-%m-%d", Some(0)),
            ("2013-08-14 06:03:42", "%Y-%m-%d", Some(6)),
            ("2013-08-14T23:03:42.123Z", "%Y-%m-%d", Some(23)),
            ("8/14/13", "%m/%d/%y", Some(0)),
            ("20130814", "%Y%m%d", Some(0)),
            ("14-Aug-2013", "%d-%b-%Y", Some(0)),
            ("14-Aug-2013 late", "%d-%b-%Y", None),
            ("2013-13-14", "%Y-%m-%d", None),
            ("n.a.", "%Y-%m-%d", None),
        ] {
            assert_eq!(moment(text, format).map(|moment| moment.hour()), hour, "{text}");
        }
    }
}
