//! The position of a run in its data: enough to continue with later data, or to find the same
//! record again in the same data.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::groups::{Attribute, Grouping};
use super::intersection::Intersection;
use super::passed::Passed;
use super::seen::Seen;
use super::{Admission, Counts, Use};
use crate::error::Error;
use crate::schema::Schema;

/// The state of a run's reading. It starts empty, before the first record.
///
/// Between two sources it holds only hashes of the earlier data. Within a source, the state also
/// describes the records read since it was opened, so that the same data, opened again, can be
/// recognised and the records already learned from skipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Empty before the first record.
    pub(super) columns: Vec<String>,
    pub(super) counts: Counts,
    /// The groups of each protected attribute.
    pub(super) attributes: Vec<Attribute>,
    /// The groups of each intersection.
    pub(super) intersections: Vec<Attribute>,
    pub(super) other_targets: Seen,
    pub(super) implied_negatives: Seen,
    pub(crate) reading: Reading,
}

/// The position in the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Digest of all sources before this one.
    pub digest: Digest,
    /// `None` between two sources.
    pub within: Option<Within>,
    /// Describes the first records of every file, to recognise a file that is given again. The last
    /// entry is the current file.
    pub beginnings: Vec<Passed>,
}

/// The part read of a source that is not at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Within {
    pub passed: Passed,
    /// Names of the files opened so far, without their folders.
    pub files: Vec<String>,
    /// Digest of all bytes read so far. It may reach beyond the last record, because the reader
    /// reads ahead.
    pub digest: Digest,
}

impl Reading {
    /// Returns the digest of all that was read.
    pub(crate) fn digest(&self) -> Digest {
        self.within.as_ref().map_or(&self.digest, |within| &within.digest).clone()
    }

    /// Returns the names of the files of the current source; `None` between two sources.
    pub(crate) fn files(&self) -> Option<String> {
        self.within.as_ref().map(|within| within.files.join(", "))
    }
}

impl Place {
    /// Returns the number of records read and the names of the files, if reading stopped within a
    /// source.
    #[must_use]
    pub fn stopped_within(&self) -> Option<(u64, String)> {
        self.reading.within.as_ref().map(|within| (within.passed.records, within.files.join(", ")))
    }

    /// Returns whether a stored place is valid for data of this schema.
    pub(crate) fn is_sound(&self, schema: &Schema) -> bool {
        let groupings: Vec<Grouping> = schema.protected.iter().map(|protected| Grouping::new(protected, &[])).collect();
        let intersections = schema.intersection.iter().map(|parts| Intersection::new(parts, &groupings).attribute);
        let new: Vec<Attribute> =
            groupings.iter().map(|grouping| grouping.attribute.clone()).chain(intersections).collect();
        let stored = self.attributes.iter().chain(&self.intersections);
        (self.attributes.len(), self.intersections.len()) == (schema.protected.len(), schema.intersection.len())
            && new.iter().zip(stored).all(|(new, stored)| new.can_become(stored))
            && self
                .reading
                .within
                .as_ref()
                .is_none_or(|within| within.passed.records <= self.counts.read && !within.files.is_empty())
    }

    /// Returns what happened to the records.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the labels of rows that were left out because they have neither outcome.
    pub(crate) fn other_labels(&self) -> &Seen {
        &self.other_targets
    }

    /// Checks that at least one row was used, and that at least one group of each protected column
    /// occurred. `files` stands for the data in messages.
    ///
    /// # Errors
    /// [`Error::NoUsableRows`], [`Error::AbsentGroup`].
    pub(crate) fn check_rows(&self, schema: &Schema, files: &str) -> Result<(), Error> {
        let mut admission = Admission::new(&self.columns.clone().into(), files, schema, Use::Learn)?;
        admission.resume(self, ResumeFrom::Rest);
        admission.earlier = Counts::default();
        admission.check_rows(files)?;
        admission.check_any_group(files)
    }

    /// Returns the column names.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }
}

/// How to resume a reading that stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResumeFrom {
    /// If reading stopped within a source, the inputs must be the same ones, from the first on: the
    /// records read before are checked and skipped. Otherwise the inputs must be newer data, not
    /// the data that the run began with.
    #[default]
    Same,
    /// The inputs follow the last record that was read.
    Rest,
    /// Like `Same`, except that after the end of a source the inputs may begin with records that
    /// were learned from before.
    Again,
}

impl Admission {
    /// Returns its state together with that of the reading, as [`Admission::resume`] needs it.
    pub(crate) fn place(&self, reading: Reading) -> Place {
        Place {
            columns: self.columns.to_vec(),
            counts: self.counts,
            attributes: self.groupings.iter().map(|grouping| grouping.attribute.clone()).collect(),
            intersections: self.intersections.iter().map(|intersection| intersection.attribute.clone()).collect(),
            other_targets: self.other_targets.clone(),
            implied_negatives: self.implied_negatives.clone(),
            reading,
        }
    }

    /// Resumes from the place of an earlier run with the same schema. `resume_from` says how the
    /// inputs relate to the data read before.
    pub(crate) fn resume(&mut self, place: &Place, resume_from: ResumeFrom) {
        let reads_again = place.reading.within.is_some() && resume_from != ResumeFrom::Rest;
        self.counts = place.counts;
        // Records that are read again were counted as this source's own.
        self.earlier = if reads_again { Counts::default() } else { place.counts };
        self.other_targets = place.other_targets.clone();
        self.implied_negatives = place.implied_negatives.clone();
        for (grouping, earlier) in self.groupings.iter_mut().zip(&place.attributes) {
            grouping.resume(earlier);
        }
        for (intersection, earlier) in self.intersections.iter_mut().zip(&place.intersections) {
            intersection.attribute = earlier.clone();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows::{Records, Source};

    #[test]
    fn groups_that_the_schema_does_not_have_are_no_place_in_its_data() {
        let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"s\"\nprivileged = [\"m\"]\n\
                      [[protected]]\ncolumn = \"r\"\nprivileged = [\"w\"]\nunprivileged = [\"b\"]\n[[intersection]]\ncolumns = [\"s\", \"r\"]\n";
        let schema = Schema::from_toml("s.toml", schema).unwrap();
        let text = "s,r,y\nm,w,1\nf,b,0\n";
        let mut records = Records::from_reader("f.csv", text.as_bytes(), &schema.table).unwrap();
        let mut admission = Admission::new(records.columns(), "f.csv", &schema, Use::Learn).unwrap();
        while records.advance().unwrap() {
            admission.admit(&records.record()).unwrap();
        }
        let place = admission.place(Reading::default());
        assert!(place.is_sound(&schema));
        let refused = |change: &dyn Fn(&mut Place)| {
            let mut other = place.clone();
            change(&mut other);
            !other.is_sound(&schema)
        };
        // An attribute without groups cannot count its first row.
        let nothing = || {
            serde_json::from_str(r#"{"column":"s","privileged":["m"],"groups":[],"rows":[],"without":{"values":[],"others":0,"missing":0},"open":true,"made":false}"#)
                .unwrap()
        };
        assert!(refused(&|place| place.attributes[0] = nothing()));
        assert!(refused(&|place| place.intersections[0] = nothing()));
        assert!(refused(&|place| place.attributes.swap(0, 1)));
        assert!(refused(&|place| place.attributes.truncate(1)));
        assert!(refused(&|place| place.intersections.clear()));
    }
}
