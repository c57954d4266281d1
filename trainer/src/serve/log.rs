//! The log: a JSON object a line. It has nothing that a client sent: no address, no body, no query,
//! no path but the route's.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::text::printable;

/// Lines that wait to be written; later ones are lost, and counted.
const WAITING: usize = 8_192;
/// Pause between two writes: a busy service writes many lines at once.
const PAUSE: Duration = Duration::from_millis(20);
/// Time that the last lines have to be written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// A log, written by a thread of its own: nobody waits for whoever reads it.
#[derive(Debug)]
pub struct Log {
    sender: SyncSender<Message>,
    faults_only: bool,
}

#[derive(Debug)]
enum Message {
    Request(SystemTime, Request),
    Event(SystemTime, Event),
    /// All before it is to be written; then the sender is dropped.
    Flush(SyncSender<()>),
}

/// A request, as it is logged.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its method.
    pub method: &'static str,
    /// The route, not the path.
    pub route: &'static str,
    /// The status of the answer; 499 where the client left before it.
    pub status: u16,
    /// Time from the header to the answer.
    pub took: Duration,
    /// Length of the answer's body.
    pub bytes: u64,
    /// As in the header `x-request-id` of the answer.
    pub id: u64,
}

/// Anything else that happened.
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
    /// Starts a log; with `faults_only` it leaves out requests that were answered.
    pub fn new(to: impl Write + Send + 'static, faults_only: bool) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        thread::spawn(move || write(&receiver, &mut BufWriter::new(to)));
        Self { sender, faults_only }
    }

    /// Logs a request; false if the line is lost.
    pub(super) fn request(&self, request: Request) -> bool {
        (self.faults_only && request.status < 400) || self.send(Message::Request(SystemTime::now(), request))
    }

    /// Logs an event; false if the line is lost.
    pub(super) fn event(&self, name: &'static str, model: Option<&str>, message: Option<&str>) -> bool {
        let event = Event { name, model: model.map(str::to_owned), message: message.map(printable) };
        self.send(Message::Event(SystemTime::now(), event))
    }

    fn send(&self, message: Message) -> bool {
        self.sender.try_send(message).is_ok()
    }

    /// Waits until all lines so far are written; not forever, if nobody takes them.
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
        // Ends when the other half is dropped.
        _ = wait.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Returns a request's id as it is shown.
pub fn shown_id(id: u64) -> String {
    format!("{id:016x}")
}

/// Writes what comes, with a pause between two writes.
fn write(receiver: &Receiver<Message>, to: &mut impl Write) {
    while let Ok(first) = receiver.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            if let Message::Flush(_written) = message {
                _ = to.flush();
            } else {
                // A log that cannot be written has nobody to say so to.
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
