//! The complete learner as one state, to which records are pushed: from raw cells to a model file.

mod about;
mod passes;

use std::borrow::Cow;
use std::sync::Arc;

use feamoe_engine::format::Provenance;

use super::card::card;
use super::checkpoint::{Checkpoint, Stage};
use super::delay::Delay;
use super::export::{Export, ExportError, Source as Learned, export};
use super::start::{Plan, Start};
use super::state::{Measured, State};
use super::steps::{Learning, Steps};
use super::weight::without_weight;
use super::{Options, Passes, delay, shifts};
use crate::encoder::{self, Encoder, feature_columns};
use crate::error::{CheckpointError, Error, list};
use crate::learner::{Learner, Prediction};
use crate::rows::{
    Admission, Attribute, Buffer, Place, Reading, Record, Reservoir, ResumeFrom, Row, Source, Use, column,
};
use crate::schema::Schema;

/// The largest size in memory, in bytes, of the rows that the encoder is fitted on, and of the
/// sample of the rows.
const MOST_BYTES: usize = 256 << 20;
/// The longest text of a feature in bytes; levels are kept and become part of the model.
const MOST_TEXT: usize = 1024;

/// Learns from a stream of records. It contains the labels and groups of the schema, an encoder
/// fitted on the first rows, the learner, its measures, and a sample of the rows for the model's
/// background. A checkpoint or a model can be taken after any record.
///
/// Memory does not grow with the number of records.
///
/// ```
/// use feamoe::learner::LearnerOptions;
/// use feamoe::rows::{Cell, Cells};
/// use feamoe::schema::Schema;
/// use feamoe::training::{Options, Trainer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let schema = Schema::from_toml("loans", "[target]\ncolumn = \"paid\"\npositive = [\"1\"]\n")?;
/// let options = Options::new(LearnerOptions::default().check()?);
/// let mut trainer = Trainer::new(&["income", "paid"], schema, &options)?;
/// let mut cells = Cells::new(2);
/// for row in 0..6_000_u32 {
///     let income = f64::from(row * 7_919 % 1_000);
///     cells.set(&[Cell::Number(income), Cell::Number(f64::from(u8::from(income > 500.0)))]);
///     trainer.learn(&cells.record("memory", row.into()))?;
/// }
/// let model = trainer.model()?; // read back by the engine, compared row by row
/// assert!(trainer.prequential().summary().total.accuracy > 0.9);
///
/// let stored = trainer.checkpoint().to_bytes()?; // resumes elsewhere, to the same bits
/// let again = Trainer::from_bytes(&stored)?;
/// assert_eq!(again.model()?.bytes, model.bytes);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Trainer {
    schema: Schema,
    encoding: encoder::Options,
    admission: Admission,
    /// Columns of features.
    features: Vec<usize>,
    pub(super) encoder: Encoder,
    /// The rows so far, until there are enough to fit the encoder; `None` afterwards. Until then
    /// the learner has learned nothing.
    start: Option<Start>,
    pub(super) reservoir: Reservoir,
    delay: Delay,
    pub(super) state: State,
    earlier_rows: u64,
    passes: Passes,
    /// The column of the sample weights.
    weight: Option<String>,
    reading: Reading,
    /// Whether to hash pushed records, because no source hashes them.
    hashes: bool,
    /// Keeps all rows instead of learning from them.
    keeps_rows: bool,
}

impl Trainer {
    /// Starts with records of these columns.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] for a column that the schema names, [`Error::FeatureCount`], and
    /// [`Error::Input`] for options that apply only to files (several passes, or shuffling),
    /// for a column of weights that the schema needs for something else, and for a delay out of
    /// range.
    pub fn new<S: AsRef<str>>(columns: &[S], schema: Schema, options: &Options) -> Result<Self, Error> {
        if options.epochs != 1 || options.shuffle {
            return Err(Error::Input("pushed records are learned from once, in the order given".into()));
        }
        let columns: Arc<[String]> = columns.iter().map(|name| name.as_ref().to_owned()).collect();
        let schema = without_weight(&schema, options.weight.as_deref())?.into_owned();
        Ok(Self::of_source(&columns, "the table", schema, options)?.pushed())
    }

    /// Like [`Trainer::new`], for a source with this name that hashes what it reads.
    pub(super) fn of_source(
        columns: &Arc<[String]>,
        file: &str,
        schema: Schema,
        options: &Options,
    ) -> Result<Self, Error> {
        if options.label_delay > 0 && (options.epochs > 1 || options.shuffle) {
            return Err(Error::Input("a label delay needs a single pass in the order of the data".into()));
        }
        delay::check(options.label_delay)?;
        let mut admission = Admission::new(columns, file, &schema, Use::Learn)?;
        if let Some(split) = options.split {
            admission.keep(split);
        }
        if let Some(weight) = &options.weight {
            admission.weigh_by(weight, file)?;
        }
        let attributes = admission.attributes().count();
        let features = feature_columns(columns, file, &schema)?;
        let is_feature = |name: &str| features.iter().any(|feature| columns.get(*feature).is_some_and(|c| c == name));
        shifts::check(&schema, options.learner.fair_by(), is_feature)?;
        let rows = Buffer::new(columns.len(), &features, attributes);
        let mut learner = Learner::new(options.learner.clone(), attributes);
        let shared = options.encoding.as_deref();
        let shared = shared.map(|shared| shared.encoder(&schema, &options.encoder, columns, &features, file));
        let encoder = shared.transpose()?.unwrap_or_default();
        learner.hold(encoder.monotone());
        // Rows that are kept first wait in a start.
        let start = (!encoder.is_held() || options.shuffle).then(|| Start::new(rows.clone()));
        let measured = Measured::new(options.window);
        Ok(Self {
            schema,
            encoding: options.encoder.clone(),
            admission,
            features,
            reservoir: Reservoir::new(rows.clone(), options.background, options.seed),
            delay: Delay::new(options.label_delay, rows),
            encoder,
            start,
            state: State::new(learner, measured, 0),
            earlier_rows: 0,
            passes: Passes { epochs: options.epochs, shuffled: options.shuffle, shards: 1 },
            weight: options.weight.clone(),
            reading: Reading::default(),
            hashes: false,
            keeps_rows: false,
        })
    }

    /// Resumes from the bytes of a checkpoint, with records of the same columns.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |error: CheckpointError| Error::Checkpoint { file: "the checkpoint".into(), error };
        Self::from_checkpoint(Checkpoint::from_bytes(bytes).map_err(refuse)?)
    }

    /// Resumes from a checkpoint, with records of the same columns.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] if the parts of the checkpoint do not fit together.
    pub fn from_checkpoint(checkpoint: Checkpoint<'_>) -> Result<Self, Error> {
        let columns = checkpoint.place.columns().into();
        Ok(Self::resume(checkpoint, &columns, "the table", ResumeFrom::Rest)?.pushed())
    }

    /// Prepares for pushed records, which the trainer hashes itself. They count as new, however
    /// often the earlier ones were learned from.
    pub(super) fn pushed(mut self) -> Self {
        self.hashes = true;
        self.begin_pass(1);
        self
    }

    /// Resumes from a checkpoint with a source of these columns.
    pub(super) fn resume(
        checkpoint: Checkpoint<'_>,
        columns: &Arc<[String]>,
        file: &str,
        resume_from: ResumeFrom,
    ) -> Result<Self, Error> {
        let Checkpoint { schema, encoding, passes, weight, place, stage, reservoir, delay, learner, measured, rows } =
            checkpoint;
        let mut admission = Admission::new(columns, file, &schema, Use::Learn)?;
        admission.resume(&place, resume_from);
        if let Some(weight) = &weight {
            admission.weigh_by(weight, file)?;
        }
        let mut reservoir = reservoir.into_owned();
        reservoir.resume();
        let mut delay = delay.into_owned();
        delay.resume();
        let (mut encoder, mut start) = match stage {
            Stage::Starting(start) => (Encoder::default(), Some(start.into_owned())),
            Stage::Learning(encoder) => (encoder.into_owned(), None),
        };
        if let Some(start) = &mut start {
            start.resume(&schema, columns, file)?;
        }
        encoder.bind(columns, file)?;
        encoder.set_schema(&schema);
        let mut learner = learner.into_owned();
        learner.hold(encoder.monotone());
        let features = feature_columns(columns, file, &schema)?;
        let Place { reading, .. } = place;
        Ok(Self {
            schema: schema.into_owned(),
            encoding,
            admission,
            features,
            encoder,
            start,
            reservoir,
            delay,
            state: State::new(learner, measured.into_owned(), rows),
            earlier_rows: rows,
            passes,
            weight,
            reading,
            hashes: false,
            keeps_rows: false,
        })
    }

    /// Learns from a record. Returns its score from before learning; `None` if the record is not
    /// used.
    ///
    /// Until there are enough rows to fit the encoder, drafts of the model score them; then the
    /// model learns from all of them at once.
    ///
    /// *Cost:* time proportional to the number of experts times the number of features.
    ///
    /// # Errors
    /// [`Error::NotANumber`], and when the encoder is fitted, the errors of [`Encoder::fit`]. A
    /// record with an error was not learned from.
    pub fn learn(&mut self, record: &Record<'_>) -> Result<Option<Prediction>, Error> {
        if self.hashes {
            record.hash_into(&mut self.reading.digest, self.admission.columns().len());
        }
        if !self.admission.admit(record)? {
            return Ok(None);
        }
        self.check_text(record)?;
        if self.reservoir.bytes() > MOST_BYTES {
            return Err(self.too_much_memory(record, "the sample for the background", self.reservoir.rows().count()));
        }
        if self.delay.bytes() > MOST_BYTES {
            return Err(self.too_much_memory(record, "the rows whose labels are late", self.delay.waiting()));
        }
        if self.keeps_rows {
            let row = self.admission.row(*record);
            self.reservoir.offer(&row);
            self.start.iter_mut().try_for_each(|start| start.keep(&row))?;
            return Ok(None);
        }
        let Self { schema, encoding, admission, features, encoder, start, reservoir, delay, state, .. } = self;
        let row = admission.row(*record);
        let Some(start) = start else {
            let learning = Learning { features, encoder, admission, state };
            return Steps { learning, reservoir, delay }.take(&row).map(Some);
        };
        let late = delay.rows() as usize;
        let prediction = start.take(&row, &plan(schema, encoding, admission, &state.learner, late), |row, said| {
            state.measured.observe(row, said, state.learner.options());
            reservoir.offer(row);
        });
        if start.bytes() > MOST_BYTES {
            let rows = start.rows().len();
            return Err(self.too_much_memory(record, "all that the encoding is fitted on", rows));
        }
        self.fit_if_due()?;
        Ok(Some(prediction))
    }

    /// Counts a record and its cells like [`Trainer::learn`], and lets the encoding follow, but
    /// learns nothing else from it. Returns whether a run would learn from it. The encoder must be
    /// fitted.
    pub(super) fn look(&mut self, record: &Record<'_>) -> Result<bool, Error> {
        if !self.admission.admit(record)? {
            return Ok(false);
        }
        self.check_text(record)?;
        let Self { admission, encoder, state, .. } = self;
        encoder.learn_one(&admission.row(*record), &mut state.example)?;
        _ = encoder.follow();
        Ok(true)
    }

    /// Returns an error if a text is too long for a level.
    fn check_text(&self, record: &Record<'_>) -> Result<(), Error> {
        let Some((column, found)) = record.long_text(&self.features, MOST_TEXT) else { return Ok(()) };
        let column = self.admission.columns().get(column).cloned().unwrap_or_default();
        Err(Error::LongText { at: record.position.into(), column, found, limit: MOST_TEXT })
    }

    /// Scores a record with the current state, as if it came next and no expert were due, without
    /// learning from it. Its label, its weight and the filters do not matter.
    ///
    /// *Cost:* a third of [`Trainer::learn`].
    ///
    /// # Errors
    /// [`Error::NotANumber`].
    pub fn score(&mut self, record: &Record<'_>) -> Result<Prediction, Error> {
        let Self { admission, encoder, start, state, .. } = self;
        let groups = admission.groups_of(record);
        let row = Row { record: *record, label: None, groups: &groups, weight: 1.0 };
        if let Some(start) = start {
            return Ok(start.score(&row, admission.attributes(), &state.learner));
        }
        encoder.encode(&row, &mut state.example)?;
        Ok(state.score(encoder, admission.attributes()))
    }

    /// Ends the start if there are enough rows to fit the encoder.
    fn fit_if_due(&mut self) -> Result<(), Error> {
        let is_due = |start: &Start| start.rows().len() >= self.encoding.warmup.max(1);
        if self.start.as_ref().is_some_and(is_due) { self.fit() } else { Ok(()) }
    }

    #[cold]
    fn too_much_memory(&self, record: &Record<'_>, what: &'static str, rows: usize) -> Error {
        Error::TooMuchMemory { at: record.position.into(), what, rows, limit: MOST_BYTES >> 20 }
    }

    /// Learns from every record of a source, which must have the columns that the trainer was
    /// created with, in the same order.
    ///
    /// # Errors
    /// The errors of the source and of [`Trainer::learn`], and [`Error::Input`] for other columns.
    pub fn learn_all(&mut self, source: &mut impl Source) -> Result<(), Error> {
        if source.columns() != self.admission.columns() {
            let (found, expected) = (list(source.columns()), list(self.admission.columns()));
            return Err(Error::Input(format!("found the columns {found}, expected {expected}, in this order")));
        }
        while source.advance()? {
            self.learn(&source.record())?;
        }
        Ok(())
    }

    /// Fits the encoder on the rows so far, and learns from them.
    pub(super) fn fit(&mut self) -> Result<(), Error> {
        let Self { schema, encoding, admission, features, encoder, start, reservoir, delay, state, .. } = self;
        let Some(start) = start else { return Ok(()) };
        *encoder = Encoder::fit(start.rows(), admission.columns(), schema, encoding)?;
        state.learner.hold(encoder.monotone());
        start.forget_draft();
        state.is_measured = true;
        let mut steps = Steps { learning: Learning { features, encoder, admission, state }, reservoir, delay };
        for row in start.rows().rows() {
            steps.take(&row)?;
        }
        // These are all rows whose labels were known at the start; the label delay may have been
        // shorter then.
        while steps.learning.state.rows < start.known() as u64 {
            steps.learn_oldest()?;
        }
        state.is_measured = false;
        delay.say(start.arrivals());
        self.start = None;
        Ok(())
    }

    /// Returns this trainer with its encoder fitted on the rows so far, even if there are few: the
    /// result of a run that ends here.
    ///
    /// # Errors
    /// The same as [`Trainer::learn`].
    pub fn fitted(&self) -> Result<Cow<'_, Self>, Error> {
        if self.encoder().is_some() {
            return Ok(Cow::Borrowed(self));
        }
        let mut fitted = self.clone();
        fitted.fit()?;
        Ok(Cow::Owned(fitted))
    }

    /// Returns the current model, with its background and its card, checked on a sample of the
    /// rows.
    ///
    /// # Errors
    /// See [`ExportError`]. [`ExportError::Data`] if an outcome or a group that the schema names
    /// has no rows.
    pub fn model(&self) -> Result<Export, ExportError> {
        let files = self.reading.files().unwrap_or_else(|| "the table".to_owned());
        if self.is_shard() {
            self.admission.check_outcomes(&files)?;
        } else {
            self.admission.check_learned(&files)?;
        }
        let fitted = self.fitted()?;
        let Self { schema, encoding, admission, encoder, reservoir, delay, state, reading, .. } = &*fitted;
        if state.rows == 0 && delay.waiting() > 0 {
            let (waiting, late) = (delay.waiting(), delay.rows());
            let message = format!(
                "found {waiting} rows, expected more, since with a label delay of {late} rows no label is known yet"
            );
            return Err(ExportError::Data(Error::Input(message)));
        }
        let learner = &state.learner;
        let shifted = shifts::folded(learner, encoder, admission.attributes().next())?;
        let mut weights = learner.weights();
        if let Some(rows) = &shifted {
            weights.rows = rows.view();
        }
        let source = Learned {
            encoder,
            weights,
            calibrator: learner.calibrator(),
            threshold: learner.exported_threshold(),
            positive_name: schema.target.positive.first().map_or("", String::as_str),
            provenance: Provenance {
                training_rows: state.rows,
                data_sha256: reading.digest().finish(),
                seed: learner.options().seed(),
                trainer_version: super::version(),
            },
        };
        let column = |name: &str| column(admission.columns(), "", name, "the model");
        let card = card(&fitted, encoding, self.passes, self.weight.as_deref());
        export(&source, &card, reservoir, column, |example| {
            let score = learner.predict_exported(&example.terms, &example.groups);
            [score, learner.calibrated(&example.terms, score)]
        })
    }

    /// Returns the complete state, to resume here or elsewhere.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint {
            schema: Cow::Borrowed(&self.schema),
            encoding: self.encoding.clone(),
            passes: self.passes,
            weight: self.weight.clone(),
            place: self.admission.place(self.reading.clone()),
            stage: match &self.start {
                Some(start) => Stage::Starting(Cow::Borrowed(start)),
                None => Stage::Learning(Cow::Borrowed(&self.encoder)),
            },
            reservoir: Cow::Borrowed(&self.reservoir),
            delay: Cow::Borrowed(&self.delay),
            learner: Cow::Borrowed(&self.state.learner),
            measured: Cow::Borrowed(&self.state.measured),
            rows: self.state.rows,
        }
    }

    /// Sets the place in the data.
    pub(super) fn read(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// Checks that what was read could be learned from.
    pub(super) fn check(&self, files: &str) -> Result<(), Error> {
        if self.is_shard() { self.admission.check_part(files) } else { self.admission.check(files) }
    }

    /// Returns whether the rows may be a part of the data, because other runs share the encoding.
    /// Such a part may lack groups; merging checks that not all parts do.
    fn is_shard(&self) -> bool {
        self.encoder.is_held()
    }

    /// Checks that the rows of all shards have every group that the schema names.
    pub(super) fn check_groups(&self) -> Result<(), Error> {
        self.admission.check_learned("the shards")
    }
}

/// Returns the plan for the drafts of a start.
fn plan<'a>(
    schema: &'a Schema,
    encoding: &'a encoder::Options,
    admission: &'a Admission,
    learner: &'a Learner,
    late: usize,
) -> Plan<'a, impl Iterator<Item = &'a Attribute> + Clone> {
    Plan { columns: admission.columns(), schema, encoding, learner, attributes: admission.attributes(), late }
}
