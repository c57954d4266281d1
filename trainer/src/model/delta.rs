//! Writes a delta between two models, in the format that `feamoe_engine::delta` draws and applies.

use std::collections::HashMap;

use feamoe_engine::delta::{self, ESCAPE, NO_SOURCE, Outline, Table, UNCHANGED, Width, apply};
use feamoe_engine::format::{HEADER_BYTES, Weights as Values};
use feamoe_engine::schema::Kind;
use feamoe_engine::{Blob, LoadError};

use crate::model::AlignedBytes;

/// Number of bytes that are looked up together in the old blob: a copy must save more than its
/// encoding takes.
const BLOCK: usize = 8;
/// Number of weights of a block whose own shift is tried for the whole block.
const SHIFTS_TRIED: usize = 16;

/// Why a delta cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The engine refuses the old model.
    #[error("the old model: {0}")]
    Old(LoadError),
    /// The engine refuses the new model.
    #[error("the new model: {0}")]
    New(LoadError),
    /// The delta is not smaller than the new model.
    #[error("the delta would have {found} bytes, but the new model itself has only {limit}; send the model instead")]
    NoSmaller {
        /// Size of the delta in bytes.
        found: usize,
        /// Size of the new model in bytes.
        limit: usize,
    },
    /// A value could not be encoded.
    #[error("the delta could not be encoded: {0}")]
    Postcard(#[from] postcard::Error),
    /// The delta, when applied, does not give the new model.
    #[error(
        "the delta does not give the new model: {0}; nothing was written. This is a bug in feamoe, please report it"
    )]
    Wrong(#[from] delta::DeltaError),
}

/// Returns the delta that turns `old` into `new`, byte by byte; it has been applied once. Models
/// with different features or encodings have a delta too, as long as it is smaller than the new
/// model.
///
/// # Errors
/// See [`DeltaError`].
pub fn delta(old: &AlignedBytes, new: &AlignedBytes) -> Result<Vec<u8>, DeltaError> {
    let old = Blob::new(old.as_slice()).map_err(DeltaError::Old)?;
    let new = Blob::new(new.as_slice()).map_err(DeltaError::New)?;
    let (mut from, to) = (Layout::of(&old), Layout::of(&new));
    if from.width != to.width {
        // The old table cannot predict the new one.
        from = Layout { table: Table { at: offset(old.bytes().len()), rows: 0, experts: 0 }, ..from };
    }
    let (old_crc32, old, new) = (old.crc32(), old.bytes(), new.bytes());
    let runs = runs(&from, &to);
    let (sources, bits) = code(&Weights { blob: old, layout: &from }, &Weights { blob: new, layout: &to }, &runs);
    let end = to.table.end(to.width).unwrap_or(new.len());
    let header = &new[..HEADER_BYTES];
    let mut payload = postcard::to_allocvec(&Outline { old_crc32, header, old: from.table, new: to.table })?;
    let of_floats = [from.width, to.width] == [Width::F32; 2];
    if !of_floats {
        payload.extend([from.width.bits(), to.width.bits()]);
    }
    let starts = runs.iter().map(|run| postcard::to_allocvec(&(run.rows, run.from.map_or(0, |row| row + 1))));
    let runs = starts.collect::<Result<Vec<_>, _>>()?.concat();
    let copies = Copies::of(old);
    let before = copies.edits(&new[HEADER_BYTES..to.table.at as usize])?;
    for part in [sources, runs, before, copies.edits(&new[end..])?, bits] {
        payload.extend(postcard::to_allocvec(&part)?);
    }
    let bytes = if of_floats {
        [delta::header(&payload).as_slice(), &payload].concat()
    } else {
        let header = delta::header_of_integers(&payload).ok_or(postcard::Error::SerializeBufferFull)?;
        [header.as_slice(), &payload].concat()
    };
    if bytes.len() >= new.len() {
        return Err(DeltaError::NoSmaller { found: bytes.len(), limit: new.len() });
    }
    // The CRC in the delta proves that the result is the new blob.
    apply(old, &bytes, &mut vec![0; new.len()])?;
    Ok(bytes)
}

/// The layout of a blob: where its table is, the type of its weights, and the kinds of its
/// features.
struct Layout {
    table: Table,
    width: Width,
    kinds: Vec<Kind>,
}

impl Layout {
    fn of(blob: &Blob<'_>) -> Self {
        let rows: u32 = blob.kinds().map(Kind::rows).sum();
        let experts = blob.description().experts.into();
        let (width, rows, values) = match blob.weights() {
            Values::F32(values) => (Width::F32, rows + 1, values.as_flattened().len()),
            Values::I16(fixed) => (Width::I16, rows, fixed.rows.len()),
            Values::I8(fixed) => (Width::I8, rows, fixed.rows.len()),
        };
        // The values are last in a blob, and the rows are last among the values of an integer blob.
        let table = Table { at: offset(blob.bytes().len() - values), rows, experts };
        Self { table, width, kinds: blob.kinds().collect() }
    }

    /// Returns the number of rows before those of the features: with float weights, the bias.
    fn bias_rows(&self) -> u32 {
        u32::from(self.width == Width::F32)
    }
}

/// Returns an offset in a blob as u32. It always fits.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Consecutive rows of the new table that are coded as consecutive rows of the old one.
#[derive(Clone, Copy)]
struct Run {
    rows: u32,
    /// Where they start in the old table; `None` if there are no such rows.
    from: Option<u32>,
}

/// Returns the runs of the new table: the bias, then those of each feature. All rows of a run shift
/// by the same mean, see `layout`.
fn runs(old: &Layout, new: &Layout) -> Vec<Run> {
    if new.table.rows == 0 || old.table.rows == 0 {
        return vec![Run { rows: new.table.rows, from: None }];
    }
    let mut runs = vec![Run { rows: new.bias_rows(), from: Some(0) }];
    let (mut known, mut start) = (old.kinds.iter(), old.bias_rows());
    for kind in &new.kinds {
        let mut run = |rows, from: Option<u32>| runs.push(Run { rows, from: from.map(|row| start + row) });
        let before = known.next();
        match (before, *kind) {
            // The linear row is not centred. The bins are centred by another mean than the missing
            // row.
            (Some(&Kind::Number { bins: before, .. }), Kind::Number { bins, .. }) => {
                run(2, Some(0));
                run(bins.min(before).into(), Some(2));
                run(bins.saturating_sub(before).into(), None);
            }
            // A new level starts as the unseen row, which is the first after the levels.
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

/// The weights of a blob.
struct Weights<'a> {
    blob: &'a [u8],
    layout: &'a Layout,
}

impl Weights<'_> {
    /// Returns the weights of a run of rows in one lane of an expert: its own lane if `own`, else
    /// its gate lane. Rows that do not exist give zeros.
    fn lane(&self, expert: u8, own: bool, from: Option<u32>, rows: u32) -> Vec<u32> {
        let Layout { table, width, .. } = self.layout;
        let weight = |row: u32| width.read(self.blob, table.weight(*width, row as usize, expert.into(), own));
        (0..rows)
            .map(|row| from.filter(|_| expert != NO_SOURCE).and_then(|from| weight(from + row)).unwrap_or(0))
            .collect()
    }
}

/// Returns the old expert that best predicts each new one, and the coded blocks of all lanes.
fn code(old: &Weights<'_>, new: &Weights<'_>, runs: &[Run]) -> (Vec<u8>, Vec<u8>) {
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
    let (width, mut sources, mut bits) = (new.layout.width, Vec::new(), Bits::default());
    // The format has at most 64 experts.
    let experts = |table: &Table| 0..u8::try_from(table.experts).unwrap_or(NO_SOURCE);
    for expert in experts(&new.layout.table) {
        // Among equally good predictors, the expert with the same number comes first and is chosen.
        let mut candidates: Vec<u8> = experts(&old.layout.table).chain([NO_SOURCE]).collect();
        candidates.sort_by_key(|source| *source != expert);
        let cost = |source: &u8| {
            let blocks = lanes(*source, expert).into_iter().map(|(old, new)| Block::of(width, &old, &new, None));
            blocks.map(|block| block.cost).sum::<u64>()
        };
        let source = candidates.into_iter().min_by_key(cost).unwrap_or(NO_SOURCE);
        sources.push(source);
        for (old, new) in lanes(source, expert) {
            Block::best(width, &old, &new).write(&mut bits);
        }
    }
    (sources, bits.bytes)
}

/// The weights of one lane in one run.
struct Block {
    k: u32,
    /// The shift, as the bits of an f32, or as an i32.
    shift: Option<u32>,
    /// Each weight's difference from its prediction, zigzag coded.
    differences: Vec<u32>,
    /// Size of the code in bits.
    cost: u64,
}

impl Block {
    fn of(width: Width, old: &[u32], new: &[u32], shift: Option<u32>) -> Self {
        let difference = |(old, new): (&u32, &u32)| zigzag(new.wrapping_sub(width.predicted(*old, shift)));
        let differences: Vec<u32> = old.iter().zip(new).map(difference).collect();
        let cost = |k| differences.iter().map(|difference| rice_bits(*difference, k)).sum::<u64>();
        let (cost, k) = if differences.iter().all(|difference| *difference == 0) {
            (0, UNCHANGED)
        } else {
            (0..UNCHANGED).map(|k| (cost(k), k)).min().unwrap_or_default()
        };
        Self { k, shift, cost: cost + if shift.is_some() { 38 } else { 6 }, differences }
    }

    /// Returns the shortest block. It tries no shift, and the shifts that single weights have.
    fn best(width: Width, old: &[u32], new: &[u32]) -> Self {
        let shifts: Vec<u32> = if width == Width::F32 {
            let pairs = old.iter().zip(new).map(|(old, new)| (f32::from_bits(*old), f32::from_bits(*new)));
            let mut moved: Vec<(f32, f32)> = pairs.filter(|(old, new)| *old != 0.0 && old != new).collect();
            // Small weights round the shift least.
            moved.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
            moved.iter().take(SHIFTS_TRIED).map(|(old, new)| (new - old).to_bits()).collect()
        } else {
            let moved = old.iter().zip(new).filter(|(old, new)| **old != 0 && old != new);
            moved.take(SHIFTS_TRIED).map(|(old, new)| new.wrapping_sub(*old)).collect()
        };
        let shifts = [None].into_iter().chain(shifts.into_iter().map(Some));
        let blocks = shifts.map(|shift| Self::of(width, old, new, shift));
        blocks.min_by_key(|block| block.cost).unwrap_or_else(|| Self::of(width, old, new, None))
    }

    fn write(&self, bits: &mut Bits) {
        bits.push(self.k, 5);
        bits.push(self.shift.is_some().into(), 1);
        if let Some(shift) = self.shift {
            bits.push(shift, 32);
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

/// Returns a difference zigzag coded, with its sign in the lowest bit: 0, -1, 1, -2, ... become 0,
/// 1, 2, 3, ...
fn zigzag(difference: u32) -> u32 {
    let sign = difference.cast_signed() >> 31;
    (difference << 1) ^ sign.cast_unsigned()
}

/// Returns the size in bits of a difference in a block with this `k`.
fn rice_bits(difference: u32, k: u32) -> u64 {
    let ones = difference >> k;
    u64::from(if ones < ESCAPE { ones + 1 + k } else { ESCAPE + 32 })
}

/// A bit string that fills each byte from its low end.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Number of bits written.
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

/// The positions of the old blob's bytes, in pieces of [`BLOCK`] bytes.
struct Copies<'a> {
    old: &'a [u8],
    /// First position of each piece. Only looked up: the order of its entries has no effect.
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

    /// Encodes bytes as copies from the old blob, and as literals where no copy is found.
    fn edits(&self, new: &[u8]) -> postcard::Result<Vec<u8>> {
        let mut edits = Vec::new();
        // The end of the coded bytes, and the position where the next copy is looked for.
        let (mut coded, mut at) = (0, 0);
        while let Some(bytes) = new.get(at..at + BLOCK) {
            let Some(&place) = self.places.get(bytes) else {
                at += 1;
                continue;
            };
            let back = same(self.old[..place].iter().rev(), new[coded..at].iter().rev());
            let length = back + same(self.old[place..].iter(), new[at..].iter());
            let (start, from) = (at - back, place - back);
            edits.extend(postcard::to_allocvec(&(&new[coded..start], offset(from), offset(length)))?);
            coded = start + length;
            at = coded;
        }
        if coded < new.len() {
            edits.extend(postcard::to_allocvec(&(&new[coded..], 0_u32, 0_u32))?);
        }
        Ok(edits)
    }
}

/// Returns the number of equal items at the start.
fn same<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}
