//! Lays out a learner's weight rows in the engine's order: contiguous by feature, centred on the
//! training mean, with the standardisation folded in.
//!
//! For a number with bins, every bin selects a point of the line, its hats, and the bin itself.
//! Their sum becomes the bin's only weight row, and the line is left empty. The line of a *sloped*
//! number stays.
//!
//! For a line that stays, or that of a number without bins, the learner's linear weight row
//! multiplies `s = (t(x) - mean) / sd`, with the mean and sd of the rows it was fitted on. Let
//! `s_mean` be the mean of `s` over the records with the number present:
//!
//! ```text
//! present:  w s        =  (w / sd) (t(x) - centre)  +  (w s_mean - m)   +  m
//! missing:  r_missing  =                               (r_missing - m)  +  m
//!
//! centre = mean + sd s_mean         m = mean of the second summand over all records
//! ```
//!
//! The mean `m` over all training records is subtracted from the weight rows and added to the bias,
//! so the sum does not change. The centre is first rounded to f32, and `s_mean` is computed from
//! the rounded centre, so that this holds if the rounding is coarse (a time in seconds since 1970
//! has steps of 128). Weight rows that no training record contains become 0: an average, instead of
//! a weight that was never learned. A level that occurred once, when it was new, gets the content
//! of the unseen row, which that record used.

use feamoe_engine::mixture::{Term, stride};
use feamoe_engine::schema::Kind;
use ndarray::{ArrayView1, ArrayView2};

use crate::encoder::{self, Encoder};
use crate::learner::{Calibrator, Weights};
use crate::model::FeatureContent;

/// Features, bias, weight rows and edges in the engine's order.
pub(super) struct Layout {
    pub features: Vec<FeatureContent>,
    pub bias: Vec<f32>,
    pub rows: Vec<f32>,
    pub edges: Vec<f32>,
    pub deviations: Vec<f32>,
}

/// One of several weight rows, of which each record picks one.
struct LookedUp {
    /// Number of training records that picked it.
    picked: f64,
    /// Whether its weights were learned.
    is_learned: bool,
    /// The learner's weight rows that it consists of, with their scales.
    parts: Vec<(u32, f64)>,
    /// Whether the number is present; if so, the linear part's mean is added.
    present: bool,
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

/// Lays out the calibration as the engine's section expects it: slope, bias, weight rows. The
/// weight rows are laid out like the lane of a single expert.
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
    fn number(&mut self, number: &encoder::Number, extent: Option<[f32; 2]>) -> Kind {
        let [clamp_low, clamp_high] = number.range();
        let [low, high] = extent.map_or([clamp_low, clamp_high], |[low, high]| {
            [low.clamp(clamp_low, clamp_high), high.clamp(clamp_low, clamp_high)]
        });
        let transform = number.transform();
        let (centre, bins) = if number.n_bins() == 0 { self.line(number) } else { self.bins(number) };
        Kind::Number { transform, low, high, centre, bins: u16::try_from(bins).unwrap_or(u16::MAX) }
    }

    /// Lays out a number with bins: each bin gets one weight row, and no line is left unless the
    /// number is sloped. Returns the number's centre and the number of bins.
    fn bins(&mut self, number: &encoder::Number) -> (f32, usize) {
        let (centre, shift) = if number.is_sloped() {
            self.slope(number)
        } else {
            self.rows.extend(std::iter::repeat_n(0.0, self.stride));
            (number.mean(), vec![0.0; self.stride])
        };
        let mut looked_up = vec![self.own(number.missing_row())];
        for bin in 0..number.n_bins() {
            let terms: Vec<Term> = number.terms_of_bin(bin).map(|(term, _)| term).collect();
            let picked = terms.last().map_or(0.0, |fine| self.mass(fine.row));
            let parts = terms.iter().map(|term| (term.row, f64::from(term.scale))).collect();
            looked_up.push(LookedUp { picked, is_learned: true, parts, present: true });
        }
        self.looked_up(&looked_up, &shift);
        (centre, number.n_bins())
    }

    /// Writes the line of a number. Returns its centre, and the line's contribution there.
    #[allow(clippy::cast_possible_truncation)]
    fn slope(&mut self, number: &encoder::Number) -> (f32, Vec<f64>) {
        let present = self.present(number);
        let mean_scale = if present > 0.0 { self.mass(number.linear_row()) / present } else { 0.0 };
        let linear: Vec<f64> = self.row(number.linear_row()).collect();
        let [mean, sd] = [number.mean(), number.sd()].map(f64::from);
        self.rows.extend(linear.iter().map(|weight| (weight / sd) as f32));
        let centre = (mean + mean_scale * sd) as f32;
        let centre_scale = (f64::from(centre) - mean) / sd;
        // Adding 0 turns -0 into 0: the padding of a weight row must not be -0.
        (centre, linear.iter().map(|weight| weight * centre_scale + 0.0).collect())
    }

    /// Lays out a number without bins. Returns its centre, and the number of weight rows for
    /// *present*: 0 or 1.
    fn line(&mut self, number: &encoder::Number) -> (f32, usize) {
        let (centre, shift) = self.slope(number);
        let present = self.present(number);
        // If other records lack the number, a record that has it needs a weight row too; otherwise
        // the missing row would shift the mean.
        let looked_up = [
            self.own(number.missing_row()),
            LookedUp { picked: present, is_learned: true, parts: Vec::new(), present: true },
        ];
        let written = self.looked_up(&looked_up, &shift);
        // That weight row is 0 if nothing was missing, and then needs no place in the blob.
        let has_row = self.mass(number.missing_row()) > 0.0;
        if !has_row {
            self.rows.truncate(written + self.stride);
        }
        (centre, usize::from(has_row))
    }

    fn category(&mut self, category: &encoder::Category) -> Kind {
        // A level that no record has picked has the weights of the unseen row.
        let level = |row| {
            let learned = self.encoder.learned_row(category, row);
            let own = self.own(learned);
            if learned == row { own } else { LookedUp { picked: 0.0, is_learned: true, ..own } }
        };
        let mut looked_up: Vec<LookedUp> = category.levels().map(|(_, row)| level(row)).collect();
        looked_up.push(self.own(category.unseen_row()));
        looked_up.push(self.own(category.missing_row()));
        self.looked_up(&looked_up, &vec![0.0; self.stride]);
        Kind::Category { levels: u16::try_from(category.levels().len()).unwrap_or(u16::MAX) }
    }

    /// Returns an entry with a single weight row of the learner.
    fn own(&self, row: u32) -> LookedUp {
        let picked = self.mass(row);
        LookedUp { picked, is_learned: picked > 0.0, parts: vec![(row, 1.0)], present: false }
    }

    /// Writes weight rows of which each record picks one, centred, and moves their mean into the
    /// bias. `shift` is added to entries with the number present. Returns where they start.
    #[allow(clippy::cast_possible_truncation)]
    fn looked_up(&mut self, looked_up: &[LookedUp], shift: &[f64]) -> usize {
        let start = self.rows.len();
        let contents: Vec<Vec<f64>> = looked_up.iter().map(|row| self.content(row, shift)).collect();
        let mut mean = vec![0.0_f64; self.stride];
        for (row, content) in looked_up.iter().zip(&contents) {
            let share = if self.rows_seen() > 0.0 { row.picked / self.rows_seen() } else { 0.0 };
            content.iter().zip(&mut mean).for_each(|(weight, mean)| *mean += share * weight);
        }
        for (row, content) in looked_up.iter().zip(&contents) {
            let centred = content.iter().zip(&mean).map(|(weight, mean)| (weight - mean) as f32);
            self.rows.extend(centred.map(|weight| if row.is_learned { weight } else { 0.0 }));
        }
        self.bias.iter_mut().zip(mean).for_each(|(bias, mean)| *bias += mean);
        start
    }

    /// Returns the weights of an entry.
    fn content(&self, row: &LookedUp, shift: &[f64]) -> Vec<f64> {
        // Summing from 0 matters: in the padding lanes a shift can be -0, but they must be 0 to the
        // bit.
        let mut content = vec![0.0; self.stride];
        if row.present {
            content.iter_mut().zip(shift).for_each(|(sum, shift)| *sum += shift);
        }
        for (id, scale) in &row.parts {
            content.iter_mut().zip(self.row(*id)).for_each(|(sum, weight)| *sum += scale * weight);
        }
        content
    }

    /// Returns a weight row of the learner; zeros for one that it never learned.
    fn row(&self, id: u32) -> impl Iterator<Item = f64> + use<'_> {
        let rows = self.weights.rows;
        (0..self.stride).map(move |lane| rows.get([id as usize, lane]).copied().map_or(0.0, f64::from))
    }

    /// Returns the number of training records that have the number.
    fn present(&self, number: &encoder::Number) -> f64 {
        self.rows_seen() - self.mass(number.missing_row())
    }

    fn mass(&self, id: u32) -> f64 {
        self.encoder.mass().get(id as usize).copied().unwrap_or(0.0)
    }

    #[allow(clippy::cast_precision_loss)]
    fn rows_seen(&self) -> f64 {
        self.encoder.rows_seen() as f64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::learner::LearnerOptions;
    use crate::rows::{Cell, Cells};
    use crate::schema::Schema;
    use crate::training::{Options, Trainer};

    /// Numbers without bins, some missing, in streams whose mean moves up or down. The engine
    /// refuses a padding lane that is not 0 to the bit.
    #[test]
    fn a_line_that_is_centred_again_leaves_the_padding_zero() {
        for seed in 0..8_u32 {
            let schema = Schema::from_toml("rows", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n").unwrap();
            let mut options = Options::new(LearnerOptions::default().check().unwrap());
            options.encoder.bins = 0;
            options.encoder.warmup = 100;
            let mut trainer = Trainer::new(&["x", "y"], schema, &options).unwrap();
            let mut cells = Cells::new(2);
            for row in 0..400_u32 {
                let mixed = row.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 16;
                let move_by = if seed % 2 == 0 { f64::from(row) } else { -f64::from(row) };
                let x = if mixed % 7 == 0 { Cell::Missing } else { Cell::Number(f64::from(mixed % 100) + move_by) };
                cells.set(&[x, Cell::Number(f64::from(mixed / 100 % 2))]);
                trainer.learn(&cells.record("rows", row.into())).unwrap();
            }
            assert!(trainer.model().is_ok(), "{seed}: {:?}", trainer.model().err());
        }
    }
}
