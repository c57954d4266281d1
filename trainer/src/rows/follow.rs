//! Reads data while it is being written: a growing file, or a pipe.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Input;
use crate::error::{Error, pause};

/// How often a file is checked for more data, and how soon a request to stop is noticed.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long reading continues after the request: data that arrived before it is read, however late
/// this process is, and a pipe that never pauses ends too.
const LINGER: Duration = Duration::from_millis(500);
/// The largest length of a record. A longer line without an end is passed on, and then refused.
const MOST_WAITING: usize = 1 << 22;
/// Bytes read at a time.
const CHUNK: usize = 1 << 16;
/// First bytes of formats that are not plain text: gzip, Arrow and Parquet. Their records do not
/// end with a line.
const OTHERS: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "compressed; decompress it, for example: gzip -dc FILE | feamoe ... -"),
    (b"\xff\xff\xff\xff", "an Arrow stream; write CSV instead"),
    (b"ARROW1", "an Arrow file; write CSV instead"),
    (b"PAR1", "a Parquet file; write CSV instead"),
];

/// A file or standard input that is read while it is being written, until the end of a pipe or
/// until `stop` is true. It must be plain text, and the only input of its run.
///
/// Records are read a line at a time. At intervals the source reports a pause
/// ([`Error::is_pause`]), always between two records, so that a caller can show and store the
/// current state. The clock decides when pauses happen; it does not influence the records.
#[derive(Clone, Debug)]
pub struct Followed {
    input: Box<Input>,
    stop: &'static AtomicBool,
    every: Duration,
    state: Arc<State>,
}

/// State shared by the reader of a followed input and its caller.
#[derive(Debug, Default)]
struct State {
    /// Whether the header was read. Pauses are possible only afterwards.
    is_open: AtomicBool,
    left_out: AtomicUsize,
}

impl PartialEq for Followed {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input
    }
}

impl Followed {
    /// Follows an input until its end or until `stop` is true, with a pause after each `every`.
    #[must_use]
    pub fn new(input: Input, stop: &'static AtomicBool, every: Duration) -> Self {
        Self { input: Box::new(input), stop, every, state: Arc::default() }
    }

    /// Returns the file or standard input.
    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// Returns the size in bytes of the unfinished line that was left out when the stop was
    /// requested.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.state.left_out.load(Ordering::SeqCst)
    }

    /// Records that the source is open, so that pauses are possible.
    pub(super) fn start_pauses(&self) {
        self.state.is_open.store(true, Ordering::SeqCst);
    }

    /// Starts to read.
    pub(super) fn open(&self) -> Result<Follow, Error> {
        let (send, chunks) = sync_channel(4);
        match &*self.input {
            Input::Stdin => thread::spawn(move || copy(io::stdin(), None, &send)),
            Input::File(path) => {
                let named = |source| Error::Read { file: self.input.to_string(), source };
                let file = File::open(path).map_err(named)?;
                let is_file = file.metadata().map_err(named)?.is_file();
                let path = is_file.then(|| path.clone());
                thread::spawn(move || copy(file, path.as_deref(), &send))
            }
            other => return Err(Error::Input(format!("{other} cannot be followed; name a file or standard input"))),
        };
        Ok(Follow {
            chunks,
            followed: self.clone(),
            ready: io::Cursor::default(),
            rest: Vec::new(),
            is_begun: false,
            is_over: false,
            paused: Instant::now(),
            stopped: None,
        })
    }
}

/// Passes on whole lines as they arrive. An unfinished line waits for its end: it is passed on as
/// it is at the end of a pipe, and left out when a stop is requested.
pub(super) struct Follow {
    chunks: Receiver<io::Result<Vec<u8>>>,
    followed: Followed,
    ready: io::Cursor<Vec<u8>>,
    /// The start of an unfinished line.
    rest: Vec<u8>,
    /// Whether the first bytes were checked.
    is_begun: bool,
    is_over: bool,
    /// When the last pause was.
    paused: Instant,
    /// When the request to stop was noticed.
    stopped: Option<Instant>,
}

impl Follow {
    /// Waits for whole lines. Returns false at the end.
    fn wait(&mut self) -> io::Result<bool> {
        while !self.is_over {
            let stops = || self.followed.stop.load(Ordering::SeqCst);
            if stops() && self.stopped.get_or_insert_with(Instant::now).elapsed() >= LINGER {
                return Ok(self.stop());
            }
            if self.followed.state.is_open.load(Ordering::SeqCst) && self.paused.elapsed() >= self.followed.every {
                self.paused = Instant::now();
                return Err(pause());
            }
            match self.chunks.recv_timeout(PATIENCE) {
                Err(RecvTimeoutError::Timeout) => {}
                // The writer may have been stopped by the same request, in the middle of a line.
                Err(RecvTimeoutError::Disconnected) if stops() => return Ok(self.stop()),
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
                    if self.rest.len() > MOST_WAITING {
                        self.ready = io::Cursor::new(std::mem::take(&mut self.rest));
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Ends because a stop was requested. Returns false, as at every end.
    fn stop(&mut self) -> bool {
        self.is_over = true;
        self.followed.state.left_out.store(self.rest.len(), Ordering::SeqCst);
        false
    }

    /// Refuses data that is not plain text.
    fn check_text(&mut self) -> io::Result<()> {
        let head = self.ready.get_ref();
        if self.is_begun || head.is_empty() {
            return Ok(());
        }
        self.is_begun = true;
        match OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
            Some((_, found)) => Err(io::Error::other(format!("only plain text can be followed, and this is {found}"))),
            None => Ok(()),
        }
    }
}

impl Read for Follow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.ready.read(buffer)?;
            if length > 0 || buffer.is_empty() || !self.wait()? {
                return Ok(length);
            }
            self.check_text()?;
        }
    }
}

/// Passes chunks on until the end. A file (`path`) has no end, because it may grow.
fn copy(mut source: impl Read, path: Option<&Path>, send: &SyncSender<io::Result<Vec<u8>>>) {
    let mut read = 0_u64;
    loop {
        let mut chunk = vec![0; CHUNK];
        let sent = match source.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A pipe may have been opened in non-blocking mode.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(PATIENCE);
                continue;
            }
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
