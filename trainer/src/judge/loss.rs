//! What integer weights lose: both models score the same rows.

use feamoe_engine::FeatureIndex;
use feamoe_engine::fairness::Measure;
use serde::Serialize;

use crate::error::Error;
use crate::judge::binding::Binding;
use crate::judge::evaluation::Evaluator;
use crate::model::{AnyModel, AnyRecord, HostIntegerModel, HostModel, HostScore};
use crate::rows::Input;
use crate::rows::{Stream, Use};
use crate::schema::Schema;

/// The measures whose gaps are compared.
const MEASURES: [Measure; 2] = [Measure::Spd, Measure::Aod];

/// What integer weights change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Loss {
    /// Records that both models scored.
    pub rows: u64,
    /// Largest difference in p.
    pub largest_difference: f32,
    /// Records that are decided otherwise.
    pub changed_decisions: u64,
    /// Their share.
    pub changed_share: f64,
    /// Fairness gaps by group; none without labelled rows and protected columns.
    pub gaps: Vec<GapChange>,
}

/// A fairness gap with float and with integer weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapChange {
    /// Protected column.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The measure's name.
    pub measure: &'static str,
    /// Group minus reference, with float weights.
    pub float: f32,
    /// With integer weights.
    pub integer: f32,
}

impl GapChange {
    /// Returns how much larger or smaller the gap has become.
    #[must_use]
    pub fn change(&self) -> f32 {
        (self.integer - self.float).abs()
    }
}

impl Loss {
    /// Returns the largest change of a gap; `None` where there is none to compare.
    #[must_use]
    pub fn largest_gap_change(&self) -> Option<f32> {
        self.gaps.iter().map(GapChange::change).filter(|change| !change.is_nan()).max_by(f32::total_cmp)
    }

    /// Takes in a record's score by both.
    #[allow(clippy::cast_precision_loss)]
    fn observe(&mut self, [float, integer]: &[HostScore; 2]) {
        self.rows += 1;
        self.largest_difference = self.largest_difference.max((float.probability - integer.probability).abs());
        self.changed_decisions += u64::from(float.decision != integer.decision);
        self.changed_share = self.changed_decisions as f64 / self.rows as f64;
    }
}

/// Compares the models on the background records of the first.
#[must_use]
pub fn loss_on_background(float: &HostModel<'_>, integer: &HostIntegerModel<'_>) -> Loss {
    let models = [AnyModel::Float(float), AnyModel::Integer { model: integer, floats: None }];
    let (mut loss, mut records) = (Loss::default(), models.map(AnyModel::record));
    for row in 0..float.background_rows() {
        for (index, value) in float.background_values(row).into_iter().flatten().enumerate() {
            for record in &mut records {
                // Of a model with the same features, whose background was checked: no value can be
                // refused.
                let _ = record.set_value(FeatureIndex(index), value);
            }
        }
        loss.observe(&scores(models, &records));
    }
    loss
}

/// Compares the models on the rows of files: decisions, and the gaps between the schema's groups.
///
/// # Errors
/// Those of the stream and of [`Binding`]; [`Error::NoUsableRows`] without a row.
pub fn loss_on_data(
    float: &HostModel<'_>,
    integer: &HostIntegerModel<'_>,
    data: &[Input],
    schema: &Schema,
) -> Result<Loss, Error> {
    let models = [AnyModel::Float(float), AnyModel::Integer { model: integer, floats: None }];
    let mut stream = Stream::open(data, schema, Use::Learn)?;
    let binding = Binding::new(float, |name| stream.column(name, "the model"))?;
    let binding = binding.with_bad_cells(stream.bad_cells());
    stream.want(&binding.columns());
    let (mut loss, mut records) = (Loss::default(), models.map(AnyModel::record));
    let mut evaluators = models.map(|model| Evaluator::new(model.threshold(), stream.attributes().count()));
    while let Some(row) = stream.next_row()? {
        for record in &mut records {
            binding.fill(&row, record)?;
        }
        let scores = scores(models, &records);
        loss.observe(&scores);
        for (evaluator, score) in evaluators.iter_mut().zip(scores) {
            if let Some(label) = row.label {
                evaluator.observe(label, score.probability, row.groups);
            }
        }
    }
    stream.check_rows()?;
    let [float, integer] = evaluators.map(|evaluator| evaluator.report(stream.attributes()).fairness);
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

/// Returns the scores of a record by both models. Each record is of its very model: it cannot be
/// another's.
fn scores(models: [AnyModel<'_>; 2], records: &[AnyRecord<'_>; 2]) -> [HostScore; 2] {
    let [float, integer] = models;
    [float.score(&records[0]), integer.score(&records[1])].map(Result::unwrap_or_default)
}
