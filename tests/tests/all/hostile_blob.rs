//! `load` returns a model or an error for any bytes, and a loaded model can score and explain any
//! record.

use feamoe_engine::error::{FrameError as F, LoadError, LoadErrorKind as K};
use feamoe_engine::format::background::MISSING_NUMBER;
use feamoe_engine::format::{FLAG_BACKGROUND, FLAG_CALIBRATION, FLAG_DEVIATIONS, FLAG_NAMES, HEADER_BYTES, Provenance};
use feamoe_engine::limits::{MAX_BACKGROUND_ROWS, MAX_BINS, MAX_BLOB_BYTES, MAX_REACH};
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{Attribution, Method, Model, RecordError};
use feamoe_testkit::content::Bytes;
use feamoe_testkit::content::{Content, FeatureContent};
use feamoe_testkit::explain_into;
use feamoe_testkit::generate::{Cell, Draw, Recipe, draw_cell, fill};

/// The capacity of the models in this file.
const FEATURES: usize = 4;
const EXPERTS: usize = 4;

fn load(bytes: &[u8]) -> Result<Model<'_, FEATURES, EXPERTS>, LoadError> {
    Model::load(bytes)
}

/// Returns why a blob is refused. The reason is the same if the values are used in place and if
/// they are copied from an odd address.
#[track_caller]
fn refusal(bytes: &Bytes) -> LoadError {
    let found = load(bytes.as_slice());
    let error = found.map(|model| model.blob_bytes()).expect_err("a hostile blob was loaded");
    let (shifted, mut memory) = (at_an_odd_address(bytes, 1), vec![0.0; bytes.as_slice().len() / 4]);
    let copied = Model::<FEATURES, EXPERTS>::load_into(&shifted.as_slice()[1..], &mut memory);
    assert_eq!(copied.map(|model| model.blob_bytes()), Err(error));
    error
}

/// Returns the blob at an offset of `shift` bytes.
fn at_an_odd_address(bytes: &Bytes, shift: usize) -> Bytes {
    Bytes::new(&[&[0; 4][..shift], bytes.as_slice()].concat())
}

/// CRC-32 (ISO-HDLC) bit by bit, written from the specification and not from the engine's code.
fn crc32(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.into_iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// The shortest postcard encoding of an unsigned integer.
fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn byte_string(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A blob written by hand from the drawing in `feamoe_engine::format`. Each part can be wrong.
#[derive(Clone)]
struct Draft {
    magic: [u8; 4],
    version: u16,
    flags: u16,
    description: Vec<u8>,
    kinds: Vec<u8>,
    /// Encoded, in the order of the flags.
    sections: Vec<u8>,
    /// `None` adds as many zeros as needed.
    padding: Option<Vec<u8>>,
    values: Vec<u8>,
    after: Vec<u8>,
}

impl Draft {
    fn of(content: &Content) -> Self {
        let Provenance { training_rows, data_sha256, seed, trainer_version: (major, minor, patch) } =
            content.provenance;
        let mut description = vec![content.experts as u8];
        description.extend(content.threshold.to_le_bytes());
        description.extend(varint(training_rows));
        description.extend(data_sha256);
        for n in [seed, major.into(), minor.into(), patch.into(), content.features.len() as u64] {
            description.extend(varint(n));
        }
        let values = [floats(&content.bias), floats(&content.rows), floats(&content.edges)].concat();
        Self {
            magic: *b"FEAM",
            version: 1,
            flags: 0,
            description,
            kinds: content.features.iter().flat_map(|feature| kind(feature.kind)).collect(),
            sections: Vec::new(),
            padding: None,
            values,
            after: Vec::new(),
        }
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = [self.description.as_slice(), &self.kinds, &self.sections].concat();
        let length = varint(self.values.len() as u64);
        let unpadded = HEADER_BYTES + payload.len() + 1 + length.len();
        let zeros = vec![0; unpadded.next_multiple_of(4) - unpadded];
        payload.extend(byte_string(self.padding.as_ref().unwrap_or(&zeros)));
        payload.extend(length);
        payload.extend(&self.values);
        payload.extend(&self.after);
        payload
    }

    fn seal(&self) -> Bytes {
        seal(self.magic, self.version, self.flags, &self.payload())
    }
}

/// Prepends a correct header to a payload.
fn seal(magic: [u8; 4], version: u16, flags: u16, payload: &[u8]) -> Bytes {
    let mut bytes = magic.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(crc32(bytes.iter().chain(payload).copied()).to_le_bytes());
    bytes.extend(payload);
    Bytes::new(&bytes)
}

fn kind(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Number { transform, low, high, centre, bins } => {
            [vec![0, u8::from(transform == Transform::Log1p)], floats(&[low, high, centre]), varint(bins.into())]
                .concat()
        }
        Kind::Category { levels } => [vec![1], varint(levels.into())].concat(),
    }
}

const NUMBER: Kind = Kind::Number { transform: Transform::Identity, low: -1.0, high: 3.0, centre: 0.5, bins: 3 };

/// Three experts (so that weight rows have padding lanes), a number with three bins, and a category
/// with two levels.
fn small() -> Content {
    let feature = |name: &str, kind, levels: &[&str]| FeatureContent {
        name: name.to_owned(),
        kind,
        levels: levels.iter().map(|&level| level.to_owned()).collect(),
    };
    let mut draw = Draw::new(1);
    let mut rows = |n| (0..n * stride(3)).map(|i| if i % 8 < 6 { draw.between(-2.0, 2.0) } else { 0.0 }).collect();
    Content {
        threshold: 0.5,
        provenance: Provenance { training_rows: 300, seed: 7, ..Provenance::default() },
        experts: 3,
        features: vec![feature("age", NUMBER, &[]), feature("sex", Kind::Category { levels: 2 }, &["f", "m"])],
        positive_name: "yes".to_owned(),
        bias: rows(1),
        rows: rows(5 + 4),
        edges: vec![0.0, 1.5],
        deviations: Vec::new(),
        calibration: Vec::new(),
        background: Vec::new(),
    }
}

/// Encodes the small model after a change.
fn changed(change: impl FnOnce(&mut Content)) -> Bytes {
    let mut content = small();
    change(&mut content);
    content.to_bytes(false)
}

/// Encodes the draft of the small model after a change.
fn redrafted(change: impl FnOnce(&mut Draft)) -> Bytes {
    let mut draft = Draft::of(&small());
    change(&mut draft);
    draft.seal()
}

/// Returns where the values of the small model's draft start.
fn values_at(bytes: &Bytes) -> usize {
    bytes.as_slice().len() - 4 * (10 * stride(3) + 2)
}

/// Returns where the small model's first kind starts.
fn first_kind() -> usize {
    HEADER_BYTES + Draft::of(&small()).description.len()
}

#[test]
fn the_drawing_is_what_the_exporter_writes() {
    for seed in 0..50 {
        let content = Recipe::any(seed).content(seed);
        assert_eq!(Draft::of(&content).seal(), content.to_bytes(false));
    }
    let content = small();
    let mut draft = Draft::of(&content);
    draft.flags = FLAG_NAMES;
    draft.sections = byte_string(&["yes", "age", "sex", "f", "m"].map(|name| byte_string(name.as_bytes())).concat());
    assert_eq!(draft.seal(), content.to_bytes(true));
}

#[test]
fn accepts_what_is_right() {
    let bytes = redrafted(|_| {});
    let model = load(bytes.as_slice()).unwrap();
    assert_eq!((model.experts(), model.threshold(), model.blob_bytes()), (3, 0.5, bytes.as_slice().len()));
    assert_eq!(model.provenance(), &small().provenance);
    let header = bytes.as_slice();
    assert_eq!(model.crc32().to_le_bytes(), header[12..16]);
    let kinds: Vec<_> = model.schema().features().iter().map(|feature| feature.kind()).collect();
    assert_eq!(kinds, [NUMBER, Kind::Category { levels: 2 }]);
}

/// The small model as it is, or with every optional section.
fn with_all_sections(all: bool) -> Bytes {
    let mut content = small();
    if all {
        content.deviations = vec![2.5, 0.0];
        content.background = background(&[(0.5, 1), (-9.0, 3), (MISSING_NUMBER, 2)]);
    }
    content.to_bytes(all)
}

#[test]
fn rejects_every_truncation() {
    for bytes in [false, true].map(with_all_sections) {
        let all = bytes.as_slice();
        for length in 0..all.len() {
            let expected = if length < HEADER_BYTES { HEADER_BYTES } else { all.len() };
            let kind = K::Frame(F::Truncated { found: length, expected });
            assert_eq!(load(&all[..length]).unwrap_err(), LoadError { kind, at: length });
        }
    }
}

#[test]
fn rejects_every_single_bit_flip() {
    for bytes in [false, true].map(with_all_sections) {
        for bit in 0..bytes.as_slice().len() * 8 {
            let mut flipped = bytes.as_slice().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = refusal(&Bytes::new(&flipped));
            let what_it_hit = match bit / 8 {
                0..4 => matches!(error.kind, K::Frame(F::WrongMagic { .. })),
                4..6 => matches!(error.kind, K::Frame(F::UnsupportedVersion { .. })),
                8..12 => matches!(
                    error.kind,
                    K::Frame(F::Truncated { .. }) | K::Frame(F::TrailingBytes { .. }) | K::Frame(F::TooLarge { .. })
                ),
                _ => matches!(error.kind, K::Frame(F::WrongChecksum { .. })),
            };
            assert!(what_it_hit, "bit {bit}: {error}");
        }
    }
}

#[test]
fn rejects_trailing_bytes() {
    let bytes = small().to_bytes(false);
    let longer = [bytes.as_slice(), &[0]].concat();
    let (found, expected) = (longer.len(), bytes.as_slice().len());
    let error = refusal(&Bytes::new(&longer));
    assert_eq!(error, LoadError { kind: K::Frame(F::TrailingBytes { found, expected }), at: expected });
}

#[test]
fn rejects_trailing_bytes_inside_the_payload() {
    let error = refusal(&redrafted(|draft| draft.after = vec![0; 4]));
    let (found, expected) = (redrafted(|_| {}).as_slice().len() + 4, redrafted(|_| {}).as_slice().len());
    assert_eq!(error, LoadError { kind: K::Frame(F::TrailingBytes { found, expected }), at: expected });
}

#[test]
fn rejects_another_magic() {
    let error = refusal(&redrafted(|draft| draft.magic = *b"FEAN"));
    assert_eq!(error, LoadError { kind: K::Frame(F::WrongMagic { expected: *b"FEAM" }), at: 0 });
}

#[test]
fn rejects_another_version() {
    for version in [0, 2, u16::MAX] {
        let error = refusal(&redrafted(|draft| draft.version = version));
        assert_eq!(error, LoadError { kind: K::Frame(F::UnsupportedVersion { found: version, expected: 1 }), at: 4 });
    }
}

#[test]
fn rejects_unknown_mandatory_sections() {
    for bit in 1..8 {
        let bytes = redrafted(|draft| {
            draft.flags = 1 << bit;
            draft.sections = byte_string(b"what?");
        });
        assert_eq!(refusal(&bytes), LoadError { kind: K::UnsupportedSections { flags: 1 << bit }, at: 6 });
    }
}

#[test]
fn passes_over_unknown_optional_sections() {
    let plain = redrafted(|_| {});
    let names = byte_string(&["yes", "age", "sex", "f", "m"].map(|name| byte_string(name.as_bytes())).concat());
    for bit in [11, 13, 14, 15] {
        for content in [&[][..], &[0xff; 300]] {
            let bytes = redrafted(|draft| {
                draft.flags = FLAG_NAMES | 1 << bit;
                draft.sections = [names.clone(), byte_string(content)].concat();
            });
            let (with, without) = (load(bytes.as_slice()).unwrap(), load(plain.as_slice()).unwrap());
            assert_eq!(with.schema().feature_name(1), Some("sex"));
            assert_eq!(with.score(&with.record()), without.score(&without.record()));
        }
    }
}

/// The small model with this deviations section.
fn with_deviations(section: &[u8]) -> Bytes {
    redrafted(|draft| {
        draft.flags = FLAG_DEVIATIONS;
        draft.sections = byte_string(section);
    })
}

#[test]
fn deviations_are_read_as_they_were_written() {
    let bytes = with_deviations(&floats(&[2.5, 0.0]));
    assert_eq!(bytes, changed(|content| content.deviations = vec![2.5, 0.0]));
    let model = load(bytes.as_slice()).unwrap();
    assert_eq!([0, 1, 2].map(|index| model.schema().deviation(index)), [2.5, 0.0, 0.0]);
}

#[test]
fn rejects_deviations_that_are_not_the_features() {
    for section in [floats(&[2.5]), floats(&[2.5, 0.0, 1.0]), vec![0; 7], Vec::new()] {
        let error = refusal(&with_deviations(&section));
        assert_eq!((error.kind, error.at > first_kind()), (K::Malformed, true), "{section:?}");
    }
}

#[test]
fn rejects_a_deviation_out_of_its_range() {
    for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 2.0] {
        let error = refusal(&with_deviations(&floats(&[wrong, 0.0])));
        assert_eq!(error.kind, K::InvalidDeviation { feature: 0 }, "{wrong}");
    }
    for wrong in [-0.0, 1.0] {
        assert_eq!(refusal(&with_deviations(&floats(&[1.0, wrong]))).kind, K::InvalidDeviation { feature: 1 });
    }
}

/// The small model with this calibration section.
fn with_calibration(section: &[u8]) -> Bytes {
    redrafted(|draft| {
        draft.flags = FLAG_CALIBRATION;
        draft.sections = byte_string(section);
    })
}

#[test]
fn rejects_a_calibration_of_other_rows_or_out_of_range() {
    let rows = small().features.iter().map(|feature| feature.kind.rows() as usize).sum::<usize>();
    let usual = vec![0.5; rows + 2];
    assert_eq!(with_calibration(&floats(&usual)), changed(|content| content.calibration.clone_from(&usual)));
    assert!(load(with_calibration(&floats(&usual)).as_slice()).unwrap().is_calibrated());
    for section in [floats(&usual[1..]), floats(&[&usual[..], &[0.0]].concat()), vec![0; 7], Vec::new()] {
        assert_eq!(refusal(&with_calibration(&section)).kind, K::Malformed, "{section:?}");
    }
    for wrong in [f32::NAN, f32::INFINITY, -f32::INFINITY, 1.1e6, -1.1e6] {
        for place in [0, 1, rows + 1] {
            let mut numbers = usual.clone();
            numbers[place] = wrong;
            assert_eq!(refusal(&with_calibration(&floats(&numbers))).kind, K::InvalidCalibration, "{wrong}");
        }
    }
}

/// Encodes records of the small model: an age and a code.
fn background(records: &[(f32, u16)]) -> Vec<u8> {
    records.iter().flat_map(|(age, code)| [&age.to_le_bytes()[..], &code.to_le_bytes()].concat()).collect()
}

/// The small model with this background section.
fn with_background(section: &[u8]) -> Bytes {
    redrafted(|draft| {
        draft.flags = FLAG_BACKGROUND;
        draft.sections = byte_string(section);
    })
}

/// Where the bytes of the section start, in a small model whose section has at most 127 bytes.
fn section_at() -> usize {
    first_kind() + Draft::of(&small()).kinds.len() + 1
}

#[test]
fn a_background_is_read_as_it_was_written() {
    let records = [(0.5, 0), (-1e30, 1), (f32::MAX, 2), (-0.0, 3), (MISSING_NUMBER, 1)];
    let section = [vec![5], background(&records)].concat();
    let bytes = with_background(&section);
    assert_eq!(bytes, changed(|content| content.background = background(&records)));
    let model = load(bytes.as_slice()).unwrap();
    assert_eq!(model.background_rows(), 5);
    let (mut found, mut expected) = (model.record(), model.record());
    for (row, (age, code)) in records.into_iter().enumerate() {
        model.background_record(row, &mut found).unwrap();
        let level = [Cell::Level(0), Cell::Level(1), Cell::Unseen, Cell::Missing][usize::from(code)];
        fill(&mut expected, &[Cell::Number(age), level]).unwrap();
        assert_eq!((found.terms(), found.notes()), (expected.terms(), expected.notes()), "{row}");
    }
    // A row past the end, or a background record of another model, leaves the record unchanged.
    let other = load(bytes.as_slice()).unwrap();
    for row in [5, 6, usize::MAX / 2, usize::MAX] {
        let error = RecordError::NoBackgroundRow { found: row, rows: 5 };
        assert_eq!(model.background_record(row, &mut found), Err(error));
    }
    assert_eq!(other.background_record(0, &mut found), Err(RecordError::OtherModel));
    assert_eq!((found.terms(), found.notes()), (expected.terms(), expected.notes()));
}

#[test]
fn a_model_without_background_has_no_record_of_it() {
    let bytes = redrafted(|_| {});
    let model = load(bytes.as_slice()).unwrap();
    assert_eq!(model.background_rows(), 0);
    let error = RecordError::NoBackgroundRow { found: 0, rows: 0 };
    assert_eq!(model.background_record(0, &mut model.record()), Err(error));
}

#[test]
fn rejects_a_background_of_another_length() {
    let two = background(&[(0.5, 1), (0.5, 1)]);
    for section in [
        [&[2][..], &two[..11]].concat(),
        [&[2][..], &two, &[0]].concat(),
        [&[1][..], &two].concat(),
        [&[3][..], &two].concat(),
        [varint(u64::from(u32::MAX)), two.clone()].concat(),
    ] {
        let at = section_at() + section.len().min(if section[0] < 0x80 { 1 } else { 5 });
        assert_eq!(refusal(&with_background(&section)), LoadError { kind: K::Malformed, at }, "{section:?}");
    }
    assert_eq!(refusal(&with_background(&[])), LoadError { kind: K::Malformed, at: section_at() });
    let many = |rows: usize| {
        let section = [varint(rows as u64), background(&[(0.5, 1)]).repeat(rows)].concat();
        let bytes = with_background(&section);
        load(bytes.as_slice()).map(|model| model.background_rows()).map_err(|error| error.kind)
    };
    assert_eq!(many(MAX_BACKGROUND_ROWS), Ok(MAX_BACKGROUND_ROWS));
    assert_eq!(many(MAX_BACKGROUND_ROWS + 1), Err(K::Malformed));
}

#[test]
fn rejects_backgrounds_that_are_not_the_shortest() {
    let one = background(&[(0.5, 1)]);
    for section in [vec![0], [&[0x81, 0x00][..], &one].concat()] {
        assert_eq!(refusal(&with_background(&section)), LoadError { kind: K::NotCanonical, at: section_at() });
    }
}

#[test]
fn rejects_a_background_value_that_is_none_and_says_where() {
    let good = (0.5, 1);
    let not_numbers =
        [f32::INFINITY, f32::NEG_INFINITY, -MISSING_NUMBER, f32::from_bits(0x7f80_0001), f32::from_bits(0x7fc0_0001)];
    for wrong in not_numbers.map(|age| (age, 1)).into_iter().chain([4, u16::MAX].map(|code| (0.5, code))) {
        for record in 0..3 {
            let mut records = [good; 3];
            records[record] = wrong;
            let feature = usize::from(wrong.0 == 0.5);
            let error = refusal(&with_background(&[vec![3], background(&records)].concat()));
            let at = section_at() + 1 + 6 * record + 4 * feature;
            assert_eq!(error, LoadError { kind: K::InvalidBackground { record, feature }, at });
        }
    }
}

#[test]
fn rejects_a_section_past_the_end() {
    let bytes = redrafted(|draft| {
        draft.flags = 1 << 12;
        draft.sections = varint(u64::from(u32::MAX));
    });
    assert_eq!(refusal(&bytes).kind, K::Malformed);
}

#[test]
fn rejects_a_blob_past_the_limit() {
    let bytes = redrafted(|_| {});
    let mut bytes = bytes.as_slice().to_vec();
    bytes[8..12].copy_from_slice(&(MAX_BLOB_BYTES as u32 + 1).to_le_bytes());
    let kind = K::Frame(F::TooLarge { found: MAX_BLOB_BYTES + 1, limit: MAX_BLOB_BYTES });
    assert_eq!(refusal(&Bytes::new(&bytes)), LoadError { kind, at: 8 });
}

#[test]
fn rejects_a_wrong_checksum() {
    let bytes = redrafted(|_| {});
    let expected = crc32(bytes.as_slice()[..12].iter().chain(&bytes.as_slice()[16..]).copied());
    let mut wrong = bytes.as_slice().to_vec();
    wrong[12..16].copy_from_slice(&(!expected).to_le_bytes());
    let kind = K::Frame(F::WrongChecksum { found: expected, expected: !expected });
    assert_eq!(refusal(&Bytes::new(&wrong)), LoadError { kind, at: 12 });
}

#[test]
fn rejects_a_misaligned_blob() {
    let bytes = redrafted(|_| {});
    for shift in 1..4 {
        let shifted = at_an_odd_address(&bytes, shift);
        let error = load(&shifted.as_slice()[shift..]).unwrap_err();
        assert_eq!(error, LoadError { kind: K::Misaligned, at: values_at(&bytes) });
    }
}

#[test]
fn a_misaligned_blob_is_copied() {
    let bytes = with_all_sections(true);
    let in_place = load(bytes.as_slice()).unwrap();
    let record = in_place.record();
    let count = Model::<FEATURES, EXPERTS>::values_needed(bytes.as_slice()).unwrap();
    for shift in 0..4 {
        let shifted = at_an_odd_address(&bytes, shift);
        // A memory longer than needed: the part after the values is unchanged.
        let mut memory = vec![7.0; count + 1];
        let copied = Model::<FEATURES, EXPERTS>::load_into(&shifted.as_slice()[shift..], &mut memory).unwrap();
        assert_eq!(copied.score(&copied.record()), in_place.score(&record));
        assert_eq!(copied.explain(&copied.record()), in_place.explain(&record));
        assert_eq!(copied.crc32(), in_place.crc32());
        assert_eq!(memory[count], 7.0);
    }
}

#[test]
fn rejects_memory_that_is_too_small() {
    let bytes = redrafted(|_| {});
    let expected = 10 * stride(3) + 2;
    assert_eq!(Model::<FEATURES, EXPERTS>::values_needed(bytes.as_slice()), Ok(expected));
    for found in 0..expected {
        let mut memory = vec![0.0; found];
        let error = Model::<FEATURES, EXPERTS>::load_into(bytes.as_slice(), &mut memory).unwrap_err();
        assert_eq!(error, LoadError { kind: K::MemoryTooSmall { found, expected }, at: values_at(&bytes) });
    }
}

#[test]
fn rejects_malformed_messages() {
    let unknown_variant = redrafted(|draft| draft.kinds[0] = 2);
    let unknown_transform = redrafted(|draft| draft.kinds[1] = 2);
    let too_long_a_varint = redrafted(|draft| {
        draft.kinds.truncate(15);
        draft.kinds.extend([1, 0xff, 0xff, 0xff]);
    });
    let nothing_but_a_description = seal(*b"FEAM", 1, 0, &Draft::of(&small()).description);
    let nothing = seal(*b"FEAM", 1, 0, &[]);
    for bytes in [unknown_variant, unknown_transform, too_long_a_varint, nothing_but_a_description, nothing] {
        assert_eq!(refusal(&bytes).kind, K::Malformed);
    }
}

#[test]
fn rejects_names_that_are_not_the_features() {
    let with_names = |names: Vec<u8>| {
        refusal(&redrafted(|draft| {
            draft.flags = FLAG_NAMES;
            draft.sections = byte_string(&names);
        }))
        .kind
    };
    let strings = |names: &[&str]| -> Vec<u8> { names.iter().flat_map(|name| byte_string(name.as_bytes())).collect() };
    assert_eq!(with_names(strings(&["yes", "age", "sex", "f"])), K::Malformed);
    assert!(matches!(with_names(strings(&["yes", "age", "sex", "f", "m", "x"])), K::Frame(F::TrailingBytes { .. })));
    let not_utf8 = [strings(&["yes", "age", "sex", "f"]), vec![1, 0xff]].concat();
    assert_eq!(with_names(not_utf8), K::Malformed);
    assert_eq!(with_names(Vec::new()), K::Malformed);
}

#[test]
fn rejects_encodings_that_are_not_the_shortest() {
    // 300 rows in three bytes instead of two; 2 features in two bytes; 2 levels in two bytes.
    let rows = redrafted(|draft| draft.description.splice(5..7, [0xac, 0x82, 0x00]).for_each(drop));
    let features = redrafted(|draft| {
        draft.description.pop();
        draft.description.extend([0x82, 0x00]);
    });
    let levels = redrafted(|draft| {
        draft.kinds.pop();
        draft.kinds.extend([0x82, 0x00]);
    });
    for bytes in [rows, features, levels] {
        assert_eq!(refusal(&bytes).kind, K::NotCanonical);
    }
    // Padding where none is needed, and none where it is.
    let needed = 3 - (HEADER_BYTES + Draft::of(&small()).payload().len()) % 4;
    for padding in (0..8).filter(|length| *length != needed) {
        let bytes = redrafted(|draft| draft.padding = Some(vec![0; padding]));
        let right = load(bytes.as_slice()).is_ok();
        assert_eq!(right, bytes == redrafted(|_| {}), "{padding}");
        if !right {
            assert_eq!(refusal(&bytes).kind, K::NotCanonical);
        }
    }
}

#[test]
fn rejects_more_features_than_the_build_holds() {
    let bytes = changed(|content| {
        for _ in 0..3 {
            content.features.push(FeatureContent {
                name: String::new(),
                kind: Kind::Category { levels: 0 },
                levels: Vec::new(),
            });
            content.rows.extend([0.0; 16]);
        }
    });
    assert_eq!(refusal(&bytes).kind, K::TooManyFeatures { found: 5, capacity: FEATURES });
    assert!(Model::<5, EXPERTS>::load(bytes.as_slice()).is_ok());
}

#[test]
fn rejects_more_experts_than_the_build_holds() {
    let bytes = changed(|content| {
        content.experts = 5;
        content.bias = vec![0.0; stride(5)];
        content.rows = vec![0.0; 9 * stride(5)];
    });
    assert_eq!(refusal(&bytes).kind, K::TooManyExperts { found: 5, capacity: EXPERTS });
    assert!(Model::<2, 6>::load(bytes.as_slice()).is_ok());
    let bytes = redrafted(|draft| draft.description[0] = 65);
    let error = Model::<4, 128>::load(bytes.as_slice()).unwrap_err();
    assert_eq!(error.kind, K::TooManyExperts { found: 65, capacity: 64 });
}

#[test]
fn rejects_a_name_that_stands_twice() {
    let named = |names: [&str; 5]| {
        redrafted(|draft| {
            draft.flags = FLAG_NAMES;
            draft.sections = byte_string(&names.map(|name| byte_string(name.as_bytes())).concat());
        })
    };
    assert!(load(named(["yes", "age", "sex", "f", "m"]).as_slice()).is_ok());
    // The outcome, a feature and a level may share a name: each is looked up only among its own
    // kind.
    assert!(load(named(["f", "f", "m", "f", "m"]).as_slice()).is_ok());
    assert_eq!(refusal(&named(["yes", "age", "age", "f", "m"])).kind, K::DuplicateFeature);
    assert_eq!(refusal(&named(["yes", "age", "sex", "m", "m"])).kind, K::DuplicateLevel { feature: 1 });
}

#[test]
fn rejects_a_model_of_nothing() {
    assert_eq!(refusal(&redrafted(|draft| draft.description[0] = 0)).kind, K::Empty);
    let no_features = redrafted(|draft| *draft.description.last_mut().unwrap() = 0);
    assert_eq!(refusal(&no_features).kind, K::Empty);
}

#[test]
fn rejects_thresholds_outside_0_and_1() {
    for threshold in [0.0, -0.0, 1.0, -0.5, 1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bytes = changed(|content| content.threshold = threshold);
        assert_eq!(refusal(&bytes), LoadError { kind: K::ThresholdOutOfRange, at: HEADER_BYTES }, "{threshold}");
    }
}

#[test]
fn rejects_ranges_that_are_none() {
    use Transform::{Identity, Log1p};
    for (transform, low, high, centre) in [
        (Identity, 1.0, 0.5, 0.0),
        (Identity, f32::NAN, 1.0, 0.0),
        (Identity, 0.0, f32::NAN, 0.0),
        (Identity, f32::NEG_INFINITY, 1.0, 0.0),
        (Identity, 0.0, f32::INFINITY, 0.0),
        (Identity, 0.0, 1.0, f32::NAN),
        (Identity, 0.0, 1.0, f32::INFINITY),
        (Log1p, -1.0, 1.0, 0.0),
        (Log1p, -2.0, 1.0, 0.0),
    ] {
        let kind = Kind::Number { transform, low, high, centre, bins: 3 };
        let bytes = changed(|content| content.features[0].kind = kind);
        assert_eq!(refusal(&bytes), LoadError { kind: K::InvalidRange { feature: 0 }, at: first_kind() }, "{kind:?}");
    }
}

#[test]
fn rejects_more_bins_or_levels_than_the_format_allows() {
    let bins = MAX_BINS as u16 + 1;
    let number = Kind::Number { transform: Transform::Identity, low: 0.0, high: 1.0, centre: 0.0, bins };
    for (feature, kind) in [(0, number), (1, Kind::Category { levels: 65_534 }), (1, Kind::Category { levels: 65_535 })]
    {
        let bytes = changed(|content| content.features[feature].kind = kind);
        let at = first_kind() + if feature == 1 { 15 } else { 0 };
        assert_eq!(refusal(&bytes), LoadError { kind: K::InvalidShape { feature }, at });
    }
}

#[test]
fn rejects_edges_that_do_not_ascend() {
    for edges in [[1.5, 0.0], [1.5, 1.5], [0.0, -0.0]] {
        let bytes = changed(|content| content.edges = edges.to_vec());
        let at = bytes.as_slice().len() - 4 * edges.len();
        assert_eq!(refusal(&bytes), LoadError { kind: K::EdgesNotAscending { feature: 0 }, at });
    }
}

#[test]
fn rejects_too_few_and_too_many_weights() {
    let expected = 4 * (10 * stride(3) + 2);
    for (change, found) in [(-1_isize, expected - 4), (1, expected + 4)] {
        let bytes = redrafted(|draft| {
            let length = draft.values.len().checked_add_signed(4 * change).unwrap();
            draft.values.resize(length, 0);
        });
        assert_eq!(refusal(&bytes).kind, K::WrongWeightCount { found, expected });
    }
    let odd = redrafted(|draft| draft.values.push(0));
    assert_eq!(refusal(&odd).kind, K::WrongWeightCount { found: expected + 1, expected });
}

#[test]
fn rejects_values_that_are_not_finite_and_says_where() {
    let at = values_at(&redrafted(|_| {}));
    let count = 10 * stride(3) + 2;
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)] {
        for index in 0..count {
            let bytes = redrafted(|draft| draft.values[4 * index..][..4].copy_from_slice(&value.to_le_bytes()));
            assert_eq!(refusal(&bytes), LoadError { kind: K::NotFinite, at: at + 4 * index });
        }
    }
}

#[test]
fn rejects_padding_that_is_not_zero() {
    // Lanes 6 and 7 of each weight row; one value is negative zero.
    for row in 0..10 {
        for (lane, value) in [(6, 1.0_f32), (7, -0.0)] {
            let index = row * stride(3) + lane;
            let bytes = redrafted(|draft| draft.values[4 * index..][..4].copy_from_slice(&value.to_le_bytes()));
            let at = values_at(&bytes) + 4 * row * stride(3);
            assert_eq!(refusal(&bytes), LoadError { kind: K::PaddingNotZero, at });
        }
    }
    let mut met = false;
    for extra in 0..4 {
        let bytes = redrafted(|draft| {
            draft.flags = 1 << 15;
            draft.sections = byte_string(&vec![0; extra]);
            let unpadded = HEADER_BYTES + draft.description.len() + draft.kinds.len() + draft.sections.len() + 3;
            draft.padding = Some(vec![1; unpadded.next_multiple_of(4) - unpadded]);
        });
        if let Err(error) = load(bytes.as_slice()) {
            assert_eq!(error.kind, K::PaddingNotZero);
            met = true;
        }
    }
    assert!(met);
}

#[test]
fn rejects_logits_that_could_overflow() {
    let past = MAX_REACH.next_up();
    let range = |low, high, centre| Kind::Number { transform: Transform::Identity, low, high, centre, bins: 3 };
    for bytes in [
        changed(|content| content.bias[0] = past),
        changed(|content| content.rows[5 * stride(3)] = -past),
        // A linear weight row on a range of width 0: its scale is always 0, its dot products are
        // not.
        changed(|content| {
            content.features[0].kind = range(1.0, 1.0, 1.0);
            content.rows[0] = past;
        }),
        changed(|content| content.features[0].kind = range(0.0, 1e30, 0.0)),
        // Zero weights on an infinite scale: 0 * infinity.
        changed(|content| {
            content.features[0].kind = range(f32::MIN, 0.0, f32::MAX);
            content.rows[..stride(3)].fill(0.0);
        }),
    ] {
        assert_eq!(refusal(&bytes), LoadError { kind: K::LogitsTooLarge, at: values_at(&bytes) });
    }
    assert!(load(changed(|content| content.bias[0] = 0.5 * MAX_REACH).as_slice()).is_ok());
}

/// Loads arbitrary bytes. If they load, the model must score and explain all sorts of records.
/// Returns whether they load.
fn attack(bytes: &Bytes, draw: &mut Draw) -> bool {
    let Ok(model) = load(bytes.as_slice()) else { return false };
    let mut attribution = Attribution::new();
    let mut record = model.record();
    for _ in 0..6 {
        let kinds: Vec<Kind> = model.schema().features().iter().map(|feature| feature.kind()).collect();
        let cells: Vec<_> = kinds.iter().map(|kind| draw_cell(draw, *kind, &[])).collect();
        fill(&mut record, &cells).unwrap();
        let score = model.score(&record).unwrap();
        assert!((0.0..=1.0).contains(&score.probability), "{score:?}");
        assert!(score.gate.iter().chain(&score.expert_probabilities).all(|value| (0.0..=1.000_001).contains(value)));
        for method in [Method::Frozen, Method::Path] {
            explain_into(&model, &record, method, &mut attribution).unwrap();
            let Attribution { base_value, output, residual, values, gate_values, .. } = attribution;
            let all = values.iter().chain(&gate_values).chain([&base_value, &output, &residual]);
            assert!(all.into_iter().all(|value| value.is_finite()), "{attribution:?}");
        }
    }
    for row in 0..model.background_rows() {
        model.background_record(row, &mut record).unwrap();
        assert!((0.0..=1.0).contains(&model.score(&record).unwrap().probability));
    }
    for index in 0..FEATURES + 1 {
        let _ = (model.schema().feature_name(index), model.schema().level_names(index).count());
    }
    true
}

#[test]
fn survives_random_bytes() {
    let mut draw = Draw::new(11);
    for _ in 0..60_000 {
        let bytes: Vec<u8> = (0..draw.below(300)).map(|_| draw.bits() as u8).collect();
        assert!(!attack(&Bytes::new(&bytes), &mut draw));
        let flags = draw.one_of(&[0, 0, FLAG_NAMES, 0xff00]);
        attack(&seal(*b"FEAM", 1, flags, &bytes), &mut draw);
    }
}

/// Damaged payloads get a correct checksum, so that the decoder and the checks after it are
/// attacked.
#[test]
fn survives_damaged_payloads_under_a_right_checksum() {
    let mut draw = Draw::new(12);
    let mut loaded = 0;
    for round in 0..60_000_u64 {
        let with_names = round % 2 == 0;
        let recipe = Recipe { experts: 1 + draw.below(EXPERTS), features: 1 + draw.below(3), ..Recipe::any(round) };
        let mut content = if round % 4 < 2 { small() } else { recipe.content(round) };
        if round % 4 < 2 {
            content.background = background(&[(0.5, 1), (MISSING_NUMBER, 3)]);
        }
        let bytes = content.to_bytes(with_names);
        let flags = u16::from_le_bytes([bytes.as_slice()[6], bytes.as_slice()[7]]);
        let mut payload = bytes.as_slice()[HEADER_BYTES..].to_vec();
        for _ in 0..=draw.below(3) {
            let at = draw.below(payload.len());
            match draw.below(5) {
                0 => payload[at] ^= 1 << draw.below(8),
                1 => payload[at] = draw.one_of(&[0, 1, 0x7f, 0x80, 0xff]),
                2 => drop(payload.remove(at)),
                3 => payload.insert(at, draw.bits() as u8),
                _ => {
                    let end = (at + draw.below(40)).min(payload.len());
                    let to = draw.below(payload.len());
                    let part = payload[at..end].to_vec();
                    let end = (to + part.len()).min(payload.len());
                    payload.splice(to..end, part);
                }
            }
            if payload.is_empty() {
                break;
            }
        }
        loaded += usize::from(attack(&seal(*b"FEAM", 1, flags, &payload), &mut draw));
    }
    assert!(loaded > 1_000, "too few of the damaged blobs get past the reader to attack what follows: {loaded}");
}

/// Every place that holds a number takes the largest, smallest and oddest f32.
#[test]
fn survives_extreme_numbers() {
    const EXTREMES: [f32; 12] =
        [f32::MAX, f32::MIN, 1e38, -1e38, 1e30, -1e19, 1e-38, -1e-45, 0.0, -0.0, 127.5, -0.999_999_94];
    let mut draw = Draw::new(13);
    let mut loaded = 0;
    for round in 0..60_000_u64 {
        let mut content = if round % 2 == 0 {
            small()
        } else {
            Recipe { experts: 2, features: 3, ..Recipe::any(round) }.content(round)
        };
        for _ in 0..=draw.below(6) {
            let feature = draw.below(content.features.len());
            if let Kind::Number { low, high, centre, .. } = &mut content.features[feature].kind {
                match draw.below(4) {
                    0 => *low = draw.one_of(&EXTREMES),
                    1 => *high = draw.one_of(&EXTREMES),
                    2 => *centre = draw.one_of(&EXTREMES),
                    _ => {}
                }
            }
            let stride = stride(content.experts);
            let live = 2 * content.experts;
            let lane = draw.below(content.rows.len() / stride) * stride + draw.below(live);
            content.rows[lane] = draw.one_of(&EXTREMES);
            if draw.below(4) == 0 {
                content.bias[draw.below(live)] = draw.one_of(&EXTREMES);
            }
        }
        loaded += usize::from(attack(&content.to_bytes(false), &mut draw));
    }
    assert!(loaded > 1_000, "{loaded}");
}
