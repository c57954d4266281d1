//! Adapts the encoding to the stream: refits what has moved, and carries over what was learned.
//!
//! | what moves | what is watched | what happens |
//! | --- | --- | --- |
//! | the values of a number | the population stability index (PSI) of every [`WINDOW`] values against those it was fitted on | the scale is fitted to the newest values, the edges half to the newest and half to older ones |
//! | the levels of a category that has no room | counts that halve every [`HALF_LIFE`] rows | a level that has become frequent takes the weight row of one that has disappeared |
//! | a column that was empty when the encoder was fitted | its first [`DECIDING`] values | they determine whether it is a number or a category |
//!
//! A number is refitted if its PSI exceeds [`MOVED`] in two consecutive windows, or [`MOVED_FAR`]
//! in one. If nothing moves, the PSI of 500 values over 18 classes is about 0.04 with a standard
//! deviation of 0.012 (chi-square), so that neither happens by chance. Older values keep half of
//! the edges, and a quarter after the next fit: values that soon return still have their own bins.
//!
//! A refit does not change the *function* of the value: each new row is a sum of old rows (see
//! [`Carry`]). Values outside the old range start with the weights of its end, and learn as quickly
//! as new rows do.
//!
//! *Memory:* 8 kB per number; at most twice [`feamoe_engine::limits::MAX_LEVELS`] counts per
//! category. *Cost:* a few counts per value; a refit takes as long as a few hundred records.

use crate::tuned::{Tuned, tuned};
use feamoe_engine::Value;
use feamoe_engine::mixture::Term;
use serde::{Deserialize, Serialize};

use super::fit::{self, Sample};
use super::levels::Levels;
use super::number::{Bin, Number, Resolution};
use super::{Block, Category, Encoder, Example, Feature, Kind};
use crate::rows::{Cell, Record, is_number_column, value};

/// Values of a number between two checks.
pub(super) static WINDOW: Tuned<u32> = tuned!(500);
/// PSI that two consecutive windows must exceed: the usual bound for a relevant shift.
static MOVED: Tuned<f32> = tuned!(0.25);
/// PSI that one window must exceed.
static MOVED_FAR: Tuned<f32> = tuned!(1.0);
/// Number of values kept from the fit, and of the newest ones.
pub(super) const KEPT: usize = 1024;
/// Rows between two checks of a category's levels. The counts are halved every [`HALF_LIFE`] rows.
static LOOK: Tuned<u32> = tuned!(256);
/// Higher than any count, even with all shards of a merged run.
const MOST_COUNTED: u32 = 1 << 24;
static HALF_LIFE: Tuned<u32> = tuned!(4096);
/// A level takes another's weight row if it was counted [`MORE_FREQUENT`] times as often, and at
/// least [`FREQUENT`] times.
static MORE_FREQUENT: Tuned<u32> = tuned!(4);
static FREQUENT: Tuned<u32> = tuned!(16);
/// Number of values that determine the kind of an empty column.
const DECIDING: usize = 500;

/// The values of a number: those it was fitted on, the newest, and counts of the current window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    /// Sorted and finite; at most [`KEPT`].
    fitted: Vec<f32>,
    /// A ring buffer, finite; at most [`KEPT`].
    newest: Vec<f32>,
    next: usize,
    /// Share of each class among the values fitted on.
    shares: Vec<f32>,
    /// Number of values in the window, by class.
    counts: Vec<u32>,
    counted: u32,
    /// Number of consecutive windows that exceeded [`MOVED`].
    moved: u32,
}

impl Recent {
    /// Starts with the values that a number was fitted on, the newest last.
    pub(super) fn new(number: &Number, values: &[f32], newest: &[f32]) -> Self {
        let mut fitted: Vec<f32> = values.to_vec();
        fitted.sort_unstable_by(f32::total_cmp);
        let mut counts = vec![0_u32; number.classes()];
        newest.iter().for_each(|x| counts[number.class(*x)] += 1);
        Self {
            fitted: thinned(&fitted, KEPT),
            newest: newest.iter().rev().take(KEPT).rev().copied().collect(),
            next: 0,
            shares: shares(&counts),
            counts: vec![0; number.classes()],
            counted: 0,
            moved: 0,
        }
    }

    /// Counts a value. Returns whether it completes a window.
    #[inline]
    fn observe(&mut self, class: usize, x: f32) -> bool {
        self.counts[class] += 1;
        self.counted += 1;
        if x.is_finite() {
            if self.newest.len() < KEPT {
                self.newest.push(x);
            } else {
                self.newest[self.next] = x;
                self.next = (self.next + 1) % KEPT;
            }
        }
        self.counted == WINDOW.get()
    }

    /// Ends the window. Returns whether the values have moved.
    fn has_moved(&mut self) -> bool {
        let index = stability_index(&shares(&self.counts), &self.shares);
        self.counts.fill(0);
        self.counted = 0;
        self.moved = if index > MOVED.get() { self.moved + 1 } else { 0 };
        index > MOVED_FAR.get() || self.moved > 1
    }

    fn is_sound(&self, number: &Number) -> bool {
        let finite = |values: &[f32]| values.len() <= KEPT && values.iter().all(|x| x.is_finite());
        finite(&self.fitted)
            && finite(&self.newest)
            && (self.next == 0 || self.next < KEPT && self.newest.len() == KEPT)
            && (self.shares.len(), self.counts.len()) == (number.classes(), number.classes())
            && self.shares.iter().all(|share| *share > 0.0)
            && self.counts.iter().all(|count| *count <= WINDOW.get())
            && self.counted < WINDOW.get()
            && self.moved <= MOST_COUNTED
    }
}

/// Returns at most `most` of the sorted values, evenly spread.
pub(super) fn thinned(sorted: &[f32], most: usize) -> Vec<f32> {
    if sorted.len() <= most {
        return sorted.to_vec();
    }
    (0..most).filter_map(|index| sorted.get((2 * index + 1) * sorted.len() / (2 * most)).copied()).collect()
}

/// Returns the share of each class, after adding half a value to each.
fn shares(counts: &[u32]) -> Vec<f32> {
    let total: f32 = counts.iter().map(|count| *count as f32 + 0.5).sum();
    counts.iter().map(|count| (*count as f32 + 0.5) / total).collect()
}

/// Returns the population stability index of two sets of shares: `sum (p - q) ln(p / q)`.
fn stability_index(shares: &[f32], others: &[f32]) -> f32 {
    shares.iter().zip(others).map(|(p, q)| (p - q) * libm::logf(p / q)).sum()
}

/// Counts how often the levels of a category occurred recently.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LevelCounts {
    /// Counts by code.
    known: Vec<u32>,
    /// Counts of levels without a weight row (Misra and Gries 1982): at most as many as have one.
    others: Vec<(String, u32)>,
    rows: u32,
}

impl LevelCounts {
    /// Returns whether stored counts are valid for a category of at most this many levels.
    fn is_sound(&self, max_levels: usize) -> bool {
        let is_counted = |count: &u32| *count <= MOST_COUNTED;
        self.known.len() <= max_levels
            && self.others.len() <= max_levels
            && self.known.iter().all(is_counted)
            && self.others.iter().all(|(_, count)| *count > 0 && is_counted(count))
            && is_counted(&self.rows)
    }

    /// Counts a level that has a weight row.
    #[inline]
    fn observe(&mut self, code: u16) {
        let code = usize::from(code);
        if self.known.len() <= code {
            self.known.resize(code + 1, 0);
        }
        self.known[code] += 1;
    }

    /// Counts a level without a weight row.
    fn observe_other(&mut self, name: &[u8], most: usize) {
        let name = String::from_utf8_lossy(name);
        if let Some((_, count)) = self.others.iter_mut().find(|(other, _)| *other == name) {
            *count += 1;
        } else if self.others.len() < most {
            self.others.push((name.into_owned(), 1));
        } else {
            self.others.iter_mut().for_each(|(_, count)| *count -= 1);
            self.others.retain(|(_, count)| *count > 0);
        }
    }

    /// Ends a row. Returns whether a check is due.
    #[inline]
    fn end_row(&mut self) -> bool {
        self.rows += 1;
        if self.rows.is_multiple_of(HALF_LIFE.get()) {
            self.known.iter_mut().for_each(|count| *count /= 2);
            self.others.iter_mut().for_each(|(_, count)| *count /= 2);
            self.others.retain(|(_, count)| *count > 0);
            self.rows = 0;
        }
        self.rows.is_multiple_of(LOOK.get())
    }

    /// Returns the code of a level that has disappeared and the level that takes its weight row, if
    /// there are both.
    fn replacement(&mut self, levels: usize) -> Option<(u16, String)> {
        self.known.resize(levels, 0);
        // Takes the first among equals, so that the choice is deterministic.
        let (code, least) = (0_u16..).zip(&self.known).min_by_key(|(_, count)| **count)?;
        let (index, (_, most)) =
            self.others.iter().enumerate().max_by_key(|(index, (_, count))| (*count, std::cmp::Reverse(*index)))?;
        if *most < FREQUENT.get().max(MORE_FREQUENT.get() * least) {
            return None;
        }
        let (name, count) = self.others.remove(index);
        self.known[usize::from(code)] = count;
        Some((code, name))
    }
}

/// A change of the encoding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Number of rows learned from before the change.
    pub row: u64,
    /// The feature.
    pub feature: String,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened to the encoding of a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// The values of a number moved: scale and bins were refitted.
    Moved {
        /// Range of the values that bins distinguished before.
        before: [f32; 2],
        /// Range since the change.
        after: [f32; 2],
    },
    /// A level of a category took the place of one that had disappeared.
    Replaced {
        /// The level that no longer has weights of its own.
        before: String,
        /// The level that now has its weight row.
        after: String,
    },
    /// A column that was empty received values.
    Filled {
        /// Whether they are numbers.
        is_number: bool,
    },
}

/// Maximum number of changes kept: the oldest are dropped first.
pub const MOST_CHANGES: usize = 1000;

/// Says how the weight rows follow a change of the encoding, so that what was learned is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carry {
    /// Rows to write. Each is computed from the rows as they were before any is written.
    pub rows: Vec<Carried>,
    /// Terms added to the bias: rows with their factors.
    pub bias: Vec<(u32, f32)>,
    /// Blocks whose gains are now included in the rows, and start anew.
    pub blocks: Vec<Block>,
}

/// A weight row after a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carried {
    /// The row.
    pub row: u32,
    /// The old rows that it is the sum of, with their factors.
    pub from: Vec<(u32, f32)>,
    /// The old row whose step sizes it takes; `None` for those of a new row.
    pub steps_of: Option<u32>,
}

impl Encoder {
    /// Counts the values of a record that was learned from, given its encoded form.
    #[inline]
    pub(super) fn count(&mut self, record: &Record<'_>, example: &Example) {
        let mut terms = example.terms.iter();
        for (Feature { column, kind, .. }, value) in self.features.iter_mut().zip(&example.values) {
            let is_due = match (kind, *value) {
                (Kind::Number(number), Value::Number(x)) if !x.is_nan() => {
                    let last = terms.nth(number.n_terms() - 1).map_or(0, |term| term.row);
                    let class = match last.checked_sub(number.bin_rows().start) {
                        Some(bin) if !number.bins.is_empty() => number.class_in(x, Some(bin as usize)),
                        _ => number.class_in(x, None),
                    };
                    number.recent.observe(class, x)
                }
                (Kind::Number(_), _) => terms.next().is_none(),
                (Kind::Category(category), value) => {
                    terms.next();
                    category.count(value, || record.cell(*column))
                }
            };
            self.is_due |= is_due;
        }
    }

    /// Refits what has moved, after a record that was learned from. Returns how the weight rows
    /// follow, in the order to apply.
    pub fn follow(&mut self) -> Vec<Carry> {
        if !std::mem::take(&mut self.is_due) {
            return Vec::new();
        }
        let mut carries = Vec::new();
        for index in 0..self.features.len() {
            // Several levels may have become frequent.
            while let Some(carry) = self.follow_feature(index) {
                carries.push(carry);
            }
        }
        carries
    }

    /// Makes one change to a feature, if one is due.
    #[cold]
    fn follow_feature(&mut self, index: usize) -> Option<Carry> {
        let kind = &mut self.features.get_mut(index)?.kind;
        // A feature to fit again is copied, because it adds rows to the encoder that contains it.
        let (kind, carry) = match kind {
            Kind::Number(number) => {
                if number.recent.counted < WINDOW.get() || !number.recent.has_moved() {
                    return None;
                }
                let old = number.clone();
                let resolution = self.resolution_of(&self.features.get(index)?.name);
                let (new, carry) = self.refit(&old, resolution);
                let change = ChangeKind::Moved { before: old.distinguished(), after: new.distinguished() };
                self.features.get_mut(index)?.kind = Kind::Number(new);
                (change, carry)
            }
            Kind::Category(category) if category.undecided.is_some() => {
                if category.undecided.as_ref().is_none_or(|values| values.len() < DECIDING) {
                    return None;
                }
                let old = category.clone();
                let resolution = self.resolution_of(&self.features.get(index)?.name);
                let (new, carry) = self.decide(&old, resolution);
                let is_number = matches!(new, Kind::Number(_));
                self.features.get_mut(index)?.kind = new;
                (ChangeKind::Filled { is_number }, carry)
            }
            Kind::Category(category) => {
                let ((row, before, after), unseen) = (category.replace()?, category.unseen_row);
                // Until it is picked it has the weights of the unseen row, as any new level has.
                let mass = std::mem::take(self.mass.get_mut(row as usize)?);
                *self.mass.get_mut(unseen as usize)? += mass;
                let carried = Carried { row, from: vec![(unseen, 1.0)], steps_of: None };
                (ChangeKind::Replaced { before, after }, Carry { rows: vec![carried], ..Carry::default() })
            }
        };
        if self.changes.len() >= MOST_CHANGES {
            self.changes.remove(0);
        }
        let feature = self.features.get(index)?.name.clone();
        self.changes.push(Change { row: self.rows_seen, feature, kind });
        self.n_changes += 1;
        self.quality.get_mut(index)?.refits += 1;
        Some(carry)
    }

    /// Refits a number.
    fn refit(&mut self, old: &Number, resolution: Resolution) -> (Number, Carry) {
        let Recent { fitted, newest, next, .. } = &old.recent;
        let (newer, older) = newest.split_at(*next);
        let sample = Sample { newest: &[older, newer].concat(), older: &thinned(fitted, KEPT / 2) };
        let mut new = fit::number(&sample, old.transform, resolution);
        (new.first_row, new.first_block) = (old.first_row, old.first_block);
        new.capacity = old.capacity;
        if new.n_rows() > old.capacity as usize {
            new.first_row = self.add_rows(new.n_rows());
            new.capacity = new.n_rows() as u32;
        }
        let content = |x: f32| -> Vec<(u32, f32)> { old.terms(x).map(|(term, _)| (term.row, term.scale)).collect() };
        let mut carry = Carry { blocks: new.blocks().collect(), ..Carry::default() };
        let mut missing = vec![(old.missing_row(), 1.0)];
        if new.bins.is_empty() {
            // A line stays a line. Its slope is converted to the new unit; its value at the new
            // mean is added to every record, and subtracted for those without a value.
            let slope = new.sd / old.sd;
            let at_mean = (new.mean - old.mean) / old.sd;
            let row = Carried { row: new.first_row, from: vec![(old.first_row, slope)], steps_of: None };
            carry.rows.push(row);
            if old.bins.is_empty() {
                carry.bias.push((old.first_row, at_mean));
                missing.push((old.first_row, -at_mean));
            }
        } else {
            carry_bins(&new, new.line_of(old), content, |x| old.steps_of(x), &mut carry);
        }
        carry.rows.push(Carried { row: new.missing_row(), from: missing, steps_of: Some(old.missing_row()) });
        self.move_mass(old, &new);
        (new, carry)
    }

    /// Moves the counts of a number's rows to its new rows.
    fn move_mass(&mut self, old: &Number, new: &Number) {
        let of = |row: u32| self.mass.get(row as usize).copied().unwrap_or(0.0);
        let mut moved = vec![0.0; new.n_rows()];
        let mut add = |row: u32, mass: f64| {
            if let Some(sum) = moved.get_mut((row - new.first_row) as usize) {
                *sum += mass;
            }
        };
        add(new.missing_row(), of(old.missing_row()));
        if old.bins.is_empty() {
            // Sums of values, converted from the old unit to the new one.
            let [mean, sd] = [old.mean, old.sd].map(f64::from);
            let present = self.rows_seen as f64 - of(old.missing_row());
            let sum = of(old.first_row) * sd + present * (mean - f64::from(new.mean));
            add(new.first_row, sum / f64::from(new.sd));
        }
        for index in 0..old.bins.len() {
            let Some(fine) = old.terms_of_bin(index).last() else { continue };
            let mass = of(fine.0.row);
            let x = old.value_of_bin(index);
            new.terms(x).for_each(|(term, _)| add(term.row, mass * f64::from(term.scale)));
        }
        for (row, mass) in (new.first_row..).zip(moved) {
            if let Some(own) = self.mass.get_mut(row as usize) {
                *own = mass;
            }
        }
    }

    /// Determines the kind of a column that was empty at first.
    fn decide(&mut self, old: &Category, resolution: Resolution) -> (Kind, Carry) {
        let texts = old.undecided.clone().unwrap_or_default();
        let number = |text: &String| match value(Cell::Text(text.as_bytes()), None) {
            Some(Value::Number(x)) if x.is_finite() => Some(x),
            _ => None,
        };
        let numbers: Vec<f32> = texts.iter().filter_map(number).collect();
        let others = texts.iter().filter(|text| number(text).is_none()).map(|text| (text.as_str(), 1));
        let (unseen, missing) = (old.unseen_row, old.missing_row());
        if !is_number_column(numbers.len() as u64, others) {
            let levels = Levels::default();
            let mut new = Category { undecided: None, levels, ..old.clone() };
            for text in &texts {
                if new.levels.iter().len() < new.max_levels && new.levels.known().code(text.as_bytes()).is_none() {
                    let row = self.add_rows(1);
                    new.levels.add(text.as_bytes(), row);
                }
            }
            let rows = new.levels.iter().map(|(_, row)| Carried { row, from: vec![(unseen, 1.0)], steps_of: None });
            let carry = Carry { rows: rows.collect(), ..Carry::default() };
            return (Kind::Category(new), carry);
        }
        let sample = Sample { newest: &numbers, older: &[] };
        let mut new = fit::number(&sample, old.transform, resolution);
        self.place(&mut new);
        if old.block.reveals_group() {
            new.first_block = new.first_block.revealing_group();
        }
        let mut carry = Carry::default();
        if new.bins.is_empty() {
            carry.bias.push((unseen, 1.0));
            let from = vec![(missing, 1.0), (unseen, -1.0)];
            carry.rows.push(Carried { row: new.missing_row(), from, steps_of: Some(missing) });
        } else {
            carry_bins(&new, Vec::new(), |_| vec![(unseen, 1.0)], |_| None, &mut carry);
            carry.rows.push(Carried { row: new.missing_row(), from: vec![(missing, 1.0)], steps_of: Some(missing) });
        }
        let [seen, absent] = [unseen, missing].map(|row| self.mass.get(row as usize).copied().unwrap_or(0.0));
        for x in &numbers {
            let share = seen / numbers.len() as f64;
            for (Term { row, scale }, _) in new.terms(*x) {
                if let Some(mass) = self.mass.get_mut(row as usize) {
                    *mass += share * f64::from(scale);
                }
            }
        }
        if let Some(mass) = self.mass.get_mut(new.missing_row() as usize) {
            *mass = absent;
        }
        (Kind::Number(new), carry)
    }

    /// Assigns weight rows and blocks to a new number.
    pub(super) fn place(&mut self, number: &mut Number) {
        number.first_block = self.add_blocks(super::number::BLOCKS);
        number.first_row = self.add_rows(number.n_rows());
        number.capacity = number.n_rows() as u32;
    }

    /// Returns the newest changes, oldest first, at most [`MOST_CHANGES`].
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns the number of changes so far.
    #[must_use]
    pub fn n_changes(&self) -> u64 {
        self.n_changes
    }

    /// Returns whether the stored state of the stream is valid.
    pub(super) fn follows_soundly(&self) -> bool {
        self.changes.len() <= MOST_CHANGES
            && self.features.iter().all(|feature| match &feature.kind {
                Kind::Number(number) => number.recent.is_sound(number),
                Kind::Category(Category { counts, undecided, max_levels, .. }) => {
                    counts.is_sound(*max_levels) && undecided.as_ref().is_none_or(|values| values.len() <= DECIDING)
                }
            })
    }
}

/// Carries a function of the value over to bins. The line becomes the sum of the rows in `line`.
/// Each knot gets what the line leaves over, averaged over the values of the bins nearest to it.
/// Each bin gets what line and hats leave over.
fn carry_bins(
    new: &Number,
    line: Vec<(u32, f32)>,
    content: impl Fn(f32) -> Vec<(u32, f32)>,
    steps_of: impl Fn(f32) -> Option<[u32; 2]>,
    carry: &mut Carry,
) {
    let mut counted = vec![0_u32; new.bins.len()];
    new.recent.fitted.iter().filter_map(|x| new.bin_of(*x)).for_each(|bin| counted[bin] += 1);
    let content = |x: f32| -> Vec<(u32, f32)> {
        let of_line = line.iter().map(|(row, factor)| (*row, -factor * new.standardised(x)));
        content(x).into_iter().chain(of_line).collect()
    };
    carry.rows.push(Carried { row: new.first_row, from: line.clone(), steps_of: None });
    let nearest: Vec<Option<usize>> = (0..new.bins.len()).map(|bin| new.nearest_knot(bin)).collect();
    let mut at_knots = vec![Vec::new(); new.knots()];
    for (knot, at_knot) in at_knots.iter_mut().enumerate() {
        let bins: Vec<usize> = (0..new.bins.len()).filter(|bin| nearest[*bin] == Some(knot)).collect();
        let total: f32 = bins.iter().map(|bin| counted[*bin] as f32).sum::<f32>().max(1.0);
        for bin in &bins {
            let share = counted[*bin] as f32 / total;
            at_knot.extend(content(new.value_of_bin(*bin)).into_iter().map(|(row, factor)| (row, share * factor)));
        }
        let middle = bins.get(bins.len() / 2).and_then(|bin| steps_of(new.value_of_bin(*bin)));
        let row = new.knot_row(knot);
        carry.rows.push(Carried { row, from: at_knot.clone(), steps_of: middle.map(|[of_knot, _]| of_knot) });
    }
    for (bin, Bin { knot, share, .. }) in new.bins.iter().enumerate() {
        let x = new.value_of_bin(bin);
        let mut from = content(x);
        let hats = at_knots.iter().skip(usize::from(*knot)).zip([1.0 - share, *share]);
        for (at_knot, scale) in hats {
            from.extend(at_knot.iter().map(|(row, factor)| (*row, -scale * factor)));
        }
        let Some((Term { row, .. }, _)) = new.terms_of_bin(bin).last() else { continue };
        carry.rows.push(Carried { row, from, steps_of: steps_of(x).map(|[_, of_bin]| of_bin) });
    }
}

impl Number {
    /// Returns the number of classes that values are counted in: those of the bins and both ends,
    /// or, without bins, intervals in units of the standard deviation.
    pub(super) fn classes(&self) -> usize {
        2 + self.bins.last().map_or(LIMITS.len() + 1, |bin| usize::from(bin.class) + 1)
    }

    /// Returns the class of a value.
    pub(super) fn class(&self, x: f32) -> usize {
        self.class_in(x, self.bin_of(x))
    }

    /// Like [`Number::class`], for a value whose bin is known.
    #[inline]
    fn class_in(&self, x: f32, bin: Option<usize>) -> usize {
        if x < self.low {
            return 0;
        }
        if x > self.high {
            return 1;
        }
        let inner = match bin {
            Some(bin) => self.bins.get(bin).map_or(0, |bin| usize::from(bin.class)),
            None => {
                let z = self.standardised(x);
                LIMITS.iter().filter(|limit| z > **limit).count()
            }
        };
        2 + inner
    }

    /// Returns the rows whose sum is its line, after another encoding of the number. A slope starts
    /// as steep as the old one is on average between the first and the last edge, which may lie
    /// outside the old range. Any other line starts at 0.
    fn line_of(&self, old: &Self) -> Vec<(u32, f32)> {
        if !(self.is_sloped && (old.is_sloped || old.bins.is_empty())) {
            return Vec::new();
        }
        let [from, to] = self.distinguished();
        let rise = |number: &Self| number.standardised(to) - number.standardised(from);
        let width = rise(self);
        if width > 0.0 { vec![(old.first_row, rise(old) / width)] } else { Vec::new() }
    }

    /// Returns the rows of the nearest knot and of the bin of a value, whose step sizes hold for
    /// it; `None` if the value lies outside the range so far.
    fn steps_of(&self, x: f32) -> Option<[u32; 2]> {
        let bin = self.bin_of(x).filter(|_| (self.low..=self.high).contains(&x))?;
        let (own, _) = self.terms_of_bin(bin).last()?;
        Some([self.nearest_knot(bin).map_or(own.row, |knot| self.knot_row(knot)), own.row])
    }

    /// Returns the first and the last edge, or the ends of the range if there are no bins.
    fn distinguished(&self) -> [f32; 2] {
        match (self.edges.first(), self.edges.last()) {
            (Some(first), Some(last)) => [*first, *last],
            _ => self.range(),
        }
    }
}

/// Limits of the classes of a number without bins, in standard deviations from the mean.
const LIMITS: [f32; 4] = [-2.0, -0.5, 0.5, 2.0];

impl Category {
    /// Counts a value. Returns whether a check is due.
    #[inline]
    fn count<'a>(&mut self, value: Value, cell: impl Fn() -> Cell<'a>) -> bool {
        let text = || cell().text().unwrap_or_default();
        if let Some(values) = &mut self.undecided {
            if value != Value::Missing && values.len() < DECIDING {
                values.push(String::from_utf8_lossy(&text()).into_owned());
                return values.len() == DECIDING;
            }
            return false;
        }
        match value {
            Value::Level(code) => self.counts.observe(code),
            Value::Unseen if self.levels.iter().len() >= self.max_levels => {
                self.counts.observe_other(&text(), self.max_levels);
            }
            _ => {}
        }
        self.counts.end_row()
    }

    /// Gives the weight row of a level that has disappeared to one that has become frequent.
    /// Returns the row, the old name and the new one.
    fn replace(&mut self) -> Option<(u32, String, String)> {
        let levels = self.levels.iter().len();
        if levels < self.max_levels {
            return None;
        }
        let (code, after) = self.counts.replacement(levels)?;
        let (row, before) = self.levels.rename(code, &after)?;
        Some((row, before, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_came_up_takes_the_row_of_one_that_has_gone() {
        let mut counts = LevelCounts::default();
        for row in 0..1_000_u16 {
            counts.observe(row % 4);
        }
        for _ in 0..200 {
            counts.observe_other(b"new", 4);
        }
        assert_eq!(counts.replacement(4), None, "all four are as frequent as it");
        for _ in 0..5 * HALF_LIFE.get() {
            counts.end_row();
        }
        for _ in 0..60 {
            counts.observe_other(b"new", 4);
        }
        assert_eq!(counts.replacement(4), Some((0, "new".to_owned())));
        assert_eq!(counts.replacement(4), None);
    }

    #[test]
    fn frequent_levels_survive_many_rare_ones() {
        let mut counts = LevelCounts::default();
        for row in 0..3_000_u32 {
            let name = if row % 3 == 0 { "often".to_owned() } else { format!("rare {row}") };
            counts.observe_other(name.as_bytes(), 8);
        }
        assert!(counts.others.len() <= 8);
        assert!(counts.others.iter().any(|(name, count)| name == "often" && *count > 500), "{:?}", counts.others);
    }

    #[test]
    fn the_stability_index_of_equal_shares_is_0_and_grows_with_the_difference() {
        let even = [0.25_f32; 4];
        assert_eq!(stability_index(&even, &even), 0.0);
        assert!(stability_index(&[0.4, 0.3, 0.2, 0.1], &even) > 0.2);
        assert!(stability_index(&[0.97, 0.01, 0.01, 0.01], &even) > MOVED_FAR.get());
    }
}
