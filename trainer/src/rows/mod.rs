//! Reads the labelled rows of a table one at a time, in constant memory, whatever the length of the
//! table.
//!
//! A [`Source`] lends records ([`Record`]: cells by column). Sources are files ([`open()`]), tables
//! in memory ([`ArrayRows`]; `ArrowRows` with the feature `arrow`), and your own implementations. A
//! [`Stream`] turns records into rows as a schema describes: filters, label, protected groups.
//! Scoring without a schema needs only records.
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

mod admission;
mod alike;
mod array;
#[cfg(feature = "arrow")]
mod arrow;
mod buffer;
mod builder;
pub mod csv;
mod dates;
mod digest;
mod follow;
mod groups;
mod input;
mod intersection;
mod number;
mod open;
mod passed;
mod place;
mod reader;
mod record;
mod reservoir;
mod resolution;
mod rules;
mod seen;
mod source;
mod split;
mod union;
mod value;
mod words;

use std::io::Read;
use std::sync::Arc;

pub(crate) use admission::Admission;
pub use admission::{Counts, Row, Use};
pub(crate) use alike::resembling;
pub use array::ArrayRows;
#[cfg(feature = "serve")]
pub(crate) use arrow::guarded;
#[cfg(feature = "parquet")]
pub use arrow::is_reading_tables;
#[cfg(feature = "arrow")]
pub use arrow::{ArrowRows, ArrowTable};
pub use buffer::Buffer;
pub use builder::RecordBuilder;
pub use csv::Records;
use dates::Dated;
pub(crate) use dates::moment;
pub use digest::Digest;
pub use follow::Followed;
pub use groups::{Attribute, NO_GROUP};
pub use input::Input;
pub(crate) use number::{Marks, parse};
pub(crate) use open::{TextOrTable, resume, text_or_table};
pub use open::{open, open_like};
pub(crate) use place::Reading;
pub use place::{Place, ResumeFrom};
pub(crate) use reader::Reader;
pub use record::{Cell, Cells, Position, Record};
pub use reservoir::Reservoir;
pub(crate) use resolution::{Merged, merged};
pub use seen::{MOST_KEPT as MOST_SEEN, Seen};
pub use source::Source;
pub(crate) use source::column;
pub use split::{Part, Split, draw};
pub(crate) use union::{GroupMap, NoUnion};
pub(crate) use value::{Levels, value};
pub(crate) use words::{is_code, is_number_column, means_missing};

use crate::error::Error;
pub use crate::schema::BadCells;
use crate::schema::{Schema, Target};

/// Rows of a source, read as a schema describes.
pub struct Stream<'s> {
    source: Box<dyn Source + 's>,
    admission: Admission,
}

impl<'s> Stream<'s> {
    /// Opens files in the order given.
    ///
    /// # Errors
    ///
    /// See [`open`]; [`Error::MissingColumn`] for the target, a protected attribute or a filter.
    pub fn open(inputs: &[Input], schema: &Schema, usage: Use) -> Result<Self, Error> {
        Self::new(open(inputs, &schema.table)?, schema, usage)
    }

    /// Reads CSV text that is not in a file. `name` stands for it in messages.
    ///
    /// # Errors
    ///
    /// The same as [`Stream::open`].
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
        schema: &Schema,
        usage: Use,
    ) -> Result<Self, Error> {
        let records = Records::from_reader(name, reader, &schema.table)?;
        Self::new(Dated::of(Box::new(records), &schema.table)?, schema, usage)
    }

    /// Reads any source.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`] for the target, a protected attribute or a filter.
    pub fn new(source: impl Source + 's, schema: &Schema, usage: Use) -> Result<Self, Error> {
        let admission = Admission::new(source.columns(), source.file(), schema, usage)?;
        Ok(Self { source: Box::new(source), admission })
    }

    /// Lets the protected groups keep the ids they had in an earlier stream (another pass): groups
    /// that the schema does not list are numbered by first appearance. Call it before the first
    /// row.
    pub fn resume_groups<'a>(&mut self, earlier: impl IntoIterator<Item = &'a Attribute>) {
        self.admission.resume_groups(earlier);
    }

    /// Keeps one part of the rows from here on. The others are read, but not counted as filtered.
    pub fn keep(&mut self, split: Split) {
        self.admission.keep(split);
    }

    /// Uses a column as the sample weights: each value must be a number of at least 0. Rows of
    /// weight 0 are counted and left out. Call it before the first row.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`]. Afterwards [`Stream::next_row`] may return [`Error::NotAWeight`].
    pub fn weigh_by(&mut self, column: &str) -> Result<(), Error> {
        self.admission.weigh_by(column, self.source.file())
    }

    /// Returns the target that the schema names.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.admission.target()
    }

    /// Returns the column names.
    #[must_use]
    pub fn columns(&self) -> &Arc<[String]> {
        self.source.columns()
    }

    /// Returns the index of a column. `wanted_by` names what needs it, such as `target.column`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`], which lists the columns.
    pub fn column(&self, name: &str, wanted_by: &str) -> Result<usize, Error> {
        self.source.column(name, wanted_by)
    }

    /// States which columns are needed besides those that the schema needs. The others may be
    /// missing in later records, if that saves reading them. Call it before the first row.
    pub fn want(&mut self, columns: &[usize]) {
        self.source.want(&[columns, &self.admission.wanted()].concat());
    }

    /// Returns the names of the sources opened so far, for messages about all of them.
    #[must_use]
    pub fn files(&self) -> String {
        self.source.files()
    }

    /// Returns the protected attributes in the order of the schema, then the intersections, with
    /// the groups and counts so far.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> + Clone {
        self.admission.attributes()
    }

    /// Returns what happened to the records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.admission.counts()
    }

    /// Returns the labels of rows that were left out because they have neither outcome.
    #[must_use]
    pub fn other_labels(&self) -> &Seen {
        self.admission.other_labels()
    }

    /// Returns the groups and counts so far, without the position.
    pub(crate) fn place(&self) -> Place {
        self.admission.place(Reading::default())
    }

    /// Returns what happens to cells that are not numbers where a number is needed.
    #[must_use]
    pub fn bad_cells(&self) -> BadCells {
        self.source.bad_cells()
    }

    /// Returns notes on lines that were skipped and on files that were not read exactly as the
    /// schema says.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.source.notes()
    }

    /// Returns the digest of everything read so far.
    pub(crate) fn digest(&self) -> Digest {
        self.source.digest()
    }

    /// Returns the next row, or `None` at the end.
    ///
    /// # Errors
    ///
    /// See [`Source::advance`]; [`Error::NotANumber`] if a filter needs a number.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, Error> {
        loop {
            if !self.source.advance()? {
                return Ok(None);
            }
            if self.admission.admit(&self.source.record())? {
                break;
            }
        }
        Ok(Some(self.admission.row(self.source.record())))
    }

    /// Checks, once the stream is read, that learning is possible: rows of both outcomes occurred,
    /// and every group that the schema names.
    ///
    /// # Errors
    ///
    /// [`Error::NoUsableRows`], [`Error::OneOutcome`], [`Error::AbsentGroup`].
    pub fn check(&self) -> Result<(), Error> {
        self.admission.check(&self.files())
    }

    /// Checks that at least one group of each protected column occurred.
    ///
    /// # Errors
    ///
    /// [`Error::AbsentGroup`].
    pub fn check_any_group(&self) -> Result<(), Error> {
        self.admission.check_any_group(&self.files())
    }

    /// Checks that at least one row of this stream was used.
    ///
    /// # Errors
    ///
    /// [`Error::NoUsableRows`].
    pub fn check_rows(&self) -> Result<(), Error> {
        self.admission.check_rows(&self.files())
    }
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

    fn read(text: &'static str, schema: &str, usage: Use) -> Result<(Vec<Used>, Stream<'static>), Error> {
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
        let counts = Counts { read: 10, filtered: 4, unlabelled: 1, weightless: 0, positive: 2, negative: 3 };
        assert_eq!(stream.counts(), counts);
        let [sex, race]: [&Attribute; 2] = stream.attributes().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(
            (sex.groups(), sex.rows(), sex.without_group().rows()),
            (&["m".into(), "f".into()][..], &[2, 2][..], 1)
        );
        assert_eq!(race.groups(), ["w|W", "b", "a"]);
        assert_eq!((race.rows(), race.without_group().rows()), (&[1, 2, 1][..], 1));
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
        let (rows, stream) = read("y\n1\n0\n1.0\n?\n0\n", schema, Use::Learn).unwrap();
        let labels: Vec<_> = rows.iter().map(|r| r.1).collect();
        assert_eq!(labels, [Some(true), Some(false), Some(true), Some(false)]);
        assert_eq!((stream.counts().unlabelled, stream.other_labels().missing()), (1, 1));
        // A third value is not certain to be either outcome.
        let error = read("y\n1\n0\n0\nmaybe\n", schema, Use::Learn).err().unwrap().to_string();
        let expected = "f.csv:5: column \"y\": found \"maybe\", expected the favourable outcome, \"1\", or the one other value, \"0\"; ";
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(read("y\n1\n0\nmaybe\n", schema, Use::Score).unwrap().0.len(), 3);
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
        assert_eq!((both.rows(), both.without_group().rows()), (&[1, 1, 1, 1][..], 1));
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
             remove the [[intersection]] table, or add data"
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
        assert_eq!(stream.attributes().next().unwrap().without_group().rows(), 46);
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
            ("y\n1\n1\n", target, "f.csv: column \"y\": all 2 rows have the favourable outcome, expected both"),
            (
                "y\n0\nyes\n",
                target,
                "f.csv: column \"y\": all 1 rows have the other outcome, expected both; the values of the favourable one are \"1\", the data have \"yes\"",
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
