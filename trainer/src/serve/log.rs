//! The log: a JSON object a line. It has nothing that a client sent: no address, no body, no query,
//! no path but the route's.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::text::printable;

/// Lines that wait to be written; later ones are lost, and counted.
const WAITING: usize = 4_096;

/// A log, written by a thread of its own: nobody waits for whoever reads it.
#[derive(Debug)]
pub struct Log {
    sender: SyncSender<Message>,
    faults_only: bool,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// All before it is to be written; then the sender is dropped.
    Flush(SyncSender<()>),
}

/// A request, as it is logged.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// The route, not the path.
    pub route: &'a str,
    /// The status of the answer; 499 where the client left before it.
    pub status: u16,
    /// Time from the header to the answer.
    pub milliseconds: f64,
    /// Length of the answer's body.
    pub bytes: u64,
    /// As in the header `x-request-id` of the answer.
    pub id: &'a str,
}

/// Anything else that happened.
#[derive(Clone, Copy, Debug, Serialize)]
struct Event<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<T> {
    time: String,
    #[serde(flatten)]
    what: T,
}

impl Log {
    /// Starts a log; with `faults_only` it leaves out requests that were answered.
    pub fn new(to: impl Write + Send + 'static, faults_only: bool) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        thread::spawn(move || write(&receiver, &mut BufWriter::new(to)));
        Self { sender, faults_only }
    }

    /// Logs a request; false where the line is lost.
    pub(super) fn request(&self, request: &Request<'_>) -> bool {
        (self.faults_only && request.status < 400) || self.send(request)
    }

    /// Logs an event; false where the line is lost.
    pub(super) fn event(&self, event: &str, model: Option<&str>, message: Option<&str>) -> bool {
        let message = message.map(printable);
        self.send(&Event { event, model, message: message.as_deref() })
    }

    fn send(&self, what: &impl Serialize) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(since.as_micros()).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default();
        let time = time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let Ok(mut line) = serde_json::to_vec(&Line { time, what }) else { return false };
        line.push(b'\n');
        self.sender.try_send(Message::Line(line)).is_ok()
    }

    /// Waits until all lines so far are written.
    pub fn flush(&self) {
        let (written, wait) = sync_channel(0);
        if self.sender.send(Message::Flush(written)).is_ok() {
            // Ends when the other half is dropped.
            _ = wait.recv();
        }
    }
}

/// Writes what comes, in pieces as large as there is.
fn write(receiver: &Receiver<Message>, to: &mut impl Write) {
    while let Ok(mut message) = receiver.recv() {
        loop {
            // A log that cannot be written has nobody to say so to.
            match message {
                Message::Line(line) => _ = to.write_all(&line),
                Message::Flush(_written) => _ = to.flush(),
            }
            match receiver.try_recv() {
                Ok(next) => message = next,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        _ = to.flush();
    }
}
