//! Whose models a service takes.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use feamoe_engine::signature::{PublicKey, Signature, Signers, TrustError, Versions};

use super::ServeError;
use crate::error::Error;
use crate::lock::Lock;
use crate::output::OutputFile;

/// Longest memory of a version.
const MOST_BYTES: u64 = 100;
/// How long the lock of the memory is waited for, and how long between two looks.
const LOCK_TIME: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The keys, the line and the versions of the models that a service takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The keys that are trusted: more than one while a key is replaced by its successor.
    pub keys: Vec<PublicKey>,
    /// The line of models.
    pub line: String,
    /// The lowest version to begin with. From then on none is taken that is below the version of
    /// the model in use; `None` takes any.
    pub least: Option<u32>,
    /// The file that holds line and version of the model that was in use last, across restarts: a
    /// line of text. None is needed at first.
    pub memory: PathBuf,
}

impl Trust {
    /// Returns the version that a key has signed; `in_use`: that of the model to be replaced. No
    /// part of the model but its signature is parsed.
    ///
    /// # Errors
    /// [`ServeError::Untrusted`], [`ServeError::OlderThanBefore`], [`ServeError::Memory`].
    pub(super) fn verify(&self, blob: &[u8], in_use: Option<u32>) -> Result<u32, ServeError> {
        let versions = match self.least {
            Some(least) => Versions::From(least.max(in_use.unwrap_or_default())),
            None => Versions::Any,
        };
        let signers = Signers { keys: &self.keys, line: &self.line, schema_sha256: None, versions };
        let Signature { model_version: found, .. } = signers.verify(blob)?;
        self.check_remembered(found)?;
        Ok(found)
    }

    /// Remembers the version of a model that is about to be in use, unless another process has
    /// remembered a newer one since it was verified.
    ///
    /// # Errors
    /// [`ServeError::OlderThanBefore`], [`ServeError::Memory`], [`ServeError::Write`].
    pub(super) fn remember(&self, version: u32) -> Result<(), ServeError> {
        let _lock = self.lock()?;
        if self.check_remembered(version)? == Some(version) {
            return Ok(());
        }
        let mut file = OutputFile::create(&self.memory)?;
        file.write_whole(format!("{} {version}\n", self.line).as_bytes())?;
        Ok(file.commit()?)
    }

    /// Waits a little for the lock of the file: others have it as long as they write a line.
    fn lock(&self) -> Result<Lock, ServeError> {
        let end = Instant::now() + LOCK_TIME;
        loop {
            match Lock::beside(&self.memory) {
                Err(Error::Locked { .. }) if Instant::now() < end => thread::sleep(LOCK_PAUSE),
                locked => return locked.map_err(|error| ServeError::Lock(Box::new(error))),
            }
        }
    }

    /// Returns the version that was in use last, where a model of this one may follow it.
    fn check_remembered(&self, version: u32) -> Result<Option<u32>, ServeError> {
        match self.remembered()? {
            Some(before) if self.least.is_some() && version < before => {
                let file = self.memory.display().to_string();
                let versions = TrustError::OlderVersion { found: version, least: before };
                Err(ServeError::OlderThanBefore { versions, file })
            }
            before => Ok(before),
        }
    }

    fn remembered(&self) -> Result<Option<u32>, ServeError> {
        let fault = |problem: String| ServeError::Memory { file: self.memory.display().to_string(), problem };
        let mut text = String::new();
        match fs::File::open(&self.memory).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(error.to_string())),
        }
        let found = text.strip_suffix('\n').and_then(|text| text.split_once(' '));
        let found = found.and_then(|(line, version)| Some((line, version.parse::<u32>().ok()?)));
        match found {
            Some((line, version)) if line == self.line => Ok(Some(version)),
            Some((line, _)) => Err(fault(format!("found the line {line:?}, expected {:?}", self.line))),
            None => Err(fault("found another text, expected the name of a line and a version".into())),
        }
    }
}
