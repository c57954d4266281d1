//! What the service answers: JSON whose numbers read back to the bits of the model's.

use std::cell::RefCell;

use crate::explanation::{Background, Fastest};
use crate::model::{AnyModel, AnyRecord, HostAttribution, HostScore, HostWorkspace};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use feamoe_engine::attribution::{Game, MAX_PLAYERS};
use feamoe_engine::schema::{Kind, Note, Transform};
use feamoe_engine::{ExplainError, FeatureIndex, Method, Space};
use serde::{Deserialize, Serialize, Serializer};

use super::published::{Named, Names, Ready};
use super::record;

/// Most coalitions of a record's exact values: about half a second.
const MOST_COALITIONS: u64 = 1 << 28;

/// Why a request was not answered.
#[derive(Debug)]
pub struct Refusal {
    /// What kind of fault it is.
    pub status: StatusCode,
    /// What was found and what was expected.
    pub message: String,
}

impl Refusal {
    /// Refuses a request whose content is at fault.
    pub fn unprocessable(message: impl ToString) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, message: message.to_string() }
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Self { status, message: error.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, [(CONTENT_TYPE, "application/json")], serde_json::json!({ "error": self.message }).to_string())
            .into_response()
    }
}

/// The answer to a request, already JSON.
pub struct Json(String);

impl Json {
    fn new(answer: &impl Serialize) -> Result<Self, Refusal> {
        let text = serde_json::to_string(answer);
        text.map(Self)
            .map_err(|error| Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, message: error.to_string() })
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// Scores every record of a body.
pub fn score(ready: &Ready<'_>, body: &[u8], gate: bool) -> Result<Json, Refusal> {
    #[derive(Serialize)]
    struct Answer<'r> {
        model: String,
        scores: Vec<Score<'r>>,
    }
    let mut scores = Vec::new();
    record::read(body, ready, |record| {
        let score = ready.model.score(record).map_err(|error| error.to_string())?;
        scores.push(Score::new(ready, record, &score, gate));
        Ok(())
    })?;
    Json::new(&Answer { model: ready.crc(), scores })
}

#[derive(Serialize)]
struct Score<'r> {
    probability: f32,
    decision: bool,
    notes: Notes<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<Vec<f32>>,
}

impl<'r> Score<'r> {
    fn new(ready: &Ready<'r>, record: &AnyRecord<'_>, score: &HostScore, gate: bool) -> Self {
        Self {
            probability: score.probability,
            decision: score.decision,
            notes: Notes::new(&ready.names, record),
            gate: gate.then(|| score.gate.iter().copied().take(ready.model.experts()).collect()),
        }
    }
}

/// The features whose values were not as in training.
#[derive(Default, Serialize)]
struct Notes<'r> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clamped: Vec<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
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

/// How records may be explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Procedure {
    /// [`Method::Frozen`].
    Frozen,
    /// [`Method::Path`].
    #[default]
    Path,
    /// [`Method::Exact`], against the model's own background, in probability.
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

/// Explains every record of a body.
pub fn explain(ready: &Ready<'_>, body: &[u8], procedure: Procedure) -> Result<Json, Refusal> {
    #[derive(Serialize)]
    struct Answer<'r> {
        model: String,
        method: &'static str,
        space: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        background: Option<Background>,
        explanations: Vec<Explanation<'r>>,
    }
    let mut why = Box::<HostAttribution>::default();
    let mut explanations = Vec::new();
    record::read(body, ready, |record| {
        explain_into(ready, record, procedure, &mut why)?;
        explanations.push(Explanation {
            score: Score::new(ready, record, &why.score, true),
            base_value: why.base_value,
            values: ByName(ready.names.all().zip(why.values).collect()),
            residual: why.residual,
            output: why.output,
            gate_share: why.gate_share,
        });
        Ok(())
    })?;
    let (method, space) = procedure.names();
    Json::new(&Answer {
        model: ready.crc(),
        method: method.name(),
        space: space.name(),
        background: why.background.map(Background::from),
        explanations,
    })
}

#[derive(Serialize)]
struct Explanation<'r> {
    #[serde(flatten)]
    score: Score<'r>,
    base_value: f32,
    values: ByName<'r>,
    residual: f32,
    output: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate_share: Option<f32>,
}

struct ByName<'r>(Vec<(&'r str, f32)>);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

fn explain_into(
    ready: &Ready<'_>,
    record: &AnyRecord<'_>,
    procedure: Procedure,
    why: &mut HostAttribution,
) -> Result<(), String> {
    thread_local! {
        // A megabyte, made once by each thread that computes exact values.
        static WORKSPACE: RefCell<Box<HostWorkspace>> = RefCell::default();
    }
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
    let cost = model.exact_cost(record, background, &Game::default()).map_err(text)?;
    if cost.players > MAX_PLAYERS || cost.coalitions > MOST_COALITIONS {
        let found = cost.coalitions;
        return Err(format!("found {found} coalitions, expected at most {MOST_COALITIONS}; {help}"));
    }
    WORKSPACE.with_borrow_mut(|workspace| {
        model.exact_with(&Fastest, record, background, &Game::default(), workspace, why).map_err(text)
    })
}

/// Says what the model is.
pub fn model(ready: &Ready<'_>) -> Result<Json, Refusal> {
    #[derive(Serialize)]
    struct Answer<'r> {
        model: String,
        bytes: usize,
        experts: usize,
        threshold: f32,
        outcome: Option<&'r str>,
        background_rows: usize,
        training_rows: u64,
        data_sha256: String,
        seed: u64,
        trainer_version: String,
        features: Vec<Feature<'r>>,
    }
    let model = ready.model;
    let provenance = model.provenance();
    let (major, minor, patch) = provenance.trainer_version;
    let features = model.schema().features().iter().enumerate();
    Json::new(&Answer {
        model: ready.crc(),
        bytes: model.blob_bytes(),
        experts: model.experts(),
        threshold: model.threshold(),
        outcome: model.schema().positive_name(),
        background_rows: ready.background.as_ref().map_or(0, |background| background.rows()),
        training_rows: provenance.training_rows,
        data_sha256: provenance.data_sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        seed: provenance.seed,
        trainer_version: format!("{major}.{minor}.{patch}"),
        features: features
            .filter_map(|(index, feature)| {
                let Named { name, .. } = ready.names.at(FeatureIndex(index))?;
                Some(Feature { name, kind: Described::new(feature.kind(), model.schema().level_names(index)) })
            })
            .collect(),
    })
}

#[derive(Serialize)]
struct Feature<'r> {
    name: &'r str,
    #[serde(flatten)]
    kind: Described<'r>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Described<'r> {
    Number { low: f32, high: f32, bins: u16, log1p: bool },
    Category { levels: Vec<&'r str> },
}

impl<'r> Described<'r> {
    fn new(kind: Kind, levels: impl Iterator<Item = &'r str>) -> Self {
        match kind {
            Kind::Number { transform, low, high, bins, .. } => {
                Self::Number { low, high, bins, log1p: transform == Transform::Log1p }
            }
            Kind::Category { .. } => Self::Category { levels: levels.collect() },
        }
    }
}
