//! `feamoe export --experts`: merges experts and checks how much that changes.

use std::fmt::Write as _;

use anyhow::{bail, ensure};
use clap::Args;
use feamoe::explanation::{BackgroundRecords, Choice};
use feamoe::judge::merging::{LabelledChange, ScoreChange, labelled_changes, score_changes};
use feamoe::model::{AlignedBytes, HostModel, Loaded, fewer_experts};
use feamoe::rows::Input;
use feamoe::schema::Schema;
use feamoe_engine::Value;
use feamoe_engine::limits::MAX_EXPERTS;
use schemars::JsonSchema;
use serde::Serialize;

use super::print::{self, TextTable, share, signed};
use super::quantize::RowsOptions;
use super::whole;

/// The number of rows drawn from --data to choose the pairs if the model has no background: as many
/// as `train` keeps.
const DRAWN: usize = 1_000;
/// The seed of the draw.
const SEED: u64 = 1;
/// The default tolerance. For comparison: another training seed changes the scores of Adult's test
/// file by 0.0075 on average, and those of COMPAS by 0.0017 (12 experts).
const TOLERANCE: f32 = 0.005;

/// The options of merging.
#[derive(Args, Debug)]
#[command(next_help_heading = "Fewer experts")]
pub struct ExpertsOptions {
    /// Merge the closest experts until K are left, from 1 to one fewer than the model has; if the
    /// scores change more than --tolerance allows, nothing is written and the exit code is 1
    ///
    /// The change is measured on the model's background records, or if it has none, on 1,000 rows
    /// drawn from --data. With --data, the log-loss, the accuracy and the fairness gaps are
    /// compared too. The copy keeps the card and the background records, unless an option asks for
    /// a copy for a device: --background, --strip-names, --quantize, --constants or --factory. With
    /// --threshold auto:..., the threshold is chosen by the scores of the merged model.
    #[arg(long, value_name = "K", conflicts_with = "delta", allow_negative_numbers = true, value_parser = whole::<usize>(1..=MAX_EXPERTS as u64 - 1))]
    experts: Option<usize>,
    /// Largest tolerated mean absolute change of the score and, with --data, largest tolerated rise
    /// of the log-loss, 0 to 1 [default: 0.005]
    #[arg(long, value_name = "T", requires = "experts", allow_negative_numbers = true, value_parser = super::quantize::unit)]
    tolerance: Option<f32>,
}

/// The changes from merging experts, and the tolerance.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// Number of experts of the original model.
    experts_before: usize,
    /// Number of experts of the merged model.
    experts: usize,
    /// Size of the original model with all its sections, in bytes.
    bytes_before: usize,
    /// Size of the merged model with all its sections, in bytes.
    bytes: usize,
    /// The source of the records of `change`: `background` or `data`.
    measured_on: &'static str,
    change: ScoreChange,
    /// Null without --data.
    labelled: Option<LabelledChange>,
    /// Largest tolerated mean change of the score, and largest tolerated increase of the log-loss.
    tolerance: f32,
    /// Whether both are at most `tolerance`.
    tolerated: bool,
    /// The smallest number of experts, not below the requested number, whose change is tolerated;
    /// null if there is none.
    smallest_tolerated: Option<usize>,
}

/// A model with fewer experts.
pub struct Merged {
    pub bytes: AlignedBytes,
    pub report: Report,
}

impl ExpertsOptions {
    /// Returns whether fewer experts are asked for.
    pub fn is_asked(&self) -> bool {
        self.experts.is_some()
    }

    /// Returns the model with fewer experts, compared with the original; `None` if no merging was
    /// asked for.
    pub fn merge(&self, model: &Loaded<'_>, blob: &AlignedBytes, rows: &RowsOptions) -> anyhow::Result<Option<Merged>> {
        let Some(experts) = self.experts else { return Ok(None) };
        let Loaded::Float(model) = model else {
            bail!(
                "experts are merged with float weights, and the model has integer weights; name the model it was exported from, with --experts {experts} and --quantize"
            );
        };
        let found = model.experts();
        ensure!(found > 1, "the model has only one expert; leave out --experts");
        ensure!(experts < found, "the model has {found} experts; --experts takes 1 to {}", found - 1);
        let schema = rows.schema.as_deref().map(Schema::open).transpose()?;
        let (records, measured_on) = records(model, rows, schema.as_ref())?;
        let copies = fewer_experts(blob, experts, &records)?;
        let loaded = copies.iter().map(|copy| HostModel::load(copy.as_slice())).collect::<Result<Vec<_>, _>>()?;
        let changes = score_changes(model, &loaded, &records);
        let labelled = match &schema {
            Some(schema) => Some(labelled_changes(model, &loaded, &rows.data, schema)?),
            None => None,
        };
        let (labelled, rises) = labelled.unzip();
        let tolerance = self.tolerance.unwrap_or(TOLERANCE);
        let is_tolerated = |index: usize| {
            let rise = rises.as_ref().and_then(|rises| rises.get(index)).copied().unwrap_or(0.0);
            changes[index].mean_change.max(rise) <= f64::from(tolerance)
        };
        // Each copy has one expert fewer than the one before; the last has the number asked for.
        let smallest = (0..copies.len()).rev().find(|index| is_tolerated(*index)).map(|index| found - 1 - index);
        let (Some(bytes), Some(change)) = (copies.last().cloned(), changes.last().copied()) else {
            bail!("no expert could be merged");
        };
        let report = Report {
            experts_before: found,
            experts,
            bytes_before: blob.as_slice().len(),
            bytes: bytes.as_slice().len(),
            measured_on,
            change,
            labelled,
            tolerance,
            tolerated: smallest == Some(experts),
            smallest_tolerated: smallest,
        };
        Ok(Some(Merged { bytes, report }))
    }
}

/// Returns the records on which the change is measured, and the name of their source.
fn records(
    model: &HostModel<'_>,
    rows: &RowsOptions,
    schema: Option<&Schema>,
) -> anyhow::Result<(Vec<Vec<Value>>, &'static str)> {
    let background: Vec<Vec<Value>> =
        (0..).map_while(|row| model.background_values(row)).map(Iterator::collect).collect();
    match schema {
        _ if !background.is_empty() => Ok((background, "background")),
        None => bail!(
            "the model holds no background records to measure the change on; name labelled rows with --data and --schema"
        ),
        Some(_) if rows.data.contains(&Input::Stdin) => bail!(
            "the model holds no background records, so --data must be read twice, which is impossible for standard input; name files"
        ),
        Some(schema) => {
            let choice = Choice { only: Vec::new(), most: DRAWN, seed: SEED };
            let drawn = BackgroundRecords::read(model, &rows.data, &schema.table, &choice)?;
            Ok((drawn.values().to_vec(), "data"))
        }
    }
}

impl Report {
    /// Returns whether the change is within the tolerance. What exceeds it is reported on standard
    /// error.
    pub fn check(&self) -> bool {
        if self.tolerated {
            return true;
        }
        let Self { experts_before, experts, tolerance, .. } = self;
        let remedy = match self.smallest_tolerated {
            Some(smallest) => {
                format!("the smallest number of experts that passes is {smallest} (--experts {smallest})")
            }
            None => format!("no number of experts below {experts_before} passes"),
        };
        let check = |what: &str, found: f64| {
            if found > f64::from(*tolerance) {
                print::message(&format!(
                    "not met: with {experts} of {experts_before} experts {what} {found:.6}, tolerated {tolerance} (--tolerance); {remedy}"
                ));
            }
        };
        check("the mean change of the score is", self.change.mean_change);
        if let Some(labelled) = &self.labelled {
            check("the rise of the log-loss is", labelled.log_loss - labelled.log_loss_before);
        }
        false
    }

    /// Returns the lines for people.
    pub fn render(&self) -> String {
        let Self { change, .. } = self;
        let mut text = format!(
            "{} experts merged to {}, {} bytes to {}\nover {} {}: the score changes by {:.6} on average, {:.6} at most; {} decisions change ({:.4} %)\n",
            self.experts_before,
            self.experts,
            self.bytes_before,
            self.bytes,
            change.rows,
            if self.measured_on == "data" { "rows drawn from the data" } else { "background records" },
            change.mean_change,
            change.largest_change,
            change.changed_decisions,
            100.0 * change.changed_share
        );
        if let Some(labelled) = &self.labelled {
            let mut table =
                TextTable::new(&[&format!("over {} labelled rows", labelled.rows), "before", "after", "change"]);
            let mut row = |name: String, [before, after]: [f64; 2], shown: fn(f64) -> String| {
                table.row([name, shown(before), shown(after), signed(after - before)]);
            };
            row("log-loss".to_owned(), [labelled.log_loss_before, labelled.log_loss], share);
            row("accuracy".to_owned(), [labelled.accuracy_before, labelled.accuracy].map(f64::from), share);
            for gap in &labelled.gaps {
                let name = format!("{}: {}, {}", gap.attribute, gap.group, gap.measure);
                row(name, [gap.before, gap.after].map(f64::from), signed);
            }
            let _ = write!(text, "{}", table.render());
        }
        text
    }
}
