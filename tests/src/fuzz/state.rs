//! The state of a run: a checkpoint that can be read is resumed, learns, is exported and stored.

use feamoe::rows::{Cell, Cells};
use feamoe::training::Trainer;
use feamoe::training::checkpoint::{Checkpoint, HEADER_BYTES, MAGIC, VERSION};
use feamoe_testkit::generate::Draw;
use sha2::{Digest as _, Sha256};

/// The number of rows that most states learn: twice as many as fit a window of the small seeds.
const ROWS: u64 = 24;
/// The number of rows that some states learn: enough for numbers to be fitted again and levels to
/// be replaced.
const MANY_ROWS: u64 = 1_200;

/// Reads a checkpoint, unchanged and with a header that is valid for the payload. A checkpoint that
/// can be read is written to bytes that can be read again. It is resumed: it learns rows of all
/// kinds, and is exported and stored, or returns an error.
pub fn checkpoint(data: &[u8]) {
    resume(data);
    resume(&sealed(data.get(HEADER_BYTES..).unwrap_or_default()));
}

/// Returns a file with this payload and a valid header, as drawn in `feamoe::training::checkpoint`.
#[must_use]
pub fn sealed(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&MAGIC[..], &VERSION.to_le_bytes(), &[0; 2], &length, &Sha256::digest(payload), payload].concat()
}

fn resume(data: &[u8]) {
    let Ok(read) = Checkpoint::from_bytes(data) else { return };
    let written = read.to_bytes().unwrap_or_else(|error| panic!("{error}"));
    let again = Checkpoint::from_bytes(&written).and_then(|read| read.to_bytes());
    assert_eq!(again.ok().as_deref(), Some(written.as_slice()));

    let Ok(mut trainer) = Trainer::from_checkpoint(read) else { return };
    let sum = data.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut draw = Draw::new(sum);
    let mut cells = Cells::new(trainer.columns().len());
    let rows = if draw.below(16) == 0 { MANY_ROWS } else { ROWS };
    for row in 0..rows {
        let values: Vec<Cell<'_>> = trainer.columns().iter().map(|_| cell(&mut draw, row)).collect();
        cells.set(&values);
        // An error is allowed: a word may stand in a column of numbers.
        let _ = trainer.learn(&cells.record("rows", row + 1));
    }
    let _ = (trainer.model().map(drop), trainer.remarks(), trainer.proxies());
    // Floats can be finite but so large that learning from them gives infinity.
    if let Ok(stored) = trainer.checkpoint().to_bytes() {
        let again = Checkpoint::from_bytes(&stored);
        assert!(again.is_ok(), "what was stored cannot be read: {:?}", again.err());
    }
}

/// Returns a value that any column could have, often one of a label or a group.
fn cell(draw: &mut Draw, row: u64) -> Cell<'static> {
    match draw.below(8) {
        0 => Cell::Missing,
        1 | 2 => Cell::Text(draw.one_of(&["m", "f", "p", "q", "r", "north", "new"]).as_bytes()),
        3 | 4 => Cell::Number(draw.one_of(&[0.0, 1.0])),
        5 => Cell::Number(draw.one_of(&[-1e30, 1e30, 1e-30, 4e9])),
        // Values that drift.
        _ => Cell::Number((draw.below(11) as u64 + row / 8) as f64),
    }
}
