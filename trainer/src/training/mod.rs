//! One training run: rows of the stream are encoded, learned from in one or more passes, and
//! measured prequentially. An earlier run can be resumed.
//!
//! Resuming ([`resume`]) from the checkpoint of a run over A with newer data B gives the same bits
//! as one run over A and B, wherever the run was interrupted. Runs with several passes, or with
//! shuffled rows, are stored once they are finished; they then learn from newer data in a single
//! pass.

mod card;
pub mod checkpoint;
pub mod checkpoint_file;
pub mod config;
pub mod delay;
mod distance;
mod early_stop;
mod encoding;
pub mod events;
pub mod export;
mod layout;
pub mod merge;
mod monotone;
mod order;
mod plausible;
pub mod prequential;
pub mod rehearsal;
pub mod remarks;
pub mod report;
mod shifts;
mod start;
mod state;
mod steps;
pub mod targets;
mod trainer;
mod weight;

use std::borrow::Cow;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

pub use encoding::Encoding;
pub use trainer::Trainer;

use crate::encoder;
use crate::error::Error;
use crate::learner::{Learner, ValidOptions};
use crate::random::shuffle;
use crate::rows::{self, Admission, Digest, Input, Part, Reader, ResumeFrom, Row, Source, Split, Stream, Use};
use crate::schema::Schema;
use checkpoint::Checkpoint;
use early_stop::EarlyStop;
use prequential::Prequential;
use weight::without_weight;

/// Rows between two reports of progress.
const REPORT_EVERY: u64 = 8192;
/// Share of the rows that only the first of several passes learns from, if fairness moves scores or
/// the number of passes is chosen by the run. Probabilities are calibrated on these rows, and
/// models are judged on them: a target that is met on rows learned from repeatedly is missed on new
/// ones.
const RESERVED_PART: f64 = 0.1;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The options of the learner.
    pub learner: ValidOptions,
    /// The options of the encoder.
    pub encoder: encoder::Options,
    /// The encoding of an earlier run, to be held fixed so that states of several runs can be
    /// merged. Its options must be those of `encoder`.
    pub encoding: Option<Arc<Encoding>>,
    /// Passes over the data, at least 1.
    pub epochs: u32,
    /// Whether to end with the pass whose model has the smallest log-loss on one row in ten, which
    /// only the first pass learns from; at the latest after `epochs` passes.
    pub stops_early: bool,
    /// Whether to keep all rows in memory and learn from them in an order drawn by the seed, which
    /// differs between passes.
    pub shuffle: bool,
    /// Seed of the order, the same as the learner's.
    pub seed: u64,
    /// Number of rows of a prequential window.
    pub window: u64,
    /// Number of rows drawn from the first pass that are stored in the model, as the background of
    /// explanations.
    pub background: u16,
    /// Learn only from one part of the rows, so that the other part can be used to judge.
    pub split: Option<Split>,
    /// Column of the sample weights, numbers of at least 0; it is not a feature. A row of weight 2
    /// counts as two rows in the loss, relative to the mean weight so far. A row of weight 0 is
    /// counted and left out. Measures count every row once.
    pub weight: Option<String>,
    /// Label delay in rows, at most [`MOST_DELAY`](delay::MOST_DELAY): a row is scored when it
    /// arrives, and learned from after this many more rows have arrived. A delay above 0 needs a
    /// single pass in the order of the data.
    pub label_delay: u32,
}

impl Options {
    /// Maximum number of passes if the run chooses their number.
    pub const MOST_EPOCHS: u32 = 20;

    /// Default number of background rows: a mean over them is within 3 % of its spread, and they
    /// take as many bytes as a model of usual size.
    pub const BACKGROUND: u16 = 1000;

    /// Returns options for one pass in the order of the data, with the encoder's defaults and
    /// windows of 1,000 rows.
    #[must_use]
    pub fn new(learner: ValidOptions) -> Self {
        let seed = learner.seed();
        Self {
            learner,
            encoder: encoder::Options::default(),
            encoding: None,
            epochs: 1,
            stops_early: false,
            shuffle: false,
            seed,
            window: 1000,
            background: Self::BACKGROUND,
            split: None,
            weight: None,
            label_delay: 0,
        }
    }
}

/// How often, and in which order, a run went over its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passes {
    /// Passes, at least 1.
    pub epochs: u32,
    /// Whether their order was drawn by the seed.
    pub shuffled: bool,
    /// Number of shards that were merged; 1 if the run learned from all rows itself.
    pub shards: u32,
}

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Rows learned from, counting every pass.
    pub rows: u64,
    /// The pass, from 1.
    pub epoch: u32,
    /// The learner.
    pub learner: &'a Learner,
    /// Measures of the first pass so far.
    pub prequential: &'a Prequential,
}

/// Called with the progress of a run every few thousand rows and at its end; returning a break ends
/// the run with [`Error::Interrupted`].
pub type OnProgress<'a> = &'a mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>;

/// An [`OnProgress`] callback that never ends a run.
pub fn unwatched(_: &Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// When and how checkpoints are written during a run.
pub struct Saving<'a> {
    /// Rows between two checkpoints, at least 1. The first is taken once the encoder is fitted.
    pub every: u64,
    /// Stores a checkpoint of the trainer. Also called if followed data pause ([`Input::Followed`])
    /// and rows arrived since the last call.
    pub save: &'a mut dyn FnMut(&Trainer) -> Result<(), Error>,
    /// Set to true to make the run store a checkpoint and end with [`Error::Stopped`] before the
    /// next row.
    pub stop: &'a AtomicBool,
}

impl Saving<'_> {
    /// The default number of rows between two checkpoints: well under a second of learning is lost,
    /// and a checkpoint takes a hundredth of that.
    pub const EVERY: u64 = 250_000;
}

/// A finished run: the trainer after its last row.
pub struct Run {
    trainer: Trainer,
    /// The unfitted trainer, from which the next run starts, if there were too few rows to fit the
    /// encoder.
    unfitted: Option<Box<Trainer>>,
    /// The time that the run took.
    pub timing: Timing,
    /// Notes about what was skipped while reading.
    pub notes: Vec<String>,
}

impl Deref for Run {
    type Target = Trainer;

    fn deref(&self) -> &Trainer {
        &self.trainer
    }
}

impl Run {
    /// Returns the trainer, ready for newer data.
    #[must_use]
    pub fn trainer(&self) -> &Trainer {
        self.unfitted.as_deref().unwrap_or(&self.trainer)
    }

    /// Returns the trainer, ready for pushed records.
    #[must_use]
    pub fn into_trainer(self) -> Trainer {
        let Self { trainer, unfitted, .. } = self;
        unfitted.map_or(trainer, |unfitted| *unfitted).pushed()
    }

    /// Returns the state from which the run can be resumed.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint<'_> {
        self.trainer().checkpoint()
    }
}

/// Returns this crate's version as numbers.
fn version() -> (u16, u16, u16) {
    let part = |text: &str| text.parse().unwrap_or(0);
    (
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    )
}

/// Durations in seconds of wall time, and the memory of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// The time of the whole run.
    pub total: f64,
    /// The time of learning only; known only if the rows were in memory first.
    pub learning: Option<f64>,
    /// Size of the rows in memory, in bytes; 0 if they were streamed.
    pub rows_in_memory_bytes: usize,
}

/// Runs over the data with the given options.
///
/// # Errors
/// The errors of the stream and the encoder, [`Error::Input`] if standard input would have to be
/// read again, and [`Error::Interrupted`].
pub fn run(inputs: &[Input], schema: &Schema, options: &Options, on_progress: OnProgress<'_>) -> Result<Run, Error> {
    run_saving(inputs, schema, options, None, on_progress)
}

/// Like [`run`], with checkpoints during the first pass, unless rows are shuffled.
///
/// # Errors
/// The same as [`run`], and the errors of [`Saving::save`].
pub fn run_saving(
    inputs: &[Input],
    schema: &Schema,
    options: &Options,
    saving: Option<Saving<'_>>,
    on_progress: OnProgress<'_>,
) -> Result<Run, Error> {
    check_passes(inputs, options)?;
    let started = Instant::now();
    let weight = options.weight.as_deref();
    let schema = &*without_weight(schema, weight)?;
    let open = || open(inputs, schema, weight, &[], Digest::default());
    let mut reader = Reader::new(open()?, saving.is_some());
    let columns = reader.source().columns();
    let mut trainer = Trainer::of_source(columns, reader.file(), schema.clone(), options)?;
    if !options.shuffle && options.epochs == 1 {
        return over(trainer, reader, saving, on_progress, started);
    }

    let stops_early = options.stops_early && options.epochs > 1;
    let reserves = options.epochs > 1 && (stops_early || trainer.learner().calibrates());
    let reserved = Split { seed: options.seed, training_share: 1.0 - RESERVED_PART, part: Part::HeldOut };
    let is_reserved = |number: u64| reserves && reserved.keeps(number);
    if options.shuffle {
        trainer.keep_rows();
    }
    while reader.advance()? {
        let before = trainer.rows();
        trainer.learn(&reader.record())?;
        // Kept rows are not learned from yet.
        if trainer.rows() > before || options.shuffle && trainer.counts().read.is_multiple_of(REPORT_EVERY) {
            report(&trainer, on_progress)?;
        }
    }
    trainer.check(&reader.files())?;
    trainer.read(reader.place());

    let mut timing = Timing::default();
    let mut early_stop = EarlyStop::default();
    if options.shuffle {
        let mut random = Pcg64Mcg::seed_from_u64(options.seed);
        let rows = trainer.take_rows();
        let mut order: Vec<u32> = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
        timing.rows_in_memory_bytes = rows.bytes();
        let learning = Instant::now();
        for epoch in 1..=options.epochs {
            trainer.begin_pass(epoch);
            shuffle(&mut order, &mut random);
            if epoch > 1 {
                early_stop.begin(&trainer, stops_early);
            }
            for index in &order {
                let Some(row) = rows.row(*index as usize) else { continue };
                match epoch {
                    1 => trainer.learn_kept(&row)?,
                    _ if is_reserved(u64::from(*index)) => {
                        early_stop.judge(&trainer, &row)?;
                        trainer.calibrate(&row)?;
                        continue;
                    }
                    _ => trainer.learn_row_again(&row)?,
                }
                report(&trainer, on_progress)?;
            }
            // Needed if there were too few rows to fit the encoder.
            trainer.fit()?;
            if early_stop.ends(&mut trainer, epoch) {
                break;
            }
        }
        for row in (0..rows.len()).filter(|index| is_reserved(*index as u64)).filter_map(|index| rows.row(index)) {
            trainer.judge_reserved(&row)?;
        }
        timing.learning = Some(learning.elapsed().as_secs_f64());
    } else {
        trainer.fit()?;
        // Reads the data again. `take` gets each row, and whether it is reserved instead of learned
        // from.
        let read_again =
            |trainer: &mut Trainer,
             epoch: u32,
             take: &mut dyn FnMut(&mut Trainer, &Row<'_>, bool) -> Result<(), Error>| {
                let again = open()?;
                let changed = || Error::ChangedData { files: reader.files(), epoch };
                if again.columns() != reader.source().columns() {
                    return Err(changed());
                }
                let mut again = Stream::new(again, schema, Use::Learn)?;
                if let Some(split) = options.split {
                    again.keep(split);
                }
                if let Some(weight) = weight {
                    again.weigh_by(weight)?;
                }
                again.resume_groups(trainer.attributes());
                let mut number = 0;
                while let Some(row) = again.next_row()? {
                    take(trainer, &row, is_reserved(number))?;
                    number += 1;
                }
                if again.digest() == reader.source().digest() { Ok(()) } else { Err(changed()) }
            };
        let mut epoch = 1;
        while epoch < options.epochs {
            epoch += 1;
            trainer.begin_pass(epoch);
            early_stop.begin(&trainer, stops_early);
            read_again(&mut trainer, epoch, &mut |trainer, row, is_reserved| {
                if is_reserved {
                    early_stop.judge(trainer, row)?;
                    return trainer.calibrate(row);
                }
                trainer.learn_row_again(row)?;
                report(trainer, on_progress)
            })?;
            if early_stop.ends(&mut trainer, epoch) {
                break;
            }
        }
        if reserves {
            read_again(&mut trainer, epoch + 1, &mut |trainer, row, is_reserved| {
                if is_reserved { trainer.judge_reserved(row) } else { Ok(()) }
            })?;
        }
    }
    timing.total = started.elapsed().as_secs_f64();
    _ = on_progress(&trainer.progress());
    Ok(Run { trainer, unfitted: None, timing, notes: reader.source().notes() })
}

/// Resumes an earlier run in a single pass, over newer data or over the data that it was reading
/// when it stopped, depending on `resume_from`.
///
/// # Errors
/// The same as [`run_saving`], [`Error::OtherData`] if the inputs are not those that the run was
/// reading, and [`Error::NoUsableRows`] if they have none.
pub fn resume(
    checkpoint: Checkpoint<'_>,
    inputs: &[Input],
    resume_from: ResumeFrom,
    saving: Option<Saving<'_>>,
    on_progress: OnProgress<'_>,
) -> Result<Run, Error> {
    let started = Instant::now();
    let place = &checkpoint.place;
    let weight = checkpoint.weight.as_deref();
    let open = |digest| open(inputs, &checkpoint.schema, weight, place.columns(), digest);
    let reader = Reader::resume(open, place, resume_from)?;
    let trainer = Trainer::resume(checkpoint, reader.source().columns(), reader.file(), resume_from)?;
    over(trainer, reader, saving, on_progress, started)
}

/// Refuses several passes over an input that can be read only once.
fn check_passes(inputs: &[Input], options: &Options) -> Result<(), Error> {
    match inputs.iter().find(|input| !input.can_be_read_again()) {
        Some(input) if options.epochs > 1 && !options.shuffle => Err(Error::Input(format!(
            "{} passes read the data again, but {input} can be read only once; shuffle the rows, which keeps them in memory, or \
             name a file",
            options.epochs
        ))),
        _ => Ok(()),
    }
}

/// Opens the data that follow earlier ones with these columns and this digest; `columns` is empty
/// if there are no earlier ones. Reads only the columns that are needed.
fn open(
    inputs: &[Input],
    schema: &Schema,
    weight: Option<&str>,
    columns: &[String],
    digest: Digest,
) -> Result<Box<dyn Source>, Error> {
    let mut source = rows::resume(inputs, &schema.table, columns, digest)?;
    let mut admission = Admission::new(source.columns(), source.file(), schema, Use::Learn)?;
    if let Some(weight) = weight {
        admission.weigh_by(weight, source.file())?;
    }
    let features = encoder::feature_columns(source.columns(), source.file(), schema)?;
    source.want(&[admission.wanted(), features].concat());
    Ok(source)
}

/// Learns from all records in a single pass.
fn over(
    mut trainer: Trainer,
    mut reader: Reader<'_>,
    mut saving: Option<Saving<'_>>,
    on_progress: OnProgress<'_>,
    started: Instant,
) -> Result<Run, Error> {
    // The first checkpoint is stored as soon as something was learned: a file that an earlier run
    // left in its place must not be mistaken for this run's.
    let mut is_stored = trainer.encoder().is_some() && trainer.rows() > 0;
    let mut paused_at = trainer.counts().read;
    let store_and_stop = |trainer: &mut Trainer, reader: &Reader<'_>, saving: &mut Option<Saving<'_>>| {
        let Some(Saving { save, stop, .. }) = saving else { return Ok(()) };
        if !stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        trainer.read(reader.place());
        save(trainer)?;
        Err(Error::Stopped { rows: trainer.rows() })
    };
    loop {
        let more = match reader.advance() {
            Err(error) if error.is_pause() => {
                let read = trainer.counts().read;
                if let Some(Saving { save, .. }) = &mut saving
                    && std::mem::replace(&mut paused_at, read) != read
                {
                    trainer.read(reader.place());
                    save(&trainer)?;
                }
                continue;
            }
            more => more?,
        };
        // When the run is asked to stop, the data may be cut off; that is not the end of the data.
        if !more {
            store_and_stop(&mut trainer, &reader, &mut saving)?;
            break;
        }
        let before = trainer.rows();
        trainer.learn(&reader.record())?;
        store_and_stop(&mut trainer, &reader, &mut saving)?;
        if trainer.rows() == before {
            continue;
        }
        report(&trainer, on_progress)?;
        if let Some(Saving { every, save, .. }) = &mut saving
            && (!is_stored || trainer.rows().is_multiple_of(*every))
        {
            is_stored = true;
            trainer.read(reader.place());
            save(&trainer)?;
        }
    }
    trainer.read(reader.place());
    trainer.check(&reader.files())?;
    let (trainer, unfitted) = match trainer.fitted()? {
        Cow::Borrowed(_) => (trainer, None),
        Cow::Owned(fitted) => (fitted, Some(Box::new(trainer))),
    };
    _ = on_progress(&trainer.progress());
    let timing = Timing { total: started.elapsed().as_secs_f64(), ..Timing::default() };
    Ok(Run { trainer, unfitted, timing, notes: reader.source().notes() })
}

/// Reports the progress of the run, every few thousand rows.
#[inline]
fn report(trainer: &Trainer, on_progress: OnProgress<'_>) -> Result<(), Error> {
    if trainer.rows().is_multiple_of(REPORT_EVERY) && on_progress(&trainer.progress()).is_break() {
        return Err(Error::Interrupted { rows: trainer.rows() });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::demo::{LendingStream, SCHEMA, write_csv};
    use crate::learner::LearnerOptions;
    use crate::rows::Records;

    /// Everything that depends on the order of the rows, the encoder included, is as if the file
    /// had been shuffled: the spread over seeds equals that over shuffled files.
    #[test]
    fn shuffling_is_training_on_a_shuffled_file() {
        let mut text = Vec::new();
        write_csv(&mut text, LendingStream::new(3).take(7_000)).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let rows: Vec<&str> = rows.lines().collect();
        let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, &text).unwrap();
        for seed in [1, 8] {
            let learner = LearnerOptions::default().seed(seed).check().unwrap();
            let options = Options { shuffle: true, ..Options::new(learner) };
            let run = run(&[Input::from(path.as_path())], &schema, &options, &mut unwatched).unwrap();

            let mut order: Vec<u32> = (0..rows.len() as u32).collect();
            shuffle(&mut order, &mut Pcg64Mcg::seed_from_u64(seed));
            let lines: Vec<&str> = order.iter().map(|index| rows[*index as usize]).collect();
            let shuffled = Cursor::new(format!("{header}\n{}\n", lines.join("\n")));
            let mut source = Records::from_reader("shuffled", shuffled, &schema.table).unwrap();
            let options = Options { shuffle: false, ..options };
            let mut trainer = Trainer::new(source.columns(), schema.clone(), &options).unwrap();
            trainer.learn_all(&mut source).unwrap();
            let bits = |trainer: &Trainer| {
                let stored = trainer.checkpoint();
                let learned = (&stored.learner, &stored.measured, &trainer.encoder);
                postcard::to_allocvec(&learned).unwrap()
            };
            assert!(bits(&run) == bits(&trainer), "seed {seed}");
        }
    }
}
