//! Two slots in flash: after any interrupted write one model still loads. A model on trial that is
//! not confirmed is replaced by its predecessor. Damage in one slot does not affect the other.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use feamoe::model::AlignedBytes;
use feamoe_engine::error::{FrameError as F, LoadErrorKind};
use feamoe_engine::slots::{
    Anyone, Chosen, Loaded, NoModel, SlotError, Step, Target, Update, blob_at, choose, image, unit,
};
use feamoe_engine::{Model, Scorer, integer};
use feamoe_testkit::generate::{Draw, EXPERTS, FEATURES, Recipe};
use feamoe_tests::aligned;

type M<'a> = Model<'a, FEATURES, EXPERTS>;

const PAGE: usize = 1024;
const SLOT_BYTES: usize = 4 * PAGE;

/// What an interruption leaves of the word being written or of the page being erased.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Torn {
    /// The old bits.
    Untouched,
    /// Each bit is either old or new.
    Half,
    /// Random bits.
    Garbage,
}

/// Two slots of simulated flash, written in words of `WORD` bytes. The power fails after a number
/// of words written and bytes erased.
struct Flash<const WORD: usize> {
    bytes: AlignedFlash,
    written: [bool; 2 * SLOT_BYTES],
    erased: u8,
    torn: Torn,
    draw: Draw,
    /// Words to write and bytes to erase until the power fails.
    power: usize,
    /// Words written and bytes erased.
    work: usize,
}

#[repr(align(4))]
struct AlignedFlash([u8; 2 * SLOT_BYTES]);

impl<const WORD: usize> Flash<WORD> {
    fn new(torn: Torn, erased: u8) -> Self {
        // The flash of a new device holds arbitrary bytes.
        let mut draw = Draw::new(5);
        let bytes = AlignedFlash(std::array::from_fn(|_| draw.bits() as u8));
        Self { bytes, written: [true; 2 * SLOT_BYTES], erased, torn, draw, power: usize::MAX, work: 0 }
    }

    fn slots(&self) -> (&[u8], &[u8]) {
        self.bytes.0.split_at(SLOT_BYTES)
    }

    fn slot(&self, slot: usize) -> &[u8] {
        &self.bytes.0[slot * SLOT_BYTES..][..SLOT_BYTES]
    }

    fn choose(&self) -> Result<Chosen<M<'_>, M<'_>>, NoModel> {
        let (first, second) = self.slots();
        choose(first, second, &Anyone)
    }

    /// Returns the blob of the chosen slot.
    fn blob(&self) -> &[u8] {
        let chosen = self.choose().unwrap_or_else(|error| panic!("{error}"));
        &self.slot(chosen.slot)[chosen.blob]
    }

    fn step(&mut self, slot: usize, step: Step<'_>) -> bool {
        let start = (slot * SLOT_BYTES) as u32;
        let done = match step {
            Step::Erase { from, to } => self.erase(start + from, start + to),
            Step::Write { at, bytes } => self.write(start + at, bytes),
        };
        assert!(matches!(done, Ok(()) | Err(NorFlashErrorKind::Other)), "{done:?}");
        done.is_ok()
    }

    /// Starts the device, which marks a model on trial and, if `confirm` is set, confirms it.
    /// Returns whether the power lasted.
    fn start_and(&mut self, confirm: bool) -> bool {
        let Ok(mut chosen) = self.choose() else { return true };
        let slot = chosen.slot;
        let mut steps = vec![chosen.begin::<WORD>(), chosen.begin::<WORD>()];
        if confirm {
            steps.extend([chosen.confirm::<WORD>(), chosen.confirm::<WORD>()]);
            assert_eq!(chosen.confirm::<WORD>(), None);
        }
        steps.into_iter().flatten().all(|step| self.step(slot, step))
    }

    fn start(&mut self) -> bool {
        self.start_and(false)
    }

    /// Writes a blob in pieces to the target slot, starts it and confirms it. Returns whether the
    /// power lasted.
    fn update(&mut self, blob: &AlignedBytes) -> bool {
        let target = self.choose().map_or_else(|none| none.target, |chosen| chosen.target().unwrap());
        self.update_to(target, blob) && self.start_and(true)
    }

    fn update_to(&mut self, target: Target, blob: &AlignedBytes) -> bool {
        let blob = blob.as_slice();
        let mut update = Update::<WORD>::new(target, SLOT_BYTES as u32, self.erased, blob.len() as u32).unwrap();
        if !update.erase().all(|step| self.step(target.slot, step)) {
            return false;
        }
        let mut rest = blob;
        while !rest.is_empty() {
            let (mut chunk, left) = rest.split_at(1 + self.draw.below(rest.len()));
            rest = left;
            while let Some(step) = update.next(&mut chunk) {
                if !self.step(target.slot, step) {
                    return false;
                }
            }
            assert!(chunk.is_empty());
        }
        if let Some(step) = update.end().unwrap()
            && !self.step(target.slot, step)
        {
            return false;
        }
        let seal = update.check::<M>(self.slot(target.slot), &Anyone).unwrap();
        seal.steps().into_iter().all(|step| self.step(target.slot, step))
    }

    fn spend(&mut self) -> Result<(), NorFlashErrorKind> {
        self.work += 1;
        self.power = self.power.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        Ok(())
    }

    /// Leaves bytes as an interrupted change to `to` would.
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
                // The bytes of the page before this one are erased; the others are not yet.
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
            let is_again = self.bytes.0[at..at + WORD] == *word;
            assert!(
                is_again || self.written[at..at + WORD].iter().all(|written| !written),
                "byte {at} is written twice"
            );
            if self.spend().is_err() {
                self.tear(at, word);
                // An untouched word may be written again.
                let erased = self.erased;
                let touched = self.bytes.0[at..at + WORD].iter().any(|byte| *byte != erased);
                self.written[at..at + WORD].fill(touched);
                return Err(NorFlashErrorKind::Other);
            }
            self.written[at..at + WORD].fill(true);
            self.bytes.0[at..at + WORD].copy_from_slice(word);
        }
        Ok(())
    }
}

/// A model of a few hundred bytes, different for each seed.
fn blob(seed: u64) -> AlignedBytes {
    let recipe = Recipe { experts: 1 + seed as usize % 3, features: 2, gate: 5.0, outputs: 5.0 };
    let mut content = recipe.content_of(seed, |_, _| feamoe_engine::schema::Kind::Category { levels: 2 });
    content.positive_name.push_str(&"+".repeat(seed as usize % 37));
    let bytes = aligned(&content.to_bytes(true));
    assert!(bytes.as_slice().len() + blob_at(unit(512)) <= SLOT_BYTES - 512);
    bytes
}

/// Cuts the power at every point of `life`, on a device that runs the second of three models and
/// holds the first. Afterwards one of the last two is chosen, and the device still works.
fn every_cut<const WORD: usize>(torn: Torn, erased: u8, life: impl Fn(&mut Flash<WORD>, &AlignedBytes) -> bool) {
    let blobs = [1, 2, 3].map(blob);
    let before = |cuts: usize| {
        let mut flash = Flash::<WORD>::new(torn, erased);
        assert!(flash.update(&blobs[0]) && flash.update(&blobs[1]));
        (flash.draw, flash.power, flash.work) = (Draw::new(cuts as u64), cuts, 0);
        flash
    };
    let mut whole = before(usize::MAX);
    assert!(life(&mut whole, &blobs[2]));
    let work = whole.work;
    // While erasing, only the start and the ends of pages differ.
    let cuts = (0..=work).filter(|cuts| *cuts > SLOT_BYTES || cuts % 97 == 0 || cuts % PAGE < 2);
    for cuts in cuts {
        let mut flash = before(cuts);
        assert_eq!(life(&mut flash, &blobs[2]), cuts == work);
        // The first start after the cut, and later starts.
        for start in 0..3 {
            let is = |blob: &AlignedBytes| flash.blob() == blob.as_slice();
            assert!(is(&blobs[1]) || is(&blobs[2]), "{WORD} {torn:?} {cuts}");
            flash.power = if start == 0 { flash.draw.below(3) } else { usize::MAX };
            flash.start();
            flash.power = usize::MAX;
        }
        // By now a model on trial was rejected or confirmed, so the device accepts two updates.
        assert!(!flash.choose().unwrap().on_trial(), "{WORD} {torn:?} {cuts}");
        for blob in [&blobs[2], &blobs[0]] {
            assert!(flash.update(blob));
            assert!(flash.blob() == blob.as_slice());
        }
    }
}

fn every_cut_of_every_life<const WORD: usize>() {
    for torn in [Torn::Untouched, Torn::Half, Torn::Garbage] {
        for erased in [0xff, 0x00] {
            every_cut::<WORD>(torn, erased, Flash::update);
            // Not confirmed: the second start falls back.
            every_cut::<WORD>(torn, erased, |flash, blob| {
                let target = flash.choose().unwrap().target().unwrap();
                flash.update_to(target, blob) && flash.start() && flash.start()
            });
        }
    }
}

#[test]
fn a_power_cut_anywhere_leaves_a_model_that_loads() {
    every_cut_of_every_life::<1>();
    every_cut_of_every_life::<4>();
    every_cut_of_every_life::<8>();
    every_cut_of_every_life::<32>();
}

#[test]
fn a_power_cut_anywhere_leaves_a_model_that_loads_on_wide_words() {
    every_cut_of_every_life::<2>();
    every_cut_of_every_life::<16>();
    every_cut_of_every_life::<64>();
    every_cut_of_every_life::<128>();
    every_cut_of_every_life::<256>();
    every_cut_of_every_life::<512>();
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
        flash.power = usize::MAX;
        assert!(flash.start());
        match flash.choose() {
            // There is no other model: an unconfirmed one is better than none, and an update is
            // possible.
            Ok(chosen) => {
                assert!(flash.blob() == blob.as_slice());
                assert_eq!(chosen.target().unwrap().slot, 1 - chosen.slot);
            }
            Err(none) => assert_eq!(none.target, Target { slot: 0, sequence: 0, least_version: 0, failed_at: None }),
        }
        assert!(flash.update(&blob) && flash.blob() == blob.as_slice());
    }
}

#[test]
fn a_model_on_trial_is_confirmed_or_makes_way() {
    let (mut flash, blobs) = two_models();
    let third = blob(3);
    let target = flash.choose().unwrap().target().unwrap();
    assert!(flash.update_to(target, &third));
    // Written but not used yet: it stays on trial however often the device starts.
    for _ in 0..3 {
        let mut chosen = flash.choose().unwrap();
        assert!(chosen.on_trial() && chosen.target().is_none() && chosen.begin::<4>().is_some());
        assert!(flash.blob() == third.as_slice());
    }
    assert!(flash.start());
    // Used, then reset: the device falls back to the model before it, and the next update replaces
    // the failed one.
    let mut chosen = flash.choose().unwrap();
    assert_eq!((chosen.slot, chosen.passed_over), (1, Some(SlotError::NotConfirmed)));
    assert_eq!((chosen.on_trial(), chosen.begin::<4>(), chosen.target().unwrap().slot), (false, None, 0));
    assert!(flash.blob() == blobs[1].as_slice());
    // The same update again, now confirmed.
    assert!(flash.update(&third) && flash.blob() == third.as_slice());
    let chosen = flash.choose().unwrap();
    assert_eq!((chosen.on_trial(), chosen.passed_over), (false, None));
}

/// Without a model to fall back to, an interrupted confirmation is completed by writing only what
/// is missing: no word is written twice.
#[test]
fn confirming_resumes_where_it_was_cut() {
    fn with_words_of<const WORD: usize>() {
        for cut in 0..16 / WORD {
            let mut flash = Flash::<WORD>::new(Torn::Untouched, 0xff);
            assert!(
                flash.update_to(Target { slot: 0, sequence: 0, least_version: 0, failed_at: None }, &blob(1))
                    && flash.start()
            );
            flash.power = cut;
            assert!(!flash.start_and(true));
            flash.power = usize::MAX;
            assert!(flash.choose().unwrap().on_trial());
            assert!(flash.start_and(true) && !flash.choose().unwrap().on_trial(), "{cut} words of {WORD}");
        }
    }
    with_words_of::<1>();
    with_words_of::<4>();
    with_words_of::<8>();
    with_words_of::<16>();
}

#[test]
fn a_long_life_of_updates_and_cuts_never_loses_the_model() {
    let mut draw = Draw::new(11);
    let mut flash = Flash::<8>::new(Torn::Garbage, 0xff);
    let mut current = blob(0);
    // Close to the largest sequence number.
    assert!(
        flash.update_to(Target { slot: 1, sequence: u32::MAX - 500, least_version: 0, failed_at: None }, &current)
            && flash.start_and(true)
    );
    let mut failed = 0;
    for seed in 0..2_000 {
        let next = blob(seed);
        flash.torn = draw.one_of(&[Torn::Untouched, Torn::Half, Torn::Garbage]);
        flash.power = draw.below(2 * SLOT_BYTES);
        let target = flash.choose().unwrap().target().unwrap();
        let confirmed = draw.below(3) > 0;
        let done = flash.update_to(target, &next) && flash.start_and(confirmed);
        flash.power = usize::MAX;
        // Starts twice, after which the outcome is settled.
        assert!(flash.start() && flash.start());
        if flash.blob() == next.as_slice() && flash.blob() != current.as_slice() {
            assert!(confirmed, "update {seed} was never confirmed");
            current = next;
        } else {
            assert!(!done || !confirmed || next == current, "update {seed}");
            assert!(flash.blob() == current.as_slice(), "update {seed}");
            failed += 1;
        }
    }
    assert!((500..1_800).contains(&failed), "{failed} updates failed");
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
    assert!(chosen.slot == 1 && flash.blob() == blobs[1].as_slice());
    assert_eq!(
        (chosen.target(), chosen.passed_over),
        (Some(Target { slot: 0, sequence: 2, least_version: 0, failed_at: None }), None)
    );
}

/// Compiles only if a model borrows its own slot alone.
#[test]
fn one_slot_is_written_while_the_other_ones_model_scores() {
    let (mut flash, _) = two_models();
    let (first, second) = flash.bytes.0.split_at_mut(SLOT_BYTES);
    let Loaded::Second(model) = choose::<M, M>(first, second, &Anyone).unwrap().model else {
        panic!("of the first slot")
    };
    first.fill(0xff);
    assert!(model.score(&model.record()).is_ok());
}

#[test]
fn any_damage_to_one_slot_falls_back_to_the_other() {
    let (mut flash, blobs) = two_models();
    let at = blob_at(unit(4));
    let used = at + blobs[1].as_slice().len();
    for bit in 0..8 * used {
        let byte = bit / 8;
        flash.bytes.0[SLOT_BYTES + byte] ^= 1 << (bit % 8);
        let chosen = flash.choose().unwrap();
        // Each mark is stored twice, so damage to one copy changes nothing.
        if (32..at).contains(&byte) {
            assert_eq!((chosen.slot, chosen.passed_over), (1, None), "bit {bit}");
        } else {
            assert_eq!((chosen.slot, chosen.target().unwrap().slot), (0, 1), "bit {bit}");
            assert!(flash.blob() == blobs[0].as_slice());
            let why = chosen.passed_over.unwrap();
            let what_it_hit = match byte {
                0..4 => why == SlotError::Empty,
                4..32 => matches!(why, SlotError::Header(_)),
                byte if (at + 12..at + 16).contains(&byte) => why == SlotError::OtherBlob,
                _ => matches!(why, SlotError::Refused(error) if matches!(error.kind, LoadErrorKind::Frame(_))),
            };
            assert!(what_it_hit, "bit {bit}: {why}");
        }
        flash.bytes.0[SLOT_BYTES + byte] ^= 1 << (bit % 8);
    }
    // Damage to the older slot does not affect the chosen model.
    flash.bytes.0[0] = 0;
    let chosen = flash.choose().unwrap();
    assert_eq!((chosen.slot, chosen.passed_over), (1, Some(SlotError::Empty)));
}

#[test]
fn two_bad_slots_are_an_error_that_says_why() {
    let (mut flash, _) = two_models();
    flash.bytes.0[240] ^= 1;
    flash.bytes.0[SLOT_BYTES + 18] ^= 1;
    let none = flash.choose().unwrap_err();
    assert!(matches!(none.errors, [SlotError::Refused(_), SlotError::Header(F::WrongChecksum { .. })]), "{none}");
    assert_eq!(none.target, Target { slot: 0, sequence: 1, least_version: 0, failed_at: None });
    let text = none.to_string();
    assert!(text.starts_with("no usable model; slot 0: checksum ") && text.contains("the slot is damaged"), "{text}");
    for (first, second) in [(&[][..], &[][..]), (&[0xff; 64], &[0xff; 64]), (&[0; 15], &[0; 16])] {
        let none = choose::<M, M>(first, second, &Anyone).unwrap_err();
        assert_eq!(
            (none.errors, none.target),
            ([SlotError::Empty; 2], Target { slot: 0, sequence: 0, least_version: 0, failed_at: None })
        );
    }
}

#[test]
fn a_slot_cut_short_is_too_long_for_its_blob() {
    let (flash, blobs) = two_models();
    let (first, second) = flash.slots();
    let capacity = blob_at(unit(4)) + blobs[1].as_slice().len() - 1;
    let chosen = choose::<M, M>(first, &second[..capacity], &Anyone).unwrap();
    assert_eq!((chosen.slot, chosen.passed_over), (0, Some(SlotError::TooLong { found: capacity + 1, capacity })));
}

#[test]
fn sequence_numbers_wrap_around() {
    let mut flash = Flash::<4>::new(Torn::Untouched, 0xff);
    let first = Target { slot: 0, sequence: u32::MAX - 2, least_version: 0, failed_at: None };
    assert!(flash.update_to(first, &blob(0)) && flash.start_and(true));
    for seed in 1..6 {
        assert!(flash.update(&blob(seed)));
        let chosen = flash.choose().unwrap();
        assert_eq!(chosen.slot, seed as usize % 2);
        assert_eq!(flash.blob(), blob(seed).as_slice());
        assert_eq!(chosen.target().unwrap().sequence, (u32::MAX - 2).wrapping_add(seed as u32 + 1));
    }
}

#[test]
fn a_model_past_the_capacity_of_this_build_is_passed_over_and_never_sealed() {
    let (flash, blobs) = two_models();
    let (first, second) = flash.slots(); // models of 2 and 3 experts
    type Small<'a> = Model<'a, FEATURES, 2>;
    let chosen = choose::<Small, Small>(first, second, &Anyone).unwrap();
    assert_eq!(
        (chosen.slot, chosen.target()),
        (0, Some(Target { slot: 1, sequence: 2, least_version: 0, failed_at: Some(160) }))
    );
    let Some(SlotError::Refused(why)) = chosen.passed_over else { panic!("{:?}", chosen.passed_over) };
    assert_eq!(why.kind, LoadErrorKind::TooManyExperts { found: 3, capacity: 2 });

    let large = blobs[1].as_slice();
    let target = chosen.target().unwrap();
    let mut update = Update::<4>::new(target, SLOT_BYTES as u32, 0xff, large.len() as u32).unwrap();
    let mut slot = vec![0xff; SLOT_BYTES];
    slot[blob_at(unit(4))..][..large.len()].copy_from_slice(large);
    let slot = AlignedBytes::new(&slot);
    let mut chunk = large;
    while update.next(&mut chunk).is_some() {}
    update.end().unwrap();
    assert_eq!(update.check::<Small>(slot.as_slice(), &Anyone).unwrap_err(), SlotError::Refused(why));
    assert!(update.check::<M>(slot.as_slice(), &Anyone).is_ok());
}

#[test]
fn an_update_that_is_not_complete_is_never_sealed() {
    let (blob, target) = (blob(2), Target { slot: 0, sequence: 0, least_version: 0, failed_at: None });
    let length = blob.as_slice().len() as u32;
    let slot = vec![0xff; SLOT_BYTES];
    let mut update = Update::<8>::new(target, SLOT_BYTES as u32, 0xff, length).unwrap();
    let mut chunk = &blob.as_slice()[..blob.as_slice().len() - 1];
    while update.next(&mut chunk).is_some() {}
    assert_eq!(update.end(), Err(SlotError::Incomplete { found: length - 1, expected: length }));
    assert!(matches!(update.check::<M>(&slot, &Anyone), Err(SlotError::Incomplete { .. })));
    // Bytes after the blob stay in the chunk.
    let mut chunk = &[blob.as_slice()[length as usize - 1], 1, 2, 3][..];
    while update.next(&mut chunk).is_some() {}
    assert_eq!(chunk, [1, 2, 3]);
    // All bytes were supplied, but the last ones are not written: their word is not full.
    assert!(!length.is_multiple_of(8));
    assert!(matches!(update.check::<M>(&slot, &Anyone), Err(SlotError::Incomplete { .. })));
    assert!(matches!(update.end(), Ok(Some(_))));
    // The slot in flash holds other bytes.
    assert!(matches!(update.check::<M>(&slot, &Anyone), Err(SlotError::Refused(_))));
}

#[test]
fn a_blob_must_fit_with_header_marks_and_padding() {
    let (blob, target) = (blob(2), Target { slot: 0, sequence: 0, least_version: 0, failed_at: None });
    let found = blob_at(unit(32)) + blob.as_slice().len().next_multiple_of(32);
    let update = |slot_bytes| Update::<32>::new(target, slot_bytes, 0xff, blob.as_slice().len() as u32).map(|_| ());
    assert_eq!(update(found as u32), Ok(()));
    let capacity = found - 1;
    assert_eq!(update(capacity as u32), Err(SlotError::TooLong { found, capacity }));
    assert_eq!(
        SlotError::TooLong { found, capacity }.to_string(),
        format!("the model needs {found} bytes, but the slot has {capacity}")
    );
    assert!(matches!(Update::<32>::new(target, u32::MAX, 0xff, u32::MAX).map(|_| ()), Err(SlotError::TooLong { .. })));
}

#[test]
fn the_drawing_is_what_is_written() {
    let blob = blob(2);
    let mut flash = Flash::<32>::new(Torn::Untouched, 0xff);
    assert!(flash.update_to(Target { slot: 0, sequence: 0x0102_0304, least_version: 0, failed_at: None }, &blob));
    let blob = blob.as_slice();
    let slot = flash.slot(0);
    assert_eq!(slot[..12], *b"FESL\x03\0\0\x05\x10\0\0\0");
    assert_eq!(slot[16..24], [[4, 3, 2, 1], (blob.len() as u32).to_le_bytes()].concat());
    assert_eq!(slot[24..32], [[0, 0, 0, 0], blob[12..16].try_into().unwrap()].concat());
    assert_eq!(slot[32..64], [0x3c; 32]);
    assert_eq!(slot[64..192], [0xff; 128]);
    assert_eq!(slot[192..][..blob.len()], *blob);
    assert!(slot[192 + blob.len()..].iter().all(|byte| *byte == 0xff));
    assert!(flash.start_and(true));
    assert_eq!(flash.slot(0)[32..192], [[0x3c; 32], [0x5a; 32], [0xa5; 32], [0xa5; 32], [0xff; 32]].concat());
}

/// A factory image equals the result of an update: a slot with a confirmed model.
#[test]
fn an_image_is_a_slot_with_a_confirmed_model() {
    fn of<const WORD: usize>(erased: u8) {
        let blob = blob(2);
        let mut flash = Flash::<WORD>::new(Torn::Untouched, erased);
        let target = Target { slot: 0, sequence: 7, least_version: 0, failed_at: None };
        assert!(flash.update_to(target, &blob) && flash.start_and(true));
        let mut slot = vec![1; SLOT_BYTES];
        image(blob.as_slice(), 7, WORD, erased, &mut slot).unwrap();
        assert!(slot == flash.slot(0), "{WORD} {erased}");
    }
    for erased in [0xff, 0x00] {
        of::<1>(erased);
        of::<8>(erased);
        of::<32>(erased);
        of::<512>(erased);
    }
    let blob = blob(2);
    let mut small = [0; 64];
    assert!(matches!(image(blob.as_slice(), 0, 4, 0xff, &mut small), Err(SlotError::TooLong { .. })));
    assert_eq!(image(blob.as_slice(), 0, 3, 0xff, &mut [0; SLOT_BYTES]), Err(SlotError::Malformed));
    assert_eq!(image(&[], 0, 4, 0xff, &mut [0; SLOT_BYTES]), Err(SlotError::Malformed));
}

/// Integer models fit slots like float models; a slot with the other kind of model is refused.
#[test]
fn slots_hold_integer_models() {
    type I<'a> = integer::Model<'a, FEATURES, EXPERTS>;
    let float = blob(2);
    let blob = feamoe::model::quantize(&float, feamoe::model::Width::I16).unwrap();
    let mut slots = [vec![0xff; SLOT_BYTES], vec![0xff; SLOT_BYTES]];
    image(float.as_slice(), 8, 4, 0xff, &mut slots[0]).unwrap();
    image(blob.as_slice(), 7, 4, 0xff, &mut slots[1]).unwrap();
    let slots = slots.map(|slot| AlignedBytes::new(&slot));
    let (first, second) = (slots[0].as_slice(), slots[1].as_slice());
    let chosen = choose::<I, I>(first, second, &Anyone).unwrap();
    let crc32 = chosen.model.into_inner().crc32();
    assert_eq!((chosen.slot, crc32), (1, Scorer::crc32(&I::load(blob.as_slice()).unwrap())));
    assert!(matches!(chosen.passed_over, Some(SlotError::Refused(error)) if error.kind == LoadErrorKind::FloatWeights));
    assert_eq!(choose::<M, M>(first, second, &Anyone).unwrap().slot, 0);
}

/// Slots of versions 1 and 2 are read as confirmed models. All images hold the same model.
#[test]
fn golden_slots_read() {
    let model = AlignedBytes::new(include_bytes!("../../../engine/golden/v1.feamoe"));
    let golden = [
        &include_bytes!("../../../engine/golden/slot-v1.bin")[..],
        include_bytes!("../../../engine/golden/slot-v2.bin"),
        include_bytes!("../../../engine/golden/slot-v3.bin"),
    ];
    let golden = golden.map(AlignedBytes::new);
    for (version, slot) in (1..).zip(&golden) {
        let mut chosen = choose::<M, M>(slot.as_slice(), &[], &Anyone).unwrap();
        assert!(slot.as_slice()[chosen.blob.clone()] == *model.as_slice(), "version {version}");
        assert_eq!((chosen.on_trial(), chosen.begin::<4>()), (false, None));
        assert_eq!(chosen.target(), Some(Target { slot: 1, sequence: 0x0102_0305, least_version: 0, failed_at: None }));
    }
    let mut written = vec![0; golden[2].as_slice().len()];
    image(model.as_slice(), 0x0102_0304, 8, 0xff, &mut written).unwrap();
    assert_eq!(written, golden[2].as_slice());
}

/// Random bytes with a correct checksum are refused or valid: nothing panics, and no model appears
/// that was not written.
#[test]
fn sealed_nonsense_is_refused() {
    let mut draw = Draw::new(3);
    let blob = blob(2);
    let mut loaded = 0;
    for _ in 0..20_000 {
        let mut slot = vec![0xff; SLOT_BYTES];
        image(blob.as_slice(), draw.bits() as u32, 4, 0xff, &mut slot).unwrap();
        for _ in 0..1 + draw.below(3) {
            let at = 4 + draw.below(28);
            slot[at] = draw.bits() as u8;
        }
        let crc = crc(&[&slot[..12], &slot[16..32]].concat());
        slot[12..16].copy_from_slice(&crc.to_le_bytes());
        let slot = AlignedBytes::new(&slot);
        if let Ok(chosen) = choose::<M, M>(slot.as_slice(), &[], &Anyone) {
            assert!(slot.as_slice()[chosen.blob] == *blob.as_slice());
            loaded += 1;
        }
    }
    assert!(loaded > 100, "{loaded}");
}

/// CRC-32, ISO-HDLC, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}
