//! Connections: which ones are closed to make room, and which are not.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::running::{Running, TOKEN, head, head_with};

/// Much shorter than any time-out of a service with `--body-timeout 600`.
const SOON: Duration = Duration::from_secs(30);

/// A connection with an unfinished body counts as idle, with or without a token.
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
    // The oldest was closed.
    let mut answer = String::new();
    match clients[0].read_to_string(&mut answer) {
        // If the service has not read everything, closing the connection resets it.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        Ok(_) => assert_eq!(answer, ""),
    }
    drop(clients);
    // A refusal states the reason and waits only briefly for the rest of the body.
    let mut stranger = half("of somebody else");
    stranger.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// A connection is busy while its answer is sent, however long that takes.
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

/// A client that reads no answers must not keep everybody else out until its time-out.
#[test]
fn slow_answers_of_whoever_has_most_connections_make_room() {
    let Some(own) = outward_address() else {
        println!("nothing tested: this machine has no address but the loopback, which is exempt");
        return;
    };
    let many = ["--max-records", "1000000", "--write-timeout", "600", "--connections", "8"];
    let service = Running::start(&[&many[..], &["--listen", "0.0.0.0:0"]].concat());
    let address = service.address.replace("127.0.0.1", &own.to_string());
    let body = format!("[{}{{}}]", "{},".repeat(30_000));
    let line = format!("authorization: Bearer {TOKEN}");
    let request =
        format!("{}{body}", head_with("/score?gate=true", Some(body.len()), &line).replace("localhost", &address));
    let started = |_| {
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        client.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        client
    };
    let clients: Vec<TcpStream> = (0..8).map(started).collect();
    let start = Instant::now();
    // The loopback address counts as another client.
    assert_eq!(service.get("/health").0, 200);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let text = service.ask("GET /metrics", &[&line], "").1;
    assert!(text.contains("feamoe_slow_connections_closed_total 1\n"), "{text}");
    drop(clients);
}

/// Returns the address through which this machine would reach others. No packet is sent.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
