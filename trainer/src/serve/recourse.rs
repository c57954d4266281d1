//! `POST /recourse`: what would turn the decision on every declined record.

use std::cell::RefCell;
use std::collections::BTreeMap;

use feamoe_engine::recourse::Change;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::Answer;
use super::published::Ready;
use super::refusal::Refusal;
use super::work::Work;
use crate::judge::recourse::few_changes;
use crate::model::{AnyModel, AnyRecord, HostAnswer, HostRecourse};

/// Maximum number of answers per record.
const MOST_ANSWERS: u8 = 20;

/// The options of the search for recourse.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// Maximum number of answers for a record. Answers differ in the features that they change.
    #[serde(default = "three")]
    #[param(minimum = 1, maximum = 20)]
    pub answers: u8,
    /// Maximum number of features that an answer changes.
    #[serde(default = "three")]
    #[param(minimum = 1, maximum = 255)]
    pub changes: u8,
}

const fn three() -> u8 {
    3
}

/// The recourse of all records, in their order.
#[derive(ToSchema)]
#[allow(dead_code)] // for the description
pub struct Recourses<'r> {
    /// SHA-256 of the model, 64 hexadecimal digits.
    model: String,
    recourse: Vec<Recourse<'r>>,
}

/// The recourse of a record.
#[derive(Serialize, ToSchema)]
struct Recourse<'r> {
    /// The score of the record.
    probability: f32,
    /// Whether the decision is favourable. If it is, there are no answers.
    decision: bool,
    /// The answers, the nearest first; empty if the decision is favourable or no recourse was
    /// found.
    answers: Vec<Proposal<'r>>,
}

/// Changes that make the decision favourable.
#[derive(Serialize, ToSchema)]
struct Proposal<'r> {
    /// The distance in standard deviations, costs included. A change of level counts as sqrt(2).
    distance: f32,
    /// The score after the changes.
    probability: f32,
    /// By feature, its new value.
    changes: BTreeMap<&'r str, NewValue<'r>>,
}

/// The new value of a feature.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum NewValue<'r> {
    Number(f32),
    Level(&'r str),
}

/// Looks for recourse of every record of a JSON body.
pub fn recourse(work: &Work<'_>, body: &[u8], options: Options) -> Result<Answer, Refusal> {
    thread_local! {
        // Several hundred kilobytes, allocated once by each thread that looks for recourse.
        static SCRATCH: RefCell<Box<HostRecourse>> = RefCell::new(Box::new(HostRecourse::new()));
    }
    let Work { ready, wish, .. } = *work;
    let Options { answers, changes } = options;
    if !(1..=MOST_ANSWERS).contains(&answers) || changes == 0 {
        let message = format!(
            "found answers={answers}, changes={changes}; expected answers from 1 to {MOST_ANSWERS}, changes from 1 to 255"
        );
        return Err(Refusal::unprocessable(message));
    }
    let (AnyModel::Float(model), Some(rules)) = (ready.model, &ready.rules) else {
        return Err(Refusal::unprocessable(
            "found a model of integer weights, expected the model it was exported from",
        ));
    };
    let mut room = vec![HostAnswer::NONE; usize::from(answers)];
    let mut answer = work.answer_each(body, &[], "recourse", |record, _| {
        let score = ready.model.score(record).map_err(Refusal::unprocessable)?;
        let found = match record {
            AnyRecord::Float(record) if !score.decision => SCRATCH.with_borrow_mut(|scratch| {
                few_changes(model, record, rules, changes.into(), scratch, &mut room, &mut || wish.lasts())
            }),
            _ => Vec::new(),
        };
        // Answers found before the time ran out may not be the nearest.
        wish.check()?;
        let answers = found.iter().map(|found| Proposal::new(ready, found)).collect();
        Ok(Recourse { probability: score.probability, decision: score.decision, answers })
    })?;
    answer.text("}")?;
    Ok(answer)
}

impl<'r> Proposal<'r> {
    fn new(ready: &Ready<'r>, answer: &HostAnswer) -> Self {
        let schema = ready.model.schema();
        let changes = answer.changes.iter().zip(ready.names.all()).enumerate().filter_map(|(index, (change, name))| {
            let value = match (*change)? {
                Change::Number(number) => NewValue::Number(number),
                Change::Level(code) => NewValue::Level(schema.level_names(index).nth(usize::from(code))?),
            };
            Some((name, value))
        });
        Self { distance: answer.distance, probability: answer.probability, changes: changes.collect() }
    }
}
