//! Promise: a model that verifies is, bit by bit, the one that a trusted key signed for this line.
//! No copy carries a signature of other bytes.
//!
//! The twins are the vectors of RFC 8032 and the strict verification of ed25519-dalek.

use std::fs;
use std::process::Command;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use feamoe::model::{AlignedBytes, HostModel, Loaded, Width, delta, device_copy, quantize, sign, with_threshold};
use feamoe_engine::Blob;
use feamoe_engine::format::{FLAG_SIGNATURE, FLAGS_AT, HEADER_BYTES, checksum};
use feamoe_engine::schema::Kind;
use feamoe_engine::signature::{PublicKey, Signature, Signers, TrustError, Versions};
use feamoe_testkit::generate::{Draw, Recipe};
use feamoe_tests::aligned;
use feamoe_tests::command::{Folder, finished};

/// Outside the header and the section, every n-th bit of a blob is flipped.
const EVERY: usize = 29;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn blob(seed: u64) -> AlignedBytes {
    let recipe = Recipe { experts: 2, features: 2, gate: 5.0, outputs: 5.0 };
    aligned(&recipe.content_of(seed, |_, _| Kind::Category { levels: 2 }).to_bytes(true))
}

fn signed(blob: &AlignedBytes, seed: u8, line: &str, version: u32) -> AlignedBytes {
    let model = Loaded::new(blob.as_slice()).unwrap();
    sign(blob, model.any().schema(), &key(seed), line, version).unwrap()
}

fn verified(bytes: &[u8], keys: &[PublicKey]) -> Result<u32, TrustError> {
    let signers = Signers { keys, line: "loans", schema_sha256: None, versions: Versions::From(3) };
    signers.verify(bytes).map(|signature| signature.model_version)
}

/// Returns the changed bytes with a correct checksum.
fn repaired(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> AlignedBytes {
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    let crc32 = checksum(&bytes[..HEADER_BYTES], &bytes[HEADER_BYTES..]);
    bytes[12..16].copy_from_slice(&crc32.to_le_bytes());
    AlignedBytes::new(&bytes)
}

#[test]
fn vectors_of_rfc_8032_verify() {
    for (key, message, signature) in [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            &[][..],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            &[0xaf, 0x82],
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let (key, signature) = (PublicKey(hex(key)), hex(signature));
        assert!(key.has_signed(message, &signature));
        assert!(!key.has_signed(&[message, &[0]].concat(), &signature));
    }
}

/// Right signatures, wrong ones, and some that a lax verifier accepts: the verdict equals the
/// twin's.
#[test]
fn the_strict_twin_agrees_on_every_signature() {
    /// The order of the group, little endian.
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    /// Points of order 1, 2, 4 and 8, with encodings that are not canonical.
    const SMALL: [&str; 6] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let mut draw = Draw::new(18);
    let (mut right, mut wrong) = (0, 0);
    for round in 0..240 {
        let own = key(round as u8);
        let mut message: Vec<u8> = (0..draw.below(100)).map(|_| draw.bits() as u8).collect();
        let mut signature = own.sign(&message).to_bytes();
        let mut key = own.verifying_key().to_bytes();
        match round % 8 {
            0 | 1 => {}
            2 => signature[draw.below(64)] ^= 1 << draw.below(8),
            3 => key[draw.below(32)] ^= 1 << draw.below(8),
            4 => message.push(0),
            5 => {
                // S + L is the same scalar in another encoding.
                let mut carry = 0;
                for (byte, more) in signature[32..].iter_mut().zip(hex::<32>(ORDER)) {
                    let sum = u16::from(*byte) + u16::from(more) + carry;
                    (*byte, carry) = (sum as u8, sum >> 8);
                }
            }
            6 => {
                // Under a key of small order every message is signed: R has small order and S = 0.
                key = hex(draw.one_of(&SMALL));
                signature = [0; 64];
                signature[..32].copy_from_slice(&hex::<32>(draw.one_of(&SMALL)));
            }
            _ => signature[..32].copy_from_slice(&hex::<32>(draw.one_of(&SMALL))),
        }
        let twin = VerifyingKey::from_bytes(&key)
            .is_ok_and(|key| key.verify_strict(&message, &ed25519_dalek::Signature::from_bytes(&signature)).is_ok());
        assert_eq!(PublicKey(key).has_signed(&message, &signature), twin, "round {round}");
        *if twin { &mut right } else { &mut wrong } += 1;
    }
    assert!(right == 60 && wrong == 180, "{right} right, {wrong} wrong");
    // A lax verifier accepts this signature, because the equation holds.
    let identity: [u8; 32] = hex(SMALL[0]);
    let mut forged = [0; 64];
    forged[..32].copy_from_slice(&identity);
    let lax = VerifyingKey::from_bytes(&identity).unwrap();
    let signature = ed25519_dalek::Signature::from_bytes(&forged);
    assert!(ed25519_dalek::Verifier::verify(&lax, b"anything", &signature).is_ok());
    assert!(!PublicKey(identity).has_signed(b"anything", &forged));
}

#[test]
fn every_flipped_bit_is_refused_also_under_a_right_checksum() {
    let (bytes, keys) = (signed(&blob(1), 1, "loans", 3), [public(&key(1))]);
    let bytes = bytes.as_slice();
    assert_eq!(verified(bytes, &keys), Ok(3));
    let section = bytes.windows(4 + 32).position(|window| window[4..] == keys[0].0).unwrap();
    let end = section + 4 + 32 + 32 + 64 + "loans".len();
    let mut verdicts = std::collections::HashMap::<_, usize>::new();
    for bit in 0..8 * bytes.len() {
        let flip = |bytes: &mut [u8]| bytes[bit / 8] ^= 1 << (bit % 8);
        let mut flipped = AlignedBytes::new(bytes).as_slice().to_vec();
        flip(&mut flipped);
        assert!(Blob::new(&flipped).is_err(), "bit {bit}");
        let is_dense = bit / 8 < HEADER_BYTES || (section..end).contains(&(bit / 8));
        if !(12..16).contains(&(bit / 8)) && (is_dense || bit % EVERY == 0) {
            let forged = repaired(bytes, |bytes| flip(bytes));
            let verdict = match Blob::new(forged.as_slice()) {
                Err(_) => None,
                Ok(_) => Some(std::mem::discriminant(&verified(forged.as_slice(), &keys).unwrap_err())),
            };
            *verdicts.entry(verdict).or_default() += 1;
        }
    }
    // Refused when loading, or by the verifier because of a malformed section, another line,
    // another key, an older version, or a wrong signature.
    assert!(verdicts.len() == 6, "{verdicts:?}");
}

#[test]
fn another_line_key_version_or_schema_is_refused() {
    let (plain, keys) = (blob(1), [public(&key(1)), public(&key(2))]);
    let refusal = |seed, line, version| verified(signed(&plain, seed, line, version).as_slice(), &keys).unwrap_err();
    // Both keys are valid while one replaces the other.
    assert_eq!(verified(signed(&plain, 1, "loans", 4).as_slice(), &keys), Ok(4));
    assert_eq!(verified(signed(&plain, 2, "loans", u32::MAX).as_slice(), &keys), Ok(u32::MAX));
    assert_eq!(refusal(1, "loans-eu", 3), TrustError::OtherLine);
    assert_eq!(refusal(3, "loans", 3), TrustError::OtherKey);
    assert_eq!(refusal(1, "loans", 2), TrustError::OlderVersion { found: 2, least: 3 });
    assert_eq!(verified(plain.as_slice(), &keys), Err(TrustError::NotSigned));
    assert_eq!(verified(&[], &keys), Err(TrustError::NotSigned));

    let bytes = signed(&plain, 1, "loans", 2);
    let own = Signature::claimed(bytes.as_slice()).unwrap().schema_sha256;
    let signers = |schema| Signers { keys: &keys, line: "loans", schema_sha256: Some(schema), versions: Versions::Any };
    assert!(signers(own).verify(bytes.as_slice()).is_ok());
    // Another name for a level, which a copy without names does not show.
    let recipe = Recipe { experts: 2, features: 2, gate: 5.0, outputs: 5.0 };
    let mut content = recipe.content_of(1, |_, _| Kind::Category { levels: 2 });
    content.features[1].levels[0].push('x');
    let (named, bare) = (aligned(&content.to_bytes(true)), aligned(&content.to_bytes(false)));
    let model = HostModel::load(named.as_slice()).unwrap();
    let other = sign(&bare, model.schema(), &key(1), "loans", 3).unwrap();
    assert_eq!(signers(own).verify(other.as_slice()).unwrap_err(), TrustError::OtherSchema);
    // A model without names cannot be signed by itself, nor with the names of other features.
    let bare_model = HostModel::load(bare.as_slice()).unwrap();
    assert!(sign(&bare, bare_model.schema(), &key(1), "loans", 3).is_err());
    let more =
        aligned(&Recipe { features: 3, ..recipe }.content_of(1, |_, _| Kind::Category { levels: 2 }).to_bytes(true));
    let more = HostModel::load(more.as_slice()).unwrap();
    assert!(sign(&bare, more.schema(), &key(1), "loans", 3).is_err());
    assert!(sign(&plain, model.schema(), &key(1), "Loans", 3).is_err());
}

/// The section of one model moved to another, in part or as a whole, and truncated models.
#[test]
fn a_signature_is_of_one_model() {
    let keys = [public(&key(1))];
    let [one, other] = [1, 2].map(|seed| signed(&blob(seed), 1, "loans", 3));
    let (one, other) = (one.as_slice(), other.as_slice());
    let at = |bytes: &[u8]| bytes.windows(32).position(|window| window == keys[0].0).unwrap() - 4;
    assert_eq!(at(one), at(other), "so that sections can be swapped in place");
    let section = at(one)..at(one) + 4 + 32 + 32 + 64 + "loans".len();
    for part in [section.clone(), section.start + 68..section.end] {
        let swapped = repaired(one, |bytes| bytes[part.clone()].copy_from_slice(&other[part.clone()]));
        assert!(Blob::new(swapped.as_slice()).is_ok());
        assert_eq!(verified(swapped.as_slice(), &keys), Err(TrustError::WrongSignature));
    }
    // The flag cleared with the section present, and set with the section absent: neither loads.
    for bytes in [one, blob(1).as_slice()] {
        let moved = repaired(bytes, |bytes| bytes[FLAGS_AT + 1] ^= (FLAG_SIGNATURE >> 8) as u8);
        assert!(Blob::new(moved.as_slice()).is_err());
        assert!(verified(moved.as_slice(), &keys).is_err());
    }
    for length in 0..one.len() {
        assert!(verified(&one[..length], &keys).is_err(), "{length} bytes");
    }
}

#[test]
fn no_copy_carries_the_signature_and_a_delta_gives_it_back() {
    let plain = blob(1);
    let [old, new] = [1, 2].map(|seed| signed(&blob(seed), 1, "loans", 2 + seed as u32));
    let is_signed = |blob: &AlignedBytes| Signature::claimed(blob.as_slice()).is_ok();
    assert!(is_signed(&old) && !is_signed(&plain));
    assert_eq!(device_copy(&old, true, 0).unwrap(), plain);
    for copy in
        [device_copy(&old, false, 0).unwrap(), with_threshold(&old, 0.25).unwrap(), quantize(&old, Width::I16).unwrap()]
    {
        assert!(!is_signed(&copy));
    }
    // Signing again replaces the old section.
    assert_eq!(signed(&signed(&plain, 2, "cards", 9), 1, "loans", 3), old);
    for (from, to) in [(&plain, &old), (&old, &new), (&new, &plain)] {
        // For models this small a delta may be no smaller; for larger ones it is.
        if let Ok(delta) = delta(from, to) {
            let mut memory = vec![0; to.as_slice().len()];
            assert_eq!(feamoe_engine::delta::apply(from.as_slice(), &delta, &mut memory).unwrap(), to.as_slice());
        }
    }
    // Models with integer weights are signed in the same way.
    let integers = signed(&quantize(&plain, Width::I8).unwrap(), 1, "loans", 3);
    assert_eq!(verified(integers.as_slice(), &[public(&key(1))]), Ok(3));
}

#[test]
fn the_command_makes_keys_signs_and_verifies() {
    let folder = Folder::with_model();
    let made = folder.run(&["sign", "--new-key", "own.key", "--format", "json"]).json();
    let again = folder.refusal(&["sign", "--new-key", "own.key"]);
    assert!(again.contains("own.key: the file exists"), "{again}");
    let sign =
        |model, output| ["sign", model, "--key", "own.key", "--line", "loans-eu", "--model-version", "7", "-o", output];
    let report = folder.run(&[&sign("lending.feamoe", "s.feamoe")[..], &["--format", "json"]].concat()).json();
    assert_eq!(report["key_sha256"], made["key_sha256"]);
    assert_eq!((&report["line"], &report["model_version"]), (&"loans-eu".into(), &7.into()));
    let inspect = |model: &str, more: &[&str]| {
        let ran = folder.run(&[&["inspect", model, "--format", "json"], more].concat());
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(ran.code, Some(i32::from(json["verified"] == false)), "{model} {more:?}");
        json
    };
    let seen = inspect("s.feamoe", &["--verify", "own.key.pub", "--line", "loans-eu"]);
    assert_eq!((&seen["verified"], &seen["sha256"]), (&true.into(), &report["sha256"]));
    assert_eq!(seen["signature"]["schema_sha256"], report["schema_sha256"]);
    assert!(inspect("s.feamoe", &[])["verified"].is_null());
    let _ = folder.run(&["sign", "--new-key", "other.key"]).done();
    let _ = folder.run(&["export", "s.feamoe", "-o", "copy.feamoe"]).well();
    for (model, options, why) in [
        ("s.feamoe", &["--verify", "other.key.pub"][..], "by a key that is not trusted"),
        ("s.feamoe", &["--verify", "own.key.pub", "--line", "loans-us"], "for another line"),
        ("copy.feamoe", &["--verify", "own.key.pub"], "not signed"),
    ] {
        let seen = inspect(model, options);
        assert!(seen["not_verified"].as_str().unwrap().contains(why), "{model}: {seen}");
    }
    // One matching key of several is enough.
    assert_eq!(inspect("s.feamoe", &["--verify", "other.key.pub", "--verify", "own.key.pub"])["verified"], true);
    // The command reports that the line was not checked, and that a section is no signature.
    let text = folder.run(&["inspect", "s.feamoe", "--verify", "own.key.pub"]).done();
    assert!(text.contains("the line was not checked; name it with --line"), "{text}");
    let line_checked = |more: &[&str]| inspect("s.feamoe", more)["line_checked"].clone();
    assert_eq!(line_checked(&["--verify", "own.key.pub"]), false);
    assert_eq!(line_checked(&["--verify", "own.key.pub", "--line", "loans-eu"]), true);
    assert!(line_checked(&[]).is_null());
    let bytes = folder.read("s.feamoe");
    let at = bytes.windows(8).position(|window| window == b"loans-eu").unwrap();
    folder.write("malformed.feamoe", repaired(&bytes, |bytes| bytes[at] = b'L').as_slice());
    let seen = inspect("malformed.feamoe", &["--verify", "own.key.pub"]);
    assert_eq!((&seen["signature"], &seen["malformed_signature"]), (&serde_json::Value::Null, &true.into()));
    let text = folder.run(&["inspect", "malformed.feamoe"]).done();
    assert!(text.contains("not signed: the signature section is not one that the format allows"), "{text}");

    // A factory image holds the signed bytes, and the command states whether anyone verified them.
    let factory = ["export", "s.feamoe", "--factory", "262144", "-o", "slots.bin"];
    let ran = folder.run(&factory);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr, "note: the signature is not verified; name the trusted key with --verify\n");
    let any_line = folder.run(&[&factory[..], &["--verify", "own.key.pub"]].concat());
    let said = "note: a key of --verify has signed these bytes; the line was not checked; name it with --line\n";
    assert_eq!((any_line.code, any_line.stderr.as_str()), (Some(0), said));
    let own_line = ["--verify", "own.key.pub", "--line", "loans-eu"];
    let verified = folder.run(&[&factory[..], &own_line].concat()).done();
    assert!(verified.contains("both slots of the model"), "{verified}");
    let usage = folder.run(&[&factory[..], &["--line", "loans-eu"]].concat()).usage_refused();
    assert!(usage.contains("required arguments were not provided"), "{usage}");
    // Bytes that nobody signed do not reach a device with the signature of other bytes.
    folder.write("forged.feamoe", repaired(&bytes, |bytes| *bytes.last_mut().unwrap() ^= 1).as_slice());
    folder.write("plain.feamoe", folder.read("lending.feamoe"));
    for (model, more, why) in [
        ("forged.feamoe", &[][..], "forged.feamoe: the signature is wrong"),
        ("malformed.feamoe", &[], "malformed.feamoe: the model's signature section"),
        ("forged.feamoe", &["--verify", "own.key.pub"], "forged.feamoe: the signature is wrong"),
        ("s.feamoe", &["--verify", "other.key.pub"], "s.feamoe: the model is signed by a key that is not trusted"),
        ("plain.feamoe", &["--verify", "own.key.pub"], "plain.feamoe: the model is not signed"),
        (
            "s.feamoe",
            &["--verify", "own.key.pub", "--line", "loans-us"],
            "s.feamoe: the model is signed for another line",
        ),
    ] {
        for kind in [&["--factory", "262144"][..], &["--constants", "c"], &["--delta", "copy.feamoe"]] {
            let refused = folder.refusal(&[&["export", model, "-o", "refused"], kind, more].concat());
            assert!(refused.starts_with(why), "{refused}");
        }
    }
    let (image, model) = (folder.read("slots.bin"), folder.read("s.feamoe"));
    assert_eq!(image.windows(model.len()).filter(|window| *window == model).count(), 2);
    // A copy without names is signed with the names of the model that it was made from.
    let _ = folder.run(&["export", "lending.feamoe", "--strip-names", "-o", "bare.feamoe"]).well();
    let refused = folder.refusal(&sign("bare.feamoe", "b.feamoe"));
    assert!(refused.contains("--names-of"), "{refused}");
    let names_of = |model| [&sign("bare.feamoe", "b.feamoe")[..], &["--names-of", model]].concat();
    // A model of another training run, with the same features and levels.
    let train = ["train", "lending.csv", "--schema", "lending.toml", "--seed", "77", "-o", "another.feamoe"];
    let _ = folder.run(&train).well();
    let refused = folder.refusal(&names_of("another.feamoe"));
    assert!(refused.starts_with("another.feamoe: bare.feamoe was not exported from this model"), "{refused}");
    let _ = folder.run(&names_of("lending.feamoe")).done();
    assert_eq!(inspect("b.feamoe", &[])["signature"]["schema_sha256"], report["schema_sha256"]);

    for (key, why) in [("own.key.pub", "expected a private"), ("lending.csv", "expected a private"), ("none", "none: ")]
    {
        folder_mode(&folder, key, 0o600);
        let refused =
            folder.refusal(&["sign", "lending.feamoe", "--key", key, "--line", "a", "--model-version", "1", "-o", "x"]);
        assert!(refused.contains(why), "{refused}");
    }
    folder_mode(&folder, "own.key", 0o640);
    let refused = folder.refusal(&sign("lending.feamoe", "x"));
    assert!(refused.contains("found mode 640"), "{refused}");
    assert!(!folder.path("x").exists());

    // If a run ended between the two files, the next one completes it. A public key without its
    // private key may be somebody else's.
    folder_mode(&folder, "own.key", 0o600);
    fs::rename(folder.path("own.key.pub"), folder.path("first.pub")).unwrap();
    let completed = folder.run(&["sign", "--new-key", "own.key", "--format", "json"]).json();
    assert_eq!(completed["key_sha256"], made["key_sha256"]);
    assert_eq!((&made["had_private"], &completed["had_private"]), (&false.into(), &true.into()));
    assert_eq!(folder.text("own.key.pub"), folder.text("first.pub"));
    fs::remove_file(folder.path("own.key.pub")).unwrap();
    let said = folder.run(&["sign", "--new-key", "own.key"]).done();
    assert!(said.starts_with("found the private key own.key (keep it secret and back it up) and wrote the"), "{said}");
    fs::remove_file(folder.path("own.key")).unwrap();
    let alone = folder.refusal(&["sign", "--new-key", "own.key"]);
    assert!(alone.starts_with("own.key.pub: there already is a public key"), "{alone}");
    // The owner of a file can read and change it whatever its mode, so another user's key file is
    // refused.
    folder_mode(&folder, "other.key", 0o600);
    if std::os::unix::fs::chown(folder.path("other.key"), Some(54_321), None).is_err() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let sign =
        ["sign", "lending.feamoe", "--key", "other.key", "--line", "a", "--model-version", "1", "-o", "x.feamoe"];
    let refused = folder.refusal(&sign);
    assert!(refused.starts_with("other.key: found a file of user 54321"), "{refused}");
}

fn folder_mode(folder: &Folder, name: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    if folder.path(name).exists() {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Keys can be exchanged with OpenSSL in both directions, and have the same fingerprint there.
#[test]
fn keys_are_those_of_openssl() {
    let folder = Folder::with_model();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        finished(command.args(arguments).current_dir(folder.path("")))
    };
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: no openssl");
        return;
    }
    let _ = folder.run(&["sign", "--new-key", "own.key"]).done();
    let public = openssl(&["pkey", "-in", "own.key", "-pubout"]);
    assert_eq!(public.stdout, folder.text("own.key.pub"), "{}", public.stderr);
    assert_eq!(openssl(&["genpkey", "-algorithm", "ed25519", "-out", "theirs.key"]).code, Some(0));
    folder_mode(&folder, "theirs.key", 0o600);
    assert_eq!(openssl(&["pkey", "-in", "theirs.key", "-pubout", "-out", "theirs.pub"]).code, Some(0));
    let sign =
        ["sign", "lending.feamoe", "--key", "theirs.key", "--line", "a", "--model-version", "1", "-o", "s.feamoe"];
    let _ = folder.run(&sign).done();
    let seen = folder.run(&["inspect", "s.feamoe", "--verify", "theirs.pub", "--format", "json"]).json();
    let der = openssl(&["pkey", "-pubin", "-in", "theirs.pub", "-outform", "DER", "-out", "theirs.der"]);
    assert_eq!(der.code, Some(0));
    let sha256: String = <sha2::Sha256 as sha2::Digest>::digest(folder.read("theirs.der"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(seen["signature"]["key_sha256"], sha256);
}
