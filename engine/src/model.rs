//! The float model: loads a blob, in place or into the caller's memory, and scores records.

use bytemuck::try_cast_slice;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::error::{LoadError, LoadErrorKind, PredictError, RecordError};
use crate::format::{Blob, Calibration, FLAGS_AT, HEADER_BYTES, Provenance, Weights, stride};
use crate::invariant::certain;
use crate::limits::{MAX_LOGIT, MAX_REACH};
use crate::mixture::{combine, live_logits, tame};
use crate::record::{Record, Value};
use crate::schema::{Feature, FeatureIndex, Kind, Layout, Note, Schema};
use crate::scorer::{Scored, impl_scorer, sealed};

/// Fills memory that is written before it is read. Zeros would be a function call, with three times
/// as many instructions.
pub(crate) const UNWRITTEN: f32 = f32::NAN;

/// A model with at most `FEATURES` features and `EXPERTS` experts, used in place in its blob or
/// copied.
///
/// Every `Model` is valid: [`Model::load`] checked every index, shape and number. It takes 32 bytes
/// per feature; the weights stay in the blob or in the memory given to [`Model::load_into`].
/// `EXPERTS` must be even, since weight rows are padded to four lanes, two per expert. An odd
/// number does not compile:
///
/// ```
/// assert!(feamoe_engine::Model::<16, 12>::load(&[]).is_err()); // no model, but a build
/// ```
/// ```compile_fail,E0080
/// assert!(feamoe_engine::Model::<16, 11>::load(&[]).is_err());
/// ```
/// ```compile_fail,E0080
/// assert!(feamoe_engine::Model::<0, 12>::load(&[]).is_err());
/// ```
#[derive(Debug)]
pub struct Model<'a, const FEATURES: usize, const EXPERTS: usize> {
    layout: Layout<'a, FEATURES>,
    experts: usize,
    threshold: f32,
    pub(crate) bias: &'a [f32],
    pub(crate) rows: &'a [f32],
    pub(crate) background: &'a [u8],
    pub(crate) calibration: Calibration<'a>,
    bounded: bool,
    mean_probability: f32,
    provenance: Provenance,
    crc32: u32,
    blob_bytes: usize,
}

/// The score of a record.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Score<const EXPERTS: usize> {
    /// The score p, in [0, 1].
    pub probability: f32,
    /// `p >= threshold`.
    pub decision: bool,
    /// Gate weights, which sum to 1; 0 beyond the model's experts.
    pub gate: [f32; EXPERTS],
    /// The experts' probabilities; 0 beyond the model's experts.
    pub expert_probabilities: [f32; EXPERTS],
    /// Whether some value was missing.
    pub missing: bool,
    /// Whether some number was clamped to the training range.
    pub clamped: bool,
    /// Whether some level was not seen in training.
    pub unseen: bool,
}

impl<const EXPERTS: usize> Score<EXPERTS> {
    /// Returns an empty score. This is `const`, so that a score can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            probability: 0.0,
            decision: false,
            gate: [0.0; EXPERTS],
            expert_probabilities: [0.0; EXPERTS],
            missing: false,
            clamped: false,
            unseen: false,
        }
    }
}

/// The gate and the experts' probabilities are sequences of `EXPERTS` numbers.
impl<const EXPERTS: usize> Serialize for Score<EXPERTS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Score", 7)?;
        fields.serialize_field("probability", &self.probability)?;
        fields.serialize_field("decision", &self.decision)?;
        fields.serialize_field("gate", self.gate.as_slice())?;
        fields.serialize_field("expert_probabilities", self.expert_probabilities.as_slice())?;
        fields.serialize_field("missing", &self.missing)?;
        fields.serialize_field("clamped", &self.clamped)?;
        fields.serialize_field("unseen", &self.unseen)?;
        fields.end()
    }
}

impl<const EXPERTS: usize> Default for Score<EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const EXPERTS: usize> sealed::Sealed for Score<EXPERTS> {}

impl<const EXPERTS: usize> Scored for Score<EXPERTS> {
    fn probability(&self) -> f32 {
        self.probability
    }

    fn decision(&self) -> bool {
        self.decision
    }

    fn gate(&self, expert: usize) -> f32 {
        self.gate.get(expert).copied().unwrap_or(0.0)
    }

    fn expert_probability(&self, expert: usize) -> f32 {
        self.expert_probabilities.get(expert).copied().unwrap_or(0.0)
    }

    fn missing(&self) -> bool {
        self.missing
    }

    fn clamped(&self) -> bool {
        self.clamped
    }

    fn unseen(&self) -> bool {
        self.unseen
    }
}

impl_scorer!();

impl<'a, const FEATURES: usize, const EXPERTS: usize> Model<'a, FEATURES, EXPERTS> {
    /// Loads a blob and checks all of it, for arbitrary bytes, without copying weights. Cost: one
    /// pass over the bytes for the checksum and a few over the weights.
    ///
    /// The blob must be aligned to 4 bytes in memory, as [`crate::include_model!`] embeds it.
    ///
    /// # Errors
    /// The problem and its byte offset, see [`crate::error::LoadErrorKind`].
    pub fn load(blob: &'a [u8]) -> Result<Self, LoadError> {
        let (blob, values) = Self::blob(blob)?;
        let refused = |kind| LoadError { kind, at: blob.values_at };
        if cfg!(target_endian = "big") {
            return Err(refused(LoadErrorKind::NotInPlace));
        }
        let values = try_cast_slice(values.as_flattened()).map_err(|_| refused(LoadErrorKind::Misaligned))?;
        Self::new(&blob, values)
    }

    /// Loads a blob at any address, on a target of any endianness, and copies its
    /// [`Model::values_needed`] values of four bytes each to `memory`. This also helps if flash is
    /// slow, since weights are then in RAM. Names, background records, deviations and calibration
    /// stay in the blob.
    ///
    /// ```
    /// use feamoe_engine::{Model, include_model};
    ///
    /// static BLOB: &[u8] = include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1.feamoe"));
    /// # fn main() -> Result<(), feamoe_engine::LoadError> {
    /// let mut memory = [0.0; 512];
    /// assert!(Model::<16, 12>::values_needed(BLOB)? <= memory.len());
    /// let (copied, in_place): (Model<16, 12>, Model<16, 12>) = (Model::load_into(BLOB, &mut memory)?, Model::load(BLOB)?);
    /// assert!(copied.score(&copied.record()) == in_place.score(&in_place.record()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The same as [`Model::load`], and [`LoadErrorKind::MemoryTooSmall`], but never
    /// [`LoadErrorKind::Misaligned`] or [`LoadErrorKind::NotInPlace`].
    pub fn load_into(blob: &'a [u8], memory: &'a mut [f32]) -> Result<Self, LoadError> {
        let (blob, values) = Self::blob(blob)?;
        let (found, expected) = (memory.len(), values.len());
        let Some(copies) = memory.get_mut(..expected) else {
            return Err(LoadError { kind: LoadErrorKind::MemoryTooSmall { found, expected }, at: blob.values_at });
        };
        for (copy, bytes) in copies.iter_mut().zip(values) {
            *copy = f32::from_le_bytes(*bytes);
        }
        Self::new(&blob, copies)
    }

    /// Returns the number of values that [`Model::load_into`] copies, at most a quarter of the
    /// blob's bytes. Cost: that of the checks of a load.
    ///
    /// # Errors
    /// The problem with the blob.
    pub fn values_needed(blob: &'a [u8]) -> Result<usize, LoadError> {
        Ok(Self::blob(blob)?.1.len())
    }

    /// Checks a blob and whether this build can hold it.
    fn blob(bytes: &'a [u8]) -> Result<(Blob<'a>, &'a [[u8; 4]]), LoadError> {
        const {
            assert!(EXPERTS > 0 && EXPERTS.is_multiple_of(2), "EXPERTS must be even and not 0: round it up");
            assert!(FEATURES > 0, "FEATURES must not be 0");
        }
        let blob = Blob::of_floats(bytes)?;
        let Weights::F32(values) = blob.weights() else {
            return Err(LoadError { kind: LoadErrorKind::IntegerWeights, at: FLAGS_AT });
        };
        if blob.experts() > EXPERTS {
            let kind = LoadErrorKind::TooManyExperts { found: blob.experts(), capacity: EXPERTS };
            return Err(LoadError { kind, at: HEADER_BYTES });
        }
        Ok((blob, values))
    }

    /// Creates the model; `values` are those of the blob.
    fn new(blob: &Blob<'a>, values: &'a [f32]) -> Result<Self, LoadError> {
        let experts = blob.experts();
        let lanes = values.len().wrapping_sub(blob.edges);
        let (lanes, edges) = certain!(values.split_at_checked(lanes), Default::default());
        let (bias, rows) = certain!(lanes.split_at_checked(stride(experts)), Default::default());
        let row = |row: u32| rows.chunks(stride(experts).max(1)).nth(row as usize).unwrap_or_default();
        let adds_nothing = |index| row(index).iter().all(|weight| *weight == 0.0) && !blob.calibration.sees(index);
        let layout = Layout::new(blob, edges, adds_nothing)?;
        let largest = largest_logit(layout.features(), bias, rows, experts);
        let largest = largest.ok_or(LoadError { kind: LoadErrorKind::LogitsTooLarge, at: blob.values_at })?;
        let description = blob.description();
        let mut model = Self {
            layout,
            experts,
            threshold: description.threshold,
            bias,
            rows,
            background: blob.background,
            calibration: blob.calibration,
            bounded: largest <= MAX_LOGIT,
            mean_probability: 0.0,
            provenance: description.provenance,
            crc32: blob.crc32(),
            blob_bytes: blob.bytes().len(),
        };
        let (mut lanes, mut score) = ([[0.0; EXPERTS]; 2], Score::<EXPERTS>::new());
        let lanes = model.row_of(lanes.as_flattened_mut());
        for (lane, bias) in lanes.iter_mut().zip(bias) {
            *lane = *bias;
        }
        model.mean_probability = model.combine(lanes, &mut score.gate, &mut score.expert_probabilities);
        Ok(model)
    }

    /// Returns the features: kinds, names, levels.
    #[must_use]
    pub fn schema(&self) -> Schema<'_> {
        self.layout.view()
    }

    /// Returns the ascending edges between the bins of a number, one fewer than it has bins. Empty
    /// for a number without bins, for a category and beyond the last feature.
    ///
    /// [`crate::schema::bin`] with these edges gives the bin of a clamped number.
    #[must_use]
    pub fn edges(&self, feature: FeatureIndex) -> &[f32] {
        self.layout.features().get(feature.0).map_or(&[], |feature| feature.edges_of(self.layout.edges))
    }

    #[inline]
    pub(crate) fn layout(&self) -> &Layout<'a, FEATURES> {
        &self.layout
    }

    /// Returns a record of this model with every value missing.
    #[must_use]
    pub fn record(&self) -> Record<'_, FEATURES> {
        Record::new(&self.layout)
    }

    /// Returns the number of experts, K.
    #[must_use]
    pub fn experts(&self) -> usize {
        self.experts
    }

    /// Returns the decision threshold.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Returns whether every possible logit is within +-[`MAX_LOGIT`], so that scoring needs no
    /// clamping.
    #[must_use]
    pub fn bounded(&self) -> bool {
        self.bounded
    }

    /// Returns the score of the mean record, whose logits are the bias. [`crate::Method::Path`]
    /// starts there.
    #[must_use]
    pub fn mean_probability(&self) -> f32 {
        self.mean_probability
    }

    /// Returns where the model comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Returns the checksum of the blob, which identifies the model.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Returns the length of the blob.
    #[must_use]
    pub fn blob_bytes(&self) -> usize {
        self.blob_bytes
    }

    /// Returns the number of background records: 0 if the blob has none, at most
    /// [`crate::limits::MAX_BACKGROUND_ROWS`].
    ///
    /// The first records are also a sample of the data, whatever their number, since the order is
    /// random.
    #[must_use]
    pub fn background_rows(&self) -> usize {
        certain!(self.background.len().checked_div(self.record_bytes()), 0)
    }

    /// Returns the size of a background record in bytes, above 0 since a model has a feature.
    fn record_bytes(&self) -> usize {
        self.layout.features().iter().map(|feature| feature.kind.value_bytes()).sum()
    }

    /// Returns the values of background record `row` (counted from 0), feature by feature; `None`
    /// if there is no such record.
    pub fn background_values(&self, row: usize) -> Option<impl Iterator<Item = Value>> {
        let features = self.layout.features();
        let start = row.checked_mul(self.record_bytes())?;
        let mut rest = self.background.get(start..)?;
        // Only the first feature can lack its bytes, since `load` has counted and checked them.
        let mut values = features.iter().map_while(move |feature| {
            let (value, after) = Value::take(feature.kind, rest)?;
            rest = after;
            Some(value)
        });
        let first = values.next()?;
        Some(core::iter::once(first).chain(values))
    }

    /// Sets every value of `record` to those of background record `row` (counted from 0). Takes the
    /// time of setting each value by its index, and no memory.
    ///
    /// # Errors
    /// [`RecordError::NoBackgroundRow`], or [`RecordError::OtherModel`] for a record that another
    /// model created. On an error, `record` is unchanged.
    pub fn background_record(&self, row: usize, record: &mut Record<'_, FEATURES>) -> Result<(), RecordError> {
        if !self.made(record) {
            return Err(RecordError::OtherModel);
        }
        let missing = RecordError::NoBackgroundRow { found: row, rows: self.background_rows() };
        for (index, value) in self.background_values(row).ok_or(missing)?.enumerate() {
            _ = record.set_value(FeatureIndex(index), value)?;
        }
        Ok(())
    }

    /// Scores a record. The number of instructions depends only on the model, not on the record.
    /// Stack: below 512 bytes at 16 features and 12 experts.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`] for a record that another model created.
    #[inline]
    pub fn score(&self, record: &Record<'_, FEATURES>) -> Result<Score<EXPERTS>, PredictError> {
        let mut score = Score::new();
        self.score_into(record, &mut score)?;
        Ok(score)
    }

    /// Scores a record into the caller's memory, which saves two copies.
    ///
    /// # Errors
    /// The same as [`Model::score`]; then `score` is unchanged.
    #[inline]
    pub fn score_into(&self, record: &Record<'_, FEATURES>, score: &mut Score<EXPERTS>) -> Result<(), PredictError> {
        let mut lanes = [[UNWRITTEN; EXPERTS]; 2];
        self.forward(record, lanes.as_flattened_mut(), score)
    }

    /// Scores a record and leaves its logits, in log2 units, in the first [`stride`] of `lanes`.
    #[inline]
    pub(crate) fn forward(
        &self,
        record: &Record<'_, FEATURES>,
        lanes: &mut [f32],
        score: &mut Score<EXPERTS>,
    ) -> Result<(), PredictError> {
        if !self.made(record) {
            return Err(PredictError::OtherModel);
        }
        // There is always room, since a row has at most `2 * EXPERTS` lanes.
        let Some(lanes) = lanes.get_mut(..self.bias.len()) else { return Err(PredictError::OtherModel) };
        live_logits(self.experts, self.bias, self.rows, record.terms(), lanes);
        // The memory may hold the score of a larger model. This is rare, so checking is cheaper
        // than a call that fills.
        for past in (self.experts..EXPERTS).rev() {
            let Some(gate) = score.gate.get_mut(past) else { break };
            let Some(output) = score.expert_probabilities.get_mut(past) else { break };
            if *gate != 0.0 || *output != 0.0 {
                (*gate, *output) = (0.0, 0.0);
            }
        }
        score.probability = self.combine(lanes, &mut score.gate, &mut score.expert_probabilities);
        score.decision = score.probability >= self.threshold;
        let notes = record.note_bits();
        score.missing = Note::Missing.is_in(notes);
        score.clamped = Note::Clamped.is_in(notes);
        score.unseen = Note::Unseen.is_in(notes);
        Ok(())
    }

    /// Returns whether a record was created by this model.
    #[inline]
    pub(crate) fn made(&self, record: &Record<'_, FEATURES>) -> bool {
        core::ptr::eq(record.layout, &raw const self.layout)
    }

    /// Returns the part of `lanes` that one weight row fills. `EXPERTS` is even, so `2 * EXPERTS`
    /// lanes hold the stride of any K up to it.
    #[inline]
    pub(crate) fn row_of<'l>(&self, lanes: &'l mut [f32]) -> &'l mut [f32] {
        lanes.get_mut(..self.bias.len()).unwrap_or_default()
    }

    /// Returns a weight row.
    pub(crate) fn row(&self, row: u32) -> &[f32] {
        let stride = self.bias.len();
        let rows = self.rows.get((row as usize).wrapping_mul(stride)..);
        rows.and_then(|rows| rows.get(..stride)).unwrap_or_default()
    }

    /// Evaluates the mixture at `bias + t * change`; returns p. Not inlined, since a copy for every
    /// node of a path would double the code of the explanation.
    #[inline(never)]
    pub(crate) fn mixture_at(
        &self,
        change: &[f32],
        t: f32,
        gate: &mut [f32; EXPERTS],
        outputs: &mut [f32; EXPERTS],
    ) -> f32 {
        let mut lanes = [[UNWRITTEN; EXPERTS]; 2];
        let Some(lanes) = lanes.as_flattened_mut().get_mut(..self.bias.len()) else { return 0.0 };
        for ((lane, bias), change) in lanes.iter_mut().zip(self.bias).zip(change) {
            *lane = bias + t * change;
        }
        self.combine(lanes, gate, outputs)
    }

    /// Combines logits into the gate, the experts' probabilities and p, with clamping if the model
    /// is not bounded.
    #[inline]
    pub(crate) fn combine(&self, lanes: &[f32], gate: &mut [f32; EXPERTS], outputs: &mut [f32; EXPERTS]) -> f32 {
        if self.bounded {
            return combine(lanes, self.experts, gate, outputs);
        }
        let (mut tamed, live) = ([[UNWRITTEN; EXPERTS]; 2], ..self.experts.wrapping_mul(2));
        let (Some(tamed), Some(lanes)) = (tamed.as_flattened_mut().get_mut(live), lanes.get(live)) else { return 0.0 };
        tamed.iter_mut().zip(lanes).for_each(|(to, from)| *to = *from);
        tame(tamed, self.experts);
        combine(tamed, self.experts, gate, outputs)
    }
}

/// Returns the largest magnitude any logit can take: the sum over features of their rows' largest
/// magnitudes, by lane, plus the bias. `None` if it, or a weight, is past [`MAX_REACH`].
fn largest_logit(features: &[Feature], bias: &[f32], rows: &[f32], experts: usize) -> Option<f32> {
    let stride = stride(experts);
    // Written so that NaN (a weight of 0 times an infinite range) is refused too.
    let within = |magnitude: f32| (magnitude <= MAX_REACH).then_some(magnitude);
    let mut largest = 0.0_f32;
    for lane in 0..experts.wrapping_mul(2) {
        let weight = |row: u32| {
            let index = (row as usize).wrapping_mul(stride).wrapping_add(lane);
            rows.get(index).and_then(|weight| within(weight.abs()))
        };
        let mut bound = bias.get(lane)?.abs();
        for feature in features {
            let (looked_up, linear) = match feature.kind {
                Kind::Number { transform, low, high, centre, .. } => {
                    let reach = |x: f32| (transform.apply(x) - centre).abs();
                    (1, weight(feature.first_row)? * reach(low).max(reach(high)))
                }
                Kind::Category { .. } => (0, 0.0),
            };
            let mut tallest = 0.0_f32;
            for row in looked_up..feature.kind.rows() {
                tallest = tallest.max(weight(feature.first_row.wrapping_add(row))?);
            }
            bound += linear + tallest;
        }
        largest = largest.max(within(bound)?);
    }
    Some(largest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::attribution::Attribution;
    use crate::golden;
    use crate::schema::FeatureIndex;

    /// In place if possible, by copying on every target.
    #[test]
    fn a_big_endian_target_copies() {
        static BLOB: &[u8] = crate::include_model!("../golden/v1.feamoe");
        let in_place: Result<Model<6, 4>, LoadError> = Model::load(BLOB);
        assert_eq!(in_place.is_err_and(|error| error.kind == LoadErrorKind::NotInPlace), cfg!(target_endian = "big"));
        assert_eq!(golden::<6, 4>().blob_bytes(), BLOB.len());
    }

    #[test]
    fn edges_are_those_of_the_feature() {
        let model: Model<6, 4> = crate::golden();
        let counts = [0, 1, 2, 3, 4].map(|feature| model.edges(FeatureIndex(feature)).len());
        assert_eq!(counts, [0, 3, 1, 0, 0]);
        assert!(model.edges(FeatureIndex(1)).is_sorted());
    }

    #[test]
    fn the_record_of_another_model_is_an_error() {
        let (model, other): (Model<6, 4>, Model<6, 4>) = (golden(), golden());
        let record = other.record();
        assert_eq!(model.score(&record), Err(PredictError::OtherModel));
        assert_eq!(model.explain(&record), Err(PredictError::OtherModel));
        let mut attribution = other.explain(&record).unwrap();
        let before = attribution;
        let found = model.frozen_into(&record, &mut attribution);
        assert_eq!((found, attribution), (Err(PredictError::OtherModel), before));
    }

    #[test]
    fn a_model_is_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        let model: Model<6, 4> = golden();
        shared(&model);
        shared(&model.record());
        let expected = model.score(&model.record());
        std::thread::scope(|scope| {
            let scored = scope.spawn(|| model.score(&model.record()));
            assert_eq!(scored.join().unwrap(), expected);
        });
    }

    /// Memory is part of the contract: bytes per feature and expert, and the size of the common
    /// build on a 64-bit host.
    #[test]
    fn sizes_are_as_stated() {
        const FEATURES: usize = 16;
        const EXPERTS: usize = 12;
        assert_eq!(size_of::<Model<32, EXPERTS>>() - size_of::<Model<FEATURES, EXPERTS>>(), 32 * FEATURES);
        assert_eq!(size_of::<Record<32>>() - size_of::<Record<FEATURES>>(), 17 * FEATURES);
        assert_eq!(size_of::<Model<FEATURES, 16>>(), size_of::<Model<FEATURES, EXPERTS>>());
        assert_eq!(size_of::<Score<EXPERTS>>(), 8 + 8 * EXPERTS);
        assert_eq!(size_of::<Attribution<FEATURES, EXPERTS>>(), size_of::<Score<EXPERTS>>() + 12 * FEATURES + 48);
        #[cfg(target_pointer_width = "64")]
        assert_eq!((size_of::<Model<FEATURES, EXPERTS>>(), size_of::<Record<FEATURES>>()), (728, 280));
    }

    /// Bits do not depend on the capacity of the build.
    #[test]
    fn capacity_does_not_change_a_bit() {
        let (tight, wide): (Model<4, 4>, Model<64, 64>) = (golden(), golden());
        let (mut tight_record, mut wide_record) = (tight.record(), wide.record());
        for age in [20.0, 39.0, 60.0] {
            _ = tight_record.set_number(FeatureIndex(0), age).unwrap();
            _ = wide_record.set_number(FeatureIndex(0), age).unwrap();
            let (a, b) = (tight.explain(&tight_record).unwrap(), wide.explain(&wide_record).unwrap());
            assert_eq!(a.score.probability.to_bits(), b.score.probability.to_bits());
            assert_eq!(a.score.gate.as_slice(), b.score.gate.get(..4).unwrap());
            assert_eq!(a.values.as_slice(), b.values.get(..4).unwrap());
        }
    }
}
