//! `feamoe evaluate`: a model judged on labelled rows, through the engine.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::cli::progress::RowsProgress;
use clap::Args;
use feamoe::judge::evaluation::{Evaluation, RecourseBurden, evaluate};
use feamoe::rows::{Stream, Use};
use feamoe::schema::Schema;

use super::print::{self, TextTable, share, signed};
use super::require::RequireOption;
use super::{Format, FormatOption, Loaded, Outcome, Source, ThreadsOption, load_any, read_blob};

/// The options of `feamoe evaluate`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Names the target and the protected columns of the data
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    #[command(flatten)]
    require: RequireOption,
    /// Leave out the recourse burden, the distance of declined records to the decision boundary:
    /// looking for it takes most of the time
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
    let schema = Schema::open(&options.schema)?;
    let blob = read_blob(&options.source.model)?;
    let model = load_any(&options.source.model, &blob)?;
    let recourse_burden = if options.no_recourse { RecourseBurden::LeftOut } else { RecourseBurden::Measured };
    if matches!(model, Loaded::Integer(_)) && !options.no_recourse {
        print::message("without recourse burdens: a model of integer weights looks for no recourse");
    }
    let mut stream = Stream::open(&options.source.data, &schema, Use::Learn)?;
    let progress = RowsProgress::new();
    let evaluation = evaluate(model.any(), &mut stream, recourse_burden, &mut |rows| progress.update(rows));
    progress.finish();
    let evaluation = evaluation?;
    match options.format.format {
        Format::Json => print::json(&evaluation)?,
        Format::Text => print::text(&render(&evaluation))?,
    }
    let why = |_| match evaluation.fairness.iter().any(|gaps| !gaps.too_small) {
        _ if evaluation.fairness.is_empty() => "the schema has no [[protected]] groups to compare",
        // What a large group may lack for a measure is a declined record.
        true => "nobody was declined in the groups to compare",
        false => "no group is large enough to judge",
    };
    Ok(options.require.check(|measure| evaluation.worst(measure), why))
}

/// Returns the tables for people.
pub fn render(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    let e = evaluation;
    let _ = writeln!(
        text,
        "rows {}  skipped {}  accuracy {}  balanced accuracy {}  AUC {}  log-loss {}  threshold {}\n",
        e.rows,
        e.skipped,
        share(e.accuracy),
        share(e.balanced_accuracy),
        share(e.auc),
        share(e.log_loss),
        e.threshold
    );
    let mut gaps = TextTable::new(&[
        "gap to the reference",
        "rows",
        "SPD",
        "95 %",
        "AOD",
        "95 %",
        "EOdds",
        "EOpp",
        "burden",
        "recourse",
        "impact",
    ]);
    let interval = |ends: Option<[f32; 2]>| ends.map_or("-".into(), |[low, high]| format!("{low:+.3} {high:+.3}"));
    for g in &e.fairness {
        gaps.row([
            format!(
                "{}: {} - {}{}",
                g.attribute,
                g.group,
                g.reference,
                if g.too_small { " (too small to judge)" } else { "" }
            ),
            g.rows.to_string(),
            signed(g.spd),
            interval(g.spd_interval),
            signed(g.aod),
            interval(g.aod_interval),
            share(g.eodds),
            signed(g.eopp),
            signed(g.probability_burden),
            signed(g.recourse_burden),
            share(g.disparate_impact),
        ]);
    }
    let mut groups = TextTable::new(&[
        "group",
        "rows",
        "positive rate",
        "TPR",
        "FPR",
        "precision",
        "accuracy",
        "calibration error",
        "recourse",
        "without",
    ]);
    for g in &e.groups {
        groups.row([
            format!("{}: {}", g.attribute, g.group),
            g.rows.to_string(),
            share(g.positive_rate),
            share(g.tpr),
            share(g.fpr),
            share(g.precision),
            share(g.accuracy),
            share(g.calibration_error),
            share(g.recourse_burden),
            g.without_recourse.to_string(),
        ]);
    }
    if !e.groups.is_empty() {
        text.push_str(&gaps.render());
        text.push('\n');
        text.push_str(&groups.render());
        text.push_str("\nrecourse: mean distance of declined rows to the decision boundary, in standard deviations; without: rows for which no recourse was found\n");
        let _ = writeln!(
            text,
            "\nindividual unfairness {}: decisions that change when a protected column alone is changed",
            share(e.individual_unfairness)
        );
        for a in &e.attributes {
            let why = if a.is_feature { "" } else { ": not a feature, so no decision depends on it directly" };
            let _ = writeln!(text, "  {} {} of {} rows{why}", a.attribute, share(a.individual_unfairness), a.rows);
        }
    }
    text
}
