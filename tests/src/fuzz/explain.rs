//! Explanations of any record of generated models, against any background.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use feamoe_engine::attribution::{Background, Game, Sampling, Workspace};
use feamoe_engine::mixture::Term;
use feamoe_engine::{Attribution, ExplainError, FeatureIndex, Method, Record, Space};
use feamoe_testkit::content::Bytes;

use super::{EXPERTS, FEATURES, FuzzModel, check_score, set_any};
use feamoe_testkit::explain_into;
use feamoe_testkit::generate::Recipe;

/// The number of generated models: every size, both paths of the kernel.
const MODELS: u64 = 64;
/// The largest number of players of an exact game and of evaluations of a sampled one: these take
/// some microseconds.
const MOST_PLAYERS: usize = 8;
const MOST_EVALUATIONS: u64 = 300;
const MOST_ROWS: usize = 3;

type FuzzAttribution = Attribution<FEATURES, EXPERTS>;

/// Explains a record of a generated model by every method, with any game.
pub fn explain(data: &[u8]) {
    let mut data = Unstructured::new(data);
    // The run ends when the data ends.
    let _ = explain_any(&mut data);
}

fn explain_any(data: &mut Unstructured<'_>) -> Result<()> {
    static DRAWN: OnceLock<Vec<Bytes>> = OnceLock::new();
    let drawn = DRAWN.get_or_init(|| {
        let blob = |seed| Recipe::any(seed).content(seed).to_bytes(true);
        (0..MODELS).map(blob).collect()
    });
    let model = FuzzModel::load(data.choose(drawn)?.as_slice()).unwrap_or_else(|error| panic!("{error}"));
    let space = *data.choose(&[Space::Probability, Space::LogOdds])?;
    let groups: Option<[u8; FEATURES]> = data.arbitrary()?;
    let groups = groups.map(|groups| groups.map(u16::from));
    let game = Game { space, player_of: groups.as_ref().map(<[u16; FEATURES]>::as_slice) };
    let sampling =
        Sampling { tolerance: 0.01, most_evaluations: MOST_EVALUATIONS, seed: u64::from(data.arbitrary::<u16>()?) };
    let rows = data.int_in_range(0..=MOST_ROWS)?;
    let mut terms = vec![Term::default(); Background::terms_needed(&model) * rows];
    let factors = if data.arbitrary()? { Background::factors_needed(&model) * rows } else { 0 };
    let mut factors = vec![0.0; factors];
    let mut background = Background::new(&model, &mut terms, &mut factors);
    for _ in 0..rows {
        let record = any_record(&model, data)?;
        assert_eq!(background.push(&model, &record), Ok(()));
    }
    let record = any_record(&model, data)?;
    check_score(&model, &record);

    let mut why = FuzzAttribution::new();
    for method in [Method::Frozen, Method::Path] {
        assert_eq!(explain_into(&model, &record, method, &mut why), Ok(()));
        check_law(&why);
    }
    let mut workspace = Workspace::new();
    match model.exact_cost(&record, &background, &game) {
        Ok(cost) if cost.players <= MOST_PLAYERS => {
            let exact = model.exact_into(&record, &background, &game, &mut workspace, &mut why);
            // The cost is an upper bound.
            assert!(exact.is_ok() && why.evaluations <= cost.coalitions, "{exact:?}: {} of {cost:?}", why.evaluations);
            check_law(&why);
            check_residual(&why);
        }
        Ok(_) => {}
        Err(error) => {
            let out_of_range =
                groups.is_some_and(|groups| groups.iter().any(|player| usize::from(*player) >= FEATURES));
            let expected = matches!(error, ExplainError::EmptyBackground) && rows == 0
                || matches!(error, ExplainError::PlayerOutOfRange { .. }) && out_of_range;
            assert!(expected, "{error}");
            return Ok(());
        }
    }
    let sampled = model.sampled_into(&record, &background, &game, &sampling, &mut workspace, |_| true, &mut why);
    assert_eq!(sampled, Ok(()));
    check_law(&why);
    check_residual(&why);
    assert!(why.standard_errors.iter().all(|error| error.is_finite() && *error >= 0.0), "{:?}", why.standard_errors);
    Ok(())
}

fn any_record<'m>(model: &'m FuzzModel<'_>, data: &mut Unstructured<'_>) -> Result<Record<'m, FEATURES>> {
    let mut record = model.record();
    // By index, with a few bytes per value, for every feature of the model.
    for index in 0..model.schema().features().len() {
        let key = FeatureIndex(index);
        match data.arbitrary::<u8>()? {
            0 => set_any(model, &mut record, data)?,
            1 => drop(record.set_number(key, f32::from_bits(data.arbitrary()?))),
            byte @ 2..32 => drop(record.set_level(key, Some(u16::from(byte)))),
            byte => {
                let _ = record.set_number(key, f32::from(byte) - 64.0);
                let _ = record.set_level(key, Some(u16::from(byte) % 2));
            }
        }
    }
    Ok(record)
}

/// Checks `base_value + sum(values) + residual = output`, each rounded to f32, and that all are
/// numbers.
#[allow(clippy::cast_precision_loss)]
pub(super) fn check_law(why: &FuzzAttribution) {
    let parts = why.values.iter().chain([&why.base_value, &why.residual]);
    let (sum, size) = parts.fold((0.0, 1.0), |(sum, size), v| (sum + f64::from(*v), size + f64::from(v.abs())));
    let error = (f64::from(why.output) - sum).abs();
    assert!(error <= FEATURES as f64 * f64::from(f32::EPSILON) * size, "{error:e} of {size:e}: {why:?}");
}

/// Checks that Shapley values leave no residual (efficiency), up to the roundings of f32.
#[allow(clippy::cast_precision_loss)]
fn check_residual(why: &FuzzAttribution) {
    let size = why.values.iter().fold(1.0_f32.max(why.output.abs()), |size, value| size.max(value.abs()));
    assert!(why.residual.abs() <= 2.0 * FEATURES as f32 * f32::EPSILON * size, "{why:?}");
}
