//! Turns rows of a stream into *terms*: the weight rows that a record picks, each with a scale.
//!
//! An [`Encoder`] is fitted on the first rows and adds levels as they occur; [`Examples`] does both
//! and returns every row of a stream, from the first, as an [`Example`]. A feature picks:
//!
//! | value | terms |
//! | --- | --- |
//! | number `x` | the linear row times `m`; the knots on both sides, times nearness; its bin |
//! | number `x`, without bins | the linear row times `(t(clamp(x)) - mean) / sd` |
//! | level | the row of the level, times 1 |
//! | level not known yet, or too rare for a row | the *unseen* row, times 1 |
//! | none | the *missing* row, times 1 |
//!
//! Here `m` is the mean of `(t(x) - mean) / sd` in the bin, which lies between the two knots. For a
//! *sloped* number, which has few bins, it is that of the value itself.
//!
//! The first record with a new level picks the unseen row. This is the purpose of the unseen row,
//! and the only way it is learned. Row ids never change; new levels get the next free one.

mod bins;
mod block;
mod examples;
mod fit;
mod flips;
mod follow;
mod held;
mod levels;
mod number;

use std::collections::BTreeMap;
use std::ops::Range;

use feamoe_engine::Value;
use feamoe_engine::mixture::Term;
use feamoe_engine::schema::Transform;
use serde::{Deserialize, Serialize};

pub use block::Block;
pub use examples::Examples;
pub(crate) use fit::feature_columns;
pub use flips::{Flipper, Flips};
pub use follow::{Carried, Carry, Change, ChangeKind, MOST_CHANGES};
pub use number::Number;
use number::Resolution;

use crate::error::Error;
pub use crate::rows::NO_GROUP;
use crate::rows::{BadCells, Buffer, Cell, Record, Row, Seen, column, value};
use crate::schema::{Direction, Schema};
use follow::LevelCounts;
use levels::Levels;

/// One encoded record. Its buffers are reused from row to row.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Per feature, its value for the engine's record. Levels are coded in the order in which they
    /// got their rows.
    pub values: Vec<Value>,
    /// At most three per numeric and one per categorical feature, in the order of the features.
    pub terms: Vec<Term>,
    /// The block of each term: rows whose [gain](crate::learner) is learned together.
    pub blocks: Vec<Block>,
    /// Whether the outcome is the favourable one; false if it is not known.
    pub label: bool,
    /// Group per protected attribute, intersections last: 0 for the privileged group, 1 and up for
    /// the others, or [`NO_GROUP`].
    pub groups: Vec<u8>,
    /// Sample weight: how much the record counts in the loss, relative to others. 1 by default.
    /// Nothing is learned from a record whose weight is not positive and finite.
    pub weight: f64,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            terms: Vec::new(),
            blocks: Vec::new(),
            label: false,
            groups: Vec::new(),
            weight: 1.0,
        }
    }
}

/// Options for fitting an encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Number of rows to fit on, which are kept in memory. More rows cover rarer levels and outer
    /// quantiles.
    pub warmup: usize,
    /// Maximum number of bins of a numeric feature; 0 or 1 for none. With fewer than 64, values in
    /// the same bin still differ, by a line: [`Number`] gives the reason.
    pub bins: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { warmup: 5000, bins: 128 }
    }
}

/// The encoding of a data set: features with their scales, bins and levels, and how often each
/// weight row was picked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Encoder {
    features: Vec<Feature>,
    /// Per weight row, the sum of the scales it was picked with.
    mass: Vec<f64>,
    /// Per feature, the smallest and largest number learned from.
    extent: Vec<[f32; 2]>,
    /// Input quality per feature.
    quality: Vec<Quality>,
    /// From the schema.
    #[serde(skip)]
    bad_cells: BadCells,
    /// From the schema.
    #[serde(skip)]
    monotone: BTreeMap<String, Direction>,
    /// Number of rows learned from.
    rows_seen: u64,
    /// Number of blocks so far.
    blocks: u32,
    /// Maximum number of bins of a number.
    most_bins: usize,
    /// Whether numbers are sloped if a bin holds several values.
    has_slopes: bool,
    /// The newest changes, followed by the number of all changes.
    changes: Vec<Change>,
    n_changes: u64,
    /// Whether the encoding is fixed, because other runs share it.
    is_held: bool,
    /// Whether a check of a feature is due.
    #[serde(skip)]
    is_due: bool,
}

/// The weight rows of a number in which the score must be monotone. A learner that keeps their
/// weights in order ([`Learner::hold`](crate::learner::Learner::hold)) gives such a score.
///
/// The number has a line and at most 16 bins, however many other numbers have, and no hats. It thus
/// has a single level of bins, whose rows are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monotone {
    /// How the score changes with the value.
    pub direction: Direction,
    /// The row of the line.
    pub line: u32,
    /// The rows of the bins, in ascending order of the values; empty without bins.
    pub bins: Range<u32>,
}

/// Input quality of one feature, counted over all rows learned from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// Missing cells.
    pub missing: u64,
    /// Cells that are not a value of the feature, treated as missing; see [`BadCells`].
    pub bad: Seen,
    /// Numbers outside the range that the feature was fitted to.
    pub clamped: u64,
    /// Cells whose level had no weight row at that time.
    pub unseen: u64,
    /// Number of times its encoding was refitted or a level took another's place.
    pub refits: u64,
}

/// One feature.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Feature {
    name: String,
    /// Index of its column in the stream that the encoder was fitted on or last bound to.
    #[serde(skip)]
    column: usize,
    kind: Kind,
}

/// The kind of a feature.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A number.
    Number(Number),
    /// A category.
    Category(Category),
}

/// A categorical feature.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Category {
    levels: Levels,
    max_levels: usize,
    /// The unseen row; the missing row follows it.
    unseen_row: u32,
    block: Block,
    counts: LevelCounts,
    /// The values so far of a column that was empty at first, until they determine its kind.
    undecided: Option<Vec<String>>,
    /// Transform to use if the column turns out to be a number.
    transform: Transform,
}

impl Feature {
    /// Returns its column's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its kind.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the value of a cell for this feature; `None` for text where a number is needed, or
    /// for a negative number where a logarithm is needed.
    #[inline]
    fn value(&self, cell: Cell<'_>) -> Option<Value> {
        match &self.kind {
            Kind::Number(number) => value(cell, None).filter(|value| match value {
                Value::Number(x) => !(*x < 0.0 && number.transform == Transform::Log1p),
                _ => true,
            }),
            Kind::Category(category) => value(cell, Some(category.levels.known())),
        }
    }
}

impl Category {
    /// Returns the name and the weight row of every level, in the order in which they got their
    /// rows.
    pub fn levels(&self) -> impl ExactSizeIterator<Item = (&str, u32)> {
        self.levels.iter()
    }

    /// Returns the row that stands for levels without a row of their own.
    #[must_use]
    pub fn unseen_row(&self) -> u32 {
        self.unseen_row
    }

    /// Returns the row of a missing value.
    #[must_use]
    pub fn missing_row(&self) -> u32 {
        self.unseen_row + 1
    }
}

impl Encoder {
    /// Fits an encoder on the first rows of a table with these columns. These rows are not counted
    /// as seen.
    ///
    /// A column is categorical if the schema says so, if it has no value at all, if fewer than 95 %
    /// of its cells are numbers (not counting words for *no value*), or if the other cells are
    /// codes such as `V57`. Otherwise it is numeric.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`] for a column named under `features`, [`Error::FeatureCount`]; if
    /// the data contradict the schema, [`Error::NotANumber`], [`Error::NegativeForLog`] or
    /// [`Error::NoNumbers`].
    pub fn fit(rows: &Buffer, columns: &[String], schema: &Schema, options: &Options) -> Result<Self, Error> {
        fit::fit(rows, columns, schema, options, options.bins)
    }

    /// Like [`Encoder::fit`], with fewer bins for fewer rows.
    pub(crate) fn fit_draft(
        rows: &Buffer,
        columns: &[String],
        schema: &Schema,
        options: &Options,
        bins: usize,
    ) -> Result<Self, Error> {
        fit::fit(rows, columns, schema, options, bins)
    }

    /// Finds the feature columns by name. `file` stands for the source in messages.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`].
    pub fn bind(&mut self, columns: &[String], file: &str) -> Result<(), Error> {
        self.features.iter_mut().try_for_each(|feature| {
            feature.column = column(columns, file, &feature.name, "the model")?;
            Ok(())
        })
    }

    /// Takes over the settings that are not stored with the encoder: how to treat cells that are
    /// not a value of their feature, and which numbers are monotone.
    pub(crate) fn set_schema(&mut self, schema: &Schema) {
        self.bad_cells = schema.table.bad_cells;
        self.monotone.clone_from(&schema.features.monotone);
    }

    /// Returns what happens to cells that are not numbers where one is needed.
    pub(crate) fn bad_cells(&self) -> BadCells {
        self.bad_cells
    }

    /// Returns the direction in which the score must change with a feature's value; `None` if it
    /// need not be monotone.
    #[must_use]
    pub fn direction(&self, feature: &Feature) -> Option<Direction> {
        self.monotone.get(&feature.name).copied()
    }

    /// Returns the current rows of the monotone numbers. They may change whenever
    /// [`Encoder::follow`] returns a change.
    #[must_use]
    pub fn monotone(&self) -> Vec<Monotone> {
        let rows = |feature: &Feature| match &feature.kind {
            Kind::Number(number) => {
                let direction = self.direction(feature)?;
                Some(Monotone { direction, line: number.linear_row(), bins: number.bin_rows() })
            }
            Kind::Category(_) => None,
        };
        self.features.iter().filter_map(rows).collect()
    }

    /// Returns the resolution at which a number is learned.
    fn resolution_of(&self, name: &str) -> Resolution {
        Resolution::new(self.most_bins, self.has_slopes, self.monotone.contains_key(name))
    }

    /// Returns the features, in the order of the columns.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Returns the number of weight rows so far. Their ids are `0..n_rows`.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.mass.len()
    }

    /// Returns the number of data rows learned from.
    #[must_use]
    pub fn rows_seen(&self) -> u64 {
        self.rows_seen
    }

    /// Returns, per weight row, the sum of the scales it was picked with over all rows learned
    /// from. For a linear row this is the sum of the clamped standardised values; for any other row
    /// it is a count. Divided by [`rows_seen`](Self::rows_seen) it is the row's mean scale, so that
    /// `sum(mass / rows_seen * weights)` over a feature's rows is its mean contribution to the
    /// logits.
    #[must_use]
    pub fn mass(&self) -> &[f64] {
        &self.mass
    }

    /// Returns the row that provides a level's weights: its own, or the unseen row if no record has
    /// picked its own yet.
    pub(crate) fn learned_row(&self, category: &Category, row: u32) -> u32 {
        if self.mass.get(row as usize).is_some_and(|mass| *mass > 0.0) { row } else { category.unseen_row }
    }

    /// Returns the smallest and largest number of a feature (by index) learned from, before
    /// clamping; `None` for a category, or without any number.
    #[must_use]
    pub fn extent(&self, feature: usize) -> Option<[f32; 2]> {
        self.extent.get(feature).copied().filter(|[low, high]| low <= high)
    }

    /// Returns the input quality of every feature.
    #[must_use]
    pub fn quality(&self) -> &[Quality] {
        &self.quality
    }

    /// Encodes a row that is learned from. Counts it, and gives new levels a weight row while there
    /// is room.
    ///
    /// # Errors
    ///
    /// [`Error::NotANumber`].
    pub fn learn_one(&mut self, row: &Row<'_>, example: &mut Example) -> Result<(), Error> {
        let Self { features, mass, extent, quality, bad_cells, rows_seen, is_held, .. } = self;
        let (mut new_levels, mut bad) = (Vec::new(), Vec::new());
        let level_row = |feature: usize, category: &Category, known: Option<u32>| {
            known.unwrap_or_else(|| {
                if !*is_held && category.undecided.is_none() && category.levels().len() < category.max_levels {
                    new_levels.push(feature);
                }
                category.unseen_row
            })
        };
        example.encode(features, row, (*bad_cells, &mut bad), level_row)?;
        for term in &example.terms {
            mass[term.row as usize] += f64::from(term.scale);
        }
        for (((value, feature), [low, high]), quality) in
            example.values.iter().zip(&*features).zip(extent).zip(&mut *quality)
        {
            match (*value, &feature.kind) {
                (Value::Number(x), Kind::Number(number)) => {
                    // `min` and `max` ignore NaN. An infinity counts: it was learned from, and will
                    // be scored, as the end of the range.
                    (*low, *high) = (low.min(x), high.max(x));
                    quality.missing += u64::from(x.is_nan());
                    quality.clamped += u64::from(x < number.low || x > number.high);
                }
                (Value::Missing, _) => quality.missing += 1,
                (Value::Unseen, _) => quality.unseen += 1,
                (Value::Number(_) | Value::Level(_), _) => {}
            }
        }
        for index in bad {
            quality[index].missing -= 1;
            quality[index].bad.note(&row.text(features[index].column));
        }
        *rows_seen += 1;
        for feature in new_levels {
            self.add_level(feature, row);
        }
        if !self.is_held {
            self.count(row, example);
        }
        example.take_rest(row);
        Ok(())
    }

    /// Encodes a held-out row. Counts nothing and adds no level. A level of which only one record
    /// was learned from, which picked the unseen row, picks the unseen row again.
    ///
    /// # Errors
    ///
    /// [`Error::NotANumber`].
    pub fn encode(&self, row: &Row<'_>, example: &mut Example) -> Result<(), Error> {
        let level_row = |_, category: &Category, known: Option<u32>| {
            known.map_or(category.unseen_row, |row| self.learned_row(category, row))
        };
        example.encode(&self.features, row, (self.bad_cells, &mut Vec::new()), level_row)?;
        example.take_rest(row);
        Ok(())
    }

    /// Returns whether a stored encoder is valid: every weight row exists.
    pub(crate) fn is_sound(&self) -> bool {
        let exists = |row: u32| (row as usize) < self.mass.len();
        let has_block = |block: Block| block.index() < self.blocks as usize;
        (self.extent.len(), self.quality.len()) == (self.features.len(), self.features.len())
            && self.blocks as usize <= (1 + number::BLOCKS as usize) * self.features.len()
            && self.follows_soundly()
            && self.features.iter().all(|feature| match &feature.kind {
                Kind::Number(number) => number.is_sound(self.mass.len()) && number.blocks().all(has_block),
                Kind::Category(category) => {
                    let mut rows = category.levels().map(|(_, row)| row);
                    category.unseen_row < u32::MAX
                        && exists(category.missing_row())
                        && rows.all(exists)
                        && has_block(category.block)
                }
            })
    }

    #[cold]
    fn add_level(&mut self, feature: usize, row: &Row<'_>) {
        let id = self.add_rows(1);
        let Feature { column, kind, .. } = &mut self.features[feature];
        if let (Kind::Category(category), Some(level)) = (kind, row.cell(*column).text()) {
            category.levels.add(&level, id);
        }
    }

    /// Adds weight rows and returns the id of the first.
    fn add_rows(&mut self, count: usize) -> u32 {
        let first = self.mass.len();
        self.mass.resize(first + count, 0.0);
        first as u32
    }

    /// Adds blocks and returns the first.
    fn add_blocks(&mut self, count: u32) -> Block {
        let first = Block::new(self.blocks);
        self.blocks += count;
        first
    }
}

impl Example {
    /// Takes the values of a record and writes their terms. `level_row` returns the row that stands
    /// for a level, given the level's own row if it has one. A feature whose cell is not a valid
    /// value is added to `bad` and treated as missing.
    #[inline]
    fn encode(
        &mut self,
        features: &[Feature],
        record: &Record<'_>,
        (bad_cells, bad): (BadCells, &mut Vec<usize>),
        mut level_row: impl FnMut(usize, &Category, Option<u32>) -> u32,
    ) -> Result<(), Error> {
        self.values.clear();
        self.terms.clear();
        self.blocks.clear();
        for (index, feature) in features.iter().enumerate() {
            let cell = record.cell(feature.column);
            let value = match (feature.value(cell), bad_cells) {
                (Some(value), _) => value,
                (None, BadCells::Missing) => {
                    bad.push(index);
                    Value::Missing
                }
                (None, BadCells::Error) => return Err(bad_cell(record, &feature.name, cell)),
            };
            self.values.push(value);
            match &feature.kind {
                Kind::Number(number) => number.push_terms(value, self),
                Kind::Category(category) => {
                    let row = match value {
                        Value::Missing => category.missing_row(),
                        Value::Level(code) => level_row(index, category, category.levels.row(code)),
                        Value::Number(_) | Value::Unseen => level_row(index, category, None),
                    };
                    self.push(Term { row, scale: 1.0 }, category.block);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn push(&mut self, term: Term, block: Block) {
        self.terms.push(term);
        self.blocks.push(block);
    }

    fn take_rest(&mut self, row: &Row<'_>) {
        self.label = row.label.unwrap_or(false);
        self.weight = row.weight;
        self.groups.clear();
        self.groups.extend_from_slice(row.groups);
    }
}

/// Returns the error for a bad cell of a numeric feature.
#[cold]
fn bad_cell(record: &Record<'_>, column: &str, cell: Cell<'_>) -> Error {
    match cell.number() {
        #[allow(clippy::cast_possible_truncation)] // as it would be learned from
        Some(x) => Error::NegativeForLog { at: record.position.into(), column: column.into(), found: x as f32 },
        None => {
            let help = "nearly all of its first rows are numbers; correct the cell, name it under table.missing_in if it means that \
                        the value is not known, or list the column under features.categorical";
            record.not_a_number(column, cell, help)
        }
    }
}

#[cfg(test)]
mod tests;
