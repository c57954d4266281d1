//! Copies of a model for devices, and what they cost there.

use feamoe::model::costs::{DEVICES, Device, Shape};
use feamoe::model::{AnyModel, Language, Width, constants, delta, device_copy, fewer_experts, onnx, with_threshold};
use feamoe_engine::{Blob, Value};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::json;

use crate::error::{detached, message};
use crate::model::Model;

/// Returns the names of the devices whose costs are known.
#[pyfunction]
pub fn devices() -> Vec<&'static str> {
    DEVICES.iter().map(|device| device.name).collect()
}

#[pymethods]
impl Model {
    /// Returns a copy for a device: without its card, with `background` records, with names or
    /// without, of float weights, or with `quantize` of integers (`i16`, `i8`).
    #[pyo3(signature = (names=true, background=0, quantize=None))]
    fn device_copy(&self, py: Python<'_>, names: bool, background: u16, quantize: Option<&str>) -> PyResult<Self> {
        let width = match quantize {
            None => None,
            Some("i16") => Some(Width::I16),
            Some("i8") => Some(Width::I8),
            Some(other) => return Err(message(format!("quantize: found `{other}`, expected i16 or i8")).into()),
        };
        detached(py, || {
            let copy = device_copy(self.owned.bytes(), names, background).map_err(message)?;
            Self::of(match width {
                None => copy,
                Some(width) => feamoe::model::quantize(&copy, width).map_err(message)?,
            })
        })
    }

    /// Returns a copy that decides by another score.
    fn with_threshold(&self, py: Python<'_>, threshold: f32) -> PyResult<Self> {
        detached(py, || Self::of(with_threshold(self.owned.bytes(), threshold).map_err(message)?))
    }

    /// Returns a copy with fewer experts, merged as the model's background records show.
    fn fewer_experts(&self, py: Python<'_>, experts: usize) -> PyResult<Self> {
        detached(py, || {
            let model = self.float_weights("fewer experts")?;
            let records: Vec<Vec<Value>> =
                (0..).map_while(|row| model.background_values(row)).map(Iterator::collect).collect();
            let copies = fewer_experts(self.owned.bytes(), experts, &records).map_err(message)?;
            Self::of(copies.into_iter().next_back().unwrap_or_else(|| self.owned.bytes().clone()))
        })
    }

    /// Returns the model as an ONNX file.
    fn to_onnx<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = detached(py, || {
            self.float_weights("ONNX")?;
            onnx(self.owned.bytes()).map_err(message)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Returns source code: feature indices and level codes as constants, for `c` with the model as
    /// an array; identifiers of C begin with `stem`.
    fn constants(&self, py: Python<'_>, named: &Self, language: &str, stem: &str) -> PyResult<String> {
        let language = match language {
            "c" => Language::C,
            "rust" => Language::Rust,
            other => return Err(message(format!("language: found `{other}`, expected c or rust")).into()),
        };
        detached(py, || {
            let blob = Blob::new(self.owned.bytes().as_slice()).map_err(message)?;
            constants(language, stem, named.owned.any().schema(), &blob).map_err(message)
        })
    }

    /// Returns what turns an older copy into this one, byte by byte.
    fn delta<'py>(&self, py: Python<'py>, old: &Self) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = detached(py, || delta(old.owned.bytes(), self.owned.bytes()).map_err(message))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Returns what the model costs on a device, in JSON: predicted instructions, stack, flash and
    /// RAM, as `feamoe inspect` has them.
    fn costs(&self, device: &str) -> PyResult<String> {
        let Some(known) = Device::named(device) else {
            return Err(message(format!("device: found `{device}`, expected one of {}", devices().join(", "))).into());
        };
        let shape = match self.owned.any() {
            AnyModel::Float(model) => Shape::of(model),
            AnyModel::Integer { model, .. } => Shape::of_integers(model),
        };
        Ok(json!({"device": known.name, "costs": known.costs(&shape)}).to_string())
    }
}
