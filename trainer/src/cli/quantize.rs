//! `feamoe export --quantize`: integer weights, and a check of the loss.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use feamoe::judge::loss::{Loss, loss_on_background, loss_on_data};
use feamoe::model;
use feamoe::model::{AlignedBytes, HostIntegerModel, Loaded};
use feamoe::rows::Input;
use feamoe::schema::Schema;
use schemars::JsonSchema;
use serde::Serialize;

use super::print::{self, TextTable, share, signed};

/// Labelled rows that a copy of a model is checked on.
#[derive(Args, Debug)]
pub struct RowsOptions {
    /// Labelled rows, files as for `evaluate`: --threshold auto:... chooses the threshold on them,
    /// --quantize measures its loss on them (by default on the model's background records), and
    /// --experts measures the log-loss on them
    #[arg(long, value_name = "FILE", requires = "schema")]
    pub data: Vec<Input>,
    /// Names the target and the protected columns of --data; --quantize and --experts then also
    /// compare fairness gaps
    #[arg(long, value_name = "FILE", requires = "data")]
    pub schema: Option<PathBuf>,
}

/// The options of integer weights.
#[derive(Args, Debug)]
#[command(next_help_heading = "Integer weights")]
pub struct QuantizeOptions {
    /// Write integer weights, for cores without a floating-point unit; if the loss exceeds a
    /// tolerance, nothing is written and the exit code is 1
    ///
    /// i16 suits any model and halves its bytes; i8 takes a quarter of the bytes and loses about
    /// 125 times as much (UCI Adult: p changes by at most 0.032, with i16 by 0.00025). The loss is
    /// measured on the rows of --data, or on the model's background records. A model with integer
    /// weights can be scored, and explained with --method frozen.
    #[arg(long, value_enum, value_name = "WIDTH", conflicts_with_all = ["background", "delta"])]
    quantize: Option<Width>,
    /// Largest tolerated difference in p, 0 to 1 [default: 0.005 for i16, 0.05 for i8]
    #[arg(long, value_name = "P", requires = "quantize", allow_negative_numbers = true, value_parser = unit)]
    max_difference: Option<f32>,
    /// Largest tolerated share of changed decisions, 0 to 1 [default: 0.002 for i16, 0.02 for i8]
    #[arg(long, value_name = "SHARE", requires = "quantize", allow_negative_numbers = true, value_parser = unit)]
    max_changed_decisions: Option<f32>,
    /// Largest tolerated change of a fairness gap (SPD, AOD) between groups, 0 to 2 [default: 0.005
    /// for i16, 0.02 for i8]
    #[arg(long, value_name = "GAP", requires = "data", allow_negative_numbers = true, value_parser = gap)]
    max_gap_change: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Width {
    /// 16 bits per weight
    I16,
    /// 8 bits per weight
    I8,
}

impl Width {
    /// Returns the default tolerances: difference in p, share of changed decisions, change of a
    /// gap.
    ///
    /// On Adult, p changes by at most 0.00025 with 16 bits and by 0.032 with 8 bits: a twentieth
    /// and two thirds of the tolerance. A model that is refused at 16 bits is unusual; at 8 bits it
    /// may be an ordinary one.
    const fn tolerances(self) -> [f32; 3] {
        match self {
            Self::I16 => [0.005, 0.002, 0.005],
            Self::I8 => [0.05, 0.02, 0.02],
        }
    }
}

/// The changes from integer weights, and the tolerances.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// `i16` or `i8`.
    weights: &'static str,
    #[serde(flatten)]
    loss: Loss,
    /// Largest tolerated difference in p.
    max_difference: f32,
    /// Largest tolerated share of changed decisions.
    max_changed_decisions: f32,
    /// Largest tolerated change of a fairness gap.
    max_gap_change: f32,
    /// Whether all three changes are within their tolerances.
    tolerated: bool,
}

/// A copy with integer weights.
pub struct Quantized {
    pub bytes: AlignedBytes,
    pub report: Report,
}

impl QuantizeOptions {
    /// Returns whether integer weights are asked for.
    pub fn is_asked(&self) -> bool {
        self.quantize.is_some()
    }

    /// Returns `copy` with integer weights, compared with the model it came from; `None` if integer
    /// weights were not asked for. The loss is measured on the rows, if there are any.
    pub fn quantize(
        &self,
        model: &Loaded<'_>,
        copy: &AlignedBytes,
        rows: &RowsOptions,
    ) -> anyhow::Result<Option<Quantized>> {
        let Some(width) = self.quantize else { return Ok(None) };
        let Loaded::Float(model) = model else {
            bail!(
                "the model has integer weights already; leave out --quantize, or name the model it was exported from"
            );
        };
        let schema = rows.schema.as_deref().map(Schema::open).transpose()?;
        let bytes = model::quantize(
            copy,
            match width {
                Width::I16 => model::Width::I16,
                Width::I8 => model::Width::I8,
            },
        )?;
        let integer = HostIntegerModel::load(bytes.as_slice()).context("cannot read back the integer copy")?;
        let loss = match &schema {
            Some(schema) => loss_on_data(model, &integer, &rows.data, schema)?,
            None => loss_on_background(model, &integer),
        };
        ensure!(
            loss.rows > 0,
            "the model holds no background records to measure the loss of integer weights on; name labelled rows with --data and --schema"
        );
        let [difference, decisions, gap] = width.tolerances();
        let max_difference = self.max_difference.unwrap_or(difference);
        let max_changed_decisions = self.max_changed_decisions.unwrap_or(decisions);
        let max_gap_change = self.max_gap_change.unwrap_or(gap);
        let tolerated = loss.largest_difference <= max_difference
            && loss.changed_share <= f64::from(max_changed_decisions)
            && loss.largest_gap_change().is_none_or(|change| change <= max_gap_change);
        let weights = if width == Width::I16 { "i16" } else { "i8" };
        let report = Report { weights, loss, max_difference, max_changed_decisions, max_gap_change, tolerated };
        Ok(Some(Quantized { bytes, report }))
    }
}

impl Report {
    /// Returns whether the loss is within the tolerances. What exceeds them is reported on standard
    /// error.
    pub fn check(&self) -> bool {
        let Self { loss, weights, .. } = self;
        let check = |what: &str, found: f64, allowed: f32, option: &str| {
            if found > f64::from(allowed) {
                print::message(&format!(
                    "not met: with {weights} weights {what} {found:.6}, tolerated {allowed} ({option})"
                ));
            }
        };
        check(
            "the largest difference in p is",
            loss.largest_difference.into(),
            self.max_difference,
            "--max-difference",
        );
        let option = "--max-changed-decisions";
        check("the share of changed decisions is", loss.changed_share, self.max_changed_decisions, option);
        let change = loss.largest_gap_change().unwrap_or(0.0);
        check("the largest change of a fairness gap is", change.into(), self.max_gap_change, "--max-gap-change");
        self.tolerated
    }

    /// Returns the lines for people.
    pub fn render(&self) -> String {
        let loss = &self.loss;
        let mut text = format!(
            "{} weights over {} rows: largest difference in p {:.6}, {} decisions changed ({:.4} %)\n",
            self.weights,
            loss.rows,
            loss.largest_difference,
            loss.changed_decisions,
            100.0 * loss.changed_share
        );
        if !loss.gaps.is_empty() {
            let mut table = TextTable::new(&["fairness gap", "measure", "floats", "integers", "change"]);
            for gap in &loss.gaps {
                let name = format!("{}: {}", gap.attribute, gap.group);
                table.row([name, gap.measure.into(), signed(gap.float), signed(gap.integer), share(gap.change())]);
            }
            let _ = write!(text, "{}", table.render());
        }
        text
    }
}

/// Parses a number from 0 to 1.
pub(super) fn unit(text: &str) -> Result<f32, String> {
    within(text, 1.0)
}

fn gap(text: &str) -> Result<f32, String> {
    within(text, 2.0)
}

/// Parses a number from 0 to `most`.
fn within(text: &str, most: f32) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from 0 to {most}"))
}
