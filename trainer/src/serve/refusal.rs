//! The refusal of a request.

use std::collections::BTreeMap;

use axum::extract::rejection::QueryRejection;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::text::printable;

/// Value of `Retry-After`, in seconds.
const RETRY_SECONDS: u16 = 1;
/// Maximum number of characters of a message. A message may quote the request.
const MOST_CHARACTERS: usize = 1_000;

/// A refusal: a status, and a message with what was found and what was expected.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// What was found, what was expected, and what to do.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal.
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

/// The body of a refusal.
#[derive(ToSchema)]
#[allow(dead_code)] // for the description
pub struct Problem {
    /// What was found, what was expected, and what to do.
    error: String,
}

/// The refusals that every endpoint may return.
pub struct Refusals;

/// The meaning of each status of a refusal.
const MEANINGS: [(&str, &str); 12] = [
    ("400", "The request cannot be read."),
    ("401", "The token is missing or another."),
    ("403", "`Host` or `Origin` are foreign, or the service takes no models by HTTP."),
    ("404", "The service has no such endpoint."),
    ("405", "The endpoint has no such method."),
    ("408", "The body took too long."),
    ("413", "The body is too long."),
    ("415", "The content type is another."),
    ("422", "The content is at fault, or beyond a limit."),
    ("431", "The header is too long."),
    ("500", "The service is at fault."),
    (
        "503",
        "There is no room: the queue is full, or requests take all the memory that they may. `Retry-After` says when \
         to send the request again.",
    ),
];

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = |meaning: &str| {
            ResponseBuilder::new().description(meaning).content("application/json", content()).build().into()
        };
        MEANINGS.iter().map(|(status, meaning)| ((*status).to_owned(), response(meaning))).collect()
    }
}
