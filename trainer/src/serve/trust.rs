//! The signers whose models a service accepts.

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

/// Maximum length of the memory file, in bytes.
const MOST_BYTES: u64 = 100;
/// Maximum time to wait for the lock of the memory file, and the pause between two attempts.
const LOCK_TIME: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The keys, the line and the versions of the models that a service accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The trusted keys: more than one while a key is replaced by its successor.
    pub keys: Vec<PublicKey>,
    /// The line of models.
    pub line: String,
    /// The lowest accepted version at the start. Later the version of the model in use is the lower
    /// limit if it is higher. `None` accepts any version.
    pub least: Option<u32>,
    /// The file that keeps the line and the version of the model that was in use last, across
    /// restarts. It holds one line of text and need not exist at first.
    pub memory: PathBuf,
}

impl Trust {
    /// Returns the version that a trusted key has signed. `in_use` is the version of the model to
    /// be replaced. Only the signature of the model is parsed.
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

    /// Remembers the version of a model that is about to be used, unless another process has
    /// remembered a newer one since the model was verified.
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

    /// Waits for the lock of the file, at most `LOCK_TIME`. Other processes hold it only while they
    /// write.
    fn lock(&self) -> Result<Lock, ServeError> {
        let end = Instant::now() + LOCK_TIME;
        loop {
            match Lock::beside(&self.memory) {
                Err(Error::Locked { .. }) if Instant::now() < end => thread::sleep(LOCK_PAUSE),
                locked => return locked.map_err(|error| ServeError::Lock(Box::new(error))),
            }
        }
    }

    /// Returns the version that was in use last. Fails if `version` may not follow it.
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
