//! Connections: what makes room for others, what does not, and what ends with them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::running::{Running, TOKEN, head, head_with};

/// Long before any time-out of a service that has `--body-timeout 600`.
const SOON: Duration = Duration::from_secs(30);

/// Found by a review: a connection counted as busy from its header on, with a token or without.
#[test]
fn unfinished_bodies_make_room() {
    let times = ["--header-timeout", "600", "--body-timeout", "600"];
    let service = Running::start(&[&times[..], &["--listen", "0.0.0.0:0", "--connections", "8"]].concat());
    let half = |token: &str| {
        let mut client = service.connect();
        let head = head_with("/score", Some(100), &format!("authorization: Bearer {token}"));
        client.write_all(format!("{head}[{{").as_bytes()).unwrap();
        client
    };
    let start = Instant::now();
    let mut clients: Vec<TcpStream> = (0..8).map(|_| half(TOKEN)).collect();
    assert_eq!(service.get("/health").0, 200);
    // The oldest.
    let mut answer = String::new();
    match clients[0].read_to_string(&mut answer) {
        // What the service had not read makes the system reset the connection where it closes it.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        Ok(_) => assert_eq!(answer, ""),
    }
    drop(clients);
    // A refusal waits little for the rest of what it refuses, and says what is wrong.
    let mut stranger = half("of somebody else");
    stranger.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// Found by a review: it counted as idle while it was written, longest of all.
#[test]
fn an_answer_that_is_being_sent_is_not_cut_for_others() {
    let many = ["--max-records", "1000000", "--write-timeout", "600", "--connections", "4"];
    let service = Running::start(&many);
    let body = format!("[{}{{}}]", "{},".repeat(60_000));
    let mut slow = service.connect();
    slow.write_all(format!("{}{body}", head("/score?gate=true", Some(body.len()))).as_bytes()).unwrap();
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
    let idle: Vec<TcpStream> = (0..8).map(|_| service.connect()).collect();
    assert_eq!(service.get("/health").0, 200);
    assert!(service.metric("feamoe_idle_connections_closed_total") >= 5.0);
    drop(idle);
    let mut ended = false;
    while !ended {
        let mut part = vec![0; 1 << 20];
        let length = slow.read(&mut part).unwrap();
        assert!(length > 0, "cut after {} bytes", answer.len());
        answer.extend_from_slice(&part[..length]);
        ended = answer.ends_with(b"]}");
    }
    assert!(answer.len() > 5 << 20, "too short for a test: {} bytes", answer.len());
}
