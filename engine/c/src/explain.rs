//! Scores and their explanations.

use core::ffi::c_void;

use feamoe_engine as engine;
use feamoe_engine::attribution::{Background, Game};
use feamoe_engine::integer;

use crate::capacity::{FEAMOE_BACKGROUND, FEAMOE_EXPERTS, FEAMOE_FEATURES};
use crate::memory::{
    self, EngineAttribution, EngineInteger, EngineModel, EngineRecord, EngineScore, Filled, FilledInteger, Games,
    IntegerWhy,
};
use crate::record::{IntegerValues, Record};
use crate::status::Status;
use crate::{first, status};

/// Size of a feamoe_workspace, in units of 8 bytes.
pub const FEAMOE_WORKSPACE_WORDS: usize = 158
    + 10 * FEAMOE_FEATURES
    + 66 * FEAMOE_EXPERTS
    + 4 * FEAMOE_FEATURES * FEAMOE_EXPERTS
    + 2 * FEAMOE_FEATURES * FEAMOE_BACKGROUND;

/// The working memory of exact values: opaque, in memory that you provide; it need not be
/// initialised.
#[repr(C)]
pub struct Workspace {
    opaque: [u64; FEAMOE_WORKSPACE_WORDS],
}

/// The score of a record.
#[repr(C)]
pub struct Score {
    /// The score, in [0, 1].
    pub probability: f32,
    /// Whether the score reaches the threshold.
    pub decision: bool,
    /// Whether some value was missing.
    pub missing: bool,
    /// Whether some number was clamped to the training range.
    pub clamped: bool,
    /// Whether some level was not seen in training.
    pub unseen: bool,
}

/// The score of a record by a model with integer weights.
#[repr(C)]
pub struct IntegerScore {
    /// The score, in units of 2^-32.
    pub probability: u32,
    /// Whether the score reaches the threshold.
    pub decision: bool,
    /// Whether some value was missing.
    pub missing: bool,
    /// Whether some number was clamped to the training range.
    pub clamped: bool,
    /// Whether some level was not seen in training.
    pub unseen: bool,
}

/// The explanation of a score: base_value + the sum of the features' values + residual = output.
#[repr(C)]
pub struct Attribution {
    /// The score that is explained.
    pub score: Score,
    /// The base value: that of the mean record, or the mean over the background records.
    pub base_value: f32,
    /// The output that is explained.
    pub output: f32,
    /// The residual.
    pub residual: f32,
    /// Share of the path's attribution that runs through the gate, in [0, 1]; NaN for frozen, which
    /// holds the gate fixed.
    pub gate_share: f32,
}

/// The explanation of a score by a model with integer weights, with the gate held fixed: base_value
/// + the sum of the features' values = output, in log-odds, in units of 2^-16.
#[repr(C)]
pub struct IntegerAttribution {
    /// The score that is explained.
    pub score: IntegerScore,
    /// The base value: that of the mean record.
    pub base_value: i32,
    /// The output that is explained.
    pub output: i32,
}

/// The space of exact values.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Space {
    /// The probability.
    Probability = 0,
    /// Its log-odds.
    LogOdds = 1,
}

/// Called regularly with the given context and the amount of work done so far; if it returns false,
/// the work ends.
pub type KeepGoing = Option<unsafe extern "C" fn(context: *mut c_void, done: u64) -> bool>;

const _: () = {
    let fits = size_of::<Games>() <= size_of::<Workspace>() && align_of::<Games>() <= align_of::<Workspace>();
    assert!(fits, "raise FEAMOE_WORKSPACE_WORDS: a workspace of the engine has grown");
};

/// Scores a record. gate: NULL, or an array of gate_length, at least the number of experts, for
/// their gate weights, which sum to 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_score(
    record: *const Record,
    score: *mut Score,
    gate: *mut f32,
    gate_length: usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { memory::filled(record.cast::<Filled>()) }?;
        let score = memory::place(score)?;
        let gate = match gate.is_null() {
            true => None,
            false => Some(memory::array(gate, gate_length, model.experts())?),
        };
        let mut found = EngineScore::new();
        model.score_into(record, &mut found)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { score.write(plain(&found)) };
        if let Some(gate) = gate {
            // SAFETY: an array whose length was checked.
            unsafe { memory::write_array(gate, first(&found.gate, model.experts())) };
        }
        Ok(())
    })
}

/// Writes the calibrated probability of a record, which differs from the score if the model was
/// trained with fairness targets; the score if the model is not calibrated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_calibrated(record: *const Record, probability: *mut f32) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { memory::filled(record.cast::<Filled>()) }?;
        let probability = memory::place(probability)?;
        let mut score = EngineScore::new();
        model.score_into(record, &mut score)?;
        let found = model.calibrated(record, &score)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { probability.write(found) };
        Ok(())
    })
}

/// Like feamoe_record_score, with integers only; the gate weights are in units of 2^-16 and sum to
/// 65536.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_score(
    record: *const IntegerValues,
    score: *mut IntegerScore,
    gate: *mut u32,
    gate_length: usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { memory::filled(record.cast::<FilledInteger>()) }?;
        let score = memory::place(score)?;
        let gate = match gate.is_null() {
            true => None,
            false => Some(memory::array(gate, gate_length, model.experts())?),
        };
        let mut found = integer::Score::new();
        EngineInteger::score_into(model, record, &mut found)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { score.write(plain_integer(&found)) };
        if let Some(gate) = gate {
            // SAFETY: an array whose length was checked.
            unsafe { memory::write_array(gate, first(&found.gate, model.experts())) };
        }
        Ok(())
    })
}

/// Explains a record with the gate held fixed (FEAMOE, Theorem 1), in log-odds: not the Shapley
/// values of the score. values: an array of values_length, at least the number of features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_frozen(
    record: *const Record,
    attribution: *mut Attribution,
    values: *mut f32,
    values_length: usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe {
        explain(record, attribution, values, values_length, |model, record, why| Ok(model.frozen_into(record, why)?))
    }
}

/// Like feamoe_record_frozen, with integers only, in log-odds in units of 2^-16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_frozen(
    record: *const IntegerValues,
    attribution: *mut IntegerAttribution,
    values: *mut i32,
    values_length: usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { memory::filled(record.cast::<FilledInteger>()) }?;
        let features = model.schema().features().len();
        let attribution = memory::place(attribution)?;
        let values = memory::array(values, values_length, features)?;
        let mut why = IntegerWhy::new();
        model.frozen_into(record, &mut why)?;
        let (score, base_value, output) = (plain_integer(&why.score), why.base_value, why.output);
        // SAFETY: a checked place in the caller's memory.
        unsafe { attribution.write(IntegerAttribution { score, base_value, output }) };
        // SAFETY: an array whose length was checked.
        unsafe { memory::write_array(values, first(&why.values, features)) };
        Ok(())
    })
}

/// Explains a record along the path from the mean record, gate included, in probability. values: an
/// array of values_length, at least the number of features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_path(
    record: *const Record,
    attribution: *mut Attribution,
    values: *mut f32,
    values_length: usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe {
        explain(record, attribution, values, values_length, |model, record, why| Ok(model.path_into(record, why)?))
    }
}

/// Explains a record by exact Shapley values against background records, in the given space, one of
/// feamoe_space. Takes 2^d evaluations for each background record, where d is the number of
/// features that differ from it. background: an array of background_length records of the same
/// model, at most FEAMOE_BACKGROUND. keep_going: NULL, or called after each background record with
/// the number of coalitions so far. workspace_bytes: sizeof(feamoe_workspace). values: an array of
/// values_length, at least the number of features.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // what; against what; memory; how long; the answer
pub unsafe extern "C" fn feamoe_record_exact(
    record: *const Record,
    background: *const *const Record,
    background_length: usize,
    space: u32,
    workspace: *mut Workspace,
    workspace_bytes: usize,
    keep_going: KeepGoing,
    context: *mut c_void,
    attribution: *mut Attribution,
    values: *mut f32,
    values_length: usize,
) -> Status {
    if workspace_bytes != size_of::<Workspace>() {
        return Status::WrongSize;
    }
    let exact = |model: &'static EngineModel, record: &EngineRecord, why: &mut EngineAttribution| {
        const PROBABILITY: u32 = Space::Probability as u32;
        const LOG_ODDS: u32 = Space::LogOdds as u32;
        let space = match space {
            PROBABILITY => engine::Space::Probability,
            LOG_ODDS => engine::Space::LogOdds,
            _ => return Err(Status::NoSuchChoice),
        };
        let records = memory::array(background.cast_mut(), background_length, 0)?;
        if background_length > FEAMOE_BACKGROUND {
            return Err(Status::BackgroundFull);
        }
        // SAFETY: the caller's array, whose length was checked.
        let records = unsafe { core::slice::from_raw_parts(records.as_ptr(), background_length) };
        let games = memory::place(workspace.cast::<Games>())?;
        // SAFETY: writable memory of the caller, of the library's size.
        unsafe { games.write_bytes(0, 1) };
        // SAFETY: zeros are a valid `Games`, see there; nothing else uses the memory meanwhile.
        let Games { workspace, terms } = unsafe { &mut *games.as_ptr() };
        let mut background = Background::new(model, terms.as_flattened_mut().as_flattened_mut(), &mut []);
        for other in records {
            // SAFETY: by the header's contract.
            let (_, other) = unsafe { memory::filled(other.cast::<Filled>()) }?;
            background.push(model, other)?;
        }
        let keep_going = |done| match keep_going {
            // SAFETY: the caller's function, with the caller's context.
            Some(keep_going) => unsafe { keep_going(context, done) },
            None => true,
        };
        let game = Game { space, player_of: None };
        Ok(model.exact_while(record, &background, &game, workspace, keep_going, why)?)
    };
    // SAFETY: by the header's contract.
    unsafe { explain(record, attribution, values, values_length, exact) }
}

/// Explains a record into the arrays of C.
unsafe fn explain(
    record: *const Record,
    attribution: *mut Attribution,
    values: *mut f32,
    values_length: usize,
    by: impl FnOnce(&'static EngineModel, &EngineRecord, &mut EngineAttribution) -> Result<(), Status>,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { memory::filled(record.cast::<Filled>()) }?;
        let features = model.schema().features().len();
        let attribution = memory::place(attribution)?;
        let values = memory::array(values, values_length, features)?;
        let mut why = EngineAttribution::new();
        by(model, record, &mut why)?;
        let (base_value, output, residual) = (why.base_value, why.output, why.residual);
        let gate_share = why.gate_share.unwrap_or(f32::NAN);
        // SAFETY: a checked place in the caller's memory.
        unsafe {
            attribution.write(Attribution { score: plain(&why.score), base_value, output, residual, gate_share });
        }
        // SAFETY: an array whose length was checked.
        unsafe { memory::write_array(values, first(&why.values, features)) };
        Ok(())
    })
}

fn plain(score: &EngineScore) -> Score {
    let engine::Score { probability, decision, missing, clamped, unseen, .. } = *score;
    Score { probability, decision, missing, clamped, unseen }
}

fn plain_integer(score: &integer::Score<FEAMOE_EXPERTS>) -> IntegerScore {
    let integer::Score { probability, decision, missing, clamped, unseen, .. } = *score;
    IntegerScore { probability, decision, missing, clamped, unseen }
}
