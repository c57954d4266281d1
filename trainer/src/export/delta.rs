//! A delta between two models: writes what `feamoe_engine::delta` draws and applies.

use std::collections::HashMap;

use feamoe_engine::LoadError;
use feamoe_engine::blob::{Description, FLAGS_AT, HEADER_BYTES};
use feamoe_engine::delta::{self, ESCAPE, NO_SOURCE, Outline, Table, UNCHANGED, apply, predicted};
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::Kind;

use crate::blob_file::{AlignedBytes, HostModel};

/// Bytes of the old blob that are looked for together: what a copy saves must be more than what telling of it takes.
const BLOCK: usize = 8;
/// Weights of a block whose own shift is tried for all of it.
const SHIFTS_TRIED: usize = 16;

/// Why there is no delta.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The engine refuses the old model.
    #[error("the old model: {0}")]
    Old(LoadError),
    /// The engine refuses the new model.
    #[error("the new model: {0}")]
    New(LoadError),
    /// It would not be worth it.
    #[error("a delta would have {found} bytes, the new model itself has {limit}: send the model")]
    NoSmaller {
        /// Bytes of the delta.
        found: usize,
        /// Bytes of the new model.
        limit: usize,
    },
    /// A value could not be encoded.
    #[error("the delta could not be encoded: {0}")]
    Postcard(#[from] postcard::Error),
    /// Applied, it does not give the new model.
    #[error(
        "the delta does not give the new model: {0}; nothing was written. This is a fault in feamoe, please report it"
    )]
    Wrong(#[from] delta::DeltaError),
}

/// Returns the delta that turns `old` into `new`, byte by byte; it has been applied once. Models of other features or encodings have one too, as long as it is
/// smaller than the new model.
///
/// # Errors
/// See [`DeltaError`].
pub fn delta(old: &AlignedBytes, new: &AlignedBytes) -> Result<Vec<u8>, DeltaError> {
    let old_crc32 = HostModel::load(old.as_slice()).map_err(DeltaError::Old)?.crc32();
    HostModel::load(new.as_slice()).map_err(DeltaError::New)?;
    let (old, new) = (old.as_slice(), new.as_slice());
    let (from, to) = (Layout::of(old)?, Layout::of(new)?);
    let runs = runs(&from, &to);
    let (sources, bits) =
        told(&Weights { blob: old, table: from.table }, &Weights { blob: new, table: to.table }, &runs);
    let end = to.table.end().unwrap_or(new.len());
    let header = &new[..HEADER_BYTES];
    let mut payload = postcard::to_allocvec(&Outline { old_crc32, header, old: from.table, new: to.table })?;
    let starts = runs.iter().map(|run| postcard::to_allocvec(&(run.rows, run.from.map_or(0, |row| row + 1))));
    let runs = starts.collect::<Result<Vec<_>, _>>()?.concat();
    let copies = Copies::of(old);
    let before = copies.edits(&new[HEADER_BYTES..to.table.at as usize])?;
    for part in [sources, runs, before, copies.edits(&new[end..])?, bits] {
        payload.extend(postcard::to_allocvec(&part)?);
    }
    let bytes = [delta::header(&payload).as_slice(), &payload].concat();
    if bytes.len() >= new.len() {
        return Err(DeltaError::NoSmaller { found: bytes.len(), limit: new.len() });
    }
    // Its CRC tells that the blob is the new one.
    apply(old, &bytes, &mut vec![0; new.len()])?;
    Ok(bytes)
}

/// Where a blob has its table, and whose the rows are.
struct Layout {
    table: Table,
    kinds: Vec<Kind>,
}

impl Layout {
    /// Reads the layout of a blob that the engine has checked. One whose values are not what this version writes has an empty table.
    fn of(blob: &[u8]) -> postcard::Result<Self> {
        let (header, payload) = blob.split_at_checked(HEADER_BYTES).unwrap_or_default();
        let flags =
            header.get(FLAGS_AT..).and_then(|rest| rest.first_chunk()).map_or(0, |flags| u16::from_le_bytes(*flags));
        let (description, mut rest) = postcard::take_from_bytes::<Description>(payload)?;
        let mut kinds = Vec::new();
        for _ in 0..description.features {
            let (kind, left) = postcard::take_from_bytes::<Kind>(rest)?;
            kinds.push(kind);
            rest = left;
        }
        let mut values: &[u8] = &[];
        // The sections, the padding, the values.
        for _ in 0..flags.count_ones() + 2 {
            (values, rest) = postcard::take_from_bytes(rest)?;
        }
        let rows = 1 + kinds.iter().map(|kind| kind.rows()).sum::<u32>();
        let edges: usize = kinds.iter().map(|kind| kind.edges() as usize).sum();
        let table = Table { at: offset(blob.len() - values.len()), rows, experts: description.experts.into() };
        if table.end().and_then(|end| end.checked_add(4 * edges)) == Some(blob.len()) {
            return Ok(Self { table, kinds });
        }
        Ok(Self { table: Table { at: offset(blob.len()), rows: 0, experts: 0 }, kinds: Vec::new() })
    }
}

/// Returns an offset in a blob, which fits a u32.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Rows of the new table that are told from rows of the old one, which follow one another in both.
#[derive(Clone, Copy)]
struct Run {
    rows: u32,
    /// Where they start in the old table; `None` for nowhere.
    from: Option<u32>,
}

/// Returns the runs of the new table: the bias, then each feature's. The rows of a run move by one mean, see `layout`.
fn runs(old: &Layout, new: &Layout) -> Vec<Run> {
    if new.table.rows == 0 || old.table.rows == 0 {
        return vec![Run { rows: new.table.rows, from: None }];
    }
    let mut runs = vec![Run { rows: 1, from: Some(0) }];
    let (mut known, mut start) = (old.kinds.iter(), 1);
    for kind in &new.kinds {
        let mut run = |rows, from: Option<u32>| runs.push(Run { rows, from: from.map(|row| start + row) });
        let before = known.next();
        match (before, *kind) {
            // The linear row is not centred, the bins are by another mean than the row for missing.
            (Some(&Kind::Number { bins: before, .. }), Kind::Number { bins, .. }) => {
                run(2, Some(0));
                run(bins.min(before).into(), Some(2));
                run(bins.saturating_sub(before).into(), None);
            }
            // A new level starts as the row for unseen ones, which is the first after the levels.
            (Some(&Kind::Category { levels: before }), Kind::Category { levels }) if levels != before => {
                let unseen = u32::from(before);
                run(levels.min(before).into(), Some(0));
                (before..levels).for_each(|_| run(1, Some(unseen)));
                run(2, Some(unseen));
            }
            (Some(Kind::Category { .. }), Kind::Category { .. }) => run(kind.rows(), Some(0)),
            _ => run(kind.rows(), None),
        }
        start += before.map_or(0, |before| before.rows());
    }
    runs.retain(|run| run.rows > 0);
    runs
}

/// The weights of a blob, as the bits of each.
struct Weights<'a> {
    blob: &'a [u8],
    table: Table,
}

impl Weights<'_> {
    /// Returns a run of rows in the lane of an expert: the gate's or (`own`) its own. Zeros for rows that are not there.
    fn lane(&self, expert: u8, own: bool, from: Option<u32>, rows: u32) -> Vec<u32> {
        let (at, lanes) = (self.table.at as usize, stride(self.table.experts as usize));
        let lane = usize::from(expert) + if own { self.table.experts as usize } else { 0 };
        let weight = |row: u32| {
            let bytes = self.blob.get(at + 4 * (row as usize * lanes + lane)..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        (0..rows)
            .map(|row| from.filter(|_| expert != NO_SOURCE).and_then(|from| weight(from + row)).unwrap_or(0))
            .collect()
    }
}

/// Returns for each new expert the old one that tells most of it, and the blocks of all lanes.
fn told(old: &Weights<'_>, new: &Weights<'_>, runs: &[Run]) -> (Vec<u8>, Vec<u8>) {
    let lanes = |source, expert| {
        let pairs = [false, true].into_iter().flat_map(|own| {
            let mut row = 0;
            runs.iter().map(move |run| {
                let lane = new.lane(expert, own, Some(row), run.rows);
                row += run.rows;
                (old.lane(source, own, run.from, run.rows), lane)
            })
        });
        pairs.collect::<Vec<_>>()
    };
    let (mut sources, mut bits) = (Vec::new(), Bits::default());
    // The format's experts are 64 at most.
    let experts = |table: &Table| 0..u8::try_from(table.experts).unwrap_or(NO_SOURCE);
    for expert in experts(&new.table) {
        // Where two tell as much, the expert in the same place does: it comes first.
        let mut candidates: Vec<u8> = experts(&old.table).chain([NO_SOURCE]).collect();
        candidates.sort_by_key(|source| *source != expert);
        let cost = |source: &u8| {
            let blocks = lanes(*source, expert).into_iter().map(|(old, new)| Block::of(&old, &new, None));
            blocks.map(|block| block.cost).sum::<u64>()
        };
        let source = candidates.into_iter().min_by_key(cost).unwrap_or(NO_SOURCE);
        sources.push(source);
        for (old, new) in lanes(source, expert) {
            Block::best(&old, &new).write(&mut bits);
        }
    }
    (sources, bits.bytes)
}

/// The weights of one lane in one run.
struct Block {
    k: u32,
    shift: Option<f32>,
    /// Each weight's difference from its prediction, zigzag.
    differences: Vec<u32>,
    /// Bits it takes.
    cost: u64,
}

impl Block {
    fn of(old: &[u32], new: &[u32], shift: Option<f32>) -> Self {
        let differences: Vec<u32> =
            old.iter().zip(new).map(|(old, new)| zigzag(new.wrapping_sub(predicted(*old, shift)))).collect();
        let cost = |k| differences.iter().map(|difference| rice_bits(*difference, k)).sum::<u64>();
        let (cost, k) = if differences.iter().all(|difference| *difference == 0) {
            (0, UNCHANGED)
        } else {
            (0..UNCHANGED).map(|k| (cost(k), k)).min().unwrap_or_default()
        };
        Self { k, shift, cost: cost + if shift.is_some() { 38 } else { 6 }, differences }
    }

    /// Returns the shortest of those that some weights' own shifts give, and the one without a shift.
    fn best(old: &[u32], new: &[u32]) -> Self {
        let mut moved: Vec<(f32, f32)> =
            old.iter().zip(new).map(|(old, new)| (f32::from_bits(*old), f32::from_bits(*new))).collect();
        moved.retain(|(old, new)| *old != 0.0 && old != new);
        // The shift was rounded least where the weights are small.
        moved.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
        let shifts = moved.iter().take(SHIFTS_TRIED).map(|(old, new)| Some(new - old));
        let blocks = [None].into_iter().chain(shifts).map(|shift| Self::of(old, new, shift));
        blocks.min_by_key(|block| block.cost).unwrap_or_else(|| Self::of(old, new, None))
    }

    fn write(&self, bits: &mut Bits) {
        bits.push(self.k, 5);
        bits.push(self.shift.is_some().into(), 1);
        if let Some(shift) = self.shift {
            bits.push(shift.to_bits(), 32);
        }
        if self.k == UNCHANGED {
            return;
        }
        for difference in &self.differences {
            let ones = difference >> self.k;
            if ones < ESCAPE {
                bits.push((1 << ones) - 1, ones + 1);
                bits.push(difference & ((1 << self.k) - 1), self.k);
            } else {
                bits.push((1 << ESCAPE) - 1, ESCAPE);
                bits.push(*difference, 32);
            }
        }
    }
}

/// Returns a difference with its sign in the lowest bit: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
fn zigzag(difference: u32) -> u32 {
    let sign = difference.cast_signed() >> 31;
    (difference << 1) ^ sign.cast_unsigned()
}

/// Returns the bits of a difference in a block of this `k`.
fn rice_bits(difference: u32, k: u32) -> u64 {
    let ones = difference >> k;
    u64::from(if ones < ESCAPE { ones + 1 + k } else { ESCAPE + 32 })
}

/// Bits, from the low end of each byte.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits written.
    length: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in (0..count).map(|place| value >> place & 1) {
            if self.length.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let (1, Some(byte)) = (bit, self.bytes.last_mut()) {
                *byte |= 1 << (self.length % 8);
            }
            self.length += 1;
        }
    }
}

/// The places of the old blob's bytes, [`BLOCK`] at a time.
struct Copies<'a> {
    old: &'a [u8],
    /// Where such bytes first stand. Looked up only: the order of its entries has no effect.
    places: HashMap<&'a [u8], usize>,
}

impl<'a> Copies<'a> {
    fn of(old: &'a [u8]) -> Self {
        let mut places = HashMap::new();
        for (index, bytes) in old.chunks_exact(BLOCK).enumerate() {
            places.entry(bytes).or_insert(index * BLOCK);
        }
        Self { old, places }
    }

    /// Tells bytes by copies from the old blob, and what is not there literally.
    fn edits(&self, new: &[u8]) -> postcard::Result<Vec<u8>> {
        let mut edits = Vec::new();
        // Up to where all is told, and where the next copy is looked for.
        let (mut told, mut at) = (0, 0);
        while let Some(bytes) = new.get(at..at + BLOCK) {
            let Some(&place) = self.places.get(bytes) else {
                at += 1;
                continue;
            };
            let back = same(self.old[..place].iter().rev(), new[told..at].iter().rev());
            let length = back + same(self.old[place..].iter(), new[at..].iter());
            let (start, from) = (at - back, place - back);
            edits.extend(postcard::to_allocvec(&(&new[told..start], offset(from), offset(length)))?);
            told = start + length;
            at = told;
        }
        if told < new.len() {
            edits.extend(postcard::to_allocvec(&(&new[told..], 0_u32, 0_u32))?);
        }
        Ok(edits)
    }
}

/// Returns how many items are the same from the start.
fn same<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}
