//! The sources of rows: files, standard input, tables in memory.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use super::digest::Digest;
use crate::error::Error;

/// Number of first bytes that identify a format.
const MAGIC_BYTES: usize = 6;

/// One data source of a run. The command line names it by a path, or by `-` for standard input. The
/// library also accepts a table in memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Standard input, which can be read only once.
    Stdin,
    /// A file.
    File(PathBuf),
    /// A file or standard input that is read while it is being written; the only input of its run.
    Followed(super::Followed),
    /// A table in memory, the only input of its run.
    #[cfg(feature = "arrow")]
    Table(super::ArrowTable),
}

impl FromStr for Input {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(OsStr::new(text)))
    }
}

impl From<&OsStr> for Input {
    fn from(text: &OsStr) -> Self {
        if text == "-" { Self::Stdin } else { Self::File(PathBuf::from(text)) }
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
            Self::Followed(followed) => followed.input().fmt(f),
            #[cfg(feature = "arrow")]
            Self::Table(table) => table.fmt(f),
        }
    }
}

impl Input {
    /// Returns the stored size of the file in bytes, if it is known, as a measure of progress.
    #[must_use]
    pub fn stored_bytes(&self) -> Option<u64> {
        match self {
            Self::Stdin | Self::Followed(_) => None,
            #[cfg(feature = "arrow")]
            Self::Table(_) => None,
            Self::File(path) => path.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.len()),
        }
    }

    /// Returns whether the bytes can be read a second time. False for standard input, a pipe, and a
    /// file that still grows.
    #[must_use]
    pub fn can_be_read_again(&self) -> bool {
        match self {
            Self::Stdin | Self::Followed(_) => false,
            #[cfg(feature = "arrow")]
            Self::Table(_) => true,
            // A file that does not exist is refused when it is opened.
            Self::File(path) => path.metadata().map_or(true, |found| found.is_file()),
        }
    }

    /// Opens the bytes as stored.
    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        Ok(match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::Followed(followed) => Box::new(followed.open()?),
            Self::File(path) => {
                let file = File::open(path).map_err(|source| Error::Read { file: self.to_string(), source })?;
                Box::new(file)
            }
            #[cfg(feature = "arrow")]
            Self::Table(table) => {
                return Err(Error::Input(format!("{table} is a table in memory; it is the only input of its run")));
            }
        })
    }
}

/// A source not yet opened.
pub(super) enum Waiting {
    Input(Input),
    Reader(String, Box<dyn Read + Send>),
}

impl Waiting {
    /// Takes inputs, last first.
    pub(super) fn all(inputs: &[Input]) -> Result<Vec<Self>, Error> {
        if inputs.is_empty() {
            return Err(Error::Input("no data: name one or more files, or - for standard input".into()));
        }
        if inputs.iter().filter(|input| **input == Input::Stdin).count() > 1 {
            return Err(Error::Input("standard input (-) is named twice, but can be read only once".into()));
        }
        Ok(inputs.iter().rev().cloned().map(Self::Input).collect())
    }

    /// Returns the name that stands for it in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Input(input) => input.to_string(),
            Self::Reader(name, _) => name.clone(),
        }
    }

    /// Opens the bytes as stored.
    pub(super) fn open(self) -> Result<Box<dyn Read + Send>, Error> {
        match self {
            Self::Input(input) => input.open(),
            Self::Reader(_, reader) => Ok(reader),
        }
    }

    /// Returns the first bytes, and the unchanged source: a pipe can be read only once.
    #[cfg(feature = "parquet")]
    pub(super) fn peek(self) -> Result<(Self, Vec<u8>), Error> {
        let name = self.name();
        let again = match &self {
            Self::Input(input) if input.can_be_read_again() => Some(Self::Input(input.clone())),
            _ => None,
        };
        let mut reader = self.open()?;
        let head = peek(&mut reader).map_err(|source| Error::Read { file: name.clone(), source })?;
        let read_on = || Self::Reader(name, Box::new(io::Cursor::new(head.clone()).chain(reader)));
        Ok((again.unwrap_or_else(read_on), head))
    }
}

/// The digest of all bytes read so far, shared by the sources of one stream.
pub(super) type SharedDigest = Arc<Mutex<Digest>>;

/// Passes bytes on and adds them to a digest. These are the stored bytes, before decompression, so
/// that `sha256sum FILE` gives the same hash.
pub(super) struct Hashed {
    pub reader: Box<dyn Read + Send>,
    pub digest: SharedDigest,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        if let Ok(mut digest) = self.digest.lock() {
            digest.update(buffer.get(..length).unwrap_or_default());
        }
        Ok(length)
    }
}

/// Reads the first bytes. It reads on until it has all of them, because a pipe may deliver them one
/// by one; it returns fewer only at the end of the input.
pub(super) fn peek(raw: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    raw.take(MAGIC_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}
