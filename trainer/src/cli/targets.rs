//! The results of a training run by group, in tables: the gaps over its last rows and the verdicts
//! on its targets.

use std::fmt::Write as _;

use feamoe::judge::gaps::GroupGaps;
use feamoe::judge::verdict::Verdict;
use feamoe::training::targets::{JudgedOn, TargetReport};

use super::card::shown;
use super::print::TextTable;
use super::require::named;

/// Returns the tables for people; empty without protected groups.
pub fn render(judged_on: JudgedOn, gaps: &[GroupGaps], targets: &[TargetReport]) -> String {
    let mut text = String::new();
    let (heading, rows) = match judged_on {
        JudgedOn::LastRows => ("the exported weights over the last rows, each row before it was learned from:", "-"),
        JudgedOn::HeldOutRows => {
            ("the model, on the one row in ten that only the first pass learned from:", "held out")
        }
        JudgedOn::Shards => ("the shards before they were merged, each on its own evaluation rows:", "-"),
    };
    if !gaps.is_empty() {
        let _ = write!(text, "\n{heading}\n{}", super::evaluate::gaps(gaps, false));
    }
    if !targets.is_empty() {
        let mut table = TextTable::new(&["target", "gap", "95 %", "from row", "verdict"]);
        for t in targets {
            table.row([
                format!("{}: {} - {}: {} {}", t.attribute, t.group, t.reference, t.measure, t.target),
                shown(t.measure, t.gap),
                t.interval.map_or("-".into(), |[low, high]| format!("{low:.3} {high:.3}")),
                t.from.map_or(rows.into(), |from| from.to_string()),
                verdict(t).to_owned(),
            ]);
        }
        let _ = write!(text, "\n{}", table.render());
        for t in targets {
            if let Some(reason) = &t.reason {
                let _ = writeln!(text, "{}: {} {}: {reason}", named(&t.attribute, &t.group), t.measure, verdict(t));
            }
        }
    }
    text
}

fn verdict(target: &TargetReport) -> &'static str {
    target.verdict.map_or("not judged", Verdict::name)
}
