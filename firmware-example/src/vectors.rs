//! The language of the parity test, shared by firmware and host: records and answers as 32-bit
//! words.
//!
//! A record is one word per feature: the bits of a number (NaN is missing), the code of a level,
//! [`UNSEEN`] or [`MISSING`]. An answer has the bits of everything in a score and its explanations
//! and, for one record in [`RECOURSE_EVERY`], in the recourse, free and by rules, so that any bit
//! that differs between host and device is detected. Shapley values, exact and sampled, are
//! computed for one record in [`EXACT_EVERY`].
//!
//! The answer of an integer model is its score and frozen explanation, both from numbers set as f32
//! and from numbers set without floats.

use feamoe_engine::Value;
use feamoe_engine::attribution::{Background, Game, Sampling, Workspace};
use feamoe_engine::error::{ExplainError, PredictError, RecordError};
use feamoe_engine::mixture::Term;
use feamoe_engine::recourse::{Answer, Change, Direction, Rule, RuleError, Rules};
use feamoe_engine::schema::Kind;
use feamoe_engine::{Attribution, FeatureIndex, Method, Model, Record, Recourse, Score, Space, integer};

/// Word of a category whose level was not seen in training.
pub const UNSEEN: u32 = u32::MAX - 1;
/// Word of a category without a value.
pub const MISSING: u32 = u32::MAX;

/// Recourse is searched for one record in this many, including the first: it takes some hundred
/// times a score. The words of the other records are 0.
pub const RECOURSE_EVERY: usize = 25;

/// The capacity of the parity binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Features of a model.
    pub features: usize,
    /// Experts of a model.
    pub experts: usize,
    /// Bytes of a blob.
    pub blob_bytes: usize,
}

impl Capacity {
    /// For a board with megabytes of RAM.
    pub const LARGE: Self = Self { features: 32, experts: 16, blob_bytes: 1 << 20 };
    /// For UCI Adult: capacity beyond the size of the model costs time and memory too.
    pub const ADULT: Self = Self { features: 16, experts: 12, blob_bytes: 1 << 16 };
    /// For a board with 16 kB of RAM.
    pub const SMALL: Self = Self { features: 6, experts: 4, blob_bytes: 2 << 10 };
    /// For integer models, on every board.
    pub const INTEGER: Self = Self { features: 16, experts: 12, blob_bytes: 8 << 10 };
}

/// The number of answers that are searched for by rules.
pub const ANSWERS: usize = 2;

/// Shapley values are computed for one record in this many, including the first, against the record
/// without values.
pub const EXACT_EVERY: usize = 125;
/// The largest number of coalitions for which they are computed: ten features that differ.
const MOST_COALITIONS: u64 = 1 << 10;

/// The memory that answers need.
pub struct Memory<const FEATURES: usize, const EXPERTS: usize> {
    /// For the search for recourse.
    pub recourse: Recourse<FEATURES>,
    /// Its answers by rules.
    pub answers: [Answer<FEATURES>; ANSWERS],
    /// For Shapley values.
    pub workspace: Workspace<FEATURES, EXPERTS>,
}

impl<const FEATURES: usize, const EXPERTS: usize> Memory<FEATURES, EXPERTS> {
    /// Returns empty memory. This is `const`, so that it can be in a `static`.
    #[allow(clippy::new_without_default)] // not needed
    pub const fn new() -> Self {
        Self { recourse: Recourse::new(), answers: [Answer::NONE; ANSWERS], workspace: Workspace::new() }
    }
}

/// Returns rules of every kind: fixed, one-way, in steps, in a range, at a cost, and then free.
///
/// # Errors
/// None: the rules are valid.
pub const fn rules<const FEATURES: usize>() -> Result<Rules<FEATURES>, RuleError> {
    let mut rules = [Rule::FREE; FEATURES];
    let mut rest: &mut [Rule] = &mut rules;
    // One by one, so that the rule of a feature does not depend on the capacity.
    let mut feature = 0;
    while let [rule, others @ ..] = rest {
        match feature % 4 {
            0 => rule.direction = Direction::Fixed,
            1 => *rule = Rule { direction: Direction::Increase, step: 1.0, ..Rule::FREE },
            2 => *rule = Rule { low: -100.0, high: 1000.0, step: 0.25, cost: 2.0, ..Rule::FREE },
            _ => rule.cost = 0.5,
        }
        feature += 1;
        rest = others;
    }
    Rules::new(rules)
}

/// Returns the value of a word.
pub fn value(kind: Kind, word: u32) -> Value {
    match (kind, word) {
        (Kind::Number { .. }, bits) => Value::Number(f32::from_bits(bits)),
        (Kind::Category { .. }, MISSING) => Value::Missing,
        (Kind::Category { .. }, UNSEEN) => Value::Unseen,
        (Kind::Category { .. }, code) => Value::Level(code as u16),
    }
}

/// Passes the words of a score to `word`.
pub fn score_words<const EXPERTS: usize>(score: &Score<EXPERTS>, experts: usize, mut word: impl FnMut(u32)) {
    word(score.probability.to_bits());
    for flag in [score.decision, score.missing, score.clamped, score.unseen] {
        word(u32::from(flag));
    }
    for value in score.gate.iter().take(experts).chain(score.expert_probabilities.iter().take(experts)) {
        word(value.to_bits());
    }
}

/// Scores and explains record `number` (counted from 0) by both methods, and searches for recourse.
/// Passes the words of all results to `word`.
///
/// # Errors
/// The record belongs to another model.
pub fn answer<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    record: &Record<'_, FEATURES>,
    number: usize,
    memory: &mut Memory<FEATURES, EXPERTS>,
    mut word: impl FnMut(u32),
) -> Result<(), ExplainError> {
    let Memory { recourse, answers, workspace } = memory;
    let (experts, features) = (model.experts(), model.schema().features().len());
    score_words(&model.score(record)?, experts, &mut word);
    let mut why = Attribution::new();
    for method in [Method::Frozen, Method::Path] {
        match method {
            Method::Frozen => model.frozen_into(record, &mut why)?,
            _ => model.path_into(record, &mut why)?,
        }
        score_words(&why.score, experts, &mut word);
        explanation_words(&why, features, &mut word);
    }
    shapley(model, record, number, workspace, &mut word)?;
    let is_wanted = number.is_multiple_of(RECOURSE_EVERY);
    if is_wanted {
        model.recourse_into(record, recourse)?;
    }
    let mut word_of_recourse = |value: u32| word(if is_wanted { value } else { 0 });
    word_of_recourse(recourse.distance.unwrap_or(-1.0).to_bits());
    word_of_recourse(recourse.probability.to_bits());
    word_of_recourse(recourse.evaluations);
    recourse.changes.iter().take(features).for_each(|change| word_of_recourse(change_word(change)));
    let mut count = 0;
    if is_wanted && let Ok(rules) = const { rules::<FEATURES>() } {
        count = model.recourses_within(record, &rules, recourse, answers)?;
    }
    word(count as u32);
    word(if is_wanted { recourse.evaluations } else { 0 });
    for (rank, answer) in answers.iter().enumerate() {
        let mut word_of_answer = |value: u32| word(if rank < count { value } else { 0 });
        word_of_answer(answer.distance.to_bits());
        word_of_answer(answer.probability.to_bits());
        answer.changes.iter().take(features).for_each(|change| word_of_answer(change_word(change)));
    }
    Ok(())
}

/// Passes the words of an explanation to `word`.
fn explanation_words<const FEATURES: usize, const EXPERTS: usize>(
    why: &Attribution<FEATURES, EXPERTS>,
    features: usize,
    mut word: impl FnMut(u32),
) {
    for value in [why.base_value, why.output, why.residual, why.gate_share.unwrap_or(-1.0)] {
        word(value.to_bits());
    }
    for values in [&why.values, &why.gate_values, &why.standard_errors] {
        values.iter().take(features).for_each(|value| word(value.to_bits()));
    }
    word(why.background.map_or(0, |background| background.hash));
    word(why.evaluations as u32);
}

/// Computes Shapley values in both spaces, exact and, in one or two rounds, sampled.
#[inline(never)]
fn shapley<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    record: &Record<'_, FEATURES>,
    number: usize,
    workspace: &mut Workspace<FEATURES, EXPERTS>,
    mut word: impl FnMut(u32),
) -> Result<(), ExplainError> {
    let mut terms = [[Term::default(); 2]; FEATURES];
    let mut background = Background::new(model, terms.as_flattened_mut(), &mut []);
    background.push(model, &model.record())?;
    let features = model.schema().features().len();
    for space in [Space::Probability, Space::LogOdds] {
        let (mut exact, mut sampled) = (Attribution::new(), Attribution::new());
        let game = Game { space, player_of: None };
        if number.is_multiple_of(EXACT_EVERY)
            && model.exact_cost(record, &background, &game)?.coalitions <= MOST_COALITIONS
        {
            let sampling = Sampling { most_evaluations: 100, ..Sampling::default() };
            model.exact_into(record, &background, &game, workspace, &mut exact)?;
            model.sampled_into(record, &background, &game, &sampling, workspace, |_| true, &mut sampled)?;
        }
        explanation_words(&exact, features, &mut word);
        explanation_words(&sampled, features, &mut word);
    }
    Ok(())
}

fn change_word(change: &Option<Change>) -> u32 {
    match change {
        None => MISSING,
        Some(Change::Number(number)) => number.to_bits(),
        Some(Change::Level(code)) => u32::from(*code),
    }
}

/// A value without floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    /// The number `raw / 2^fraction_bits`.
    Fixed {
        /// The reading.
        raw: i32,
        /// The number of its bits after the point.
        fraction_bits: i8,
    },
    /// The code of a level; `None` for a level that was not seen in training.
    Level(Option<u16>),
    /// No value.
    Missing,
}

impl Raw {
    /// Returns the value of a feature: a number in the feature's own unit, or in a coarser unit
    /// that must be shifted to it.
    pub fn of<const FEATURES: usize, const EXPERTS: usize>(
        model: &integer::Model<'_, FEATURES, EXPERTS>,
        feature: usize,
        value: Value,
    ) -> Self {
        match (value, model.number(feature)) {
            (Value::Number(x), Some(number)) if !x.is_nan() => {
                let fraction_bits = number.fraction_bits() - 4 * (feature % 3) as i8;
                Self::Fixed { raw: integer::fixed(x, fraction_bits), fraction_bits }
            }
            (Value::Level(code), _) => Self::Level(Some(code)),
            (Value::Unseen, _) => Self::Level(None),
            _ => Self::Missing,
        }
    }
}

/// Sets a record to values without floats, one by one.
///
/// # Errors
/// The values are not those of the record's model.
#[inline(never)]
pub fn set_raw<const FEATURES: usize>(
    record: &mut integer::Record<'_, FEATURES>,
    values: &[Raw],
) -> Result<(), RecordError> {
    for (index, value) in values.iter().enumerate() {
        let key = FeatureIndex(index);
        _ = match *value {
            Raw::Fixed { raw, fraction_bits } => record.set_fixed(key, raw, fraction_bits)?,
            Raw::Level(code) => record.set_level(key, code)?,
            Raw::Missing => record.set_missing(key)?,
        };
    }
    Ok(())
}

/// Scores and explains a record of an integer model. Passes the words of all results to `word`.
///
/// # Errors
/// The record belongs to another model.
pub fn integer_answer<const FEATURES: usize, const EXPERTS: usize>(
    model: &integer::Model<'_, FEATURES, EXPERTS>,
    record: &integer::Record<'_, FEATURES>,
    mut word: impl FnMut(u32),
) -> Result<(), PredictError> {
    let (experts, features) = (model.experts(), model.schema().features().len());
    let mut why = integer::Attribution::new();
    model.frozen_into(record, &mut why)?;
    for score in [model.score(record)?, why.score] {
        word(score.probability);
        for flag in [score.decision, score.missing, score.clamped, score.unseen] {
            word(u32::from(flag));
        }
        score.gate.iter().take(experts).for_each(|gate| word(*gate));
        score.expert_probabilities.iter().take(experts).for_each(|output| word(u32::from(*output)));
    }
    record.notes().iter().for_each(|note| word(*note as u32));
    let log_odds = [why.base_value, why.output];
    log_odds.iter().chain(why.values.iter().take(features)).for_each(|value| word(value.cast_unsigned()));
    Ok(())
}
