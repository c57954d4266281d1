//! Two slots in flash: whatever cuts a write short, a model is left that loads, the old one or the new one; damage in one slot leaves the other.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use feamoe::blob_file::AlignedBytes;
use feamoe_engine::error::{FrameError as F, LoadErrorKind};
use feamoe_engine::slots::{BLOB_AT, Chosen, NoModel, SlotError, Step, Target, UNIT, choose};
use feamoe_tests::generate::{Draw, EXPERTS, FEATURES, Recipe};

const PAGE: usize = 512;
const SLOT_BYTES: usize = 2 * PAGE;

/// What a cut leaves of the word that was being written, or of the page that was being erased.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Torn {
    /// What it was before.
    Untouched,
    /// Each bit as before or as it was to be.
    Half,
    /// Anything.
    Garbage,
}

/// Two slots of simulated flash, written in words of `WORD` bytes, that loses power after some words and erased bytes.
struct Flash<const WORD: usize> {
    bytes: AlignedFlash,
    written: [bool; 2 * SLOT_BYTES],
    erased: u8,
    torn: Torn,
    draw: Draw,
    /// Words to write and bytes to erase until the cut.
    power: usize,
    /// Words written and bytes erased.
    work: usize,
}

#[repr(align(4))]
struct AlignedFlash([u8; 2 * SLOT_BYTES]);

impl<const WORD: usize> Flash<WORD> {
    fn new(torn: Torn, erased: u8) -> Self {
        // As a new device has it: anything.
        let mut draw = Draw::new(5);
        let bytes = AlignedFlash(std::array::from_fn(|_| draw.bits() as u8));
        Self { bytes, written: [true; 2 * SLOT_BYTES], erased, torn, draw, power: usize::MAX, work: 0 }
    }

    fn slots(&self) -> [&[u8]; 2] {
        let (first, second) = self.bytes.0.split_at(SLOT_BYTES);
        [first, second]
    }

    fn choose(&self) -> Result<Chosen<'_, FEATURES, EXPERTS>, NoModel> {
        choose(self.slots())
    }

    /// Writes a blob to where the slots say; returns whether the power lasted.
    fn update(&mut self, blob: &AlignedBytes) -> bool {
        let target = self.choose().map_or_else(|none| none.target, |chosen| chosen.target);
        self.update_to(target, blob)
    }

    fn update_to(&mut self, target: Target, blob: &AlignedBytes) -> bool {
        let start = (target.slot * SLOT_BYTES) as u32;
        let update = target.update::<FEATURES, EXPERTS>(blob.as_slice(), SLOT_BYTES as u32).unwrap();
        let done = update.steps().try_for_each(|step| match step {
            Step::Erase { from, to } => self.erase(start + from, start + to),
            Step::Write { at, bytes } => self.write(start + at, bytes),
        });
        assert!(matches!(done, Ok(()) | Err(NorFlashErrorKind::Other)), "{done:?}");
        done.is_ok()
    }

    fn spend(&mut self) -> Result<(), NorFlashErrorKind> {
        self.work += 1;
        self.power = self.power.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        Ok(())
    }

    /// What is left of bytes on their way to others.
    fn tear(&mut self, at: usize, to: &[u8]) {
        for (index, to) in to.iter().enumerate() {
            let random = self.draw.bits() as u8;
            let byte = &mut self.bytes.0[at + index];
            *byte = match self.torn {
                Torn::Untouched => *byte,
                Torn::Half => (*byte & random) | (to & !random),
                Torn::Garbage => random,
            };
        }
    }
}

impl<const WORD: usize> ErrorType for Flash<WORD> {
    type Error = NorFlashErrorKind;
}

impl<const WORD: usize> ReadNorFlash for Flash<WORD> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.bytes.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.0.len()
    }
}

impl<const WORD: usize> NorFlash for Flash<WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for at in from as usize..to as usize {
            if self.spend().is_err() {
                // The page's bytes before this one are erased, the others are not yet what they are to be.
                let end = (at + 1).next_multiple_of(PAGE);
                self.tear(at, &vec![self.erased; end - at]);
                return Err(NorFlashErrorKind::Other);
            }
            self.bytes.0[at] = self.erased;
            self.written[at] = false;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (index, word) in bytes.chunks(WORD).enumerate() {
            let at = offset as usize + index * WORD;
            assert!(self.written[at..at + WORD].iter().all(|written| !written), "byte {at} is written twice");
            self.written[at..at + WORD].fill(true);
            if self.spend().is_err() {
                self.tear(at, word);
                return Err(NorFlashErrorKind::Other);
            }
            self.bytes.0[at..at + WORD].copy_from_slice(word);
        }
        Ok(())
    }
}

/// A model of a few hundred bytes; each seed another one.
fn blob(seed: u64) -> AlignedBytes {
    let recipe = Recipe { experts: 1 + seed as usize % 3, features: 2, gate: 5.0, outputs: 5.0 };
    let mut content = recipe.content_of(seed, |_, _| feamoe_engine::schema::Kind::Category { levels: 2 });
    content.positive_name.push_str(&"+".repeat(seed as usize % 37));
    let bytes = content.to_bytes(true).unwrap();
    assert!(bytes.as_slice().len() + BLOB_AT <= SLOT_BYTES - UNIT);
    bytes
}

fn every_cut<const WORD: usize>(torn: Torn, erased: u8) {
    let blobs = [1, 2, 3].map(blob);
    let before = |cuts: usize| {
        let mut flash = Flash::<WORD>::new(torn, erased);
        assert!(flash.update(&blobs[0]) && flash.update(&blobs[1]));
        (flash.draw, flash.power, flash.work) = (Draw::new(cuts as u64), cuts, 0);
        flash
    };
    let mut whole = before(usize::MAX);
    assert!(whole.update(&blobs[2]));
    let words = whole.work;
    assert_eq!(words, SLOT_BYTES + (BLOB_AT + blobs[2].as_slice().len()).next_multiple_of(UNIT) / WORD);
    // The header is complete before its padding; its last word may come out right by chance.
    let committed = words - 16 / WORD;
    for cuts in 0..=words {
        let mut flash = before(cuts);
        assert_eq!(flash.update(&blobs[2]), cuts == words);
        flash.power = usize::MAX;
        let chosen = flash.choose().unwrap_or_else(|error| panic!("cut after {cuts}: {error}"));
        let is = |blob: &AlignedBytes| chosen.blob == blob.as_slice();
        assert!(is(&blobs[1]) || is(&blobs[2]));
        assert!(is(&blobs[1]) || cuts + 1 >= committed, "{WORD} {torn:?}: new after {cuts}");
        assert!(is(&blobs[2]) || cuts < committed, "{WORD} {torn:?}: old after {cuts}");
        // The device goes on: the same update, and one more.
        for blob in [&blobs[2], &blobs[0]] {
            assert!(flash.update(blob));
            assert!(flash.choose().unwrap().blob == blob.as_slice());
        }
    }
}

#[test]
fn a_power_cut_anywhere_leaves_the_old_model_or_the_new_one() {
    for torn in [Torn::Untouched, Torn::Half, Torn::Garbage] {
        for erased in [0xff, 0x00] {
            every_cut::<1>(torn, erased);
            every_cut::<4>(torn, erased);
            every_cut::<8>(torn, erased);
            every_cut::<32>(torn, erased);
        }
    }
}

#[test]
fn the_first_update_of_a_device_may_be_cut_too() {
    let blob = blob(1);
    for cuts in 0.. {
        let mut flash = Flash::<4>::new(Torn::Garbage, 0xff);
        flash.power = cuts;
        if flash.update(&blob) {
            break;
        }
        match flash.choose() {
            Ok(chosen) => assert!(chosen.blob == blob.as_slice()),
            Err(none) => assert_eq!(none.target, Target { slot: 0, sequence: 0 }),
        }
        flash.power = usize::MAX;
        assert!(flash.update(&blob) && flash.choose().unwrap().blob == blob.as_slice());
    }
}

#[test]
fn a_long_life_of_updates_and_cuts_never_loses_the_model() {
    let mut draw = Draw::new(11);
    let mut flash = Flash::<8>::new(Torn::Garbage, 0xff);
    let mut current = blob(0);
    // Near the end of the sequence numbers.
    assert!(flash.update_to(Target { slot: 1, sequence: u32::MAX - 500 }, &current));
    for seed in 0..2_000 {
        let next = blob(seed);
        flash.torn = draw.one_of(&[Torn::Untouched, Torn::Half, Torn::Garbage]);
        flash.power = draw.below(2 * SLOT_BYTES);
        let done = flash.update(&next);
        // The header may be complete when the power goes in its padding.
        if flash.choose().unwrap().blob == next.as_slice() {
            current = next;
        } else {
            assert!(!done && flash.choose().unwrap().blob == current.as_slice(), "update {seed}");
        }
    }
}

/// Slot 0 with an older model, slot 1 with a newer one.
fn two_models() -> (Flash<4>, [AlignedBytes; 2]) {
    let mut flash = Flash::new(Torn::Untouched, 0xff);
    let blobs = [blob(1), blob(2)];
    assert!(flash.update(&blobs[0]) && flash.update(&blobs[1]));
    (flash, blobs)
}

#[test]
fn the_newest_model_is_chosen_and_the_other_slot_is_next() {
    let (flash, blobs) = two_models();
    let chosen = flash.choose().unwrap();
    assert_eq!((chosen.slot, chosen.blob), (1, blobs[1].as_slice()));
    assert_eq!((chosen.target, chosen.passed_over), (Target { slot: 0, sequence: 2 }, None));
}

#[test]
fn any_damage_to_one_slot_falls_back_to_the_other() {
    let (mut flash, blobs) = two_models();
    let used = BLOB_AT + blobs[1].as_slice().len();
    for bit in 0..8 * used {
        let at = SLOT_BYTES + bit / 8;
        flash.bytes.0[at] ^= 1 << (bit % 8);
        let chosen = flash.choose().unwrap();
        if (16..BLOB_AT).contains(&(bit / 8)) {
            assert_eq!((chosen.slot, chosen.passed_over), (1, None), "bit {bit} is padding");
        } else {
            assert_eq!((chosen.slot, chosen.blob), (0, blobs[0].as_slice()), "bit {bit}");
            assert_eq!(chosen.target.slot, 1);
            let why = chosen.passed_over.unwrap();
            let what_it_hit = match bit / 8 {
                0..4 => why == SlotError::Empty,
                4..16 => matches!(why, SlotError::WrongChecksum { .. }),
                BLOB_AT..48 => matches!(why, SlotError::WrongChecksum { .. }),
                _ => {
                    matches!(why, SlotError::Refused(error) if matches!(error.kind, LoadErrorKind::Frame(F::WrongChecksum { .. })))
                }
            };
            assert!(what_it_hit, "bit {bit}: {why}");
        }
        flash.bytes.0[at] ^= 1 << (bit % 8);
    }
    // The older one may be damaged without anybody's noticing the model.
    flash.bytes.0[0] = 0;
    let chosen = flash.choose().unwrap();
    assert_eq!((chosen.slot, chosen.passed_over), (1, Some(SlotError::Empty)));
}

#[test]
fn two_bad_slots_are_an_error_that_tells_why() {
    let (mut flash, _) = two_models();
    flash.bytes.0[100] ^= 1;
    flash.bytes.0[SLOT_BYTES + 5] ^= 1;
    let none = flash.choose().unwrap_err();
    assert!(matches!(none.errors, [SlotError::Refused(_), SlotError::WrongChecksum { .. }]), "{none}");
    assert_eq!(none.target, Target { slot: 0, sequence: 1 });
    let text = none.to_string();
    assert!(text.starts_with("no usable model; slot 0: checksum ") && text.contains("the slot is damaged"), "{text}");
    for slots in [[&[][..]; 2], [&[0xff; 64][..]; 2], [&[0; 15][..], &[0; 16][..]]] {
        let none = choose::<FEATURES, EXPERTS>(slots).unwrap_err();
        assert_eq!(none, NoModel { errors: [SlotError::Empty; 2], target: Target { slot: 0, sequence: 0 } });
    }
}

#[test]
fn a_slot_cut_short_is_too_long_for_its_blob() {
    let (flash, blobs) = two_models();
    let [first, second] = flash.slots();
    let capacity = BLOB_AT + blobs[1].as_slice().len() - 1;
    let chosen = choose::<FEATURES, EXPERTS>([first, &second[..capacity]]).unwrap();
    assert_eq!((chosen.slot, chosen.passed_over), (0, Some(SlotError::TooLong { found: capacity + 1, capacity })));
}

#[test]
fn sequence_numbers_wrap_around() {
    let mut flash = Flash::<4>::new(Torn::Untouched, 0xff);
    assert!(flash.update_to(Target { slot: 0, sequence: u32::MAX - 2 }, &blob(0)));
    for seed in 1..6 {
        assert!(flash.update(&blob(seed)));
        let chosen = flash.choose().unwrap();
        assert_eq!(chosen.slot, seed as usize % 2);
        assert_eq!(chosen.blob, blob(seed).as_slice());
        assert_eq!(chosen.target.sequence, (u32::MAX - 2).wrapping_add(seed as u32 + 1));
    }
}

#[test]
fn a_model_past_the_capacity_of_this_build_is_passed_over_and_never_written() {
    let (flash, blobs) = two_models();
    let (small, large) = (&blobs[0], &blobs[1]); // of 2 and 3 experts
    let chosen = choose::<FEATURES, 2>(flash.slots()).unwrap();
    assert_eq!((chosen.slot, chosen.blob, chosen.target), (0, small.as_slice(), Target { slot: 1, sequence: 2 }));
    let Some(SlotError::Refused(why)) = chosen.passed_over else { panic!("{:?}", chosen.passed_over) };
    assert_eq!(why.kind, LoadErrorKind::TooManyExperts { found: 3, capacity: 2 });
    assert_eq!(
        chosen.target.update::<FEATURES, 2>(large.as_slice(), SLOT_BYTES as u32).unwrap_err(),
        SlotError::Refused(why)
    );
}

#[test]
fn a_blob_must_fit_with_header_and_padding() {
    let (blob, target) = (blob(2), Target { slot: 0, sequence: 0 });
    let found = (BLOB_AT + blob.as_slice().len()).next_multiple_of(UNIT);
    let update = |slot_bytes| target.update::<FEATURES, EXPERTS>(blob.as_slice(), slot_bytes).map(|_| ());
    assert_eq!(update(found as u32), Ok(()));
    let capacity = found - 1;
    assert_eq!(update(capacity as u32), Err(SlotError::TooLong { found, capacity }));
    assert_eq!(
        SlotError::TooLong { found, capacity }.to_string(),
        format!("the model needs {found} bytes, the slot has {capacity}")
    );
}

#[test]
fn the_drawing_is_what_is_written() {
    let blob = blob(2);
    let mut flash = Flash::<32>::new(Torn::Untouched, 0xff);
    assert!(flash.update_to(Target { slot: 0, sequence: 0x0102_0304 }, &blob));
    let slot = flash.slots()[0];
    assert_eq!(slot[..8], *b"FEAS\x04\x03\x02\x01");
    assert_eq!(slot[8..12], (blob.as_slice().len() as u32).to_le_bytes());
    assert_eq!(slot[16..32], [0xff; 16]);
    assert_eq!(slot[32..][..blob.as_slice().len()], *blob.as_slice());
    assert!(slot[32 + blob.as_slice().len()..].iter().all(|byte| *byte == 0xff));
}
