//! The report of a model on labelled rows, for those who must judge it: one page that opens
//! anywhere, without a network ([`Report::page`]), and a model card ([`Report::model_card`]).
//!
//! Everything is computed from the model, the rows and, if there is one, the run behind the model.
//! The report states as unknown what these do not contain. The measures are those of
//! [`crate::judge::evaluation`], gathered in the same pass over the rows.
//!
//! The same model, rows and options give the same bytes, whatever the number of threads. Memory
//! does not grow with the rows: what is kept of them are the samples that the page states.

mod chosen;
mod comparison;
mod curves;
mod drawing;
mod model_card;
mod page;
mod pass;
mod sample;
mod sections;
mod stretches;
mod table;
mod what_if;

use feamoe_engine::fairness::Measure;

pub use chosen::{Chosen, MOST_ASKED, RecourseOf};
pub use comparison::{Compared, comparison_page};
pub use curves::{Curves, Point};
pub use stretches::{MOST_STRETCHES, Stretch};

use crate::error::Error;
use crate::explanation::{Explanation, Shapes, Summary};
use crate::judge::evaluation::Evaluation;
use crate::judge::verdict::Requirement;
use crate::model::card::{Card, FeatureCells};
use crate::model::{AlignedBytes, AnyModel};
use crate::rows::{Attribute, Stream};
use crate::training::Trainer;
use crate::training::events::EventReport;
use crate::training::targets::TargetReport;
use crate::tuning::Tuned;

/// What a report is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model.
    pub model: AnyModel<'a>,
    /// The bytes of its file.
    pub blob: &'a AlignedBytes,
    /// How it was made, if the model states it.
    pub card: Option<&'a Card>,
    /// The run behind it, if there is a checkpoint: what happened over the stream.
    pub run: Option<&'a Trainer>,
}

/// How a report is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Numbers of records that are explained beside those that every report explains.
    pub rows: Vec<u64>,
    /// A search for options: what fairness costs.
    pub front: Option<Tuned>,
    /// The name of the model.
    pub name: String,
    /// The command that made the model, as far as it is known.
    pub made_by: Option<String>,
    /// The command that made the report.
    pub reported_by: Option<String>,
}

/// The content of the page and of the card.
#[derive(Clone, Debug)]
pub struct Report {
    options: Options,
    facts: Facts,
    card: Option<Card>,
    /// Limits that the model was trained to hold.
    targets: Vec<(Measure, f32)>,
    /// The verdicts on them, on these rows.
    verdicts: Vec<Requirement>,
    evaluation: Evaluation,
    /// Protected attributes of the rows.
    attributes: Vec<Attribute>,
    curves: Curves,
    /// The rows in stretches.
    stretches: Vec<Stretch>,
    run: Option<Run>,
    importance: Summary,
    /// Records of the sample, by their ways to their scores; `None` if they start apart.
    ways: Option<Explanation>,
    shapes: Option<Shapes>,
    chosen: Vec<Chosen>,
    chosen_values: Explanation,
    recourse: Option<Vec<RecourseOf>>,
    /// What may be changed, by feature: whether and how.
    rules: Vec<String>,
    what_if: what_if::WhatIf,
}

/// What the model's file says.
#[derive(Clone, Debug)]
struct Facts {
    crc32: String,
    sha256: String,
    bytes: usize,
    experts: usize,
    threshold: f32,
    calibrated: bool,
    integer: bool,
    background: usize,
    training_rows: u64,
    training_sha256: String,
    seed: u64,
    version: String,
    features: Vec<FeatureFacts>,
    /// What the rows of the report were read from, and its hash.
    files: String,
    data_sha256: String,
    notes: Vec<String>,
}

/// A feature of the model.
#[derive(Clone, Debug)]
struct FeatureFacts {
    name: String,
    /// In words: the range of a number, the levels of a category.
    holds: String,
    /// What its cells were in training, if that is known.
    training: Option<FeatureCells>,
}

/// What a run says of its stream.
#[derive(Clone, Debug)]
struct Run {
    rows: u64,
    epochs: u32,
    stretches: Vec<Stretch>,
    attributes: Vec<Attribute>,
    events: Vec<EventReport>,
    events_dropped: u64,
    targets: Vec<TargetReport>,
}

/// Evaluates a model on the labelled rows of a stream, in one pass, and collects the content of the
/// report. Passes the number of rows to `on_progress` now and then.
///
/// # Errors
/// The same as [`crate::judge::evaluation::evaluate`]; [`Error::Input`] for a record that was asked
/// for and is not there; those of explanations.
pub fn report(
    subject: &Subject<'_>,
    stream: &mut Stream,
    options: Options,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Report, Error> {
    pass::report(subject, stream, options, on_progress)
}

impl Report {
    /// Returns the page: one HTML document, which asks for nothing. Its only script is that of the
    /// form that scores what is typed into it, named by its hash in the content policy.
    #[must_use]
    pub fn page(&self) -> String {
        page::page(self)
    }

    /// Returns the model card: Markdown under YAML, as the hub of Hugging Face reads it.
    #[must_use]
    pub fn model_card(&self) -> String {
        model_card::model_card(self)
    }

    /// Returns the measures, as `feamoe evaluate` reports them.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// Returns the limit of a measure that the model was trained to hold, if any.
    fn target(&self, measure: Measure) -> Option<f32> {
        self.targets.iter().find(|(known, _)| *known == measure).map(|(_, limit)| *limit)
    }

    /// Returns the favourable outcome, or what stands for it.
    fn outcome(&self) -> &str {
        match self.evaluation.favourable_outcome.as_str() {
            "" => "the favourable outcome",
            outcome => outcome,
        }
    }
}
