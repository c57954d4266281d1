//! Promise: the drift detector is ADWIN2 as documented. An independent twin in f64 gives the same
//! alarms one by one, with the same window and means.

use feamoe_engine::drift::{Adwin, Change};
use feamoe_engine::fairness::{Counts, Distances};
use feamoe_engine::monitor::Tally;
use feamoe_testkit::generate::Draw;

/// The twin keeps the values themselves in buckets and computes all sums again at every check, in
/// f64.
struct Twin {
    delta: f64,
    low: f64,
    high: f64,
    /// The values of each bucket, the oldest first.
    buckets: Vec<Vec<f64>>,
    records: u64,
}

impl Twin {
    fn update(&mut self, value: f32) -> Option<(f64, f64, usize, usize)> {
        let scaled = (f64::from(value) - self.low) / (self.high - self.low);
        self.buckets.push(vec![scaled.clamp(0.0, 1.0)]);
        // There are at most five buckets of a size: of six, the two oldest become one of twice the
        // size.
        let mut size = 1;
        loop {
            let of_size: Vec<usize> = (0..self.buckets.len()).filter(|i| self.buckets[*i].len() == size).collect();
            if of_size.len() <= 5 {
                break;
            }
            let (first, second) = (of_size[0], of_size[1]);
            let moved = self.buckets.remove(second);
            self.buckets[first].extend(moved);
            size *= 2;
        }
        self.records += 1;
        if !self.records.is_multiple_of(32) {
            return None;
        }
        self.cut()
    }

    fn cut(&mut self) -> Option<(f64, f64, usize, usize)> {
        let all: Vec<f64> = self.buckets.concat();
        let n = all.len() as f64;
        if n < 10.0 {
            return None;
        }
        let mean = all.iter().sum::<f64>() / n;
        let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let log = (2.0 * n.ln() / self.delta).ln();
        let (mut is_change, mut likeliest, mut most, mut before) = (false, None, 0.0, 0);
        for bucket in 0..self.buckets.len() {
            before += self.buckets[bucket].len();
            let (n_0, n_1) = (before as f64, n - before as f64);
            if n_0 < 5.0 || n_1 < 5.0 {
                continue;
            }
            let mean_0 = all[..before].iter().sum::<f64>() / n_0;
            let mean_1 = all[before..].iter().sum::<f64>() / n_1;
            let inverse = 1.0 / (n_0 - 4.0) + 1.0 / (n_1 - 4.0);
            let bound = (2.0 * variance * log * inverse).sqrt() + 2.0 / 3.0 * log * inverse;
            is_change |= (mean_0 - mean_1).abs() > bound;
            // The cut with the least deviation within the parts has the most between them. Only
            // cuts that can exceed the bound are tested.
            let surplus = n_0 * (mean_0 - mean);
            if surplus * surplus * n <= 2.0 * log * variance * n_0 * n_1 {
                continue;
            }
            let between = surplus * surplus * n / (n_0 * n_1);
            if between > most {
                most = between;
                likeliest = Some((bucket, before, mean_0, mean_1));
            }
        }
        let (bucket, before, mean_0, mean_1) = likeliest.filter(|_| is_change)?;
        self.buckets.drain(..=bucket);
        let value = |scaled: f64| self.low + (self.high - self.low) * scaled;
        Some((value(mean_0), value(mean_1), before, all.len() - before))
    }
}

#[test]
fn alarms_are_those_of_an_independent_twin() {
    let (mut alarms, mut streams) = (0, 0);
    for seed in 0..2_000 {
        let mut draw = Draw::new(seed);
        let (low, high) = draw.one_of(&[(0.0, 1.0), (-1.0, 1.0), (-3.0, 5.0)]);
        let delta = draw.one_of(&[0.002_f32, 0.05, 0.3]);
        let (mut adwin, mut twin) = (
            Adwin::new(delta, low, high),
            Twin { delta: delta.into(), low: low.into(), high: high.into(), buckets: vec![], records: 0 },
        );
        let binary = draw.below(2) == 0;
        let mut mean = draw.between(0.05, 0.9);
        for record in 0..1_500 {
            // The mean jumps, drifts slowly, or stays, by seed.
            match seed % 3 {
                0 if record % 400 == 399 => mean = draw.between(0.05, 0.95),
                1 => mean = (mean + 2e-4).min(0.97),
                _ => {}
            }
            let unit = draw.between(0.0, 1.0);
            let unit =
                if binary { f32::from(u8::from(unit < mean)) } else { (mean + 0.3 * (unit - 0.5)).clamp(0.0, 1.0) };
            let value = low + (high - low) * unit;
            let (found, expected) = (adwin.update(value), twin.update(value));
            let window = twin.buckets.iter().map(Vec::len).sum::<usize>();
            assert_eq!(adwin.width() as usize, window, "seed {seed}, record {record}: {found:?} {expected:?}");
            match (found, expected) {
                (None, None) => {}
                (Some(change), Some((before, after, records_before, records_after))) => {
                    let records = (change.records_before as usize, change.records_after as usize);
                    assert_eq!(records, (records_before, records_after), "seed {seed}, record {record}");
                    let range = f64::from(high - low);
                    assert!((f64::from(change.before) - before).abs() < 1e-5 * range);
                    assert!((f64::from(change.after) - after).abs() < 1e-5 * range);
                    assert_eq!(change.is_rise(), after > before);
                    alarms += 1;
                }
                other => panic!("seed {seed}, record {record}: {other:?}"),
            }
        }
        streams += 1;
    }
    println!("{alarms} alarms in {streams} streams");
    assert!(alarms > 1_000, "{alarms}");
}

/// A change to the same mean is not a rise, nor is a fall.
#[test]
fn a_rise_is_a_rise() {
    let change = |before, after| Change { before, after, records_before: 1, records_after: 1 };
    assert!(change(0.1, 0.2).is_rise());
    assert!(!change(0.2, 0.1).is_rise() && !change(0.2, 0.2).is_rise());
}

/// A counter at its limit stops all counts of its kind: decisions, labels and distances are
/// independent.
#[test]
fn a_full_counter_is_reported() {
    let full = |bytes: &[u8]| postcard::from_bytes::<Tally>(bytes).unwrap();
    let most = [0xff, 0xff, 0xff, 0xff, 0x0f];
    // Counts: four u32 and a u64. Distances: a u64 and two u32. Then the sum of scores, a u64.
    let of = |counts: [bool; 2], distances: bool| {
        let count = |is_full: bool| if is_full { [&most[..], &[0; 4]].concat() } else { vec![0; 5] };
        let distances = if distances { [&[0][..], &most, &[0]].concat() } else { vec![0; 3] };
        full(&[count(counts[0]), count(counts[1]), distances, vec![0]].concat())
    };
    assert!(!of([false, false], false).is_full());
    assert!(of([true, false], false).is_full());
    assert!(of([false, true], false).is_full());
    assert!(of([false, false], true).is_full());
    assert!(!Counts::new().is_full() && !Distances::new().is_full());
}
