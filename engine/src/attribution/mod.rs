//! Explanations: what each raw feature added to the score, from the same rows the score reads.
//!
//! Rows are centred on the training mean, so a feature's terms *are* its contribution `c_j` to each of the 2K logits, and the bias is the
//! logits of the mean record. Every method builds on that:
//!
//! | method | the game it explains | against | space | cost |
//! | --- | --- | --- | --- | --- |
//! | [`Method::Exact`] | the score itself: its Shapley values | background records | probability or log-odds | `2^d` coalitions a background record, for `d` features that differ |
//! | [`Method::Sampled`] | the same, estimated, with standard errors | background records | probability or log-odds | until a tolerance is reached |
//! | [`Method::Path`] | the score along the straight line of the logits (Aumann-Shapley), gate included | the mean record | probability | a few forward passes |
//! | [`Method::Frozen`] | the gate held at this record (FEAMOE, Theorem 1) | the mean record | log-odds | one dot product per term |
//!
//! `frozen` is exact for its own game only, and misses all that the gate does: linearity of Shapley values needs weights that do not depend on
//! the record. [`Attribution::gate_share`] tells how much the gate matters for a record: above a tenth, `frozen` misleads.
//!
//! The law all of them keep: `base_value + sum(values) + residual = output`; the residual is reported, never spread.

mod background;
mod exact;
mod factors;
mod frozen;
mod path;
mod sampled;
pub mod tile;
mod walk;

use core::ops::Range;

pub use background::Background;
pub use exact::{Cost, Game, MAX_PLAYERS};
use factors::{Factors, Player};
pub use path::{MAX_PANELS, NODE_TOLERANCE, TOLERANCE};
pub use sampled::Sampling;
use tile::{NO_WEIGHTS, Tile, Weights};

use crate::error::PredictError;
use crate::mixture::{LANE_MULTIPLE, Term, logits, stride};
use crate::model::{Model, Score};
use crate::record::Record;

/// How a score was explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The gate held at this record: Theorem 1 of the paper, in log-odds.
    Frozen,
    /// Along the straight path from the mean record, in probability.
    #[default]
    Path,
    /// Shapley values of the score against background records, every coalition evaluated.
    Exact,
    /// The same, estimated from random orders of the features.
    Sampled,
}

impl Method {
    /// The name used in flags and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Path => "path",
            Self::Exact => "exact",
            Self::Sampled => "sampled",
        }
    }
}

/// What the values add up in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// Natural log-odds: of p for `exact` and `sampled`; for `frozen` those of the experts, averaged by the gate.
    LogOdds,
    /// Probability.
    #[default]
    Probability,
}

impl Space {
    /// The name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogOdds => "log-odds",
            Self::Probability => "probability",
        }
    }
}

/// Why a record got its score: one value per raw feature, or per player where features were grouped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attribution<const FEATURES: usize, const EXPERTS: usize> {
    /// How it was computed.
    pub method: Method,
    /// The space the values are in.
    pub space: Space,
    /// The score that is explained.
    pub score: Score<EXPERTS>,
    /// What the values start from: the mean record's value, or the mean of the background records' values.
    pub base_value: f32,
    /// What base and values add up to, but for the residual: p or its log-odds; `sum_k g_k z_k` for `frozen`. For `exact` and `sampled` of a model that is
    /// not [bounded](Model::bounded) p is that of f64 sums, which may differ from the score by some 1e-6.
    pub output: f32,
    /// `output - base_value - sum(values)`.
    pub residual: f32,
    /// Share of the path's attribution that runs through the gate, in [0, 1]; `None` for `frozen`, which holds the gate still.
    pub gate_share: Option<f32>,
    /// One value per feature, expert and gate channel together; 0 past the model's features.
    pub values: [f32; FEATURES],
    /// For `path`, the part of each value that runs through the gate; 0 for the others.
    pub gate_values: [f32; FEATURES],
    /// For `sampled`, the standard error of each value for this background; 0 for the others.
    pub standard_errors: [f32; FEATURES],
    /// The background records, for `exact` and `sampled`.
    pub background: Option<BackgroundId>,
    /// For `exact`, the coalitions, for `sampled`, the points at which the mixture was evaluated; 0 for the others.
    pub evaluations: u64,
}

/// Which background records an explanation is against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundId {
    /// Their number.
    pub rows: u32,
    /// CRC-32 of them, as the model reads them: other records, or an other order, give another.
    pub hash: u32,
}

impl<const FEATURES: usize, const EXPERTS: usize> Attribution<FEATURES, EXPERTS> {
    /// Returns an attribution of nothing, in a `const` so that it can live in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            method: Method::Path,
            space: Space::Probability,
            score: Score::new(),
            base_value: 0.0,
            output: 0.0,
            residual: 0.0,
            gate_share: None,
            values: [0.0; FEATURES],
            gate_values: [0.0; FEATURES],
            standard_errors: [0.0; FEATURES],
            background: None,
            evaluations: 0,
        }
    }

    /// Takes up output, base and values, and what is left between them.
    fn finish(&mut self, output: f64, base: f64, values: impl Iterator<Item = f64>) {
        #[allow(clippy::cast_possible_truncation)] // rounded to what is told
        let rounded = |value: f64| value as f32;
        let mut sum = f64::from(rounded(base));
        for (to, value) in self.values.iter_mut().zip(values) {
            *to = rounded(value);
            sum += f64::from(*to);
        }
        self.base_value = rounded(base);
        self.output = rounded(output);
        self.residual = rounded(f64::from(self.output) - sum);
    }

    /// Leaves nothing but the score of what the memory held before, maybe a larger model's values.
    fn start(&mut self, method: Method, space: Space) {
        (self.method, self.space) = (method, space);
        (self.gate_share, self.background, self.evaluations) = (None, None, 0);
        for values in [&mut self.values, &mut self.gate_values, &mut self.standard_errors] {
            values.fill(0.0);
        }
    }
}

/// The memory that `exact` and `sampled` work in: 14 kB for 16 features and 12 experts.
#[derive(Clone, Debug)]
pub struct Workspace<const FEATURES: usize, const EXPERTS: usize> {
    bias: Factors<EXPERTS>,
    /// Of the record, by feature.
    record: [Factors<EXPERTS>; FEATURES],
    /// Of a background record that has none stored.
    other: [Factors<EXPERTS>; FEATURES],
    /// What the features multiply that are no players in this game.
    common: Factors<EXPERTS>,
    /// Those of this game come first.
    players: [Player<EXPERTS>; FEATURES],
    /// The values of this game.
    shares: [f64; FEATURES],
    /// Sums over the games, by player's index.
    totals: [f64; FEATURES],
    /// Of `sampled`: what tells the standard errors, by player's index.
    squares: [f64; FEATURES],
    /// What the players of the game at hand added in two pairs of orders.
    units: [[f64; FEATURES]; 2],
    order: [u16; FEATURES],
    reference: f32,
    /// The number of players that `weights` are for.
    weights_of: usize,
    weights_count: usize,
    weights: [Weights; FEATURES],
    tile: Tile<EXPERTS>,
}

impl<const FEATURES: usize, const EXPERTS: usize> Workspace<FEATURES, EXPERTS> {
    /// Returns an empty workspace, in a `const` so that it can live in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bias: [[1.0; 2]; EXPERTS],
            record: [[[1.0; 2]; EXPERTS]; FEATURES],
            other: [[[1.0; 2]; EXPERTS]; FEATURES],
            common: [[1.0; 2]; EXPERTS],
            players: [const { Player::NONE }; FEATURES],
            shares: [0.0; FEATURES],
            totals: [0.0; FEATURES],
            squares: [0.0; FEATURES],
            units: [[0.0; FEATURES]; 2],
            order: [0; FEATURES],
            reference: 0.0,
            weights_of: 0,
            weights_count: 0,
            weights: [NO_WEIGHTS; FEATURES],
            tile: Tile::NONE,
        }
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Default for Workspace<FEATURES, EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Default for Attribution<FEATURES, EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Explains a record by [`Method::Path`], the device's default.
    ///
    /// # Errors
    /// As [`Model::score`].
    pub fn explain(&self, record: &Record<'_, FEATURES>) -> Result<Attribution<FEATURES, EXPERTS>, PredictError> {
        let mut attribution = Attribution::new();
        self.path_into(record, &mut attribution)?;
        Ok(attribution)
    }

    /// Scores a record, and leaves the logits that explanations add up to in `lanes`.
    fn explained_score(
        &self,
        record: &Record<'_, FEATURES>,
        lanes: &mut [f32],
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), PredictError> {
        self.forward(record, lanes, &mut attribution.score)?;
        if !self.bounded() {
            // The safe path of the score shifted the gate's logits and clamped the experts': explanations add up to the true ones.
            logits(self.bias, self.rows, record.terms(), self.row_of(lanes));
        }
        Ok(())
    }

    /// Writes, for each feature, the dot product of its terms' contributions to the logits with `weights`, one per lane of a row.
    ///
    /// Reads `lanes` only, and so many beside them that they are whole fours; weights outside of `lanes` are to be 0.
    fn project(
        &self,
        record: &Record<'_, FEATURES>,
        weights: &[f32],
        lanes: Range<usize>,
        values: &mut [f32; FEATURES],
    ) {
        let width = lanes.len().next_multiple_of(LANE_MULTIPLE);
        let from = lanes.start.min(weights.len().saturating_sub(width));
        let weights = weights.get(from..).and_then(|weights| weights.get(..width)).unwrap_or_default();
        // For the usual numbers of experts, with the weights in registers. On a device each copy takes a kilobyte: one will do.
        let is_device = cfg!(target_arch = "arm");
        if let Ok(weights) = weights.try_into() {
            self.project_block::<12>(record, weights, from, values);
        } else if let (false, Ok(weights)) = (is_device, weights.try_into()) {
            self.project_block::<8>(record, weights, from, values);
        } else if let (false, Ok(weights)) = (is_device, weights.try_into()) {
            self.project_block::<16>(record, weights, from, values);
        } else {
            let row = |term: &Term| self.row(term.row).get(from..).unwrap_or_default();
            self.project_by(record, values, |term| products(weights, row(term)));
        }
    }

    /// As [`Model::project`], to the same bits, for `W` lanes from one on.
    #[inline(always)]
    fn project_block<const W: usize>(
        &self,
        record: &Record<'_, FEATURES>,
        weights: [f32; W],
        from: usize,
        values: &mut [f32; FEATURES],
    ) {
        let stride = stride(self.experts());
        self.project_by(record, values, |term| {
            let start = (term.row as usize).wrapping_mul(stride).wrapping_add(from);
            let row = self.rows.get(start..).and_then(<[f32]>::first_chunk::<W>);
            row.map_or([0.0; LANE_MULTIPLE], |row| products(&weights, row))
        });
    }

    /// Writes, for each feature, what `products` gives for its terms, scaled and added up.
    #[inline(always)]
    fn project_by(
        &self,
        record: &Record<'_, FEATURES>,
        values: &mut [f32; FEATURES],
        products: impl Fn(&Term) -> [f32; LANE_MULTIPLE],
    ) {
        let product = |term: &Term| products(term).map(|product| term.scale * product);
        // Four features are added up together, so that vectors stay whole. A core without vectors would only have the loop four times over in flash.
        const AT_ONCE: usize = if cfg!(target_arch = "arm") { 1 } else { 4 };
        let mut terms = record.terms().iter();
        for (values, features) in values.chunks_mut(AT_ONCE).zip(self.schema().features().chunks(AT_ONCE)) {
            let mut sums = [[0.0_f32; LANE_MULTIPLE]; AT_ONCE];
            for (sums, feature) in sums.iter_mut().zip(features) {
                *sums = terms.next().map_or([0.0; LANE_MULTIPLE], product);
                if feature.kind().terms() == 2 {
                    let more = terms.next().map_or([0.0; LANE_MULTIPLE], product);
                    sums.iter_mut().zip(more).for_each(|(sum, product)| *sum += product);
                }
            }
            for (value, sum) in values.iter_mut().zip(sums.map(add_up)) {
                *value = sum;
            }
        }
    }
}

/// Returns the dot product of two rows.
#[inline(never)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    add_up(products(a, b))
}

/// Returns the sum of values.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let (fours, rest) = values.as_chunks::<LANE_MULTIPLE>();
    let mut sums = [0.0_f32; LANE_MULTIPLE];
    for values in fours.iter().map(<[f32; 4]>::as_slice).chain([rest]) {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    add_up(sums)
}

/// Returns the products of two rows, or blocks of rows, summed by their place in a four: these sums need not wait for each other.
#[inline(always)]
fn products(a: &[f32], b: &[f32]) -> [f32; LANE_MULTIPLE] {
    let mut sums = [0.0_f32; LANE_MULTIPLE];
    for (a, b) in a.as_chunks::<LANE_MULTIPLE>().0.iter().zip(b.as_chunks::<LANE_MULTIPLE>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums
}

/// Returns the sum over the places of a four.
#[inline(always)]
fn add_up([a, b, c, d]: [f32; LANE_MULTIPLE]) -> f32 {
    (a + c) + (b + d)
}
