//! The changes from merging experts, measured by scoring the same rows with the model and its
//! copies.
//!
//! The copies are those of [`crate::model::fewer_experts`], with fewer and fewer experts.

use feamoe_engine::{FeatureIndex, Value};
use serde::Serialize;

use super::binding::Binding;
use super::comparison::MEASURES;
pub use super::comparison::ScoreChange;
use super::evaluation::Evaluator;
use super::reliability::log_loss;
use crate::error::Error;
use crate::model::{HostModel, HostRecord, HostScore};
use crate::rows::{Input, Stream, Use};
use crate::schema::Schema;

/// The measures of the original model and of the merged model on labelled rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct LabelledChange {
    /// Number of labelled rows.
    pub rows: u64,
    /// Mean log-loss of the original model's calibrated probabilities, in nats, as `feamoe
    /// evaluate` reports it.
    pub log_loss_before: f64,
    /// The same for the merged model.
    pub log_loss: f64,
    /// Share of correct decisions of the original model.
    pub accuracy_before: f32,
    /// The same for the merged model.
    pub accuracy: f32,
    /// The fairness gaps of every group; empty without protected columns.
    pub gaps: Vec<GapChange>,
}

/// A fairness gap of the original model and of the merged model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GapChange {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The name of the measure.
    pub measure: &'static str,
    /// The gap of the original model's decisions; NaN (JSON: null) without supporting records.
    pub before: f32,
    /// The gap of the merged model's decisions; NaN (JSON: null) without supporting records.
    pub after: f32,
}

/// Returns the change of the scores by each copy, over some records. Each record has a value per
/// feature.
#[must_use]
pub fn score_changes(model: &HostModel<'_>, copies: &[HostModel<'_>], records: &[Vec<Value>]) -> Vec<ScoreChange> {
    let mut changes = vec![ScoreChange::default(); copies.len()];
    let mut set = records_of(model, copies);
    for values in records {
        for record in &mut set {
            record.clear();
            for (index, value) in values.iter().enumerate() {
                // The copies have the same features as the model, so no value can be refused.
                let _ = record.set_value(FeatureIndex(index), *value);
            }
        }
        let [before, after @ ..] = &scores(model, copies, &set)[..] else { continue };
        changes.iter_mut().zip(after).for_each(|(change, after)| change.observe([before, after]));
    }
    changes
}

/// Compares the model and its copies on the labelled rows of files. Returns the measures of the
/// last copy, and the rise of the mean log-loss by each copy.
///
/// # Errors
/// Those of the stream and of [`Binding`]; [`Error::OtherOutcome`]; [`Error::NoUsableRows`].
#[allow(clippy::cast_precision_loss)] // counts of records
pub fn labelled_changes(
    model: &HostModel<'_>,
    copies: &[HostModel<'_>],
    data: &[Input],
    schema: &Schema,
) -> Result<(LabelledChange, Vec<f64>), Error> {
    let mut stream = Stream::open(data, schema, Use::Learn)?;
    stream.target().check_model(model.schema())?;
    let binding = Binding::new(model, |name| stream.column(name, "the model"))?;
    let binding = binding.with_bad_cells(stream.bad_cells());
    stream.want(&binding.columns());
    let mut records = records_of(model, copies);
    let mut evaluators = [(); 2].map(|()| Evaluator::new(model.threshold(), stream.attributes().count()));
    let mut rises = vec![0.0; copies.len()];
    let mut rows = 0_u64;
    while let Some(row) = stream.next_row()? {
        let Some(label) = row.label else { continue };
        for record in &mut records {
            binding.fill(&row, record)?;
        }
        let scores = scores(model, copies, &records);
        let calibrated = [model].into_iter().chain(copies).zip(&records).zip(&scores);
        let probabilities: Vec<[f32; 2]> = calibrated
            .map(|((model, record), score)| [score.probability, model.calibrated(record, score).unwrap_or(f32::NAN)])
            .collect();
        let ([before, after @ ..], Some(last)) = (&probabilities[..], probabilities.last()) else { continue };
        for (evaluator, probabilities) in evaluators.iter_mut().zip([before, last]) {
            evaluator.observe_calibrated(label, *probabilities, row.groups);
        }
        for (rise, [_, calibrated]) in rises.iter_mut().zip(after) {
            *rise += log_loss(label, *calibrated) - log_loss(label, before[1]);
        }
        rows += 1;
    }
    stream.check_rows()?;
    rises.iter_mut().for_each(|rise| *rise /= rows as f64);
    let [before, after] = evaluators.map(|evaluator| evaluator.report(stream.attributes()));
    let groups = before.fairness.iter().zip(&after.fairness);
    let gaps = groups.flat_map(|(before, after)| {
        MEASURES.map(|measure| GapChange {
            attribute: before.attribute.clone(),
            group: before.group.clone(),
            measure: measure.name(),
            before: before.measure(measure),
            after: after.measure(measure),
        })
    });
    let change = LabelledChange {
        rows,
        log_loss_before: before.log_loss,
        log_loss: after.log_loss,
        accuracy_before: before.accuracy,
        accuracy: after.accuracy,
        gaps: gaps.collect(),
    };
    Ok((change, rises))
}

/// Returns a record for the model and for each copy.
fn records_of<'m>(model: &'m HostModel<'_>, copies: &'m [HostModel<'_>]) -> Vec<HostRecord<'m>> {
    [model].into_iter().chain(copies).map(HostModel::record).collect()
}

/// Returns the scores of a record by the model and by each copy. Each record was created by its
/// model, so scoring cannot fail.
fn scores(model: &HostModel<'_>, copies: &[HostModel<'_>], records: &[HostRecord<'_>]) -> Vec<HostScore> {
    let models = [model].into_iter().chain(copies);
    models.zip(records).map(|(model, record)| model.score(record).unwrap_or_default()).collect()
}
