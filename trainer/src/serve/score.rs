//! `POST /score`: probability and decision of every record.

use feamoe_engine::schema::Note;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::Answer;
use super::metrics::Tally;
use super::published::{Names, Ready};
use super::record::Group;
use super::refusal::Refusal;
use super::work::Work;
use crate::model::{AnyRecord, HostScore};

/// The options of a request for scores.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// Whether to add the gate weights of the experts. Only JSON answers have them.
    #[serde(default)]
    pub gate: bool,
}

/// The scores of all records, in their order.
#[derive(ToSchema)]
#[allow(dead_code)] // for the description
pub struct Scores<'r> {
    /// SHA-256 of the model, 64 hexadecimal digits.
    model: String,
    scores: Vec<Score<'r>>,
}

/// The score of a record.
#[derive(Serialize, ToSchema)]
pub struct Score<'r> {
    /// Probability of the favourable outcome.
    probability: f32,
    /// The score that is compared with the threshold; absent if it is the probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    score: Option<f32>,
    /// Whether the decision is favourable.
    decision: bool,
    notes: Notes<'r>,
    /// By expert, the gate weight. The weights sum to 1. Absent unless requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    gate: Option<Vec<f32>>,
}

impl<'r> Score<'r> {
    /// Describes a score.
    pub fn new(ready: &Ready<'r>, record: &AnyRecord<'_>, score: &HostScore, gate: bool) -> Result<Self, Refusal> {
        Ok(Self {
            probability: ready.model.calibrated(record, score).map_err(Refusal::internal)?,
            score: ready.model.is_calibrated().then_some(score.probability),
            decision: score.decision,
            notes: Notes::new(&ready.names, record),
            gate: gate.then(|| score.gate.iter().copied().take(ready.model.experts()).collect()),
        })
    }
}

/// The features with unusual values.
#[derive(Default, Serialize, ToSchema)]
pub struct Notes<'r> {
    /// Features without a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    missing: Vec<&'r str>,
    /// Features with a value outside the training range, scored as the nearest end of that range.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    clamped: Vec<&'r str>,
    /// Features with a level that the model does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unseen: Vec<&'r str>,
}

impl<'r> Notes<'r> {
    fn new(names: &Names<'r>, record: &AnyRecord<'_>) -> Self {
        let mut notes = Self::default();
        for (note, name) in record.notes().iter().zip(names.all()) {
            match note {
                Note::Usual => {}
                Note::Missing => notes.missing.push(name),
                Note::Clamped => notes.clamped.push(name),
                Note::Unseen => notes.unseen.push(name),
            }
        }
        notes
    }
}

/// Scores every record of a JSON body. Returns the answer and the decisions to count.
pub fn score(work: &Work<'_>, body: &[u8], options: Options) -> Result<(Answer, Tally), Refusal> {
    let mut tally = Tally::default();
    let mut answer = work.answer_each(body, &[], "scores", |record, groups| {
        let score = work.ready.model.score(record).map_err(Refusal::unprocessable)?;
        tally.add(score.decision, record.notes(), groups.iter().map(Group::label));
        Score::new(work.ready, record, &score, options.gate)
    })?;
    answer.text("}")?;
    Ok((answer, tally))
}
