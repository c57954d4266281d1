//! Remarks about a run: circumstances that limit the meaning of its measures or verdicts.

use std::fmt;

use super::Trainer;
use super::order::Order;
use crate::judge::gaps::SMALL_GROUP;
use crate::model::card::FeatureCells;

/// If at least this share of the windows has only one outcome, there is a remark.
const MOST_OF_ONE_OUTCOME: f64 = 0.1;

/// With fewer rows than this, several passes hold a target better.
const FEW_FOR_TARGETS: u64 = 5000;

/// The number of rows among which controllers need enough rows of every group.
const AT_A_TIME: u64 = 1000;

/// A remark about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// The rows are sorted by their outcome, or by a protected column.
    Sorted {
        /// `the outcome`, or the protected column.
        by: String,
    },
    /// The rows are sorted by a feature, such as a date.
    SortedByFeature {
        /// Its column.
        column: String,
    },
    /// Windows of the stream have only one outcome.
    OneOutcome {
        /// Number of such windows.
        windows: usize,
        /// Number of all windows.
        of: usize,
    },
    /// A column became a category although most of its levels are numbers.
    NumbersAsLevels {
        /// Its column.
        column: String,
        /// A level that is not a number.
        text: String,
    },
    /// Most cells of a feature are levels that the encoder does not know.
    MostlyUnseen {
        /// Its column.
        column: String,
        /// Such cells.
        unseen: u64,
        /// Rows learned from.
        rows: u64,
    },
    /// There are fewer rows than the encoder is usually fitted on.
    FewRows {
        /// The rows.
        rows: u64,
        /// The number of rows that it is usually fitted on.
        wanted: usize,
    },
    /// There are targets, but few rows in a single pass.
    FewRowsForTargets {
        /// The rows.
        rows: u64,
    },
    /// There are targets, but most groups have few rows at a time.
    SmallGroups {
        /// The protected column.
        column: String,
        /// Such groups.
        small: usize,
        /// Number of its groups.
        of: usize,
    },
    /// The last decisions are all the same.
    SameDecisions {
        /// Whether they are favourable.
        selected: bool,
        /// Number of these decisions.
        rows: u64,
    },
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sorted { by } => write!(
                f,
                "the rows are sorted by {by}: one pass in this order fits the last block of rows, so that the measures above do not describe the model; \
                 no target is judged"
            ),
            Self::SortedByFeature { column } => write!(
                f,
                "the rows are sorted by {column:?}: the model has seen each of its values in one stretch of the rows only, so that the measures above \
                 do not describe it; no target is judged"
            ),
            Self::OneOutcome { windows, of } => {
                write!(f, "{windows} of {of} windows have only one outcome, so their accuracy is not meaningful")
            }
            Self::NumbersAsLevels { column, text } => write!(
                f,
                "column {column:?} is a category, though most of its levels are numbers: of the first rows too many are none, such as {text:?}; name those \
                 under table.missing_in if they mean that the value is not known, or list the column under features.categorical"
            ),
            Self::MostlyUnseen { column, unseen, rows } => write!(
                f,
                "column {column:?} is a category, and {unseen} of its cells in {rows} rows are levels too new or too rare to have weights: the model \
                 learns little from it; list it under features.drop if it names records, or mend the cells that are no numbers if it should hold numbers"
            ),
            Self::FewRows { rows, wanted } => {
                write!(f, "the encoding was fitted on all {rows} rows; it is reliable with {wanted} or more")
            }
            Self::FewRowsForTargets { rows } => write!(
                f,
                "{rows} rows in a single pass are few for a target; controllers need a few thousand to settle"
            ),
            Self::SmallGroups { column, small, of } => write!(
                f,
                "{small} of {of} groups of {column:?} have fewer than {SMALL_GROUP} of {AT_A_TIME} rows: to hold a target for groups this small follows chance, \
                 and may cost much accuracy; list fewer groups in the schema, or learn without a target"
            ),
            Self::SameDecisions { selected, rows } => write!(
                f,
                "the last {rows} decisions are all the same ({}): gaps of decision rates are meaningless",
                if *selected { "selected" } else { "declined" }
            ),
        }
    }
}

/// Returns the remarks about a run.
pub(super) fn remarks(trainer: &Trainer, order: &Order) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if order.is_sorted_by_outcome() {
        remarks.push(Remark::Sorted { by: "the outcome".into() });
    }
    for (index, attribute) in trainer.attributes().enumerate() {
        if order.is_sorted_by_group(index) {
            remarks.push(Remark::Sorted { by: format!("{:?}", attribute.column()) });
        }
    }
    let columns = trainer.columns_sorted_by();
    remarks.extend(columns.map(|column| Remark::SortedByFeature { column: column.to_owned() }));
    let windows = trainer.prequential().windows();
    let of_one = windows.iter().filter(|window| [true, false].iter().any(|label| window.all().labelled(*label) == 0));
    let of_one = of_one.count();
    #[allow(clippy::cast_precision_loss)]
    if of_one as f64 > MOST_OF_ONE_OUTCOME * windows.len() as f64 {
        remarks.push(Remark::OneOutcome { windows: of_one, of: windows.len() });
    }
    remarks.extend(trainer.columns_of_levels_that_are_numbers());
    remarks.extend(
        trainer
            .feature_cells()
            .into_iter()
            .filter(|cells| cells.unseen > cells.rows / 2)
            .map(|FeatureCells { feature: column, unseen, rows, .. }| Remark::MostlyUnseen { column, unseen, rows }),
    );
    let rows = trainer.counts().positive + trainer.counts().negative;
    let is_held = trainer.encoder().is_some_and(|encoder| encoder.is_held());
    if !is_held && trainer.wanted_rows() as u64 > rows {
        remarks.push(Remark::FewRows { rows, wanted: trainer.wanted_rows() });
    }
    let has_targets = !trainer.learner().options().targets().is_empty();
    if has_targets && rows < FEW_FOR_TARGETS && trainer.passes().epochs == 1 {
        remarks.push(Remark::FewRowsForTargets { rows });
    }
    for attribute in trainer.attributes().filter(|_| has_targets) {
        let (all, of) = (attribute.rows().iter().sum::<u64>(), attribute.rows().len());
        let small = attribute.rows().iter().filter(|rows| **rows * AT_A_TIME < SMALL_GROUP * all).count();
        if 2 * small > of {
            remarks.push(Remark::SmallGroups { column: attribute.column().to_owned(), small, of });
        }
    }
    let last = trainer.last_decisions();
    let all = last.all();
    for selected in [true, false] {
        if all.rows() > 0 && all.decided(selected) == all.rows() {
            remarks.push(Remark::SameDecisions { selected, rows: all.rows() });
        }
    }
    remarks
}
