//! Labelled rows from CSV text, one at a time, in constant memory whatever the length.
//!
//! Three layers: bytes (`source`: files, standard input, gzip), records ([`Records`]: fields, header, missing cells) and
//! rows ([`Stream`]: filters, label, protected groups). Scoring without a schema needs the first two only.
//!
//! ```
//! use feamoe::rows::{Stream, Use};
//! use feamoe::schema::Schema;
//!
//! let schema = Schema::from_toml("schema.toml", r#"
//!     [target]
//!     column = "approved"
//!     positive = ["yes"]
//!     [[protected]]
//!     column = "sex"
//!     privileged = ["male"]
//! "#)?;
//! let text = "sex,income,approved\nmale,30,yes\nfemale,,no\n";
//! let mut stream = Stream::from_reader("demo.csv", text.as_bytes(), &schema, Use::Learn)?;
//! while let Some(row) = stream.next_row()? {
//!     println!("line {}: label {:?}, group {}", row.position.line, row.label, row.groups[0]);
//! }
//! stream.check()?;
//! assert_eq!((stream.counts().positive, stream.counts().negative), (1, 1));
//! assert_eq!(stream.attributes().next().map(|a| a.groups()[1].as_str()), Some("female"));
//! # Ok::<(), feamoe::error::Error>(())
//! ```

mod buffer;
pub mod csv;
mod groups;
mod intersection;
mod place;
mod reservoir;
mod seen;
mod split;

use std::io::Read;
use std::ops::Deref;
use std::sync::Arc;

pub use buffer::Buffer;
pub use csv::{Input, Position, Record, Records};
pub use groups::{Attribute, NO_GROUP};
pub use place::{GoOn, Place};
pub use reservoir::Reservoir;
pub use split::{Part, Split};

use crate::error::{Error, list};
use crate::schema::{Filter, Schema, Target};
use csv::digest::Digest;
use groups::Grouping;
use intersection::Intersection;
use place::Within;
pub(crate) use seen::Seen;
use serde::{Deserialize, Serialize};

/// What the rows are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Learning and evaluating: the target and every protected column must be there, filters apply, each row has a label.
    Learn,
    /// Scoring: each record of the file gives a row; label and groups are known where the columns are there.
    Score,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Records left out by a filter.
    pub filtered: u64,
    /// Records left out because the target is neither positive nor negative.
    pub unlabelled: u64,
    /// Rows used that have the favourable outcome.
    pub positive: u64,
    /// Rows used that have the other outcome.
    pub negative: u64,
}

/// Rows of CSV files, as a schema says.
pub struct Stream {
    records: Records,
    usage: Use,
    target: Target,
    /// Where the target is; `None` where scoring data has none.
    target_index: Option<usize>,
    filters: Vec<(usize, Filter)>,
    groupings: Vec<Grouping>,
    intersections: Vec<Intersection>,
    counts: Counts,
    /// Counts of the streams before this one.
    earlier: Counts,
    /// Digest of the bytes of the streams before this one.
    opened: Digest,
    /// Values of the target that are neither positive nor negative.
    other_targets: Seen,
    /// Values of the target that count as negative because the schema lists none.
    implied_negatives: Seen,
    label: Option<bool>,
    groups: Vec<u8>,
    split: Option<Split>,
}

/// One row: a record with its label and its group of each protected attribute.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    record: Record<'a>,
    /// Whether the outcome is the favourable one; `None` only for [`Use::Score`].
    pub label: Option<bool>,
    /// Group per attribute, intersections after the protected columns: 0 privileged, 1.. the others, [`NO_GROUP`].
    pub groups: &'a [u8],
}

impl<'a> Deref for Row<'a> {
    type Target = Record<'a>;

    fn deref(&self) -> &Record<'a> {
        &self.record
    }
}

impl Stream {
    /// Opens the files in the order given.
    ///
    /// # Errors
    ///
    /// See [`Records::open`]; [`Error::MissingColumn`] for the target, a protected attribute or a filter.
    pub fn open(inputs: &[Input], schema: &Schema, usage: Use) -> Result<Self, Error> {
        Self::new(Records::open(inputs, &schema.table)?, schema, usage)
    }

    /// Reads one source that is not a file; `name` stands for it in messages.
    ///
    /// # Errors
    ///
    /// As [`Stream::open`].
    pub fn from_reader(name: &str, reader: impl Read + 'static, schema: &Schema, usage: Use) -> Result<Self, Error> {
        Self::new(Records::from_reader(name, reader, &schema.table)?, schema, usage)
    }

    fn new(records: Records, schema: &Schema, usage: Use) -> Result<Self, Error> {
        let optional = |name: &str, wanted_by: &str| match records.column(name, wanted_by) {
            Err(_) if usage == Use::Score => Ok(None),
            found => found.map(Some),
        };
        let target_index = optional(&schema.target.column, "target.column")?;
        let groupings = schema.protected.iter().map(|protected| {
            let index = optional(&protected.column, "a [[protected]] table")?;
            Ok(Grouping::new(protected, index))
        });
        let groupings = groupings.collect::<Result<Vec<_>, Error>>()?;
        let intersections: Vec<_> = schema.intersection.iter().map(|i| Intersection::new(i, &groupings)).collect();
        let filters = schema.filter.iter().filter(|_| usage == Use::Learn).map(|filter| {
            let index = records.column(&filter.column, "a [[filter]] table")?;
            Ok((index, filter.clone()))
        });
        Ok(Self {
            target: schema.target.clone(),
            target_index,
            filters: filters.collect::<Result<_, Error>>()?,
            groups: vec![NO_GROUP; groupings.len() + intersections.len()],
            groupings,
            intersections,
            records,
            usage,
            counts: Counts::default(),
            earlier: Counts::default(),
            opened: Digest::default(),
            other_targets: Seen::default(),
            implied_negatives: Seen::default(),
            label: None,
            split: None,
        })
    }

    /// Goes on where an earlier stream with the same schema stopped: with newer data after its end, or, where it broke off, as `go_on` says.
    ///
    /// # Errors
    ///
    /// As [`Stream::open`]; [`Error::OtherData`] where the inputs are not those that the earlier stream had begun to read.
    pub fn resume(inputs: &[Input], schema: &Schema, place: &Place, go_on: GoOn) -> Result<Self, Error> {
        let within = place.within.as_ref();
        let (again, opened) = match (within, go_on) {
            (Some(within), GoOn::Same) => (Some(within), &place.digest),
            (Some(within), GoOn::Rest) => (None, &within.digest),
            (None, _) => (None, &place.digest),
        };
        let records = Records::resume(inputs, &schema.table, &place.columns, opened.clone())?;
        let mut stream = Self::new(records, schema, Use::Learn)?;
        stream.opened = opened.clone();
        stream.counts = place.counts;
        // What is read again was counted as this stream's own.
        stream.earlier = if again.is_some() { Counts::default() } else { place.counts };
        stream.other_targets = place.other_targets.clone();
        stream.implied_negatives = place.implied_negatives.clone();
        for (grouping, (attribute, others)) in stream.groupings.iter_mut().zip(&place.attributes) {
            grouping.go_on(attribute, others);
        }
        for (intersection, earlier) in stream.intersections.iter_mut().zip(&place.intersections) {
            intersection.attribute = earlier.clone();
        }
        let read_again = again.map_or(0, |within| within.passed.records);
        stream.records.count_from(place.counts.read.saturating_sub(read_again) + 1);
        if let Some(within) = again {
            stream.pass_over(within)?;
        }
        Ok(stream)
    }

    /// Passes over the records that were learned from before the stream broke off; makes sure that they are the same.
    fn pass_over(&mut self, within: &Within) -> Result<(), Error> {
        let other = |records: &Records, found| Error::OtherData {
            file: records.file().into(),
            found,
            records: within.passed.records,
            files: within.files.join(", "),
        };
        for _ in 0..within.passed.records {
            if !self.records.advance()? {
                return Err(other(&self.records, "fewer records"));
            }
        }
        if self.records.passed() == Some(within.passed) { Ok(()) } else { Err(other(&self.records, "other records")) }
    }

    /// Keeps count of what is read, so that [`Stream::place`] can tell it from other data. Call it before the first row.
    pub fn keep_place(&mut self) {
        self.records.count_from(1);
    }

    /// Lets the protected groups keep the ids they had in an earlier stream (another pass): groups that the
    /// schema does not list are numbered by first appearance. Call it before the first row.
    pub fn resume_groups<'a>(&mut self, earlier: impl IntoIterator<Item = &'a Attribute>) {
        let mut earlier = earlier.into_iter();
        for (grouping, earlier) in self.groupings.iter_mut().zip(&mut earlier) {
            grouping.resume(earlier);
        }
        for (intersection, earlier) in self.intersections.iter_mut().zip(earlier) {
            intersection.resume(earlier);
        }
    }

    /// Keeps one part of the rows from here on; the others are read, and not counted as filtered.
    pub fn keep(&mut self, split: Split) {
        self.split = Some(split);
    }

    /// Returns the column names.
    #[must_use]
    pub fn columns(&self) -> &Arc<[String]> {
        self.records.columns()
    }

    /// Returns the index of a column; see [`Records::column`].
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`].
    pub fn column(&self, name: &str, wanted_by: &str) -> Result<usize, Error> {
        self.records.column(name, wanted_by)
    }

    /// Returns the names of the files opened so far; see [`Records::files`].
    #[must_use]
    pub fn files(&self) -> String {
        self.records.files()
    }

    /// Returns the SHA-256 of the bytes read so far; see [`Records::sha256`].
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.records.sha256()
    }

    /// Returns the protected attributes in the order of the schema, then the intersections, with the groups and counts so far.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> + Clone {
        let intersections = self.intersections.iter().map(|intersection| &intersection.attribute);
        self.groupings.iter().map(|grouping| &grouping.attribute).chain(intersections)
    }

    /// Returns what became of the records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the next row, `None` at the end of the last file.
    ///
    /// # Errors
    ///
    /// See [`Records::advance`]; [`Error::NotANumber`] where a filter needs a number.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, Error> {
        loop {
            if !self.records.advance()? {
                return Ok(None);
            }
            self.counts.read += 1;
            if self.admit()? {
                break;
            }
        }
        Ok(Some(Row { record: self.records.record(), label: self.label, groups: &self.groups }))
    }

    /// Decides whether the current record is used; finds its label and groups if so.
    fn admit(&mut self) -> Result<bool, Error> {
        let record = self.records.record();
        if self.split.is_some_and(|split| !split.keeps(record.position.number)) {
            return Ok(false);
        }
        for (index, filter) in &self.filters {
            if !passes(filter, &record, *index)? {
                self.counts.filtered += 1;
                return Ok(false);
            }
        }
        self.label = None;
        if let Some(index) = self.target_index {
            let text = record.text(index);
            let listed = |values: &[String]| values.iter().any(|value| value.as_bytes() == text);
            if listed(&self.target.positive) {
                self.label = Some(true);
                self.counts.positive += 1;
            } else if listed(&self.target.negative) {
                self.label = Some(false);
                self.counts.negative += 1;
            } else if self.target.negative.is_empty() && record.cell(index).is_some() {
                self.label = Some(false);
                self.counts.negative += 1;
                self.implied_negatives.note(text);
            } else {
                self.counts.unlabelled += 1;
                self.other_targets.note(text);
                if self.usage == Use::Learn {
                    return Ok(false);
                }
            }
        }
        for (grouping, group) in self.groupings.iter_mut().zip(&mut self.groups) {
            *group = grouping.group(&record);
        }
        let (groups, combined) = self.groups.split_at_mut(self.groupings.len());
        for (intersection, group) in self.intersections.iter_mut().zip(combined) {
            *group = intersection.group(&self.groupings, groups);
        }
        Ok(true)
    }

    /// Checks, once the stream is read, that it could be learned from: rows of both outcomes, and none of the groups that
    /// the schema names empty.
    ///
    /// # Errors
    ///
    /// Those of the other `check_` methods.
    pub fn check(&self) -> Result<(), Error> {
        self.check_rows()?;
        self.check_outcomes()?;
        self.check_groups()
    }

    /// Checks that at least one row of this stream was used.
    ///
    /// # Errors
    ///
    /// [`Error::NoUsableRows`].
    pub fn check_rows(&self) -> Result<(), Error> {
        let read = self.counts.read - self.earlier.read;
        let filtered = self.counts.filtered - self.earlier.filtered;
        let unlabelled = self.counts.unlabelled - self.earlier.unlabelled;
        let Target { column, positive, .. } = &self.target;
        let reason = if read == 0 {
            "there are no records, only a header".to_string()
        } else if filtered == read {
            format!("none of the {read} records passes the filters; check the [[filter]] tables")
        } else if self.usage == Use::Learn && filtered + unlabelled == read {
            format!(
                "column {column:?}: found {}, expected one of {}; correct target.positive and target.negative \
                 ({read} records read, {filtered} filtered out)",
                self.other_targets.list(),
                list(&[positive.as_slice(), &self.target.negative].concat()),
            )
        } else {
            return Ok(());
        };
        Err(Error::NoUsableRows { files: self.records.files(), reason })
    }

    /// Checks that both outcomes occurred.
    ///
    /// # Errors
    ///
    /// [`Error::OneOutcome`].
    pub fn check_outcomes(&self) -> Result<(), Error> {
        let Counts { positive, negative, .. } = self.counts;
        if positive > 0 && negative > 0 {
            return Ok(());
        }
        let Target { column, positive: favourable, negative: others } = &self.target;
        let (found, missing, expected) = match (positive, others.is_empty()) {
            (0, _) => ("negative", "positive", list(favourable)),
            (_, false) => ("positive", "negative", list(others)),
            (_, true) => ("positive", "negative", format!("all but {}", list(favourable))),
        };
        let unmatched = if others.is_empty() { &self.implied_negatives } else { &self.other_targets };
        let advice = match unmatched.values().next() {
            Some(_) => format!(", the data have {}; correct target.positive and target.negative", unmatched.list()),
            None => "; use data with both outcomes".into(),
        };
        let reason = format!(
            "column {column:?}: all {} rows are {found}, expected both outcomes; the {missing} values are {expected}{advice}",
            positive + negative
        );
        Err(Error::OneOutcome { files: self.records.files(), reason })
    }

    /// Checks that each protected group occurred: the privileged one, each listed one, and at least one to compare with.
    ///
    /// # Errors
    ///
    /// [`Error::AbsentGroup`].
    pub fn check_groups(&self) -> Result<(), Error> {
        let files = self.records.files();
        self.groupings.iter().try_for_each(|grouping| grouping.check(&files))?;
        self.intersections.iter().try_for_each(|intersection| intersection.check(&files))
    }
}

/// Whether a record passes a filter.
fn passes(filter: &Filter, record: &Record<'_>, index: usize) -> Result<bool, Error> {
    let text = record.text(index);
    let listed = |values: &[String]| values.iter().any(|value| value.as_bytes() == text);
    if listed(&filter.drop) || !(filter.keep.is_empty() || listed(&filter.keep)) {
        return Ok(false);
    }
    if filter.min.is_none() && filter.max.is_none() {
        return Ok(true);
    }
    let Some(cell) = record.cell(index) else { return Ok(false) };
    let number: f64 = fast_float2::parse(cell).map_err(|_| Error::NotANumber {
        file: record.position.file.into(),
        line: record.position.line,
        column: filter.column.clone(),
        found: String::from_utf8_lossy(cell).into_owned(),
        help: "its [[filter]] has min or max; add the value to table.missing if it means that".into(),
    })?;
    Ok(filter.min.is_none_or(|min| number >= min) && filter.max.is_none_or(|max| number <= max))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SCHEMA: &str = "
        [target]
        column = \"y\"
        positive = [\"yes\"]
        negative = [\"no\"]
        [[protected]]
        column = \"sex\"
        privileged = [\"m\"]
        unprivileged = [\"f\"]
        [[protected]]
        column = \"race\"
        privileged = [\"w\", \"W\"]
        [[filter]]
        column = \"age\"
        min = 18
        max = 65.5
        [[filter]]
        column = \"race\"
        drop = [\"z\"]
    ";

    const TEXT: &str = "age,sex,race,y\n\
        20,m,w,yes\n\
        17,m,w,yes\n\
        ,f,w,no\n\
        30,f,b,no\n\
        66,f,b,no\n\
        40,?,W,maybe\n\
        40,x,?,no\n\
        50,f,z,no\n\
        50,f,a,yes\n\
        51,m,b,no\n";

    type Used = (u64, Option<bool>, Vec<u8>);

    fn read(text: &'static str, schema: &str, usage: Use) -> Result<(Vec<Used>, Stream), Error> {
        let schema = Schema::from_toml("s.toml", schema)?;
        let mut stream = Stream::from_reader("f.csv", text.as_bytes(), &schema, usage)?;
        let mut rows = Vec::new();
        while let Some(row) = stream.next_row()? {
            rows.push((row.position.number, row.label, row.groups.to_vec()));
        }
        Ok((rows, stream))
    }

    #[test]
    fn rows_have_label_and_groups_and_every_record_is_counted() {
        let (rows, stream) = read(TEXT, SCHEMA, Use::Learn).unwrap();
        let (yes, no) = (Some(true), Some(false));
        let expected = [
            (1, yes, vec![0, 0]),
            (4, no, vec![1, 1]),
            (7, no, vec![NO_GROUP, NO_GROUP]),
            (9, yes, vec![1, 2]),
            (10, no, vec![0, 1]),
        ];
        assert_eq!(rows, expected);
        let counts = Counts { read: 10, filtered: 4, unlabelled: 1, positive: 2, negative: 3 };
        assert_eq!(stream.counts(), counts);
        let [sex, race]: [&Attribute; 2] = stream.attributes().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((sex.groups(), sex.rows(), sex.unknown()), (&["m".into(), "f".into()][..], &[2, 2][..], 1));
        assert_eq!(race.groups(), ["w|W", "b", "a"]);
        assert_eq!((race.rows(), race.unknown()), (&[1, 2, 1][..], 1));
        stream.check().unwrap();
    }

    #[test]
    fn scoring_gives_every_record_a_row_even_without_target() {
        let (rows, _) = read(TEXT, SCHEMA, Use::Score).unwrap();
        assert_eq!(rows.len(), 10);
        assert_eq!(rows[5], (6, None, vec![NO_GROUP, 0]));
        let (rows, stream) = read("age\n1\n2\n", SCHEMA, Use::Score).unwrap();
        assert_eq!(rows[1], (2, None, vec![NO_GROUP, NO_GROUP]));
        stream.check_rows().unwrap();
    }

    #[test]
    fn without_a_negative_list_every_other_value_is_negative_but_a_missing_one_is_none() {
        let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n";
        let (rows, stream) = read("y\n1\n0\n2\n?\n", schema, Use::Learn).unwrap();
        assert_eq!(rows.iter().map(|r| r.1).collect::<Vec<_>>(), [Some(true), Some(false), Some(false)]);
        assert_eq!(stream.counts().unlabelled, 1);
    }

    #[test]
    fn open_groups_keep_their_ids_in_the_next_pass() {
        let schema =
            "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\n";
        let (_, first) = read("g,y\nb,1\na,0\nc,1\n", schema, Use::Learn).unwrap();
        let schema = Schema::from_toml("s.toml", schema).unwrap();
        let mut second = Stream::from_reader("f.csv", &b"g,y\nd,1\nc,1\nb,1\n"[..], &schema, Use::Learn).unwrap();
        second.resume_groups(first.attributes());
        let mut groups = Vec::new();
        while let Some(row) = second.next_row().unwrap() {
            groups.push(row.groups[0]);
        }
        assert_eq!(groups, [3, 2, 1]);
        assert_eq!(second.attributes().next().unwrap().groups(), ["a", "b", "c", "d"]);
    }

    const INTERSECTION: &str = "[[intersection]]\ncolumns = [\"race\", \"sex\"]\n";

    #[test]
    fn an_intersection_is_privileged_where_all_parts_are_and_one_group_per_other_combination() {
        let schema = format!("{SCHEMA}{INTERSECTION}");
        let (rows, stream) = read(TEXT, &schema, Use::Learn).unwrap();
        let groups: Vec<u8> = rows.iter().map(|row| row.2[2]).collect();
        // m w, f b, unknown, f a, m b
        assert_eq!(groups, [0, 1, NO_GROUP, 2, 3]);
        let both = stream.attributes().nth(2).unwrap();
        assert_eq!(
            (both.column(), both.groups()),
            ("race & sex", &["w|W & m", "b & f", "a & f", "b & m"].map(String::from)[..])
        );
        assert_eq!((both.rows(), both.unknown()), (&[1, 1, 1, 1][..], 1));
        stream.check().unwrap();

        let schema = Schema::from_toml("s.toml", &schema).unwrap();
        let later = "age,sex,race,y\n30,f,c,no\n30,m,b,yes\n30,f,b,no\n";
        let mut second = Stream::from_reader("f.csv", later.as_bytes(), &schema, Use::Learn).unwrap();
        second.resume_groups(stream.attributes());
        let mut groups = Vec::new();
        while let Some(row) = second.next_row().unwrap() {
            groups.push(row.groups[2]);
        }
        assert_eq!(groups, [4, 3, 1], "combinations keep their ids");
        assert_eq!(second.attributes().nth(2).unwrap().rows(), [0, 1, 0, 1, 1]);
    }

    #[test]
    fn an_intersection_needs_its_privileged_group_and_another() {
        let schema = format!("{SCHEMA}{INTERSECTION}");
        let message = |text| read(text, &schema, Use::Learn).unwrap().1.check().unwrap_err().to_string();
        assert_eq!(
            message("age,sex,race,y\n30,f,w,yes\n30,m,b,no\n"),
            "f.csv: column \"race & sex\": no row belongs to the privileged group \"w|W & m\"; the combinations are \"w|W & f\", \"b & m\"; \
             take out the [[intersection]] table, or add data"
        );
        let one = message("age,sex,race,y\n30,m,w,yes\n30,f,?,no\n30,?,b,no\n");
        assert!(one.contains("unprivileged group (any other combination); the combinations are \"w|W & m\""), "{one}");
    }

    #[test]
    fn there_are_at_most_254_open_groups() {
        let schema =
            "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\n";
        let schema = Schema::from_toml("s.toml", schema).unwrap();
        let lines = (0..300).map(|i| format!("{i},1\n"));
        let text = format!("g,y\n{}", lines.collect::<String>());
        let mut stream = Stream::from_reader("f.csv", std::io::Cursor::new(text), &schema, Use::Learn).unwrap();
        let mut groups = Vec::new();
        while let Some(row) = stream.next_row().unwrap() {
            groups.push(row.groups[0]);
        }
        assert_eq!((groups[253], groups[254], groups[299]), (254, NO_GROUP, NO_GROUP));
        assert_eq!(stream.attributes().next().unwrap().unknown(), 46);
    }

    #[test]
    fn unusable_data_say_what_was_found_and_expected() {
        let checked = |text, schema| match read(text, schema, Use::Learn) {
            Err(error) => error.to_string(),
            Ok((_, stream)) => stream.check().unwrap_err().to_string(),
        };
        let target = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n";
        let sex = format!("{target}[[protected]]\ncolumn = \"s\"\nprivileged = [\"m\"]\n");
        let listed = format!("{sex}unprivileged = [\"f\"]\n");
        let old = format!("{target}[[filter]]\ncolumn = \"age\"\nmin = 90\n");
        for (text, schema, expected) in [
            ("a,b\n1,2\n", target, "f.csv: no column \"y\", which target.column needs; the columns are \"a\", \"b\""),
            ("y,b\n1,2\n", &sex, "f.csv: no column \"s\", which a [[protected]] table needs"),
            ("y\n", target, "f.csv: there are no records"),
            ("y\nyes\nno\n", target, "f.csv: column \"y\": found \"yes\", \"no\", expected one of \"1\", \"0\""),
            ("y\n1\n1\n", target, "f.csv: column \"y\": all 2 rows are positive, expected both outcomes"),
            (
                "y\n0\nyes\n",
                target,
                "f.csv: column \"y\": all 1 rows are negative, expected both outcomes; the positive values are \"1\", the data have \"yes\"",
            ),
            ("y,age\n1,20\n0,30\n", &old, "f.csv: none of the 2 records passes the filters"),
            ("y,age\n1,20\n0,old\n", &old, "f.csv:3: column \"age\": found \"old\", expected a number"),
            (
                "y,s\n1,f\n0,M\n",
                &sex,
                "f.csv: column \"s\": no row belongs to the privileged group \"m\"; the values are \"f\", \"M\"",
            ),
            (
                "y,s\n1,m\n0,m\n",
                &sex,
                "f.csv: column \"s\": no row belongs to the unprivileged group (any other value)",
            ),
            (
                "y,s\n1,m\n0,F\n",
                &listed,
                "f.csv: column \"s\": no row belongs to the unprivileged group \"f\"; the values are \"m\", \"F\"",
            ),
        ] {
            let message = checked(text, schema);
            assert!(message.starts_with(expected), "{message}\nexpected {expected}");
        }
    }
}
