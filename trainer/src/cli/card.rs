//! Tables of how a model was made, according to its card.

use std::fmt::Write as _;

use feamoe::model::card::Card;
use feamoe::schema::{BadCells, Protected, Table, Target};
use feamoe_engine::fairness::Measure;

use super::print::{TextTable, share, signed};

/// Returns the tables for people.
pub fn render(card: &Card) -> String {
    let Card { schema, options, measured, .. } = card;
    let mut text = String::from("\nhow it was made\n");
    let options: Vec<String> = options.iter().map(|(flag, value)| format!("{flag} {value}")).collect();
    let _ = writeln!(text, "options: {}", options.join(", "));
    let Target { column, positive, .. } = &schema.target;
    let _ = writeln!(text, "target: {column:?}, favourable {}", positive.join(", "));
    for Protected { column, privileged, unprivileged, as_feature, cuts, dummies } in &schema.protected {
        let cuts: Vec<String> = cuts.iter().map(f64::to_string).collect();
        let made = match (cuts.is_empty(), dummies.is_empty()) {
            (false, _) => format!(" cut at {}", cuts.join(", ")),
            (_, false) => format!(" of {}", dummies.join(", ")),
            _ => String::new(),
        };
        let others = unprivileged.as_ref().map_or_else(|| "every other value".to_owned(), |groups| groups.join(", "));
        let seen = if *as_feature { "seen by the model" } else { "not seen by the model" };
        let _ = writeln!(text, "protected: {column:?}{made}, {others} against {}; {seen}", privileged.join(", "));
    }
    let _ = writeln!(text, "cells: {}", cells(&schema.table));
    if !schema.features.monotone.is_empty() {
        let columns =
            schema.features.monotone.iter().map(|(column, direction)| format!("{column:?} {}", direction.name()));
        let _ = writeln!(text, "monotone: {}", columns.collect::<Vec<_>>().join(", "));
    }
    if !schema.features.immutable.is_empty() {
        let _ = writeln!(text, "immutable: {}", schema.features.immutable.join(", "));
    }
    let Some(measured) = measured else {
        text.push_str(
            "what was measured when it was trained no longer holds: its threshold or its experts were changed since\n",
        );
        return text;
    };
    let balanced = measured.balanced_accuracy.map_or_else(|| "-".to_owned(), share);
    let _ = writeln!(
        text,
        "on rows not learned from yet: accuracy {}, balanced accuracy {balanced}, log-loss {}",
        share(measured.accuracy),
        share(measured.log_loss)
    );
    if !measured.gaps.is_empty() {
        let headings: Vec<&str> = ["group", "records"].into_iter().chain(Measure::ALL.map(Measure::name)).collect();
        let mut gaps = TextTable::new(&headings);
        for gap in &measured.gaps {
            let value = |measure: Measure| {
                gap.measures.get(measure.name()).map_or_else(|| "-".into(), |value| shown(measure.name(), *value))
            };
            let group = format!("{}: {} - {}", gap.attribute, gap.group, gap.reference);
            gaps.row(
                [group, format!("{} against {}", gap.rows, gap.reference_rows)]
                    .into_iter()
                    .chain(Measure::ALL.map(value)),
            );
        }
        let _ = write!(text, "\n{}", gaps.render());
    }
    if !measured.targets.is_empty() {
        let mut targets = TextTable::new(&["target", "group", "value", "95 %", "verdict"]);
        for target in &measured.targets {
            targets.row([
                format!("{}={}", target.measure, target.target),
                format!("{}: {}", target.attribute, target.group),
                target.value.map_or_else(|| "-".into(), |value| shown(&target.measure, value)),
                target.interval.map_or_else(|| "-".into(), |[low, high]| format!("{low:.3} {high:.3}")),
                target.verdict.clone().unwrap_or_else(|| "not judged".into()),
            ]);
        }
        let _ = write!(text, "\n{}", targets.render());
    }
    text
}

/// Describes how cells were parsed.
fn cells(table: &Table) -> String {
    let words = |words: &[String]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let mut text = format!("missing {}", words(&table.missing));
    for (column, own) in &table.missing_in {
        let _ = write!(text, ", in {column:?} {}", words(own));
    }
    if table.decimal != '.' {
        let _ = write!(text, "; decimal mark {:?}", table.decimal);
    }
    if let Some(mark) = table.thousands {
        let _ = write!(text, "; thousands mark {mark:?}");
    }
    if table.bad_cells == BadCells::Missing {
        text.push_str("; bad cells missing");
    }
    text
}

/// Formats a value: with a sign for measures where 0 means equal treatment.
pub fn shown(measure: &str, value: f32) -> String {
    let is_signed = ![Measure::Eodds, Measure::Impact].iter().any(|unsigned| unsigned.name() == measure);
    if is_signed { signed(value) } else { share(value) }
}
