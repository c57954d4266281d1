//! Writes a log with one JSON object per line. It contains nothing that a client sent: no address,
//! no body, no query, and the route instead of the path.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::text::printable;

/// Maximum number of lines that wait to be written. Further lines are lost and counted.
const WAITING: usize = 8_192;
/// Pause between two writes, so that a busy service writes many lines at once.
const PAUSE: Duration = Duration::from_millis(20);
/// Maximum time for writing the last lines.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// A log that a thread of its own writes, so that no request waits for the log's reader.
#[derive(Debug)]
pub struct Log {
    sender: SyncSender<Message>,
    faults_only: bool,
}

#[derive(Debug)]
enum Message {
    Request(SystemTime, Request),
    Event(SystemTime, Event),
    /// Asks to flush all earlier lines and then to drop the sender.
    Flush(SyncSender<()>),
}

/// The log entry of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The HTTP method.
    pub method: &'static str,
    /// The route of the endpoint, not the path that was sent.
    pub route: &'static str,
    /// The status of the answer; 499 if the client left before it.
    pub status: u16,
    /// Time from the header to the answer.
    pub took: Duration,
    /// Length of the body of the answer, in bytes.
    pub bytes: u64,
    /// The number in the header `x-request-id` of the answer.
    pub id: u64,
}

/// Any other event.
#[derive(Debug)]
struct Event {
    name: &'static str,
    model: Option<String>,
    message: Option<String>,
}

/// A line of the log.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Request {
        time: &'a str,
        method: &'a str,
        route: &'a str,
        status: u16,
        milliseconds: f64,
        bytes: u64,
        id: &'a str,
    },
    Event {
        time: &'a str,
        event: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
}

impl Log {
    /// Starts a log. With `faults_only` it omits requests with a status below 400.
    pub fn new(to: impl Write + Send + 'static, faults_only: bool) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        thread::spawn(move || write(&receiver, &mut BufWriter::new(to)));
        Self { sender, faults_only }
    }

    /// Logs a request. Returns false if the line is lost.
    pub(super) fn request(&self, request: Request) -> bool {
        (self.faults_only && request.status < 400) || self.send(Message::Request(SystemTime::now(), request))
    }

    /// Logs an event. Returns false if the line is lost.
    pub(super) fn event(&self, name: &'static str, model: Option<&str>, message: Option<&str>) -> bool {
        let event = Event { name, model: model.map(str::to_owned), message: message.map(printable) };
        self.send(Message::Event(SystemTime::now(), event))
    }

    fn send(&self, message: Message) -> bool {
        self.sender.try_send(message).is_ok()
    }

    /// Waits until all earlier lines are written, but at most about a second.
    pub fn flush(&self) {
        let end = Instant::now() + FLUSH_TIME;
        let (written, wait) = sync_channel(0);
        let mut message = Message::Flush(written);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(message) {
            if Instant::now() > end {
                return;
            }
            message = back;
            thread::sleep(PAUSE);
        }
        // Returns when the other half is dropped.
        _ = wait.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Formats the id of a request.
pub fn shown_id(id: u64) -> String {
    format!("{id:016x}")
}

/// Writes all messages, with a pause between two batches.
fn write(receiver: &Receiver<Message>, to: &mut impl Write) {
    while let Ok(first) = receiver.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            if let Message::Flush(_written) = message {
                _ = to.flush();
            } else {
                // A log that cannot be written has no place to report it.
                _ = line(&message, to);
            }
            next = receiver.try_recv().ok();
        }
        _ = to.flush();
        thread::sleep(PAUSE);
    }
}

fn line(message: &Message, to: &mut impl Write) -> std::io::Result<()> {
    let (Message::Request(time, _) | Message::Event(time, _)) = message else { return Ok(()) };
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = i64::try_from(since.as_micros()).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default();
    let time = &time.to_rfc3339_opts(SecondsFormat::Micros, true);
    match message {
        Message::Request(_, request) => {
            let Request { method, route, status, took, bytes, id } = *request;
            let (milliseconds, id) = ((took.as_secs_f64() * 1e6).round() / 1e3, &shown_id(id));
            serde_json::to_writer(&mut *to, &Line::Request { time, method, route, status, milliseconds, bytes, id })?;
        }
        Message::Event(_, Event { name: event, model, message }) => {
            let (model, message) = (model.as_deref(), message.as_deref());
            serde_json::to_writer(&mut *to, &Line::Event { time, event, model, message })?;
        }
        Message::Flush(_) => {}
    }
    to.write_all(b"\n")
}
