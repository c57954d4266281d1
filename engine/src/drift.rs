//! Drift detection: ADWIN, an adaptive window over a bounded stream (Bifet and Gavalda 2007,
//! "Learning from time-changing data with adaptive windowing", ADWIN2).
//!
//! The window grows while its values agree, and is cut where two parts of it differ by more than
//! chance allows:
//!
//! ```text
//! |mean_0 - mean_1| >= sqrt(2 v L / m) + 2 L / (3 m)
//!
//! L = ln(2 ln(n) / delta)      1 / m = 1 / (n_0 - 4) + 1 / (n_1 - 4)
//! ```
//!
//! `v` is the variance of the window of `n` records, scaled to a range of 1; `ln(n)` is the
//! correction for looking at many cuts. As in MOA and river, a part has at least 5 records, the `4`
//! keeps short parts from raising alarms, and cuts are searched for every [`CLOCK`] records.
//!
//! - **The window is an exponential histogram**: at most five buckets of each size 1, 2, 4, ...
//!   2^15. A bucket keeps the mean and the summed squared deviation, merged by Chan's formula,
//!   since sums of 300,000 squares, added one by one, would lose precision in f32. At
//!   [`LONGEST_WINDOW`] records the oldest bucket is dropped. Such a window distinguishes means
//!   that differ by 0.01; smaller changes are not detected.
//! - **Once a cut exceeds its bound, everything before the likeliest cut is dropped at once.** The
//!   likeliest cut has the smallest deviation within its parts. (The paper drops bucket by bucket
//!   and checks again.) One change then gives one alarm with the means around it, and no check
//!   takes more than three passes over the buckets.
//!
//! ```
//! use feamoe_engine::drift::Adwin;
//! let mut errors = Adwin::new(0.002, 0.0, 1.0);
//! let mut alarm = None;
//! for record in 0..2_000 {
//!     let wrong = record % 10 == 0 || (record >= 1_000 && record % 10 < 4); // 1 in 10, then 4 in 10
//!     alarm = alarm.or(errors.update(if wrong { 1.0 } else { 0.0 }).map(|change| (record, change)));
//! }
//! let (record, change) = alarm.unwrap_or((0, Default::default()));
//! assert!((1_000..1_150).contains(&record) && change.is_rise());
//! assert!((change.before - 0.1).abs() < 0.02 && (change.after - 0.4).abs() < 0.1);
//! ```
//!
//! *Cost:* an update merges two buckets on average; every 32nd makes at most three passes over the
//! 80 buckets, without a division as long as nothing changes. *Memory:* 724 bytes; [`Adwin::new`]
//! is `const`. Never panics; non-finite numbers are skipped.

use serde::{Deserialize, Serialize};

/// The number of records between two searches for a cut.
pub const CLOCK: u32 = 32;
/// The smallest number of records in a part of the window.
const SHORTEST_PART: f32 = 5.0;
/// The number of records of a part that are not counted: a part of the shortest length counts as
/// one record.
const SPARED: f32 = SHORTEST_PART - 1.0;
/// The smallest number of records in a window that is checked.
const SHORTEST_WINDOW: u32 = 10;
/// Bucket sizes: 1 to 2^15.
const ROWS: usize = 16;
/// Buckets of one size.
const PER_ROW: usize = 5;
/// The largest number of records in the window: 5 (2^16 - 1).
pub const LONGEST_WINDOW: u32 = 327_675;

const _: () = assert!(LONGEST_WINDOW as usize == PER_ROW * ((1 << ROWS) - 1), "five full rows of buckets");

/// A change of the mean that [`Adwin::update`] detected.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Mean of the records before the change.
    #[serde(with = "crate::drift::f32_le")]
    pub before: f32,
    /// Mean of the records since the change.
    #[serde(with = "crate::drift::f32_le")]
    pub after: f32,
    /// Number of records in [`Change::before`].
    pub records_before: u32,
    /// Number of records in [`Change::after`], which is the time since the change, up to the size
    /// of a bucket.
    pub records_after: u32,
}

impl Change {
    /// Returns whether the mean rose.
    #[must_use]
    pub fn is_rise(&self) -> bool {
        self.after > self.before
    }
}

/// An f32 as its four little-endian bytes: the same encoding as postcard's, without the panic path
/// of its reader.
pub(crate) mod f32_le {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_le_bytes().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        <[u8; 4]>::deserialize(deserializer).map(f32::from_le_bytes)
    }
}

/// Like [`f32_le`], but a number in human-readable formats.
mod f32_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            value.serialize(serializer)
        } else {
            super::f32_le::serialize(value, serializer)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        if deserializer.is_human_readable() {
            f32::deserialize(deserializer)
        } else {
            super::f32_le::deserialize(deserializer)
        }
    }
}

/// Exact: a window has less than 2^24 records.
#[allow(clippy::cast_precision_loss)]
fn count(records: u32) -> f32 {
    records as f32
}

/// The inverse of [`count`].
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn records_of(count: f32) -> u32 {
    count as u32
}

/// Mean and summed squared deviation of the records of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bucket {
    #[serde(with = "crate::drift::f32_bytes")]
    mean: f32,
    #[serde(with = "crate::drift::f32_bytes")]
    deviation: f32,
}

/// Returns the number of records in each bucket of a row.
#[allow(clippy::cast_possible_truncation)] // a row is less than ROWS
fn size(row: usize) -> u32 {
    1_u32.unbounded_shl(row as u32)
}

/// The buckets of one size, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    buckets: [Bucket; PER_ROW],
    /// Buckets in use; at most [`PER_ROW`].
    used: u8,
}

impl Row {
    const EMPTY: Self = Self { buckets: [Bucket { mean: 0.0, deviation: 0.0 }; PER_ROW], used: 0 };

    fn used(&self) -> &[Bucket] {
        self.buckets.get(..usize::from(self.used)).unwrap_or_default()
    }

    /// Removes the oldest bucket.
    fn pop(&mut self) -> Option<Bucket> {
        self.used = self.used.checked_sub(1)?;
        let [oldest, b, c, d, e] = self.buckets;
        self.buckets = [b, c, d, e, oldest];
        Some(oldest)
    }

    /// Adds a newest bucket; there must be room.
    fn push(&mut self, bucket: Bucket) {
        if let Some(free) = self.buckets.get_mut(usize::from(self.used)) {
            *free = bucket;
            self.used = self.used.saturating_add(1);
        }
    }
}

/// The detector; see the module's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    #[serde(with = "crate::drift::f32_bytes")]
    delta: f32,
    #[serde(with = "crate::drift::f32_bytes")]
    low: f32,
    /// `high - low`.
    #[serde(with = "crate::drift::f32_bytes")]
    range: f32,
    /// Buckets of 2^index records, scaled to [0, 1].
    rows: [Row; ROWS],
    width: u32,
    /// Records until the next search for a cut.
    until_check: u32,
}

impl Adwin {
    /// Returns an empty window for values in `low..=high`; values outside are clamped.
    ///
    /// `delta`, in (0, 1), bounds the probability of a false alarm per search; 0.002 is usual. The
    /// bound is conservative; see the tests for measured rates.
    #[must_use]
    pub const fn new(delta: f32, low: f32, high: f32) -> Self {
        Self { delta, low, range: high - low, rows: [Row::EMPTY; ROWS], width: 0, until_check: CLOCK }
    }

    /// Adds a value. Returns the detected change in the mean, if any, and drops the records before
    /// it.
    pub fn update(&mut self, value: f32) -> Option<Change> {
        let scaled = (value - self.low) / self.range;
        if !value.is_finite() || !scaled.is_finite() {
            return None;
        }
        self.insert(Bucket { mean: scaled.clamp(0.0, 1.0), deviation: 0.0 });
        self.until_check = self.until_check.saturating_sub(1);
        if self.until_check > 0 {
            return None;
        }
        self.until_check = CLOCK;
        let change = self.likeliest_cut()?;
        self.forget(change.records_before);
        Some(Change {
            before: self.low + self.range * change.before,
            after: self.low + self.range * change.after,
            ..change
        })
    }

    /// Returns the number of records in the window.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the mean of the window; NaN while it is empty.
    #[must_use]
    pub fn mean(&self) -> f32 {
        self.low + self.range * self.sum() / count(self.width)
    }

    /// Resets the detector.
    pub fn reset(&mut self) {
        *self = Self::new(self.delta, self.low, self.low + self.range);
    }

    /// Returns whether the state is possible for a detector with these settings.
    pub(crate) fn is_sound(&self, delta: f32, low: f32, high: f32) -> bool {
        let are_settings = self.delta == delta && self.low == low && self.range == high - low;
        // The largest deviation of values in [0, 1] with this mean, also after merging two buckets,
        // with an allowance for rounding.
        let most = |mean: f32, size: u32| 1.001 * count(size) * (mean * (1.0 - mean) + 1e-5);
        let is_sound = |bucket: &Bucket, size: u32| {
            (0.0..=1.0).contains(&bucket.mean) && (0.0..=most(bucket.mean, size)).contains(&bucket.deviation)
        };
        let mut width = 0_u32;
        for (index, row) in self.rows.iter().enumerate() {
            let size = size(index);
            if usize::from(row.used) > PER_ROW || !row.used().iter().all(|bucket| is_sound(bucket, size)) {
                return false;
            }
            width = width.saturating_add(size.saturating_mul(u32::from(row.used)));
        }
        are_settings && width == self.width && (1..=CLOCK).contains(&self.until_check)
    }

    /// Returns the rows with the number of records per bucket, oldest first.
    fn rows(&self) -> impl Iterator<Item = (f32, &[Bucket])> {
        self.rows.iter().enumerate().rev().map(|(row, buckets)| (count(size(row)), buckets.used()))
    }

    /// Returns the scaled sum of the window: at most 80 summands, each exact to an f32.
    fn sum(&self) -> f32 {
        let mut sum = 0.0;
        for (n, buckets) in self.rows() {
            buckets.iter().for_each(|bucket| sum += n * bucket.mean);
        }
        sum
    }

    /// Returns the scaled summed squared deviation of the window from its mean (Chan, Golub and
    /// LeVeque 1979).
    fn deviation(&self, mean: f32) -> f32 {
        let mut deviation = 0.0;
        for (n, buckets) in self.rows() {
            for bucket in buckets {
                let apart = bucket.mean - mean;
                deviation += bucket.deviation + n * apart * apart;
            }
        }
        deviation
    }

    /// Adds a record; a full row merges two buckets into one of twice the size in the next row.
    fn insert(&mut self, record: Bucket) {
        self.width = self.width.saturating_add(1);
        let mut carried = record;
        let mut half = 0.5;
        for row in &mut self.rows {
            if usize::from(row.used) < PER_ROW {
                row.push(carried);
                return;
            }
            let [a, b, c, d, e] = row.buckets;
            row.buckets = [c, d, e, carried, carried];
            row.used = row.used.saturating_sub(1);
            let apart = b.mean - a.mean;
            carried =
                Bucket { mean: 0.5 * (a.mean + b.mean), deviation: a.deviation + b.deviation + half * apart * apart };
            half *= 2.0;
        }
        // There is no next row: the window has its largest length.
        self.width = self.width.saturating_sub(1 << ROWS);
    }

    /// Drops the oldest buckets, each of this many records.
    fn forget(&mut self, records: u32) {
        let mut left = records;
        for (row, buckets) in self.rows.iter_mut().enumerate().rev() {
            while left > 0 && buckets.pop().is_some() {
                left = left.saturating_sub(size(row));
            }
        }
        self.width = self.width.saturating_sub(records);
    }

    /// Returns the likeliest cut, in the unit of the buckets, if the difference at any cut exceeds
    /// its bound.
    fn likeliest_cut(&self) -> Option<Change> {
        if self.width < SHORTEST_WINDOW {
            return None;
        }
        let n = count(self.width);
        let mean = self.sum() / n;
        let log = libm::logf(2.0 * libm::logf(n) / self.delta);
        let spread = 2.0 * log * self.deviation(mean) / n;

        let mut is_change = false;
        let mut most = 0.0;
        let mut likeliest = Change::default();
        // The number of records before the cut, and the excess of their sum over that expected from
        // the mean.
        let (mut n_0, mut surplus) = (0.0, 0.0);
        for (records, buckets) in self.rows() {
            for bucket in buckets {
                n_0 += records;
                surplus += records * (bucket.mean - mean);
                let n_1 = n - n_0;
                // A necessary condition for the bound, since n / (n_0 n_1) < 1 / m; nearly always
                // avoids the divisions.
                if surplus * surplus * n <= spread * n_0 * n_1 || n_0 < SHORTEST_PART || n_1 < SHORTEST_PART {
                    continue;
                }
                let apart = surplus * n / (n_0 * n_1);
                let inverse = 1.0 / (n_0 - SPARED) + 1.0 / (n_1 - SPARED);
                let past = apart.abs() - log * inverse * (2.0 / 3.0);
                is_change |= past > 0.0 && past * past > spread * inverse;
                // The cut with the smallest deviation within its parts.
                let between = surplus * apart;
                if between > most {
                    most = between;
                    likeliest = Change {
                        before: mean + surplus / n_0,
                        after: mean - surplus / n_1,
                        records_before: records_of(n_0),
                        records_after: records_of(n_1),
                    };
                }
            }
        }
        is_change.then_some(likeliest)
    }
}

/// The mean of a value over some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    #[serde(with = "crate::drift::f32_bytes")]
    sum: f32,
    #[serde(with = "crate::drift::f32_bytes")]
    count: f32,
}

/// If one side has this many records and the other has none, sum and count are halved, since an f32
/// counts only up to 2^24. The mean is unchanged; older records count half as much as later ones.
const MOST_ON_A_SIDE: f32 = 1_048_576.0;

impl Mean {
    fn add(&mut self, value: f32) {
        self.sum += value;
        self.count += 1.0;
        if self.count >= MOST_ON_A_SIDE {
            (self.sum, self.count) = (0.5 * self.sum, 0.5 * self.count);
        }
    }

    /// Returns whether values in [0, 1] can give this state, allowing 1 for rounding.
    fn is_sound(&self) -> bool {
        (0.0..MOST_ON_A_SIDE).contains(&self.count) && (0.0..=self.count * 1.001).contains(&self.sum)
    }
}

/// Monitors the gap of the mean of a value between a group and the reference, at most 1, for
/// records in any order.
///
/// Records are compared in pairs: as soon as both sides have a record since the last pair, the
/// reference's mean since then is subtracted from the group's. Every record therefore counts once,
/// pairs are independent, and a change that affects both alike is not detected. The records of a
/// [`Change`] are pairs. Takes 740 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// The means since the last pair: the reference, then the group.
    sides: [Mean; 2],
    detector: Adwin,
}

impl Gap {
    const NO_SIDES: [Mean; 2] = [Mean { sum: 0.0, count: 0.0 }; 2];

    /// Returns a gap without records; `delta` as for [`Adwin::new`].
    #[must_use]
    pub const fn new(delta: f32) -> Self {
        Self { sides: Self::NO_SIDES, detector: Adwin::new(delta, -1.0, 1.0) }
    }

    /// Adds a record's value. Returns the detected change in the gap, if any. Cost: an update of
    /// [`Adwin`] and a division if it closes a pair.
    pub fn observe(&mut self, is_reference: bool, value: f32) -> Option<Change> {
        let [reference, group] = &mut self.sides;
        let side = if is_reference { &mut *reference } else { &mut *group };
        side.add(value);
        if reference.count == 0.0 || group.count == 0.0 {
            return None;
        }
        let gap = group.sum / group.count - reference.sum / reference.count;
        self.sides = Self::NO_SIDES;
        self.detector.update(gap)
    }

    /// Returns whether the state is possible for values in [0, 1] and a gap with this `delta`.
    pub(crate) fn is_sound(&self, delta: f32) -> bool {
        let [reference, group] = &self.sides;
        let is_open = reference.count == 0.0 || group.count == 0.0;
        is_open && reference.is_sound() && group.is_sound() && self.detector.is_sound(delta, -1.0, 1.0)
    }

    /// Resets the detector.
    pub fn reset(&mut self) {
        self.sides = Self::NO_SIDES;
        self.detector.reset();
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Numbers in [0, 1) from a seed (SplitMix64).
    struct Random(u64);

    impl Random {
        fn uniform(&mut self) -> f32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0
        }

        /// 1 with this chance, else 0.
        fn bernoulli(&mut self, chance: f32) -> f32 {
            if self.uniform() < chance { 1.0 } else { 0.0 }
        }
    }

    /// Streams of this many records, one per seed; `chance(record)` is the stream's mean. Returns
    /// every alarm with its record.
    fn alarms(seeds: u64, records: u32, delta: f32, chance: impl Fn(u32) -> f32) -> Vec<Vec<(u32, Change)>> {
        (1..=seeds)
            .map(|seed| {
                let (mut random, mut adwin) = (Random(seed << 32), Adwin::new(delta, 0.0, 1.0));
                (0..records)
                    .filter_map(|i| adwin.update(random.bernoulli(chance(i))).map(|change| (i, change)))
                    .collect()
            })
            .collect()
    }

    /// The paper's Theorem 1 allows an alarm with chance delta at each look. Its experiments, like
    /// this one, find far fewer.
    #[test]
    fn false_alarms_on_a_stationary_stream_stay_below_delta() {
        for delta in [0.002, 0.05, 0.3] {
            for mean in [0.01, 0.1, 0.5] {
                let found: usize = alarms(20, 100_000, delta, |_| mean).iter().map(Vec::len).sum();
                let looks = 20.0 * 100_000.0 / CLOCK as f32;
                let rate = found as f32 / looks;
                std::println!("delta {delta}, mean {mean}: {found} alarms in {looks} looks, {rate:.6}");
                assert!(rate < delta / 20.0, "delta {delta}, mean {mean}: {found} in {looks}");
            }
        }
    }

    /// Delays of the first alarm after `at`, one per stream; every stream must alarm, and none
    /// before.
    fn delays(seeds: u64, records: u32, at: u32, chance: impl Fn(u32) -> f32) -> Vec<u32> {
        let found = alarms(seeds, records, 0.002, chance);
        let first = found.iter().map(|alarms| alarms.first().map_or(u32::MAX, |(record, _)| *record));
        first.map(|record| record.checked_sub(at).unwrap_or(u32::MAX)).collect()
    }

    fn mean(delays: &[u32]) -> f32 {
        delays.iter().map(|delay| *delay as f32 / delays.len() as f32).sum()
    }

    /// Theorem 1 of the paper: once the means differ by twice the bound, the window is cut with a
    /// chance of 1 - delta.
    #[test]
    fn an_abrupt_change_is_found_as_soon_as_the_theorem_says() {
        const AT: u32 = 10_000;
        for size in [0.1_f32, 0.2, 0.4] {
            let found = delays(50, 40_000, AT, |i| if i < AT { 0.2 } else { 0.2 + size });
            let bound = |after: f32| {
                let (n, m) = (AT as f32 + after, 1.0 / (1.0 / (AT as f32 - 4.0) + 1.0 / (after - 4.0)));
                let log = libm::logf(2.0 * libm::logf(n) / 0.002);
                libm::sqrtf(2.0 * 0.25 * log / m) + 2.0 * log / (3.0 * m)
            };
            let latest = (10_u32..).find(|after| 2.0 * bound(*after as f32) < size).unwrap_or(u32::MAX) + CLOCK;
            std::println!("{size}: mean delay {}, largest {:?}, theorem {latest}", mean(&found), found.iter().max());
            assert!(found.iter().all(|delay| *delay <= latest), "{size}: {found:?}, allowed {latest}");
        }
    }

    /// The paper, section 3.4: on a mean that rises with slope a, the delay grows as a^(-2/3).
    #[test]
    fn a_gradual_change_is_found_later_the_slower_it_is() {
        const AT: u32 = 10_000;
        let delay = |slope: f32| mean(&delays(50, 60_000, AT, |i| 0.2 + slope * i.saturating_sub(AT) as f32));
        let (slow, fast) = (delay(1e-5), delay(8e-5));
        std::println!("slope 1e-5: {slow}, 8e-5: {fast}");
        assert!((2.8..5.7).contains(&(slow / fast)), "{slow} {fast}: 8^(2/3) = 4 was expected");
    }

    #[test]
    fn one_change_gives_one_alarm_with_the_means_around_it() {
        for alarms in alarms(50, 30_000, 0.002, |i| if i < 15_000 { 0.1 } else { 0.3 }) {
            assert_eq!(alarms.len(), 1, "{alarms:?}");
            let (record, change) = alarms[0];
            assert!(change.is_rise() && (15_000..15_600).contains(&record), "{record}");
            assert!((change.before - 0.1).abs() < 0.02 && change.after > 0.2, "{change:?}");
            // The position of the change is known to within a few buckets.
            assert!((record - change.records_after).abs_diff(15_000) < 400, "{record} {change:?}");
        }
    }

    /// Alternating between two values is no change; a constant never alarms.
    #[test]
    fn what_has_no_change_gives_no_alarm() {
        let (mut swinging, mut constant) = (Adwin::new(0.002, 0.0, 1.0), Adwin::new(0.3, 0.0, 1.0));
        for i in 0..100_000 {
            assert_eq!(swinging.update((i % 2) as f32), None);
            assert_eq!(constant.update(0.7), None);
        }
    }

    #[test]
    fn mean_and_variance_are_those_of_the_window_to_the_last_digits() {
        let (mut random, mut adwin, mut values) = (Random(5), Adwin::new(0.002, -3.0, 5.0), Vec::new());
        for i in 0..60_000_u32 {
            let value = 1.9 * random.uniform() + if i < 20_000 { -3.0 } else { 1.5 };
            values.push(value);
            let _ = adwin.update(value);
            if i % 997 == 0 {
                let window = &values[values.len() - adwin.width() as usize..];
                let exact = window.iter().map(|value| f64::from(*value)).sum::<f64>() / window.len() as f64;
                assert!((f64::from(adwin.mean()) - exact).abs() < 4e-6, "{i}: {} for {exact}", adwin.mean());
                let deviation =
                    window.iter().map(|value| (f64::from(*value) - exact) / 8.0).map(|d| d * d).sum::<f64>();
                let found = f64::from(adwin.deviation(adwin.sum() / count(adwin.width)));
                assert!((found / deviation.max(1e-9) - 1.0).abs() < 1e-4 || i == 0, "{i}: {found} for {deviation}");
            }
        }
        assert!(adwin.width() < 41_000, "the first part was dropped");
        adwin.reset();
        assert_eq!(adwin, Adwin::new(0.002, -3.0, 5.0));
        assert!(adwin.mean().is_nan() && adwin.width() == 0);
    }

    /// Memory does not depend on the length of the stream, and the longest window still detects a
    /// change.
    #[test]
    fn memory_is_bounded_over_ten_million_records() {
        assert_eq!(size_of::<Adwin>(), 724);
        let (mut random, mut adwin, mut widest) = (Random(9), Adwin::new(0.002, 0.0, 1.0), 0);
        let mut alarms = 0;
        for _ in 0..10_000_000 {
            alarms += u32::from(adwin.update(random.bernoulli(0.3)).is_some());
            widest = widest.max(adwin.width());
        }
        assert!(widest <= LONGEST_WINDOW && widest > LONGEST_WINDOW - (1 << 16), "{widest}");
        assert!(alarms <= 5, "{alarms}");
        assert!((0..3_000).any(|_| adwin.update(random.bernoulli(0.4)).is_some_and(|change| change.is_rise())));
    }

    #[test]
    fn what_is_no_number_is_passed_over_and_what_is_outside_is_cut() {
        let (mut adwin, mut clean) = (Adwin::new(0.002, 0.0, 1.0), Adwin::new(0.002, 0.0, 1.0));
        for i in 0..10_000 {
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert_eq!(adwin.update(odd), None);
            }
            let value = (i % 3) as f32 - 0.5; // -0.5, 0.5, 1.5
            assert_eq!(adwin.update(value), clean.update(value.clamp(0.0, 1.0)));
        }
        assert_eq!(adwin, clean);
        // Senseless settings never alarm, or alarm without cause; they do not panic.
        for (delta, low, high) in [
            (0.0, 0.0, 1.0),
            (-1.0, 0.0, 1.0),
            (f32::NAN, 0.0, 1.0),
            (0.1, 1.0, 1.0),
            (0.1, 1.0, 0.0),
            (0.1, f32::NAN, f32::MAX),
        ] {
            let mut adwin = Adwin::new(delta, low, high);
            (0..5_000).for_each(|i| _ = adwin.update((i % 7) as f32));
        }
    }

    #[test]
    fn a_stored_window_goes_on_alike() {
        let (mut random, mut adwin) = (Random(3), Adwin::new(0.05, 0.0, 1.0));
        (0..5_000).for_each(|_| _ = adwin.update(random.uniform()));
        let mut buffer = [0; 1024];
        let stored = postcard::to_slice(&adwin, &mut buffer).map(|bytes| postcard::from_bytes::<Adwin>(bytes));
        let Ok(Ok(mut stored)) = stored else { unreachable!("it fits 1 KiB") };
        for _ in 0..5_000 {
            let value = 0.3 + random.uniform();
            assert_eq!(adwin.update(value), stored.update(value));
        }
        assert_eq!(adwin, stored);
    }
}
