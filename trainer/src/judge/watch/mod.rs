//! Monitors a model in use: detects changes of inputs, scores, decisions, decision rates of groups
//! and calibration, row by row, in constant memory.
//!
//! There are two kinds of results. An *alarm* comes from a test whose false-alarm rate holds for an
//! endless stream ([`Exchangeability`]): the probability that a stream that never changes ever
//! raises an alarm is at most [`Options::false_alarms`]. The k-th quantity is tested at the level
//! `false_alarms / (k (k + 1))`; these levels add up to `false_alarms`, however many groups appear.
//! After an alarm, the quantity is compared with the values from then on, and a further change
//! raises a further alarm. A *window* of rows has measures: the population stability index of every
//! feature against the reference, and the engine's fairness measures.
//!
//! | quantity | stratum | cells |
//! | --- | --- | --- |
//! | input | - | those of its [`Axis`] |
//! | score | - | 20 parts of [0, 1] |
//! | decision | - | declined, favourable |
//! | selection rate of a group | - | the same, of its records |
//! | true or false positive rate of a group | - | the same, of its records with this outcome |
//! | calibration, below and from 1/2 | tenth of the probability | other, favourable outcome |
//!
//! The rows of the reference are used for comparison and not tested. Without a reference, the first
//! rows of the stream take its place.
//!
//! In a stream that never changes, the order of the rows has no meaning. Seasons, batches of one
//! kind and sorted files are changes, and are detected. Outcomes are tested in the order in which
//! they arrive: if one outcome is known sooner than the other, the first ones look like a change.
//!
//! Labels may come with their record, or later in a row with the same id ([`Watched::id`]). Only
//! the outcome of that row is used. A row without any value and with an unknown id is an outcome
//! without a record; it is left out and counted, like further rows with an id.

pub mod axis;
pub mod exchange;
pub mod psi;
mod rates;
pub mod report;
mod tally;
mod waiting;

use feamoe_engine::schema::Note;
use feamoe_engine::{FeatureIndex, Value};

use self::axis::Axis;
use self::exchange::{Change, Exchangeability};
use self::rates::{Rates, Which};
use self::report::{Alarm, Drift, Ids, InputDrift, Quantity, Reference, ReferenceFrom, Summary, Window};
use self::tally::WindowTally;
use self::waiting::{Found, Scored, Waiting};
use crate::error::Error;
use crate::judge::attribute::{AttributeReport, OtherLabels};
use crate::judge::binding::Binding;
use crate::judge::reliability::{CALIBRATION_BINS, calibration_bin, log_loss};
use crate::model::{HostModel, HostRecord};
use crate::rows::{Attribute, Stream};

/// The number of parts in which scores are counted.
const SCORE_PARTS: u16 = 20;

/// The options of a [`Watch`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Bound on the probability that a stream that never changes ever raises an alarm, however long
    /// it is; in (0, 1).
    pub false_alarms: f64,
    /// Rows of a window, from 1.
    pub window: u64,
    /// Maximum number of records that wait for their outcome. Beyond it, the oldest one is
    /// forgotten.
    pub most_waiting: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { false_alarms: 0.01, window: 1_000, most_waiting: 100_000 }
    }
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// 1-based number of the record.
    pub row: u64,
    /// The values, by feature.
    pub values: Vec<Value>,
    /// Whether the outcome is the favourable one; `None` if it is not known.
    pub label: Option<bool>,
    /// Group in each attribute, as in a [`crate::rows::Row`].
    pub groups: Vec<u8>,
    /// The id of the record, if outcomes come later.
    pub id: Option<Vec<u8>>,
}

/// An event that a row caused.
#[derive(Clone, Debug)]
pub enum Event {
    /// A change was detected.
    Alarm(Alarm),
    /// A window is complete; the last one may be shorter.
    Window(Box<Window>),
    /// The rows so far of an incomplete window, at a pause of followed data. There may be several
    /// such events before the window is complete.
    SoFar(Box<Window>),
}

/// Monitors one model; see the module documentation.
#[derive(Debug)]
pub struct Watch<'m> {
    model: &'m HostModel<'m>,
    record: HostRecord<'m>,
    options: Options,
    inputs: Vec<Watcher>,
    score: Watcher,
    decision: Exchangeability,
    /// One for the probabilities below 1/2 and one for the others: overconfidence moves them in
    /// opposite directions.
    calibration: [Exchangeability; 2],
    rates: Rates,
    waiting: Waiting,
    has_ids: bool,
    ids: Ids,
    other_labels: OtherLabels,
    attributes: Vec<AttributeReport>,
    reference: Reference,
    window: WindowTally,
    rows: u64,
    labelled: u64,
    alarms: u64,
}

/// The test of a feature or of the scores, and its counts for the stability index.
#[derive(Clone, Debug)]
struct Watcher {
    axis: Axis,
    test: Exchangeability,
    reference: Vec<u64>,
    window: Vec<u64>,
}

impl Watcher {
    fn new(axis: Axis, level: f64, seed: u64) -> Self {
        let cells = axis.cells();
        let test = Exchangeability::new(1, cells, level, seed);
        Self { axis, test, reference: vec![0; cells], window: vec![0; cells] }
    }

    fn learn(&mut self, value: Value) {
        let cell = self.axis.cell(value);
        self.test.learn(0, cell);
        count(&mut self.reference, cell);
    }

    fn update(&mut self, value: Value) -> Option<Change> {
        let cell = self.axis.cell(value);
        count(&mut self.window, cell);
        self.test.update(0, cell)
    }

    fn drift(&self) -> Drift {
        let Self { window, reference, .. } = self;
        Drift { psi: psi::psi(window, reference), psi_by_chance: psi::by_chance(window, reference) }
    }
}

fn count(counts: &mut [u64], cell: usize) {
    if let Some(count) = counts.get_mut(cell) {
        *count += 1;
    }
}

/// Provides the level and the seed of each quantity.
#[derive(Clone, Debug)]
struct Levels {
    false_alarms: f64,
    given: u64,
}

impl Levels {
    fn next(&mut self) -> (f64, u64) {
        self.given += 1;
        let k = self.given as f64;
        (self.false_alarms / (k * (k + 1.0)), self.given)
    }
}

impl<'m> Watch<'m> {
    /// Starts without rows.
    ///
    /// # Errors
    /// [`Error::Input`] if an option is out of range.
    pub fn new(model: &'m HostModel<'m>, options: Options) -> Result<Self, Error> {
        let Options { false_alarms, window, .. } = options;
        if !(false_alarms > 0.0 && false_alarms < 1.0) {
            let message =
                format!("found a probability of false alarms of {false_alarms}, expected one above 0 and below 1");
            return Err(Error::Input(message));
        }
        if window == 0 {
            return Err(Error::Input("found windows of 0 rows, expected at least 1 row".to_owned()));
        }
        let mut levels = Levels { false_alarms, given: 0 };
        let mut two = |strata| {
            let (level, seed) = levels.next();
            Exchangeability::new(strata, 2, level, seed)
        };
        let (decision, calibration) = (two(1), [two(CALIBRATION_BINS), two(CALIBRATION_BINS)]);
        let mut watcher = |axis| {
            let (level, seed) = levels.next();
            Watcher::new(axis, level, seed)
        };
        let score = watcher(Axis::of_probabilities(SCORE_PARTS));
        let features = model.schema().features().iter().enumerate();
        let inputs = features.map(|(index, feature)| watcher(Axis::new(model, index, feature.kind()))).collect();
        Ok(Self {
            model,
            record: model.record(),
            options,
            inputs,
            score,
            decision,
            calibration,
            rates: Rates::new(levels),
            waiting: Waiting::new(options.most_waiting),
            has_ids: false,
            ids: Ids::default(),
            other_labels: OtherLabels::default(),
            attributes: Vec::new(),
            reference: Reference { from: ReferenceFrom::Stream, rows: 0 },
            window: WindowTally::default(),
            rows: 0,
            labelled: 0,
            alarms: 0,
        })
    }

    /// Uses the background records of the model as the reference. Returns whether it has any.
    pub fn learn_background(&mut self) -> bool {
        let rows = self.model.background_rows();
        for row in 0..rows {
            let values = self.model.background_values(row).into_iter().flatten().collect();
            self.learn(&Watched { values, ..Watched::default() });
        }
        if rows > 0 {
            self.reference.from = ReferenceFrom::Background;
        }
        rows > 0
    }

    /// Uses the rows of a stream as the reference.
    ///
    /// # Errors
    /// Those of the stream and of [`Binding`]; [`Error::NoUsableRows`].
    pub fn learn_all(&mut self, stream: &mut Stream<'_>) -> Result<(), Error> {
        let mut reader = Reader::new(self.model, stream, None)?;
        while reader.next(stream)? {
            self.learn(&reader.row);
            self.rates.name(stream.attributes());
        }
        stream.check_rows()?;
        self.reference.from = ReferenceFrom::Data;
        Ok(())
    }

    /// Adds a row of the reference.
    pub fn learn(&mut self, row: &Watched) {
        self.reference.rows += 1;
        let scored = self.score(row);
        for (input, value) in self.inputs.iter_mut().zip(&row.values) {
            input.learn(*value);
        }
        self.score.learn(Value::Number(scored.probability));
        let decision = usize::from(self.decides(&scored));
        self.decision.learn(0, decision);
        self.rates.learn(Which::Selection, &row.groups, decision);
        if let Some(label) = row.label {
            let bin = calibration_bin(scored.calibrated);
            half(&mut self.calibration, bin).learn(bin, usize::from(label));
            self.rates.learn(Which::of(label), &row.groups, decision);
        }
    }

    /// Monitors every row of a stream. `id` names the column that joins later outcomes; `take` gets
    /// each event at once.
    ///
    /// # Errors
    /// Those of the stream, of [`Binding`] and of `take`; [`Error::NoUsableRows`].
    pub fn observe_all<E: From<Error>>(
        &mut self,
        stream: &mut Stream<'_>,
        id: Option<&str>,
        mut take: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<Vec<String>, E> {
        let mut reader = Reader::new(self.model, stream, id)?;
        let mut shown = 0;
        loop {
            match reader.next(stream) {
                Ok(true) => {
                    self.rates.name(stream.attributes());
                    self.observe(&reader.row).into_iter().try_for_each(&mut take)?;
                }
                Ok(false) => break,
                Err(error) if error.is_pause() => {
                    let seen = self.rows + self.labelled;
                    if std::mem::replace(&mut shown, seen) != seen && !self.window.is_empty() {
                        take(Event::SoFar(Box::new(self.window())))?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        stream.check_rows()?;
        self.other_labels = OtherLabels::new(stream.other_labels(), stream.target()).known();
        let attributes = stream.attributes().filter(|attribute| !(self.has_ids && attribute.is_intersection()));
        let attributes = attributes.map(|attribute| AttributeReport::new(attribute, None));
        self.attributes = attributes.map(|report| if self.has_ids { report.known() } else { report }).collect();
        self.finish().into_iter().try_for_each(&mut take)?;
        let bad = reader.binding.bad_cells().zip(self.names());
        let bad = bad.filter(|(bad, _)| bad.rows() > 0);
        Ok(bad
            .map(|(bad, name)| {
                format!("column {name:?}: {} cells are not numbers and count as missing: {}", bad.rows(), bad.list())
            })
            .collect())
    }

    /// Monitors a row. Call [`Watch::name_groups`] first if there are new groups.
    pub fn observe(&mut self, row: &Watched) -> Vec<Event> {
        let key = row.id.as_deref().map(Waiting::key);
        self.has_ids |= key.is_some();
        let mut alarms = Vec::new();
        match (key.map(|key| (key, self.waiting.find(key))), row.label) {
            (Some((key, Found::Waiting)), Some(label)) => {
                if let Some(scored) = self.waiting.take(key) {
                    self.ids.joined += 1;
                    self.label(label, &scored, row.row, &mut alarms);
                }
            }
            (Some((_, Found::Waiting | Found::Known)), _) => self.ids.repeated += 1,
            (Some((_, Found::New)), Some(_)) if row.values.iter().all(|value| *value == Value::Missing) => {
                self.ids.unknown += 1;
            }
            (key, label) => {
                let scored = self.record(row, &mut alarms);
                if let Some(label) = label {
                    self.label(label, &scored, row.row, &mut alarms);
                }
                match key {
                    Some((key, _)) => self.waiting.insert(key, label.is_none().then_some(scored)),
                    None => self.ids.without_id += 1,
                }
            }
        }
        self.alarms += alarms.len() as u64;
        let mut events: Vec<Event> = alarms.into_iter().map(Event::Alarm).collect();
        if self.window.rows() == self.options.window {
            events.extend(self.finish());
        }
        events
    }

    /// Sets the names of the groups so far, in the order of the attributes.
    pub fn name_groups<'a>(&mut self, attributes: impl Iterator<Item = &'a Attribute>) {
        self.rates.name(attributes);
    }

    /// Returns the window so far, which must have rows.
    fn window(&self) -> Window {
        let tally = &self.window;
        let shares = |counts: [u64; 3]| counts.map(|count| count as f64 / tally.rows() as f64);
        let inputs = self.inputs.iter().zip(self.names()).enumerate().map(|(index, (input, feature))| {
            let [missing, clamped, unseen] = shares(tally.notes(index));
            InputDrift { feature, drift: input.drift(), missing, clamped, unseen }
        });
        tally.report(inputs.collect(), self.score.drift(), self.rates.names())
    }

    /// Ends a window before it is full; `None` if it has no rows.
    pub fn finish(&mut self) -> Option<Event> {
        if self.window.is_empty() {
            return None;
        }
        let window = self.window();
        self.window = WindowTally::default();
        for watcher in self.inputs.iter_mut().chain([&mut self.score]) {
            let window = std::mem::replace(&mut watcher.window, vec![0; watcher.reference.len()]);
            // Without a reference, the first window becomes the reference.
            if self.reference.rows == 0 {
                watcher.reference = window;
            }
        }
        if self.reference.rows == 0 {
            self.reference.rows = window.rows;
        }
        Some(Event::Window(Box::new(window)))
    }

    /// Returns the summary so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let ids = Ids { waiting: self.waiting.waiting(), expired: self.waiting.expired(), ..self.ids };
        Summary {
            model: format!("{:08x}", self.model.crc32()),
            rows: self.rows,
            labelled: self.labelled,
            alarms: self.alarms,
            quantities: self.inputs.len() + 4 + self.rates.count(),
            false_alarms: self.options.false_alarms,
            reference: self.reference,
            other_labels: self.other_labels.clone(),
            attributes: self.attributes.clone(),
            ids: self.has_ids.then_some(ids),
        }
    }

    /// Returns the names of the features.
    fn names(&self) -> impl Iterator<Item = String> + use<'m> {
        let schema = self.model.schema();
        (0..schema.features().len()).map(move |index| schema.feature_name(index).unwrap_or_default().to_owned())
    }

    fn score(&mut self, row: &Watched) -> Scored {
        self.record.clear();
        for (index, value) in row.values.iter().enumerate() {
            // The values belong to this model, so none can be refused.
            let _ = self.record.set_value(FeatureIndex(index), *value);
        }
        let score = self.model.score(&self.record).unwrap_or_default();
        let calibrated = self.model.calibrated(&self.record, &score).unwrap_or(f32::NAN);
        Scored { probability: score.probability, calibrated, groups: row.groups.as_slice().into() }
    }

    fn decides(&self, scored: &Scored) -> bool {
        scored.probability >= self.model.threshold()
    }

    /// Processes a record.
    fn record(&mut self, row: &Watched, alarms: &mut Vec<Alarm>) -> Scored {
        self.rows += 1;
        let scored = self.score(row);
        let notes: &[Note] = self.record.notes();
        self.window.observe(row.row, notes, &scored, self.model.threshold());
        let decision = usize::from(self.decides(&scored));
        for (index, (input, value)) in self.inputs.iter_mut().zip(&row.values).enumerate() {
            if let Some(change) = input.update(*value) {
                let feature = self.model.schema().feature_name(index).unwrap_or_default().to_owned();
                alarms.push(alarm(Quantity::Input { feature }, row.row, change, input.axis.name(change.cell)));
            }
        }
        if let Some(change) = self.score.update(Value::Number(scored.probability)) {
            alarms.push(alarm(Quantity::Score, row.row, change, self.score.axis.name(change.cell)));
        }
        if let Some(change) = self.decision.update(0, decision) {
            alarms.push(alarm(Quantity::Decision, row.row, favourable(change), "favourable".into()));
        }
        self.rates.update(Which::Selection, &scored.groups, decision, row.row, alarms);
        scored
    }

    /// Processes an outcome.
    fn label(&mut self, label: bool, scored: &Scored, row: u64, alarms: &mut Vec<Alarm>) {
        self.labelled += 1;
        self.window.label(row, label, scored, self.model.threshold());
        let bin = calibration_bin(scored.calibrated);
        if let Some(change) = half(&mut self.calibration, bin).update(bin, usize::from(label)) {
            let tenth = |bin: usize| bin as f64 / CALIBRATION_BINS as f64;
            let cell = format!("favourable outcomes at {} to {}", tenth(change.stratum), tenth(change.stratum + 1));
            alarms.push(alarm(Quantity::Calibration, row, favourable(change), cell));
        }
        let decision = usize::from(self.decides(scored));
        self.rates.update(Which::of(label), &scored.groups, decision, row, alarms);
    }
}

/// Returns the test of the half that contains a bin of probabilities.
fn half([lower, upper]: &mut [Exchangeability; 2], bin: usize) -> &mut Exchangeability {
    if 2 * bin < CALIBRATION_BINS { lower } else { upper }
}

/// Converts a change between two cells to a change of the second cell.
fn favourable(change: Change) -> Change {
    match change.cell {
        0 => Change { cell: 1, before: 1.0 - change.before, after: 1.0 - change.after, ..change },
        _ => change,
    }
}

fn alarm(quantity: Quantity, row: u64, change: Change, cell: String) -> Alarm {
    let Change { before, after, values_since, .. } = change;
    Alarm { quantity, row, values_since, cell, before, after }
}

/// Reads the rows of a stream, as a model takes them.
struct Reader {
    binding: Binding,
    id: Option<usize>,
    row: Watched,
}

impl Reader {
    fn new(model: &HostModel<'_>, stream: &mut Stream<'_>, id: Option<&str>) -> Result<Self, Error> {
        let binding = Binding::new(model, |name| stream.column(name, "the model"))?;
        let binding = binding.with_bad_cells(stream.bad_cells());
        let id = id.map(|name| stream.column(name, "joining later outcomes")).transpose()?;
        stream.want(&[binding.columns(), id.into_iter().collect()].concat());
        Ok(Self { binding, id, row: Watched::default() })
    }

    /// Reads the next row. Returns false at the end.
    fn next(&mut self, stream: &mut Stream<'_>) -> Result<bool, Error> {
        let Some(row) = stream.next_row()? else { return Ok(false) };
        let id = self.id.and_then(|column| row.cell(column).text()).map(std::borrow::Cow::into_owned);
        let values = self.binding.values(&row)?;
        self.row = Watched { row: row.position.number, values, label: row.label, groups: row.groups.to_vec(), id };
        Ok(true)
    }
}
