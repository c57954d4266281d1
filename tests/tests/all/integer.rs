//! Compares integer weights with the model they come from and with their own slow twin in f64:
//! scores, explanations and numbers without floats. Also what the reader refuses.

use feamoe::judge::loss::loss_on_data;
use feamoe::model::{AlignedBytes, HostIntegerModel, HostModel};
use feamoe::model::{QuantizeError, Width, quantize};
use feamoe::rows::Input;
use feamoe::schema::Schema;
use feamoe_engine::error::LoadErrorKind;
use feamoe_engine::format::{Description, FLAG_INTEGER, HEADER_BYTES, header};
use feamoe_engine::integer::{Attribution, Number, Record, fixed};
use feamoe_engine::schema::{Kind, Note, Transform};
use feamoe_engine::{FeatureIndex, Model, PredictError, RecordError, integer};
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Cell, EXPERTS, FEATURES, Recipe, records};
use feamoe_testkit::reference::Reference;
use feamoe_tests::aligned;
use feamoe_tests::{data_file, repository_file};

const MODELS: u64 = 300;
const RECORDS: usize = 60;
/// Units of p, and of gates and log-odds.
const P: f64 = 4_294_967_296.0;
const ONE: f64 = 65_536.0;

type Integer<'a> = integer::Model<'a, FEATURES, EXPERTS>;
type Why = Attribution<FEATURES, EXPERTS>;

fn set<const N: usize>(record: &mut Record<'_, N>, cells: &[Cell]) {
    for (index, cell) in cells.iter().enumerate() {
        _ = record.set_value(FeatureIndex(index), (*cell).into()).unwrap();
    }
}

/// Draws records whose numbers differ in fixed point from the nearest bin edges; otherwise they
/// might fall into the neighbouring bin. Replaces other numbers by missing values.
fn distinct_records(content: &Content, seed: u64, count: usize) -> Vec<Vec<Cell>> {
    let mut drawn = records(content, seed, count);
    for cells in &mut drawn {
        let mut edges = content.edges.as_slice();
        for (cell, feature) in cells.iter_mut().zip(&content.features) {
            let (own, rest) = edges.split_at(feature.kind.edges() as usize);
            edges = rest;
            let Cell::Number(x) = *cell else { continue };
            let Some(number) = Number::new(feature.kind, 13) else { continue };
            let in_units = |x: f32| fixed(x, number.fraction_bits());
            if own.iter().any(|edge| *edge != x && in_units(*edge) == in_units(x)) {
                *cell = Cell::Missing;
            }
        }
    }
    drawn
}

/// Returns the model with the float weights that an integer blob represents.
fn dequantized(float: &Content, blob: &AlignedBytes, model: &Integer<'_>) -> Content {
    let format = model.format();
    let stride = float.bias.len();
    let width = usize::from(format.bits / 8);
    let values = 4 * stride + 4 * float.edges.len() + 2 * stride + width * float.rows.len();
    let bytes = &blob.as_slice()[blob.as_slice().len() - values..];
    let (bias, rest) = bytes.split_at(4 * stride);
    let (scales, rows) = rest[4 * float.edges.len()..].split_at(2 * stride);
    // A logit is (sum >> 12) * scale >> shift, in units of 2^-16.
    let (k, half) = (float.experts, stride / 2);
    let lane_of = |lane: usize| if lane < k { lane } else { lane - k + half };
    let unit = |lane: usize| {
        let scale = f64::from(u16::from_le_bytes([scales[2 * lane], scales[2 * lane + 1]]));
        scale * libm::ldexp(1.0, -12 - i32::from(format.shift) - 16)
    };
    let mut content = float.clone();
    for (lane, to) in content.bias.iter_mut().enumerate().take(2 * k) {
        let at = lane_of(lane);
        *to = (f64::from(i32::from_le_bytes(bias.as_chunks().0[at])) * unit(at)) as f32;
    }
    let weight = |bytes: &[u8]| match *bytes {
        [byte] => f64::from(byte.cast_signed()),
        [low, high] => f64::from(i16::from_le_bytes([low, high])),
        _ => unreachable!(),
    };
    let weights: Vec<f64> = rows.chunks(width).map(weight).collect();
    let mut from = weights.chunks(stride).zip(content.rows.chunks_mut(stride));
    for feature in &float.features {
        for row in 0..feature.kind.rows() {
            let scale = match (feature.kind, row) {
                (Kind::Number { transform, .. }, 0) => {
                    let step = Number::new(feature.kind, format.fraction).unwrap().scale_exponent();
                    let logarithm = if transform == Transform::Log1p { std::f64::consts::LOG2_E } else { 1.0 };
                    libm::ldexp(logarithm, -step)
                }
                _ => libm::ldexp(1.0, format.fraction.into()),
            };
            let (weights, to) = from.next().unwrap();
            for lane in 0..2 * k {
                to[lane] = (weights[lane_of(lane)] * unit(lane_of(lane)) * scale) as f32;
            }
        }
    }
    content
}

/// Compares the model of a seed with its integer copy on records drawn for it.
fn compare(recipe: Recipe, seed: u64, width: Width, mut check: impl FnMut(&Content, &Content, &[Cell], &Why)) {
    let content = recipe.content(seed);
    let bytes = quantize(&aligned(&content.to_bytes(true)), width).unwrap();
    let model = Integer::load(bytes.as_slice()).unwrap();
    let twin = dequantized(&content, &bytes, &model);
    let mut record = model.record();
    for cells in distinct_records(&content, seed, RECORDS) {
        set(&mut record, &cells);
        let mut why = Attribution::new();
        model.frozen_into(&record, &mut why).unwrap();
        assert_eq!(model.score(&record), Ok(why.score));
        check(&content, &twin, &cells, &why);
    }
}

/// The tables have an error of at most 4e-5 in a gate weight or an expert; the rest is for rounding
/// in sums and in the scales of numbers.
const KERNEL: f64 = 1e-4;
/// Error of integer weights compared with the floats they come from, for logits within 12: what
/// rounding to 16 and to 8 bits adds.
const LOSS: [(Width, f64, f64); 2] = [(Width::I16, 1e-4, 1e-3), (Width::I8, 1e-2, 5e-2)];

#[test]
fn scores_and_explanations_agree_with_the_floats_and_the_slow_twin() {
    for (width, loss, log_odds_loss) in LOSS {
        for seed in 0..MODELS {
            compare(Recipe::gentle(seed), seed, width, |content, twin, cells, why| {
                let p = f64::from(why.score.probability) / P;
                for (content, allowed, log_odds_allowed) in [(content, loss, log_odds_loss), (twin, KERNEL, 1e-3)] {
                    let reference = Reference::new(content);
                    let (score, frozen) = (reference.score(cells), reference.frozen(cells));
                    let error = (p - score.probability).abs();
                    assert!(error <= allowed, "seed {seed}, {width:?}: p errs by {error:e}");
                    let pairs = [(why.base_value, frozen.base_value), (why.output, frozen.output)];
                    for (found, expected) in pairs.into_iter().chain(why.values.into_iter().zip(frozen.values)) {
                        let error = (f64::from(found) / ONE - expected).abs();
                        // The output is the sum of at most 16 values.
                        assert!(error <= 4.0 * log_odds_allowed, "seed {seed}, {width:?}: log-odds err by {error:e}");
                    }
                }
                assert_eq!(why.score.gate.iter().sum::<u32>(), 1 << 16, "seed {seed}");
                assert_eq!(why.values.iter().sum::<i32>() + why.base_value, why.output, "seed {seed}");
                let least = (f64::from(content.threshold) * P).ceil();
                assert_eq!(why.score.decision, f64::from(why.score.probability) >= least);
                let k = content.experts;
                assert!(why.score.gate[k..].iter().all(|gate| *gate == 0));
                assert!(why.score.expert_probabilities[k..].iter().all(|output| *output == 0));
            });
        }
    }
}

/// The error is proportional to the reach of the model, because the bits of a sum cover that reach.
/// Logits too large for them are refused.
#[test]
fn any_model_is_near_its_twin_or_refused() {
    for seed in 0..MODELS {
        let recipe = Recipe::any(seed);
        let reach = f64::from(recipe.gate.max(recipe.outputs));
        for width in [Width::I16, Width::I8] {
            compare(recipe, seed, width, |_, twin, cells, why| {
                let expected = Reference::new(twin).score(cells).probability;
                let error = (f64::from(why.score.probability) / P - expected).abs();
                assert!(error <= KERNEL + 3e-5 * reach, "seed {seed}, reach {reach}: p errs by {error:e}");
            });
        }
    }
    let too_large = Recipe { gate: 1e6, ..Recipe::any(1) }.content(1).to_bytes(false);
    assert!(matches!(quantize(&aligned(&too_large), Width::I16), Err(QuantizeError::LogitsTooLarge)));
}

fn two_numbers_and_a_category() -> Content {
    let recipe = Recipe { experts: 3, features: 3, gate: 8.0, outputs: 8.0 };
    recipe.content_of(5, |index, _| match index {
        2 => Kind::Category { levels: 3 },
        _ => Kind::Number { transform: Transform::Identity, low: -4.0, high: 12.0, centre: 1.0, bins: 4 },
    })
}

/// Features with the same effect have the same value, and a feature without weights has the value
/// 0.
#[test]
fn values_are_symmetric_and_nothing_adds_nothing() {
    let mut content = two_numbers_and_a_category();
    let stride = content.bias.len();
    content.rows.copy_within(..6 * stride, 6 * stride);
    content.edges.copy_within(..3, 3);
    content.rows[12 * stride..].fill(0.0);
    let bytes = quantize(&aligned(&content.to_bytes(true)), Width::I16).unwrap();
    let model = Integer::load(bytes.as_slice()).unwrap();
    let mut record = model.record();
    let mut why = Why::new();
    for (x, level) in [(-9.0, 0), (0.3, 1), (1.0, 2), (12.0, 1)] {
        set(&mut record, &[Cell::Number(x), Cell::Number(x), Cell::Level(level)]);
        model.frozen_into(&record, &mut why).unwrap();
        assert_eq!((why.values[0], why.values[2]), (why.values[1], 0));
        assert_eq!(why.score.clamped, x == -9.0);
    }
}

#[test]
fn numbers_come_in_without_floats() {
    let content = two_numbers_and_a_category();
    let bytes = quantize(&aligned(&content.to_bytes(true)), Width::I8).unwrap();
    let model = Integer::load(bytes.as_slice()).unwrap();
    let (mut floats, mut fixed_point) = (model.record(), model.record());
    let key = FeatureIndex(1);
    let unit = model.number(1).unwrap().fraction_bits();
    for raw in [0, 1, -1, 17, -64, 192, 193, -1000, 1 << 20, i32::MAX, i32::MIN] {
        for bits in [0, 4, unit] {
            let value = f64::from(raw) / libm::ldexp(1.0, bits.into());
            let note = floats.set_number(key, value as f32).unwrap();
            assert_eq!(fixed_point.set_fixed(key, raw, bits), Ok(note), "{raw} {bits}");
            assert_eq!(model.score(&floats), model.score(&fixed_point), "{raw} {bits}");
        }
    }
    assert_eq!(floats.set_number(key, f32::NAN), Ok(Note::Missing));
    assert_eq!(fixed_point.set_missing(key), Ok(Note::Missing));
    assert_eq!(model.score(&floats), model.score(&fixed_point));
    assert_eq!(fixed_point.set_fixed("feature 2", 1, 0), Err(RecordError::NotANumber { feature: 2 }));
    assert_eq!(fixed_point.set_level("feature 1", Some(0)), Err(RecordError::NotACategory { feature: 1 }));
    assert_eq!(fixed_point.set_level("feature 2", Some(3)), Err(RecordError::LevelOutOfRange { found: 3, levels: 3 }));
    assert_eq!(fixed_point.set_category("feature 2", "level 1"), Ok(Note::Usual));
    assert_eq!(fixed_point.set_category("feature 2", "level 7"), Ok(Note::Unseen));
    assert_eq!(fixed_point.set_fixed("feature 9", 1, 0), Err(RecordError::UnknownFeature));
    assert_eq!(fixed_point.notes(), [Note::Missing, Note::Missing, Note::Unseen]);
    let other = Integer::load(bytes.as_slice()).unwrap();
    assert_eq!(other.score(&fixed_point), Err(PredictError::OtherModel));
}

/// The build's capacity does not change the integers, although it selects the kernel.
#[test]
fn capacity_does_not_change_a_bit() {
    for seed in 0..20 {
        let recipe = Recipe { experts: 5, ..Recipe::gentle(seed) };
        let content = recipe.content(seed);
        let bytes = quantize(&aligned(&content.to_bytes(false)), Width::I16).unwrap();
        let tight: integer::Model<16, 6> = integer::Model::load(bytes.as_slice()).unwrap();
        let wide: integer::Model<32, 64> = integer::Model::load(bytes.as_slice()).unwrap();
        let (mut a, mut b) = (tight.record(), wide.record());
        let (mut tight_why, mut wide_why) = (Attribution::new(), Attribution::new());
        for cells in records(&content, seed, 20) {
            set(&mut a, &cells);
            set(&mut b, &cells);
            tight.frozen_into(&a, &mut tight_why).unwrap();
            wide.frozen_into(&b, &mut wide_why).unwrap();
            assert_eq!(tight_why.score.probability, wide_why.score.probability);
            assert_eq!(
                (tight_why.output, tight_why.score.gate.as_slice()),
                (wide_why.output, &wide_why.score.gate[..6])
            );
            assert_eq!(tight_why.values.as_slice(), &wide_why.values[..16]);
        }
    }
}

fn small() -> Vec<u8> {
    let blob = aligned(&two_numbers_and_a_category().to_bytes(false));
    quantize(&blob, Width::I16).unwrap().as_slice().to_vec()
}

fn refusal(bytes: &[u8]) -> LoadErrorKind {
    Integer::load(AlignedBytes::new(bytes).as_slice()).unwrap_err().kind
}

/// Returns a blob changed at its end (the values) or in its section, with a correct checksum.
fn changed(change: impl FnOnce(&mut [u8], usize)) -> Vec<u8> {
    let mut bytes = small();
    let mut rest = &bytes[HEADER_BYTES..];
    rest = postcard::take_from_bytes::<Description>(rest).unwrap().1;
    for _ in 0..3 {
        rest = postcard::take_from_bytes::<Kind>(rest).unwrap().1;
    }
    // Skips the length of the section.
    let section = bytes.len() - rest.len() + 1;
    change(&mut bytes, section);
    let header = header(FLAG_INTEGER, &bytes[HEADER_BYTES..]).unwrap();
    bytes[..HEADER_BYTES].copy_from_slice(&header);
    bytes
}

#[test]
fn rejects_every_truncation_and_every_flipped_bit() {
    let bytes = small();
    assert!(Integer::load(AlignedBytes::new(&bytes).as_slice()).is_ok());
    for length in 0..bytes.len() {
        refusal(&bytes[..length]);
    }
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refusal(&flipped);
    }
}

#[test]
fn rejects_what_is_no_integer_weights() {
    for (index, wrong) in [(0, 0), (0, 12), (0, 32), (1, 0), (1, 23), (2, 32)] {
        assert_eq!(refusal(&changed(|bytes, section| bytes[section + index] = wrong)), LoadErrorKind::InvalidFormat);
    }
    // With 3 experts half a weight row has 4 lanes, and the last is padding. The bias rows of 8
    // lanes are followed by 6 edges.
    let rows = 2 * 8 * (6 + 6 + 5);
    let (scales, edges, bias) = (rows + 16, rows + 16 + 24, rows + 16 + 24 + 32);
    for at in [scales - 6, scales - 14, rows - 6, 2, bias - 12] {
        let bytes = changed(|bytes, _| {
            let end = bytes.len();
            bytes[end - at] = 1;
        });
        assert!(matches!(refusal(&bytes), LoadErrorKind::PaddingNotZero), "{at}");
    }
    let of_scale = |scale: u16| {
        changed(|bytes, _| {
            let at = bytes.len() - scales;
            bytes[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        })
    };
    assert_eq!(refusal(&of_scale(0)), LoadErrorKind::InvalidScale);
    assert_eq!(refusal(&of_scale(4096)), LoadErrorKind::InvalidScale);
    let edge = changed(|bytes, _| {
        let at = bytes.len() - edges;
        bytes[at..at + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    });
    assert_eq!(refusal(&edge), LoadErrorKind::EdgesNotAscending { feature: 0 });
    for large in [i32::MAX, i32::MIN] {
        let bytes = changed(|bytes, _| {
            let at = bytes.len() - bias;
            bytes[at..at + 4].copy_from_slice(&large.to_le_bytes());
        });
        assert_eq!(refusal(&bytes), LoadErrorKind::LogitsTooLarge);
    }
    let finer = changed(|bytes, section| bytes[section + 1] = 22);
    assert_eq!(refusal(&finer), LoadErrorKind::LogitsTooLarge);
}

#[test]
fn each_reader_names_the_other() {
    let float = aligned(&two_numbers_and_a_category().to_bytes(false));
    assert_eq!(refusal(float.as_slice()), LoadErrorKind::FloatWeights);
    let bytes = AlignedBytes::new(&small());
    let error = Model::<16, 16>::load(bytes.as_slice()).unwrap_err();
    assert_eq!(error.kind, LoadErrorKind::IntegerWeights);
    assert!(error.to_string().contains("integer::Model"), "{error}");
}

#[test]
fn weights_of_16_bits_need_an_even_address_and_those_of_8_any() {
    for (width, expected) in [(Width::I16, Some(LoadErrorKind::Misaligned)), (Width::I8, None)] {
        let blob = quantize(&aligned(&two_numbers_and_a_category().to_bytes(true)), width).unwrap();
        let blob = blob.as_slice();
        for offset in 0..4 {
            let moved = [&vec![0; offset], blob].concat();
            let moved = AlignedBytes::new(&moved);
            let found = Integer::load(&moved.as_slice()[offset..]).err().map(|error| error.kind);
            assert_eq!(found, expected.filter(|_| offset % 2 == 1), "{width:?} {offset}");
        }
    }
}

/// Memory is part of the contract: a model of the common size with its record, score and
/// attribution takes 3 kB on a 32-bit target.
#[test]
fn sizes_are_as_stated() {
    assert_eq!(size_of::<integer::Model<32, 12>>() - size_of::<integer::Model<16, 12>>(), 48 * 16);
    assert_eq!(size_of::<Record<32>>() - size_of::<Record<16>>(), 17 * 16);
    assert_eq!(size_of::<integer::Score<12>>(), 8 + 6 * 12);
    assert_eq!(size_of::<Attribution<16, 12>>(), size_of::<integer::Score<12>>() + 8 + 4 * 16);
}

/// Measures the differences in p, decisions and gaps on real rows.
#[test]
fn adult_loses_next_to_nothing() {
    let Some(data) = data_file("adult.test") else { return };
    let schema = Schema::open(&repository_file("trainer/schemas/adult.toml")).unwrap();
    let float = AlignedBytes::read(&repository_file("engine/golden/adult-gated.feamoe")).unwrap();
    let model = HostModel::load(float.as_slice()).unwrap();
    for (width, difference, decisions, gap) in [(Width::I16, 5e-4, 5e-4, 1e-3), (Width::I8, 0.05, 0.02, 0.02)] {
        let bytes = quantize(&float, width).unwrap();
        let integer = HostIntegerModel::load(bytes.as_slice()).unwrap();
        let loss = loss_on_data(&model, &integer, &[Input::File(data.clone())], &schema).unwrap();
        let change = loss.largest_gap_change().unwrap();
        println!(
            "{width:?}: {} of {} bytes, {} rows: p {:.2e}, {} decisions, gaps {change:.2e}",
            bytes.as_slice().len(),
            float.as_slice().len(),
            loss.rows,
            loss.largest_difference,
            loss.changed_decisions
        );
        assert!(loss.rows > 16_000 && loss.largest_difference <= difference && loss.largest_difference > 0.0);
        assert!(loss.changed_share <= decisions && change <= gap);
    }
}
