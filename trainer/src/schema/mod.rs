//! The schema of a data set: how to read the table, what to predict, which columns are protected,
//! and which rows and columns to use.
//!
//! A schema is a TOML file. [`Schema::from_toml`] refuses unknown keys and contradictions, with
//! line and column, so a [`Schema`] read from a file is consistent in itself. Whether it fits the
//! data is checked when both are used together ([`Stream::open`](crate::rows::Stream::open),
//! [`Encoder::fit`](crate::encoder::Encoder::fit)).
//!
//! ```
//! let text = r#"
//!     [target]
//!     column = "approved"
//!     positive = ["yes"]
//!
//!     [[protected]]
//!     column = "sex"
//!     privileged = ["male"]
//! "#;
//! let schema = feamoe::schema::Schema::from_toml("schema.toml", text)?;
//! assert_eq!(schema.table.delimiter, ',');
//! assert!(!schema.protected[0].as_feature);
//! # Ok::<(), feamoe::error::Error>(())
//! ```

pub(crate) mod as_text;
mod check;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Maximum size of a TOML file in bytes.
const MOST_BYTES: u64 = 4 << 20;

/// A schema. Each field is a table of the TOML file. The default schema names no target; it is for
/// rows that are only scored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// How to read the text.
    #[serde(default)]
    pub table: Table,
    /// What to predict.
    pub target: Target,
    /// The protected attributes.
    #[serde(default)]
    pub protected: Vec<Protected>,
    /// Intersections of protected attributes.
    #[serde(default)]
    pub intersection: Vec<Intersection>,
    /// Which rows to use: those that pass every filter.
    #[serde(default)]
    pub filter: Vec<Filter>,
    /// Which columns the model sees, and how.
    #[serde(default)]
    pub features: Features,
}

/// `[table]`: how to read the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// Whether the first line of each file names the columns.
    pub header: bool,
    /// The column names, if there is no header.
    pub columns: Vec<String>,
    /// The separator of fields: one ASCII character.
    pub delimiter: char,
    /// Whether to remove blanks around each cell.
    pub trim: bool,
    /// Cells that mean *no value*.
    pub missing: Vec<String>,
    /// The decimal mark of numbers.
    pub decimal: char,
    /// The mark between groups of three digits. Blanks and apostrophes need not be named.
    pub thousands: Option<char>,
    /// The ASCII character that starts a comment line. Such lines are skipped.
    pub comment: Option<char>,
    /// How to treat text in a numeric column: `error` stops and states its position, `missing`
    /// treats it as missing and counts it.
    pub bad_cells: BadCells,
    /// Per column, additional cells that mean *no value*, such as `-1` for never.
    pub missing_in: BTreeMap<String, Vec<String>>,
    /// Per date column, the numeric columns derived from it.
    pub dates: BTreeMap<String, Dates>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            header: true,
            columns: Vec::new(),
            delimiter: ',',
            trim: true,
            missing: ["", "NA", "NaN", "?"].map(String::from).to_vec(),
            decimal: '.',
            thousands: None,
            comment: None,
            bad_cells: BadCells::Error,
            missing_in: BTreeMap::new(),
            dates: BTreeMap::new(),
        }
    }
}

/// `[table.dates.COLUMN]`: how to derive numeric columns from a date column; they are called
/// `COLUMN.days` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dates {
    /// The format of dates, in the notation of `strftime`, such as `%Y-%m-%d`. A time after the
    /// date is ignored.
    pub format: String,
    /// The day from which days are counted, such as `2015-01-31`; 1970-01-01 if absent.
    #[serde(default)]
    pub since: Option<String>,
    /// The numbers to derive: `days`, `year`, `month`, `weekday` (1 for Monday to 7), `hour`.
    pub parts: Vec<DatePart>,
}

impl Dates {
    /// Returns the day from which days are counted.
    pub(crate) fn since(&self) -> NaiveDate {
        self.since.as_deref().and_then(|day| day.parse().ok()).unwrap_or_default()
    }
}

/// A number derived from a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DatePart {
    /// Days since the day in `since`; negative before it.
    Days,
    /// The year.
    Year,
    /// The month, 1 to 12.
    Month,
    /// The day of the week, from 1 (Monday) to 7 (Sunday).
    Weekday,
    /// The hour of the time after the date, 0 to 23; 0 without a time.
    Hour,
}

impl DatePart {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Days => "days",
            Self::Year => "year",
            Self::Month => "month",
            Self::Weekday => "weekday",
            Self::Hour => "hour",
        }
    }
}

/// How to treat a cell of a numeric column that is not a number, or a negative number if its
/// logarithm is used. All rows are treated alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum BadCells {
    /// Stop with an error that states the position of the cell.
    #[default]
    Error,
    /// Treat the cell as missing, and count it.
    Missing,
}

/// `[target]`: what to predict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The column.
    pub column: String,
    /// The values that are the favourable outcome.
    pub positive: Vec<String>,
    /// The values that are the unfavourable outcome. If empty: every value that is neither in
    /// `positive` nor missing. Rows with neither outcome are left out and counted.
    #[serde(default)]
    pub negative: Vec<String>,
    /// The name of the favourable outcome in reasons and letters, such as `loan approved`; the
    /// first of `positive` if absent.
    #[serde(default)]
    pub label: Option<String>,
}

impl Target {
    /// Checks that the favourable outcome of a model is in `positive`; otherwise all figures would
    /// be about the other outcome. Numbers are compared as numbers. A model without names, or a
    /// schema without outcomes, is not checked.
    ///
    /// # Errors
    /// [`Error::OtherOutcome`].
    pub fn check_model(&self, model: feamoe_engine::Schema<'_>) -> Result<(), Error> {
        let Some(expected) = model.positive_name().filter(|name| !name.is_empty()) else { return Ok(()) };
        let same = |value: &String| {
            let numbers = [value, expected].map(str::parse::<f64>);
            value == expected || matches!(numbers, [Ok(a), Ok(b)] if a == b)
        };
        if self.positive.is_empty() || self.positive.iter().any(same) {
            return Ok(());
        }
        Err(Error::OtherOutcome { found: self.positive.clone(), expected: expected.to_owned() })
    }
}

/// `[[protected]]`: one protected attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Protected {
    /// The column.
    pub column: String,
    /// The values that together form the privileged group, with which every other group is
    /// compared.
    pub privileged: Vec<String>,
    /// The values that each form an unprivileged group; rows with any other value are in no group.
    /// If absent, every value that is neither privileged nor missing forms its own group.
    pub unprivileged: Option<Vec<String>>,
    /// Whether the column is a feature of the model. If it is not, scoring does not need the
    /// column.
    #[serde(default)]
    pub as_feature: bool,
    /// For a numeric column: the ascending numbers that divide it into groups. `[30, 62]` gives the
    /// groups `below 30`, `30 to below 62` and `62 and more`.
    #[serde(default)]
    pub cuts: Vec<f64>,
    /// Columns of 0 and 1 that together form the attribute, which is then called `column`. The rows
    /// with 1 in a column form the group of that column; rows without any 1 are in the group `none
    /// of these`.
    #[serde(default)]
    pub dummies: Vec<String>,
}

impl Protected {
    /// Group of a record that has 1 in none of `dummies`.
    pub const NONE: &str = "none of these";
    /// Group of a record that has 1 in more than one of `dummies`.
    pub const SEVERAL: &str = "several of these";

    /// Returns the columns that the attribute is read from.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        let own = Some(&self.column).filter(|_| self.dummies.is_empty());
        own.into_iter().chain(&self.dummies)
    }

    /// Returns whether the groups are the values of its column.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.cuts.is_empty() && self.dummies.is_empty()
    }

    /// Returns the names of the groups that `cuts` makes, in ascending order.
    #[must_use]
    pub fn cut_names(&self) -> Vec<String> {
        let (Some(first), Some(last)) = (self.cuts.first(), self.cuts.last()) else { return Vec::new() };
        let between = self.cuts.iter().zip(self.cuts.iter().skip(1));
        let between = between.map(|(low, high)| format!("{low} to below {high}"));
        [format!("below {first}")].into_iter().chain(between).chain([format!("{last} and more")]).collect()
    }
}

/// `[[intersection]]`: protected columns that together form another attribute. Its privileged group
/// is privileged in all of them; every other combination of their groups is a group. Targets and
/// reports include it like any other attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Intersection {
    /// The protected columns, two or more.
    pub columns: Vec<String>,
}

/// `[[filter]]`: keeps the rows that satisfy every given condition. A missing cell fails `min`,
/// `max` and `keep` (unless `keep` lists it) and passes `drop` (unless `drop` lists it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The column.
    pub column: String,
    /// Smallest number kept.
    pub min: Option<f64>,
    /// Largest number kept.
    pub max: Option<f64>,
    /// The values kept.
    #[serde(default)]
    pub keep: Vec<String>,
    /// The values dropped.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// `[features]`: which columns the model sees, and how. By default all except the target and the
/// protected columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Features {
    /// Columns to leave out.
    pub drop: Vec<String>,
    /// If not empty, the only columns to use.
    pub only: Vec<String>,
    /// Columns that are categories although their values look like numbers.
    pub categorical: Vec<String>,
    /// Numeric columns with a heavy tail, which are transformed to `ln(1 + x)`; their values must
    /// be at least 0.
    pub log1p: Vec<String>,
    /// The largest number of levels of a categorical column that have their own weights. Rarer
    /// levels share the *unseen* weight row.
    pub max_levels: usize,
    /// Per numeric column, how the score changes with its value, all else equal: with `up` the
    /// score never falls as the value rises, with `down` it never rises. The weights are
    /// constrained and checked accordingly, whatever the data are. The score of a missing value is
    /// not constrained. Such a column has at most 16 bins and no influence on the gate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub monotone: BTreeMap<String, Direction>,
    /// Columns that recourse never changes, in addition to the protected ones.
    pub immutable: Vec<String>,
    /// Numeric columns that recourse may only increase.
    pub increase_only: Vec<String>,
    /// Numeric columns that recourse may only decrease.
    pub decrease_only: Vec<String>,
    /// Per numeric column, the lowest and highest value that recourse may propose.
    pub ranges: BTreeMap<String, [f64; 2]>,
    /// Per numeric column, the step of the values that recourse proposes: they are multiples of the
    /// step. A step of 1 gives whole numbers.
    pub steps: BTreeMap<String, f64>,
    /// Per column, the factor by which its change counts in the distance of a recourse; above 1 for
    /// a column that is hard to change. Default: 1.
    pub costs: BTreeMap<String, f64>,
}

/// How the score changes with the value of a monotone column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The score never falls as the value rises.
    Up,
    /// The score never rises as the value rises.
    Down,
}

impl Direction {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Returns 1 for up, -1 for down.
    pub(crate) const fn sign(self) -> f32 {
        match self {
            Self::Up => 1.0,
            Self::Down => -1.0,
        }
    }
}

impl Default for Features {
    fn default() -> Self {
        Self {
            drop: Vec::new(),
            only: Vec::new(),
            categorical: Vec::new(),
            log1p: Vec::new(),
            max_levels: 64,
            monotone: BTreeMap::new(),
            immutable: Vec::new(),
            increase_only: Vec::new(),
            decrease_only: Vec::new(),
            ranges: BTreeMap::new(),
            steps: BTreeMap::new(),
            costs: BTreeMap::new(),
        }
    }
}

impl Features {
    /// Returns all columns that are named here, each with the key that names it.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let Self { drop, only, categorical, log1p, immutable, increase_only, decrease_only, .. } = self;
        let lists = [
            ("drop", drop),
            ("only", only),
            ("categorical", categorical),
            ("log1p", log1p),
            ("immutable", immutable),
            ("increase_only", increase_only),
            ("decrease_only", decrease_only),
        ];
        let lists = lists.into_iter().flat_map(|(key, names)| names.iter().map(move |name| (key, name)));
        let numbers = [("steps", &self.steps), ("costs", &self.costs)];
        let numbers = numbers.into_iter().flat_map(|(key, table)| table.keys().map(move |name| (key, name)));
        let others = self.ranges.keys().map(|name| ("ranges", name));
        lists.chain(others).chain(numbers).chain(self.monotone.keys().map(|name| ("monotone", name)))
    }
}

impl Schema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], or [`Error::Schema`] with line and column.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::from_toml(&path.display().to_string(), &read_toml(path, "a schema")?)
    }

    /// Parses and checks a schema; `file` is its name in messages.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] with line and column: not TOML, an unknown or missing key, a value of the
    /// wrong type, or a contradiction.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Error> {
        let schema: Self = toml::from_str(text).map_err(|error| not_toml(file, text, &error))?;
        check::check(&schema).map_err(|fault| {
            let (line, column) = line_and_column(text, check::locate(text, &fault.path));
            Error::Schema { file: file.into(), line, column, message: fault.message }
        })?;
        Ok(schema)
    }

    /// Returns whether a stored schema is one that [`Schema::from_toml`] would have read.
    pub(crate) fn is_sound(&self) -> bool {
        check::check(self).is_ok()
    }
}

/// Reads the text of a TOML file; `expected` states what it should contain.
pub(crate) fn read_toml(path: &Path, expected: &str) -> Result<String, Error> {
    let file = path.display().to_string();
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read { file: file.clone(), source })?;
    let refuse = |line: usize, found: &str| {
        let message = format!("found {found}, expected {expected} in TOML; check that it is the right file");
        Error::Schema { file: file.clone(), line, column: 1, message }
    };
    if bytes.len() as u64 > MOST_BYTES {
        return Err(refuse(1, &format!("more than {} MB", MOST_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        refuse(1 + before.filter(|byte| **byte == b'\n').count(), "bytes that are not UTF-8")
    })
}

/// Returns the error for invalid TOML, with its position.
pub(crate) fn not_toml(file: &str, text: &str, error: &toml::de::Error) -> Error {
    let (line, column) = error.span().map_or((1, 1), |span| line_and_column(text, span.start));
    Error::Schema { file: file.into(), line, column, message: one_line(error.message()) }
}

/// Returns the 1-based line and column (in characters) of a byte offset.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINIMAL: &str = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n";

    fn message(text: &str) -> String {
        Schema::from_toml("s.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_key_of_the_format() {
        let text = r#"
            [table]
            header = false
            columns = ["age", "sex", "hours", "gain", "days", "y"]
            delimiter = ";"
            trim = true
            missing = ["?", ""]
            comment = "|"
            [target]
            column = "y"
            positive = [">50K", ">50K."]
            negative = ["<=50K", "<=50K."]
            [[protected]]
            column = "sex"
            privileged = ["Male"]
            unprivileged = ["Female"]
            as_feature = true
            [[protected]]
            column = "age"
            privileged = ["40"]
            [[intersection]]
            columns = ["age", "sex"]
            [[filter]]
            column = "days"
            min = -30.0
            max = 30
            [features]
            drop = ["days"]
            only = []
            categorical = ["age"]
            log1p = ["gain"]
            max_levels = 32
            monotone = { hours = "up", gain = "down" }
            immutable = ["age"]
            increase_only = ["hours"]
            decrease_only = ["gain"]
            ranges = { "hours" = [1, 80] }
            steps = { hours = 1 }
            costs = { hours = 2.5, gain = 1 }
        "#;
        let schema = Schema::from_toml("s.toml", text).unwrap();
        assert_eq!(schema.table.comment, Some('|'));
        assert_eq!(schema.protected[0].unprivileged, Some(vec!["Female".into()]));
        assert_eq!(schema.intersection[0].columns, ["age", "sex"]);
        assert_eq!(schema.filter[0].max, Some(30.0));
        assert_eq!(schema.features.ranges["hours"], [1.0, 80.0]);
        assert_eq!(schema.features.monotone["gain"], Direction::Down);
        assert_eq!((schema.features.steps["hours"], schema.features.costs["hours"]), (1.0, 2.5));
        let again: Schema = toml::from_str(&toml::to_string(&schema).unwrap()).unwrap();
        assert_eq!(again, schema);
    }

    #[test]
    fn a_schema_may_be_just_a_target() {
        let schema = Schema::from_toml("s.toml", MINIMAL).unwrap();
        assert_eq!(schema.table, Table::default());
        assert!(schema.target.negative.is_empty());
        assert_eq!(schema.features.max_levels, 64);
    }

    #[test]
    fn syntax_errors_and_unknown_keys_carry_line_and_column() {
        assert!(message("[target\n").starts_with("s.toml:1:8: "), "{}", message("[target\n"));
        let unknown = message(&format!("{MINIMAL}[features]\nlog = []\n"));
        assert!(unknown.starts_with("s.toml:5:1: unknown field `log`, expected one of"), "{unknown}");
        let missing = message("[table]\nheader = true\n");
        assert!(missing.contains("missing field `target`"), "{missing}");
        let wrong_type = message("[target]\ncolumn = \"y\"\npositive = [1]\n");
        assert!(wrong_type.starts_with("s.toml:3:13: invalid type: integer `1`, expected a string"), "{wrong_type}");
    }
}
