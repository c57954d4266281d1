//! Requests and answers together have a memory limit, until an answer has been sent completely.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::running::{Running, head, head_with, wait_for};

/// The memory that two megabytes in the worst chunks may take beyond the idle service.
const MOST_KILOBYTES: u64 = 24 * 1024;

/// The bytes of chunks must not be stored one by one, which would take 77 MB for 2 MB.
#[test]
fn a_body_in_chunks_of_one_byte_takes_little_more_than_itself() {
    let service = Running::start(&[]);
    assert_eq!(service.post("/score", "{}").0, 200);
    let idle = service.memory("VmHWM:");
    let chunks = "1\r\n \r\n".repeat(2_000_000);
    let head = head_with("/score", None, "connection: close");
    let answer = service.say(&format!("{head}{chunks}2\r\n{{}}\r\n0\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    if let Some((idle, most)) = idle.zip(service.memory("VmHWM:")) {
        println!("{idle} kB idle, {most} kB at most");
        assert!(most - idle <= MOST_KILOBYTES, "{idle} kB idle, {most} kB at most");
    }
}

/// Large answers wait for clients that do not read. A few use all the memory; further large ones
/// are refused, and small ones are not.
#[test]
fn answers_that_nobody_takes_share_the_memory() {
    let many = ["--max-records", "1000000", "--write-timeout", "600", "--memory", "40000000"];
    let service = Running::start(&many);
    let body = format!("[{}{{}}]", "{},".repeat(60_000));
    let request = format!("{}{body}", head("/score?gate=true", Some(body.len())));
    let deaf = || {
        let mut client = service.connect();
        client.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 12];
        client.read_exact(&mut first).unwrap();
        (String::from_utf8_lossy(&first).into_owned(), client)
    };
    let mut clients: Vec<(String, TcpStream)> = (0..4).map(|_| deaf()).collect();
    let refused = clients.pop().unwrap().1;
    let text = |mut client: TcpStream| {
        let mut rest = vec![0; 400];
        let length = client.read(&mut rest).unwrap();
        String::from_utf8_lossy(&rest[..length]).into_owned()
    };
    let refusal = text(refused);
    assert!(refusal.contains("retry-after: 1\r\n") && refusal.contains("together take 40000000 bytes"), "{refusal}");
    assert_eq!(clients[0].0, "HTTP/1.1 200");
    assert_eq!((service.post("/score", "{}").0, service.get("/health").0), (200, 200));
    drop(clients);
    wait_for("the memory", || deaf().0 == "HTTP/1.1 200");
}
