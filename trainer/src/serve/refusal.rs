//! Why a request was not answered.

use axum::extract::rejection::QueryRejection;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::{IntoResponses, ToSchema};

use crate::text::printable;

/// Seconds after which a request that found the queue full is worth sending again.
const RETRY_SECONDS: u16 = 1;
/// Most characters of a message, which may quote what was sent.
const MOST_CHARACTERS: usize = 1_000;

/// A refusal: its status, and in words what was found and what was expected.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    /// Makes a refusal.
    pub fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string() }
    }

    /// Refuses a request whose content is at fault.
    pub fn unprocessable(message: impl ToString) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// Refuses a request that may be sent again later.
    pub fn busy(message: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// Reports a fault of the service.
    pub fn internal(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Self::new(status, error)
    }
}

impl From<QueryRejection> for Refusal {
    fn from(error: QueryRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut message = printable(&self.message);
        if let Some((end, _)) = message.char_indices().nth(MOST_CHARACTERS) {
            message.truncate(end);
            message.push_str(" ...");
        }
        let body = serde_json::json!({ "error": message }).to_string();
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], body).into_response();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
            }
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// What stands in the body of a refusal.
#[derive(ToSchema)]
#[allow(dead_code)] // for the description
pub struct Problem {
    /// What was found, what was expected, what to do.
    error: String,
}

/// The refusals that every endpoint may answer by.
#[derive(IntoResponses)]
#[allow(dead_code)] // for the description
pub enum Refusals {
    /// The request cannot be read.
    #[response(status = 400)]
    Unreadable(#[to_schema] Problem),
    /// The token is missing or another.
    #[response(status = 401)]
    Unauthorized(#[to_schema] Problem),
    /// `Host` or `Origin` are foreign, or the service takes no models by HTTP.
    #[response(status = 403)]
    Forbidden(#[to_schema] Problem),
    /// The service has no such endpoint.
    #[response(status = 404)]
    NoEndpoint(#[to_schema] Problem),
    /// The endpoint has no such method.
    #[response(status = 405)]
    NoMethod(#[to_schema] Problem),
    /// The body took too long.
    #[response(status = 408)]
    Slow(#[to_schema] Problem),
    /// The body is too long.
    #[response(status = 413)]
    TooLong(#[to_schema] Problem),
    /// The content type is another.
    #[response(status = 415)]
    ContentType(#[to_schema] Problem),
    /// The content is at fault, or beyond a limit.
    #[response(status = 422)]
    Unprocessable(#[to_schema] Problem),
    /// The queue is full; `Retry-After` says when to send the request again.
    #[response(status = 503)]
    Busy(#[to_schema] Problem),
}
