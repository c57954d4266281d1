//! The places of several runs combined: their groups united by name, their counts added up.

use super::digest::Digest;
use super::groups::{Attribute, NO_GROUP};
use super::place::{Place, Reading};

/// Maps each group of a part to its group in the union, by attribute. Intersections come after the
/// protected columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupMap(Vec<Vec<u8>>);

impl GroupMap {
    /// Returns the group in the union.
    pub(crate) fn of(&self, attribute: usize, group: usize) -> Option<usize> {
        self.0.get(attribute)?.get(group).map(|group| usize::from(*group))
    }

    /// Replaces the groups of a row by their ids in the union.
    pub(crate) fn apply(&self, groups: &mut [u8]) {
        for (attribute, group) in groups.iter_mut().enumerate().filter(|(_, group)| **group != NO_GROUP) {
            let united = self.of(attribute, usize::from(*group)).and_then(|group| u8::try_from(group).ok());
            *group = united.unwrap_or(NO_GROUP);
        }
    }

    /// Returns values by group in the order of the union. Groups without a value get the default.
    pub(crate) fn spread<T: Clone + Default>(&self, attribute: usize, values: &[T]) -> Vec<T> {
        let mut spread = Vec::new();
        for (group, value) in values.iter().enumerate() {
            let Some(group) = self.of(attribute, group) else { continue };
            if spread.len() <= group {
                spread.resize(group + 1, T::default());
            }
            if let Some(place) = spread.get_mut(group) {
                place.clone_from(value);
            }
        }
        spread
    }
}

/// Why places cannot be united.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoUnion {
    /// This attribute has too many groups.
    Groups(String),
    /// The runs count different labels as the other outcome.
    Labels,
}

impl Place {
    /// Returns the place of all runs together, as if each had followed the previous one, and the
    /// map of each run's groups. The runs must have the same schema and columns. The hash of the
    /// data is the hash of their hashes, in order.
    pub(crate) fn unite(places: &[&Self]) -> Result<(Self, Vec<GroupMap>), NoUnion> {
        let Some((first, others)) = places.split_first() else { return Ok(Default::default()) };
        let mut united = (*first).clone();
        united.reading = Reading::default();
        let own = |attribute: &Attribute| (0..NO_GROUP).take(attribute.groups().len()).collect();
        let mut maps = vec![GroupMap(first.every_attribute().map(own).collect())];
        for other in others {
            united.counts.add(&other.counts);
            united.other_targets.merge(&other.other_targets);
            united.implied_negatives.merge(&other.implied_negatives);
            let into = united.attributes.iter_mut().chain(&mut united.intersections);
            let map = into
                .zip(other.every_attribute())
                .map(|(into, from)| into.unite(from).ok_or_else(|| NoUnion::Groups(into.column().to_owned())));
            maps.push(GroupMap(map.collect::<Result<_, _>>()?));
        }
        if united.implied_negatives.values().nth(1).is_some() {
            return Err(NoUnion::Labels);
        }
        let mut digest = Digest::default();
        for place in places {
            digest.update(&place.reading.digest().finish());
            united.reading.beginnings.extend_from_slice(&place.reading.beginnings);
        }
        united.reading.digest = digest;
        Ok((united, maps))
    }

    /// Returns whether a file of this reading and a file of the other began with the same records.
    pub(crate) fn begins_as(&self, other: &Self) -> bool {
        let mut known = self.reading.beginnings.iter().filter(|beginning| beginning.records > 0);
        known.any(|beginning| other.reading.beginnings.contains(beginning))
    }

    /// Returns whether a file read since an earlier place began with the same records as a file
    /// before it.
    pub(crate) fn begins_again(&self, earlier: &Self) -> bool {
        let known = &earlier.reading.beginnings;
        // The oldest beginnings are dropped if there are many. The last one is always newer.
        let newer = known.len().min(self.reading.beginnings.len().saturating_sub(1));
        let mut newer = self.reading.beginnings.iter().skip(newer);
        newer.any(|beginning| beginning.records > 0 && known.contains(beginning))
    }

    /// Returns the protected attributes, then the intersections.
    pub(crate) fn every_attribute(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().chain(&self.intersections)
    }
}
