//! No request and no client can stop the service or make it exceed its limits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use feamoe_tests::command::feamoe;

use super::running::{Running, folder, head, head_with, models, wait_for};

/// The memory that one request may take beyond the idle service.
const MOST_KILOBYTES: u64 = 64 * 1024;

/// Two megabytes of empty records.
fn empty_records() -> String {
    format!("[{}{{}}]", "{},".repeat(690_000))
}

/// A small body must not cause a large answer: without limits, this one gives an answer of 235 MB
/// and a process of 957 MB.
#[test]
fn a_body_of_empty_records_takes_no_memory() {
    for (options, limit) in [
        (&[][..], "more than 10000 records, expected at most 10000"),
        (&["--max-records", "1000000"], "more than 16777216 bytes, expected at most 16777216"),
    ] {
        let service = Running::start(options);
        assert_eq!(service.post("/score", "{}").0, 200);
        let idle = service.memory("VmHWM:");
        let body = empty_records();
        let paths = ["/score", "/explain", "/recourse"];
        for path in &paths[..if options.is_empty() { 3 } else { 1 }] {
            let (status, answer) = service.post(path, &body);
            assert!(status == 422 && answer["error"].as_str().unwrap().contains(limit), "{path}: {status} {answer}");
        }
        let Some((idle, most)) = idle.zip(service.memory("VmHWM:")) else { continue };
        println!("{limit}: {idle} kB idle, {most} kB at most");
        assert!(most - idle <= MOST_KILOBYTES, "{idle} kB idle, {most} kB at most");
    }
}

#[test]
fn each_limit_is_named_where_it_is_passed() {
    let service = Running::start(&["--max-body", "1000", "--max-answer", "2000", "--max-coalitions", "5"]);
    let records = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
    for (path, body, status, why) in [
        ("/score", " ".repeat(1_001), 413, "a body of more than 1000 bytes, expected at most 1000"),
        ("/score", records(300), 422, "an answer of more than 2000 bytes, expected at most 2000"),
        ("/explain", records(300), 422, "an answer of more than 2000 bytes"),
        ("/explain?method=exact", "{}".into(), 422, "more than 5 coalitions, expected at most 5"),
    ] {
        let (found, answer) = service.post(path, body);
        let error = answer["error"].as_str().unwrap();
        assert!(found == status && error.contains(why), "{path}: {found} {error}");
    }
    // The service's statement about a swap is not limited like an answer: the swap is done and
    // reported.
    let (status, swapped) = service.post("/model", &models()[1]);
    assert!(status == 200 && swapped.to_string().len() > 1_000, "{status} {swapped}");
    for path in ["/model", "/openapi.json", "/metrics", "/health"] {
        assert_eq!(service.get(path).0, 200, "{path}");
    }
    // Without a length the size is not known in advance.
    let chunk = format!("3e8\r\n{}\r\n", " ".repeat(1_000));
    let answer = service.say(&format!("{}{chunk}{chunk}0\r\n\r\n", head("/score", None)));
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("more than 1000 bytes"), "{answer}");
    // A refusal does not wait for the rest of the body.
    let answer = service.say(&head("/score", Some(1 << 30)));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// Work ends when its client leaves, even if the client has already sent a byte of its next
/// request.
#[test]
fn the_queue_is_bounded_and_work_ends_when_its_client_leaves() {
    let many = ["--max-records", "10000000", "--max-answer", "1000000000", "--work-timeout", "600"];
    let service = Running::start(&[&["--threads", "1", "--queue", "0"][..], &many].concat());
    // This body takes minutes of work.
    let body = format!("[{}{{}}]", "{\"income\":1},".repeat(150_000));
    for (sent_ahead, left) in [("", 1.0), ("P", 2.0)] {
        let mut client = service.connect();
        client.write_all(head("/recourse?answers=20", Some(body.len())).as_bytes()).unwrap();
        client.write_all(format!("{body}{sent_ahead}").as_bytes()).unwrap();
        // Nothing else may take the only thread before the work has begun.
        let idle = service.ticks();
        thread::sleep(Duration::from_millis(500));
        wait_for("the work", || idle.is_none_or(|idle| service.ticks().is_some_and(|ticks| ticks >= idle + 20)));
        let mut answer = String::new();
        wait_for("a full queue", || {
            answer = service.ask("POST /explain", &["content-type: application/json"], "{}").1;
            !answer.starts_with("HTTP/1.1 200 ")
        });
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
        // Scores are answered meanwhile, and models are swapped.
        assert_eq!(service.post("/score", "{}").0, 200);
        assert_eq!(service.post("/model", &models()[1]).0, 200);
        drop(client);
        // There is only one thread, which is free once the work has ended.
        wait_for("a free thread", || service.post("/explain", "{}").0 == 200);
        assert_eq!(service.metric("feamoe_request_seconds_count{endpoint=\"POST /recourse\",status=\"499\"}"), left);
    }
}

#[test]
fn work_has_a_time() {
    let many = ["--max-records", "10000000", "--max-answer", "1000000000", "--work-timeout", "1"];
    let service = Running::start(&many);
    let body = format!("[{}{{}}]", "{\"income\":1},".repeat(150_000));
    let head = head_with("/recourse?answers=20", Some(body.len()), "connection: close");
    let answer = service.say(&format!("{head}{body}"));
    // A repeated request would take as long, so the answer does not suggest one.
    assert!(answer.starts_with("HTTP/1.1 422 ") && !answer.contains("retry-after"), "{answer}");
    assert!(answer.contains("more than 1 s of work"), "{answer}");
}

/// Idle connections must not use up the files of the process.
#[test]
fn idle_connections_make_room() {
    let service = Running::start(&["--connections", "8", "--header-timeout", "600"]);
    let mut idle: Vec<TcpStream> = (0..40).map(|_| service.connect()).collect();
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(service.ask("POST /score", &["content-type: application/json"], "{}").0, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    // The oldest connections were closed, and no more than necessary.
    assert_eq!(idle[0].read(&mut [0]).unwrap(), 0);
    let last = idle.last_mut().unwrap();
    last.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(service.metric("feamoe_idle_connections_closed_total") >= 32.0);
}

/// A limit of too few open files is reported at the start, not when a connection needs one more.
#[test]
fn too_few_open_files_are_found_at_the_start() {
    let folder = folder();
    let line = format!("ulimit -n 50 && exec '{}' serve first.feamoe --listen 127.0.0.1:0", feamoe().display());
    let output = Command::new("sh").args(["-c", &line]).current_dir(folder.path(".")).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("512 connections need 576 open files, and this process may have 50"), "{error}");
    assert!(error.contains("lower --connections"), "{error}");
}

#[test]
fn slow_clients_are_cut() {
    let times = ["--header-timeout", "1", "--body-timeout", "1", "--write-timeout", "1", "--max-records", "1000000"];
    let service = Running::start(&times);
    // All connections wait at the same time.
    let mut silent = service.connect();
    let mut half_header = service.connect();
    half_header.write_all(b"POST /score HTTP/1.1\r\nhost: local").unwrap();
    let mut half_body = service.connect();
    half_body.write_all(format!("{}[{{", head("/score", Some(100))).as_bytes()).unwrap();
    let mut deaf = service.connect();
    let body = format!("[{}{{}}]", "{},".repeat(40_000));
    deaf.write_all(format!("{}{body}", head("/score?gate=true", Some(body.len()))).as_bytes()).unwrap();

    let mut all = Vec::new();
    assert_eq!(silent.read_to_end(&mut all).unwrap(), 0, "{}", String::from_utf8_lossy(&all));
    _ = half_header.read_to_end(&mut all);
    assert!(!String::from_utf8_lossy(&all).contains(" 200 "));
    let mut answer = String::new();
    half_body.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("more than 1 s"), "{answer}");
    // The system buffers part of an unread answer; the service waits for the rest no longer than
    // its time-out.
    wait_for("an end of all", || service.metric("feamoe_connections") == 1.0);
    all.clear();
    _ = deaf.read_to_end(&mut all);
    assert!(all.starts_with(b"HTTP/1.1 200 ") && !all.ends_with(b"]}"), "{} bytes came", all.len());
}

/// Half a request must not keep the process from ending.
#[test]
fn half_a_request_does_not_keep_it_from_its_end() {
    let mut service = Running::start(&["--grace", "1", "--header-timeout", "600", "--body-timeout", "600"]);
    let mut half_header = service.connect();
    half_header.write_all(b"POST /score HTTP/1.1\r\nhost: local").unwrap();
    let mut half_body = service.connect();
    half_body.write_all(format!("{}[{{", head("/score", Some(100))).as_bytes()).unwrap();
    wait_for("three connections", || service.metric("feamoe_connections") == 3.0);
    service.signal("TERM");
    let start = Instant::now();
    wait_for("the end of the process", || service.process.try_wait().unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(service.process.wait().unwrap().success());
    let log = service.folder.text("log");
    assert!(log.contains("connections were cut after the grace"), "{log}");
}
