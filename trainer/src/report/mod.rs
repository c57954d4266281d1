//! The report of a model on labelled rows, for people who must judge the model: one page that opens
//! without a network ([`Report::page`]), and a model card ([`Report::model_card`]).
//!
//! Everything is computed from the model, the rows and, if there is one, the run behind the model.
//! The report states as unknown what these do not contain. The measures are those of
//! [`crate::judge::evaluation`], computed in the same pass over the rows.
//!
//! The same model, rows and options give the same bytes, whatever the number of threads. Memory
//! does not grow with the number of rows: only samples are kept, and the page states their sizes.

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

/// The subject of a report.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model.
    pub model: AnyModel<'a>,
    /// The bytes of its file.
    pub blob: &'a AlignedBytes,
    /// The model's card with its origin, if the model has one.
    pub card: Option<&'a Card>,
    /// The run behind the model, if there is a checkpoint. It shows the training stream.
    pub run: Option<&'a Trainer>,
}

/// Options of a report.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Numbers of records to explain beside those that every report explains.
    pub rows: Vec<u64>,
    /// A search for options, which shows the trade-off between fairness and accuracy.
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
    /// Limits that the model was trained to meet.
    targets: Vec<(Measure, f32)>,
    /// The verdicts on these limits, on the rows of the report.
    verdicts: Vec<Requirement>,
    evaluation: Evaluation,
    /// Protected attributes of the rows.
    attributes: Vec<Attribute>,
    curves: Curves,
    /// The rows in stretches.
    stretches: Vec<Stretch>,
    run: Option<Run>,
    importance: Summary,
    /// Explanations of some records of the sample, for drawing their paths; `None` if their bases
    /// differ.
    ways: Option<Explanation>,
    shapes: Option<Shapes>,
    chosen: Vec<Chosen>,
    chosen_values: Explanation,
    recourse: Option<Vec<RecourseOf>>,
    /// Restrictions of recourse in words, by feature.
    rules: Vec<String>,
    what_if: what_if::WhatIf,
}

/// Facts from the model's file.
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
    /// The source of the report's rows, and its hash.
    files: String,
    data_sha256: String,
    notes: Vec<String>,
}

/// A feature of the model.
#[derive(Clone, Debug)]
struct FeatureFacts {
    name: String,
    /// In words: the range of a number, or the levels of a category.
    holds: String,
    /// Counts of its cells in training, if they are known.
    training: Option<FeatureCells>,
}

/// The data of a run about its stream.
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

/// Evaluates a model on the labelled rows of a stream in one pass and collects the content of the
/// report. Calls `on_progress` with the number of rows from time to time.
///
/// # Errors
/// The same as [`crate::judge::evaluation::evaluate`]; [`Error::Input`] for a requested record that
/// does not exist; those of explanations.
pub fn report(
    subject: &Subject<'_>,
    stream: &mut Stream,
    options: Options,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Report, Error> {
    pass::report(subject, stream, options, on_progress)
}

impl Report {
    /// Returns the page: one HTML document that loads nothing from elsewhere. Its only script
    /// belongs to the form that scores typed values. The content policy allows this script by its
    /// hash.
    #[must_use]
    pub fn page(&self) -> String {
        page::page(self)
    }

    /// Returns the model card: YAML front matter and Markdown, in the format of the Hugging Face
    /// hub.
    #[must_use]
    pub fn model_card(&self) -> String {
        model_card::model_card(self)
    }

    /// Returns the measures that `feamoe evaluate` reports.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// Returns the limit of a measure that the model was trained to meet, if any.
    fn target(&self, measure: Measure) -> Option<f32> {
        self.targets.iter().find(|(known, _)| *known == measure).map(|(_, limit)| *limit)
    }

    /// Returns the name of the favourable outcome, or a general name if it has none.
    fn outcome(&self) -> &str {
        match self.evaluation.favourable_outcome.as_str() {
            "" => "the favourable outcome",
            outcome => outcome,
        }
    }
}
