//! The origin of the model: command, options, data and hashes.

use maud::{Markup, html};

use super::super::Report;
use crate::plot::grouped;
use crate::schema::Protected;

/// Returns the section.
pub(super) fn made(report: &Report) -> Markup {
    let facts = &report.facts;
    html! {
        h3 { "The model" }
        dl.pairs {
            dt { "kind" } dd { "a mixture of " (facts.experts) " logistic expert" @if facts.experts != 1 { "s" } ", weighed by a gate" @if facts.integer { ", in integer weights" } }
            dt { "features" } dd { (facts.features.len()) ", listed under " a href="#inputs" { "The inputs" } }
            dt { "threshold" } dd { (facts.threshold) }
            dt { "probabilities" } dd { @if facts.calibrated { "calibrated, apart from the scores that decide" } @else { "the scores themselves" } }
            dt { "background records" } dd { (grouped(facts.background as u64)) ", which explanations are against" }
            dt { "file" } dd { (grouped(facts.bytes as u64)) " bytes, CRC-32 " code { (facts.crc32) } }
            dt { "SHA-256" } dd { code { (facts.sha256) } }
            dt { "learned from" } dd {
                (grouped(facts.training_rows)) " rows"
                @if let Some(run) = &report.run { @if run.epochs > 1 { ", in " (run.epochs) " passes" } }
            }
            dt { "SHA-256 of those data" } dd { code { (facts.training_sha256) } }
            dt { "seed, version" } dd { (facts.seed) ", feamoe " (facts.version) }
        }
        (options(report))
        h3 { "The rows of this report" }
        dl.pairs {
            dt { "files" } dd { (facts.files) }
            dt { "SHA-256" } dd { code { (facts.data_sha256) } }
            dt { "rows judged" } dd { (grouped(report.evaluation.rows)) }
            dt { "rows left out" } dd { (grouped(report.evaluation.skipped)) " (filtered out, or with neither outcome)" }
            @for attribute in &report.evaluation.attributes {
                dt { "groups of " (attribute.attribute) }
                dd {
                    (attribute.groups.join(", ")) "; the reference is " (attribute.groups.first().map_or("", String::as_str))
                    @if attribute.without_group > 0 { "; " (grouped(attribute.without_group)) " rows are in no group, and are not compared" }
                    @if !attribute.absent_groups.is_empty() { "; no row is in " (attribute.absent_groups.join(", ")) }
                }
            }
        }
        @if facts.data_sha256 == facts.training_sha256 {
            p.note { "These are the rows that the model learned from. Measures on them flatter it; judge it on others." }
        }
        @for note in &facts.notes { p.note { (note) } }
        @if let Some(command) = &report.options.reported_by {
            p { "The command of this report:" } pre { (command) }
        }
    }
}

fn options(report: &Report) -> Markup {
    let Some(card) = &report.card else {
        return html! { p.note { "The file does not say how the model was made: its card was taken off." } };
    };
    let schema = &card.schema;
    html! {
        @if let Some(command) = &report.options.made_by {
            p { "The command that made it, by the options in its card; the names of the data files are not kept, their hash is above:" }
            pre { (command) }
        }
        h3 { "Its schema and options" }
        dl.pairs {
            dt { "outcome" } dd { "column " code { (schema.target.column) } ", favourable: " (schema.target.positive.join(", ")) }
            @for protected in &schema.protected { (attribute(protected)) }
            @if !schema.intersection.is_empty() {
                dt { "looked at together" }
                dd { @for (index, parts) in schema.intersection.iter().enumerate() { @if index > 0 { "; " } (parts.columns.join(" and ")) } }
            }
            @if !schema.features.monotone.is_empty() {
                dt { "monotone" }
                dd { @for (index, (column, way)) in schema.features.monotone.iter().enumerate() { @if index > 0 { ", " } (column) " " (way.name()) } }
            }
            @if !schema.filter.is_empty() { dt { "filters" } dd { (schema.filter.len()) ", by " (schema.filter.iter().map(|filter| filter.column.as_str()).collect::<Vec<_>>().join(", ")) } }
            @for (option, value) in &card.options { dt { (option) } dd { (value) } }
        }
    }
}

fn attribute(protected: &Protected) -> Markup {
    let others =
        protected.unprivileged.as_ref().map_or_else(|| "every other value".to_owned(), |groups| groups.join(", "));
    html! {
        dt { "protected" }
        dd {
            "column " code { (protected.column) } ": "
            @if protected.cuts.is_empty() { (others) " against " (protected.privileged.join(", ")) }
            @else { "cut at " (protected.cuts.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")) ", against " (protected.privileged.join(", ")) }
            @if protected.as_feature { "; the model sees the column" } @else { "; the model does not see the column" }
        }
    }
}
