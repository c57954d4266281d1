//! Access control. Requests from pages of other web sites are refused. Beyond the loopback,
//! requests need the token.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::ServeError;
use super::refusal::Refusal;

/// Maximum total length of header names and values, in bytes.
const HEADER_BYTES: usize = 32 << 10;
/// Minimum and maximum length of a token, in bytes.
const TOKEN_BYTES: [usize; 2] = [16, 1_024];

/// The bearer token (RFC 6750) that a request must carry. Stored as a SHA-256 hash.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Reads a token from a file that only its owner may read. The token is the text of the file
    /// without the end of the line.
    ///
    /// # Errors
    /// [`ServeError::Token`] if others may read or write the file, if it cannot be read, or if the
    /// token is too short, too long, or contains anything but visible ASCII characters.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let fault = |problem: String| ServeError::Token { file: path.display().to_string(), problem };
        let missing = |error| {
            fault(format!("cannot read the token: {error}; it is a text of visible characters that you choose"))
        };
        let file = File::open(path).map_err(missing)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(|error| fault(error.to_string()))?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(fault(format!(
                    "others may read or write the token: found the mode {mode:03o}, expected 600 or less; run chmod 600 on it"
                )));
            }
        }
        let [least, most] = TOKEN_BYTES;
        let mut text = String::new();
        // Room for the end of the line, and for one more byte that shows that the token is too
        // long.
        let read = file.take(most as u64 + 3).read_to_string(&mut text);
        read.map_err(|error| fault(error.to_string()))?;
        let token = text.trim_end_matches(['\r', '\n']);
        if !(least..=most).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let found = token.len();
            return Err(fault(format!(
                "found a token of {found} bytes, expected {least} to {most} visible ASCII characters on one line"
            )));
        }
        Ok(Self(Sha256::digest(token).into()))
    }

    /// Compares in constant time: the time does not depend on `given`.
    fn is(&self, given: &str) -> bool {
        self.0.ct_eq(<[u8; 32]>::from(Sha256::digest(given)).as_slice()).into()
    }
}

/// The conditions that every request must meet.
#[derive(Clone)]
pub struct Access {
    hosts: Vec<String>,
    token: Option<Token>,
    /// Whether other machines can reach the service. Every request then needs the token.
    is_open: bool,
}

/// The requirements of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Media types that its body may have. Empty if the endpoint has no body.
    pub media_types: &'static [&'static str],
    /// Whether it needs the token even on the loopback.
    pub token: bool,
    /// Whether it is exempt from all checks but the length of the header.
    pub is_free: bool,
}

impl Access {
    /// Creates the conditions of a service that listens at `address`. `hosts` are further names by
    /// which clients may call it, such as the name of a proxy or of the machine.
    ///
    /// # Errors
    /// [`ServeError::Open`] if other machines can reach the address and there is no token.
    pub fn new(address: SocketAddr, hosts: Vec<String>, token: Option<Token>) -> Result<Self, ServeError> {
        let is_open = !address.ip().is_loopback();
        if is_open && token.is_none() {
            return Err(ServeError::Open(address));
        }
        Ok(Self { hosts, token, is_open })
    }

    /// Returns whether other machines can reach the service. All endpoints but the free ones then
    /// need the token.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Refuses a request that does not meet the conditions. `local` is the address of this machine
    /// that the client reached.
    pub(super) fn check<B>(&self, needs: Needs, request: &Request<B>, local: IpAddr) -> Result<(), Refusal> {
        let headers = request.headers();
        check_length(headers)?;
        if needs.is_free {
            return Ok(());
        }
        let host = self.check_host(headers, local)?;
        if request.uri().authority().is_some_and(|target| *target != host) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "found a host in the path that is not that of Host"));
        }
        check_origin(headers, &host)?;
        self.check_token(needs, headers)?;
        if *request.method() == Method::POST && !needs.media_types.is_empty() {
            check_media_type(headers, needs.media_types)?;
        }
        Ok(())
    }

    /// Refuses a foreign `Host`. A web page whose name is made to resolve to this address (DNS
    /// rebinding) sends that name as the host.
    fn check_host(&self, headers: &HeaderMap, local: IpAddr) -> Result<Authority, Refusal> {
        let mut given = headers.get_all(HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "found no or several Host headers, expected one"));
        };
        let authority = Authority::try_from(host.as_bytes());
        let authority =
            authority.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "found a Host header that is no host"))?;
        if authority.as_str().contains('@') {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "found a user in the Host header, expected a host alone",
            ));
        }
        let name = authority.host();
        let address: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let is_own = match address {
            Some(address) => address.is_loopback() || address.to_canonical() == local.to_canonical(),
            None => name.eq_ignore_ascii_case("localhost"),
        };
        if is_own || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) {
            return Ok(authority);
        }
        let message = format!("found the host {name}, expected localhost, the address or a name of this service");
        Err(Refusal::new(StatusCode::FORBIDDEN, message))
    }

    fn check_token(&self, needs: Needs, headers: &HeaderMap) -> Result<(), Refusal> {
        if !needs.token && !self.is_open {
            return Ok(());
        }
        let Some(token) = &self.token else {
            let message = "found no token that this service was started with, so models are swapped by SIGHUP alone";
            return Err(Refusal::new(StatusCode::FORBIDDEN, message));
        };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, given) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("Bearer").then(|| given.trim_start())
        });
        if given.is_some_and(|given| token.is(given)) {
            return Ok(());
        }
        let message = "found no or another token, expected the header Authorization: Bearer TOKEN";
        Err(Refusal::new(StatusCode::UNAUTHORIZED, message))
    }
}

/// Checks the total length of header names and values, without the separators.
fn check_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if length <= HEADER_BYTES {
        return Ok(());
    }
    let message = format!("found a header of {length} bytes, expected at most {HEADER_BYTES}");
    Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message))
}

/// Refuses a foreign `Origin`. Browsers send the origin of the page that makes a request, and this
/// service has no pages of its own.
fn check_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Refusal> {
    let is_own = |origin: &[u8]| {
        let origin = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str().as_bytes()))
    };
    if headers.get_all(ORIGIN).iter().all(|origin| is_own(origin.as_bytes())) {
        return Ok(());
    }
    let message = "found the Origin of another web site, expected none or that of this service";
    Err(Refusal::new(StatusCode::FORBIDDEN, message))
}

fn check_media_type(headers: &HeaderMap, expected: &[&str]) -> Result<(), Refusal> {
    let given = media_type(headers);
    if expected.iter().any(|expected| given.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    let message = format!("found the Content-Type {given:?}, expected {}", expected.join(" or "));
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

/// Returns the media type of a body without its parameters; an empty string if there is none.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}
