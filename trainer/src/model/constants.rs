//! Constants of a model for firmware: indices of features and codes of levels, so that firmware
//! sets records without names, and values to check the model against.
//!
//! The C header also holds the blob, as an aligned array. Identifiers are ASCII, whatever the names
//! are: a run of characters other than letters and digits becomes one underscore, a character
//! outside ASCII becomes its code point (`ü` is `U00FC`), and names with the same identifier get
//! their number appended.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use feamoe_engine::Schema;
use feamoe_engine::format::{Blob, Weights};

/// The language of the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C99 and later, and C++: one header.
    C,
    /// Rust: a module, next to the model's file.
    Rust,
}

/// Why constants cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstantsError {
    /// There are no names for the constants.
    #[error("the model has no names for the constants; make them from the model that it was exported from")]
    NamesStripped,
}

/// The names of the constants, in the order of indices and codes.
struct Names<'a> {
    features: Vec<Named<'a>>,
    /// A list for each feature, empty for a number.
    levels: Vec<Vec<Named<'a>>>,
}

/// A name and the identifier made from it, which is unique among its kind.
struct Named<'a> {
    name: &'a str,
    identifier: String,
}

/// Writes the constants of a model. `schema` provides the names. `copy` is the blob of the same
/// features that the device gets, with float or integer weights; it provides the identity. C
/// constants start with `stem`, the name of the file without its extension.
///
/// # Errors
/// [`ConstantsError::NamesStripped`].
pub fn constants(
    language: Language,
    stem: &str,
    schema: Schema<'_>,
    copy: &Blob<'_>,
) -> Result<String, ConstantsError> {
    let names: Option<Vec<&str>> =
        (0..schema.features().len()).map(|index| schema.feature_name(index)).collect::<Option<_>>();
    let features = distinct(names.ok_or(ConstantsError::NamesStripped)?);
    let levels = (0..features.len()).map(|index| distinct(schema.level_names(index).collect())).collect();
    let names = Names { features, levels };
    Ok(match language {
        Language::C => c(stem, &names, copy),
        Language::Rust => rust(&names, copy),
    })
}

fn c(stem: &str, names: &Names<'_>, model: &Blob<'_>) -> String {
    let mut prefix = identifier(stem);
    // The prefix of feamoe.h is reserved, and an identifier cannot start with a digit.
    if prefix.starts_with("FEAMOE") || !prefix.starts_with(|first: char| first.is_ascii_alphabetic()) {
        prefix = format!("MODEL_{prefix}");
    }
    let array = prefix.to_lowercase();
    let (crc32, threshold, blob) = (model.crc32(), model.description().threshold, model.bytes());
    let bytes = blob.len();
    let (features, experts) = (names.features.len(), model.experts());
    let mut text = format!(
        "/* The model {crc32:08x} and its constants. Made by `feamoe export --constants c`: do not edit. */\n\
         #ifndef {prefix}_CONSTANTS_H\n#define {prefix}_CONSTANTS_H\n\n\
         /* feamoe_info.crc32 of the model: another value, another model, whose indices and codes may differ. */\n\
         #define {prefix}_CRC32 0x{crc32:08x}u\n\
         #define {prefix}_THRESHOLD {threshold:?}f\n\
         #define {prefix}_FEATURES {features}\n\
         #define {prefix}_EXPERTS {experts}\n\n\
         #if defined(FEAMOE_H) && (FEAMOE_FEATURES < {prefix}_FEATURES || FEAMOE_EXPERTS < {prefix}_EXPERTS)\n\
         #error \"the model needs more than this feamoe.h allows: raise FEAMOE_FEATURES and FEAMOE_EXPERTS of the library\"\n\
         #endif\n"
    );
    let features = names.features.iter().map(|named| (format!("{prefix}_FEATURE_{}", named.identifier), named.name));
    enumerate(&mut text, "Indices of features.", features.collect());
    // All levels share one set of names, because those of different features may coincide.
    let mut taken = HashSet::new();
    for (feature, levels) in names.features.iter().zip(&names.levels).filter(|(_, levels)| !levels.is_empty()) {
        let codes = levels.iter().map(|named| {
            let wanted = format!("{prefix}_LEVEL_{}_{}", feature.identifier, named.identifier);
            (take(&mut taken, wanted), named.name)
        });
        enumerate(&mut text, &format!("Codes of the levels of {}.", quoted(feature.name)), codes.collect());
    }
    let _ = write!(
        text,
        "\n/* The model's file, at a multiple of 4. */\n#define {prefix}_BLOB_BYTES {bytes}\n\
         #if defined(__cplusplus) && __cplusplus >= 201103L\nalignas(4)\n\
         #elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L\n_Alignas(4)\n\
         #else\n__attribute__((aligned(4)))\n#endif\n\
         static const unsigned char {array}_blob[{prefix}_BLOB_BYTES] = {{\n"
    );
    for line in blob.chunks(24) {
        for byte in line {
            let _ = write!(text, "0x{byte:02x},");
        }
        text.push('\n');
    }
    // Removes the comma after the last byte, as C++98 requires in the enumerations above.
    text.truncate(text.len() - 2);
    text + "\n};\n\n#endif\n"
}

/// Writes a C enumeration: identifiers, numbered from 0, with the names they are made from.
fn enumerate(text: &mut String, what: &str, entries: Vec<(String, &str)>) {
    let _ = write!(text, "\n/* {what} */\nenum {{\n");
    let last = entries.len() - 1;
    for (number, (identifier, name)) in entries.into_iter().enumerate() {
        // C++98 does not allow a comma after the last entry.
        let comma = if number < last { "," } else { "" };
        let _ = writeln!(text, "    {identifier} = {number}{comma} /* {} */", quoted(name));
    }
    text.push_str("};\n");
}

fn rust(names: &Names<'_>, model: &Blob<'_>) -> String {
    let (crc32, threshold, features) = (model.crc32(), model.description().threshold, names.features.len());
    let device = match model.weights() {
        Weights::F32(_) => "feamoe_engine::Model",
        Weights::I16(_) | Weights::I8(_) => "feamoe_engine::integer::Model",
    };
    let experts = model.experts().next_multiple_of(2);
    let mut text = format!(
        "// Constants of the model {crc32:08x}. Made by `feamoe export --constants rust`: do not edit.\n\
         //\n\
         // The model itself is what `feamoe export` writes with the same options but for --constants:\n\
         //     static MODEL: &[u8] = feamoe_engine::include_model!(\"model.feamoe\");\n\
         //     let model = Device::load(MODEL)?; // then check: model.crc32() == CRC32\n\n\
         /// Features of the model.\n\
         #[allow(dead_code)]\npub const FEATURES: usize = {features};\n\
         /// Experts that hold the model's: an even number.\n\
         #[allow(dead_code)]\npub const EXPERTS: usize = {experts};\n\
         /// The model, with no more room than it needs.\n\
         #[allow(dead_code)]\npub type Device<'a> = {device}<'a, FEATURES, EXPERTS>;\n\
         /// Of the model: another value, another model, whose indices and codes may differ.\n\
         #[allow(dead_code)]\npub const CRC32: u32 = 0x{crc32:08x};\n\
         /// Scores from here on are decided favourably.\n\
         #[allow(dead_code)]\npub const THRESHOLD: f32 = {threshold:?};\n\n\
         /// Indices of features.\n#[allow(dead_code, missing_docs)]\npub mod feature {{\n    use feamoe_engine::FeatureIndex;\n"
    );
    for (index, named) in names.features.iter().enumerate() {
        let (name, constant) = (quoted(named.name), constant(&named.identifier));
        let _ = writeln!(text, "    // {name}\n    pub const {constant}: FeatureIndex = FeatureIndex({index});");
    }
    text.push_str("}\n");
    for (feature, levels) in names.features.iter().zip(&names.levels).filter(|(_, levels)| !levels.is_empty()) {
        let (name, module) = (quoted(feature.name), feature.identifier.to_lowercase());
        let _ = write!(
            text,
            "\n// Codes of the levels of {name}.\n#[allow(dead_code, missing_docs)]\npub mod level_{module} {{\n"
        );
        for (code, named) in levels.iter().enumerate() {
            let (name, constant) = (quoted(named.name), constant(&named.identifier));
            let _ = writeln!(text, "    // {name}\n    pub const {constant}: u16 = {code};");
        }
        text.push_str("}\n");
    }
    text
}

/// Returns the names with unique identifiers. Names with the same identifier all get their number
/// appended, so that none is mistaken for the only one.
fn distinct(names: Vec<&str>) -> Vec<Named<'_>> {
    let wanted: Vec<String> = names.iter().map(|name| identifier(name)).collect();
    let mut count = HashMap::new();
    for identifier in &wanted {
        *count.entry(identifier.as_str()).or_insert(0) += 1;
    }
    let is_only = |identifier: &str| !identifier.is_empty() && count[identifier] == 1;
    let mut taken: HashSet<String> = wanted.iter().filter(|identifier| is_only(identifier)).cloned().collect();
    let named = names.into_iter().zip(&wanted).enumerate().map(|(number, (name, wanted))| Named {
        name,
        identifier: match wanted.as_str() {
            only if is_only(only) => only.to_owned(),
            "" => take(&mut taken, number.to_string()),
            shared => take(&mut taken, format!("{shared}_{number}")),
        },
    });
    named.collect()
}

/// Takes an identifier, lengthened if it is already taken.
fn take(taken: &mut HashSet<String>, mut identifier: String) -> String {
    while !taken.insert(identifier.clone()) {
        identifier.push('_');
    }
    identifier
}

/// Returns capital letters and digits, separated by single underscores; empty if the name has
/// neither letters nor digits.
fn identifier(name: &str) -> String {
    let mut spaced = String::new();
    for character in name.chars() {
        if character.is_ascii() {
            spaced.push(if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { ' ' });
        } else {
            let _ = write!(spaced, " U{:04X} ", u32::from(character));
        }
    }
    spaced.split_ascii_whitespace().collect::<Vec<_>>().join("_")
}

/// Returns a Rust constant: an identifier cannot start with a digit.
fn constant(identifier: &str) -> String {
    let underscore = if identifier.starts_with(|first: char| first.is_ascii_digit()) { "_" } else { "" };
    format!("{underscore}{identifier}")
}

/// Returns a name in a form that is safe in a comment of either language: in quotes, without
/// invisible characters, and without anything that begins or ends a comment.
fn quoted(name: &str) -> String {
    let mut text = format!("{name:?}");
    for pair in ["*/", "/*", "??"] {
        // Twice, because pairs may overlap.
        for _ in 0..2 {
            text = text.replace(pair, &format!("{} {}", &pair[..1], &pair[1..]));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_valid_and_their_own() {
        let names = ["a b", "a-b", "A_B", "", "?", "50K", "<=50K", "Prüfung", "type", "a b 0", "0"];
        let found: Vec<_> = distinct(names.to_vec()).into_iter().map(|named| named.identifier).collect();
        let expected = ["A_B_0_", "A_B_1", "A_B_2", "3", "4", "50K_5", "50K_6", "PR_U00FC_FUNG", "TYPE", "A_B_0", "0"];
        assert_eq!(found, expected);
    }

    #[test]
    fn comments_stay_comments() {
        let name = "a */ b /* c // d /*/ ??/ ???/ \\\n\u{202e}\u{7} ü";
        let text = quoted(name);
        for pair in ["*/", "/*", "??", "\n", "\u{202e}", "\u{7}"] {
            assert!(!text.contains(pair), "{pair:?} in {text}");
        }
        assert!(text.contains('ü'));
    }
}
