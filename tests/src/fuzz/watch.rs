//! Monitors: any statuses, and the statuses of monitors after any input.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use feamoe_engine::format::{HEADER_BYTES, checksum};
use feamoe_engine::monitor::{DeviceId, Event, InputCounts, Key, Monitor, Sender, Status, Tally};
use feamoe_engine::schema::Note;
use feamoe_testkit::content::Bytes;

use super::FuzzModel;
use feamoe_testkit::generate::Recipe;

const GROUPS: usize = 3;
const FEATURES: usize = 4;
/// Where the header has the payload's length and the checksum.
const LENGTH_AT: usize = 8;
const CRC_AT: usize = 12;

type FuzzMonitor = Monitor<GROUPS, FEATURES>;

/// If the first byte is even, reads the rest as a status, unchanged and with a valid header. If it
/// is odd, passes the rest to a monitor as its input.
pub fn monitor(data: &[u8]) {
    match data.split_first() {
        Some((first, data)) if first & 1 == 1 => {
            let mut monitor = FuzzMonitor::new();
            // The input ends when the data ends.
            let _ = feed(&mut monitor, &mut Unstructured::new(data));
            check_written(&monitor);
        }
        Some((_, data)) => {
            check_status(data);
            let mut sealed = data.to_vec();
            let Some((header, payload)) = sealed.split_first_chunk_mut::<HEADER_BYTES>() else { return };
            header[LENGTH_AT..CRC_AT].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
            let crc = checksum(header, payload);
            header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            check_status(&sealed);
        }
        None => {}
    }
}

fn feed(monitor: &mut FuzzMonitor, data: &mut Unstructured<'_>) -> Result<()> {
    static BLOB: OnceLock<Bytes> = OnceLock::new();
    let recipe = Recipe { experts: 2, features: FEATURES, gate: 12.0, outputs: 12.0 };
    let blob = BLOB.get_or_init(|| recipe.content(1).to_bytes(false));
    let model = FuzzModel::load(blob.as_slice()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(monitor.start(&model, data.arbitrary()?), Ok(()));
    let mut last = None;
    while !data.is_empty() {
        match data.int_in_range(0..=7)? {
            0 => monitor.reset(data.arbitrary()?),
            1 => {
                let Some(token) = last.take() else { continue };
                assert_eq!(monitor.label(token, data.arbitrary()?), Ok(()));
            }
            2 => {
                let Some(token) = &last else { continue };
                let _ = monitor.distance(token, data.arbitrary::<Option<u32>>()?.map(f32::from_bits));
            }
            3 => drop(monitor.observe(f32::from_bits(data.arbitrary()?), &[], data.arbitrary()?)),
            _ => {
                const NOTES: [Note; 4] = [Note::Usual, Note::Missing, Note::Clamped, Note::Unseen];
                let bits: u8 = data.arbitrary()?;
                let notes: [Note; FEATURES] =
                    std::array::from_fn(|feature| NOTES[usize::from(bits >> (2 * feature) & 3)]);
                let probability = f32::from(data.arbitrary::<u8>()?) / 255.0;
                let group = data.int_in_range(0..=GROUPS as u8)?.checked_sub(1);
                // Many equal values, so that drifts are detected.
                for _ in 0..data.arbitrary::<u8>()? {
                    last = monitor.observe(probability, &notes, group).ok();
                    assert!(last.is_some());
                }
            }
        }
    }
    Ok(())
}

/// Checks that the status that a monitor writes is read back unchanged.
fn check_written(monitor: &FuzzMonitor) {
    let mut buffer = [0; FuzzMonitor::STATUS_BYTES];
    let Ok(bytes) = monitor.write(&mut buffer) else { return };
    let status = Status::read(bytes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((status.observed(), status.inputs()), (monitor.observed(), monitor.inputs()));
    assert_eq!((status.events_dropped(), status.ungrouped()), (monitor.events_dropped(), monitor.ungrouped()));
    assert!(status.groups().eq(monitor.groups().iter().copied()));
    assert!(status.features().eq(monitor.features().iter().copied()));
    assert!(status.events().eq(monitor.events().copied()));
    check_status(bytes);
    let mut buffer = [0; FuzzMonitor::SENT_STATUS_BYTES];
    let key = Key::new([7; 32]);
    let Some(device) = DeviceId::new(&monitor.observed().to_le_bytes()) else { return };
    let sender = Sender { device, counter: monitor.inputs().missing.into() };
    let Ok(bytes) = monitor.write_authenticated(&sender, &key, &mut buffer) else { return };
    let status = Status::read(bytes).unwrap_or_else(|error| panic!("{error}"));
    assert!(status.sender() == Some(sender) && status.is_authentic(&key), "{sender:?}");
    check_status(bytes);
}

fn check_status(bytes: &[u8]) {
    let Ok(status) = Status::read(bytes) else { return };
    assert!(!status.is_authentic(&Key::new([8; 32])) && status.sender().is_some() >= status.has_mac());
    let groups: Vec<Tally> = status.groups().collect();
    let (features, events): (Vec<InputCounts>, Vec<Event>) = (status.features().collect(), status.events().collect());
    assert!(!groups.is_empty() && !features.is_empty());
    assert!(events.iter().all(|event| usize::from(event.group) < groups.len() && event.at <= status.observed()));
    let mut all = *status.ungrouped();
    for tally in &groups {
        // Without records there is no mean.
        let mean = tally.rows() == 0 || (0.0..=1.001).contains(&tally.score_mean());
        assert!(tally.favourable() <= tally.rows() && mean, "{tally:?}");
        all.merge(tally);
    }
    assert!(all.favourable() <= all.rows(), "{all:?}");
}
