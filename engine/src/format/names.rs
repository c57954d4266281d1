//! The names section: the name of the favourable outcome, then each feature's name followed by the
//! names of its levels, all as strings. Feature names differ from each other, and so do the level
//! names of one feature.

use super::{Kinds, Reader};
use crate::error::{LoadError, LoadErrorKind};
use crate::frame::FrameError;
use crate::invariant::certain;
use crate::limits::IS_DEVICE;

/// The strings of the names section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    bytes: &'a [u8],
}

impl<'a> Names<'a> {
    /// Checks that the section has exactly the strings that the features need, and no name twice.
    /// Error offsets are relative to the start of the section. Cost: one pass over the bytes, and
    /// one more for every 32 names on a device, for every 4,096 elsewhere.
    pub fn new(bytes: &'a [u8], kinds: Kinds<'a>) -> Result<Self, LoadError> {
        let mut reader = Reader { blob: bytes, at: 0 };
        reader.string()?;
        let feature_names = Walk { reader: reader.clone(), kinds: Some(kinds.clone()) };
        for (feature, kind) in kinds.clone().enumerate() {
            reader.string()?;
            let levels = Walk { reader: reader.clone(), kinds: None };
            for _ in 0..kind.levels() {
                reader.string()?;
            }
            if !are_distinct(&levels, kind.levels().into()) {
                return Err(reader.error(LoadErrorKind::DuplicateLevel { feature }));
            }
        }
        if reader.at != bytes.len() {
            let trailing = FrameError::TrailingBytes { found: bytes.len(), expected: reader.at };
            return Err(reader.error(LoadErrorKind::Frame(trailing)));
        }
        if are_distinct(&feature_names, kinds.left.into()) {
            Ok(Self { bytes })
        } else {
            Err(reader.error(LoadErrorKind::DuplicateFeature))
        }
    }

    /// Returns the strings from byte `at` on.
    pub fn strings(&self, at: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader { blob: self.bytes, at };
        core::iter::from_fn(move || reader.string().ok())
    }

    /// Returns the offset of each feature's name in the section, in the order of the features.
    pub fn feature_offsets(&self, kinds: Kinds<'a>) -> impl Iterator<Item = u32> {
        let mut walk = Walk { reader: Reader { blob: self.bytes, at: 0 }, kinds: None };
        _ = walk.next();
        walk.kinds = Some(kinds);
        core::iter::from_fn(move || {
            // A section is shorter than its blob, whose length fits a u32.
            #[allow(clippy::cast_possible_truncation)]
            let at = walk.reader.at as u32;
            walk.next().map(|_| at)
        })
    }
}

/// An iterator over checked names: all of them or, with the kinds of the features, those of the
/// features.
#[derive(Clone)]
struct Walk<'a> {
    reader: Reader<'a>,
    kinds: Option<Kinds<'a>>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a [u8];

    #[inline(never)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let levels = match &mut self.kinds {
            Some(kinds) => kinds.next()?.levels(),
            None => 0,
        };
        let name = self.reader.bytes().ok()?;
        (0..levels).try_for_each(|_| self.reader.bytes().ok().map(|_| ()))?;
        Some(name)
    }
}

/// The number of slots of the hash table, which is on the stack; a slot has 8 bytes.
const SLOTS: usize = if IS_DEVICE { 64 } else { 8192 };

/// Returns whether the first `count` names differ.
///
/// Since there is no memory for all names, they are compared in groups by their hashes: each pass
/// puts the names of one group into a small table. Two names count as equal if their 64-bit hashes
/// are equal. Distinct names of a real model collide with a probability below 1e-9, and the
/// exporter, which loads what it writes, would report it.
#[inline(never)]
fn are_distinct(names: &Walk<'_>, count: usize) -> bool {
    if count < 2 {
        return true;
    }
    // A group fills half the table on average. If one overflows nevertheless, the names were
    // crafted, and more groups are used.
    let mut groups = count.div_ceil(SLOTS / 2).next_power_of_two() as u64;
    loop {
        let sorted = (0..groups).try_for_each(|group| {
            let in_group = |hash: &u64| hash & groups.wrapping_sub(1) == group;
            insert_all(names.clone().take(count).map(hash).filter(in_group))
        });
        match sorted {
            Ok(()) => return true,
            Err(Insert::Full) if groups >> 32 == 0 => groups <<= 8,
            Err(_) => return false,
        }
    }
}

/// Why a hash was not inserted.
enum Insert {
    Twice,
    Full,
}

/// Inserts hashes into an empty table by linear probing, starting from the upper bits, since the
/// lower bits are the same within a group.
#[inline(always)]
fn insert_all(hashes: impl Iterator<Item = u64>) -> Result<(), Insert> {
    let mut table = [0_u64; SLOTS];
    for hash in hashes {
        let (mut at, mut probes) = ((hash >> 40) as usize, 0_usize);
        loop {
            let slot = certain!(table.get_mut(at % SLOTS), return Err(Insert::Full));
            if *slot == hash {
                return Err(Insert::Twice);
            }
            if *slot == 0 {
                *slot = hash;
                break;
            }
            (at, probes) = (at.wrapping_add(1), probes.wrapping_add(1));
            if probes == SLOTS {
                return Err(Insert::Full);
            }
        }
    }
    Ok(())
}

/// Returns the hash of a name, never 0: 64-bit FNV-1a, mixed so that every bit depends on every
/// byte.
fn hash(name: &[u8]) -> u64 {
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = mixed ^ mixed >> 29;
    if mixed == 0 { 1 } else { mixed }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    fn distinct(names: &[String]) -> bool {
        let mut bytes = Vec::new();
        for name in names {
            bytes.push(name.len() as u8);
            bytes.extend(name.as_bytes());
        }
        are_distinct(&Walk { reader: Reader { blob: &bytes, at: 0 }, kinds: None }, names.len())
    }

    /// Compared with sorting, for counts around the table's size, with one name repeated anywhere
    /// or none.
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
