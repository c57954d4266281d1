//! The limits of the report.

use maud::{Markup, html};

use super::super::Report;

/// Returns the section.
pub(super) fn limits(report: &Report) -> Markup {
    html! { ul { @for limit in all(report) { li { (limit) } } } }
}

/// Returns the limits, each in one or two sentences.
pub(in super::super) fn all(report: &Report) -> Vec<String> {
    let e = &report.evaluation;
    let mut limits = vec![
        "All measures are of the rows of this report. They say nothing of people who are not among them, such as applicants who were never recorded."
            .to_owned(),
        "Outcomes are taken as they are recorded. Where they were decided by people, accuracy is agreement with those people, and error rates compare \
         groups by the same labels that may be biased."
            .to_owned(),
        "Fairness is measured between the groups that the schema names, by the measures listed. Several measures cannot all be 0 where base rates differ."
            .to_owned(),
        "Explanations state what the model computes. They are no causes: to change a feature need not change an outcome.".to_owned(),
    ];
    let few = e.fairness.iter().filter(|gaps| !gaps.too_few.is_empty()).count();
    if few > 0 {
        limits.push(format!(
            "{few} groups have too few records for some measure; those are not judged, which is not the same as fair."
        ));
    }
    for attribute in e.attributes.iter().filter(|attribute| attribute.without_group > 0) {
        limits.push(format!(
            "{} rows are in no group of {}, and are in no comparison by it.",
            attribute.without_group, attribute.attribute
        ));
    }
    if e.skipped > 0 {
        limits.push(format!("{} rows were left out, by the filters or for want of an outcome.", e.skipped));
    }
    if report.run.is_none() {
        limits.push("The history of training is not shown: a model file does not hold it.".to_owned());
    }
    if report.card.is_none() {
        limits.push("Options and schema of the training are not known: the model has no card.".to_owned());
    } else if report.card.as_ref().is_some_and(|card| card.measured.is_none()) {
        limits.push("The model was changed after training (its threshold or its experts); what was measured then no longer holds, and is not shown.".to_owned());
    }
    if report.facts.integer {
        limits.push(
            "The model has integer weights: it is explained with its gate held, and its recourse is not looked for."
                .to_owned(),
        );
    }
    if report.facts.data_sha256 == report.facts.training_sha256 {
        limits.push("The rows of this report are those of the training: the measures flatter the model.".to_owned());
    }
    limits
}
