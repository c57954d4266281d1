//! Models: scores, notes, evaluation, recourse.

use std::path::PathBuf;
use std::sync::Mutex;

use feamoe::error::Error;
use feamoe::judge::binding::Binding;
use feamoe::judge::counts::EvaluationCounts;
use feamoe::judge::evaluation::{RecourseBurden, evaluate};
use feamoe::judge::recourse::{Wanted, recourse, rules};
use feamoe::judge::{self, score_bound};
use feamoe::learner::ThresholdRule;
use feamoe::model::card::Card;
use feamoe::model::{AlignedBytes, AnyModel, AnyRecord, HostModel, HostScore, OwnedModel, dequantize};
use feamoe::rows::{ArrowTable, RecordBuilder, Source as _, Stream, Use};
use feamoe::schema::{Features, Schema, Table as Reading};
use feamoe_engine::schema::Kind;
use numpy::{PyArray1, PyArray2, PyArrayMethods as _, ToPyArray as _};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::cells::put_all;
use crate::error::{Fault, Interruptible, check_signals, detached, message};
use crate::table::Table;

/// Rows that a thread scores at a time.
const PART: usize = 4096;
/// Parts between two looks whether the user asked to stop.
const PARTS: usize = 64;

/// A model that scores and explains records.
#[pyclass(frozen, module = "feamoe._feamoe")]
pub struct Model {
    pub owned: OwnedModel,
    /// The float model that integer weights stand for.
    pub floats: Option<OwnedModel>,
    pub card: Option<Card>,
    /// The features' names; none of a model without.
    names: Vec<Py<PyString>>,
    one: Option<OneByOne>,
}

/// What scores single records.
struct OneByOne {
    columns: Vec<String>,
    binding: Binding,
    /// Those that nobody uses.
    builders: Mutex<Vec<RecordBuilder>>,
}

impl OneByOne {
    fn new(model: AnyModel<'_>) -> Result<Self, Error> {
        let schema = model.schema();
        let names = (0..schema.features().len()).map_while(|feature| schema.feature_name(feature));
        let columns: Vec<String> = names.map(str::to_owned).collect();
        let binding =
            Binding::of(schema, |name| Ok(columns.iter().position(|column| column == name).unwrap_or_default()))?;
        Ok(Self { columns, binding, builders: Mutex::default() })
    }
}

impl Model {
    /// Loads and checks the bytes of a model.
    pub fn of(bytes: AlignedBytes) -> Result<Self, Fault> {
        let card = Card::of(&bytes).map_err(message)?;
        let owned = OwnedModel::load(bytes).map_err(message)?;
        let floats = match owned.any() {
            AnyModel::Float(_) => None,
            AnyModel::Integer { .. } => {
                Some(OwnedModel::load(dequantize(owned.bytes()).map_err(message)?).map_err(message)?)
            }
        };
        let schema = owned.any().schema();
        let names = (0..schema.features().len()).map_while(|feature| schema.feature_name(feature));
        let names = Python::attach(|py| names.map(|name| PyString::intern(py, name).unbind()).collect());
        let one = OneByOne::new(owned.any()).ok();
        Ok(Self { owned, floats, card, names, one })
    }

    /// Returns the model, with the floats that integer weights stand for.
    pub fn any(&self) -> AnyModel<'_> {
        match (self.owned.any(), self.floats.as_ref().map(OwnedModel::any)) {
            (AnyModel::Integer { model, .. }, Some(AnyModel::Float(floats))) => {
                AnyModel::Integer { model, floats: Some(floats) }
            }
            (model, _) => model,
        }
    }

    /// Returns the float weights, which `wanted_by` needs.
    pub fn float_weights(&self, wanted_by: &str) -> Result<&HostModel<'_>, Fault> {
        match self.owned.any() {
            AnyModel::Float(model) => Ok(model),
            AnyModel::Integer { .. } => Err(message(format!(
                "{wanted_by}: found a model of integer weights, expected the one that it was exported from"
            ))),
        }
    }

    /// Returns how the cells of a table are read: as in training.
    pub fn reading(&self) -> Reading {
        self.card.as_ref().map_or_else(Reading::default, |card| card.schema.table.clone())
    }

    /// Returns a schema, by default that of training.
    pub fn schema(&self, toml: Option<&str>) -> Result<Schema, Fault> {
        match (toml, &self.card) {
            (Some(text), _) => Ok(Schema::from_toml("schema", text)?),
            (None, Some(card)) => Ok(card.schema.clone()),
            (None, None) => Err(message("the model does not say which column is the target; give a schema")),
        }
    }

    /// Scores the rows of a table on all threads; `take` makes of each what is wanted.
    fn score_all<T: Send>(
        &self,
        table: &Table,
        take: impl Fn(AnyModel<'_>, &AnyRecord<'_>, &HostScore) -> T + Sync,
    ) -> Result<Vec<T>, Fault> {
        let reading = self.reading();
        let model = self.owned.any();
        // Bound before the first row, so that an absent column is found even if there are no rows.
        let rows = table.0.rows(&reading)?;
        let binding = Binding::of(model.schema(), |name| rows.column(name, "the model"))?;
        let binding = binding.with_bad_cells(rows.bad_cells());
        let of_part = |part: &ArrowTable| -> Result<Vec<T>, Fault> {
            let mut scored = Vec::with_capacity(PART);
            let take = |record: &AnyRecord<'_>, score: &HostScore| scored.push(take(model, record, score));
            score_bound(model, &binding, &mut part.rows(&reading)?, take)?;
            Ok(scored)
        };
        let parts = table.0.parts(PART);
        let mut scored: Vec<Vec<T>> = Vec::with_capacity(parts.len());
        for parts in parts.chunks(PARTS) {
            scored.append(&mut parts.par_iter().map(of_part).collect::<Result<_, Fault>>()?);
            check_signals((scored.len() * PART) as u64)?;
        }
        Ok(scored.into_iter().flatten().collect())
    }
}

fn burden(is_measured: bool) -> RecourseBurden {
    if is_measured { RecourseBurden::Measured } else { RecourseBurden::LeftOut }
}

/// What a record's score is made of.
struct Scored {
    probability: f32,
    calibrated: f32,
    gate: Vec<f32>,
    experts: Vec<f32>,
    notes: Vec<u8>,
}

#[pymethods]
impl Model {
    /// Reads a file.
    #[classmethod]
    fn load(_: &Bound<'_, PyType>, py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        detached(py, move || Self::of(AlignedBytes::read(&path)?))
    }

    /// Takes the bytes of one.
    #[classmethod]
    fn from_bytes(_: &Bound<'_, PyType>, py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let bytes = AlignedBytes::new(data);
        detached(py, move || Self::of(bytes))
    }

    /// Returns its bytes, those of the file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.owned.bytes().as_slice())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((py.get_type::<Self>().getattr("from_bytes")?, (self.to_bytes(py),)))
    }

    /// Returns the probabilities of the favourable outcome.
    fn score<'py>(&self, py: Python<'py>, table: &Table) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let scores = detached(py, || self.score_all(table, |_, _, score| score.probability))?;
        Ok(scores.to_pyarray(py))
    }

    /// Returns the calibrated probabilities: the scores where the model has no others.
    fn calibrated<'py>(&self, py: Python<'py>, table: &Table) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let calibrated = |model: AnyModel<'_>, record: &AnyRecord<'_>, score: &HostScore| {
            model.calibrated(record, score).unwrap_or(score.probability)
        };
        Ok(detached(py, || self.score_all(table, calibrated))?.to_pyarray(py))
    }

    /// Returns the scores and the calibrated probabilities.
    #[allow(clippy::type_complexity)] // a tuple of arrays
    fn scores<'py>(
        &self,
        py: Python<'py>,
        table: &Table,
    ) -> PyResult<(Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<f32>>)> {
        let both = |model: AnyModel<'_>, record: &AnyRecord<'_>, score: &HostScore| {
            (score.probability, model.calibrated(record, score).unwrap_or(score.probability))
        };
        let (scores, calibrated): (Vec<f32>, Vec<f32>) =
            detached(py, || self.score_all(table, both))?.into_iter().unzip();
        Ok((scores.to_pyarray(py), calibrated.to_pyarray(py)))
    }

    /// Returns the score of one record, a dictionary of values by the names of features.
    fn score_one(&self, values: &Bound<'_, PyDict>) -> PyResult<f32> {
        let one = self.one.as_ref().ok_or(Fault::from(Error::NamesStripped))?;
        let model = self.owned.any();
        let kept = one.builders.lock().ok().and_then(|mut kept| kept.pop());
        let mut builder = kept.unwrap_or_else(|| RecordBuilder::new(&self.reading(), &one.columns));
        builder.clear();
        if let Some(absent) = put_all(&mut builder, values, &self.names)? {
            let columns = values.keys().iter().map(|key| key.to_string()).collect();
            let column = one.columns.get(absent).cloned().unwrap_or_default();
            let file = "the record".to_owned();
            return Err(
                Fault::from(Error::MissingColumn { file, column, wanted_by: "the model".into(), columns }).into()
            );
        }
        let mut record = model.record();
        one.binding.fill(&builder.record("the record", 1), &mut record).map_err(Fault::from)?;
        if let Ok(mut kept) = one.builders.lock() {
            kept.push(builder);
        }
        Ok(model.score(&record).map_err(message)?.probability)
    }

    /// Returns everything of every score: probability, calibrated probability, gate weights and
    /// the experts' own probabilities of shape (rows, experts), notes of shape (rows, features): 0
    /// usual, 1 missing, 2 clamped, 4 unseen.
    #[allow(clippy::type_complexity)] // a tuple of arrays
    fn details<'py>(
        &self,
        py: Python<'py>,
        table: &Table,
    ) -> PyResult<(
        Bound<'py, PyArray1<f32>>,
        Bound<'py, PyArray1<f32>>,
        Bound<'py, PyArray2<f32>>,
        Bound<'py, PyArray2<f32>>,
        Bound<'py, PyArray2<u8>>,
    )> {
        let experts = self.owned.any().experts();
        let scored = detached(py, || {
            self.score_all(table, |model, record, score| Scored {
                probability: score.probability,
                calibrated: model.calibrated(record, score).unwrap_or(score.probability),
                gate: score.gate.iter().take(experts).copied().collect(),
                experts: score.expert_probabilities.iter().take(experts).copied().collect(),
                notes: record.notes().iter().map(|note| *note as u8).collect(),
            })
        })?;
        let rows = scored.len();
        let one = |of: fn(&Scored) -> f32| scored.iter().map(of).collect::<Vec<_>>().to_pyarray(py);
        let many = |of: fn(&Scored) -> &[f32]| {
            scored.iter().flat_map(of).copied().collect::<Vec<_>>().to_pyarray(py).reshape([rows, experts])
        };
        let notes = scored.iter().flat_map(|scored| &scored.notes).copied().collect::<Vec<_>>().to_pyarray(py);
        let features = self.owned.any().schema().features().len();
        Ok((
            one(|scored| scored.probability),
            one(|scored| scored.calibrated),
            many(|scored| &scored.gate)?,
            many(|scored| &scored.experts)?,
            notes.reshape([rows, features])?,
        ))
    }

    /// Returns a JSON document: threshold, features, experts, provenance, card.
    fn describe(&self) -> String {
        let model = self.owned.any();
        let schema = model.schema();
        let features = schema.features().iter().enumerate().map(|(index, feature)| {
            let name = schema.feature_name(index);
            match feature.kind() {
                Kind::Number { low, high, .. } => json!({"name": name, "kind": "number", "range": [low, high]}),
                Kind::Category { .. } => {
                    json!({"name": name, "kind": "category", "levels": schema.level_names(index).collect::<Vec<_>>()})
                }
            }
        });
        let provenance = model.provenance();
        let version = provenance.trainer_version;
        let card = self.card.as_ref().and_then(|card| serde_json::to_value(card).ok()).unwrap_or(Value::Null);
        let described = json!({
            "threshold": model.threshold(),
            "favourable_outcome": schema.positive_name(),
            "experts": model.experts(),
            "weights": match model { AnyModel::Float(_) => "f32", AnyModel::Integer { .. } => "integer" },
            "calibrated": model.is_calibrated(),
            "background_rows": model.floats().map_or(0, HostModel::background_rows),
            "bytes": model.blob_bytes(),
            "crc32": format!("{:08x}", model.crc32()),
            "training_rows": provenance.training_rows,
            "data_sha256": provenance.data_sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "seed": provenance.seed,
            "trainer_version": format!("{}.{}.{}", version.0, version.1, version.2),
            "features": features.collect::<Vec<_>>(),
            "card": card,
        });
        described.to_string()
    }

    /// Counts what [`Model::evaluate`] reports of labelled rows, of which there may be none.
    #[pyo3(signature = (table, schema=None, recourse_burden=true))]
    fn count<'py>(
        &self,
        py: Python<'py>,
        table: &Table,
        schema: Option<&str>,
        recourse_burden: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let counts = detached(py, || {
            let schema = self.schema(schema)?;
            let mut stream = Stream::new(Interruptible::new(table.0.rows(&schema.table)?), &schema, Use::Learn)?;
            let burden = burden(recourse_burden);
            let counts = EvaluationCounts::count(self.owned.any(), self.card.as_ref(), &mut stream, &schema, burden)?;
            counts.to_bytes().map_err(message)
        });
        Ok(PyBytes::new(py, &counts?))
    }

    /// Judges the model on labelled rows: the JSON of `feamoe evaluate`. `schema`: TOML, by default
    /// that of training.
    #[pyo3(signature = (table, schema=None, recourse_burden=true))]
    fn evaluate(&self, py: Python<'_>, table: &Table, schema: Option<&str>, recourse_burden: bool) -> PyResult<String> {
        detached(py, || {
            let schema = self.schema(schema)?;
            let mut stream = Stream::new(Interruptible::new(table.0.rows(&schema.table)?), &schema, Use::Learn)?;
            let burden = burden(recourse_burden);
            let evaluation = evaluate(self.owned.any(), self.card.as_ref(), &mut stream, burden, &mut |_| ())?;
            serde_json::to_string(&evaluation).map_err(message)
        })
    }

    /// Looks for ways to a favourable decision: the JSON of `feamoe recourse`. `wishes`: JSON of
    /// the schema's table `features`.
    #[pyo3(signature = (table, wishes, schema=None, answers=3, most_changes=3, row=None, margin=0.05))]
    #[allow(clippy::too_many_arguments)] // keyword arguments
    fn recourse(
        &self,
        py: Python<'_>,
        table: &Table,
        wishes: &str,
        schema: Option<&str>,
        answers: usize,
        most_changes: usize,
        row: Option<u64>,
        margin: f32,
    ) -> PyResult<String> {
        detached(py, || {
            let wishes: Features =
                serde_json::from_str(wishes).map_err(|error| message(format!("recourse: {error}")))?;
            let model = self.float_weights("recourse")?;
            let known = self.schema(schema)?;
            let named = schema.map(|_| &known);
            let rules = rules(model, self.card.as_ref(), named, &wishes)?;
            let rules = rules
                .with_margin(margin)
                .ok_or_else(|| message(format!("margin: found {margin}, expected 0 or more, below 1")))?;
            let mut stream = Stream::new(Interruptible::new(table.0.rows(&known.table)?), &known, Use::Score)?;
            let wanted = Wanted { answers, changes: most_changes, row };
            let report = recourse(model, &mut stream, self.card.as_ref(), &rules, wanted, true, &mut |_| ())?;
            serde_json::to_string(&report).map_err(message)
        })
    }

    /// Returns the threshold that an objective asks for on labelled rows, such as `auto:balanced`.
    #[pyo3(signature = (table, objective, schema=None))]
    fn threshold_for(&self, py: Python<'_>, table: &Table, objective: &str, schema: Option<&str>) -> PyResult<f32> {
        let rule: ThresholdRule = objective.parse().map_err(message)?;
        let ThresholdRule::Auto(objective) = rule else {
            return Err(message(format!(
                "found {rule}, expected auto:accuracy, auto:balanced, auto:cost=R or auto:select=Q"
            ))
            .into());
        };
        detached(py, || {
            let schema = self.schema(schema)?;
            let mut stream = Stream::new(Interruptible::new(table.0.rows(&schema.table)?), &schema, Use::Learn)?;
            let threshold = judge::threshold(self.owned.any(), &mut stream, objective)?;
            threshold.ok_or_else(|| message("the rows have only one outcome; choosing a threshold needs both"))
        })
    }

    /// The score from which on a decision is favourable.
    #[getter]
    fn threshold(&self) -> f32 {
        self.owned.any().threshold()
    }

    /// The names of the features.
    #[getter]
    fn features(&self, py: Python<'_>) -> Vec<Py<PyString>> {
        self.names.iter().map(|name| name.clone_ref(py)).collect()
    }
}
