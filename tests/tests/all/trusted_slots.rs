//! Promise: a device with trusted keys neither seals nor uses a model of anyone else, nor an older
//! model than it has, unless a person asks for it.

use std::cell::Cell;

use ed25519_dalek::SigningKey;
use feamoe::model::{AlignedBytes, HostModel, sign};
use feamoe_engine::Model;
use feamoe_engine::error::FrameError;
use feamoe_engine::schema::Kind;
use feamoe_engine::signature::{PublicKey, Signers, TrustError, Versions};
use feamoe_engine::slots::{Anyone, Chosen, NoModel, SlotError, Step, Target, Trust, Update, choose, image};
use feamoe_testkit::generate::Recipe;
use feamoe_tests::aligned;

type M<'a> = Model<'a, 4, 4>;

const WORD: usize = 8;
const SLOT_BYTES: usize = 2048;

struct Device {
    slots: [AlignedBytes; 2],
    keys: [PublicKey; 1],
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn plain() -> AlignedBytes {
    let recipe = Recipe { experts: 2, features: 2, gate: 5.0, outputs: 5.0 };
    aligned(&recipe.content_of(1, |_, _| Kind::Category { levels: 2 }).to_bytes(true))
}

fn signed(seed: u8, version: u32) -> AlignedBytes {
    let plain = plain();
    let model = HostModel::load(plain.as_slice()).unwrap();
    sign(&plain, model.schema(), &key(seed), "loans", version).unwrap()
}

impl Device {
    /// A device with a confirmed model in the first slot and nothing in the second.
    fn new(blob: &AlignedBytes) -> Self {
        let mut slot = vec![0; SLOT_BYTES];
        image(blob.as_slice(), 0, WORD, 0xff, &mut slot).unwrap();
        let slots = [AlignedBytes::new(&slot), AlignedBytes::new(&[0xff; SLOT_BYTES])];
        Self { slots, keys: [PublicKey(key(1).verifying_key().to_bytes())] }
    }

    fn signers(&self, versions: Versions) -> Signers<'_> {
        Signers { keys: &self.keys, line: "loans", schema_sha256: None, versions }
    }

    fn choose(&self, trust: &impl Trust) -> Result<Chosen<M<'_>, M<'_>>, NoModel> {
        let [first, second] = &self.slots;
        choose(first.as_slice(), second.as_slice(), trust)
    }

    fn take(slot: &mut [u8], step: Step<'_>) {
        match step {
            Step::Erase { from, to } => slot[from as usize..to as usize].fill(0xff),
            Step::Write { at, bytes } => slot[at as usize..][..bytes.len()].copy_from_slice(bytes),
        }
    }

    /// Writes a blob into a slot, and seals it only if it is accepted.
    fn update(&mut self, target: Target, blob: &AlignedBytes, versions: Versions) -> Result<(), SlotError> {
        let mut slot = vec![0; SLOT_BYTES];
        let mut update = Update::<WORD>::new(target, SLOT_BYTES as u32, 0xff, blob.as_slice().len() as u32)?;
        update.erase().for_each(|step| Self::take(&mut slot, step));
        let mut chunk = blob.as_slice();
        while let Some(step) = update.next(&mut chunk) {
            Self::take(&mut slot, step);
        }
        if let Some(step) = update.end()? {
            Self::take(&mut slot, step);
        }
        let written = AlignedBytes::new(&slot);
        let seal = update.check::<M>(written.as_slice(), &self.signers(versions));
        if let Ok(seal) = &seal {
            seal.steps().into_iter().for_each(|step| Self::take(&mut slot, step));
        }
        self.slots[target.slot] = AlignedBytes::new(&slot);
        seal.map(|_| ())
    }

    /// Starts the device and confirms the model if `confirm` is set. Returns the slot and the
    /// version in use.
    fn start(&mut self, versions: Versions, confirm: bool) -> (usize, u32, Option<Target>, Option<u32>) {
        let mut chosen = self.choose(&self.signers(versions)).unwrap();
        let mut steps = vec![chosen.begin::<WORD>(), chosen.begin::<WORD>()];
        if confirm {
            steps.extend([chosen.confirm::<WORD>(), chosen.confirm::<WORD>()]);
        }
        let found = (chosen.slot, chosen.model_version, chosen.target(), chosen.counter(0));
        let mut slot = self.slots[found.0].as_slice().to_vec();
        steps.into_iter().flatten().for_each(|step| Self::take(&mut slot, step));
        self.slots[found.0] = AlignedBytes::new(&slot);
        found
    }
}

const ALL: Versions = Versions::From(0);

/// A model that is used only because there is no other does not block the updates that replace it.
#[test]
fn a_model_that_failed_makes_way_where_the_other_is_refused() {
    let mut device = Device::new(&signed(1, 5));
    let target = device.start(ALL, false).2.unwrap();
    assert_eq!(device.update(target, &signed(1, 6), ALL), Ok(()));
    // The model was tried but not confirmed. Then a firmware comes that accepts no version below 6.
    assert_eq!(device.start(ALL, false).0, 1);
    let chosen = device.choose(&device.signers(Versions::From(6))).unwrap();
    let why = SlotError::Untrusted(TrustError::OlderVersion { found: 5, least: 6 });
    assert_eq!((chosen.slot, chosen.on_trial(), chosen.passed_over), (1, true, Some(why)));
    assert_eq!(chosen.target().map(|target| (target.slot, target.least_version)), Some((0, 6)));
}

#[test]
fn only_a_trusted_model_is_sealed_or_used() {
    let mut device = Device::new(&signed(1, 5));
    let (slot, version, target, counter) = device.start(ALL, false);
    assert_eq!((slot, version, counter), (0, 5, Some(5)));
    let target = target.unwrap();
    assert_eq!(target.least_version, 5);
    for (blob, why) in [
        (plain(), TrustError::NotSigned),
        (signed(2, 6), TrustError::OtherKey),
        (signed(1, 4), TrustError::OlderVersion { found: 4, least: 5 }),
    ] {
        assert_eq!(device.update(target, &blob, ALL), Err(SlotError::Untrusted(why)));
        assert_eq!(device.start(ALL, false).0, 0, "what was refused is not there");
    }
    // The same version, and a later one.
    assert_eq!(device.update(target, &signed(1, 5), ALL), Ok(()));
    assert_eq!(device.update(target, &signed(1, 6), ALL), Ok(()));
    assert_eq!(
        device.start(ALL, true),
        (1, 6, Some(Target { slot: 0, sequence: 2, least_version: 6, failed_at: None }), Some(6))
    );
    // The slot was written in another way: complete and newer, but not signed by a trusted key.
    let mut forged = vec![0; SLOT_BYTES];
    image(signed(2, 7).as_slice(), 9, WORD, 0xff, &mut forged).unwrap();
    device.slots[0] = AlignedBytes::new(&forged);
    let chosen = device.choose(&device.signers(ALL)).unwrap();
    assert_eq!((chosen.slot, chosen.passed_over), (1, Some(SlotError::Untrusted(TrustError::OtherKey))));
    assert_eq!(device.choose(&Anyone).unwrap().slot, 0);
    // If neither slot is trusted, there is no model.
    device.slots[1] = device.slots[0].clone();
    let none = device.choose(&device.signers(ALL)).unwrap_err();
    assert_eq!(none.errors, [SlotError::Untrusted(TrustError::OtherKey); 2]);
}

#[test]
fn there_is_no_way_back_but_by_a_failed_trial_or_on_purpose() {
    let mut device = Device::new(&signed(1, 5));
    let target = device.start(ALL, false).2.unwrap();
    assert_eq!(device.update(target, &signed(1, 6), ALL), Ok(()));
    // A version on trial does not count: a reset without confirming falls back to version 5.
    assert_eq!(device.start(ALL, false), (1, 6, None, None));
    assert_eq!(device.start(ALL, false).1, 5);
    assert_eq!(device.update(target, &signed(1, 6), ALL), Ok(()));
    let (_, _, target, counter) = device.start(ALL, true);
    assert_eq!(counter, Some(6));
    // The counter states 6, so damage to the newer slot does not bring version 5 back.
    let mut damaged = device.slots[1].as_slice().to_vec();
    damaged[200] ^= 1;
    let whole = std::mem::replace(&mut device.slots[1], AlignedBytes::new(&damaged));
    let none = device.choose(&device.signers(Versions::From(6))).unwrap_err();
    assert_eq!(none.errors[0], SlotError::Untrusted(TrustError::OlderVersion { found: 5, least: 6 }));
    // Without a counter it does: an older trusted model is better than none. The next update still
    // needs version 6.
    let (_, version, after_damage, _) = device.start(ALL, false);
    assert_eq!((version, after_damage.unwrap().least_version), (5, 6));
    let refused = Err(SlotError::Untrusted(TrustError::OlderVersion { found: 5, least: 6 }));
    assert_eq!(device.update(after_damage.unwrap(), &signed(1, 5), ALL), refused);
    device.slots[1] = whole;
    // An intended downgrade.
    let target = target.unwrap();
    assert!(device.update(target, &signed(1, 3), Versions::From(6)).is_err());
    assert_eq!(device.update(target, &signed(1, 3), Versions::Any), Ok(()));
    // With a counter of 6 the downgrade does not survive a start; without one it does.
    assert_eq!(device.start(Versions::From(6), false).1, 6);
    assert_eq!(device.start(ALL, true).1, 3);
}

/// Damage to both slots does not allow a downgrade either. A header whose model is not trusted does
/// not count.
#[test]
fn a_device_without_a_model_knows_which_version_it_had() {
    let mut device = Device::new(&signed(1, 5));
    let damaged = |slot: &AlignedBytes| {
        let mut bytes = slot.as_slice().to_vec();
        bytes[200] ^= 1;
        AlignedBytes::new(&bytes)
    };
    device.slots = [damaged(&device.slots[0]), AlignedBytes::new(&[0xff; SLOT_BYTES])];
    let least = |device: &Device| device.choose(&device.signers(ALL)).unwrap_err().target.least_version;
    assert_eq!(least(&device), 5);
    let target = device.choose(&device.signers(ALL)).unwrap_err().target;
    let refused = Err(SlotError::Untrusted(TrustError::OlderVersion { found: 4, least: 5 }));
    assert_eq!(device.update(target, &signed(1, 4), ALL), refused);
    assert_eq!(device.update(target, &signed(1, 5), ALL), Ok(()));
    // A complete model that this build cannot use is not damage: a firmware of another kind starts
    // from the beginning.
    device.slots[0] = Device::new(&signed(1, 900)).slots[0].clone();
    let [first, second] = &device.slots;
    type Other<'a> = feamoe_engine::integer::Model<'a, 4, 4>;
    let none = choose::<Other<'_>, Other<'_>>(first.as_slice(), second.as_slice(), &device.signers(ALL)).unwrap_err();
    assert_eq!((none.target.slot, none.target.least_version), (0, 0), "{none}");
    device.slots[0] = Device::new(&signed(1, 5)).slots[0].clone();
    device.slots[0] = damaged(&device.slots[0]);
    let target = device.choose(&device.signers(ALL)).unwrap_err().target;
    assert_eq!(target.least_version, 5);
    assert_eq!(device.update(target, &signed(1, 5), ALL), Ok(()));
    // A damaged model that was only on trial does not count.
    device.slots[0] = damaged(&device.slots[0]);
    assert_eq!(least(&device), 0);
    let mut foreign = vec![0; SLOT_BYTES];
    image(signed(2, 900).as_slice(), 0, WORD, 0xff, &mut foreign).unwrap();
    device.slots[0] = AlignedBytes::new(&foreign);
    assert_eq!(least(&device), 0);
}

/// A bit that reads at random once, between loading and verifying.
struct Glitch<'a> {
    signers: Signers<'a>,
    left: Cell<u32>,
}

impl Trust for Glitch<'_> {
    fn verify(&self, blob: &[u8], least: u32) -> Result<u32, TrustError> {
        match self.left.replace(self.left.get().saturating_sub(1)) {
            0 => Trust::verify(&self.signers, blob, least),
            _ => Err(TrustError::WrongSignature),
        }
    }
}

#[test]
fn a_signature_that_reads_wrong_once_is_read_again() {
    let device = Device::new(&signed(1, 5));
    let glitch = |left| Glitch { signers: device.signers(ALL), left: Cell::new(left) };
    assert_eq!(device.choose(&glitch(1)).map(|chosen| chosen.model_version), Ok(5));
    let errors = device.choose(&glitch(2)).map(|_| ()).unwrap_err().errors;
    assert_eq!(errors[0], SlotError::Untrusted(TrustError::WrongSignature));
    let blob = signed(1, 6);
    let target = Target { slot: 1, sequence: 1, least_version: 5, failed_at: None };
    let mut update = Update::<WORD>::new(target, SLOT_BYTES as u32, 0xff, blob.as_slice().len() as u32).unwrap();
    let (mut slot, mut chunk) = (vec![0; SLOT_BYTES], blob.as_slice());
    update.erase().for_each(|step| Device::take(&mut slot, step));
    while let Some(step) = update.next(&mut chunk) {
        Device::take(&mut slot, step);
    }
    if let Some(step) = update.end().unwrap() {
        Device::take(&mut slot, step);
    }
    let slot = AlignedBytes::new(&slot);
    for (left, is_sealed) in [(0, true), (1, true), (2, false)] {
        assert_eq!(update.check::<M>(slot.as_slice(), &glitch(left)).is_ok(), is_sealed, "{left} glitches");
    }
}

/// No version ever wrote the newer magic with the older layout.
#[test]
fn version_1_with_the_magic_of_later_versions_is_refused() {
    let mut device = Device::new(&plain());
    let mut slot = device.slots[0].as_slice().to_vec();
    slot[4..6].copy_from_slice(&[1, 0]);
    let crc32 = feamoe_engine::frame::checksum(&slot[..12], &slot[16..32]);
    slot[12..16].copy_from_slice(&crc32.to_le_bytes());
    device.slots[0] = AlignedBytes::new(&slot);
    let why = SlotError::Header(FrameError::UnsupportedVersion { found: 1, expected: 3 });
    assert_eq!(device.choose(&Anyone).unwrap_err().errors[0], why);
}

/// A header with another version than the signature does not belong to that blob.
#[test]
fn the_header_states_the_version_of_the_signature() {
    let mut device = Device::new(&signed(1, 0x0102_0304));
    assert_eq!(device.slots[0].as_slice()[24..28], [4, 3, 2, 1]);
    let mut slot = device.slots[0].as_slice().to_vec();
    slot[24] += 1;
    let crc32 = feamoe_engine::frame::checksum(&slot[..12], &slot[16..32]);
    slot[12..16].copy_from_slice(&crc32.to_le_bytes());
    device.slots[0] = AlignedBytes::new(&slot);
    assert_eq!(device.choose(&Anyone).unwrap_err().errors[0], SlotError::OtherBlob);
}
