//! Merges runs over parts of the data, called *shards*: if the data cannot be moved to one machine,
//! the learner moves to the data.
//!
//! All runs share one encoding ([`Encoding`](super::Encoding)). Their learners are merged as
//! [`How`] says. Their counts and measures are added up, with groups united by name, as if each
//! shard had followed the one before. Drift detectors are reset. The same shards in the same order
//! give the same bytes.
//!
//! A shard that lacks a group, or has hardly any rows of it, has held no target for it, because it
//! saw no gap. Such shards are refused unless the merged run afterwards learns from rows of all
//! shards, which *polishes* it, and these rows contain the group.
//!
//! Whether a target is met is known only after the merged model has decided on rows that it had not
//! learned from: the rows that polish it, or those of an evaluation. Until then no target is
//! judged.
//!
//! Experts are merged down to the requested number before the run is polished, so that the
//! polishing makes up for the loss (Adult in four shards by education, 4 experts: a log-loss of
//! 0.2794, against 0.2848 in the other order; by hash 0.2800 against 0.2821).
//!
//! Merging is for data that cannot move. Parts of a small stream learn less than one run over all
//! of it. Adult with `spd=0.05`, the encoding of its first 6,000 rows, polished with the first
//! 20,000, judged on adult.test:
//!
//! | | accuracy | log-loss | SPD |
//! | --- | --- | --- | --- |
//! | one run | 0.8588 | 0.2768 | -0.033 |
//! | four shards by hash, joined | 0.8512 | 0.2971 | -0.034 |
//! | and polished | 0.8589 | 0.2761 | -0.035 |
//! | four shards by education, joined | 0.8465 | 0.3087 | -0.027 |
//! | and polished | 0.8566 | 0.2768 | -0.030 |
//! | two shards by sex, joined and polished | 0.8569 | 0.2770 | -0.032 |
//!
//! Polishing takes as many rows as a target takes to settle: by sex the SPD was -0.11 after 5,000.
//! With only the gate and the newest expert learning, it was worse (by hash 0.8550 and 0.2872).

use std::borrow::Cow;

use feamoe_engine::limits::MAX_EXPERTS;

use super::checkpoint::{Checkpoint, Stage};
use super::delay::{Delay, MOST_DELAY};
use super::state::Measured;
use super::{OnProgress, Passes, Run, Saving, Timing, Trainer};
use crate::encoder::{Encoder, Example};
use crate::error::{CheckpointError, Error};
use crate::judge::gaps::SMALL_GROUP;
use crate::learner::{How, Learner, Part};
use crate::rows::{Attribute, GroupMap, Input, NoUnion, Place, Reservoir, ResumeFrom};

/// How shards are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// How the mixtures are merged.
    pub how: How,
    /// Maximum number of experts: the closest ones are merged. Above the capacity of a mixture,
    /// those of each shard are merged first.
    pub experts: Option<usize>,
    /// Whether the merged run will learn from rows of all shards: only then may a shard lack a
    /// group that has a target.
    pub is_polished: bool,
}

/// Why shards are not merged. Shards are numbered from 1, in the order given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// No shard was given.
    #[error("found no shard, expected at least one")]
    NoShard,
    /// A shard has not learned from a row yet.
    #[error("shard {shard} has learned from no rows, or from fewer than its encoding needs")]
    Empty {
        /// The shard.
        shard: usize,
    },
    /// A shard has other settings or columns than the first one.
    #[error("shard {shard} and the first differ in their {what}")]
    Differs {
        /// The shard.
        shard: usize,
        /// What differs; for an option both values, the first shard's last.
        what: String,
    },
    /// A shard does not share the encoding of the others, or may fit its encoding again.
    #[error("shard {shard} has its own encoding, but all shards must share the encoding of one earlier run")]
    Encoding {
        /// The shard.
        shard: usize,
    },
    /// Averaging needs the same number of experts in every shard.
    #[error(
        "shard {shard} has {found} experts and the first has {expected}, but averaging needs equal numbers; join them instead"
    )]
    Experts {
        /// The shard.
        shard: usize,
        /// Its number of experts.
        found: usize,
        /// The number of experts of the first shard.
        expected: usize,
    },
    /// The shards together have more experts than a mixture holds.
    #[error("the shards have {found} experts together, but a mixture holds at most {limit}")]
    TooManyExperts {
        /// Number of all experts.
        found: usize,
        /// Number of experts that a mixture holds.
        limit: usize,
    },
    /// There are more shards than a mixture holds experts.
    #[error(
        "found {found} shards, but a mixture holds at most {limit} experts; merge some of the shards first, and then the results"
    )]
    TooManyShards {
        /// Number of shards.
        found: usize,
        /// Number of experts that a mixture holds.
        limit: usize,
    },
    /// More rows wait for their labels than a run keeps.
    #[error("{found} rows of the shards wait for their labels, but a run keeps at most {limit}")]
    Waiting {
        /// Waiting rows of all shards.
        found: usize,
        /// Largest number of waiting rows.
        limit: usize,
    },
    /// A shard has hardly any rows of a group that has a target.
    #[error(
        "shard {shard} has {found} rows of group {group:?} of {attribute:?}, which has a target; too few to hold the target within the shard"
    )]
    AbsentGroup {
        /// The shard.
        shard: usize,
        /// The protected attribute.
        attribute: String,
        /// The group.
        group: String,
        /// Rows of the group in the shard.
        found: u64,
    },
    /// The rows to polish with lack a group that a shard lacks too.
    #[error(
        "the rows to polish with have {found} rows of group {group:?} of {attribute:?}, which has a target and is missing in shard {shard}; expected at least {expected}"
    )]
    PolishLacksGroup {
        /// The shard.
        shard: usize,
        /// The protected attribute.
        attribute: String,
        /// The group.
        group: String,
        /// Rows of the group.
        found: u64,
        /// The smallest number that is enough.
        expected: u64,
    },
    /// The shards have more groups than an attribute can have.
    #[error("the shards have more than 254 groups of {attribute:?} together")]
    TooManyGroups {
        /// The protected attribute.
        attribute: String,
    },
    /// The schema does not list the other outcome, and the shards have several labels for it.
    #[error(
        "the shards have several labels besides the favourable outcome, expected one; list them under target.negative"
    )]
    Labels,
    /// The state of a shard cannot be resumed, or the merged run cannot learn.
    #[error(transparent)]
    Run(#[from] Error),
    /// The merged state is inconsistent: a bug in this crate.
    #[error(transparent)]
    State(#[from] CheckpointError),
}

impl MergeError {
    /// Returns the number of the shard in this error, if it names one.
    pub fn shard(&mut self) -> Option<&mut usize> {
        match self {
            Self::Empty { shard }
            | Self::Differs { shard, .. }
            | Self::Encoding { shard }
            | Self::Experts { shard, .. }
            | Self::AbsentGroup { shard, .. }
            | Self::PolishLacksGroup { shard, .. } => Some(shard),
            _ => None,
        }
    }

    /// Renumbers the shards: `numbers` holds the new number for each place.
    #[must_use]
    pub fn numbered(mut self, numbers: &[usize]) -> Self {
        if let Some(shard) = self.shard()
            && let Some(number) = shard.checked_sub(1).and_then(|place| numbers.get(place))
        {
            *shard = *number;
        }
        self
    }
}

impl From<NoUnion> for MergeError {
    fn from(error: NoUnion) -> Self {
        match error {
            NoUnion::Groups(attribute) => Self::TooManyGroups { attribute },
            NoUnion::Labels => Self::Labels,
        }
    }
}

impl Checkpoint<'_> {
    /// Merges the states of several runs into one, like [`Trainer::merge`].
    ///
    /// # Errors
    /// See [`MergeError`].
    pub fn merge(shards: &[Self], merging: &Merging) -> Result<Checkpoint<'static>, MergeError> {
        let first = shards.first().ok_or(MergeError::NoShard)?;
        let encoders = shards.iter().zip(1..).map(|(checkpoint, shard)| match &checkpoint.stage {
            Stage::Learning(encoder) if encoder.rows_seen() > 0 => Ok(&**encoder),
            _ => Err(MergeError::Empty { shard }),
        });
        let encoders: Vec<&Encoder> = encoders.collect::<Result<_, _>>()?;
        for ((other, encoder), shard) in shards.iter().zip(&encoders).zip(1..) {
            first.check_shard(other, shard)?;
            // An encoding that is not held may change with the next row.
            let is_held = encoder.is_held() || shards.len() == 1;
            if !is_held || !encoder.is_same_encoding(encoders[0]) {
                return Err(MergeError::Encoding { shard });
            }
        }
        let places: Vec<&Place> = shards.iter().map(|shard| &shard.place).collect();
        let (place, groups) = Place::unite(&places)?;
        if let Some(Absent { shard, attribute, group, rows }) = absent_groups(first, &place, &places, &groups).next()
            && !merging.is_polished
        {
            let attribute = place.every_attribute().nth(attribute).map_or("", Attribute::column).to_owned();
            return Err(MergeError::AbsentGroup { shard, attribute, group: group.to_owned(), found: rows });
        }
        let learners = fitting(shards, &encoders, merging)?;
        let parts: Vec<Part<'_>> = learners
            .iter()
            .zip(&encoders)
            .zip(&groups)
            .map(|((learner, encoder), groups)| Part { learner, encoder, groups })
            .collect();
        let reservoirs: Vec<(&Reservoir, &GroupMap)> =
            shards.iter().map(|shard| &*shard.reservoir).zip(&groups).collect();
        let reservoir = Reservoir::merge(&reservoirs).ok_or(MergeError::NoShard)?;
        let encoder = Encoder::merge(&encoders).ok_or(MergeError::NoShard)?;
        let encoder = first.bound(encoder)?;
        let sample = sample(&reservoir, &encoder)?;
        let learner = Learner::merge(&parts, merging.how, merging.experts, encoder.monotone(), &sample);
        let delays: Vec<(&Delay, &GroupMap)> = shards.iter().map(|shard| &*shard.delay).zip(&groups).collect();
        let delay = Delay::merge(&delays).ok_or(MergeError::NoShard)?;
        if delay.waiting() > MOST_DELAY as usize {
            return Err(MergeError::Waiting { found: delay.waiting(), limit: MOST_DELAY as usize });
        }
        let measured: Vec<(&Measured, &GroupMap)> = shards.iter().map(|shard| &*shard.measured).zip(&groups).collect();
        let merged = Checkpoint {
            schema: Cow::Owned(first.schema.clone().into_owned()),
            encoding: first.encoding.clone(),
            passes: Passes {
                epochs: shards.iter().map(|shard| shard.passes.epochs).max().unwrap_or(1),
                shuffled: shards.iter().any(|shard| shard.passes.shuffled),
                shards: shards.iter().map(|shard| shard.passes.shards).fold(0, u32::saturating_add),
            },
            weight: first.weight.clone(),
            place,
            stage: Stage::Learning(Cow::Owned(encoder)),
            reservoir: Cow::Owned(reservoir),
            delay: Cow::Owned(delay),
            learner: Cow::Owned(learner.ok_or(MergeError::NoShard)?),
            measured: Cow::Owned(Measured::merge(&measured)),
            rows: shards.iter().map(|shard| shard.rows).fold(0, u64::saturating_add),
        };
        merged.check()?;
        Ok(merged)
    }

    /// Returns the encoder of this run, ready for its rows.
    fn bound(&self, mut encoder: Encoder) -> Result<Encoder, Error> {
        encoder.bind(self.place.columns(), "the shards")?;
        encoder.set_schema(&self.schema);
        Ok(encoder)
    }

    /// Checks that another state can be merged with this one: same schema, columns and options.
    fn check_shard(&self, other: &Self, shard: usize) -> Result<(), MergeError> {
        let differs = |what: &str, is_same: bool| (!is_same).then(|| what.to_owned());
        let what = differs("schemas", self.schema == other.schema)
            .or_else(|| differs("columns", self.place.columns() == other.place.columns()))
            .or_else(|| differs("options of the encoding", self.encoding == other.encoding))
            .or_else(|| Some(format!("options: {}", self.learner.other_option(&other.learner)?)))
            .or_else(|| differs("columns of sample weights", self.weight == other.weight))
            .or_else(|| differs("delays of the labels", self.delay.rows() == other.delay.rows()));
        what.map_or(Ok(()), |what| Err(MergeError::Differs { shard, what }))
    }
}

/// A group of which a shard has too few rows to have held a target for it.
struct Absent<'a> {
    shard: usize,
    attribute: usize,
    group: &'a str,
    /// Rows of the group in the shard.
    rows: u64,
}

/// Every shard needs this share of the rows of a group that it would have if they were spread
/// evenly.
const LEAST_PART: f64 = 0.25;

/// Returns the groups that can be judged over all shards, but of which a single shard has hardly
/// any rows: too few to judge, and less than a quarter of its share. Returns none if there are no
/// targets.
#[allow(clippy::cast_precision_loss)] // counts
fn absent_groups<'a>(
    first: &Checkpoint<'_>,
    all: &'a Place,
    shards: &'a [&Place],
    groups: &'a [GroupMap],
) -> impl Iterator<Item = Absent<'a>> {
    let options = first.learner.options();
    let has_targets = !options.targets().is_empty() || options.penalties().is_some();
    let rows_of = |attribute: &Attribute| attribute.rows().iter().sum::<u64>() as f64;
    let absent = shards.iter().zip(groups).zip(1..).flat_map(move |((place, groups), shard)| {
        let attributes = place.every_attribute().zip(all.every_attribute()).enumerate();
        attributes.flat_map(move |(index, (attribute, united))| {
            let rows = groups.spread(index, attribute.rows());
            let part = LEAST_PART * rows_of(attribute) / rows_of(united).max(1.0);
            let of_all = united.groups().iter().zip(united.rows()).enumerate();
            let judged = of_all.filter(|(_, (_, of_all))| **of_all >= SMALL_GROUP);
            judged.filter_map(move |(group, (name, of_all))| {
                let rows = rows.get(group).copied().unwrap_or(0);
                let least = (part * *of_all as f64).min(SMALL_GROUP as f64);
                ((rows as f64) < least).then_some(Absent { shard, attribute: index, group: name, rows })
            })
        })
    });
    absent.filter(move |_| has_targets)
}

/// Returns the learners of the shards. For joining, experts are merged until one mixture can hold
/// all; for averaging, all shards must have the same number of experts.
fn fitting<'a>(
    shards: &'a [Checkpoint<'_>],
    encoders: &[&Encoder],
    merging: &Merging,
) -> Result<Vec<Cow<'a, Learner>>, MergeError> {
    let mut learners: Vec<Cow<'_, Learner>> = shards.iter().map(|shard| Cow::Borrowed(&*shard.learner)).collect();
    if merging.how == How::Average {
        let expected = learners.first().map_or(0, |learner| learner.experts());
        let other = learners.iter().zip(1..).find(|(learner, _)| learner.experts() != expected);
        return match other {
            Some((learner, shard)) => Err(MergeError::Experts { shard, found: learner.experts(), expected }),
            None => Ok(learners),
        };
    }
    if shards.len() > MAX_EXPERTS {
        return Err(MergeError::TooManyShards { found: shards.len(), limit: MAX_EXPERTS });
    }
    let with = |most: usize| learners.iter().map(|learner| learner.experts().min(most)).sum::<usize>();
    let found = with(MAX_EXPERTS);
    if found > MAX_EXPERTS {
        if merging.experts.is_none() {
            return Err(MergeError::TooManyExperts { found, limit: MAX_EXPERTS });
        }
        let most = (1..MAX_EXPERTS).rev().find(|most| with(*most) <= MAX_EXPERTS).unwrap_or(1);
        for ((learner, shard), encoder) in learners.iter_mut().zip(shards).zip(encoders) {
            if learner.experts() > most {
                let encoder = shard.bound((*encoder).clone())?;
                learner.to_mut().hold(encoder.monotone());
                learner.to_mut().merge_experts(most, &sample(&shard.reservoir, &encoder)?);
            }
        }
    }
    Ok(learners)
}

/// Returns the sample of the rows, encoded.
fn sample(reservoir: &Reservoir, encoder: &Encoder) -> Result<Vec<Example>, Error> {
    let example = |row| {
        let mut example = Example::default();
        encoder.encode(&row, &mut example).map(|()| example)
    };
    reservoir.rows().map(example).collect()
}

impl Trainer {
    /// Merges several trainers that learned separately, from different rows: see
    /// [`training::merge`](crate::training::merge).
    ///
    /// # Errors
    /// See [`MergeError`].
    pub fn merge(shards: &[&Self], merging: &Merging) -> Result<Self, MergeError> {
        let shards: Vec<Checkpoint<'_>> = shards.iter().map(|shard| shard.checkpoint()).collect();
        Ok(Self::from_checkpoint(Checkpoint::merge(&shards, merging)?)?)
    }
}

/// Merges shards, and lets the merged run learn from `polish` in one pass. If `polish` is empty,
/// the run is the merged shards alone. `saving` is as for [`resume`](super::resume). The notes of
/// the run say where rows seem to count twice.
///
/// # Errors
/// See [`MergeError`].
pub fn run(
    shards: &[Checkpoint<'_>],
    merging: &Merging,
    polish: &[Input],
    saving: Option<Saving<'_>>,
    on_progress: OnProgress<'_>,
) -> Result<Run, MergeError> {
    let started = std::time::Instant::now();
    let is_polished = !polish.is_empty();
    let merged = Checkpoint::merge(shards, &Merging { is_polished, ..*merging })?;
    let mut notes = notes(shards);
    let before = merged.place.clone();
    let mut run = if is_polished {
        super::resume(merged, polish, ResumeFrom::Again, saving, on_progress)?
    } else {
        let trainer = Trainer::from_checkpoint(merged)?;
        let timing = Timing { total: started.elapsed().as_secs_f64(), ..Timing::default() };
        Run { trainer, unfitted: None, timing, notes: Vec::new() }
    };
    run.trainer.check_groups()?;
    if is_polished {
        let after = run.trainer.checkpoint().place;
        check_polish(shards, &before, &after)?;
        if after.begins_again(&before) {
            notes.push(
                "the rows to polish with start like rows that a shard has learned from, so their measures are too favourable".into(),
            );
        }
    }
    run.notes.splice(..0, notes);
    Ok(run)
}

/// Checks that the rows learned from after the merge have the groups that shards lack.
fn check_polish(shards: &[Checkpoint<'_>], before: &Place, after: &Place) -> Result<(), MergeError> {
    let Some(first) = shards.first() else { return Ok(()) };
    let places: Vec<&Place> = shards.iter().map(|shard| &shard.place).collect();
    let (_, groups) = Place::unite(&places)?;
    for Absent { shard, attribute, group, .. } in absent_groups(first, before, &places, &groups) {
        let rows = |place: &Place| {
            let attribute = place.every_attribute().nth(attribute)?;
            let group = attribute.groups().iter().position(|name| name == group)?;
            Some((attribute.column().to_owned(), *attribute.rows().get(group)?))
        };
        let (Some((_, earlier)), Some((attribute, all))) = (rows(before), rows(after)) else { continue };
        let found = all.saturating_sub(earlier);
        if found < SMALL_GROUP {
            let group = group.to_owned();
            return Err(MergeError::PolishLacksGroup { shard, attribute, group, found, expected: SMALL_GROUP });
        }
    }
    Ok(())
}

/// Returns notes about shards that were stopped early, or that share rows.
fn notes(shards: &[Checkpoint<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    for (index, shard) in shards.iter().enumerate() {
        if let Some((rows, files)) = shard.place.stopped_within() {
            notes.push(format!(
                "shard {} was stopped after {rows} rows of {files}: what follows there was not learned from",
                index + 1
            ));
        }
        let again = shards.iter().take(index).position(|other| shard.place.begins_as(&other.place));
        if let Some(other) = again {
            notes.push(format!(
                "shards {} and {} have learned from data that begin with the same rows, which may count twice",
                other + 1,
                index + 1
            ));
        }
    }
    notes
}
