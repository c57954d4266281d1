//! The summary for a quick reader: what the model is, how accurate and how fair.

use feamoe_engine::fairness::Measure;
use maud::{Markup, html};

use super::super::Report;
use super::super::table::{Field, Table, range, shown};
use super::{heading, limit, verdict};
use crate::judge::verdict::Verdict;
use crate::plot::grouped;

/// Returns the sentence under the title.
pub(in super::super) fn purpose(report: &Report) -> Markup {
    let target = report.card.as_ref().map(|card| card.schema.target.column.as_str());
    html! {
        p {
            "The model scores records for " strong { (report.outcome()) }
            @if let Some(target) = target { " (column " code { (target) } ")" }
            ". From a score of " strong { (report.facts.threshold) } " on, the decision is favourable; below, the record is declined. "
            "This report judges its decisions on " strong { (grouped(report.evaluation.rows)) } " rows of "
            span { (report.facts.files) } "."
        }
    }
}

/// Returns the facts and the verdicts.
pub(super) fn summary(report: &Report) -> Markup {
    let e = &report.evaluation;
    let worst = |measure: Measure| {
        let value = e.worst(measure).map_or(f64::NAN, f64::from);
        let owner = e.fairness.iter().find(|gaps| f64::from(gaps.measure(measure)) == value);
        (value, owner.map(|gaps| format!("{}: {}", gaps.attribute, gaps.group)))
    };
    html! {
        dl.facts {
            (fact("accuracy", &e.accuracy.to_string(), &shown(e.accuracy.into(), 4), "share of right decisions"))
            (fact("balanced accuracy", &e.balanced_accuracy.to_string(), &shown(e.balanced_accuracy.into(), 4), "mean of both true rates"))
            (fact("AUC", &e.auc.to_string(), &shown(e.auc, 4), "area under the ROC curve"))
            (fact("log-loss", &e.log_loss.to_string(), &shown(e.log_loss, 4), "in nats, of probabilities"))
            (fact("calibration error", &e.calibration_error.to_string(), &shown(e.calibration_error, 4), "mean over ten bins"))
            (fact("selected", &e.selection_rate.to_string(), &shown(e.selection_rate.into(), 4), "share of favourable decisions"))
            @for measure in [Measure::Spd, Measure::Eodds, Measure::Impact] {
                @let (value, owner) = worst(measure);
                @if let Some(owner) = owner {
                    (fact(&format!("most unequal {}", heading(measure)), &value.to_string(), &shown(value, 4), &owner))
                }
            }
        }
        h3 { "The fairness targets" }
        (targets(report))
    }
}

fn fact(name: &str, value: &str, shown: &str, words: &str) -> Markup {
    html! { div { dt { (name) } dd { data value=(value) { (shown) } small { (words) } } } }
}

/// Returns a row per target with its verdict on these rows over all groups, followed by the
/// verdicts of the training run on each group.
fn targets(report: &Report) -> Markup {
    if report.targets.is_empty() {
        return html! { p { "The model was trained without a fairness target, or does not say which. The gaps are under " a href="#groups" { "Groups and gaps" } "." } };
    }
    let headings =
        ["target", "verdict on these rows", "most unequal value", "95 % interval", "of", "groups judged", "not judged"];
    let mut table = Table::new("verdicts", "The targets, judged on the rows of this report", headings);
    for (requirement, (measure, asked)) in report.verdicts.iter().zip(&report.targets) {
        let owner = requirement.attribute.as_ref().zip(requirement.group.as_ref()).zip(requirement.reference.as_ref());
        let owner = owner
            .map_or_else(String::new, |((attribute, group), reference)| format!("{attribute}: {group} - {reference}"));
        let said = (!requirement.judged.is_empty()).then_some(requirement.verdict);
        let mut words = owner;
        if requirement.is_vacuous {
            words += " (hardly anybody is selected, or nearly everybody: the limit could not be passed)";
        }
        table.row([
            limit(*measure, *asked).into(),
            verdict(said).into(),
            requirement.largest.unwrap_or(f32::NAN).into(),
            requirement.interval.into(),
            words.into(),
            (requirement.judged.len() as u64).into(),
            (requirement.not_judged.len() as u64).into(),
        ]);
    }
    html! {
        (table.markup())
        p {
            "Met: the whole 95 % interval is within the target. Not shown: the value is within, the interval is not, so that more rows would decide. "
            "Not met: the value is past the target."
        }
        (training(report))
    }
}

/// Returns the training run's verdicts on each target, by group.
fn training(report: &Report) -> Markup {
    let caption = "The targets at the end of training, judged on rows that the exported model had not learned from";
    let mut table =
        Table::new("training-verdicts", caption, ["target", "group", "value", "95 % interval", "verdict", "why"]);
    if let Some(run) = &report.run {
        for t in &run.targets {
            let Some(measure) = Measure::ALL.into_iter().find(|m| m.name() == t.measure) else { continue };
            let group = format!("{}: {} - {}", t.attribute, t.group, t.reference);
            let why = t.reason.clone().unwrap_or_default();
            table.row([
                limit(measure, t.target).into(),
                group.into(),
                t.gap.into(),
                t.interval.into(),
                verdict(t.verdict).into(),
                why.into(),
            ]);
        }
    } else if let Some(measured) = report.card.as_ref().and_then(|card| card.measured.as_ref()) {
        for t in &measured.targets {
            let Some(measure) = Measure::ALL.into_iter().find(|m| m.name() == t.measure) else { continue };
            let said = [Verdict::Met, Verdict::NotShown, Verdict::NotMet]
                .into_iter()
                .find(|v| t.verdict.as_deref() == Some(v.name()));
            let interval = t.interval.map_or(Field::from("–"), |ends| range(ends.map(f64::from)).into());
            let group = format!("{}: {}", t.attribute, t.group);
            table.row([
                limit(measure, t.target).into(),
                group.into(),
                t.value.unwrap_or(f32::NAN).into(),
                interval,
                verdict(said).into(),
                "".into(),
            ]);
        }
    }
    html! { @if !table.is_empty() { (table.behind()) } }
}
