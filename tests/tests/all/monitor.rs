//! Promise: a device that monitors itself counts what the evaluation would count and finds drifts
//! without false alarms. Its status is read back exactly or refused.

use feamoe_testkit::load;
use feamoe_tests::aligned;
use std::sync::LazyLock;

use feamoe::model::{Width, quantize};
use feamoe_engine::drift::Gap;
use feamoe_engine::error::FrameError;
use feamoe_engine::fairness::{Counts, Distances, Measure, interval};
use feamoe_engine::format::{HEADER_BYTES, checksum};
use feamoe_engine::monitor::{
    EVENTS, Event, InputCounts, Monitor, MonitorError, RestoreError, Status, StatusError, Tally, Watched,
};
use feamoe_engine::schema::Note;
use feamoe_engine::{Model, Scored as _, Value, integer};
use feamoe_testkit::generate::{Cell, Draw, Recipe, records};
use feamoe_tests::repository_file;

const GROUPS: usize = 3;
const FEATURES: usize = 4;
const SINCE: u64 = 1_700_000_000;
const USUAL: [Note; FEATURES] = [Note::Usual; FEATURES];

type Device = Monitor<GROUPS, FEATURES>;

/// Calls `act` with the model of this seed, which has [`FEATURES`] features.
fn with_model<T>(seed: u64, act: impl FnOnce(&Model<'_, FEATURES, 4>) -> T) -> T {
    let content = Recipe { experts: 2, features: FEATURES, gate: 12.0, outputs: 12.0 }.content_with_lines(seed);
    let bytes = aligned(&content.to_bytes(true));
    act(&load(bytes.as_slice()))
}

fn started(seed: u64) -> Device {
    let mut monitor = Device::new();
    with_model(seed, |model| monitor.start(model, SINCE)).unwrap();
    monitor
}

fn threshold() -> f32 {
    static THRESHOLD: LazyLock<f32> = LazyLock::new(|| with_model(1, |model| model.threshold()));
    *THRESHOLD
}

fn status(monitor: &Device) -> Vec<u8> {
    monitor.write(&mut [0; Device::STATUS_BYTES]).unwrap().to_vec()
}

/// A monitor that has observed groups, labels out of order, distances, odd values and drifts.
fn busy(seed: u64, records: usize) -> Device {
    let (mut draw, mut monitor, mut waiting) = (Draw::new(seed), started(1), Vec::new());
    for record in 0..records {
        let group = draw.one_of(&[None, Some(0), Some(0), Some(1), Some(2)]);
        let notes = [(); FEATURES].map(|()| draw.one_of(&[Note::Usual, Note::Missing, Note::Clamped, Note::Unseen]));
        let p = if record % 4_000 < 2_000 { draw.between(0.0, 0.7) } else { draw.between(0.3, 1.0) };
        let token = monitor.observe(p, &notes, group).unwrap();
        if p < threshold() && draw.below(3) == 0 {
            monitor.distance(&token, draw.one_of(&[None, Some(1.5), Some(0.25)])).unwrap();
        }
        waiting.push(token);
        if waiting.len() > 20 {
            let token = waiting.swap_remove(draw.below(20));
            monitor.label(token, draw.below(2) == 0).unwrap();
        }
    }
    monitor
}

/// Counts and measures equal those of [`Counts`] and [`Distances`] on the same records in the same
/// order.
#[test]
fn counts_and_measures_are_those_of_the_evaluation() {
    let threshold = threshold();
    for seed in 0..20 {
        let (mut draw, mut monitor) = (Draw::new(seed), started(1));
        let mut decided = [Counts::new(); GROUPS];
        let mut labelled = [Counts::new(); GROUPS];
        let mut distances = [Distances::new(); GROUPS];
        let (mut scores, mut rows) = ([0.0_f64; GROUPS], [0_u32; GROUPS]);
        let mut waiting = Vec::new();
        for _ in 0..3_000 {
            let group = draw.below(GROUPS);
            let p = draw.between(0.0, 1.0);
            let token = monitor.observe(p, &USUAL, u8::try_from(group).ok()).unwrap();
            // The label is random: it must not affect measures that need no label.
            decided[group].observe(draw.below(2) == 0, p, threshold);
            (scores[group], rows[group]) = (scores[group] + f64::from(p), rows[group] + 1);
            if p < threshold {
                let far = draw.between(0.0, 9.0);
                let distance = draw.one_of(&[None, Some(far)]);
                monitor.distance(&token, distance).unwrap();
                distances[group].observe(distance);
            }
            waiting.push((token, group, p));
        }
        // Two thirds of the labels arrive, in any order.
        for _ in 0..2_000 {
            let (token, group, p) = waiting.swap_remove(draw.below(waiting.len()));
            let label = draw.between(0.0, 1.0) < p;
            monitor.label(token, label).unwrap();
            labelled[group].observe(label, p, threshold);
        }
        assert_eq!((monitor.observed(), monitor.ungrouped()), (3_000, &Tally::new()));
        for group in 0..GROUPS {
            let tally = &monitor.groups()[group];
            assert_eq!((tally.rows(), tally.favourable()), (decided[group].rows(), decided[group].decided(true)));
            assert_eq!((tally.labelled(), tally.distances()), (&labelled[group], &distances[group]));
            let mean = scores[group] / f64::from(rows[group]);
            assert!((f64::from(tally.score_mean()) - mean).abs() < 2e-7, "{} for {mean}", tally.score_mean());
            for measure in Measure::ALL {
                let of = |group: usize| match measure {
                    Measure::Spd | Measure::Burden | Measure::Impact => decided[group].rates(),
                    _ => labelled[group].rates(),
                };
                let expected = match measure {
                    Measure::RecourseBurden => distances[group].mean() - distances[0].mean(),
                    _ => measure.gap(&of(group), &of(0)),
                };
                assert_eq!(tally.gap(measure, &monitor.groups()[0]).to_bits(), expected.to_bits(), "{measure:?}");
                let needs_no_label = matches!(measure, Measure::Spd | Measure::Impact);
                let counts = if needs_no_label { &decided } else { &labelled };
                let expected = interval(measure, &counts[group], &counts[0]);
                assert_eq!(tally.interval(measure, &monitor.groups()[0]), expected, "{measure:?}");
            }
        }
    }
}

#[test]
fn odd_values_are_counted_by_record_and_by_feature() {
    let mut monitor = started(1);
    let (usual, missing, clamped, unseen) = (Note::Usual, Note::Missing, Note::Clamped, Note::Unseen);
    for notes in [[usual; 4], [missing, missing, usual, unseen], [clamped, missing, usual, usual]] {
        let _ = monitor.observe(0.4, &notes, None).unwrap();
    }
    let counts = |missing, clamped, unseen| InputCounts { missing, clamped, unseen };
    assert_eq!(monitor.inputs(), &counts(2, 1, 1));
    assert_eq!(monitor.features(), [counts(1, 1, 0), counts(2, 0, 0), counts(0, 0, 0), counts(0, 0, 1)]);
    assert_eq!((monitor.ungrouped().rows(), monitor.groups()[0].rows()), (3, 0));
}

/// A refused call must change nothing: its counts would stay forever.
#[test]
fn what_cannot_be_is_refused_and_leaves_no_trace() {
    let mut fresh = Device::new();
    assert_eq!(fresh.observe(0.5, &USUAL, None), Err(MonitorError::NotStarted));
    assert_eq!(fresh.write(&mut [0; 2_000]), Err(MonitorError::NotStarted));
    let mut small = Monitor::<1, 3>::new();
    let refused = with_model(1, |model| small.start(model, 0));
    assert_eq!(refused, Err(MonitorError::WrongFeatureCount { found: 3, expected: 4 }));

    let mut monitor = busy(3, 5_000);
    let before = status(&monitor);
    for (group, found) in [(3, 3), (u8::MAX, u8::MAX)] {
        let expected = Err(MonitorError::GroupOutOfRange { found, groups: GROUPS });
        assert_eq!(monitor.observe(0.5, &USUAL, Some(group)), expected);
    }
    for found in [-0.001, 1.001, f32::INFINITY] {
        assert_eq!(monitor.observe(found, &USUAL, None), Err(MonitorError::NotAProbability { found }));
    }
    assert!(matches!(monitor.observe(f32::NAN, &USUAL, None), Err(MonitorError::NotAProbability { .. })));
    let expected = Err(MonitorError::WrongFeatureCount { found: 3, expected: 4 });
    assert_eq!(monitor.observe(0.5, &USUAL[..3], None), expected);
    let mut other = started(2);
    let foreign = other.observe(0.1, &USUAL, Some(0)).unwrap();
    assert!(matches!(monitor.distance(&foreign, None), Err(MonitorError::OtherModel { .. })));
    assert!(matches!(monitor.label(foreign, true), Err(MonitorError::OtherModel { .. })));
    assert_eq!(status(&monitor), before);

    let favourable = monitor.observe(1.0, &USUAL, Some(0)).unwrap();
    let declined = monitor.observe(0.0, &USUAL, Some(0)).unwrap();
    let before = status(&monitor);
    assert_eq!(monitor.distance(&favourable, Some(1.0)), Err(MonitorError::NotDeclined));
    for found in [-1.0, 65_536.0, f32::INFINITY] {
        assert_eq!(monitor.distance(&declined, Some(found)), Err(MonitorError::NotADistance { found }));
    }
    assert!(matches!(monitor.distance(&declined, Some(f32::NAN)), Err(MonitorError::NotADistance { .. })));
    assert_eq!(status(&monitor), before);
}

/// A token may be stored in flash; a token that was damaged there is refused.
#[test]
fn a_token_can_be_stored() {
    let mut monitor = started(1);
    let token = monitor.observe(0.75, &USUAL, Some(2)).unwrap();
    let stored = postcard::to_stdvec(&token).unwrap();
    monitor.label(postcard::from_bytes(&stored).unwrap(), true).unwrap();
    assert_eq!(monitor.groups()[2].labelled().rows(), 1);
    let before = status(&monitor);
    let mut damaged = stored.clone();
    *damaged.last_mut().unwrap() = 7;
    let refused = monitor.label(postcard::from_bytes(&damaged).unwrap(), true);
    assert_eq!(refused, Err(MonitorError::GroupOutOfRange { found: 7, groups: GROUPS }));
    assert_eq!(status(&monitor), before);
}

/// Returns the events of a stream of labelled records: half of them in the reference group, a
/// quarter in each other group. `chances` gives the chances of a favourable decision and of an
/// error, by record and group.
fn watched(seed: u64, records: u64, chances: impl Fn(u64, u8) -> (f32, f32)) -> Vec<Event> {
    let (mut draw, mut monitor) = (Draw::new(seed << 32), started(1));
    let mut events: Vec<Event> = Vec::new();
    for record in 0..records {
        let group = draw.one_of(&[0, 0, 1, 2]);
        let (favourable, wrong) = chances(record, group);
        let decision = draw.between(0.0, 1.0) < favourable;
        let p = if decision { draw.between(threshold(), 1.0) } else { draw.between(0.0, threshold()) };
        let token = monitor.observe(p, &USUAL, Some(group)).unwrap();
        let error = draw.between(0.0, 1.0) < wrong;
        monitor.label(token, (p >= threshold()) != error).unwrap();
        assert_eq!(monitor.events_dropped(), 0);
        events.extend(monitor.events().skip(events.len()));
    }
    events
}

/// 9 detectors on 30 streams of 30,000 records make 250,000 checks.
#[test]
fn stationary_streams_give_no_alarm() {
    for seed in 0..30 {
        let events = watched(seed, 30_000, |_, group| if group == 2 { (0.3, 0.25) } else { (0.5, 0.15) });
        assert_eq!(events, [], "seed {seed}");
    }
}

#[test]
fn each_kind_of_drift_is_found_soon_and_named() {
    const AT: u64 = 6_000;
    // What changes, in which group (0: everywhere), by how much, and the number of records within
    // which every stream detects it.
    for (what, group, by, delay) in [
        (Watched::Favourable, 0, 0.2, 1_500),
        (Watched::Error, 0, 0.2, 1_000),
        (Watched::Favourable, 2, -0.3, 3_000),
        (Watched::Error, 1, 0.3, 3_000),
    ] {
        for seed in 0..20 {
            let events = watched(seed, AT + delay, |record, of| {
                let by = if record >= AT && (group == 0 || of == group) { by } else { 0.0 };
                if what == Watched::Error { (0.5, 0.15 + by) } else { (0.5 + by, 0.15) }
            });
            let found = events.iter().find(|event| (event.watched, event.group) == (what, group));
            let event = found.unwrap_or_else(|| panic!("{what:?} {group}, seed {seed}: {events:?}"));
            assert!(events.iter().all(|event| event.at > AT), "{events:?}");
            let change = event.change.after - event.change.before;
            // A change that is detected early looks larger than it is.
            assert!((change - by).abs() < 0.25, "{what:?} {group}: {event:?}");
            // A change of decisions may also move the scores; a change of errors moves nothing
            // else. Groups that are alike have no gap.
            let related = |event: &&Event| (event.watched == Watched::Error) == (what == Watched::Error);
            assert!(events.iter().filter(related).count() == events.len(), "{events:?}");
            assert!(group != 0 || events.iter().all(|event| event.group == 0), "{events:?}");
            assert!(events.iter().all(|event| [0, group].contains(&event.group)), "{events:?}");
        }
    }
}

/// A period ends before the drift; the windows of the detectors span both periods.
#[test]
fn detectors_continue_across_periods_and_counts_do_not() {
    let mut monitor = started(1);
    for record in 0..4_000 {
        if record == 2_000 {
            assert_eq!(monitor.events().count(), 0);
            monitor.reset(SINCE + 60);
        }
        let p = if (record < 2_100) == (record % 4 == 0) { 0.9 } else { 0.1 };
        let _ = monitor.observe(p, &USUAL, Some(0)).unwrap();
    }
    let first = monitor.events().next().unwrap();
    assert!((100..400).contains(&first.at) && first.change.records_before > 1_500, "{first:?}");
    assert_eq!((monitor.observed(), monitor.groups()[0].rows()), (2_000, 2_000));
    let bytes = status(&monitor);
    assert_eq!(Status::read(&bytes).unwrap().since(), SINCE + 60);
    // Starting with another model clears everything.
    with_model(2, |model| monitor.start(model, SINCE)).unwrap();
    assert_eq!(status(&monitor), status(&started(2)));
}

#[test]
fn of_too_many_events_the_newest_are_kept_and_the_others_counted() {
    let monitor = busy(1, 100_000);
    assert_eq!(monitor.events().count(), EVENTS);
    assert!(monitor.events_dropped() > 5, "{}", monitor.events_dropped());
    let places: Vec<u64> = monitor.events().map(|event| event.at).collect();
    assert!(places.is_sorted() && places[0] > 50_000, "{places:?}");
}

/// The tallies of two devices, or of two periods, add up to the tally of one.
#[test]
fn statuses_add_up_exactly() {
    let (mut draw, mut whole, mut parts) = (Draw::new(5), started(1), [started(1), started(1)]);
    for _ in 0..5_000 {
        let (p, group, part, label) = (draw.between(0.0, 1.0), draw.one_of(&[0, 1, 2]), draw.below(2), draw.below(2));
        for monitor in [&mut whole, &mut parts[part]] {
            let token = monitor.observe(p, &USUAL, Some(group)).unwrap();
            if p < threshold() {
                monitor.distance(&token, Some(p)).unwrap();
            }
            monitor.label(token, label == 1).unwrap();
        }
    }
    let [mut sum, other] = parts.map(|part| *part.groups());
    sum.iter_mut().zip(&other).for_each(|(sum, other)| sum.merge(other));
    assert_eq!(&sum, whole.groups());
    assert!(!sum[0].is_full());
}

#[test]
fn a_status_is_read_as_it_was_written() {
    for (seed, records) in [(0, 0), (1, 1), (2, 500), (3, 20_000)] {
        let monitor = busy(seed, records);
        let bytes = status(&monitor);
        println!("{records} records: {} of {} bytes", bytes.len(), Device::STATUS_BYTES);
        let read = Status::read(&bytes).unwrap();
        with_model(1, |model| {
            assert_eq!((read.model_crc32(), read.threshold()), (model.crc32(), model.threshold()));
        });
        assert_eq!((read.since(), read.observed()), (SINCE, records as u64));
        assert_eq!((read.inputs(), read.ungrouped()), (monitor.inputs(), monitor.ungrouped()));
        assert_eq!(read.groups().collect::<Vec<_>>(), monitor.groups());
        assert_eq!(read.features().collect::<Vec<_>>(), monitor.features());
        assert_eq!(read.events().collect::<Vec<_>>(), monitor.events().copied().collect::<Vec<_>>());
        assert_eq!(read.events_dropped(), monitor.events_dropped());
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let bytes = status(&busy(1, 10_000));
    for length in 0..bytes.len() {
        let found = Status::read(&bytes[..length]).map(|_| ()).unwrap_err();
        let expected = if length < HEADER_BYTES { HEADER_BYTES } else { bytes.len() };
        assert_eq!(found, StatusError::Frame(FrameError::Truncated { found: length, expected }));
    }
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Status::read(&damaged).is_err(), "bit {bit}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let expected = StatusError::Frame(FrameError::TrailingBytes { found: longer.len(), expected: bytes.len() });
    assert_eq!(Status::read(&longer).map(|_| ()), Err(expected));
    let model = include_bytes!("../../../engine/golden/v1.feamoe");
    assert_eq!(Status::read(model).map(|_| ()), Err(StatusError::Frame(FrameError::WrongMagic { expected: *b"FEMS" })));
}

/// Returns the bytes with a matching length and checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - HEADER_BYTES).unwrap();
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&bytes[..HEADER_BYTES], &bytes[HEADER_BYTES..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A correct checksum proves nothing about the content, so the content is checked too: a status
/// that is read holds only what records can produce.
#[test]
fn a_sealed_forgery_is_refused_or_makes_sense() {
    let bytes = status(&busy(1, 10_000));
    assert_eq!(sealed(bytes.clone()), bytes);
    let (mut draw, mut read) = (Draw::new(1), 0);
    for _ in 0..50_000 {
        let mut forged = bytes.clone();
        for _ in 0..=draw.below(3) {
            let at = HEADER_BYTES + draw.below(forged.len() - HEADER_BYTES);
            forged[at] = draw.one_of(&[0, 1, 0x7f, 0x80, 0xff, draw.clone().bits() as u8]);
        }
        forged.truncate(forged.len() - draw.below(3) / 2);
        let forged = sealed(forged);
        let Ok(status) = Status::read(&forged) else { continue };
        read += 1;
        let groups: Vec<Tally> = status.groups().collect();
        assert!(!groups.is_empty() && status.features().count() > 0);
        for tally in &groups {
            let rates = tally.rates();
            // NaN if there are no records.
            assert!([rates.burden, tally.score_mean()].iter().all(|mean| mean.is_nan() || *mean <= 1.0));
            assert!(tally.favourable() <= tally.rows());
            assert!(groups[0].interval(Measure::Spd, tally).is_none_or(|ends| ends.low.is_finite()));
        }
        assert!(status.events().all(|event| usize::from(event.group) < groups.len() && event.at <= status.observed()));
    }
    assert!(read > 500, "{read}: else the forgeries are not near enough");
}

/// Tests each check separately, on the smallest status: a reference group alone, and [`FEATURES`]
/// features.
#[test]
fn each_contradiction_has_its_error() {
    let mut monitor = Monitor::<1, FEATURES>::new();
    with_model(1, |model| monitor.start(model, 0)).unwrap();
    let _ = monitor.observe(1.0, &USUAL, Some(0)).unwrap();
    let bytes = monitor.write(&mut [0; Device::STATUS_BYTES]).unwrap().to_vec();
    // Offsets from the end: 3 bytes for each feature. Before them the tally of 17 bytes, which ends
    // with the sum of distances, the counts `found` and `none`, and the sum of scores (4 bytes:
    // 2^24).
    let end = bytes.len();
    let features = end - 3 * FEATURES;
    let edited = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Status::read(&sealed(bytes)).map(|_| ()).unwrap_err()
    };
    assert_eq!(edited(features, 1), StatusError::ImpossibleFeature { feature: 0 });
    assert_eq!(edited(end - 1, 1), StatusError::ImpossibleFeature { feature: 3 });
    assert_eq!(edited(features - 1, 0x0f), StatusError::ImpossibleGroup { group: 0 }); // sum of scores > records
    assert_eq!(edited(features - 7, 1), StatusError::ImpossibleGroup { group: 0 }); // distance without a record
    assert_eq!(edited(4, 3), StatusError::Frame(FrameError::UnsupportedVersion { found: 3, expected: 2 }));
    assert_eq!(edited(6, 1), StatusError::Malformed { at: 6 });
    assert_eq!(edited(features - 1, 0x80), StatusError::Malformed { at: features - 17 });
    let cut = sealed(bytes[..end - 1].to_vec());
    assert_eq!(Status::read(&cut).map(|_| ()), Err(StatusError::Malformed { at: end - 3 }));
    let longer = sealed([&bytes[..], &[0]].concat());
    let expected = StatusError::TrailingBytes { found: end + 1, expected: end };
    assert_eq!(Status::read(&longer).map(|_| ()), Err(expected));
    assert!(StatusError::Frame(FrameError::WrongMagic { expected: *b"FEMS" }).to_string().contains("FEMS"));
}

fn stored(monitor: &Device) -> Vec<u8> {
    monitor.store(&mut [0; Device::STATE_BYTES]).unwrap().to_vec()
}

fn restored(bytes: &[u8]) -> Result<Device, RestoreError> {
    let mut monitor = Device::new();
    with_model(1, |model| monitor.restore(model, bytes)).map(|()| monitor)
}

/// A monitor that is stored and restored at random points of a long life gives the same statuses,
/// alarms and state as one that never stopped.
#[test]
fn a_restored_monitor_goes_on_as_if_it_had_never_stopped() {
    for seed in 0..6 {
        let (mut draw, mut whole, mut broken) = (Draw::new(seed), started(1), started(1));
        let (mut waiting, mut restores, mut alarmed) = (Vec::new(), 0, false);
        for record in 0..12_000 {
            let group = draw.one_of(&[None, Some(0), Some(0), Some(1), Some(2)]);
            let p = if record % 3_000 < 1_500 { draw.between(0.0, 0.7) } else { draw.between(0.3, 1.0) };
            let notes = [(); FEATURES].map(|()| draw.one_of(&[Note::Usual, Note::Missing]));
            let tokens = [whole.observe(p, &notes, group).unwrap(), broken.observe(p, &notes, group).unwrap()];
            waiting.push(tokens);
            if waiting.len() > 5 {
                let [a, b] = waiting.swap_remove(draw.below(5));
                let label = draw.below(2) == 0;
                whole.label(a, label).unwrap();
                broken.label(b, label).unwrap();
            }
            alarmed |= whole.events().count() > 0;
            if draw.below(400) == 0 {
                broken = restored(&stored(&broken)).unwrap();
                restores += 1;
            }
            if draw.below(2_000) == 0 {
                whole.reset(record);
                broken.reset(record);
            }
        }
        assert!(restores > 10 && alarmed);
        assert_eq!(status(&whole), status(&broken));
        assert_eq!(stored(&whole), stored(&broken));
    }
}

#[test]
fn a_damaged_or_foreign_state_is_refused_and_changes_nothing() {
    let monitor = busy(3, 2_000);
    let bytes = stored(&monitor);
    assert!(bytes.len() <= Device::STATE_BYTES && bytes.len() > Device::STATE_BYTES / 2);
    for length in 0..bytes.len() {
        assert!(restored(&bytes[..length]).is_err(), "{length}");
    }
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(restored(&damaged).is_err(), "bit {bit}");
    }
    let (mut other, before) = (busy(4, 100), stored(&busy(4, 100)));
    let refused = with_model(2, |model| other.restore(model, &bytes)).unwrap_err();
    assert!(matches!(refused, RestoreError::OtherModel { .. }), "{refused}");
    assert_eq!(stored(&other), before);
    let mut fewer: Monitor<2, FEATURES> = Monitor::new();
    let refused = with_model(1, |model| fewer.restore(model, &bytes)).unwrap_err();
    assert_eq!(refused, RestoreError::WrongGroupCount { found: GROUPS, expected: 2 });
    assert_eq!(Device::new().store(&mut [0; 9]), Err(MonitorError::NotStarted));
    let small = monitor.store(&mut [0; 100]).unwrap_err();
    assert_eq!(small, MonitorError::BufferTooSmall { found: 100, enough: Device::STATE_BYTES });
    // A status cannot be restored as a state.
    assert!(matches!(restored(&status(&monitor)), Err(RestoreError::State(StatusError::Frame(_)))));
}

/// Random bytes with a correct checksum: a restored monitor never panics later, and stores the same
/// bytes that it was restored from.
#[test]
fn a_sealed_state_of_nonsense_is_refused_or_sound() {
    let bytes = stored(&busy(5, 1_500));
    let (mut draw, mut sound) = (Draw::new(6), 0);
    for _ in 0..20_000 {
        let mut forged = bytes.clone();
        for _ in 0..1 + draw.below(3) {
            let at = HEADER_BYTES + draw.below(forged.len() - HEADER_BYTES);
            let any = draw.bits() as u8;
            forged[at] = draw.one_of(&[0, 1, 0x7f, 0x80, 0xff, any]);
        }
        let crc = checksum(&forged[..HEADER_BYTES], &forged[HEADER_BYTES..]);
        forged[12..16].copy_from_slice(&crc.to_le_bytes());
        let Ok(mut monitor) = restored(&forged) else { continue };
        assert_eq!(stored(&monitor), forged);
        for record in 0..200 {
            let group = draw.one_of(&[None, Some(0), Some(1), Some(2)]);
            let token = monitor.observe(draw.between(0.0, 1.0), &USUAL, group).unwrap();
            monitor.label(token, record % 2 == 0).unwrap();
        }
        // Its later state is valid too.
        assert!(restored(&stored(&monitor)).is_ok());
        sound += 1;
    }
    assert!(sound > 100, "{sound}");
}

/// An integer model is monitored like a float model. A record counts as favourable if its integer
/// score was, at the threshold too.
#[test]
fn integer_scores_count_as_they_were_decided() {
    let (mut checked, mut at_threshold) = (0, 0);
    for seed in 0..40 {
        let content = Recipe { experts: 2, features: FEATURES, gate: 12.0, outputs: 12.0 }.content_with_lines(seed);
        let float = aligned(&content.to_bytes(true));
        let blob = quantize(&float, Width::I16).unwrap();
        let first: integer::Model<'_, FEATURES, 4> = integer::Model::load(blob.as_slice()).unwrap();
        let cells = records(&content, seed, 40);
        for target in &cells {
            // A threshold equal to the score of a record, as nearly as an f32 can represent it, and
            // its neighbours.
            let mut record = first.record();
            set(&mut record, target);
            let p = first.score(&record).unwrap().probability();
            for threshold in [p, p.next_up(), p.next_down()] {
                if !(threshold > 0.0 && threshold < 1.0) {
                    continue;
                }
                let mut moved = content.clone();
                moved.threshold = threshold;
                let blob = quantize(&aligned(&moved.to_bytes(true)), Width::I16).unwrap();
                let model: integer::Model<'_, FEATURES, 4> = integer::Model::load(blob.as_slice()).unwrap();
                let mut monitor = Device::new();
                monitor.start(&model, SINCE).unwrap();
                let mut favourable = 0;
                let mut record = model.record();
                for cells in &cells {
                    set(&mut record, cells);
                    let score = model.score(&record).unwrap();
                    favourable += u64::from(score.decision);
                    at_threshold += u32::from(score.probability() == threshold);
                    _ = monitor.observe(score.probability(), record.notes(), Some(0)).unwrap();
                }
                assert_eq!(monitor.groups()[0].favourable(), favourable);
                checked += 1;
            }
        }
    }
    assert!(checked > 2_000 && at_threshold > 1_000, "{checked} {at_threshold}");
}

fn set(record: &mut integer::Record<'_, FEATURES>, cells: &[Cell]) {
    let values: Vec<Value> = cells.iter().map(|cell| (*cell).into()).collect();
    record.set_all(&values).unwrap();
}

/// The overall detectors know that values lie in [0, 1], half the range of a gap, so they detect a
/// change sooner.
#[test]
fn an_overall_change_is_found_sooner_than_a_gap_of_its_size() {
    let mut delays = [Vec::new(), Vec::new()];
    for seed in 0..60 {
        let (mut draw, mut monitor) = (Draw::new(seed), started(1));
        let (mut gap, mut found) = (Gap::new(0.002), [None; 2]);
        for record in 0..40_000_u32 {
            let mean = if record < 5_000 { 0.3 } else { 0.4 };
            let p = if draw.between(0.0, 1.0) < mean { 0.99 } else { 0.01 };
            _ = monitor.observe(p, &USUAL, None).unwrap();
            let seen = monitor.events().any(|event| event.watched == Watched::Score);
            _ = gap.observe(true, 0.0);
            let pair = gap.observe(false, p).is_some();
            found[0] = found[0].or(seen.then_some(record));
            found[1] = found[1].or(pair.then_some(record));
            if let [Some(_), Some(_)] = found {
                break;
            }
        }
        for (delays, found) in delays.iter_mut().zip(found) {
            delays.push(found.unwrap() - 5_000);
        }
    }
    let [overall, gap] = delays.map(|delays| delays.iter().sum::<u32>() / 60);
    println!("delay {overall}, over the range of a gap {gap}");
    assert!(overall * 10 < gap * 9, "{overall} {gap}");
}

/// The gap follows the reference even if the other group has no record for more than 2^24 records.
#[test]
fn a_side_alone_counts_on_past_what_an_f32_counts() {
    let mut gap = Gap::new(0.002);
    for _ in 0..20_000_000 {
        assert_eq!(gap.observe(true, 0.0), None);
    }
    for _ in 0..20_000_000 {
        assert_eq!(gap.observe(true, 1.0), None);
    }
    // The reference's mean is near 1 now, so a group at 1 has no gap to it.
    let mut alarms = 0;
    for _ in 0..2_000 {
        alarms += u32::from(gap.observe(false, 1.0).is_some()) + u32::from(gap.observe(true, 1.0).is_some());
    }
    assert_eq!(alarms, 0);
    let mut bytes = [0; 1024];
    let stored = postcard::to_slice(&gap, &mut bytes).unwrap();
    assert!(!stored.is_empty());
}

/// The first released status and state are still read, and written, with the same bytes.
#[test]
fn golden_status_and_state() {
    let monitor = busy(7, 3_000);
    for (name, bytes) in [("status-v1.bin", status(&monitor)), ("state-v1.bin", stored(&monitor))] {
        let path = repository_file("engine/golden").join(name);
        if std::env::var_os("FEAMOE_NEW_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
    }
    let golden = std::fs::read(repository_file("engine/golden/status-v1.bin")).unwrap();
    let read = Status::read(&golden).unwrap();
    assert_eq!((read.observed(), read.groups().count(), read.features().count()), (3_000, GROUPS, FEATURES));
    assert_eq!(read.events().collect::<Vec<_>>(), monitor.events().copied().collect::<Vec<_>>());
    let golden = std::fs::read(repository_file("engine/golden/state-v1.bin")).unwrap();
    assert_eq!(stored(&restored(&golden).unwrap()), golden);
}
