//! Who may ask: pages of other web sites may not, and beyond the loopback only who has the token.

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

/// The largest number of bytes of names and values of a header.
const HEADER_BYTES: usize = 32 << 10;
/// Fewest and most bytes of a token.
const TOKEN_BYTES: [usize; 2] = [16, 1_024];

/// What a request shows to be let in: the bearer token of RFC 6750. Kept as a hash.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Reads a token from a file that nobody but its owner may read: the file's text, without the
    /// end of its line.
    ///
    /// # Errors
    /// [`ServeError::Token`]: others may read the file, or the token is too short, too long, or not
    /// of visible ASCII characters.
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
        // With the end of the line, and one more to see that it is longer.
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

    /// Compares in a time that does not depend on what was given.
    fn is(&self, given: &str) -> bool {
        self.0.ct_eq(<[u8; 32]>::from(Sha256::digest(given)).as_slice()).into()
    }
}

/// What a request must show.
#[derive(Clone)]
pub struct Access {
    hosts: Vec<String>,
    token: Option<Token>,
    /// Whether other machines reach the service: then every request needs the token.
    is_open: bool,
}

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Media types of its body; none of an endpoint without one.
    pub media_types: &'static [&'static str],
    /// Whether it always needs the token.
    pub token: bool,
    /// Whether anyone may ask, by any name.
    pub is_free: bool,
}

impl Access {
    /// Makes the conditions of a service at an address. `hosts` are the names beside its address
    /// that it is called by: a proxy's, a machine's.
    ///
    /// # Errors
    /// [`ServeError::Open`] without a token where other machines reach the address.
    pub fn new(address: SocketAddr, hosts: Vec<String>, token: Option<Token>) -> Result<Self, ServeError> {
        let is_open = !address.ip().is_loopback();
        if is_open && token.is_none() {
            return Err(ServeError::Open(address));
        }
        Ok(Self { hosts, token, is_open })
    }

    /// Returns whether other machines reach the service: then every request needs the token, except
    /// for the free ones.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Refuses a request that may not be asked. `local` is the address that the client reached.
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

    /// A web page whose name is made to resolve to this address sends that name as the host.
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

/// Names and values of the header, without what stands between them.
fn check_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if length <= HEADER_BYTES {
        return Ok(());
    }
    let message = format!("found a header of {length} bytes, expected at most {HEADER_BYTES}");
    Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message))
}

/// Browsers name the page that sends a request by its origin; this service has none of its own.
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

/// Returns the media type of a body, without its parameters; nothing if there is none.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}
