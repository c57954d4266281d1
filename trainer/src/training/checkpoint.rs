//! Checkpoints: the complete state of a run. Resuming gives the same bytes as never stopping.
//!
//! A checkpoint holds the schema, the place in the data, the encoder, the learner, the prequential
//! windows, and the reservoir of rows for the model's background and the check of the export.
//! [`training::resume`](crate::training::resume) needs only newer data in addition. Its size does
//! not grow with the stream.
//!
//! A run with too few rows to fit the encoder holds those rows, the draft that scores them
//! meanwhile, and an untrained learner, which learns from them once there are enough, as if there
//! had been no break.
//!
//! # Format
//!
//! ```text
//! 0        4        6        8                16                48                48 + length
//! +--------+--------+--------+----------------+-----------------+-----------------+
//! | "FEAC" | version| 0      | length         | SHA-256 of the  | payload:        |
//! |        | u16    | u16    | u64            | payload         | postcard        |
//! +--------+--------+--------+----------------+-----------------+-----------------+
//!            little endian
//! ```
//!
//! The payload is [`Checkpoint`] in [postcard](https://postcard.jamesmunns.com/wire-format)'s
//! encoding: fields in the order of the structs, which is the format. Another layout, or a learner
//! for which the same numbers mean something else, is another [`VERSION`]. Checkpoints of other
//! versions are refused, not converted, since they describe exactly the state of that version's
//! learner.
//!
//! Nothing is decoded before length and hash are verified. No memory is allocated from lengths
//! inside the payload (vectors grow as elements are read). The decoded parts must fit together
//! ([`CheckpointError::Contradictory`]). The hash detects damage; it does not show who wrote the
//! file.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::encoder::{self, Encoder};
use crate::error::{CheckpointError, Error};
use crate::learner::Learner;
use crate::rows::{Digest, Place, Reservoir};
use crate::schema::Schema;
use crate::training::Passes;
use crate::training::checkpoint_file::CheckpointFile;
use crate::training::delay::{self, Delay};
use crate::training::plausible;
use crate::training::start::Start;
use crate::training::state::Measured;
use crate::training::weight::check_newer;

/// First bytes of a checkpoint.
pub const MAGIC: [u8; 4] = *b"FEAC";
/// Version of the format, the only one that is read. 1: the first. 2: kept rows are the typed
/// values of the columns in use. 3: the experts' responsibilities in f64. 4: where each file
/// begins. 5: the decisions of the exported weights, the rows' order, a chosen threshold. 6: the
/// passes, the decisions after several of them, the name of the outcome, the calibration,
/// thresholds for each group, the share of known groups. 7: how numbers and dates are written,
/// words for *no value* by column, intersections, counts of the cells of features. 8: sample
/// weights, class weights, label delay. 9: the draft that scores the first rows, marks of blocks,
/// the schema as text, so that a new key does not change the layout. 10: whether the encoding is
/// held. 11: the number of merged shards; dropped events are a single count. 12: an increment for
/// each penalty.
pub const VERSION: u16 = 12;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 48;

/// The largest number of bytes of content: several thousand times the size of a usual learner.
const MOST_BYTES: u64 = 2 << 30;
/// Where the fields of the header begin.
const VERSION_AT: usize = 4;
const LENGTH_AT: usize = 8;
const HASH_AT: usize = 16;

/// First bytes of a model, which is easily confused with a checkpoint.
const MODEL_MAGIC: [u8; 4] = feamoe_engine::format::MAGIC;

/// A run at some row, or at its end.
#[derive(Clone, Serialize, Deserialize)]
pub struct Checkpoint<'a> {
    /// The schema; stored as TOML.
    #[serde(with = "crate::schema::as_text")]
    pub schema: Cow<'a, Schema>,
    /// The options of the encoder.
    pub encoding: encoder::Options,
    /// The passes over the data, before any newer data.
    pub passes: Passes,
    /// The column of sample weights, if any.
    pub weight: Option<String>,
    /// The place in the data.
    pub place: Place,
    /// The encoder, or the rows that it will be fitted on.
    pub stage: Stage<'a>,
    /// A sample of the rows that were learned from.
    pub reservoir: Cow<'a, Reservoir>,
    /// Rows that wait for their labels, with their scores.
    pub delay: Cow<'a, Delay>,
    /// The learner.
    pub learner: Cow<'a, Learner>,
    /// Measures on rows before they were learned from.
    pub measured: Cow<'a, Measured>,
    /// Rows learned from, counting every pass.
    pub rows: u64,
}

/// Whether the encoder is fitted.
#[derive(Clone, Serialize, Deserialize)]
pub enum Stage<'a> {
    /// Not yet: the rows so far, and the draft that scores them meanwhile.
    Starting(Cow<'a, Start>),
    /// The fitted encoder.
    Learning(Cow<'a, Encoder>),
}

impl Checkpoint<'_> {
    /// Returns the bytes of the file.
    ///
    /// # Errors
    /// The errors of reading, for an impossible state that could not be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        self.check_numbers()?;
        self.check()?;
        let bytes = postcard::to_extend(self, vec![0; HEADER_BYTES])
            .map_err(|_| CheckpointError::Undecodable { version: VERSION })?;
        let mut bytes: Vec<u8> = bytes;
        let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
        let fields =
            [&MAGIC[..], &VERSION.to_le_bytes(), &[0; 2], &(payload.len() as u64).to_le_bytes(), &Digest::of(payload)];
        for (to, from) in header.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        Ok(bytes)
    }

    /// Writes a [`CheckpointFile`] atomically.
    ///
    /// # Errors
    /// The errors of [`CheckpointFile::open`] and [`CheckpointFile::write`]. An existing file is
    /// then unchanged.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.to_bytes().map_err(|error| Error::Checkpoint { file: path.display().to_string(), error })?;
        CheckpointFile::open(path)?.write(&bytes)
    }

    /// Reads what [`Checkpoint::to_bytes`] wrote.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let length = payload_bytes(bytes)?;
        let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if payload.len() as u64 != length {
            return Err(CheckpointError::Length { found: payload.len() as u64, expected: length });
        }
        if bytes.get(HASH_AT..HEADER_BYTES) != Some(&Digest::of(payload)[..]) {
            return Err(CheckpointError::Damaged);
        }
        let (checkpoint, rest) = postcard::take_from_bytes::<Self>(payload)
            .map_err(|_| CheckpointError::Undecodable { version: VERSION })?;
        if !rest.is_empty() {
            return Err(CheckpointError::Undecodable { version: VERSION });
        }
        checkpoint.check_numbers()?;
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Checkpoint`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let read = |file: &mut dyn std::io::Read, bytes: &mut Vec<u8>, most: u64| {
            file.take(most).read_to_end(bytes).map(drop).map_err(|source| Error::Read { file: name(), source })
        };
        let refuse = |error| Error::Checkpoint { file: name(), error };
        let mut file = File::open(path).map_err(|source| Error::Read { file: name(), source })?;
        let mut bytes = Vec::new();
        // The header is read first, since another file may be very long or endless.
        read(&mut file, &mut bytes, HEADER_BYTES as u64)?;
        let length = payload_bytes(&bytes).map_err(refuse)?;
        if length > MOST_BYTES {
            return Err(refuse(CheckpointError::TooLong { found: length, limit: MOST_BYTES }));
        }
        // One more byte detects a file that is too long.
        read(&mut file, &mut bytes, length.saturating_add(1))?;
        Self::from_bytes(&bytes).map_err(refuse)
    }

    /// Uses this column of sample weights for newer rows, in this and later runs.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] if the run so far had no such column, and [`Error::Input`] if the
    /// column is a feature, or the schema needs it for something else.
    pub fn weigh_by(&mut self, column: &str) -> Result<(), Error> {
        check_newer(&self.schema, self.place.columns(), column)?;
        self.weight = Some(column.to_owned());
        Ok(())
    }

    /// Changes the label delay of newer rows, in this and later runs.
    ///
    /// # Errors
    /// [`Error::Input`] for more than [`delay::MOST_DELAY`].
    pub fn set_label_delay(&mut self, rows: u32) -> Result<(), Error> {
        delay::check(rows)?;
        self.delay.to_mut().set_rows(rows);
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), CheckpointError> {
        plausible::first_odd(self).map_or(Ok(()), |field| Err(CheckpointError::Number { field }))
    }

    /// Checks that the parts fit together, so that resuming meets no invalid index.
    pub(super) fn check(&self) -> Result<(), CheckpointError> {
        let attributes = self.schema.protected.len() + self.schema.intersection.len();
        let columns = self.place.columns().len();
        let fits = |part, holds| if holds { Ok(()) } else { Err(CheckpointError::Contradictory { part }) };
        fits("schema", self.schema.is_sound())?;
        fits("place in the data", self.place.is_sound(&self.schema))?;
        fits("learner", self.learner.is_sound(attributes))?;
        fits("sample of rows", self.reservoir.is_sound(columns, attributes))?;
        fits("rows whose labels are late", self.delay.is_sound(columns, attributes))?;
        match &self.stage {
            Stage::Starting(start) => fits("first rows", start.is_sound(columns, attributes)),
            Stage::Learning(encoder) => fits("encoder", encoder.is_sound()),
        }
    }
}

/// Checks the header, and returns the declared length of the payload.
fn payload_bytes(bytes: &[u8]) -> Result<u64, CheckpointError> {
    let too_short = CheckpointError::TooShort { found: bytes.len(), expected: HEADER_BYTES };
    let magic: [u8; 4] = array(bytes, 0).ok_or(too_short)?;
    if magic == MODEL_MAGIC {
        return Err(CheckpointError::Model);
    }
    if magic != MAGIC {
        return Err(CheckpointError::Magic { found: magic, expected: MAGIC });
    }
    let version = array(bytes, VERSION_AT).map(u16::from_le_bytes).ok_or(too_short)?;
    let zero = array(bytes, VERSION_AT + 2).map(u16::from_le_bytes).ok_or(too_short)?;
    if version != VERSION {
        return Err(CheckpointError::Version { found: version, expected: VERSION });
    }
    if zero != 0 {
        return Err(CheckpointError::Damaged);
    }
    if bytes.len() < HEADER_BYTES {
        return Err(too_short);
    }
    array(bytes, LENGTH_AT).map(u64::from_le_bytes).ok_or(too_short)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicBool;

    use serde_json::Value;

    use super::*;
    use crate::demo::{LendingStream, SCHEMA, write_csv};
    use crate::learner::{FairBy, Growth, LearnerOptions, Objective, ThresholdRule};
    use crate::rows::Input;
    use crate::training::{self, Options, Saving, Trainer};
    use feamoe_engine::fairness::Measure;

    /// First bytes of a hash over the paths of all fields: it changes with the layout. If it does,
    /// raise [`VERSION`] (once per release) and put the new value here.
    const LAYOUT: [u8; 4] = [20, 182, 204, 133];

    /// Collects the path of every field.
    fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| paths(value, &format!("{path}.{name}"), all));
            }
            Value::Array(values) => values.iter().for_each(|value| paths(value, &format!("{path}[]"), all)),
            _ => drop(all.insert(path.to_owned())),
        }
    }

    #[test]
    fn the_layout_is_that_of_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lending.csv");
        write_csv(&mut File::create(&path).unwrap(), LendingStream::new(1).take(400)).unwrap();
        let more = "[[protected]]\ncolumn = \"age\"\nprivileged = [\"40 and more\"]\ncuts = [40]\n[[protected]]\ncolumn = \"region\"\nprivileged = [\"north\"]\n[[intersection]]\ncolumns = [\"sex\", \"region\"]\n\
                    [table.missing_in]\nage = [\"-1\"]\n[table.dates.application]\nformat = \"%Y\"\nparts = [\"year\"]\n";
        let schema = Schema::from_toml("lending.toml", &format!("{SCHEMA}{more}")).unwrap();
        let targets = Measure::ALL.into_iter().fold(LearnerOptions::default(), |options, m| options.target(m, 0.1));
        let learner = targets.growth(Growth { every: 100, ..Growth::NONE });
        let learner = learner.threshold_rule(ThresholdRule::Auto(Objective::Balanced)).check().unwrap();
        let of_one = Schema::from_toml("lending.toml", SCHEMA).unwrap();
        let by_thresholds = LearnerOptions::default().target(Measure::Spd, 0.1).fair_by(FairBy::Threshold);
        let by_thresholds = by_thresholds.check().unwrap();
        let mut all = BTreeSet::new();
        for (warmup, learner, schema) in
            [(200, &learner, &schema), (500, &learner, &schema), (200, &by_thresholds, &of_one)]
        {
            let encoder = encoder::Options { warmup, bins: 4 };
            let options = Options { encoder, label_delay: 10, ..Options::new(learner.clone()) };
            let mut note = |trainer: &Trainer| {
                paths(&serde_json::to_value(trainer.checkpoint()).unwrap(), "", &mut all);
                Ok(())
            };
            let never = AtomicBool::new(false);
            let saving = Saving { every: 300, save: &mut note, stop: &never };
            let run = training::run_saving(
                &[Input::File(path.clone())],
                schema,
                &options,
                Some(saving),
                &mut training::unwatched,
            );
            note(run.unwrap().trainer()).unwrap();
        }
        let names: Vec<String> = all.into_iter().collect();
        let hash = Digest::of(names.join("\n").as_bytes());
        assert_eq!(hash[..4], LAYOUT, "{}", names.join("\n"));
    }
}
