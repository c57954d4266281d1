//! Lays a learner's rows of weights out as the engine reads them: contiguous by feature, centred on
//! the training mean, standardisation folded in.
//!
//! The learner's linear row multiplies `s = (t(x) - mean) / sd` with the mean and sd of the first
//! rows. With `f_r` the share of training records that picked row `r`, and `s_mean` the mean of `s`
//! where the number was present, a feature's summand of the logits is rewritten without changing
//! it:
//!
//! ```text
//! present:  w s + r_bin  =  (w / sd) (t(x) - centre)  +  (r_bin + w s_mean - m)  +  m         centre = mean + sd s_mean
//! missing:  r_missing    =                               (r_missing - m)         +  m         m = mean of the second summand over all records
//! ```
//!
//! and `m` moves into the bias. The centre is rounded to f32 first and `s_mean` taken from what is
//! left, so that the sum stays the same where that rounding is coarse (a time in seconds since 1970
//! has steps of 128). Rows that no training record picked become 0: an average, instead of a weight
//! that was never learned; a level that occurred once, when it was new, gets the content of the
//! unseen row, which that record picked.

use feamoe_engine::mixture::stride;
use feamoe_engine::schema::Kind;
use ndarray::{ArrayView1, ArrayView2};

use crate::encoder::{self, Encoder};
use crate::learner::{Calibrator, Weights};
use crate::model::FeatureContent;

/// Features, bias, rows and edges in the engine's order.
pub(super) struct Layout {
    pub features: Vec<FeatureContent>,
    pub bias: Vec<f32>,
    pub rows: Vec<f32>,
    pub edges: Vec<f32>,
    pub deviations: Vec<f32>,
}

/// A row of which each record picks one.
struct LookedUp {
    /// The learner's row; `u32::MAX` for the row of all records that pick no other.
    row: u32,
    /// The row whose weights it takes.
    weights_of: u32,
    /// Whether the number is present: then the linear part's mean is added.
    present: bool,
}

impl LookedUp {
    fn own(row: u32, present: bool) -> Self {
        Self { row, weights_of: row, present }
    }
}

pub(super) fn lay_out(encoder: &Encoder, weights: Weights<'_>) -> Layout {
    let stride = stride(weights.experts);
    let mut layout = Layout {
        features: Vec::new(),
        bias: weights.bias.iter().copied().take(stride).collect(),
        rows: Vec::new(),
        edges: Vec::new(),
        deviations: Vec::new(),
    };
    let mut bias: Vec<f64> = layout.bias.iter().map(|weight| f64::from(*weight)).collect();
    for (index, feature) in encoder.features().iter().enumerate() {
        let mut writer = Writer { encoder, weights, stride, bias: &mut bias, rows: &mut layout.rows };
        let content = match feature.kind() {
            encoder::Kind::Number(number) => {
                layout.edges.extend(number.edges());
                layout.deviations.push(number.sd());
                let extent = encoder.extent(index);
                let kind = writer.number(number, extent);
                FeatureContent { name: feature.name().to_owned(), kind, levels: Vec::new() }
            }
            encoder::Kind::Category(category) => {
                layout.deviations.push(0.0);
                let kind = writer.category(category);
                let levels = category.levels().map(|(name, _)| name.to_owned()).collect();
                FeatureContent { name: feature.name().to_owned(), kind, levels }
            }
        };
        layout.features.push(content);
    }
    #[allow(clippy::cast_possible_truncation)]
    for (to, from) in layout.bias.iter_mut().zip(bias) {
        *to = from as f32;
    }
    layout
}

/// Lays out what calibrates, as the engine's section is drawn: slope, bias, rows. They are laid out
/// as the lane of an expert would be.
pub(super) fn lay_out_calibration(encoder: &Encoder, calibrator: &Calibrator) -> Vec<f32> {
    let ([slope, bias], stride) = (calibrator.line(), stride(1));
    let lane = |value: f32| std::iter::once(value).chain(std::iter::repeat_n(0.0, stride - 1));
    let (first, rows): (Vec<f32>, Vec<f32>) = (lane(bias).collect(), calibrator.rows().flat_map(lane).collect());
    let rows = ArrayView2::from_shape((rows.len() / stride, stride), &rows);
    let Ok(rows) = rows else { return Vec::new() };
    let Layout { bias, rows, .. } = lay_out(encoder, Weights { experts: 1, bias: ArrayView1::from(&first), rows });
    let first = |lanes: &[f32]| lanes.first().copied().unwrap_or_default();
    [slope, first(&bias)].into_iter().chain(rows.chunks(stride).map(first)).collect()
}

struct Writer<'a, 'w> {
    encoder: &'a Encoder,
    weights: Weights<'w>,
    stride: usize,
    bias: &'a mut [f64],
    rows: &'a mut Vec<f32>,
}

impl Writer<'_, '_> {
    #[allow(clippy::cast_possible_truncation)]
    fn number(&mut self, number: &encoder::Number, extent: Option<[f32; 2]>) -> Kind {
        let missing = self.mass(number.missing_row());
        let present = self.rows_seen() - missing;
        let mean_scale = if present > 0.0 { self.mass(number.linear_row()) / present } else { 0.0 };
        let linear: Vec<f64> = self.row(number.linear_row()).collect();
        self.rows.extend(linear.iter().map(|weight| (weight * f64::from(number.inv_sd())) as f32));
        let mean = f64::from(number.mean());
        let centre = (mean + mean_scale * f64::from(number.sd())) as f32;
        let centre_scale = (f64::from(centre) - mean) * f64::from(number.inv_sd());
        let shift: Vec<f64> = linear.iter().map(|weight| weight * centre_scale).collect();

        let mut looked_up = vec![LookedUp::own(number.missing_row(), false)];
        looked_up.extend(number.bin_rows().map(|row| LookedUp::own(row, true)));
        let bins = number.bin_rows().len();
        // Without bins, a record with the number present still needs a row where others lacked it:
        // else missing rows would shift the mean.
        let one_bin = bins == 0 && missing > 0.0;
        if bins == 0 {
            looked_up.push(LookedUp::own(u32::MAX, true));
        }
        let written = self.looked_up(&looked_up, &shift);
        // The row of "present" is 0 where nothing was missing: then it needs no place in the blob.
        if bins == 0 && !one_bin {
            self.rows.truncate(written + self.stride);
        }

        let [clamp_low, clamp_high] = number.range();
        let [low, high] = extent.map_or([clamp_low, clamp_high], |[low, high]| {
            [low.clamp(clamp_low, clamp_high), high.clamp(clamp_low, clamp_high)]
        });
        Kind::Number {
            transform: number.transform(),
            low,
            high,
            centre,
            bins: u16::try_from(bins.max(usize::from(one_bin))).unwrap_or(u16::MAX),
        }
    }

    fn category(&mut self, category: &encoder::Category) -> Kind {
        let level = |row| LookedUp { weights_of: self.encoder.learned_row(category, row), ..LookedUp::own(row, false) };
        let mut looked_up: Vec<LookedUp> = category.levels().map(|(_, row)| level(row)).collect();
        looked_up.push(LookedUp::own(category.unseen_row(), false));
        looked_up.push(LookedUp::own(category.missing_row(), false));
        self.looked_up(&looked_up, &vec![0.0; self.stride]);
        Kind::Category { levels: u16::try_from(category.levels().len()).unwrap_or(u16::MAX) }
    }

    /// Writes rows of which each record picks one, centred, and moves their mean into the bias;
    /// `shift` is added where a row says *present*. Returns where they start.
    #[allow(clippy::cast_possible_truncation)]
    fn looked_up(&mut self, looked_up: &[LookedUp], shift: &[f64]) -> usize {
        let mut written = std::mem::take(self.rows);
        let start = written.len();
        let mut mean = vec![0.0_f64; self.stride];
        let counted: f64 = looked_up.iter().map(|row| self.mass(row.row)).sum();
        // The row that is only in the blob stands for all records that picked no other.
        let mass = |row: u32| if row == u32::MAX { self.rows_seen() - counted } else { self.mass(row) };
        for row in looked_up {
            let share = if self.rows_seen() > 0.0 { mass(row.row) / self.rows_seen() } else { 0.0 };
            self.content(row, shift).zip(&mut mean).for_each(|(weight, mean)| *mean += share * weight);
        }
        for row in looked_up {
            let picked = mass(row.row) > 0.0 || row.weights_of != row.row;
            let centred = self.content(row, shift).zip(&mean).map(|(weight, mean)| (weight - mean) as f32);
            written.extend(centred.map(|weight| if picked { weight } else { 0.0 }));
        }
        *self.rows = written;
        self.bias.iter_mut().zip(mean).for_each(|(bias, mean)| *bias += mean);
        start
    }

    /// Returns the weights that a row takes.
    fn content<'a>(&'a self, row: &LookedUp, shift: &'a [f64]) -> impl Iterator<Item = f64> + use<'a> {
        let present = row.present;
        self.row(row.weights_of).zip(shift).map(move |(weight, shift)| if present { weight + shift } else { weight })
    }

    /// Returns a row of the learner; zeros for one it never learned.
    fn row(&self, id: u32) -> impl Iterator<Item = f64> + use<'_> {
        let rows = self.weights.rows;
        (0..self.stride).map(move |lane| rows.get([id as usize, lane]).copied().map_or(0.0, f64::from))
    }

    fn mass(&self, id: u32) -> f64 {
        self.encoder.mass().get(id as usize).copied().unwrap_or(0.0)
    }

    #[allow(clippy::cast_precision_loss)]
    fn rows_seen(&self) -> f64 {
        self.encoder.rows_seen() as f64
    }
}
