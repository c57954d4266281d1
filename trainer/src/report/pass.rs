//! The pass over the rows, and everything that is computed from it.

use std::fmt::Write as _;

use feamoe_engine::attribution::Sampling;
use feamoe_engine::fairness::Measure;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{FeatureIndex, Space, Value};

use super::chosen::{Choosing, Drawing, Kept, MOST_ASKED, in_words};
use super::curves::Curves;
use super::sample::Sample;
use super::stretches::{Stretches, of_windows};
use super::what_if::WhatIf;
use super::{Facts, FeatureFacts, Options, Report, Run, Subject};
use crate::error::Error;
use crate::explanation::{
    Against, BackgroundMemory, BackgroundRecords, Batch, Cell, Choice, Explained, Explainer, Explanation, Procedure,
    Shaper, Shapes, Sums, reasons,
};
use crate::judge::evaluation::{Evaluation, RecourseBurden, evaluate_watched};
use crate::judge::recourse::{MARGIN, rules};
use crate::judge::verdict::Requirement;
use crate::model::{AnyModel, AnyRecord};
use crate::rows::{Attribute, Digest, Stream};
use crate::schema::Features;
use crate::training::Trainer;
use crate::training::events::events;
use crate::training::targets;

/// Number of background records for the chosen records, the same as in `feamoe explain`.
const BACKGROUND: usize = 1000;
/// Number of background records for the sample; smaller, because the sample has many records.
pub(super) const SMALL_BACKGROUND: usize = 100;
/// Maximum number of coalitions of a record for exact values, the same as in `feamoe explain`.
const BUDGET: u64 = 1 << 24;
/// The same limit for a record of the sample.
const SMALL_BUDGET: u64 = 1 << 20;
/// Standard error at which sampling of a record of the sample stops.
const SMALL_TOLERANCE: f32 = 0.005;
/// Number of rows in the sample for importance and density.
pub(super) const SAMPLE: usize = 1000;
/// Number of records of the sample whose paths are drawn.
const WAYS: usize = 60;
/// Number of features whose shapes are drawn: those that move scores most.
pub(super) const SHAPES: usize = 6;
/// Number of reasons for a declined record.
const REASONS: usize = 4;

/// Implements [`super::report`].
pub(super) fn report(
    subject: &Subject<'_>,
    stream: &mut Stream,
    mut options: Options,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Report, Error> {
    let Subject { model, card, .. } = *subject;
    let run = subject.run.map(Trainer::fitted).transpose()?;
    options.rows.sort_unstable();
    options.rows.dedup();
    if options.rows.len() > MOST_ASKED {
        let message = format!("{} records are asked for, expected at most {MOST_ASKED}", options.rows.len());
        return Err(Error::Input(message));
    }
    let schema = card.map(|card| &card.schema);
    let (large, small) = (background(model, BACKGROUND)?, background(model, SMALL_BACKGROUND)?);
    let (mut large_memory, mut small_memory) = (BackgroundMemory::default(), BackgroundMemory::default());
    let against = |records: &Option<BackgroundRecords>, memory| match (records, model) {
        (Some(records), AnyModel::Float(model)) => records.against(model, memory).map(Some),
        _ => Ok(None),
    };
    let (large_set, small_set) = (against(&large, &mut large_memory)?, against(&small, &mut small_memory)?);
    let procedure = |set, budget, sampling| match set {
        Some(background) => Procedure::Exact {
            against: Against { background, space: Space::Probability, sampling, most_time: None },
            budget,
        },
        None if matches!(model, AnyModel::Float(_)) => Procedure::Path,
        None => Procedure::Frozen,
    };
    let rough = Sampling { tolerance: SMALL_TOLERANCE, ..Sampling::default() };
    let explainer = |procedure| {
        let explainer = Explainer::new(model, procedure, &[])?;
        Ok::<_, Error>(schema.into_iter().fold(explainer, Explainer::informed_by))
    };
    let explainer_of_one = explainer(procedure(large_set.as_ref(), BUDGET, Sampling::default()))?;
    let explainer_of_many = explainer(procedure(small_set.as_ref(), SMALL_BUDGET, rough))?;

    let attributes = stream.attributes().count();
    let mut curves = Curves::new(model.threshold(), attributes);
    let mut stretches = Stretches::new(model.experts());
    let mut choosing = Choosing::new(model.threshold(), &options.rows);
    let mut drawing = Drawing::new(attributes);
    let mut sample: Sample<(u64, Vec<Value>)> = Sample::new(SAMPLE);
    let mut failed = None;
    let burden = RecourseBurden::Measured;
    let evaluation = evaluate_watched(
        model,
        card,
        stream,
        burden,
        &mut |judged| {
            let probability = judged.score.probability;
            let groups = judged.row.groups;
            curves.observe(judged.label, probability, groups);
            stretches.observe(judged.label, probability, model.threshold(), groups, &judged.score.gate);
            let cells = || explainer_of_one.cells(judged.binding, judged.row, judged.record);
            choosing.offer(&judged, cells);
            if probability < model.threshold() {
                drawing.offer(&judged, cells);
            }
            sample.offer(|| {
                let values = judged.binding.values(judged.row);
                (judged.row.position.number, values.map_err(|error| failed = Some(error)).unwrap_or_default())
            });
            failed.take().map_or(Ok(()), Err)
        },
        on_progress,
    )?;
    let attributes: Vec<Attribute> = stream.attributes().cloned().collect();

    let kept = choosing.finish(&stream.files(), stream.counts().read)?;
    let chosen = kept.iter().map(|(why, kept)| kept.chosen(why, &attributes)).collect();
    let chosen_values = explain(&explainer_of_one, kept.iter().map(|(_, kept)| kept))?;
    let (importance, ways) = explain_sample(&explainer_of_many, model, sample.kept())?;
    let shapes = match &large {
        Some(records) => {
            let names: Vec<String> = importance.feature_names.iter().take(SHAPES).cloned().collect();
            Some(shapes(model, records, &names, sample.kept(), explainer_of_one.outcome())?)
        }
        None => None,
    };
    let host_rules = match model {
        AnyModel::Float(model) => {
            rules(model, card, None, &Features::default())?.with_margin(MARGIN).map(|rules| (model, rules))
        }
        AnyModel::Integer { .. } => None,
    };
    let recourse =
        host_rules.as_ref().map(|(model, rules)| (drawing.look(model, rules, &attributes), in_words(model, rules)));
    let what_if = WhatIf::new(subject, host_rules.as_ref().map(|(_, rules)| rules), &kept);
    let (recourse, rules) = recourse.map_or((None, Vec::new()), |(found, rules)| (Some(found), rules));
    let targets = limits(subject);
    Ok(Report {
        facts: facts(subject, stream, &evaluation),
        card: card.cloned(),
        verdicts: targets
            .iter()
            .map(|(measure, limit)| Requirement::of(*measure, *limit, &evaluation.fairness))
            .collect(),
        targets,
        evaluation,
        attributes,
        curves,
        stretches: stretches.finish(),
        run: run.as_deref().map(|run| Run {
            rows: run.rows(),
            epochs: run.passes().epochs,
            stretches: of_windows(run.prequential().windows()),
            attributes: run.attributes().cloned().collect(),
            events: events(run),
            events_dropped: run.learner().events().dropped() + run.changes_dropped(),
            targets: targets::targets(run),
        }),
        importance,
        ways,
        shapes,
        chosen,
        chosen_values,
        recourse,
        rules,
        what_if,
        options,
    })
}

/// Returns the first `most` of the model's background records; `None` if it has none.
fn background(model: AnyModel<'_>, most: usize) -> Result<Option<BackgroundRecords>, Error> {
    let Some(floats) = model.floats().filter(|floats| floats.background_rows() > 0) else { return Ok(None) };
    BackgroundRecords::of_model(floats, &Choice { only: Vec::new(), most, seed: 0 }).map(Some)
}

/// Explains records on all threads.
fn explain<'k, 'm: 'k>(
    explainer: &Explainer<'m>,
    kept: impl Iterator<Item = &'k Kept<'m>>,
) -> Result<Explanation, Error> {
    let mut batch = Batch::new(explainer);
    kept.for_each(|kept| batch.push(kept.row, &kept.record, kept.cells.clone()));
    let mut explanation = Explanation::new(explainer);
    for slot in batch.explain(|| ())? {
        let reasons = reasons(explainer, &slot.cells, &slot.attribution, REASONS);
        explanation.push(Explained { row: slot.row, cells: &slot.cells, attribution: &slot.attribution, reasons });
    }
    Ok(explanation)
}

/// Explains the sample. Returns the mean over all its records, and the explanations of some of them
/// unless their bases differ.
fn explain_sample<'m>(
    explainer: &Explainer<'m>,
    model: AnyModel<'m>,
    sample: &[(u64, Vec<Value>)],
) -> Result<(crate::explanation::Summary, Option<Explanation>), Error> {
    let mut sums = Sums::new(explainer);
    let mut ways = Explanation::new(explainer);
    let cells = vec![Cell::default(); explainer.players().len()];
    let mut batch = Batch::new(explainer);
    let mut record = model.record();
    for (place, (row, values)) in sample.iter().enumerate() {
        set(&mut record, values)?;
        batch.push(*row, &record, Vec::new());
        if batch.is_full() || place + 1 == sample.len() {
            for slot in batch.explain(|| ())? {
                sums.push(&slot.attribution);
                if ways.values.len() < WAYS {
                    let (row, attribution) = (slot.row, &slot.attribution);
                    ways.push(Explained { row, cells: &cells, attribution, reasons: Vec::new() });
                }
            }
        }
    }
    let has_one_base = !matches!(explainer.procedure(), Procedure::Frozen);
    Ok((sums.summary(explainer), has_one_base.then_some(ways)))
}

fn set(record: &mut AnyRecord<'_>, values: &[Value]) -> Result<(), Error> {
    for (index, value) in values.iter().enumerate() {
        let fault = |error| Error::Record { feature: index.to_string(), error };
        _ = record.set_value(FeatureIndex(index), *value).map_err(fault)?;
    }
    Ok(())
}

fn shapes(
    model: AnyModel<'_>,
    background: &BackgroundRecords,
    names: &[String],
    sample: &[(u64, Vec<Value>)],
    outcome: &str,
) -> Result<Shapes, Error> {
    let shaper = Shaper::new(model, background, names)?;
    let mut density = shaper.data_density();
    sample.iter().for_each(|(_, values)| shaper.count(values, &mut density));
    shaper.shapes(&density, outcome)
}

/// Returns the limits that the model was trained to meet: those of its run, or else those in the
/// text of its card's option.
fn limits(subject: &Subject<'_>) -> Vec<(Measure, f32)> {
    if let Some(run) = subject.run {
        return run.learner().options().targets().to_vec();
    }
    let stated = subject.card.and_then(|card| card.options.get("fair")).map_or("", String::as_str);
    let limits = stated.split(',').filter_map(|entry| {
        let (name, limit) = entry.split_once('=')?;
        let measure = Measure::ALL.into_iter().find(|measure| measure.name() == name)?;
        Some((measure, limit.parse().ok()?))
    });
    limits.collect()
}

/// Returns bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn facts(subject: &Subject<'_>, stream: &Stream, evaluation: &Evaluation) -> Facts {
    let Subject { model, blob, card, .. } = subject;
    let origin = model.provenance();
    let (major, minor, patch) = origin.trainer_version;
    let features = (0..model.schema().features().len()).map(|index| {
        let name = model.schema().feature_name(index).unwrap_or_default().to_owned();
        let kind = model.schema().features().get(index).map(|feature| feature.kind());
        let holds = match kind {
            Some(Kind::Number { low, high, transform, .. }) => {
                let logarithm = if transform == Transform::Log1p { ", by its logarithm" } else { "" };
                format!("a number from {low} to {high}{logarithm}")
            }
            Some(Kind::Category { .. }) => format!("{} levels", model.schema().level_names(index).count()),
            _ => String::new(),
        };
        let training = card.and_then(|card| card.features.iter().find(|cells| cells.feature == name)).cloned();
        FeatureFacts { name, holds, training }
    });
    let mut notes = stream.notes();
    notes.extend(evaluation.warnings.iter().cloned());
    Facts {
        crc32: format!("{:08x}", model.crc32()),
        sha256: hex(&Digest::of(blob.as_slice())),
        bytes: blob.as_slice().len(),
        experts: model.experts(),
        threshold: model.threshold(),
        calibrated: model.is_calibrated(),
        integer: matches!(model, AnyModel::Integer { .. }),
        background: model.floats().map_or(0, |floats| floats.background_rows()),
        training_rows: origin.training_rows,
        training_sha256: hex(&origin.data_sha256),
        seed: origin.seed,
        version: format!("{major}.{minor}.{patch}"),
        features: features.collect(),
        files: stream.files(),
        data_sha256: hex(&stream.digest().finish()),
        notes,
    }
}
