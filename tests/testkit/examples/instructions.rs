//! Runs one workload of the engine whose instructions callgrind counts: `instructions NAME`. The
//! test module `instructions` of `feamoe-tests` runs each workload.

use std::error::Error;
use std::hint::black_box;

use feamoe_engine::attribution::{Background, Game, Workspace};
use feamoe_engine::mixture::Term;
use feamoe_engine::{Attribution, Model, Record, Recourse, Score, integer};
use feamoe_testkit::content::{Bytes, Content};
use feamoe_testkit::generate::{Cell, fill, records};

const FLOAT: &[u8] = include_bytes!("../../../engine/golden/adult-gated.feamoe");
const INTEGER: &[u8] = include_bytes!("../../../engine/golden/v1-i16.feamoe");
/// The float model that [`INTEGER`] was made from.
const INTEGER_SOURCE: &[u8] = include_bytes!("../../../engine/golden/v1.feamoe");

const RECORDS: usize = 200;
/// The number of records explained exactly, each against this many of the others.
const EXPLAINED: usize = 10;
const SEED: u64 = 1;

type Float<'a> = Model<'a, 16, 16>;
type Integer<'a> = integer::Model<'a, 16, 16>;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("no workload is named")?;
    let [float, integer, integer_source] = [FLOAT, INTEGER, INTEGER_SOURCE].map(Bytes::new);
    let model = Float::load(float.as_slice())?;
    let drawn = |cells: &Vec<Cell>| -> Result<Record<'_, 16>, Box<dyn Error>> {
        let mut record = model.record();
        fill(&mut record, cells)?;
        Ok(record)
    };
    let cells = records(&Content::read(float.as_slice()), SEED, RECORDS);
    let rows: Vec<Record<'_, 16>> = cells.iter().map(drawn).collect::<Result<_, _>>()?;
    let mut why = Attribution::<16, 16>::new();
    match name.as_str() {
        "load" => counted(|| Float::load(black_box(float.as_slice())).is_ok()),
        "score" => {
            let mut score = Score::new();
            counted(|| rows.iter().all(|record| model.score_into(black_box(record), &mut score).is_ok()))
        }
        "integer-score" => {
            let model = Integer::load(integer.as_slice())?;
            let mut all = Vec::new();
            for cells in records(&Content::read(integer_source.as_slice()), SEED, RECORDS) {
                let mut record = model.record();
                record.set_all(&cells.into_iter().map(Into::into).collect::<Vec<_>>())?;
                all.push(record);
            }
            let mut score = integer::Score::new();
            counted(|| all.iter().all(|record| model.score_into(black_box(record), &mut score).is_ok()))
        }
        "frozen" => counted(|| rows.iter().all(|record| model.frozen_into(black_box(record), &mut why).is_ok())),
        "path" => counted(|| rows.iter().all(|record| model.path_into(black_box(record), &mut why).is_ok())),
        "exact" => {
            let (rows, others) = rows[..2 * EXPLAINED].split_at(EXPLAINED);
            let mut terms = vec![Term::default(); Background::terms_needed(&model) * others.len()];
            let mut factors = vec![0.0; Background::factors_needed(&model) * others.len()];
            let mut background = Background::new(&model, &mut terms, &mut factors);
            others.iter().try_for_each(|other| background.push(&model, other))?;
            let mut workspace = Workspace::new();
            counted(|| {
                rows.iter().all(|record| {
                    let game = Game::default();
                    model.exact_into(record, &background, &game, &mut workspace, &mut why).is_ok()
                })
            })
        }
        "recourse" => {
            let mut recourse = Recourse::new();
            counted(|| rows.iter().all(|record| model.recourse_into(black_box(record), &mut recourse).is_ok()))
        }
        _ => Err(format!("no workload {name}").into()),
    }
}

fn counted(mut work: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    if feamoe_counted(&mut work) { Ok(()) } else { Err("the engine refused a record".into()) }
}

/// Callgrind finds this function by its name and counts the instructions of its calls.
#[inline(never)]
fn feamoe_counted(work: &mut dyn FnMut() -> bool) -> bool {
    work()
}
