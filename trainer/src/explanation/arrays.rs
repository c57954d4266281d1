//! Explanations of a whole table, either as arrays or as a document with the cells and reasons of
//! each record.

use ndarray::{Array1, Array2, ArrayView1};

use super::reason::reasons;
use super::{Batch, Explained, Explainer, Explanation, Slot};
use crate::error::Error;
use crate::judge::binding::Binding;
use crate::rows::Source;

/// The values of an explainer's players for some records.
///
/// In each record `base_values + sum(values) + residual = output`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributions {
    /// By record and player, the values, of shape (records, players).
    pub values: Array2<f32>,
    /// By record and player, the standard errors of the values, of the same shape; 0 for records
    /// that were not sampled.
    pub standard_errors: Array2<f32>,
    /// By record, the base value.
    pub base_values: Array1<f32>,
    /// By record, the sum of base value, values and residual, in the explainer's space.
    pub output: Array1<f32>,
    /// By record, the residual.
    pub residual: Array1<f32>,
}

/// Explains every record of a source in order, on all threads of rayon's pool. The number of
/// threads does not change the result.
///
/// *Cost:* per record that of the explainer's method. Memory for two numbers per record and player.
///
/// # Errors
/// Those of the source, of [`Binding`] and of the engine's methods.
pub fn attributions(explainer: &Explainer<'_>, source: &mut impl Source) -> Result<Attributions, Error> {
    let model = explainer.model();
    let binding = Binding::of(model.schema(), |name| source.column(name, "the model"))?;
    let binding = binding.with_bad_cells(source.bad_cells());
    source.want(&binding.columns());
    let players = explainer.players().len();
    let mut all = Collected::default();
    let mut record = model.record();
    let mut batch = Batch::new(explainer);
    while source.advance()? {
        let found = source.record();
        binding.fill(&found, &mut record)?;
        batch.push(found.position.number, &record, Vec::new());
        if batch.is_full() {
            all.take(batch.explain(|| ())?, players);
        }
    }
    all.take(batch.explain(|| ())?, players);
    let Collected { values, standard_errors, base_values, output, residual } = all;
    let by_player = |values: Vec<f32>| {
        let shape = (base_values.len(), players);
        // Cannot fail: each record added one value per player.
        Array2::from_shape_vec(shape, values).map_err(|error| Error::Input(error.to_string()))
    };
    Ok(Attributions {
        values: by_player(values)?,
        standard_errors: by_player(standard_errors)?,
        base_values: ArrayView1::from(&base_values).to_owned(),
        output: output.into(),
        residual: residual.into(),
    })
}

/// Does the same as [`attributions`], and also returns the cells of each record and at most
/// `most_reasons` reasons for a declined decision.
///
/// # Errors
/// The same as [`attributions`].
pub fn explanation(
    explainer: &Explainer<'_>,
    source: &mut impl Source,
    most_reasons: usize,
) -> Result<Explanation, Error> {
    let model = explainer.model();
    let binding = Binding::of(model.schema(), |name| source.column(name, "the model"))?;
    let binding = binding.with_bad_cells(source.bad_cells());
    source.want(&binding.columns());
    let mut all = Explanation::new(explainer);
    let mut take = |slots: &[Slot<'_>]| {
        for Slot { row, cells, attribution, .. } in slots {
            let reasons = reasons(explainer, cells, attribution, most_reasons);
            all.push(Explained { row: *row, cells, attribution, reasons });
        }
    };
    let mut record = model.record();
    let mut batch = Batch::new(explainer);
    while source.advance()? {
        let found = source.record();
        binding.fill(&found, &mut record)?;
        batch.push(found.position.number, &record, explainer.cells(&binding, &found, &record));
        if batch.is_full() {
            take(batch.explain(|| ())?);
        }
    }
    take(batch.explain(|| ())?);
    Ok(all)
}

#[derive(Default)]
struct Collected {
    values: Vec<f32>,
    standard_errors: Vec<f32>,
    base_values: Vec<f32>,
    output: Vec<f32>,
    residual: Vec<f32>,
}

impl Collected {
    fn take(&mut self, slots: &[Slot<'_>], players: usize) {
        for Slot { attribution, .. } in slots {
            self.values.extend(attribution.values.iter().take(players));
            self.standard_errors.extend(attribution.standard_errors.iter().take(players));
            self.base_values.push(attribution.base_value);
            self.output.push(attribution.output);
            self.residual.push(attribution.residual);
        }
    }
}
