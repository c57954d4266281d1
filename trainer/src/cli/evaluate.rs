//! `feamoe evaluate`: judges a model on labelled rows, scored by the engine.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::cli::gaps::MEASURES;
use crate::cli::progress::RowsProgress;
use anyhow::bail;
use clap::Args;
use feamoe::judge::attribute::{AttributeReport, OtherLabels, UnlistedValue};
use feamoe::judge::evaluation::{Evaluation, RecourseBurden, evaluate};
use feamoe::judge::gaps::{GroupGaps, TooFew};
use feamoe::judge::proxies::{IS_TARGET, Proxy};
use feamoe::model::Loaded;
use feamoe::rows::Use;
use feamoe::schema::Schema;
use feamoe_engine::fairness::Measure;

use super::print::{self, TextTable, share, signed};
use super::require::{RequireOption, named};
use super::{
    CellsOption, Format, FormatOption, Outcome, Source, ThreadsOption, load_any, open_rows, read_blob, read_card_beside,
};

/// The options of `feamoe evaluate`.
#[derive(Args, Debug)]
#[command(after_long_help = MEASURES)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Names the target and the protected columns of the data [default: the schema that the model
    /// was trained with]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    cells: CellsOption,
    #[command(flatten)]
    require: RequireOption,
    /// Leave out the recourse burden (the distance of declined records to the decision boundary),
    /// which takes most of the time
    #[arg(long)]
    no_recourse: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    threads: ThreadsOption,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    options.threads.start()?;
    let blob = read_blob(&options.source.model)?;
    let model = load_any(&options.source.model, &blob)?;
    let card = read_card_beside(options.schema.as_deref(), &options.source.model, &blob)?;
    let mut schema = match (&options.schema, &card) {
        (Some(path), _) => Schema::open(path)?,
        (None, Some(card)) => card.schema.clone(),
        (None, None) => bail!(
            "{}: the model does not state which column is the target; name a schema with --schema",
            options.source.model.display()
        ),
    };
    options.cells.apply(&mut schema.table);
    let recourse_burden = if options.no_recourse { RecourseBurden::LeftOut } else { RecourseBurden::Measured };
    if matches!(model, Loaded::Integer(_)) && !options.no_recourse {
        print::note("without recourse burdens: recourse is not available for a model with integer weights");
    }
    let mut stream = open_rows(&options.source.data, &schema, options.schema.is_some(), Use::Learn)?;
    let progress = RowsProgress::new();
    let evaluation =
        evaluate(model.any(), card.as_ref(), &mut stream, recourse_burden, &mut |rows| progress.update(rows));
    progress.finish();
    let mut evaluation = evaluation?;
    print::warnings(&stream.notes(), &evaluation.warnings);
    evaluation.requirements = options.require.judge(&evaluation.fairness);
    match options.format.format {
        Format::Json => print::json(&evaluation)?,
        Format::Text => print::text(&render(&evaluation))?,
    }
    let nobody = "the schema has no [[protected]] groups to compare";
    let without_group = evaluation.attributes.iter().map(|a| (a.attribute.as_str(), a.without_group));
    Ok(options.require.check(&evaluation.requirements, nobody, without_group))
}

/// Returns the tables for people.
pub fn render(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    let e = evaluation;
    let _ = writeln!(
        text,
        "rows {}  skipped {}  accuracy {}  balanced accuracy {}  AUC {}  log-loss {}  calibration error {}  selected {}  threshold {}{}\n",
        e.rows,
        e.skipped,
        share(e.accuracy),
        share(e.balanced_accuracy),
        share(e.auc),
        share(e.log_loss),
        share(e.calibration_error),
        share(e.selection_rate),
        e.threshold,
        if e.favourable_outcome.is_empty() { String::new() } else { format!("  favourable {}", e.favourable_outcome) },
    );
    if let Some(decision) = same_decision(e.selection_rate) {
        let _ = writeln!(text, "all decisions are the same: {decision}; gaps of decision rates are meaningless\n");
    }
    text.push_str(&other_labels(&e.other_labels));
    if e.groups.is_empty() {
        return text;
    }
    let has_distances = e.groups.iter().any(|g| !g.recourse_burden.is_nan() || g.without_recourse > 0);
    text.push_str(&gaps(&e.fairness, has_distances));
    text.push('\n');
    text.push_str(&groups(e));
    text.push_str("\nrecourse: mean distance of declined rows to the decision boundary, in standard deviations; without: number of declined rows for which no recourse was found\n");
    text.push_str(&without_group(&e.attributes));
    text.push_str(&proxies(&e.proxies));
    let _ = writeln!(
        text,
        "\nindividual unfairness {}: share of decisions that change when only a protected column is changed",
        share(e.individual_unfairness)
    );
    for a in &e.attributes {
        let Some(individual) = &a.individual else { continue };
        let why = if individual.is_feature { "" } else { ": not a feature, so no decision depends on it directly" };
        let unfair = share(individual.individual_unfairness);
        let _ = writeln!(text, "  {} {unfair} of {} rows{why}", a.attribute, a.rows);
    }
    text
}

/// Returns the decision that all records share, if there is one.
fn same_decision(selection_rate: f32) -> Option<&'static str> {
    match selection_rate {
        0.0 => Some("declined"),
        1.0 => Some("selected"),
        _ => None,
    }
}

/// Returns the gaps of every group: the value of each measure, with its 95 % interval below. If no
/// distances were computed (`has_distances` is false), their absence is not reported.
pub fn gaps(fairness: &[GroupGaps], has_distances: bool) -> String {
    let headings = ["gap to the reference", "rows", "SPD", "AOD", "EOdds", "EOpp", "burden", "recourse", "impact"];
    let mut table = TextTable::new(&headings);
    let interval = |ends: Option<[f32; 2]>| ends.map_or(String::new(), |[low, high]| format!("{low:.3} {high:.3}"));
    for g in fairness {
        let pair = named(&g.attribute, &format!("{} - {}", g.group, g.reference));
        let value = |measure: Measure| match measure {
            Measure::Eodds | Measure::Impact => share(g.measure(measure)),
            _ => signed(g.measure(measure)),
        };
        table.row([pair, g.rows.to_string()].into_iter().chain(Measure::ALL.map(value)));
        let ends = Measure::ALL.map(|measure| interval(g.interval(measure)));
        table.row(["  95 % interval".to_owned(), String::new()].into_iter().chain(ends));
        if fairness.len() > 1 {
            let ends = Measure::ALL.map(|measure| interval(g.corrected(measure)));
            table.row(["  of all groups at once".to_owned(), String::new()].into_iter().chain(ends));
        }
    }
    let is_known = |few: &&TooFew| has_distances || few.measure != Measure::RecourseBurden.name();
    let few = fairness
        .iter()
        .flat_map(|g| g.too_few.iter().filter(is_known).map(|few| (g.attribute.as_str(), g.group.as_str(), few)));
    table.render() + &too_few(few)
}

/// Returns a line for each reason why measures cannot be judged. Each item of `all` consists of an
/// attribute, a group and the kind of records that are too few.
pub fn too_few<'a>(all: impl Iterator<Item = (&'a str, &'a str, &'a TooFew)>) -> String {
    let mut reasons: Vec<(_, Vec<&str>)> = Vec::new();
    for (attribute, group, few) in all {
        let reason = (attribute, group, few.of, few.side, few.found, few.missing);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, measures)) => measures.push(few.measure),
            None => reasons.push((reason, vec![few.measure])),
        }
    }
    let line = |((attribute, group, of, side, found, missing), measures): (_, Vec<&str>)| {
        let (group, measures) = (named(attribute, group), measures.join(", "));
        format!("{group}: {found} {of} in the {side}, too few to judge {measures}: {missing} more are needed\n")
    };
    reasons.into_iter().map(line).collect()
}

fn groups(e: &Evaluation) -> String {
    let mut table = TextTable::new(&[
        "group",
        "rows",
        "selected",
        "base rate",
        "TPR",
        "FPR",
        "precision",
        "accuracy",
        "calibration error",
        "recourse",
        "without",
    ]);
    for g in &e.groups {
        table.row([
            named(&g.attribute, &g.group),
            g.rows.to_string(),
            share(g.selection_rate),
            share(g.base_rate),
            share(g.tpr),
            share(g.fpr),
            share(g.precision),
            share(g.accuracy),
            share(g.calibration_error),
            share(g.recourse_burden),
            g.without_recourse.to_string(),
        ]);
    }
    table.render()
}

/// Returns a line for each feature that predicts the outcome, and one on those that predict groups.
pub fn proxies(all: &[Proxy]) -> String {
    let mut text = String::new();
    for p in all.iter().filter(|p| p.attribute.is_none()) {
        let what = if p.auc >= IS_TARGET {
            "equals the outcome or its complement"
        } else {
            "predicts the outcome almost alone"
        };
        let _ = writeln!(
            text,
            "\n{} {what} (AUC {:.3} on {} rows); is it known at scoring time?",
            p.feature, p.auc, p.rows
        );
    }
    let of_groups: Vec<String> = all
        .iter()
        .filter_map(|p| {
            let of = named(p.attribute.as_ref()?, p.group.as_ref()?);
            Some(format!("{} ({of}, AUC {:.2})", p.feature, p.auc))
        })
        .collect();
    if !of_groups.is_empty() {
        let _ = writeln!(text, "\nfeatures that predict a group: {}", of_groups.join(", "));
    }
    text
}

/// Returns a line about the rows with neither outcome, or an empty string if there are none.
pub fn other_labels(labels: &OtherLabels) -> String {
    match labels.rows {
        0 => String::new(),
        rows => {
            format!(
                "{rows} rows were left out because their label is neither outcome{}\n\n",
                values(&labels.values, rows)
            )
        }
    }
}

/// Returns the first values of `rows` rows, and how many rows have other values.
pub fn values(values: &[UnlistedValue], rows: u64) -> String {
    let one = |v: &UnlistedValue| {
        let name = v.value.as_ref().map_or("missing".to_owned(), |value| format!("{value:?}"));
        let like = v.resembles.as_ref().map_or(String::new(), |like| format!(", almost {like:?}"));
        format!("{name} ({} rows{like})", v.rows)
    };
    let mut all: Vec<String> = values.iter().map(one).collect();
    let others = rows - values.iter().map(|value| value.rows).sum::<u64>();
    if others > 0 && !all.is_empty() {
        all.push(format!("others ({others} rows)"));
    }
    if all.is_empty() { String::new() } else { format!(": {}", all.join(", ")) }
}

/// Returns a line for each attribute that has rows in no group, or groups without rows.
pub fn without_group(attributes: &[AttributeReport]) -> String {
    let mut text = String::new();
    for a in attributes {
        if a.without_group > 0 {
            let values = values(&a.values_without_group, a.without_group);
            let rows = format!("{} rows are in no group{values}", a.without_group);
            let _ = writeln!(text, "\n{}", named(&a.attribute, &rows));
        }
        if !a.absent_groups.is_empty() {
            let absent = format!("no row is in the group {}", a.absent_groups.join(", "));
            let _ = writeln!(text, "\n{}", named(&a.attribute, &absent));
        }
    }
    text
}
