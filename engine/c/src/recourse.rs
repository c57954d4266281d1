//! Recourse: the changes needed for a favourable decision.

use core::ffi::c_void;

use feamoe_engine as engine;
use feamoe_engine::recourse::Rules;

use crate::capacity::FEAMOE_FEATURES;
use crate::explain::KeepGoing;
use crate::memory::{self, EngineModel, EngineRecord, EngineRecourse, EngineRules, Filled};
use crate::record::Record;
use crate::status;
use crate::status::Status;

/// Size of a feamoe_recourse, in units of 8 bytes.
pub const FEAMOE_RECOURSE_WORDS: usize = 37 * FEAMOE_FEATURES + 4;

/// The working memory of a search for recourse: opaque, in memory that you provide; it need not be
/// initialised.
#[repr(C)]
pub struct Recourse {
    opaque: [u64; FEAMOE_RECOURSE_WORDS],
}

/// The direction in which a feature may change.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Direction {
    /// Any direction.
    Any = 0,
    /// A number may only increase; a category may change.
    Increase = 1,
    /// A number may only decrease; a category may change.
    Decrease = 2,
    /// The feature must not change.
    Fixed = 3,
}

/// The allowed changes of one feature. For a category, only cost and whether it is fixed are used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rule {
    /// One of feamoe_direction.
    pub direction: u32,
    /// Lowest number that may be proposed; -INFINITY for that of the training range.
    pub low: f32,
    /// Highest number that may be proposed; INFINITY for that of the training range.
    pub high: f32,
    /// Proposed numbers are multiples of it; 0 for any number.
    pub step: f32,
    /// Factor of the feature's part of the distance, 0.001 to 1000.
    pub cost: f32,
}

/// The kind of a feamoe_change.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum ChangeKind {
    /// No change.
    None = 0,
    /// Change it to a number.
    Number = 1,
    /// Change it to a level.
    Level = 2,
}

/// The proposed change of a feature.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Change {
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The number, if the kind is a number.
    pub number: f32,
    /// The level's code, if the kind is a level.
    pub level: u16,
}

/// The nearest favourable record that was found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Answer {
    /// Whether one was found.
    pub found: bool,
    /// Whether the search was stopped; the answer is then the nearest one found so far.
    pub stopped: bool,
    /// The distance in standard deviations; 0 if the decision is favourable already.
    pub distance: f32,
    /// The score after the changes; without an answer, the record's own.
    pub probability: f32,
    /// Number of evaluations of the mixture.
    pub evaluations: u32,
}

const _: () = {
    let fits = size_of::<EngineRecourse>() <= size_of::<Recourse>();
    assert!(fits, "raise FEAMOE_RECOURSE_WORDS: a recourse of the engine has grown");
    assert!(align_of::<EngineRecourse>() <= align_of::<Recourse>());
};

/// The initial value, copied from flash; a value created here would take 9 kB of stack.
static EMPTY: EngineRecourse = EngineRecourse::new();

/// Finds the nearest favourable record that the rules allow. rules: NULL if every feature is free,
/// or an array of rules_length, one for each feature of the model. recourse_bytes:
/// sizeof(feamoe_recourse). keep_going: NULL, or called after each evaluation with their number.
/// changes: an array of changes_length, at least the number of features.
#[cfg(feature = "device")]
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // model and record; rules; memory; how long; the answer
pub unsafe extern "C" fn feamoe_record_recourse(
    record: *const Record,
    rules: *const Rule,
    rules_length: usize,
    recourse: *mut Recourse,
    recourse_bytes: usize,
    keep_going: KeepGoing,
    context: *mut c_void,
    answer: *mut Answer,
    changes: *mut Change,
    changes_length: usize,
) -> Status {
    let memory = (recourse, recourse_bytes);
    let search =
        |model: &'static EngineModel, record: &EngineRecord, rules: &EngineRules, found: &mut EngineRecourse| {
            // SAFETY: the caller's function, with the caller's context.
            Ok(model.recourse_while(record, rules, found, |done| unsafe { keeps_going(keep_going, context, done) })?)
        };
    // SAFETY: by the header's contract.
    unsafe { recourse_by(record, (rules, rules_length), 0.0, memory, answer, (changes, changes_length), search) }
}

/// Like feamoe_record_recourse, but for people, as in `feamoe recourse`: changes that hardly reduce
/// the distance are left out, and the new score exceeds the threshold by the margin, from 0 and
/// below 1.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // model and record; rules; memory; how long; the answer
pub unsafe extern "C" fn feamoe_record_recourse_few(
    record: *const Record,
    rules: *const Rule,
    rules_length: usize,
    margin: f32,
    recourse: *mut Recourse,
    recourse_bytes: usize,
    keep_going: KeepGoing,
    context: *mut c_void,
    answer: *mut Answer,
    changes: *mut Change,
    changes_length: usize,
) -> Status {
    let memory = (recourse, recourse_bytes);
    let search =
        |model: &'static EngineModel, record: &EngineRecord, rules: &EngineRules, found: &mut EngineRecourse| {
            let mut room = [engine::recourse::Answer::NONE];
            // SAFETY: the caller's function, with the caller's context.
            model.recourses_while(record, rules, found, &mut room, |done| unsafe {
                keeps_going(keep_going, context, done)
            })?;
            Ok(())
        };
    // SAFETY: by the header's contract.
    unsafe { recourse_by(record, (rules, rules_length), margin, memory, answer, (changes, changes_length), search) }
}

/// Asks the caller whether to continue.
///
/// # Safety
/// The header's contract.
unsafe fn keeps_going(keep_going: KeepGoing, context: *mut c_void, done: u32) -> bool {
    match keep_going {
        // SAFETY: the caller's function, with the caller's context.
        Some(keep_going) => unsafe { keep_going(context, u64::from(done)) },
        None => true,
    }
}

unsafe fn recourse_by(
    record: *const Record,
    (rules, rules_length): (*const Rule, usize),
    margin: f32,
    (recourse, recourse_bytes): (*mut Recourse, usize),
    answer: *mut Answer,
    (changes, changes_length): (*mut Change, usize),
    search: impl FnOnce(&'static EngineModel, &EngineRecord, &EngineRules, &mut EngineRecourse) -> Result<(), Status>,
) -> Status {
    status(|| {
        if recourse_bytes != size_of::<Recourse>() {
            return Err(Status::WrongSize);
        }
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { memory::filled(record.cast::<Filled>()) }?;
        let features = model.schema().features().len();
        let place = memory::place(recourse.cast::<EngineRecourse>())?;
        let answer = memory::place(answer)?;
        let changes = memory::array(changes, changes_length, features)?;
        let mut known = [engine::recourse::Rule::FREE; FEAMOE_FEATURES];
        if !rules.is_null() {
            let given = memory::array(rules.cast_mut(), rules_length, features)?;
            // SAFETY: the caller's array, whose length was checked.
            let given = unsafe { core::slice::from_raw_parts(given.as_ptr(), features) };
            for (to, from) in known.iter_mut().zip(given) {
                *to = from.known()?;
            }
        }
        let rules = Rules::new(known).map_err(|_| Status::RuleInvalid)?;
        let rules = rules.with_margin(margin).ok_or(Status::RuleInvalid)?;
        if cfg!(target_family = "wasm") {
            // The stack has a megabyte, which is enough for it; the file has no room for a copy.
            // SAFETY: writable memory of the caller, of the library's size.
            unsafe { place.write(EngineRecourse::new()) };
        } else {
            // SAFETY: as above; it is not the memory of the constant.
            unsafe { place.copy_from_nonoverlapping((&EMPTY).into(), 1) };
        }
        // SAFETY: just written; nothing else uses the memory meanwhile.
        let found = unsafe { &mut *place.as_ptr() };
        search(model, record, &rules, found)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe {
            answer.write(Answer {
                found: found.distance.is_some(),
                stopped: found.stopped,
                distance: found.distance.unwrap_or(0.0),
                probability: found.probability,
                evaluations: found.evaluations,
            });
        }
        let mut reported = [Change { kind: ChangeKind::None, number: 0.0, level: 0 }; FEAMOE_FEATURES];
        for (to, change) in reported.iter_mut().zip(&found.changes) {
            match change {
                Some(engine::recourse::Change::Number(number)) => {
                    *to = Change { kind: ChangeKind::Number, number: *number, level: 0 };
                }
                Some(engine::recourse::Change::Level(level)) => {
                    *to = Change { kind: ChangeKind::Level, number: 0.0, level: *level };
                }
                None => {}
            }
        }
        // SAFETY: an array whose length was checked.
        unsafe { memory::write_array(changes, crate::first(&reported, features)) };
        Ok(())
    })
}

impl Rule {
    fn known(&self) -> Result<engine::recourse::Rule, Status> {
        const ANY: u32 = Direction::Any as u32;
        const INCREASE: u32 = Direction::Increase as u32;
        const DECREASE: u32 = Direction::Decrease as u32;
        const FIXED: u32 = Direction::Fixed as u32;
        let direction = match self.direction {
            ANY => engine::recourse::Direction::Any,
            INCREASE => engine::recourse::Direction::Increase,
            DECREASE => engine::recourse::Direction::Decrease,
            FIXED => engine::recourse::Direction::Fixed,
            _ => return Err(Status::NoSuchChoice),
        };
        let Self { low, high, step, cost, .. } = *self;
        Ok(engine::recourse::Rule { direction, low, high, step, cost })
    }
}
