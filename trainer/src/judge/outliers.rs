//! Devices that stand out in their fleet: those that differ from all others by more than chance,
//! and those without which a limit would get another verdict.

use feamoe_engine::fairness::{Measure, WideCounts, interval_at};
use feamoe_engine::monitor::Tally;
use serde::Serialize;

use super::gaps::{SMALL_GROUP, quantile};
use super::received::{Names, Received, side};
use super::verdict::{Requirement, Verdict};

/// Probability that a fleet of identical devices has any outlier.
const BY_CHANCE: f64 = 0.05;

/// The rates that are compared: the selection rate, and the error rates, of which the larger gap is
/// used.
const COMPARED: [Measure; 2] = [Measure::Spd, Measure::Eodds];

/// A device that differs from all others in one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Outlier {
    /// The file of its status.
    pub file: String,
    /// The id of the device; null if it has none.
    pub device: Option<String>,
    /// The group.
    pub group: String,
    /// What differs: `spd` for the selection rate, `eodds` for an error rate.
    pub measure: &'static str,
    /// The difference: the device minus all others; for error rates, the one with the larger
    /// magnitude.
    pub difference: f32,
    /// The interval of the difference, corrected for the number of devices, groups and rates: with
    /// identical devices, no interval excludes 0 in 95 % of samples.
    pub interval: [f32; 2],
}

/// A device without which a verdict would be different.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Decisive {
    /// The file of its status.
    pub file: String,
    /// The id of the device; null if it has none.
    pub device: Option<String>,
    /// The measure.
    pub measure: &'static str,
    /// The required limit.
    pub limit: f32,
    /// The verdict on all devices.
    pub verdict: Verdict,
    /// The verdict without this device.
    pub without: Verdict,
}

/// Returns, for each status, the tallies of all others by group.
fn others(received: &[Received]) -> Vec<Vec<Tally>> {
    let Some(first) = received.first() else { return Vec::new() };
    let merge = |sum: &mut Vec<Tally>, one: &Received| {
        sum.iter_mut().zip(&one.groups).for_each(|(sum, tally)| sum.merge(tally));
    };
    let mut sum = vec![Tally::new(); first.groups.len()];
    let mut all: Vec<Vec<Tally>> = Vec::with_capacity(received.len());
    for one in received {
        all.push(sum.clone());
        merge(&mut sum, one);
    }
    sum.fill(Tally::new());
    for (others, one) in all.iter_mut().zip(received).rev() {
        others.iter_mut().zip(&sum).for_each(|(others, later)| others.merge(later));
        merge(&mut sum, one);
    }
    all
}

/// Returns the differences that exceed chance, the clearest first.
pub(super) fn outliers(received: &[Received], names: &Names) -> Vec<Outlier> {
    let counts = |tally: &Tally, measure: Measure| {
        WideCounts::from(if measure.needs_labels() { *tally.labelled() } else { *tally.decisions() })
    };
    let is_enough = |counts: &WideCounts, measure: Measure| {
        if measure.needs_labels() {
            [false, true].into_iter().all(|label| counts.labelled(label) >= SMALL_GROUP)
        } else {
            counts.rows() >= SMALL_GROUP
        }
    };
    let mut comparisons = Vec::new();
    for (place, (one, others)) in received.iter().zip(others(received)).enumerate() {
        for (group, (own, other)) in one.groups.iter().zip(&others).enumerate() {
            for measure in COMPARED {
                let pair = [counts(own, measure), counts(other, measure)];
                if pair.iter().all(|counts| is_enough(counts, measure)) {
                    let difference = measure.gap(&own.rates(), &other.rates());
                    comparisons.push((place, group, measure, difference, pair));
                }
            }
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let z = quantile(BY_CHANCE / comparisons.len().max(1) as f64);
    let mut found: Vec<Outlier> = comparisons
        .into_iter()
        .filter_map(|(place, group, measure, difference, [own, other])| {
            let interval = interval_at(measure, &own, &other, z).filter(|found| found.low > 0.0 || found.high < 0.0)?;
            let one = received.get(place)?;
            Some(Outlier {
                file: one.file.display().to_string(),
                device: one.device(),
                group: names.group(group),
                measure: measure.name(),
                difference,
                interval: [interval.low, interval.high],
            })
        })
        .collect();
    let clearness = |outlier: &Outlier| {
        let [low, high] = outlier.interval;
        outlier.difference.abs() / (high - low).max(f32::MIN_POSITIVE)
    };
    found.sort_by(|a, b| clearness(b).total_cmp(&clearness(a)).then_with(|| a.file.cmp(&b.file)));
    found
}

/// Returns the devices without which a limit would get another verdict.
pub(super) fn decisive(received: &[Received], names: &Names, requirements: &[(Measure, Requirement)]) -> Vec<Decisive> {
    let mut found = Vec::new();
    // A single device has no others to compare with.
    if received.len() < 2 || requirements.is_empty() {
        return found;
    }
    for (one, others) in received.iter().zip(others(received)) {
        let gaps = names.gaps(&others.iter().map(side).collect::<Vec<_>>());
        for (measure, requirement) in requirements {
            let without = Requirement::of(*measure, requirement.limit, &gaps).verdict;
            if without != requirement.verdict {
                found.push(Decisive {
                    file: one.file.display().to_string(),
                    device: one.device(),
                    measure: measure.name(),
                    limit: requirement.limit,
                    verdict: requirement.verdict,
                    without,
                });
            }
        }
    }
    found
}
