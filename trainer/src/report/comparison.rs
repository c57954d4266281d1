//! The page of a comparison: what the second model would change, and for whom.

use maud::{Markup, html};

use super::page::{Section, document};
use super::table::{Field, Table, figure, shown};
use crate::judge::comparison::paired::Change;
use crate::judge::comparison::{Comparison, DecisionChange, GapChange};
use crate::plot::{Difference, Intervals, grouped, intervals};

/// Maximum number of rows of a drawing. The table below it has all.
const MOST_DRAWN: usize = 40;

/// Describes what is compared, for the readers of the page.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// The names of the first and the second model.
    pub names: [String; 2],
    /// The source of the rows.
    pub files: String,
    /// The command that made the page.
    pub command: String,
}

/// Returns the page of a comparison: one HTML document that loads nothing from elsewhere. The same
/// comparison gives the same bytes.
#[must_use]
pub fn comparison_page(comparison: &Comparison, compared: &Compared) -> String {
    let [first, second] = &compared.names;
    let purpose = html! {
        p { "Both models score the same " strong { (grouped(comparison.rows)) } " rows of " (compared.files) ". Every difference is the second model less the first." }
        p.note { strong { "Verdict: " } (comparison.verdict) "." }
    };
    let section = |id, title, body| Section { id, title, body };
    let sections = [
        section("models", "The models", models(comparison, compared)),
        section("decisions", "Decisions that change", decisions(comparison)),
        section("quality", "Accuracy and calibration", quality(comparison)),
        section("gaps", "Gaps between groups", gaps(comparison)),
        section("explanations", "Explanations that change", explanations(comparison)),
    ];
    document(&format!("{second} against {first}"), &purpose, &sections, None)
}

fn models(comparison: &Comparison, compared: &Compared) -> Markup {
    let headings = ["model", "file", "CRC-32", "experts", "features", "threshold"];
    let mut table = Table::new("models-table", "What each model is", headings);
    for ((place, name), model) in ["first", "second"].iter().zip(&compared.names).zip(&comparison.models) {
        table.row([
            (*place).into(),
            name.clone().into(),
            model.model.clone().into(),
            (model.experts as u64).into(),
            (model.features as u64).into(),
            model.threshold.into(),
        ]);
    }
    html! {
        (table.markup())
        p { (grouped(comparison.skipped)) " rows were left out: filtered, or with neither outcome." }
        p { "The command of this page:" }
        pre { (compared.command) }
    }
}

fn decisions(comparison: &Comparison) -> Markup {
    let scores = &comparison.scores;
    let name = |decision: &DecisionChange| match (&decision.attribute, &decision.group) {
        (Some(attribute), Some(group)) => format!("{attribute}: {group}"),
        _ => "all rows".to_owned(),
    };
    let caption = "Change of the selection rate, of all rows and of each group";
    let headings = [
        "rows of",
        "rows",
        "gain a favourable decision",
        "lose it",
        "selected by the first",
        "second",
        "change",
        "95 %",
    ];
    let mut table = Table::new("decisions-table", caption, headings);
    for decision in &comparison.decisions {
        let [first, second] = decision.selection_rates;
        table.row([
            name(decision).into(),
            decision.rows.into(),
            decision.gained.into(),
            decision.lost.into(),
            first.into(),
            second.into(),
            decision.change.change.into(),
            decision.change.interval.into(),
        ]);
    }
    let drawn = comparison.decisions.iter().map(|decision| difference(name(decision), &decision.change));
    html! {
        p {
            (grouped(scores.changed_decisions)) " of " (grouped(scores.rows)) " decisions change ("
            (shown(100.0 * scores.changed_share, 2)) " %). The score moves by " (shown(scores.mean_change, 4))
            " in the mean and by " (shown(scores.largest_change.into(), 4)) " at most."
        }
        (drawing("plot-decisions", caption, "selection rate, the second model's less the first's", drawn.collect(), &table))
    }
}

fn quality(comparison: &Comparison) -> Markup {
    let caption = "Change of accuracy, log-loss and the like";
    let mut table = Table::new("quality-table", caption, ["measure", "first", "second", "change", "95 %"]);
    for measure in &comparison.measures {
        let [first, second] = measure.values;
        table.row([
            measure.words().into(),
            first.into(),
            second.into(),
            measure.change.change.into(),
            measure.change.interval.into(),
        ]);
    }
    let drawn = comparison.measures.iter().map(|measure| difference(measure.words().to_owned(), &measure.change));
    html! {
        p { "Of log-loss and calibration error less is better, of the others more. AUC has no interval here." }
        (drawing("plot-quality", caption, "the second model's less the first's", drawn.collect(), &table))
    }
}

fn gaps(comparison: &Comparison) -> Markup {
    if comparison.gaps.is_empty() {
        return html! { p { "No column is protected, or each has one group only: there is no gap to compare." } };
    }
    let caption = "Change of the gaps between each group and its reference";
    let headings = ["group", "measure", "first", "second", "change", "95 %", "is now"];
    let mut table = Table::new("gaps-table", caption, headings);
    for gap in &comparison.gaps {
        let [first, second] = gap.values;
        table.row([
            pair(gap).into(),
            gap.heading().into(),
            first.into(),
            second.into(),
            gap.change.change.into(),
            gap.change.interval.into(),
            if !gap.change.is_clear() {
                "not shown to change".into()
            } else if second.abs() < first.abs() {
                "closer to equal".into()
            } else {
                Field::from("further from equal")
            },
        ]);
    }
    let few = comparison.gaps.iter().filter_map(|gap| {
        let few = gap.too_few.as_ref()?;
        Some(format!(
            "{}: {} {} in the {}, too few to judge {}.",
            pair(gap),
            few.found,
            few.of,
            few.side,
            gap.heading()
        ))
    });
    let drawn = comparison.gaps.iter().map(|gap| difference(format!("{}, {}", gap.heading(), pair(gap)), &gap.change));
    html! {
        p {
            "SPD, AOD and EOpp have a sign: below zero the group is worse off than its reference, and a change above zero is closer to equal only where the gap "
            "was below zero. EOdds is the larger of the gaps of the two error rates and never below zero. A change has no interval where a group has too few "
            "records to be judged, nor of EOdds where the two models differ in which rate decides, or in its side."
        }
        @for few in few { p.note { (few) } }
        @for attribute in comparison.attributes.iter().filter(|attribute| attribute.without_group > 0) {
            p.note { (grouped(attribute.without_group)) " rows are in no group of " (attribute.attribute) ", and in no comparison by it." }
        }
        (drawing("plot-gaps", caption, "gap, the second model's less the first's", drawn.collect(), &table))
    }
}

fn explanations(comparison: &Comparison) -> Markup {
    if comparison.features.is_empty() {
        return html! { p { "No explanations are compared: a model has integer weights, or no rows were to be explained." } };
    }
    let caption = "How far explanations change, by feature";
    let headings = ["feature", "mean change", "mean size in the first", "in the second"];
    let mut table = Table::new("features-table", caption, headings);
    for feature in &comparison.features {
        let of = |model: usize| match (feature.has.get(model), feature.mean_values.get(model)) {
            (Some(true), Some(value)) => Field::from(*value),
            _ => Field::from("no feature"),
        };
        table.row([feature.feature.clone().into(), feature.mean_change.into(), of(0), of(1)]);
    }
    let drawn = comparison.features.iter().map(|feature| Difference {
        name: feature.feature.clone(),
        value: feature.mean_change,
        interval: None,
    });
    html! {
        p {
            "Mean distance between what a feature adds to the score by the one and by the other model (method " code { "path" } "), over "
            (grouped(comparison.explained_rows)) " rows drawn from all."
        }
        (drawing("plot-features", caption, "mean change of what the feature adds to the score", drawn.collect(), &table))
    }
}

fn drawing(id: &str, caption: &str, axis: &str, mut rows: Vec<Difference>, table: &Table) -> Markup {
    let left_out = rows.len().saturating_sub(MOST_DRAWN);
    rows.truncate(MOST_DRAWN);
    let words = match left_out {
        0 => String::new(),
        1 => "One more row stands in the table.".to_owned(),
        more => format!("{more} more rows stand in the table."),
    };
    let plot = Intervals { title: caption.to_owned(), line: axis.to_owned(), rows };
    figure(id, caption, &intervals(&plot), &words, &table.behind())
}

fn difference(name: String, change: &Change) -> Difference {
    Difference { name, value: change.change, interval: change.interval }
}

fn pair(gap: &GapChange) -> String {
    format!("{}: {} - {}", gap.attribute, gap.group, gap.reference)
}
