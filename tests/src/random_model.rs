//! Random models and records, by seed: every feature kind, every number of experts, missing, unseen and extreme values.

use feamoe::export::{Content, FeatureContent};
use feamoe_engine::blob::Provenance;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};

/// SplitMix64 (Steele, Lea and Flood 2014): small, seeded, the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns a generator; equal seeds give equal numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in `0..end`; `end` is at least 1.
    pub fn below(&mut self, end: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// Returns a number in `low..high`, of 24 random bits.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.bits() >> 40) as f32 / (1_u32 << 24) as f32)
    }
}

/// What a random model consists of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Experts, K.
    pub experts: usize,
    /// Numbers without bins.
    pub numbers: usize,
    /// Numbers with bins, and how many bins each has.
    pub binned: (usize, u16),
    /// Categories, and the levels they share.
    pub categories: (usize, u16),
    /// Weights lie within plus and minus this, in log2 units.
    pub weight: f32,
}

impl Shape {
    /// UCI Adult as the papers use it: 6 numbers, 8 categories of 102 levels in all; the shape of the published budgets.
    pub const ADULT: Self = Self { experts: 11, numbers: 6, binned: (0, 0), categories: (8, 102), weight: 1.0 };
}

/// Returns a random model of this shape.
pub fn model(shape: Shape, random: &mut Random) -> Content {
    let mut features = Vec::new();
    let mut edges = Vec::new();
    for number in 0..shape.numbers + shape.binned.0 {
        let bins = if number < shape.numbers { 0 } else { shape.binned.1 };
        let transform = if number % 3 == 2 { Transform::Log1p } else { Transform::Identity };
        let low = if transform == Transform::Log1p { 0.0 } else { random.between(-50.0, 0.0) };
        let high = random.between(1.0, if transform == Transform::Log1p { 1e5 } else { 90.0 });
        let centre = transform.apply(random.between(low, high));
        let mut own: Vec<f32> = (1..bins).map(|_| random.between(low, high)).collect();
        own.sort_by(f32::total_cmp);
        own.dedup();
        let bins = if bins == 0 { 0 } else { u16::try_from(own.len() + 1).unwrap_or(u16::MAX) };
        edges.extend(own);
        let kind = Kind::Number { transform, low, high, centre, bins };
        features.push(FeatureContent { name: format!("number {number}"), kind, levels: Vec::new() });
    }
    let (categories, levels) = shape.categories;
    for category in 0..categories {
        // The first one takes what does not divide.
        let share = levels / categories.max(1) as u16;
        let levels = if category == 0 { levels - share * (categories as u16 - 1) } else { share };
        let names = (0..levels).map(|level| format!("level {level}")).collect();
        features.push(FeatureContent {
            name: format!("category {category}"),
            kind: Kind::Category { levels },
            levels: names,
        });
    }

    let row = |random: &mut Random, scale: f32| -> Vec<f32> {
        let live = 2 * shape.experts;
        (0..stride(shape.experts)).map(|lane| if lane < live { random.between(-scale, scale) } else { 0.0 }).collect()
    };
    let bias = row(random, shape.weight);
    let mut rows = Vec::new();
    for feature in &features {
        for index in 0..feature.kind.rows() {
            let scale = match feature.kind {
                Kind::Number { transform, low, high, .. } if index == 0 => {
                    shape.weight / (transform.apply(high) - transform.apply(low))
                }
                _ => shape.weight,
            };
            rows.extend(row(random, scale));
        }
    }
    Content {
        threshold: random.between(0.3, 0.7),
        provenance: Provenance { training_rows: 1000, seed: 1, ..Provenance::default() },
        experts: shape.experts,
        features,
        positive_name: "yes".to_owned(),
        bias,
        rows,
        edges,
    }
}
