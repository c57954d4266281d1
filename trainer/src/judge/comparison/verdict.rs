//! The summary of a comparison in one sentence.

use super::paired::Change;
use super::{Comparison, GapChange};

/// Maximum number of gaps that the sentence names.
const MOST_NAMED: usize = 3;

/// Returns the sentence.
pub(super) fn verdict(comparison: &Comparison) -> String {
    let Comparison { scores, rows, .. } = comparison;
    if scores.largest_change == 0.0 && scores.changed_decisions == 0 {
        return format!("no change: both models give the same score and decision for each of the {rows} rows");
    }
    let all = comparison.decisions.first();
    let (gained, lost) = all.map_or((0, 0), |all| (all.gained, all.lost));
    let mut parts = vec![
        of_measure(comparison, "accuracy", ["more accurate", "less accurate"], false),
        of_measure(comparison, "log_loss", ["better by log-loss", "worse by log-loss"], true),
    ];
    let clear: Vec<String> = comparison.gaps.iter().filter(|gap| gap.change.is_clear()).map(of_gap).collect();
    if !comparison.gaps.is_empty() {
        parts.push(match clear.len() {
            0 => "no gap between groups is shown to change".into(),
            found => {
                let more = found.saturating_sub(MOST_NAMED);
                let named: Vec<String> = clear.into_iter().take(MOST_NAMED).collect();
                let more = if more > 0 { format!(" and {more} more gaps change") } else { String::new() };
                named.join(", ") + &more
            }
        });
    }
    format!(
        "the second model changes the decision for {} of {rows} rows ({:.2} %: {gained} gain a favourable decision, {lost} lose it); {}",
        scores.changed_decisions,
        100.0 * scores.changed_share,
        parts.join("; ")
    )
}

fn shown(change: &Change) -> String {
    let interval = change.interval.map_or(String::new(), |[low, high]| format!(", 95 % {low:+.4} to {high:+.4}"));
    format!("{:+.4}{interval}", change.change)
}

fn of_measure(comparison: &Comparison, name: &str, [better, worse]: [&str; 2], less_is_better: bool) -> String {
    let Some(found) = comparison.measures.iter().find(|measure| measure.measure == name) else {
        return String::new();
    };
    let words = name.replace('_', "-");
    match found.change.is_clear() {
        true => {
            let is_better = (found.change.change < 0.0) == less_is_better;
            format!("it is {} ({})", if is_better { better } else { worse }, shown(&found.change))
        }
        false => format!("no difference in {words} is shown ({})", shown(&found.change)),
    }
}

fn of_gap(gap: &GapChange) -> String {
    let GapChange { attribute, group, measure, values: [first, second], .. } = gap;
    let moves = if second.abs() < first.abs() { "closer to" } else { "further from" };
    let side = if first * second < 0.0 { ", on the other side" } else { "" };
    format!("{measure} of {attribute}: {group} moves {moves} equal treatment{side} ({first:+.4} to {second:+.4})")
}
