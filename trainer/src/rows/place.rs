//! Where the reading of a run is: enough to go on with later data, or to find the place in the same data again.

use serde::{Deserialize, Serialize};

use super::csv::digest::Digest;
use super::csv::passed::Passed;
use super::groups::{Attribute, Grouping};
use super::intersection::Intersection;
use super::seen::Seen;
use super::{Counts, Stream};
use crate::schema::Schema;

/// What a stream has come to. It starts empty, before the first stream of a run.
///
/// Between two streams it holds nothing of where the data came from but their hash. Within one it also holds which records were read since the
/// stream was opened, so that the same data, opened again, can be told from others and passed over as far as they were learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Empty before the first stream.
    pub(super) columns: Vec<String>,
    pub(super) counts: Counts,
    /// Per protected attribute, its groups and the values without one.
    pub(super) attributes: Vec<(Attribute, Seen)>,
    /// The groups of each intersection.
    pub(super) intersections: Vec<Attribute>,
    pub(super) other_targets: Seen,
    pub(super) implied_negatives: Seen,
    /// Of the bytes of all streams before this one.
    pub(super) digest: Digest,
    /// `None` between two streams.
    pub(super) within: Option<Within>,
}

/// What was read of a stream that is not at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Within {
    pub passed: Passed,
    /// Names of the files opened so far.
    pub files: Vec<String>,
    /// Of all bytes read so far: beyond the last record, as far as the reader was ahead.
    pub digest: Digest,
}

impl Place {
    /// Returns how many records of its files the stream had read and the names of those files, if it was not at its end.
    #[must_use]
    pub fn broke_off(&self) -> Option<(u64, String)> {
        self.within.as_ref().map(|within| (within.passed.records, within.files.join(", ")))
    }

    /// Returns whether a stored place can be one in data of this schema.
    pub(crate) fn is_sound(&self, schema: &Schema) -> bool {
        let groupings: Vec<Grouping> =
            schema.protected.iter().map(|protected| Grouping::new(protected, None)).collect();
        let intersections = schema.intersection.iter().map(|parts| Intersection::new(parts, &groupings).attribute);
        let new: Vec<Attribute> =
            groupings.iter().map(|grouping| grouping.attribute.clone()).chain(intersections).collect();
        let stored = self.attributes.iter().map(|(attribute, _)| attribute).chain(&self.intersections);
        self.digest.is_sound()
            && (self.attributes.len(), self.intersections.len()) == (schema.protected.len(), schema.intersection.len())
            && new.iter().zip(stored).all(|(new, stored)| new.can_become(stored))
            && self.within.as_ref().is_none_or(|within| {
                within.digest.is_sound() && within.passed.records <= self.counts.read && !within.files.is_empty()
            })
    }

    /// Returns the number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }
}

/// How to go on with a stream that broke off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GoOn {
    /// The inputs are the same from the first on: what was read of them is passed over, once it is known to be the same.
    #[default]
    Same,
    /// The inputs are what follows the last record that was read.
    Rest,
}

impl Stream {
    /// Returns where the stream is: what [`Stream::resume`] needs.
    #[must_use]
    pub fn place(&self) -> Place {
        let digest = self.records.digest();
        let (digest, within) = match self.records.passed() {
            Some(passed) => {
                (self.opened.clone(), Some(Within { passed, files: self.records.file_names().to_vec(), digest }))
            }
            None => (digest, None),
        };
        Place {
            columns: self.columns().to_vec(),
            counts: self.counts,
            attributes: self.groupings.iter().map(Grouping::known).collect(),
            intersections: self.intersections.iter().map(|intersection| intersection.attribute.clone()).collect(),
            other_targets: self.other_targets.clone(),
            implied_negatives: self.implied_negatives.clone(),
            digest,
            within,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows::Use;

    #[test]
    fn groups_that_the_schema_does_not_have_are_no_place_in_its_data() {
        let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"s\"\nprivileged = [\"m\"]\n\
                      [[protected]]\ncolumn = \"r\"\nprivileged = [\"w\"]\nunprivileged = [\"b\"]\n[[intersection]]\ncolumns = [\"s\", \"r\"]\n";
        let schema = Schema::from_toml("s.toml", schema).unwrap();
        let text = "s,r,y\nm,w,1\nf,b,0\n";
        let mut stream = Stream::from_reader("f.csv", text.as_bytes(), &schema, Use::Learn).unwrap();
        while stream.next_row().unwrap().is_some() {}
        let place = stream.place();
        assert!(place.is_sound(&schema));
        let refused = |change: &dyn Fn(&mut Place)| {
            let mut other = place.clone();
            change(&mut other);
            !other.is_sound(&schema)
        };
        // Without groups there is none to count the first row in.
        let nothing = || {
            serde_json::from_str(r#"{"column":"s","privileged":["m"],"groups":[],"rows":[],"unknown":0,"open":true}"#)
                .unwrap()
        };
        assert!(refused(&|place| place.attributes[0].0 = nothing()));
        assert!(refused(&|place| place.intersections[0] = nothing()));
        assert!(refused(&|place| place.attributes.swap(0, 1)));
        assert!(refused(&|place| place.attributes.truncate(1)));
        assert!(refused(&|place| place.intersections.clear()));
    }
}
