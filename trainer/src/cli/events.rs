//! The changes of the mixture and the encoding, as text for `feamoe train`.

use std::fmt::Write as _;

use feamoe::training::events::EventReport;

use super::print::{safe, signed};

/// The most lines in the text report; JSON has all events that are kept.
const SHOWN: usize = 10;

fn line(event: &EventReport) -> String {
    let mut line = format!("row {}: {}", event.row, event.event);
    if let Some(encoding) = &event.encoding {
        let _ = write!(line, ": {}, {}", safe(&encoding.feature), event.cause);
        if let (Some(before), Some(after)) = (encoding.range_before, encoding.range_after) {
            let [[a, b], [c, d]] = [before, after];
            let _ = write!(line, ", {a} to {b} -> {c} to {d}");
        }
        if let (Some(before), Some(after)) = (&encoding.level_before, &encoding.level_after) {
            let _ = write!(line, ", {} -> {}", safe(before), safe(after));
        }
        if let Some(kind) = encoding.kind {
            let _ = write!(line, ": a {kind}");
        }
        return line;
    }
    if let Some(shards) = event.shards {
        let _ = write!(line, ": {shards}");
    }
    match (event.expert, event.parent, event.into, &event.size) {
        (Some(expert), Some(parent), ..) => _ = write!(line, ": {expert}, from {parent}, on {}", event.cause),
        (Some(expert), _, Some(into), _) => _ = write!(line, ": {expert} into {into}, on {}", event.cause),
        (Some(expert), ..) => _ = write!(line, ": {expert}, the mean of all, on {}", event.cause),
        (.., Some(size)) => {
            let rate = event.rate.unwrap_or_default();
            let what = event.group.as_ref().map(|group| format!("{} {}, gap in ", group.attribute, group.group));
            let (what, before, after) = (what.unwrap_or_default(), signed(size.before), signed(size.after));
            let _ = write!(line, ": {what}{rate} {before} -> {after}");
        }
        _ => {}
    }
    line
}

/// Returns a line for each of the newest events, except those on a fixed schedule, and how many
/// earlier ones there are. Returns an empty string if there are none.
pub fn render(events: &[EventReport], dropped: u64) -> String {
    let shown: Vec<&EventReport> = events.iter().filter(|event| event.cause != "every").collect();
    let mut text = String::new();
    if shown.is_empty() {
        return text;
    }
    let first = shown.len().saturating_sub(SHOWN);
    text.push('\n');
    if first > 0 || dropped > 0 {
        let _ = writeln!(text, "({first} earlier events; --format json has the newest {})", events.len());
    }
    for event in shown.iter().skip(first) {
        let _ = writeln!(text, "{}", line(event));
    }
    text
}
