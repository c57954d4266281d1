//! What an evaluation counts, of all rows or of a part of them, a *shard*. Counts of shards add up:
//! the evaluation of the sum is that of all rows, to the last bit.
//!
//! For that, everything is counted in integers. What is summed besides (log-losses, probabilities,
//! burdens, distances) is rounded record by record to a unit, of which there are whole numbers:
//! 2^-64 of log-losses and probabilities. So neither the order of the rows nor where they are cut
//! changes a sum. Open groups, which the schema does not list, are in the order in which they first
//! occur, shard after shard.
//!
//! Some things do not add up, and are left out or as follows:
//!
//! - proxies are searched for in a sample of the rows, which counts do not have:
//!   [`EvaluationCounts::evaluation`] has none, and a warning says so;
//! - individual unfairness by a protected column of numbers whose groups are open, where the
//!   model's background does not hold its values: a record is tried with the values that occurred
//!   before it. It is NaN, and a warning names the column;
//! - values that match nothing (bad cells, unlisted labels and groups) are counted whole, but each
//!   shard names its first ten only;
//! - a group that is a number is called as it is first spelled; where shards spell it in several
//!   ways, an intersection with it is several groups.

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

/// What an evaluation counts, with the schema that it was counted by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluationCounts {
    #[serde(with = "crate::schema::as_text")]
    schema: Cow<'static, Schema>,
    counted: Counted,
}

/// What an evaluation counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Counted {
    /// Check sum of the model.
    pub(super) model: u32,
    pub(super) favourable_outcome: String,
    /// Whether the recourse of declined records was looked for.
    pub(super) has_distances: bool,
    /// Groups, and what became of the records.
    pub(super) place: Place,
    pub(super) individual: IndividualCounts,
    pub(super) evaluator: Evaluator,
    pub(super) inputs: Inputs,
    /// By feature.
    pub(super) bad_cells: Vec<Seen>,
}

/// Why counts do not add up, or are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CountsError {
    /// The shard was judged in another way.
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
    /// The schema lists no unfavourable outcome, and the shards have several.
    #[error(
        "the shards have several labels besides the favourable outcome, expected one; list them under target.negative"
    )]
    Labels,
    /// These bytes are no counts.
    #[error("the bytes are not counts of an evaluation, or they are damaged")]
    Damaged,
    /// They are of another version.
    #[error("found counts of version {found}, expected version {VERSION}; count with the same version everywhere")]
    Version {
        /// Theirs.
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
    /// Scores the labelled rows of a stream of this schema and counts what
    /// [`evaluate`](super::evaluation::evaluate) reports; there may be none.
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

    /// Adds the counts of a shard that follows.
    ///
    /// # Errors
    /// See [`CountsError`]; nothing of the shard was added.
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

    /// Returns the records counted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let counts = self.counted.place.counts();
        counts.positive.saturating_add(counts.negative)
    }

    /// Returns the evaluation of all that was counted, except for what does not add up; warnings
    /// say what that is.
    ///
    /// # Errors
    /// [`Error::NoUsableRows`] without a row; [`Error::AbsentGroup`] for a protected column of
    /// which no group occurs.
    pub fn evaluation(&self) -> Result<Evaluation, Error> {
        self.counted.place.check_rows(&self.schema, "the shards")?;
        let mut evaluation = self.counted.report(&self.schema.target);
        for column in self.counted.individual.lost(self.counted.place.every_attribute()) {
            evaluation.warnings.push(format!(
                "column {column:?}: individual unfairness is left out; shards do not add up, since a record is tried with the values that occurred before it"
            ));
        }
        evaluation
            .warnings
            .push("proxies are left out, since the search for them needs a sample of all rows".to_owned());
        Ok(evaluation)
    }

    /// Returns bytes that [`EvaluationCounts::from_bytes`] reads: some for each distinct score.
    ///
    /// # Errors
    /// [`CountsError::Damaged`]; only where memory ends.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CountsError> {
        let payload = postcard::to_stdvec(self).map_err(|_| CountsError::Damaged)?;
        Ok([&MAGIC[..], &VERSION.to_le_bytes(), &Digest::of(&payload), &payload].concat())
    }

    /// Reads what [`EvaluationCounts::to_bytes`] wrote.
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
