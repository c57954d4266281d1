//! The counts of an evaluation, over all rows or over a part of them, a *shard*. Counts of shards
//! add up: the evaluation of the sum equals that of all rows, to the last bit.
//!
//! To make this possible, everything is counted in integers. Sums (of log-losses, probabilities,
//! burdens, distances) are integer multiples of a unit, to which each record is rounded: 2^-64 for
//! log-losses and probabilities. Neither the order of the rows nor their division into shards
//! changes a sum. Open groups, which the schema does not list, are in the order of their first
//! occurrence, shard after shard.
//!
//! Some results do not add up. They are handled as follows:
//!
//! - proxies are left out, because the search for them needs a sample of the rows, which counts do
//!   not have: [`EvaluationCounts::evaluation`] has none, and adds a warning;
//! - individual unfairness is NaN for a protected numeric column with open groups whose values are
//!   not in the model's background, because a record is tried with the values that occurred before
//!   it. A warning names the column;
//! - values that match nothing (bad cells, unlisted labels and groups) are all counted, but each
//!   shard names only its first ten;
//! - a group that is a number is named by its first spelling. If shards spell it differently, an
//!   intersection with it has several groups.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::attribute::{AttributeReport, OtherLabels};
use super::evaluation::{Evaluation, Evaluator, RecourseBurden, count_rows};
use super::individual::IndividualCounts;
use super::inputs::Inputs;
use crate::error::Error;
use crate::model::AnyModel;
use crate::model::card::Card;
use crate::rows::{Digest, NoUnion, Place, Seen, Stream};
use crate::schema::{Schema, Target};

/// First bytes of stored counts.
const MAGIC: [u8; 4] = *b"FEAN";
/// Version of their format, the only one that is read.
const VERSION: u16 = 1;

/// The counts of an evaluation, with its schema.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluationCounts {
    #[serde(with = "crate::schema::as_text")]
    schema: Cow<'static, Schema>,
    counted: Counted,
}

/// The counts of an evaluation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Counted {
    /// Checksum of the model.
    pub(super) model: u32,
    pub(super) favourable_outcome: String,
    /// Whether recourse was searched for declined records.
    pub(super) has_distances: bool,
    /// The groups, and the counts of records used and left out.
    pub(super) place: Place,
    pub(super) individual: IndividualCounts,
    pub(super) evaluator: Evaluator,
    pub(super) inputs: Inputs,
    /// By feature.
    pub(super) bad_cells: Vec<Seen>,
}

/// Why counts cannot be added or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CountsError {
    /// The shard was evaluated in another way.
    #[error("its {what} differs from that of the earlier shards")]
    Differs {
        /// What differs.
        what: &'static str,
    },
    /// The shards have more groups than an attribute can have.
    #[error("the shards have more than 254 groups of {attribute:?} together")]
    TooManyGroups {
        /// The protected attribute.
        attribute: String,
    },
    /// The schema lists no unfavourable outcome, but the shards have several.
    #[error(
        "the shards have several labels besides the favourable outcome, expected one; list them under target.negative"
    )]
    Labels,
    /// The bytes are not counts.
    #[error("the bytes are not counts of an evaluation, or they are damaged")]
    Damaged,
    /// The counts have another version.
    #[error("found counts of version {found}, expected version {VERSION}; count with the same version everywhere")]
    Version {
        /// The version found.
        found: u16,
    },
}

impl From<NoUnion> for CountsError {
    fn from(error: NoUnion) -> Self {
        match error {
            NoUnion::Groups(attribute) => Self::TooManyGroups { attribute },
            NoUnion::Labels => Self::Labels,
        }
    }
}

impl EvaluationCounts {
    /// Scores the labelled rows of a stream with this schema, possibly none, and counts what
    /// [`evaluate`](super::evaluation::evaluate) reports.
    ///
    /// # Errors
    /// Those of the stream and of [`Binding`](super::binding::Binding); [`Error::OtherOutcome`].
    pub fn count(
        model: AnyModel<'_>,
        card: Option<&Card>,
        stream: &mut Stream,
        schema: &Schema,
        recourse_burden: RecourseBurden,
    ) -> Result<Self, Error> {
        let counted = count_rows(model, card, stream, recourse_burden, &mut |_| Ok(()), &mut |_| ())?;
        Ok(Self { schema: Cow::Owned(schema.clone()), counted })
    }

    /// Adds the counts of the next shard.
    ///
    /// # Errors
    /// See [`CountsError`]. Nothing is added then.
    pub fn add(&mut self, other: &Self) -> Result<(), CountsError> {
        let (own, others) = (&self.counted, &other.counted);
        let same = [
            ("model", own.model == others.model),
            ("schema", self.schema == other.schema),
            ("search for recourse", own.has_distances == others.has_distances),
        ];
        match same.into_iter().find(|(_, is_same)| !is_same) {
            Some((what, _)) => Err(CountsError::Differs { what }),
            None => self.counted.merge(others),
        }
    }

    /// Returns the number of records counted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let counts = self.counted.place.counts();
        counts.positive.saturating_add(counts.negative)
    }

    /// Returns the evaluation of the counts. Results that do not add up are left out, and warnings
    /// name them.
    ///
    /// # Errors
    /// [`Error::NoUsableRows`] without rows, and [`Error::AbsentGroup`] for a protected column
    /// without any occurring group.
    pub fn evaluation(&self) -> Result<Evaluation, Error> {
        self.counted.place.check_rows(&self.schema, "the shards")?;
        let mut evaluation = self.counted.report(&self.schema.target);
        for column in self.counted.individual.lost(self.counted.place.every_attribute()) {
            evaluation.warnings.push(format!(
                "column {column:?}: individual unfairness is left out, since it does not add up: a record is tried with the values that occurred before it"
            ));
        }
        evaluation
            .warnings
            .push("proxies are left out, since the search for them needs a sample of all rows".to_owned());
        Ok(evaluation)
    }

    /// Returns bytes that [`EvaluationCounts::from_bytes`] reads. Their number grows with the
    /// number of distinct scores.
    ///
    /// # Errors
    /// [`CountsError::Damaged`], only if memory is exhausted.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CountsError> {
        let payload = postcard::to_stdvec(self).map_err(|_| CountsError::Damaged)?;
        Ok([&MAGIC[..], &VERSION.to_le_bytes(), &Digest::of(&payload), &payload].concat())
    }

    /// Reads the bytes that [`EvaluationCounts::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CountsError::Damaged`], [`CountsError::Version`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CountsError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(CountsError::Damaged)?;
        let (version, rest) = rest.split_first_chunk().ok_or(CountsError::Damaged)?;
        let found = u16::from_le_bytes(*version);
        if found != VERSION {
            return Err(CountsError::Version { found });
        }
        let (hash, payload) = rest.split_first_chunk().ok_or(CountsError::Damaged)?;
        if *hash != Digest::of(payload) {
            return Err(CountsError::Damaged);
        }
        let counts: Self = postcard::from_bytes(payload).map_err(|_| CountsError::Damaged)?;
        let is_sound = counts.schema.is_sound() && counts.counted.place.is_sound(&counts.schema);
        if is_sound { Ok(counts) } else { Err(CountsError::Damaged) }
    }
}

impl Counted {
    fn merge(&mut self, other: &Self) -> Result<(), CountsError> {
        let (place, groups) = Place::unite(&[&self.place, &other.place])?;
        self.place = place;
        if let Some(groups) = groups.get(1) {
            self.evaluator.merge(&other.evaluator, groups);
        }
        self.individual.merge(&other.individual);
        self.inputs.merge(&other.inputs);
        self.bad_cells.iter_mut().zip(&other.bad_cells).for_each(|(bad, other)| bad.merge(other));
        Ok(())
    }

    /// Returns the evaluation, without proxies.
    pub(super) fn report(&self, target: &Target) -> Evaluation {
        let attributes = || self.place.every_attribute();
        let counts = self.place.counts();
        let (individual_unfairness, individual) = self.individual.report(attributes());
        let each = attributes().zip(individual);
        Evaluation {
            skipped: counts.filtered.saturating_add(counts.unlabelled),
            other_labels: OtherLabels::new(self.place.other_labels(), target),
            favourable_outcome: self.favourable_outcome.clone(),
            individual_unfairness,
            attributes: each.map(|(attribute, individual)| AttributeReport::new(attribute, individual)).collect(),
            inputs: self.inputs.report(self.bad_cells.iter().cloned()),
            warnings: self.inputs.warnings(self.bad_cells.iter().cloned()),
            ..self.evaluator.report(attributes())
        }
    }
}
