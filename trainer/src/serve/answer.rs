//! Writes answers. Numbers in JSON read back to the bits that the model returned. An answer has a
//! maximum length and counts in the budget until it is sent.

use std::io;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::budget::Buffer;
use super::refusal::Refusal;

/// The media type of a JSON body or answer.
pub const JSON: &str = "application/json";

/// An answer that is being written.
pub struct Answer {
    media_type: &'static str,
    buffer: Buffer,
    length: usize,
    most: usize,
    /// The reason why it could not grow: the error of a writer cannot carry a refusal.
    refusal: Option<Refusal>,
}

impl Answer {
    /// Starts an answer of at most `most` bytes.
    pub fn new(media_type: &'static str, buffer: Buffer, most: usize) -> Self {
        Self { media_type, buffer, length: 0, most, refusal: None }
    }

    /// Adds text without escaping.
    pub fn text(&mut self, text: &str) -> Result<(), Refusal> {
        self.grow(text.as_bytes())
    }

    /// Adds several texts without escaping.
    pub fn texts(&mut self, texts: &[&str]) -> Result<(), Refusal> {
        texts.iter().try_for_each(|text| self.text(text))
    }

    /// Adds a value as JSON.
    pub fn add(&mut self, value: &impl Serialize) -> Result<(), Refusal> {
        self.write_with(|answer| serde_json::to_writer(answer, value))
    }

    /// Calls `write`, which adds to the answer. If it fails for lack of room, returns that refusal.
    pub fn write_with<E: ToString>(&mut self, write: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), Refusal> {
        let written = write(self);
        written.map_err(|error| self.refusal.take().unwrap_or_else(|| Refusal::unprocessable(error)))
    }

    #[inline]
    fn grow(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.len() > self.most.saturating_sub(self.length) {
            return Err(too_long(self.most));
        }
        self.length += bytes.len();
        self.buffer.extend(bytes)
    }
}

#[cold]
fn too_long(most: usize) -> Refusal {
    let message = format!("found an answer of more than {most} bytes, expected at most {most}; send fewer records");
    Refusal::unprocessable(message)
}

impl io::Write for Answer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let grown = self.grow(bytes);
        grown.map(|()| bytes.len()).map_err(|refusal| {
            self.refusal = Some(refusal);
            io::ErrorKind::StorageFull.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        // The buffer is dropped, and its bytes are returned to the budget, when all of it is sent.
        ([(CONTENT_TYPE, self.media_type)], Bytes::from_owner(self.buffer)).into_response()
    }
}
