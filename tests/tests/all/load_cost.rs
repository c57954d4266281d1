//! Promise: for any blob, `load` takes time in proportion to its bytes. Content that a blob
//! declares but does not hold takes no time.

use feamoe_testkit::content::{Content, FeatureContent};
use std::time::{Duration, Instant};

use feamoe_engine::error::{LoadError, LoadErrorKind};
use feamoe_engine::format::{HEADER_BYTES, Provenance, header};
use feamoe_engine::limits::{MAX_BACKGROUND_ROWS, MAX_BINS, MAX_EXPERTS, MAX_FEATURES, MAX_LEVELS};
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{Aligned, Model};

/// The most time that a load, or a refusal, may take, in passes of a byte-wise checksum over the
/// same bytes ([`pass`]). Logarithms are the most expensive part: a number takes two for each lane,
/// for two weight rows.
const MOST_PASSES: f64 = 20.0;
/// Number of runs, of which the fastest counts, since other programs use the machine too.
const RUNS: usize = 5;

type Largest<'a> = Model<'a, MAX_FEATURES, MAX_EXPERTS>;

/// The unit of time: the CRC-32 of some bytes with one table, a byte at a time.
fn pass(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = (byte as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

fn best<R>(mut run: impl FnMut() -> R) -> Duration {
    let timed = (0..RUNS).map(|_| {
        let start = Instant::now();
        std::hint::black_box(run());
        start.elapsed()
    });
    timed.min().unwrap()
}

/// A model with features of one kind, with as many weight rows, edges and names as they need.
fn content(experts: usize, features: usize, kind: Kind) -> Content {
    let name = |feature| FeatureContent {
        name: format!("{feature}"),
        kind,
        levels: match kind {
            Kind::Category { levels } => (0..levels).map(|level| format!("{level}")).collect(),
            Kind::Number { .. } => Vec::new(),
        },
    };
    let mut row = vec![1e-3; 2 * experts];
    row.resize(stride(experts), 0.0);
    Content {
        threshold: 0.5,
        provenance: Provenance::default(),
        experts,
        features: (0..features).map(name).collect(),
        positive_name: "p".to_owned(),
        bias: row.clone(),
        rows: row.repeat(features * kind.rows() as usize),
        edges: (0..features).flat_map(|_| 0..kind.edges()).map(|edge| edge as f32).collect(),
        deviations: Vec::new(),
        calibration: Vec::new(),
        background: Vec::new(),
    }
}

const fn number(bins: usize) -> Kind {
    Kind::Number { transform: Transform::Log1p, low: 0.0, high: 1e4, centre: 1.0, bins: bins as u16 }
}

const fn category(levels: usize) -> Kind {
    Kind::Category { levels: levels as u16 }
}

/// Blobs of several megabytes, each expensive in a different way.
#[test]
fn a_load_takes_time_in_proportion_to_the_bytes() {
    let long_name = Content { positive_name: "n".repeat(4 << 20), ..content(1, 1, number(0)) };
    let mut background = content(1, 16, number(0));
    background.background = 1.0_f32.to_le_bytes().repeat(16 * MAX_BACKGROUND_ROWS);
    for (what, content) in [
        ("one feature of many levels", content(8, 1, category(MAX_LEVELS))),
        ("many levels by name", content(1, 4, category(MAX_LEVELS))),
        ("as many features and experts as there can be", content(MAX_EXPERTS, MAX_FEATURES, number(0))),
        ("many features of one expert", content(1, MAX_FEATURES, number(7))),
        ("many bins", content(1, 50, number(MAX_BINS))),
        ("a name of megabytes", long_name),
        ("as many background records as there can be", background),
    ] {
        let blob = content.to_bytes(true);
        let payload = &blob.as_slice()[HEADER_BYTES..];
        let pass = best(|| pass(payload));
        let load = best(|| Largest::load(blob.as_slice()).map(|model| model.experts()).unwrap());
        let passes = load.as_secs_f64() / pass.as_secs_f64();
        println!("{what}: {} bytes in {load:?}, {passes:.1} passes", payload.len());
        assert!(passes < MOST_PASSES, "{what}: {passes} passes");
    }
}

/// Weight rows that are declared but absent: 268 million of them, in 16 kB.
#[test]
fn what_is_declared_and_not_there_is_refused_at_once() {
    let few = content(1, 1, category(0)).to_bytes(false);
    // The last byte of the description is the number of features. Then come the kind of the only
    // one, its levels, the padding and the values.
    let values = 4 * 3 * stride(1);
    let kind_at = few.as_slice().len() - values - 1 - 1 - 2;
    let kind_at =
        (0..=3).map(|padding| kind_at - padding).find(|at| few.as_slice()[at - 1..at + 2] == [1, 1, 0]).unwrap();
    let mut payload = few.as_slice()[HEADER_BYTES..kind_at - 1].to_vec();
    let varint = |n: usize| [n as u8 | 0x80, (n >> 7) as u8 | 0x80, (n >> 14) as u8];
    payload.extend([0x80, 0x20]);
    for _ in 0..MAX_FEATURES {
        payload.push(1);
        payload.extend(varint(MAX_LEVELS));
    }
    // The padding ends at a multiple of 4; there are no values.
    let padding = (HEADER_BYTES + payload.len() + 2).next_multiple_of(4) - (HEADER_BYTES + payload.len() + 2);
    payload.push(padding as u8);
    payload.extend(vec![0; padding]);
    payload.push(0);
    let mut blob = Aligned([0_u8; 1 << 15]);
    let length = HEADER_BYTES + payload.len();
    blob.0[..HEADER_BYTES].copy_from_slice(&header(0, &payload).unwrap());
    blob.0[HEADER_BYTES..length].copy_from_slice(&payload);
    let blob = &blob.0[..length];
    let expected = 4 * stride(1) * (1 + MAX_FEATURES * (MAX_LEVELS + 2));
    let refused = || Largest::load(blob).map(|model| model.experts());
    let kind = LoadErrorKind::WrongWeightCount { found: 0, expected };
    assert_eq!(refused(), Err(LoadError { kind, at: length }));
    let passes = best(refused).as_secs_f64() / best(|| pass(&blob[HEADER_BYTES..])).as_secs_f64();
    assert!(passes < MOST_PASSES, "{passes} passes");
}
