//! One training run: rows from the stream, encoded, learned from in one or more passes, measured prequentially.

use std::sync::Arc;
use std::time::Instant;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use crate::encoder::{self, Encoder, Example, Examples};
use crate::error::Error;
use crate::export::{Export, ExportError, Source, Weights, export};
use crate::learner::{Learner, ValidOptions};
use crate::prequential::Prequential;
use crate::schema::Schema;
use crate::stream::{Attribute, Counts, Input, Sample, Split, Stream, Use};
use feamoe_engine::blob::Provenance;
use feamoe_engine::mixture::Term;

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
    /// Learn from one part of the rows only, to judge on the other.
    pub split: Option<Split>,
}

impl Options {
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
    /// Rows evenly spread over the data, to check an export with.
    pub sample: Sample,
    /// Column names of the data.
    pub columns: Arc<[String]>,
    /// SHA-256 of the data as read.
    pub data_sha256: [u8; 32],
    /// Rows learned from, repeated passes counted again.
    pub rows: u64,
    /// How long it took.
    pub timing: Timing,
}

impl Run {
    /// Exports the learner, checked on rows spread over its data.
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
        export(&source, self.sample.rows(), column, |example| learner.predict_exported(&example.terms))
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
    if options.epochs > 1 && !options.shuffle && inputs.contains(&Input::Stdin) {
        return Err(Error::Input(format!(
            "--epochs {} reads the data again, but standard input can be read once only; add --shuffle, which keeps the rows in memory, or \
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
    let stream = open()?;
    let mut examples = Examples::new(stream, schema, &options.encoder)?;
    let mut pass = Pass {
        learner: Learner::new(options.learner.clone(), schema.protected.len()),
        prequential: Prequential::new(options.learner.threshold(), options.window),
        rows: 0,
        epoch: 1,
        on_progress,
    };
    let mut example = Example::default();
    let mut memory = Memory::default();
    while examples.next_example(&mut example)? {
        if options.shuffle {
            memory.push(&example);
        } else {
            pass.learn(&example);
        }
    }
    let (stream, encoder, sample) = examples.into_parts();
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
                pass.learn(&example);
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
                pass.learn(&example);
            }
        }
    }
    pass.report();
    timing.total = started.elapsed().as_secs_f64();
    Ok(Run {
        attributes: stream.attributes().cloned().collect(),
        counts: stream.counts(),
        columns: Arc::clone(stream.columns()),
        data_sha256: stream.sha256(),
        learner: pass.learner,
        prequential: pass.prequential,
        rows: pass.rows,
        encoder,
        sample,
        timing,
    })
}

/// The state that moves along the rows.
struct Pass<'a> {
    learner: Learner,
    prequential: Prequential,
    rows: u64,
    epoch: u32,
    on_progress: &'a mut dyn FnMut(&Progress<'_>),
}

impl Pass<'_> {
    #[inline]
    fn learn(&mut self, example: &Example) {
        let prediction = self.learner.learn_one(example);
        // Later passes have seen the row: their measures would flatter.
        if self.epoch == 1 {
            self.prequential.observe(example.label, prediction.probability, &example.groups);
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

/// Shuffles by Fisher and Yates; the same generator state gives the same order on every machine.
fn shuffle(order: &mut [u32], random: &mut Pcg64Mcg) {
    for last in (1..order.len()).rev() {
        // The high half of a 64-bit product is below its factor; the bias is under 2^-32.
        let pick = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, pick as usize);
    }
}

/// Encoded rows, packed.
#[derive(Default)]
struct Memory {
    terms: Vec<Term>,
    /// Where each row's terms end.
    ends: Vec<usize>,
    labels: Vec<bool>,
    groups: Vec<u8>,
}

impl Memory {
    fn push(&mut self, example: &Example) {
        self.terms.extend_from_slice(&example.terms);
        self.ends.push(self.terms.len());
        self.labels.push(example.label);
        self.groups.extend_from_slice(&example.groups);
    }

    fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.terms) + size_of_val(&*self.ends) + self.labels.len() + self.groups.len()
    }

    fn read(&self, index: u32, example: &mut Example) {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let attributes = self.groups.len() / self.ends.len();
        example.terms.clear();
        example.terms.extend_from_slice(&self.terms[start..self.ends[index]]);
        example.label = self.labels[index];
        example.groups.clear();
        example.groups.extend_from_slice(&self.groups[index * attributes..(index + 1) * attributes]);
    }
}
