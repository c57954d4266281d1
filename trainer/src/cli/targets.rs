//! The results of a training run by group, in tables: the gaps over its last rows, and what became
//! of the targets.

use std::fmt::Write as _;

use feamoe::judge::evaluation::GroupGaps;
use feamoe::training::targets::TargetReport;

use super::print::{TextTable, signed};

/// Returns the tables for people; nothing without protected groups.
pub fn render(gaps: &[GroupGaps], targets: &[TargetReport]) -> String {
    let mut text = String::new();
    let interval = |ends: Option<[f32; 2]>| ends.map_or("-".into(), |[low, high]| format!("{low:+.3} {high:+.3}"));
    if !gaps.is_empty() {
        let mut table = TextTable::new(&["gap over the last rows", "rows", "SPD", "95 %", "AOD", "95 %"]);
        for g in gaps {
            let small = if g.too_small { " (too small to judge)" } else { "" };
            table.row([
                format!("{}: {} - {}{small}", g.attribute, g.group, g.reference),
                g.rows.to_string(),
                signed(g.spd),
                interval(g.spd_interval),
                signed(g.aod),
                interval(g.aod_interval),
            ]);
        }
        let _ = write!(text, "\n{}", table.render());
    }
    if !targets.is_empty() {
        let mut table = TextTable::new(&["target", "gap", "95 %", "from row", "verdict"]);
        for t in targets {
            table.row([
                format!("{}: {} - {}: {} {}", t.attribute, t.group, t.reference, t.measure, t.target),
                signed(t.gap),
                interval(t.interval),
                t.from.to_string(),
                t.verdict.name().to_owned(),
            ]);
        }
        let _ = write!(text, "\n{}", table.render());
        for t in targets {
            if let Some(reason) = &t.reason {
                let _ = writeln!(text, "{}: {}: {} {}: {reason}", t.attribute, t.group, t.measure, t.verdict.name());
            }
        }
    }
    text
}
