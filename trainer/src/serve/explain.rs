//! `POST /explain`: what each feature added to the score of every record.

use std::cell::RefCell;

use feamoe_engine::attribution::{Game, MAX_PLAYERS};
use feamoe_engine::{ExplainError, Method, Space};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::Limits;
use super::answer::{Answer, JSON};
use super::pool::Wish;
use super::published::Ready;
use super::record;
use super::refusal::Refusal;
use super::score::Score;
use crate::explanation::{Background, Fastest};
use crate::model::{AnyModel, AnyRecord, HostAttribution, HostWorkspace};

/// How records are explained.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// The method.
    #[serde(default)]
    #[param(inline)]
    pub method: Procedure,
}

/// How records may be explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Procedure {
    /// Each expert by itself, with its weight as it is; in log-odds.
    Frozen,
    /// Along the path from the typical record; in probability.
    #[default]
    Path,
    /// Shapley values against the model's own background, in probability.
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
    /// CRC-32 of the model, 8 hex digits.
    model: String,
    /// The method.
    method: String,
    /// What the values add up in: `probability` or `log-odds`.
    space: String,
    explanations: Vec<Explanation<'r>>,
    /// The records that exact values are against.
    #[schema(required = false, nullable = false, value_type = Object)]
    background: Option<Background>,
}

/// Why a record got its score.
#[derive(Serialize, ToSchema)]
struct Explanation<'r> {
    #[serde(flatten)]
    score: Score<'r>,
    /// What the values start from.
    base_value: f32,
    /// By feature, what it added.
    #[schema(value_type = std::collections::BTreeMap<String, f32>)]
    values: ByName<'r>,
    /// `output - base_value - sum(values)`.
    residual: f32,
    /// What base, values and residual add up to.
    output: f32,
    /// The share of the path's attribution that runs through the gate.
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
pub fn explain(
    ready: &Ready<'_>,
    body: &[u8],
    options: Options,
    columns: &[String],
    limits: &Limits,
    wish: &Wish<'_>,
) -> Result<Answer, Refusal> {
    let procedure = options.method;
    let mut answer = Answer::new(JSON, limits.answer_bytes);
    let (method, space) = procedure.names();
    let (method, space, model) = (method.name(), space.name(), ready.crc());
    let head = format!("{{\"model\":\"{model}\",\"method\":\"{method}\",\"space\":\"{space}\",\"explanations\":[");
    answer.text(&head).map_err(Refusal::unprocessable)?;
    let mut why = Box::<HostAttribution>::default();
    let mut left = limits.coalitions;
    record::read(body, ready, columns, limits.records, |before, record, _| {
        explain_into(ready, record, procedure, (&mut left, limits.coalitions), wish, &mut why)?;
        let explanation = Explanation {
            score: Score::new(ready, record, &why.score, true),
            base_value: why.base_value,
            values: ByName(ready.names.all().zip(why.values).collect()),
            residual: why.residual,
            output: why.output,
            gate_share: why.gate_share,
        };
        answer.element(before, &explanation)
    })?;
    let end = match why.background.map(Background::from) {
        Some(background) => answer.text("],\"background\":").and_then(|()| answer.add(&background)),
        None => answer.text("]"),
    };
    end.and_then(|()| answer.text("}")).map_err(Refusal::unprocessable)?;
    Ok(answer)
}

/// Explains a record; `left` of the `most` coalitions of a request are for it and those after it.
fn explain_into(
    ready: &Ready<'_>,
    record: &AnyRecord<'_>,
    procedure: Procedure,
    (left, most): (&mut u64, u64),
    wish: &Wish<'_>,
    why: &mut HostAttribution,
) -> Result<(), String> {
    thread_local! {
        // A megabyte, made once by each thread that computes exact values.
        static WORKSPACE: RefCell<Box<HostWorkspace>> = RefCell::default();
    }
    wish.check()?;
    let text = |error: ExplainError| error.to_string();
    if procedure == Procedure::Frozen {
        return ready.model.frozen_into(record, why).map_err(|error| error.to_string());
    }
    let (AnyModel::Float(model), AnyRecord::Float(record)) = (ready.model, record) else {
        return Err("found a model of integer weights, which explains by one method; ask for method=frozen".into());
    };
    if procedure == Procedure::Path {
        return model.path_into(record, why).map_err(|error| error.to_string());
    }
    let help = "ask for method=path";
    let Some(background) = &ready.background else {
        return Err(format!("found a model without background records, expected some for exact values; {help}"));
    };
    let game = Game::default();
    let cost = model.exact_cost(record, background, &game).map_err(text)?;
    if cost.players > MAX_PLAYERS || cost.coalitions > *left {
        return Err(format!(
            "found more than {most} coalitions, expected at most {most} a request; send fewer records, or {help}"
        ));
    }
    *left -= cost.coalitions;
    let explained = WORKSPACE.with_borrow_mut(|workspace| {
        model.exact_with(&Fastest, record, background, &game, workspace, |_| wish.lasts(), why)
    });
    match explained {
        Err(ExplainError::Stopped) => wish.check(),
        explained => explained.map_err(text),
    }
}
