//! A source in which a run can find its position again.

use super::digest::Digest;
use super::passed::Passed;
use super::place::{Reading, Within};
use super::{Place, Record, ResumeFrom, Source};
use crate::error::Error;

/// Lends the records of a source and counts them.
pub(crate) struct Reader<'s> {
    source: Box<dyn Source + 's>,
    /// Describes all records so far, if the position must be found again.
    passed: Option<Passed>,
    /// Digest of the data before this source.
    opened: Digest,
    /// Number of records before this source.
    earlier: u64,
    is_at_end: bool,
    /// The first records of every file, the current one last.
    beginnings: Vec<Passed>,
    /// Beginnings of files that this source must not repeat.
    refused: Vec<Passed>,
    /// Number of files of this source opened so far.
    files: usize,
    is_passing_over: bool,
}

/// Number of records at the start of a file that identify it.
const BEGINNING: u64 = 1_000;
/// Fewer records may be equal by chance, unless the file has no more.
const ENOUGH: u64 = 100;
/// Number of files by which a run is recognised, the latest ones. Earlier files are not recognised.
const MOST_FILES: usize = 1_000;

impl<'s> Reader<'s> {
    /// Starts with the first source of a run. `keep_place` says whether [`Reader::place`] must be
    /// able to recognise the records read.
    pub(crate) fn new(source: Box<dyn Source + 's>, keep_place: bool) -> Self {
        let passed = keep_place.then(Passed::default);
        Self {
            source,
            passed,
            opened: Digest::default(),
            earlier: 0,
            is_at_end: false,
            beginnings: vec![Passed::default()],
            refused: Vec::new(),
            files: 0,
            is_passing_over: false,
        }
    }

    /// Resumes where an earlier reader stopped. `resume_from` says how the new source relates to
    /// the data read before; `open` opens it after data with the given digest.
    ///
    /// # Errors
    /// Those of `open`; [`Error::OtherData`] if the source is not the one that the earlier reader
    /// had begun to read.
    pub(crate) fn resume(
        open: impl FnOnce(Digest) -> Result<Box<dyn Source + 's>, Error>,
        place: &Place,
        resume_from: ResumeFrom,
    ) -> Result<Self, Error> {
        let Reading { digest, within, beginnings } = &place.reading;
        let (again, opened) = match (within, resume_from) {
            (Some(within), ResumeFrom::Same | ResumeFrom::Again) => (Some(within), digest),
            (Some(within), ResumeFrom::Rest) => (None, &within.digest),
            (None, _) => (None, digest),
        };
        let read_again = again.map_or(0, |within| within.passed.records);
        let is_newer = within.is_none() && resume_from == ResumeFrom::Same;
        let mut reader = Self {
            source: open(opened.clone())?,
            passed: Some(Passed::default()),
            opened: opened.clone(),
            earlier: place.counts.read.saturating_sub(read_again),
            is_at_end: false,
            beginnings: beginnings.clone(),
            refused: if is_newer { beginnings.clone() } else { Vec::new() },
            files: 0,
            is_passing_over: again.is_some(),
        };
        if within.is_none() {
            reader.begin_file();
        }
        if let Some(within) = again {
            reader.pass_over(within)?;
        }
        Ok(reader)
    }

    /// Skips the records that were learned from before the run stopped, and checks that they are
    /// the same.
    fn pass_over(&mut self, within: &Within) -> Result<(), Error> {
        let other = |reader: &Self, found| Error::OtherData {
            file: reader.file().into(),
            found,
            records: within.passed.records,
            files: within.files.join(", "),
        };
        let mut records = 0;
        while records < within.passed.records {
            match self.advance() {
                Ok(true) => records += 1,
                Ok(false) => return Err(other(self, "fewer records")),
                Err(error) if error.is_pause() => {}
                Err(error) => return Err(error),
            }
        }
        self.is_passing_over = false;
        if self.passed == Some(within.passed) { Ok(()) } else { Err(other(self, "other records")) }
    }

    /// Moves to the next record. Returns false at the end.
    ///
    /// # Errors
    /// Those of the source.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, Error> {
        if !self.source.advance()? {
            self.is_at_end = true;
            self.check_file()?;
            return Ok(false);
        }
        let Some(passed) = &mut self.passed else { return Ok(true) };
        passed.take(&self.source.record());
        let files = self.source.names().len();
        if files != self.files {
            if self.files > 0 && !self.is_passing_over {
                self.check_file()?;
                self.begin_file();
            }
            self.files = files;
        }
        if let Some(beginning) = self.beginnings.last_mut()
            && beginning.records < BEGINNING
            && !self.is_passing_over
        {
            beginning.take(&self.source.record());
            if beginning.records >= ENOUGH {
                self.check_file()?;
            }
        }
        Ok(true)
    }

    /// Starts the description of a new file's first records.
    #[cold]
    fn begin_file(&mut self) {
        let too_many = self.beginnings.len().saturating_sub(MOST_FILES - 1);
        self.beginnings.drain(..too_many);
        self.beginnings.push(Passed::default());
    }

    /// Checks that the records of the current file so far are not those of an earlier one.
    fn check_file(&self) -> Result<(), Error> {
        let known = self.beginnings.last().filter(|beginning| beginning.records > 0);
        match known.filter(|beginning| self.refused.contains(beginning)) {
            Some(Passed { records, .. }) => {
                let file =
                    self.source.names().get(self.files.saturating_sub(1)).map_or_else(|| self.file(), String::as_str);
                Err(Error::SameData { file: file.to_owned(), records: *records })
            }
            None => Ok(()),
        }
    }

    /// Returns the current record, numbered over all sources of the run.
    #[inline]
    pub(crate) fn record(&self) -> Record<'_> {
        let mut record = self.source.record();
        record.position.number += self.earlier;
        record
    }

    /// Returns the source.
    pub(crate) fn source(&self) -> &(dyn Source + 's) {
        &*self.source
    }

    /// Returns the name of the file being read.
    pub(crate) fn file(&self) -> &str {
        self.source.file()
    }

    /// Returns the names of the files opened so far, for messages about all of them.
    pub(crate) fn files(&self) -> String {
        self.source.files()
    }

    /// Returns the current position.
    pub(crate) fn place(&self) -> Reading {
        let digest = self.source.digest();
        let beginnings = self.beginnings.clone();
        match self.passed.filter(|_| !self.is_at_end) {
            // The same path can be written in many ways, so only the name is stored.
            Some(passed) => {
                let names =
                    self.source.names().iter().map(|name| name.rsplit(['/', '\\']).next().unwrap_or(name).into());
                let within = Within { passed, files: names.collect(), digest };
                Reading { digest: self.opened.clone(), within: Some(within), beginnings }
            }
            None => Reading { digest, within: None, beginnings },
        }
    }
}
