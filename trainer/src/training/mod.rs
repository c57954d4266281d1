//! One training run: rows from the stream, encoded, learned from in one or more passes, measured prequentially; and going on with an earlier one.
//!
//! Going on ([`resume`]) from the checkpoint of a run over A with newer data B gives what one run over A and B gives, to the bit, wherever the run was
//! interrupted. Runs of several passes, or in an order of their own, are stored once they are done; newer data are then learned from in a single pass.

pub mod checkpoint;
mod distance;
pub mod export;
mod layout;
mod memory;
pub mod prequential;
pub mod targets;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use crate::encoder::{self, Encoder, Example, Examples, Flipper, Flips};
use crate::error::Error;
use crate::learner::Weights;
use crate::learner::{Learner, ValidOptions};
use crate::random::shuffle;
use crate::rows::{Attribute, Buffer, Counts, GoOn, Input, Place, Reservoir, Split, Stream, Use};
use crate::schema::Schema;
use crate::training::checkpoint::{Checkpoint, Stage};
use crate::training::distance::Gauge;
use crate::training::export::{Export, ExportError, Source, export};
use crate::training::prequential::Prequential;
use feamoe_engine::format::Provenance;
use memory::Memory;

/// Rows between two reports of progress.
const REPORT_EVERY: u64 = 8192;

/// How a run goes over the data.
#[derive(Clone, Debug)]
pub struct Options {
    /// The learner's.
    pub learner: ValidOptions,
    /// The encoder's.
    pub encoder: encoder::Options,
    /// Passes over the data, at least 1.
    pub epochs: u32,
    /// Keep all rows in memory and learn from them in an order drawn by the seed, another one in each pass.
    pub shuffle: bool,
    /// Seed of the order; the learner has the same.
    pub seed: u64,
    /// Rows of a prequential window.
    pub window: u64,
    /// Rows drawn from the first pass that go into the model, for explanations to compare with.
    pub background: u16,
    /// Learn from one part of the rows only, to judge on the other.
    pub split: Option<Split>,
}

impl Options {
    /// Background rows where nobody chose: a mean over them is within 3 % of its spread, in as many bytes as a model of usual size.
    pub const BACKGROUND: u16 = 1000;

    /// One pass in the order of the data, with the encoder's defaults and windows of 1,000 rows.
    #[must_use]
    pub fn new(learner: ValidOptions) -> Self {
        let seed = learner.seed();
        Self {
            learner,
            encoder: encoder::Options::default(),
            epochs: 1,
            shuffle: false,
            seed,
            window: 1000,
            background: Self::BACKGROUND,
            split: None,
        }
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Rows learned from, repeated passes counted again.
    pub rows: u64,
    /// The pass, from 1.
    pub epoch: u32,
    /// The learner.
    pub learner: &'a Learner,
    /// Measures of the first pass so far.
    pub prequential: &'a Prequential,
}

/// When and how a run is stored on its way.
pub struct Saving<'a> {
    /// Rows between two checkpoints, at least 1. The first is taken once the encoder is fitted.
    pub every: u64,
    /// Stores one.
    pub save: &'a mut dyn FnMut(&Checkpoint<'_>) -> Result<(), Error>,
}

impl Saving<'_> {
    /// Rows between two checkpoints where nobody chose: well under a second of learning is lost, and a checkpoint takes a hundredth of that.
    pub const EVERY: u64 = 250_000;
}

/// A finished run.
pub struct Run {
    /// The learner after its last row.
    pub learner: Learner,
    /// The encoder that made its rows.
    pub encoder: Encoder,
    /// The protected attributes with the groups that occurred.
    pub attributes: Vec<Attribute>,
    /// What became of the records.
    pub counts: Counts,
    /// Measures of the first pass.
    pub prequential: Prequential,
    /// A sample of the rows of the first pass: the model's background, and what an export is checked on.
    pub reservoir: Reservoir,
    /// Column names of the data.
    pub columns: Arc<[String]>,
    /// SHA-256 of the data as read.
    pub data_sha256: [u8; 32],
    /// Rows learned from, repeated passes counted again.
    pub rows: u64,
    /// Those of earlier runs among them.
    pub earlier_rows: u64,
    /// How long it took.
    pub timing: Timing,
    encoding: encoder::Options,
    place: Place,
    /// Where there were too few rows to fit the encoder on: what the next run starts with.
    fresh: Option<Fresh>,
}

/// A run that has learned nothing yet.
struct Fresh {
    rows: Buffer,
    reservoir: Reservoir,
    learner: Learner,
    prequential: Prequential,
}

impl Run {
    /// Returns what it takes to go on with newer data.
    #[must_use]
    pub fn checkpoint<'a>(&'a self, schema: &'a Schema) -> Checkpoint<'a> {
        let (stage, reservoir, learner, prequential, rows) = match &self.fresh {
            Some(Fresh { rows, reservoir, learner, prequential }) => {
                (Stage::WarmingUp(Cow::Borrowed(rows)), reservoir, learner, prequential, 0)
            }
            None => {
                let stage = Stage::Learning(Cow::Borrowed(&self.encoder));
                (stage, &self.reservoir, &self.learner, &self.prequential, self.rows)
            }
        };
        Checkpoint {
            schema: Cow::Borrowed(schema),
            encoding: self.encoding.clone(),
            place: self.place.clone(),
            stage,
            reservoir: Cow::Borrowed(reservoir),
            learner: Cow::Borrowed(learner),
            prequential: Cow::Borrowed(prequential),
            rows,
        }
    }

    /// Exports the learner with its background, checked on a sample of its data.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn export(&self, schema: &Schema) -> Result<Export, ExportError> {
        let learner = &self.learner;
        let source = Source {
            encoder: &self.encoder,
            weights: Weights { experts: learner.experts(), bias: learner.bias(), rows: learner.rows() },
            threshold: learner.options().threshold(),
            positive_name: schema.target.positive.first().map_or("", String::as_str),
            provenance: Provenance {
                training_rows: self.rows,
                data_sha256: self.data_sha256,
                seed: learner.options().seed(),
                trainer_version: version(),
            },
        };
        // Every feature came from a column of these data.
        let column = |name: &str| Ok(self.columns.iter().position(|column| column == name).unwrap_or_default());
        export(&source, &self.reservoir, column, |example| learner.predict_exported(&example.terms))
    }
}

/// This crate's version as numbers.
fn version() -> (u16, u16, u16) {
    let part = |text: &str| text.parse().unwrap_or(0);
    (
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    )
}

/// Seconds of wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// The whole run.
    pub total: f64,
    /// Learning alone; only known where the rows were in memory first.
    pub learning: Option<f64>,
    /// Bytes the rows took in memory; 0 where they were streamed.
    pub rows_in_memory_bytes: usize,
}

/// Runs over the data as the options say, telling `on_progress` every few thousand rows.
///
/// # Errors
/// Those of the stream and the encoder; [`Error::Input`] where standard input would have to be read again.
pub fn run(
    inputs: &[Input],
    schema: &Schema,
    options: &Options,
    on_progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Run, Error> {
    run_saving(inputs, schema, options, None, on_progress)
}

/// As [`run`], and stores the run on its way; only the first pass, and not where rows are shuffled.
///
/// # Errors
/// As [`run`], and those of [`Saving::save`].
pub fn run_saving(
    inputs: &[Input],
    schema: &Schema,
    options: &Options,
    saving: Option<Saving<'_>>,
    on_progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Run, Error> {
    if options.epochs > 1 && !options.shuffle && inputs.contains(&Input::Stdin) {
        return Err(Error::Input(format!(
            "{} passes read the data again, but standard input can be read once only; shuffle the rows, which keeps them in memory, or \
             name a file",
            options.epochs
        )));
    }
    let started = Instant::now();
    let open = || {
        let mut stream = Stream::open(inputs, schema, Use::Learn)?;
        if let Some(split) = options.split {
            stream.keep(split);
        }
        Ok::<_, Error>(stream)
    };
    let mut stream = open()?;
    if saving.is_some() {
        stream.keep_place();
    }
    let attributes = stream.attributes().count();
    let (first, reservoir) = (Buffer::new(&stream), Reservoir::new(&stream, options.background, options.seed));
    let mut examples = Examples::with_first(first, reservoir, stream, schema, &options.encoder)?;
    let learner = Learner::new(options.learner.clone(), attributes);
    let mut pass = Pass::new(learner, Prequential::new(options.learner.threshold(), options.window), 0, on_progress);
    if !options.shuffle && options.epochs == 1 {
        return pass.over(examples, schema, &options.encoder, saving, started);
    }

    let mut example = Example::default();
    let mut memory = Memory::default();
    while examples.next_example(&mut example)? {
        if options.shuffle {
            memory.push(&example);
        } else {
            pass.learn(&example, examples.encoder(), examples.stream());
        }
    }
    let (stream, encoder, reservoir, _) = examples.into_parts();
    stream.check()?;

    let mut timing = Timing { rows_in_memory_bytes: memory.bytes(), ..Timing::default() };
    if options.shuffle {
        let learning = Instant::now();
        let mut random = Pcg64Mcg::seed_from_u64(options.seed);
        let mut order: Vec<u32> = (0..memory.len()).collect();
        for epoch in 1..=options.epochs {
            pass.epoch = epoch;
            shuffle(&mut order, &mut random);
            for index in &order {
                memory.read(*index, &mut example);
                pass.learn(&example, &encoder, &stream);
            }
        }
        timing.learning = Some(learning.elapsed().as_secs_f64());
    } else {
        for epoch in 2..=options.epochs {
            pass.epoch = epoch;
            let mut again = open()?;
            again.resume_groups(stream.attributes());
            while let Some(row) = again.next_row()? {
                encoder.encode(&row, &mut example)?;
                pass.learn(&example, &encoder, &again);
            }
        }
    }
    timing.total = started.elapsed().as_secs_f64();
    Ok(pass.done(Read { stream, encoder, reservoir, encoding: options.encoder.clone() }, None, 0, timing))
}

/// Goes on with an earlier run, in a single pass: over newer data, or where it broke off over the data it was reading, as `go_on` says.
///
/// # Errors
/// As [`run_saving`]; [`Error::OtherData`] where the inputs are not those that the run was reading; [`Error::NoUsableRows`] where they have none.
pub fn resume(
    checkpoint: Checkpoint<'_>,
    inputs: &[Input],
    go_on: GoOn,
    saving: Option<Saving<'_>>,
    on_progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Run, Error> {
    let started = Instant::now();
    let Checkpoint { schema, encoding, place, stage, reservoir, learner, prequential, rows } = checkpoint;
    let reservoir = reservoir.into_owned();
    let stream = Stream::resume(inputs, &schema, &place, go_on)?;
    let examples = match stage {
        Stage::WarmingUp(rows) => Examples::with_first(rows.into_owned(), reservoir, stream, &schema, &encoding)?,
        Stage::Learning(encoder) => Examples::resume(stream, encoder.into_owned(), reservoir)?,
    };
    let pass = Pass::new(learner.into_owned(), prequential.into_owned(), rows, on_progress);
    pass.over(examples, &schema, &encoding, saving, started)
}

/// The state that moves along the rows.
struct Pass<'a> {
    /// Where the learner wants to know how records would be decided in other groups.
    flipper: Option<Flipper>,
    flips: Flips,
    /// Where it wants to know how far declined records are from the boundary.
    gauge: Option<Gauge>,
    learner: Learner,
    prequential: Prequential,
    rows: u64,
    epoch: u32,
    on_progress: &'a mut dyn FnMut(&Progress<'_>),
}

/// What is left of the data once they are read.
struct Read {
    stream: Stream,
    encoder: Encoder,
    reservoir: Reservoir,
    encoding: encoder::Options,
}

impl<'a> Pass<'a> {
    fn new(
        learner: Learner,
        prequential: Prequential,
        rows: u64,
        on_progress: &'a mut dyn FnMut(&Progress<'_>),
    ) -> Self {
        let flipper = learner.options().wants_flips().then(Flipper::default);
        let gauge = Gauge::new(&learner);
        Self { flipper, flips: Flips::default(), gauge, learner, prequential, rows, epoch: 1, on_progress }
    }
}

impl Pass<'_> {
    /// Learns from all examples, once.
    fn over(
        mut self,
        mut examples: Examples,
        schema: &Schema,
        encoding: &encoder::Options,
        mut saving: Option<Saving<'_>>,
        started: Instant,
    ) -> Result<Run, Error> {
        let earlier_rows = self.rows;
        let too_few = examples.are_too_few();
        let fresh = too_few.then(|| (examples.reservoir().clone(), self.learner.clone(), self.prequential.clone()));
        // As soon as there is something to store: whatever an earlier run left in its place must not be taken for this one.
        let first = encoding.warmup as u64;
        let mut example = Example::default();
        while examples.next_example(&mut example)? {
            self.learn(&example, examples.encoder(), examples.stream());
            if let Some(Saving { every, save }) = &mut saving
                && (self.rows.is_multiple_of(*every) || self.rows == first)
                && examples.is_level()
                && !too_few
            {
                save(&self.checkpoint(&examples, schema, encoding))?;
            }
        }
        let (stream, encoder, reservoir, rows) = examples.into_parts();
        stream.check()?;
        let fresh = fresh.zip(rows).map(|((reservoir, learner, prequential), rows)| Fresh {
            rows,
            reservoir,
            learner,
            prequential,
        });
        let timing = Timing { total: started.elapsed().as_secs_f64(), ..Timing::default() };
        Ok(self.done(Read { stream, encoder, reservoir, encoding: encoding.clone() }, fresh, earlier_rows, timing))
    }

    fn checkpoint<'a>(
        &'a self,
        examples: &'a Examples,
        schema: &'a Schema,
        encoding: &encoder::Options,
    ) -> Checkpoint<'a> {
        Checkpoint {
            schema: Cow::Borrowed(schema),
            encoding: encoding.clone(),
            place: examples.stream().place(),
            stage: Stage::Learning(Cow::Borrowed(examples.encoder())),
            reservoir: Cow::Borrowed(examples.reservoir()),
            learner: Cow::Borrowed(&self.learner),
            prequential: Cow::Borrowed(&self.prequential),
            rows: self.rows,
        }
    }

    fn done(mut self, read: Read, fresh: Option<Fresh>, earlier_rows: u64, timing: Timing) -> Run {
        self.report();
        let Read { stream, encoder, reservoir, encoding } = read;
        Run {
            attributes: stream.attributes().cloned().collect(),
            counts: stream.counts(),
            columns: Arc::clone(stream.columns()),
            data_sha256: stream.sha256(),
            place: stream.place(),
            learner: self.learner,
            prequential: self.prequential,
            rows: self.rows,
            earlier_rows,
            encoder,
            reservoir,
            timing,
            encoding,
            fresh,
        }
    }

    #[inline]
    fn learn(&mut self, example: &Example, encoder: &Encoder, stream: &Stream) {
        if let Some(flipper) = &mut self.flipper {
            flipper.flip(encoder, stream.attributes(), example, &mut self.flips);
        }
        if let Some(gauge) = &mut self.gauge {
            gauge.look_at(example, encoder, &mut self.learner);
        }
        let prediction = self.learner.learn_one_with(example, &self.flips);
        // Later passes have seen the row: their measures would flatter.
        if self.epoch == 1 {
            self.prequential.observe(example.label, prediction.probability, &example.groups);
            if self.flipper.is_some() {
                self.prequential.observe_individual(prediction.unfair, &example.groups);
            }
        }
        self.rows += 1;
        if self.rows.is_multiple_of(REPORT_EVERY) {
            self.report();
        }
    }

    fn report(&mut self) {
        (self.on_progress)(&Progress {
            rows: self.rows,
            epoch: self.epoch,
            learner: &self.learner,
            prequential: &self.prequential,
        });
    }
}
