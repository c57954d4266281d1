//! Arbitrary valid models and records, generated from a seed. They are the same on every machine,
//! so that a failing seed is a complete report.

use feamoe_engine::Value;
use feamoe_engine::format::Provenance;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{FeatureIndex, Record, RecordError};

use crate::content::{Content, FeatureContent};

/// The largest number of features of a generated model.
pub const FEATURES: usize = 16;
/// The largest number of experts of a generated model.
pub const EXPERTS: usize = 16;

/// 300 natural log-odds in log2 units: f32 exponentials of such gate logits overflow if the maximum
/// is not subtracted.
pub const SHARP: f32 = 300.0 * std::f32::consts::LOG2_E;

/// Random numbers: `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Returns the stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`, which must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Returns a number in `[low, high]`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.bits() >> 40) as f32 / (1 << 24) as f32;
        (low + unit * (high - low)).clamp(low, high)
    }

    /// Returns one of a few things, of which there must be at least one.
    pub fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }
}

/// What kind of model to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Experts, 1 to [`EXPERTS`] for [`Recipe::any`].
    pub experts: usize,
    /// Features, 1 to [`FEATURES`] for [`Recipe::any`].
    pub features: usize,
    /// Bound of the gate logits, in log2 units. Above 120, the model is not `bounded` and is scored
    /// with clamping.
    pub gate: f32,
    /// Bound of the experts' logits, in log2 units.
    pub outputs: f32,
}

impl Recipe {
    /// Returns a recipe. Over the seeds, the recipes cover every size and both paths of the kernel.
    #[must_use]
    pub fn any(seed: u64) -> Self {
        let mut draw = Draw::new(seed ^ 0x5eed);
        Self {
            experts: 1 + draw.below(EXPERTS),
            features: 1 + draw.below(FEATURES),
            gate: draw.one_of(&[5.0, 20.0, 60.0, 115.0, SHARP, 10.0 * SHARP]),
            outputs: draw.one_of(&[5.0, 20.0, 115.0, SHARP]),
        }
    }

    /// Returns whether every logit stays in the range in which scores need no clamping.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.gate.max(self.outputs) <= feamoe_engine::limits::MAX_LOGIT
    }

    /// Returns a recipe for models that are smooth enough for a quadrature with few nodes.
    #[must_use]
    pub fn gentle(seed: u64) -> Self {
        Self { gate: 12.0, outputs: 12.0, ..Self::any(seed) }
    }

    /// Generates a model. No logit exceeds its bound, and some records come near it. Every other
    /// binned number is stepped.
    #[must_use]
    pub fn content(&self, seed: u64) -> Content {
        let mut content = self.content_with_lines(seed);
        content.step(|index| (seed ^ index as u64).is_multiple_of(2));
        content
    }

    /// Like [`Recipe::content`], but every binned number has its linear row, as in the models of
    /// the golden files.
    #[must_use]
    pub fn content_with_lines(&self, seed: u64) -> Content {
        self.content_of(seed, |_, draw| draw_kind(draw))
    }

    /// Generates a model whose features are of the given kinds.
    #[must_use]
    pub fn content_of(&self, seed: u64, mut kind: impl FnMut(usize, &mut Draw) -> Kind) -> Content {
        let mut draw = Draw::new(seed);
        let stride = stride(self.experts);
        let mut content = Content {
            threshold: draw.one_of(&[0.5, 0.001, 0.999, 0.37]),
            provenance: Provenance {
                training_rows: draw.bits(),
                data_sha256: std::array::from_fn(|_| draw.bits() as u8),
                seed,
                trainer_version: (0, 1, 300),
            },
            experts: self.experts,
            features: Vec::new(),
            positive_name: "genehmigt ✓".to_owned(),
            bias: Vec::new(),
            rows: Vec::new(),
            edges: Vec::new(),
            deviations: Vec::new(),
            calibration: Vec::new(),
            background: Vec::new(),
        };
        // Each feature and the bias may change a logit by one share.
        let shares = (self.gate / (self.features + 1) as f32, self.outputs / (self.features + 1) as f32);
        content.bias = self.row(&mut draw, stride, shares, 1.0);
        for index in 0..self.features {
            let kind = kind(index, &mut draw);
            content.features.push(FeatureContent {
                name: format!("feature {index}"),
                kind,
                levels: match kind {
                    Kind::Category { levels } => (0..levels).map(|level| format!("level {level}")).collect(),
                    Kind::Number { .. } => Vec::new(),
                },
            });
            let rows = kind.rows();
            for row in 0..rows {
                let scale = match kind {
                    Kind::Number { transform, low, high, centre, .. } if row == 0 => {
                        let reach = |x: f32| (transform.apply(x) - centre).abs();
                        0.5 / reach(low).max(reach(high)).max(1e-3)
                    }
                    Kind::Number { .. } => 0.5,
                    Kind::Category { .. } => 1.0,
                };
                content.rows.extend(self.row(&mut draw, stride, shares, scale));
            }
            content.edges.extend(draw_edges(&mut draw, kind));
        }
        content
    }

    fn row(&self, draw: &mut Draw, stride: usize, shares: (f32, f32), scale: f32) -> Vec<f32> {
        let mut row: Vec<f32> = (0..2 * self.experts)
            .map(|lane| {
                let reach = scale * if lane < self.experts { shares.0 } else { shares.1 };
                draw.between(-reach, reach)
            })
            .collect();
        row.resize(stride, 0.0);
        row
    }
}

fn draw_kind(draw: &mut Draw) -> Kind {
    if draw.below(5) < 2 {
        return Kind::Category { levels: draw.one_of(&[0, 1, 2, 5, 41]) };
    }
    let transform = draw.one_of(&[Transform::Identity, Transform::Identity, Transform::Log1p]);
    let (low, high) = match transform {
        Transform::Identity => {
            draw.one_of(&[(0.0, 1.0), (-1.0, 1.0), (17.0, 90.0), (-40.5, 12.25), (0.0, 1.0e6), (3.0, 3.0)])
        }
        Transform::Log1p => draw.one_of(&[(0.0, 99_999.0), (-0.5, 8.0), (1.0, 1.0e9)]),
    };
    let (first, last) = (transform.apply(low), transform.apply(high));
    Kind::Number { transform, low, high, centre: draw.between(first, last), bins: draw.one_of(&[0, 0, 1, 2, 7, 64]) }
}

fn draw_edges(draw: &mut Draw, kind: Kind) -> Vec<f32> {
    let Kind::Number { low, high, .. } = kind else { return Vec::new() };
    let width = if high > low { high - low } else { 1.0 };
    let count = kind.edges() as usize;
    // One edge in each of equal parts of the range, so that they ascend.
    (0..count).map(|i| low + width * (i as f32 + draw.between(0.1, 0.9)) / count as f32).collect()
}

/// One value of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Missing,
    /// A number, possibly NaN or infinite.
    Number(f32),
    /// The code of a level.
    Level(u16),
    /// A level that was not seen in training.
    Unseen,
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Missing => Self::Missing,
            Cell::Number(x) => Self::Number(x),
            Cell::Level(code) => Self::Level(code),
            Cell::Unseen => Self::Unseen,
        }
    }
}

/// Generates records of a model, with numbers inside and outside of ranges, on edges and just below
/// them, infinities, NaN, missing values and unseen levels.
#[must_use]
pub fn records(content: &Content, seed: u64, count: usize) -> Vec<Vec<Cell>> {
    let mut draw = Draw::new(seed ^ 0xce11);
    (0..count)
        .map(|_| {
            let mut edges = content.edges.as_slice();
            content
                .features
                .iter()
                .map(|feature| {
                    let (own, rest) = edges.split_at(feature.kind.edges() as usize);
                    edges = rest;
                    draw_cell(&mut draw, feature.kind, own)
                })
                .collect()
        })
        .collect()
}

/// Generates one value of a feature with these bin edges, see [`records`].
pub fn draw_cell(draw: &mut Draw, kind: Kind, edges: &[f32]) -> Cell {
    let chance = draw.below(100);
    match kind {
        Kind::Number { low, high, .. } => match chance {
            0..70 => Cell::Number(draw.between(low, high)),
            70..78 if !edges.is_empty() => {
                let edge = draw.one_of(edges);
                Cell::Number(draw.one_of(&[edge, edge.next_down(), edge.next_up()]))
            }
            78..84 => Cell::Missing,
            84..88 => Cell::Number(f32::NAN),
            88..92 => Cell::Number(draw.one_of(&[f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN])),
            92..95 => Cell::Number(draw.one_of(&[low.next_down(), high.next_up(), -0.0, f32::MIN_POSITIVE / 2.0])),
            _ => Cell::Number(draw.one_of(&[low, high])),
        },
        Kind::Category { levels } => match chance {
            0..80 if levels > 0 => Cell::Level(draw.below(usize::from(levels)) as u16),
            80..90 => Cell::Missing,
            _ => Cell::Unseen,
        },
    }
}

/// Sets every value of a record.
///
/// # Errors
/// The cells are not those of the record's model.
pub fn fill<const N: usize>(record: &mut Record<'_, N>, cells: &[Cell]) -> Result<(), RecordError> {
    for (index, cell) in cells.iter().enumerate() {
        let key = FeatureIndex(index);
        _ = match *cell {
            Cell::Missing => record.set_missing(key)?,
            Cell::Number(value) => record.set_number(key, value)?,
            Cell::Level(code) => record.set_level(key, Some(code))?,
            Cell::Unseen => record.set_level(key, None)?,
        };
    }
    Ok(())
}
