//! `POST /explain`: what each feature added to the score of every record.

use std::cell::RefCell;

use feamoe_engine::attribution::{Game, MAX_PLAYERS};
use feamoe_engine::{ExplainError, Method, Space};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::answer::Answer;
use super::refusal::Refusal;
use super::score::Score;
use super::work::Work;
use crate::explanation::{Background, Fastest};
use crate::model::{AnyModel, AnyRecord, HostAttribution, HostWorkspace};

/// The options of an explanation.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// The method.
    #[serde(default)]
    #[param(inline)]
    pub method: Procedure,
}

/// A method of explanation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Procedure {
    /// Explains each expert by itself, with its gate weight held fixed; in log-odds.
    Frozen,
    /// Explains the score along the path from the typical record; in probability.
    #[default]
    Path,
    /// Computes Shapley values relative to the background records of the model; in probability.
    Exact,
}

impl Procedure {
    const fn names(self) -> (Method, Space) {
        match self {
            Self::Frozen => (Method::Frozen, Space::LogOdds),
            Self::Path => (Method::Path, Space::Probability),
            Self::Exact => (Method::Exact, Space::Probability),
        }
    }
}

/// The explanations of all records, in their order.
#[derive(ToSchema)]
#[allow(dead_code)] // for the description
pub struct Explanations<'r> {
    /// SHA-256 of the model, 64 hexadecimal digits.
    model: String,
    /// The method.
    method: String,
    /// The space of the values: `probability` or `log-odds`.
    space: String,
    explanations: Vec<Explanation<'r>>,
    /// The background records; absent for methods that need none.
    #[schema(required = false, nullable = false, value_type = Object)]
    background: Option<Background>,
}

/// The explanation of a record's score.
#[derive(Serialize, ToSchema)]
struct Explanation<'r> {
    #[serde(flatten)]
    score: Score<'r>,
    /// The base value, to which the values of the features are added.
    base_value: f32,
    /// By feature, its value.
    #[schema(value_type = std::collections::BTreeMap<String, f32>)]
    values: ByName<'r>,
    /// `output - base_value - sum(values)`.
    residual: f32,
    /// The explained output: the sum of base value, values and residual.
    output: f32,
    /// The share of the path's attribution that runs through the gate, in [0, 1]; absent for
    /// `frozen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    gate_share: Option<f32>,
}

struct ByName<'r>(Vec<(&'r str, f32)>);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Explains every record of a JSON body.
pub fn explain(work: &Work<'_>, body: &[u8], options: Options) -> Result<Answer, Refusal> {
    let (method, space) = options.method.names();
    let head = [("method", method.name()), ("space", space.name())];
    let mut why = Box::<HostAttribution>::default();
    let mut left = work.limits.coalitions;
    let mut answer = work.answer_each(body, &head, "explanations", |record, _| {
        explain_into(work, record, options.method, &mut left, &mut why)?;
        Ok(Explanation {
            score: Score::new(work.ready, record, &why.score, true)?,
            base_value: why.base_value,
            values: ByName(work.ready.names.all().zip(why.values).collect()),
            residual: why.residual,
            output: why.output,
            gate_share: why.gate_share,
        })
    })?;
    if let Some(background) = why.background.map(Background::from) {
        answer.text(",\"background\":")?;
        answer.add(&background)?;
    }
    answer.text("}")?;
    Ok(answer)
}

/// Explains a record. `left` is the number of coalitions that this record and the later ones of the
/// request may still use.
fn explain_into(
    work: &Work<'_>,
    record: &AnyRecord<'_>,
    procedure: Procedure,
    left: &mut u64,
    why: &mut HostAttribution,
) -> Result<(), Refusal> {
    thread_local! {
        // About a megabyte, allocated once by each thread that computes exact values.
        static WORKSPACE: RefCell<Box<HostWorkspace>> = RefCell::default();
    }
    let Work { ready, wish, limits, .. } = *work;
    if procedure == Procedure::Frozen {
        return ready.model.frozen_into(record, why).map_err(Refusal::unprocessable);
    }
    let (AnyModel::Float(model), AnyRecord::Float(record)) = (ready.model, record) else {
        let message = "found a model of integer weights, which explains by one method; ask for method=frozen";
        return Err(Refusal::unprocessable(message));
    };
    if procedure == Procedure::Path {
        return model.path_into(record, why).map_err(Refusal::unprocessable);
    }
    let help = "ask for method=path";
    let Some(background) = &ready.background else {
        let message = format!("found a model without background records, expected some for exact values; {help}");
        return Err(Refusal::unprocessable(message));
    };
    let game = Game::default();
    let cost = model.exact_cost(record, background, &game).map_err(Refusal::unprocessable)?;
    if cost.players > MAX_PLAYERS || cost.coalitions > *left {
        let most = limits.coalitions;
        return Err(Refusal::unprocessable(format_args!(
            "found more than {most} coalitions, expected at most {most} a request; send fewer records, or {help}"
        )));
    }
    *left -= cost.coalitions;
    let explained = WORKSPACE.with_borrow_mut(|workspace| {
        model.exact_with(&Fastest, record, background, &game, workspace, |_| wish.lasts(), why)
    });
    match explained {
        Err(ExplainError::Stopped) => wish.check(),
        explained => explained.map_err(Refusal::unprocessable),
    }
}
