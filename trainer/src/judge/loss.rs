//! The loss of integer weights, measured by scoring the same rows with both models.

use feamoe_engine::FeatureIndex;
use feamoe_engine::fairness::Measure;
use serde::Serialize;

use crate::error::Error;
use crate::judge::comparison::{ScoreChange, evaluate_both};
use crate::model::{AnyModel, HostIntegerModel, HostModel};
use crate::rows::Input;
use crate::rows::{Stream, Use};
use crate::schema::Schema;

/// The measures whose gaps are compared.
const MEASURES: [Measure; 2] = [Measure::Spd, Measure::Aod];

/// The changes from integer weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Loss {
    /// Number of records that both models scored.
    pub rows: u64,
    /// Largest absolute difference in p.
    pub largest_difference: f32,
    /// Number of records whose decision changes.
    pub changed_decisions: u64,
    /// Share of the records whose decision changes.
    pub changed_share: f64,
    /// The fairness gaps of every group; empty without labelled rows or without protected columns.
    pub gaps: Vec<GapChange>,
}

/// A fairness gap with float and with integer weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GapChange {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The name of the measure.
    pub measure: &'static str,
    /// The gap with float weights, group minus reference.
    pub float: f32,
    /// The gap with integer weights, group minus reference.
    pub integer: f32,
}

impl GapChange {
    /// Returns the change of the gap.
    #[must_use]
    pub fn change(&self) -> f32 {
        (self.integer - self.float).abs()
    }
}

impl Loss {
    /// Returns the largest change of a gap; `None` if there is none to compare.
    #[must_use]
    pub fn largest_gap_change(&self) -> Option<f32> {
        self.gaps.iter().map(GapChange::change).filter(|change| !change.is_nan()).max_by(f32::total_cmp)
    }

    fn of(scores: &ScoreChange) -> Self {
        Self {
            rows: scores.rows,
            largest_difference: scores.largest_change,
            changed_decisions: scores.changed_decisions,
            changed_share: scores.changed_share,
            gaps: Vec::new(),
        }
    }
}

/// Compares the models on the background records of the first.
#[must_use]
pub fn loss_on_background(float: &HostModel<'_>, integer: &HostIntegerModel<'_>) -> Loss {
    let models = [AnyModel::Float(float), AnyModel::Integer { model: integer, floats: None }];
    let (mut scores, mut records) = (ScoreChange::default(), models.map(AnyModel::record));
    for row in 0..float.background_rows() {
        for (index, value) in float.background_values(row).into_iter().flatten().enumerate() {
            for record in &mut records {
                // The models have the same features and the background was checked, so no value can
                // be refused.
                let _ = record.set_value(FeatureIndex(index), value);
            }
        }
        let [float, integer] = models;
        // Each record was created by its model, so scoring cannot fail.
        let both = [float.score(&records[0]), integer.score(&records[1])].map(Result::unwrap_or_default);
        scores.observe(both.each_ref());
    }
    Loss::of(&scores)
}

/// Compares the models on the rows of files: decisions, and the gaps between the schema's groups.
///
/// # Errors
/// The errors of the stream, [`Error::MissingColumn`], [`Error::OtherOutcome`], and
/// [`Error::NoUsableRows`] without rows.
pub fn loss_on_data(
    float: &HostModel<'_>,
    integer: &HostIntegerModel<'_>,
    data: &[Input],
    schema: &Schema,
) -> Result<Loss, Error> {
    let models = [AnyModel::Float(float), AnyModel::Integer { model: integer, floats: None }];
    let mut stream = Stream::open(data, schema, Use::Learn)?;
    let (scores, reports) = evaluate_both(models, ["the model"; 2], &mut stream)?;
    let mut loss = Loss::of(&scores);
    let [float, integer] = reports.map(|report| report.fairness);
    for (float, integer) in float.into_iter().zip(integer) {
        for measure in MEASURES {
            loss.gaps.push(GapChange {
                attribute: float.attribute.clone(),
                group: float.group.clone(),
                measure: measure.name(),
                float: float.measure(measure),
                integer: integer.measure(measure),
            });
        }
    }
    Ok(loss)
}
