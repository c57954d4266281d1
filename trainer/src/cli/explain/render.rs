//! Explanations as text and as CSV.

use std::fmt::Write as _;
use std::io::Write;

use feamoe::explanation::{Background, Explained, Explainer, Summary, by_magnitude, note_name, quantity};
use feamoe::model::HostAttribution;
use feamoe_engine::{BackgroundId, Method, Space};

use super::super::print::{TextTable, bar, csv_field, names_apart, share, signed};
use super::super::table::terminal_width;

/// If more than this share of the attribution runs through the gate, frozen values mislead.
const GATE_SHARE_WARNING: f32 = 0.1;
/// Length of a line in characters, which bars fill, unless the terminal is narrower.
const LINE: usize = 110;
/// Length of the longest bar in characters.
const LONGEST_BAR: usize = 61;
/// The shortest bar that is still readable.
const SHORTEST_BAR: usize = 9;
/// The largest number of experts that are named.
const MOST_EXPERTS: usize = 3;

/// Writes a JSON document.
pub fn write_json(value: &impl serde::Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Writes the CSV header of the lines for records.
pub fn write_header(explainer: &Explainer<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut own = vec!["row", "probability", "decision", "base_value", "output", "residual", "gate_share"];
    if explainer.procedure().against().is_some() {
        own.extend(["method", "evaluations", "largest_standard_error", "background_rows", "background_hash"]);
    }
    write!(out, "{}", own.join(","))?;
    let names: Vec<String> = explainer.players().iter().map(|player| player.name.clone()).collect();
    for name in names_apart(&names, &own, "feature.") {
        write!(out, ",{}", csv_field(&name))?;
    }
    Ok(writeln!(out)?)
}

/// Writes the line of a record. `{}` prints an `f32` with the fewest digits that read back the same
/// `f32`.
pub fn write_line(explainer: &Explainer<'_>, row: u64, a: &HostAttribution, out: &mut dyn Write) -> anyhow::Result<()> {
    let score = &a.score;
    let gate_share = a.gate_share.map_or_else(String::new, |share| share.to_string());
    write!(out, "{row},{},{},{},", score.probability, u8::from(score.decision), a.base_value)?;
    write!(out, "{},{},{gate_share}", a.output, a.residual)?;
    if let Some(BackgroundId { rows, hash }) = a.background {
        let error = a.standard_errors.iter().copied().fold(0.0, f32::max);
        write!(out, ",{},{},{error},{rows},{hash:08x}", a.method.name(), a.evaluations)?;
    }
    for (_, value) in explainer.players().iter().zip(&a.values) {
        write!(out, ",{value}")?;
    }
    Ok(writeln!(out)?)
}

/// Writes means as CSV.
pub fn write_summary(s: &Summary, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "feature,mean_absolute_value,mean_value")?;
    for ((name, magnitude), mean) in s.feature_names.iter().zip(&s.mean_absolute_values).zip(&s.mean_values) {
        writeln!(out, "{},{magnitude},{mean}", csv_field(name))?;
    }
    Ok(())
}

/// Returns one record as text, with the `top` features that changed its score most, or all by
/// default.
pub fn render(explainer: &Explainer<'_>, explained: &Explained<'_>, top: Option<usize>) -> String {
    let a = explained.attribution;
    let (frozen, sampled) = (a.method == Method::Frozen, a.method == Method::Sampled);
    let mut text = format!(
        "record {}: {} {}, decision {} (threshold {})\n\
         {} in {}{}: base {} + values = {} (residual {:+.1e}), {}\n",
        explained.row,
        quantity(Space::Probability, explainer.outcome()),
        share(a.score.probability),
        if a.score.decision { "favourable" } else { "declined" },
        explainer.model().threshold(),
        a.method.name(),
        a.space.name(),
        a.background.map(Background::from).map_or(String::new(), |background| format!(", {}", against(&background))),
        signed(a.base_value),
        signed(a.output),
        a.residual,
        match (frozen, a.gate_share.map(|share| 100.0 * share)) {
            (true, Some(percent)) => format!("the gate held fixed (by path, {percent:.0} % runs through it)"),
            (true, None) => "the gate held fixed".to_owned(),
            (false, Some(percent)) => format!("{percent:.0} % through the gate"),
            (false, None) => "an unknown share through the gate".to_owned(),
        },
    );
    let _ = writeln!(text, "{}", experts(explainer, a));

    let mut headings = vec!["feature", "cell", "value"];
    headings.extend(sampled.then_some("standard error"));
    headings.extend((a.method == Method::Path).then_some("through the gate"));
    headings.push("note");
    let mut table = TextTable::new(&headings);
    let values = &a.values[..explainer.players().len()];
    let order = by_magnitude(values);
    let (shown, rest) = order.split_at(order.len().min(top.unwrap_or(usize::MAX)));
    for &index in shown {
        let cell = &explained.cells[index];
        let mut cells = vec![explainer.players()[index].name.clone(), cell.shown(), signed(values[index])];
        cells.extend(sampled.then(|| share(a.standard_errors[index])));
        cells.extend((a.method == Method::Path).then(|| signed(a.gate_values[index])));
        cells.push(note_name(cell.note).to_owned());
        table.row(cells);
    }
    let sum = |all: &[f32]| rest.iter().filter_map(|index| all.get(*index)).sum::<f32>();
    let other = (!rest.is_empty()).then(|| sum(values));
    if let Some(value) = other {
        let mut cells = vec!["other".to_owned(), format!("{} features", rest.len()), signed(value)];
        cells.extend(sampled.then(|| share(sum(&a.standard_errors))));
        cells.extend((a.method == Method::Path).then(|| signed(sum(&a.gate_values))));
        cells.push(String::new());
        table.row(cells);
    }
    text += &with_bars(&table, shown.iter().map(|index| values[*index]).chain(other));
    if frozen && a.gate_share.is_some_and(|share| share > GATE_SHARE_WARNING) {
        text += "warning: the gate contributes to this score, but frozen values hold it fixed and may mislead; use --method exact or path\n";
    }
    if !explained.reasons.is_empty() {
        text += "what lowered the score most:\n";
    }
    for (number, reason) in explained.reasons.iter().enumerate() {
        let _ = writeln!(text, "  {}. {}", number + 1, reason.text);
    }
    text + "\n"
}

/// `decided by expert 3 (gate 62 %, alone 0.2100), 1 (20 %, 0.7200); 9 others (18 %)`.
fn experts(explainer: &Explainer<'_>, a: &HostAttribution) -> String {
    let gate = &a.score.gate[..explainer.model().experts()];
    let order = by_magnitude(gate);
    let (named, rest) = order.split_at(order.len().min(MOST_EXPERTS));
    let mut text = String::from("decided by expert ");
    for (place, &expert) in named.iter().enumerate() {
        let (weight, alone) = (100.0 * gate[expert], share(a.score.expert_probabilities[expert]));
        let _ = match place {
            0 => write!(text, "{} (gate {weight:.0} %, alone {alone})", expert + 1),
            _ => write!(text, ", {} ({weight:.0} %, {alone})", expert + 1),
        };
    }
    if !rest.is_empty() {
        let weight: f32 = rest.iter().map(|expert| gate[*expert]).sum();
        let _ = write!(text, "; {} others ({:.0} %)", rest.len(), 100.0 * weight);
    }
    text
}

/// `against 1000 background records (89abcdef)`.
pub fn against(background: &Background) -> String {
    format!(
        "against {} background record{} ({})",
        background.rows,
        if background.rows == 1 { "" } else { "s" },
        background.hash
    )
}

/// Returns means as text.
pub fn render_summary(s: &Summary) -> String {
    let records = if s.records == 1 { "1 record".to_owned() } else { format!("{} records", s.records) };
    let method = match s.sampled {
        sampled if sampled > 0 && sampled < s.records => format!("exact, {sampled} of them sampled,"),
        _ => s.method.name().to_owned(),
    };
    let mut text = format!(
        "{records}, {method} in {}{}; on average {} through the gate\n",
        quantity(s.space, &s.output_names),
        s.background.as_ref().map_or(String::new(), |background| format!(", {}", against(background))),
        s.gate_share.map_or_else(|| "an unknown share".to_owned(), |share| format!("{:.0} %", 100.0 * share))
    );
    let mut table = TextTable::new(&["feature", "mean |value|", "mean value"]);
    for ((name, magnitude), mean) in s.feature_names.iter().zip(&s.mean_absolute_values).zip(&s.mean_values) {
        table.row([name.clone(), share(*magnitude), signed(*mean)]);
    }
    text += &with_bars(&table, s.mean_absolute_values.iter().copied());
    text
}

/// Returns a table with a bar at the end of each row except the heading. The longest bar, for the
/// largest magnitude, fills the line. If no value is negative, the left half of the bars is left
/// out. If the terminal is too narrow, there are no bars.
pub fn with_bars(table: &TextTable, values: impl Iterator<Item = f32> + Clone) -> String {
    let rendered = table.render();
    let longest = rendered.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let room =
        terminal_width().map_or(LINE.max(longest + 23), |width| LINE.min(width.into())).saturating_sub(longest + 2);
    if room < SHORTEST_BAR || rendered.lines().count() != values.clone().count() + 1 {
        return rendered;
    }
    let width = room.min(LONGEST_BAR);
    let greatest = values.clone().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    let negative = values.clone().any(|value| value < 0.0);
    let mut lines = rendered.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    for (line, value) in lines.zip(values) {
        let share = if greatest > 0.0 { f64::from(value) / greatest } else { 0.0 };
        let padding = " ".repeat(longest - line.chars().count() + 2);
        let bar: String =
            if negative { bar(share, width) } else { bar(share, 2 * width - 1).chars().skip(width - 1).collect() };
        let _ = writeln!(text, "{}", format!("{line}{padding}{bar}").trim_end());
    }
    text
}
