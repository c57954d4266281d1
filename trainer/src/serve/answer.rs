//! Answers as they are written: JSON whose numbers read back to the bits of the model's, no longer
//! than the limit.

use std::io;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::refusal::Refusal;

/// The media type of an answer, and of a body, in JSON.
pub const JSON: &str = "application/json";

/// An answer, as far as it is written.
pub struct Answer {
    media_type: &'static str,
    bytes: Vec<u8>,
    most: usize,
}

impl Answer {
    /// Starts an answer of at most `most` bytes.
    pub fn new(media_type: &'static str, most: usize) -> Self {
        Self { media_type, bytes: Vec::new(), most }
    }

    /// Makes an answer of one value.
    pub fn of(value: &impl Serialize, most: usize) -> Result<Self, Refusal> {
        let mut answer = Self::new(JSON, most);
        answer.add(value).map_err(Refusal::unprocessable)?;
        Ok(answer)
    }

    /// Adds text as it stands.
    pub fn text(&mut self, text: &str) -> Result<(), String> {
        io::Write::write_all(self, text.as_bytes()).map_err(|error| error.to_string())
    }

    /// Adds a value as JSON.
    pub fn add(&mut self, value: &impl Serialize) -> Result<(), String> {
        serde_json::to_writer(self, value).map_err(|error| error.to_string())
    }

    /// Adds an element of a list, which has `before` of them.
    pub fn element(&mut self, before: usize, value: &impl Serialize) -> Result<(), String> {
        if before > 0 {
            self.text(",")?;
        }
        self.add(value)
    }
}

impl io::Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.most;
        if bytes.len() > most.saturating_sub(self.bytes.len()) {
            let message =
                format!("found an answer of more than {most} bytes, expected at most {most}; send fewer records");
            return Err(io::Error::other(message));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, self.media_type)], self.bytes).into_response()
    }
}
