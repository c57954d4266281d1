//! The model card in the format of the Hugging Face hub: YAML between two lines of dashes, followed
//! by Markdown.

use std::fmt::Write as _;

use feamoe_engine::fairness::Measure;
use serde_json::Value;

use super::Report;
use super::sections::limits;
use super::table::{range, shown};
use crate::judge::verdict::Verdict;

/// Returns the card.
pub(super) fn model_card(report: &Report) -> String {
    let mut text = String::from("---\n");
    front(&mut text, report);
    text.push_str("---\n\n");
    body(&mut text, report);
    text
}

/// Quotes a YAML string. It is a JSON string with further escapes for characters that JSON allows
/// but YAML refuses or reads as a line end.
fn quoted(words: &str) -> String {
    let is_refused = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') || u32::from(c) & 0xfffe == 0xfffe
    };
    let mut string = String::with_capacity(words.len() + 2);
    for c in Value::from(words).to_string().chars() {
        if is_refused(c) {
            let _ = write!(string, "\\U{:08x}", u32::from(c));
        } else {
            string.push(c);
        }
    }
    string
}

/// Writes the front matter.
fn front(text: &mut String, report: &Report) {
    let e = &report.evaluation;
    let metrics = [
        ("accuracy", "accuracy", e.accuracy.to_string()),
        ("balanced_accuracy", "balanced accuracy", e.balanced_accuracy.to_string()),
        ("roc_auc", "AUC", e.auc.to_string()),
        ("log_loss", "log-loss", e.log_loss.to_string()),
        ("expected_calibration_error", "calibration error", e.calibration_error.to_string()),
    ];
    let _ = write!(
        text,
        "library_name: feamoe\npipeline_tag: tabular-classification\ntags:\n- tabular-classification\n- fairness\n- explainable\n- mixture-of-experts\n\
         metrics:\n- accuracy\n- roc_auc\nmodel-index:\n- name: {}\n  results:\n  - task:\n      type: tabular-classification\n    dataset:\n      type: tabular\n      \
         name: {}\n      revision: {}\n    metrics:\n",
        quoted(&report.options.name),
        quoted(&report.facts.files),
        quoted(&report.facts.data_sha256),
    );
    let mut metric = |kind: &str, name: &str, value: &str| {
        // YAML writes numbers that are not finite differently, so they are omitted.
        if value.parse().is_ok_and(f64::is_finite) {
            let _ = writeln!(text, "    - type: {kind}\n      name: {}\n      value: {value}", quoted(name));
        }
    };
    for (kind, name, value) in &metrics {
        metric(kind, name, value);
    }
    for measure in Measure::ALL {
        if let Some(worst) = e.worst(measure) {
            metric(measure.name(), &format!("most unequal {}", measure.name()), &worst.to_string());
        }
    }
}

/// Escapes text for Markdown, including its tables.
fn plain(words: &str) -> String {
    let mut safe = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => safe.extend(['\\', c]),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

fn table(text: &mut String, headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let _ = writeln!(text, "| {} |\n|{}", headings.join(" | "), " --- |".repeat(headings.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

fn body(text: &mut String, report: &Report) {
    let (e, facts) = (&report.evaluation, &report.facts);
    let share = |x: f32| shown(x.into(), 4);
    let _ = write!(
        text,
        "# {}\n\nA mixture of {} logistic experts that scores records for {}; from a score of {} on the decision is favourable. Made by feamoe {}.\n\n\
         ## Intended use\n\nDecisions on records of the kind it was trained on, with the columns listed below. Not intended: records of another origin, or decisions \
         without a way to contest them. The person who publishes this card adds here who uses the model, on whom, and who is responsible.\n\n",
        plain(&report.options.name),
        facts.experts,
        plain(report.outcome()),
        facts.threshold,
        facts.version,
    );
    let _ = write!(
        text,
        "## Training\n\n- rows: {}\n- SHA-256 of the data: `{}`\n- seed: {}\n",
        facts.training_rows, facts.training_sha256, facts.seed
    );
    if let Some(card) = &report.card {
        let options: Vec<String> =
            card.options.iter().map(|(option, value)| format!("{} {}", plain(option), plain(value))).collect();
        let _ = writeln!(text, "- options: {}", options.join(", "));
        for protected in &card.schema.protected {
            let seen = if protected.as_feature { "seen by the model" } else { "not seen by the model" };
            let _ = writeln!(
                text,
                "- protected: {}, against {}; {seen}",
                plain(&protected.column),
                plain(&protected.privileged.join(", "))
            );
        }
    }
    if let Some(command) = &report.options.made_by {
        let _ = write!(text, "\n    {}\n", command.replace('\n', "\n    "));
    }
    let _ = write!(
        text,
        "\n## Evaluation\n\n{} rows of {} (SHA-256 `{}`).\n\n",
        e.rows,
        plain(&facts.files),
        facts.data_sha256
    );
    let measures = [
        ("accuracy", f64::from(e.accuracy)),
        ("balanced accuracy", e.balanced_accuracy.into()),
        ("AUC", e.auc),
        ("log-loss", e.log_loss),
        ("calibration error", e.calibration_error),
        ("selection rate", e.selection_rate.into()),
    ];
    table(text, &["measure", "value"], measures.map(|(name, value)| vec![name.to_owned(), shown(value, 4)]));
    if !e.groups.is_empty() {
        text.push_str("### Groups\n\n");
        let row = |g: &crate::judge::evaluation::GroupReport| {
            let name = plain(&format!("{}: {}", g.attribute, g.group));
            vec![
                name,
                g.rows.to_string(),
                share(g.base_rate),
                share(g.selection_rate),
                share(g.tpr),
                share(g.fpr),
                share(g.accuracy),
            ]
        };
        table(
            text,
            &["group", "rows", "base rate", "selection rate", "TPR", "FPR", "accuracy"],
            e.groups.iter().map(row),
        );
        text.push_str("### Gaps to the reference group, with 95 % intervals\n\n");
        let headings: Vec<&str> =
            ["group against reference"].into_iter().chain(Measure::ALL.map(Measure::name)).collect();
        let row = |gaps: &crate::judge::gaps::GroupGaps| {
            let value = |measure: Measure| {
                let interval = gaps
                    .interval(measure)
                    .map_or_else(String::new, |ends| format!(" ({})", range(ends.map(f64::from))));
                format!("{}{interval}", share(gaps.measure(measure)))
            };
            let pair = plain(&format!("{}: {} - {}", gaps.attribute, gaps.group, gaps.reference));
            [pair].into_iter().chain(Measure::ALL.map(value)).collect()
        };
        table(text, &headings, e.fairness.iter().map(row));
    }
    if !report.verdicts.is_empty() {
        text.push_str("### Fairness targets\n\n");
        let row = |r: &crate::judge::verdict::Requirement| {
            let verdict = if r.judged.is_empty() { "not judged" } else { Verdict::name(r.verdict) };
            vec![
                r.measure.to_owned(),
                r.limit.to_string(),
                r.largest.map_or_else(|| "–".into(), share),
                verdict.to_owned(),
            ]
        };
        table(text, &["measure", "limit", "most unequal value", "verdict"], report.verdicts.iter().map(row));
    }
    text.push_str("## Features\n\n");
    for feature in &facts.features {
        let _ = writeln!(text, "- {}: {}", plain(&feature.name), plain(&feature.holds));
    }
    text.push_str("\n## Limits\n\n");
    for limit in limits::all(report) {
        let _ = writeln!(text, "- {}", plain(&limit));
    }
    let _ =
        write!(text, "\n## File\n\n- CRC-32 `{}`, SHA-256 `{}`, {} bytes\n", facts.crc32, facts.sha256, facts.bytes);
}
