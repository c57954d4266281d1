//! Delta blobs: applied to the old model, a delta gives exactly the bytes of the new model, for any
//! two models. Anything else is an error and never a panic.

use feamoe::model::AlignedBytes;
use feamoe::model::{DeltaError, Width, delta, quantize};
use feamoe_engine::delta::{self as device, DeltaError as E, Outline, Table, apply};
use feamoe_engine::error::{FrameError as F, LoadErrorKind};
use feamoe_engine::format::HEADER_BYTES;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Draw, EXPERTS, Recipe};
use feamoe_tests::aligned;
use feamoe_tests::command::Folder;
use feamoe_tests::repository_file;

/// Applies a delta to memory that already holds other bytes.
fn applied(old: &AlignedBytes, delta: &[u8]) -> Result<Vec<u8>, E> {
    let mut out = vec![0xa5; 200_000];
    apply(old.as_slice(), delta, &mut out).map(<[u8]>::to_vec)
}

/// Makes the delta of two models and applies it. Returns its length, or `None` if it would not be
/// smaller than the model.
fn round_trip(old: &Content, new: &Content) -> Option<usize> {
    let (old, new) = (aligned(&old.to_bytes(true)), aligned(&new.to_bytes(true)));
    let bytes = match delta(&old, &new) {
        Err(DeltaError::NoSmaller { found, limit }) => {
            assert!(found >= limit && limit == new.as_slice().len());
            return None;
        }
        result => result.unwrap(),
    };
    assert!(applied(&old, &bytes).unwrap() == new.as_slice());
    assert!(bytes.len() < new.as_slice().len());
    Some(bytes.len())
}

/// A model with categories and with numbers with and without bins.
fn model(experts: usize, seed: u64) -> Content {
    let recipe = Recipe { experts, features: 4, gate: 20.0, outputs: 20.0 };
    recipe.content_of(seed, |index, _| match index {
        0 => Kind::Category { levels: 20 },
        1 => Kind::Number { transform: Transform::Identity, low: 0.0, high: 1.0, centre: 0.5, bins: 0 },
        2 => Kind::Number { transform: Transform::Identity, low: 0.0, high: 9.0, centre: 0.5, bins: 64 },
        _ => Kind::Category { levels: 5 },
    })
}

/// Visits every weight of a model by weight row and lane; `bias` is weight row 0.
fn each_weight(content: &mut Content, mut change: impl FnMut(usize, usize, &mut f32)) {
    let (stride, lanes) = (stride(content.experts), 2 * content.experts);
    let Content { bias, rows, .. } = content;
    for (row, weights) in bias.chunks_mut(stride).chain(rows.chunks_mut(stride)).enumerate() {
        weights[..lanes].iter_mut().enumerate().for_each(|(lane, weight)| change(row, lane, weight));
    }
}

/// Returns the model with other experts: each is a copy of the given one, or new if `None`.
fn with_experts(content: &Content, sources: &[Option<usize>]) -> Content {
    let (old, new) = (content.experts, sources.len());
    let mut draw = Draw::new(3);
    let mut copied = |weights: &[f32]| {
        let rows = weights.chunks(stride(old)).flat_map(|row| {
            let lane = |half: usize| sources.iter().map(move |source| source.map(|source| row[half * old + source]));
            let mut lanes: Vec<f32> =
                lane(0).chain(lane(1)).map(|weight| weight.unwrap_or_else(|| draw.between(-1.0, 1.0))).collect();
            lanes.resize(stride(new), 0.0);
            lanes
        });
        rows.collect()
    };
    let (bias, rows) = (copied(&content.bias), copied(&content.rows));
    Content { experts: new, bias, rows, ..content.clone() }
}

#[test]
fn any_two_models_round_trip() {
    let mut smaller = 0;
    for seed in 0..300 {
        let recipe = |seed| Recipe { experts: 1 + Draw::new(seed).below(EXPERTS), ..Recipe::any(seed / 2) };
        let (old, new) = (recipe(seed).content(seed / 2), recipe(seed + 1).content(seed.div_ceil(2)));
        smaller += usize::from(round_trip(&old, &new).is_some());
    }
    assert!(smaller > 100, "only {smaller} of 300");
}

#[test]
fn nothing_changed_takes_a_few_hundred_bytes_at_most() {
    let content = model(12, 1);
    assert!(aligned(&content.to_bytes(true)).as_slice().len() > 10_000);
    assert!(round_trip(&content, &content).unwrap() < 250);
}

#[test]
fn threshold_provenance_names_and_sections_are_edits() {
    let old = model(12, 1);
    let mut new = old.clone();
    new.threshold = 0.25;
    new.provenance.training_rows += 1 << 40;
    new.provenance.data_sha256 = [7; 32];
    new.features[2].name = "another".to_owned();
    new.edges[10] += 1e-3;
    new.deviations = vec![0.0, 1.5, 2.5, 0.0];
    assert!(round_trip(&old, &new).unwrap() < 450);
    assert!(round_trip(&new, &old).unwrap() < 400);
}

#[test]
fn one_expert_changed_costs_its_own_weights() {
    let old = model(12, 1);
    let mut new = old.clone();
    let mut draw = Draw::new(2);
    each_weight(&mut new, |_, lane, weight| *weight += if lane % 12 == 5 { draw.between(-0.01, 0.01) } else { 0.0 });
    let weights = 2 * 4 * (1 + 22 + 2 + 66 + 7);
    assert!(round_trip(&old, &new).unwrap() < weights + 250);
}

#[test]
fn experts_added_removed_and_moved_are_distinguished() {
    let old = model(3, 1);
    let weights = 2 * 4 * (1 + 22 + 2 + 66 + 7);
    for (sources, changed) in [
        (&[Some(0), Some(1), Some(2), Some(1)][..], 0),
        (&[Some(0), Some(1), Some(2), None], 1),
        (&[Some(0), Some(1), Some(2), None, Some(0)], 1),
        (&[Some(2), Some(0)], 0),
        (&[Some(0), None, Some(2)], 1),
    ] {
        let bytes = round_trip(&old, &with_experts(&old, sources)).unwrap();
        assert!(bytes < changed * weights + 250, "{sources:?}: {bytes}");
    }
}

#[test]
fn weights_that_move_together_cost_little() {
    let old = model(12, 1);
    let mut new = old.clone();
    // Each feature and lane shifts by one number, as when a mean moves; each weight is rounded.
    let mut draw = Draw::new(2);
    let shifts: Vec<f64> = (0..6 * 24).map(|_| f64::from(draw.between(-1e-3, 1e-3))).collect();
    let feature = |row| [0, 1, 23, 25, 27, 91].iter().rposition(|start| row >= *start).unwrap();
    let mut moved = 0;
    each_weight(&mut new, |row, lane, weight| {
        *weight = (f64::from(*weight) + shifts[feature(row) * 24 + lane]) as f32;
        moved += 1;
    });
    let bytes = round_trip(&old, &new).unwrap();
    // Coded one by one, each weight would take about 20 bits.
    assert!(bytes < moved, "{bytes} bytes for {moved} weights");
}

#[test]
fn levels_and_bins_added_shift_the_rows_after_them() {
    let old = model(12, 1);
    let mut new = old.clone();
    let stride = stride(12);
    new.features[0].kind = Kind::Category { levels: 22 };
    new.features[0].levels.extend(["a".to_owned(), "b".to_owned()]);
    let unseen = new.rows[20 * stride..21 * stride].to_vec();
    new.rows.splice(20 * stride..20 * stride, [unseen.clone(), unseen].concat());
    assert!(round_trip(&old, &new).unwrap() < 400);
    assert!(round_trip(&new, &old).unwrap() < 400);
    // A number that was always missing gets a bin.
    let Kind::Number { bins, .. } = &mut new.features[1].kind else { panic!() };
    *bins = 1;
    new.rows.splice(26 * stride..26 * stride, vec![0.0; stride]);
    assert!(round_trip(&old, &new).unwrap() < 450);
}

#[test]
fn a_delta_no_smaller_than_the_model_is_refused() {
    let recipe = Recipe { experts: 1, features: 1, gate: 5.0, outputs: 5.0 };
    let blob = |seed| aligned(&recipe.content_of(seed, |_, _| Kind::Category { levels: 0 }).to_bytes(false));
    let error = delta(&blob(1), &blob(2)).unwrap_err();
    let limit = blob(2).as_slice().len();
    assert!(matches!(error, DeltaError::NoSmaller { found, limit: l } if found >= limit && l == limit), "{error}");
    assert!(
        error
            .to_string()
            .ends_with(&format!(" bytes, but the new model itself has only {limit}; send the model instead")),
        "{error}"
    );
}

/// Returns a small model, a later one, and their delta.
fn small() -> (AlignedBytes, AlignedBytes, Vec<u8>) {
    let old = model(2, 1);
    let mut new = with_experts(&old, &[Some(0), Some(1), Some(1)]);
    let mut draw = Draw::new(9);
    each_weight(&mut new, |row, lane, weight| {
        *weight += if lane == 5 && row % 9 == 0 { draw.between(-0.5, 0.5) } else { 0.0 };
    });
    new.provenance.training_rows += 1 << 33;
    let (old, new) = (aligned(&old.to_bytes(true)), aligned(&new.to_bytes(true)));
    let bytes = delta(&old, &new).unwrap();
    (old, new, bytes)
}

#[test]
fn rejects_every_truncation_and_trailing_bytes() {
    let (old, new, bytes) = small();
    assert!(applied(&old, &bytes).unwrap() == new.as_slice());
    for length in 0..bytes.len() {
        let error = applied(&old, &bytes[..length]).unwrap_err();
        let expected = device::HEADER_BYTES;
        match length {
            0..device::HEADER_BYTES => assert_eq!(error, E::Frame(F::Truncated { found: length, expected })),
            _ => assert!(matches!(error, E::Frame(F::WrongChecksum { .. })), "{length}: {error}"),
        }
    }
    assert!(matches!(applied(&old, &[&bytes[..], &[0]].concat()), Err(E::Frame(F::WrongChecksum { .. }))));
}

#[test]
fn rejects_every_single_bit_flip() {
    let (old, _, bytes) = small();
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = applied(&old, &flipped).unwrap_err();
        let what_it_hit = match bit / 8 {
            0..4 => error == E::Frame(F::WrongMagic { expected: *b"FEAD" }),
            4..6 => matches!(error, E::Frame(F::UnsupportedVersion { expected: 2, .. })),
            _ => matches!(error, E::Frame(F::WrongChecksum { .. })),
        };
        assert!(what_it_hit, "bit {bit}: {error}");
    }
}

/// Returns the checksum that identifies a blob.
fn crc(blob: &[u8]) -> u32 {
    u32::from_le_bytes(blob[12..16].try_into().unwrap())
}

/// Prepends a correct header to a payload.
fn seal(payload: &[u8]) -> Vec<u8> {
    [&device::header(payload), payload].concat()
}

#[test]
fn rejects_every_bit_flip_and_truncation_under_a_right_checksum() {
    let (old, _, bytes) = small();
    let payload = &bytes[device::HEADER_BYTES..];
    for bit in 0..8 * payload.len() {
        let mut flipped = payload.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(out) = applied(&old, &seal(&flipped)) {
            // A copy may come from another place that holds the same byte.
            assert!(out == applied(&old, &bytes).unwrap(), "bit {bit}");
        }
    }
    for length in 0..payload.len() {
        assert_eq!(applied(&old, &seal(&payload[..length])), Err(E::Malformed), "{length}");
    }
    assert_eq!(applied(&old, &seal(&[payload, &[0]].concat())), Err(E::Malformed));
}

#[test]
fn random_bytes_never_panic() {
    let (old, new, bytes) = small();
    let mut draw = Draw::new(4);
    for _ in 0..20_000 {
        // Some payloads begin with a correct part, so that later parts are reached.
        let kept = draw.below(bytes.len());
        let mut payload = bytes[device::HEADER_BYTES.min(kept)..kept].to_vec();
        payload.extend((0..draw.below(400)).map(|_| draw.bits() as u8 & draw.one_of(&[0xff, 0x0f, 0x01])));
        // The last bytes may be correct by chance.
        assert!(applied(&old, &seal(&payload)).map_or(true, |out| out == new.as_slice()));
        assert!(apply(&payload, &bytes, &mut [0; 64]).is_err());
    }
}

#[test]
fn a_crafted_delta_ends_soon() {
    let (old, new, _) = small();
    let (header, old_crc32) = (&new.as_slice()[..HEADER_BYTES], crc(old.as_slice()));
    let start = std::time::Instant::now();
    for (experts, rows, run) in [(255, u32::MAX, u32::MAX), (0, u32::MAX, u32::MAX), (255, 0, u32::MAX), (1, 1, 0)] {
        let table = Table { at: 16, rows, experts };
        let outline = Outline { old_crc32, header, old: table, new: table };
        let mut payload = postcard::to_stdvec(&outline).unwrap();
        let runs = postcard::to_stdvec(&(run, 1_u32)).unwrap().repeat(1000);
        let copies = postcard::to_stdvec(&(&[][..] as &[u8], 0_u32, 0_u32)).unwrap().repeat(1000);
        for part in [vec![0; experts as usize], runs, copies.clone(), copies, vec![0xff; 10_000]] {
            payload.extend(postcard::to_stdvec(&part).unwrap());
        }
        assert_eq!(applied(&old, &seal(&payload)), Err(E::Malformed), "{experts} {rows} {run}");
    }
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn rejects_what_it_is_not_for() {
    let (old, new, bytes) = small();
    let (found, expected) = (crc(new.as_slice()), crc(old.as_slice()));
    assert_eq!(applied(&new, &bytes), Err(E::OtherModel { found, expected }));
    let mut damaged = old.as_slice().to_vec();
    damaged[100] ^= 1;
    let Err(E::Old(error)) = applied(&AlignedBytes::new(&damaged), &bytes) else { panic!() };
    assert!(matches!(error.kind, LoadErrorKind::Frame(F::WrongChecksum { .. })));
    let expected = new.as_slice().len();
    let mut out = vec![0; expected];
    assert!(apply(old.as_slice(), &bytes, &mut out).unwrap() == new.as_slice());
    let found = expected - 1;
    assert_eq!(apply(old.as_slice(), &bytes, &mut out[1..]), Err(E::OutputTooSmall { found, expected }));
    assert_eq!(
        E::OutputTooSmall { found, expected }.to_string(),
        format!("the new model has {expected} bytes, but the given memory has {found}")
    );
}

#[test]
fn the_command_writes_what_turns_one_model_into_the_other() {
    let folder = Folder::with_model();
    folder.write("more.csv", feamoe_tests::command::lending(2, 500));
    let train = ["train", "lending.csv", "--schema", "lending.toml", "--checkpoint", "run.ckpt", "-o", "first.feamoe"];
    let _ = folder.run(&train).done();
    let _ = folder.run(&["update", "run.ckpt", "more.csv", "--freeze", "-o", "second.feamoe"]).done();
    for (from, to) in [("first.feamoe", "old.feamoe"), ("second.feamoe", "new.feamoe")] {
        let _ = folder.run(&["export", from, "-o", to]).done();
    }
    let (old, new) = (AlignedBytes::new(&folder.read("old.feamoe")), folder.read("new.feamoe"));
    let text = folder.run(&["export", "--delta", "old.feamoe", "new.feamoe", "-o", "d.delta"]).done();
    let bytes = folder.read("d.delta");
    assert!(applied(&old, &bytes).unwrap() == new);
    assert!(bytes.len() < new.len() * 9 / 10, "{} of {} bytes", bytes.len(), new.len());
    assert!(text.starts_with(&format!("wrote d.delta ({} bytes): turns old.feamoe (CRC-32 ", bytes.len())), "{text}");
    assert!(text.ends_with(&format!(", {} bytes)\n", new.len())), "{text}");
    let report =
        folder.run(&["export", "new.feamoe", "-o", "e.delta", "--delta", "old.feamoe", "--format", "json"]).json();
    assert_eq!(folder.read("e.delta"), bytes);
    assert_eq!((&report["bytes"], &report["model_bytes"]), (&bytes.len().into(), &new.len().into()));
    let hex = |blob| format!("{:08x}", crc(blob)).into();
    assert_eq!((&report["old_crc32"], &report["crc32"]), (&hex(old.as_slice()), &hex(&new)));

    folder.write("no.feamoe", b"FEAM?");
    let refused = folder.refusal(&["export", "--delta", "no.feamoe", "new.feamoe", "-o", "f.delta"]);
    assert!(refused.starts_with("no.feamoe: cannot use this model: blob ends after 5 bytes"), "{refused}");
    let refused = folder.refusal(&["export", "--delta", "old.feamoe", "new.feamoe", "-o", "old.feamoe"]);
    assert!(refused.starts_with("the output old.feamoe is the input old.feamoe"), "{refused}");
    let refused = folder.run(&["export", "--delta", "old.feamoe", "new.feamoe", "-o", "g", "--strip-names"]);
    assert_eq!(refused.usage_refused(), "the argument '--delta <OLD>' cannot be used with '--strip-names'");
}

/// The header in the outline equals that of the new blob, byte by byte.
#[test]
fn rejects_an_outline_whose_header_has_another_length() {
    let (old, new, bytes) = small();
    let payload = &bytes[device::HEADER_BYTES..];
    // The CRC of the old blob is a varint of 5 bytes here; the length of the header follows it.
    let at = payload.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    assert_eq!(payload[at] as usize, HEADER_BYTES);
    assert_eq!(payload[at + 1..][..HEADER_BYTES], new.as_slice()[..HEADER_BYTES]);
    for length in [0, 12, 15, 17, 18, 19, 20, 32] {
        let mut header = new.as_slice()[..HEADER_BYTES].to_vec();
        header.resize(length, 0);
        let (before, after) = (&payload[..at], &payload[at + 1 + HEADER_BYTES..]);
        let changed = [before, &[length as u8], &header, after].concat();
        assert_eq!(applied(&old, &seal(&changed)), Err(E::Malformed), "{length}");
    }
}

/// A weight of zero means that no record had the value; a shift does not change it.
#[test]
fn zeros_do_not_move_with_the_others() {
    let (mut old, mut draw) = (model(2, 1), Draw::new(8));
    each_weight(&mut old, |row, _, weight| {
        // Weights and shifts add up exactly, so one shift fits all weights.
        *weight = if row % 5 == 3 { 0.0 } else { 0.25 * draw.below(64) as f32 + 8.0 };
    });
    let mut new = old.clone();
    each_weight(&mut new, |_, _, weight| *weight += if *weight == 0.0 { 0.0 } else { 0.5 });
    // One shift for each run and lane, and no differences: if zeros moved, each would take dozens
    // of bits.
    let blocks = 4 * 9;
    assert!(round_trip(&old, &new).unwrap() < blocks * 38 / 8 + 160);
    assert_eq!(device::Width::F32.predicted(0, Some(0.5_f32.to_bits())), 0);
    assert_eq!(device::Width::F32.predicted(1_f32.to_bits(), Some(0.5_f32.to_bits())), 1.5_f32.to_bits());
    assert_eq!((device::Width::I16.predicted(0, Some(3)), device::Width::I8.predicted(5, Some(u32::MAX))), (0, 4));
}

/// Like [`round_trip`], for models with integer weights.
fn integer_round_trip(old: &AlignedBytes, new: &AlignedBytes) -> Option<usize> {
    let bytes = match delta(old, new) {
        Err(DeltaError::NoSmaller { .. }) => return None,
        result => result.unwrap(),
    };
    assert_eq!(bytes[..6], *b"FEAD\x02\0");
    assert!(applied(old, &bytes).unwrap() == new.as_slice());
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(applied(old, &damaged).is_err(), "byte {at}");
    }
    Some(bytes.len())
}

#[test]
fn integer_models_have_deltas() {
    for width in [Width::I16, Width::I8] {
        let integer = |content: &Content| quantize(&aligned(&content.to_bytes(true)), width).unwrap();
        let old = model(12, 1);
        let bytes = integer(&old).as_slice().len();
        assert!(integer_round_trip(&integer(&old), &integer(&old)).unwrap() < 260);
        // One expert continued to learn.
        let (mut new, mut draw) = (old.clone(), Draw::new(2));
        each_weight(&mut new, |_, lane, weight| {
            *weight += if lane % 12 == 5 { draw.between(-0.01, 0.01) } else { 0.0 };
        });
        let learned = integer_round_trip(&integer(&old), &integer(&new)).unwrap();
        assert!(learned < bytes / 4, "{width:?}: {learned} of {bytes}");
        // One more expert, as a copy.
        let copied =
            with_experts(&with_experts(&old, &[Some(0), Some(1), Some(2)]), &[Some(2), Some(0), Some(1), Some(1)]);
        let fewer = with_experts(&old, &[Some(0), Some(1), Some(2)]);
        let grown = integer_round_trip(&integer(&fewer), &integer(&copied)).unwrap();
        assert!(grown < integer(&copied).as_slice().len() / 3, "{width:?}: {grown}");
    }
    // Any two models, of any widths, including floats.
    let mut smaller = 0;
    for seed in 0..200 {
        let recipe = |seed| Recipe { experts: 1 + Draw::new(seed).below(EXPERTS), ..Recipe::any(seed / 2) };
        let blob = |seed: u64, width: Option<Width>| {
            let bytes = aligned(&recipe(seed).content(seed / 2).to_bytes(true));
            width.map_or(Some(bytes.clone()), |width| quantize(&bytes, width).ok())
        };
        let mut draw = Draw::new(seed);
        let widths = [None, Some(Width::I16), Some(Width::I8)];
        let pair = (blob(seed, draw.one_of(&widths)), blob(seed + 1, draw.one_of(&widths)));
        let (Some(old), Some(new)) = pair else { continue };
        match delta(&old, &new) {
            Err(DeltaError::NoSmaller { .. }) => {}
            result => {
                assert!(applied(&old, &result.unwrap()).unwrap() == new.as_slice());
                smaller += 1;
            }
        }
    }
    assert!(smaller > 40, "only {smaller} of 200");
}

/// Prepends a correct header of version 2 to a payload.
fn seal_integers(payload: &[u8]) -> Vec<u8> {
    [&device::header_of_integers(payload).unwrap()[..], payload].concat()
}

#[test]
fn a_hostile_delta_of_integers_is_refused_or_gives_the_model() {
    let old = model(3, 1);
    let mut new = old.clone();
    each_weight(&mut new, |_, lane, weight| *weight += if lane == 2 { 0.01 } else { 0.0 });
    let integer = |content: &Content| quantize(&aligned(&content.to_bytes(true)), Width::I16).unwrap();
    let (old, new) = (integer(&old), integer(&new));
    let bytes = delta(&old, &new).unwrap();
    let payload = &bytes[HEADER_BYTES..];
    for bit in 0..8 * payload.len() {
        let mut flipped = payload.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(applied(&old, &seal_integers(&flipped)).map_or(true, |out| out == new.as_slice()), "bit {bit}");
    }
    for length in 0..payload.len() {
        assert_eq!(applied(&old, &seal_integers(&payload[..length])), Err(E::Malformed), "{length}");
    }
    let mut draw = Draw::new(4);
    for _ in 0..20_000 {
        let mut changed = payload.to_vec();
        for _ in 0..1 + draw.below(4) {
            let at = draw.below(changed.len());
            changed[at] = draw.bits() as u8;
        }
        assert!(applied(&old, &seal_integers(&changed)).map_or(true, |out| out == new.as_slice()));
    }
}

/// Golden deltas still apply: version 1 for floats, version 2 for integers.
#[test]
fn golden_deltas_apply() {
    let old = AlignedBytes::read(&repository_file("engine/golden/v1.feamoe")).unwrap();
    let new = AlignedBytes::read(&repository_file("engine/golden/v1-background.feamoe")).unwrap();
    let floats = std::fs::read(repository_file("engine/golden/delta-v1.delta")).unwrap();
    assert_eq!(floats[..6], *b"FEAD\x01\0");
    assert!(applied(&old, &floats).unwrap() == new.as_slice());
    let old = AlignedBytes::read(&repository_file("engine/golden/v1-i16.feamoe")).unwrap();
    let new = AlignedBytes::read(&repository_file("engine/golden/delta-v2.feamoe")).unwrap();
    let integers = std::fs::read(repository_file("engine/golden/delta-v2.delta")).unwrap();
    assert_eq!(integers[..6], *b"FEAD\x02\0");
    assert!(applied(&old, &integers).unwrap() == new.as_slice());
    // They are also still the bytes that are written.
    assert_eq!(delta(&old, &new).unwrap(), integers);
}
