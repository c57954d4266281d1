//! `--follow`: the bytes of a file that grows, or of a pipe, until the command is asked to stop.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use feamoe::rows::Input;

/// How often a file is looked at for more, and how soon a request to stop is heard.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes read at a time.
const CHUNK: usize = 1 << 16;

/// Whole lines as they come. A line without an end waits for it: at the end of a pipe it is handed
/// out as it is, when the command is asked to stop it is left out.
pub struct Follow {
    chunks: Receiver<io::Result<Vec<u8>>>,
    stop: &'static AtomicBool,
    ready: io::Cursor<Vec<u8>>,
    /// The begin of a line.
    rest: Vec<u8>,
    is_over: bool,
}

impl Follow {
    /// Starts to read an input.
    pub fn open(input: &Input, stop: &'static AtomicBool) -> anyhow::Result<Self> {
        let (send, chunks) = sync_channel(4);
        match input {
            Input::Stdin => thread::spawn(move || copy(io::stdin(), None, &send)),
            Input::File(path) => {
                let named = || format!("cannot read {}", path.display());
                let file = File::open(path).with_context(named)?;
                let is_file = file.metadata().with_context(named)?.is_file();
                let path = is_file.then(|| path.clone());
                thread::spawn(move || copy(file, path.as_deref(), &send))
            }
            _ => bail!("--follow reads a file or standard input"),
        };
        Ok(Self { chunks, stop, ready: io::Cursor::default(), rest: Vec::new(), is_over: false })
    }

    /// Waits for whole lines; false at the end.
    fn wait(&mut self) -> io::Result<bool> {
        while !self.is_over {
            if self.stop.load(Ordering::SeqCst) {
                self.is_over = true;
                return Ok(false);
            }
            match self.chunks.recv_timeout(PATIENCE) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.is_over = true;
                    self.ready = io::Cursor::new(std::mem::take(&mut self.rest));
                    return Ok(!self.ready.get_ref().is_empty());
                }
                Ok(chunk) => {
                    self.rest.extend_from_slice(&chunk?);
                    if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                        let rest = self.rest.split_off(end + 1);
                        self.ready = io::Cursor::new(std::mem::replace(&mut self.rest, rest));
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

impl Read for Follow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.ready.read(buffer)?;
            if length > 0 || buffer.is_empty() || !self.wait()? {
                return Ok(length);
            }
        }
    }
}

/// Hands chunks over until the end: of a file (`path`) there is none, as it may grow.
fn copy(mut source: impl Read, path: Option<&Path>, send: &SyncSender<io::Result<Vec<u8>>>) {
    let mut read = 0_u64;
    loop {
        let mut chunk = vec![0; CHUNK];
        let sent = match source.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = send.send(Err(error));
                return;
            }
            Ok(0) => {
                let Some(path) = path else { return };
                if path.metadata().is_ok_and(|found| found.len() < read) {
                    let _ = send.send(Err(io::Error::other("it has become shorter while it was followed")));
                    return;
                }
                thread::sleep(PATIENCE);
                continue;
            }
            Ok(length) => {
                read += length as u64;
                chunk.truncate(length);
                send.send(Ok(chunk))
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
