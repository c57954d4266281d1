//! Fixed encodings that several runs share: a weight row means the same in each run, so that the
//! counts of the runs add up.

use super::{Category, Encoder, Feature, Kind, Quality};

impl Encoder {
    /// Returns the same encoding without counts, for a run that holds it fixed: numbers are not
    /// refitted, and levels that it does not know get no row of their own.
    pub(crate) fn held(&self) -> Self {
        let features = self.features.len();
        Self {
            mass: vec![0.0; self.mass.len()],
            extent: vec![[f32::INFINITY, f32::NEG_INFINITY]; features],
            quality: vec![Quality::default(); features],
            rows_seen: 0,
            changes: Vec::new(),
            n_changes: 0,
            is_held: true,
            is_due: false,
            ..self.clone()
        }
    }

    /// Returns whether the encoding is fixed, whatever records follow.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Returns whether another encoder gives every record the same terms, now and later.
    pub(crate) fn is_same_encoding(&self, other: &Self) -> bool {
        let parts = |encoder: &Self| {
            let Self { features, blocks, most_bins, has_slopes, is_held, .. } = encoder;
            postcard::to_allocvec(&(features, blocks, most_bins, has_slopes, is_held)).ok()
        };
        self.mass.len() == other.mass.len() && parts(self) == parts(other)
    }

    /// Merges several encoders of the same encoding into one with the sum of their counts.
    pub(crate) fn merge(parts: &[&Self]) -> Option<Self> {
        let (first, others) = parts.split_first()?;
        let mut merged = (*first).clone();
        for other in others {
            merged.mass.iter_mut().zip(&other.mass).for_each(|(mass, more)| *mass += more);
            for ([low, high], [other_low, other_high]) in merged.extent.iter_mut().zip(&other.extent) {
                (*low, *high) = (low.min(*other_low), high.max(*other_high));
            }
            merged.quality.iter_mut().zip(&other.quality).for_each(|(quality, more)| quality.add(more));
            merged.rows_seen = merged.rows_seen.saturating_add(other.rows_seen);
        }
        Some(merged)
    }

    /// Returns, per weight row, the number of records that picked it. ([`Encoder::mass`] differs
    /// for a line: it does not count records.)
    pub(crate) fn picked(&self) -> Vec<f64> {
        let mut picked = self.mass.clone();
        for Feature { kind, .. } in &self.features {
            let Kind::Number(number) = kind else { continue };
            let missing = self.mass.get(number.missing_row() as usize).copied().unwrap_or(0.0);
            if let Some(of_line) = picked.get_mut(number.linear_row() as usize) {
                *of_line = (self.rows_seen as f64 - missing).max(0.0);
            }
        }
        picked
    }

    /// Returns the rows of levels that no record has picked, each with the unseen row that stands
    /// in for it.
    pub(crate) fn stand_ins(&self) -> Vec<[u32; 2]> {
        let of_category = |category: &Category| {
            let rows = category.levels().map(|(_, row)| [row, self.learned_row(category, row)]);
            rows.filter(|[row, learned]| row != learned).collect::<Vec<_>>()
        };
        let kinds = self.features.iter().map(|feature| &feature.kind);
        let categories = kinds.filter_map(|kind| match kind {
            Kind::Category(category) => Some(category),
            Kind::Number(_) => None,
        });
        categories.flat_map(of_category).collect()
    }
}

impl Quality {
    fn add(&mut self, other: &Self) {
        let Self { missing, bad, clamped, unseen, refits } = other;
        self.missing = self.missing.saturating_add(*missing);
        self.bad.merge(bad);
        self.clamped = self.clamped.saturating_add(*clamped);
        self.unseen = self.unseen.saturating_add(*unseen);
        self.refits = self.refits.saturating_add(*refits);
    }
}
