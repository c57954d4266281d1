//! The names section: the name of the favourable outcome, then each feature's name followed by the names of its
//! levels, all as strings. Feature names differ from each other, and so do the level names of one feature.

use super::Reader;
use super::kind::Kind;
use crate::error::{LoadError, LoadErrorKind};
use crate::frame::FrameError;
use crate::limits::IS_DEVICE;

/// The strings of the names section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    bytes: &'a [u8],
}

impl<'a> Names<'a> {
    /// Checks that the section holds exactly the strings that the features need, and no name twice. Errors are placed
    /// from the section's start. Cost: one pass over the bytes, one more for every 32 names on a device, for every
    /// 4,096 elsewhere.
    pub fn new(bytes: &'a [u8], kinds: impl Iterator<Item = Kind> + Clone) -> Result<Self, LoadError> {
        let mut reader = Reader { blob: bytes, at: 0 };
        reader.string()?;
        let names = Self { bytes };
        let (features_at, mut features) = (reader.at, 0_usize);
        for (feature, kind) in kinds.clone().enumerate() {
            let at = reader.at;
            reader.string()?;
            let levels_at = reader.at;
            for _ in 0..kind.levels() {
                reader.string()?;
            }
            features = features.wrapping_add(1);
            let levels = || {
                let mut reader = Reader { blob: bytes, at: levels_at };
                (0..kind.levels()).map_while(move |_| reader.bytes().ok())
            };
            if !are_distinct(usize::from(kind.levels()), levels) {
                return Err(LoadError { kind: LoadErrorKind::DuplicateLevel { feature }, at });
            }
        }
        if reader.at != bytes.len() {
            let trailing = FrameError::TrailingBytes { found: bytes.len(), expected: reader.at };
            return Err(reader.error(LoadErrorKind::Frame(trailing)));
        }
        let feature_names = || {
            let (mut reader, mut kinds) = (Reader { blob: bytes, at: features_at }, kinds.clone());
            core::iter::from_fn(move || {
                let (kind, name) = (kinds.next()?, reader.bytes().ok()?);
                (0..kind.levels()).try_for_each(|_| reader.bytes().ok().map(|_| ()))?;
                Some(name)
            })
        };
        if are_distinct(features, feature_names) {
            Ok(names)
        } else {
            Err(LoadError { kind: LoadErrorKind::DuplicateFeature, at: features_at })
        }
    }

    /// Returns the strings from byte `at` on.
    pub fn strings(&self, at: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader { blob: self.bytes, at };
        core::iter::from_fn(move || reader.string().ok())
    }

    /// Returns where each feature's name lies in the section, in the order of the features.
    pub fn feature_offsets(&self, kinds: impl Iterator<Item = Kind>) -> impl Iterator<Item = u32> {
        let mut reader = Reader { blob: self.bytes, at: 0 };
        let mut to_pass = 1_usize;
        kinds.map(move |kind| {
            (0..to_pass).for_each(|_| _ = reader.bytes());
            to_pass = usize::from(kind.levels()).wrapping_add(1);
            // A section is shorter than a blob, whose length fits a u32.
            #[allow(clippy::cast_possible_truncation)]
            let at = reader.at as u32;
            at
        })
    }
}

/// Slots of the hash table: of 8 bytes, on the stack.
const SLOTS: usize = if IS_DEVICE { 64 } else { 8192 };

/// Returns whether all names differ. `count`: their number; `names` starts over at each call.
///
/// Without memory for all of them, the names are compared in groups by their hash: each pass puts those of one group
/// into a small table. Two names count as equal where 64 bits of their hashes are: distinct names of a real model
/// collide with a chance below 1e-9, and the exporter, which loads what it writes, would say so.
fn are_distinct<'a, N: Iterator<Item = &'a [u8]>>(count: usize, names: impl Fn() -> N) -> bool {
    if count < 2 {
        return true;
    }
    // Groups of half the table on average. One that overflows it all the same was made to: more groups then.
    let mut groups = count.div_ceil(SLOTS / 2).next_power_of_two() as u64;
    'grouped: loop {
        for group in 0..groups {
            let mut table = [0_u64; SLOTS];
            let mut free = SLOTS;
            for hash in names().map(hash).filter(|hash| hash & groups.wrapping_sub(1) == group) {
                // From the upper bits: the lower ones are the group's.
                let start = (hash >> 40) as usize % SLOTS;
                let (before, from) = table.split_at_mut_checked(start).unwrap_or_default();
                let slot = from.iter_mut().chain(before).find(|slot| **slot == 0 || **slot == hash);
                match slot {
                    Some(slot) if *slot == 0 && free > 1 => {
                        *slot = hash;
                        free = free.wrapping_sub(1);
                    }
                    Some(slot) if *slot == hash => return false,
                    _ if groups >> 32 != 0 => return false,
                    _ => {
                        groups <<= 8;
                        continue 'grouped;
                    }
                }
            }
        }
        return true;
    }
}

/// Returns a hash of a name, never 0: FNV-1a of 64 bits, then mixed so that every bit of it depends on every byte.
fn hash(name: &[u8]) -> u64 {
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = mixed ^ mixed >> 29;
    if mixed == 0 { 1 } else { mixed }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    fn distinct(names: &[String]) -> bool {
        are_distinct(names.len(), || names.iter().map(String::as_bytes))
    }

    /// Against sorting, for counts around the table's size, with one name repeated anywhere or none.
    #[test]
    fn one_name_twice_is_found_wherever_it_stands() {
        let mut rng = rand_pcg::Pcg64Mcg::new(7);
        let mut draw = |below: usize| rand_pcg::rand_core::RngCore::next_u64(&mut rng) as usize % below;
        for count in [2, 3, 60, 64, 65, 1000, 4096, 8193, 40_000] {
            for _ in 0..20 {
                let mut names: Vec<String> = (0..count).map(|n| format!("level {n}")).collect();
                assert!(distinct(&names), "{count}");
                let (from, to) = (draw(count), draw(count));
                if from == to {
                    continue;
                }
                names[to] = names[from].clone();
                assert!(!distinct(&names), "{count}: {from} at {to}");
            }
        }
    }
}
