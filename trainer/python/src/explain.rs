//! Explanations.

use feamoe::explanation::{
    Against, BackgroundMemory, BackgroundRecords, Choice, Explainer, Group, Procedure, explanation,
};
use feamoe::model::{AnyModel, HostBackground};
use feamoe_engine::Space;
use feamoe_engine::attribution::Sampling;
use pyo3::prelude::*;
use serde::Deserialize;

use crate::error::{Fault, Interruptible, detached, message};
use crate::model::Model;
use crate::table::Table;

/// How scores are taken apart: the flags of `feamoe explain`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wishes {
    /// `exact`, `sampled`, `path` or `frozen`; exact, or path without background records.
    method: Option<String>,
    /// `probability` or `log-odds`.
    space: String,
    /// Most background records.
    background_rows: usize,
    /// Conditions on them, such as `approved=yes`.
    background_where: Vec<String>,
    /// The largest number of coalitions of a record.
    budget: u64,
    tolerance: Option<f32>,
    max_evaluations: Option<u64>,
    seed: u64,
    /// Features that act together, such as `money=income+debt`.
    groups: Vec<String>,
    /// The largest number of reasons for an unfavourable decision.
    reasons: usize,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            method: None,
            space: "probability".into(),
            background_rows: 1000,
            background_where: Vec::new(),
            budget: 1 << 24,
            tolerance: None,
            max_evaluations: None,
            seed: Sampling::default().seed,
            groups: Vec::new(),
            reasons: feamoe::explanation::REASONS,
        }
    }
}

impl Wishes {
    fn procedure<'b>(&self, method: &str, background: Option<&'b HostBackground<'b>>) -> Result<Procedure<'b>, Fault> {
        let space = match self.space.as_str() {
            "probability" => Space::Probability,
            "log-odds" => Space::LogOdds,
            other => return Err(message(format!("space: found `{other}`, expected probability or log-odds"))),
        };
        let default = Sampling::default();
        let against = background.map(|background| Against {
            background,
            space,
            sampling: Sampling {
                tolerance: self.tolerance.unwrap_or(default.tolerance),
                most_evaluations: self.max_evaluations.unwrap_or(default.most_evaluations),
                seed: self.seed,
            },
            most_time: None,
        });
        match (method, against) {
            ("exact", Some(against)) => Ok(Procedure::Exact { against, budget: self.budget }),
            ("sampled", Some(against)) => Ok(Procedure::Sampled(against)),
            ("exact" | "sampled", None) => Err(message(format!(
                "{method} values are against background records, and the model holds none; give some, or use method=\"path\""
            ))),
            ("path", _) => Ok(Procedure::Path),
            ("frozen", _) => Ok(Procedure::Frozen),
            (other, _) => Err(message(format!("method: found `{other}`, expected exact, sampled, path or frozen"))),
        }
    }
}

#[pymethods]
impl Model {
    /// Explains the rows of a table: the JSON of `feamoe explain --format json`. `wishes`: a JSON
    /// object; `background`: records to explain against, by default the model's own.
    #[pyo3(signature = (table, wishes, background=None))]
    fn explain(&self, py: Python<'_>, table: &Table, wishes: &str, background: Option<&Table>) -> PyResult<String> {
        detached(py, || {
            let wishes: Wishes = serde_json::from_str(wishes).map_err(|error| message(format!("explain: {error}")))?;
            let model = self.any();
            let is_integer = matches!(model, AnyModel::Integer { .. });
            let has_background =
                background.is_some() || model.floats().is_some_and(|model| model.background_rows() > 0);
            let usual = if is_integer {
                "frozen"
            } else if has_background {
                "exact"
            } else {
                "path"
            };
            let method = wishes.method.as_deref().unwrap_or(usual);
            if is_integer && method != "frozen" {
                return Err(message(format!(
                    "method: found `{method}`, expected frozen: that is how a model of integer weights is explained; for others take \
                     the model it was exported from"
                )));
            }
            let reading = self.reading();
            let mut memory = BackgroundMemory::default();
            let records = match (matches!(method, "exact" | "sampled") && has_background, model.floats()) {
                (true, Some(floats)) => {
                    let only = wishes.background_where.iter().map(|condition| condition.parse().map_err(message));
                    let only = only.collect::<Result<_, Fault>>()?;
                    let choice = Choice { only, most: wishes.background_rows.max(1), seed: wishes.seed };
                    let records = match background {
                        Some(table) => BackgroundRecords::read(floats, &[table.input()], &reading, &choice)?,
                        None => BackgroundRecords::of_model(floats, &choice)?,
                    };
                    Some(records.against(floats, &mut memory)?)
                }
                _ => None,
            };
            let groups = wishes.groups.iter().map(|group| group.parse::<Group>().map_err(message));
            let groups = groups.collect::<Result<Vec<_>, Fault>>()?;
            let explainer = Explainer::new(model, wishes.procedure(method, records.as_ref())?, &groups)?;
            let explainer = self.card.iter().fold(explainer, |explainer, card| explainer.informed_by(&card.schema));
            let explained = explanation(&explainer, &mut Interruptible::new(table.0.rows(&reading)?), wishes.reasons)?;
            serde_json::to_string(&explained).map_err(message)
        })
    }
}
