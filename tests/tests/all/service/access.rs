//! Who may use the service, and what it logs.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use feamoe_tests::command::{feamoe, keys};
use serde_json::{Value, json};

use super::running::{JSON, MODEL, Running, TOKEN, folder, models, wait_for};

const AS_JSON: &str = "content-type: application/json";

/// A web page must not be able to swap the model, nor reach the service by a name that resolves to
/// it.
#[test]
fn pages_of_other_web_sites_are_refused() {
    let service = Running::start(&["--host", "models.example"]);
    let port = service.address.rsplit(':').next().unwrap();
    let (own, named) =
        (format!("origin: http://{}", service.address), format!("origin: https://models.example:{port}"));
    let (local, with_port) = (format!("host: localhost:{port}"), format!("host: models.example:{port}"));
    let long = format!("x: {}", "x".repeat(40_000));
    for (lines, status) in [
        (&["host: evil.example"][..], 403),
        (&["host: evil.example:8080"], 403),
        (&["host: 203.0.113.7"], 403),
        (&["host: localhost.evil.example"], 403),
        (&["host: localhost@evil.example"], 400),
        (&["host: evil.example@localhost"], 400),
        (&["host: localhost."], 403),
        (&["host: localhost", &long], 431),
        (&["host: not a host"], 400),
        (&["host: localhost", "host: evil.example"], 400),
        (&["origin: http://evil.example"], 403),
        (&["origin: null"], 403),
        (&["origin: http://localhost:1"], 403),
        (&[&own, "origin: http://evil.example"], 403),
        (&[&own], 200),
        (&[&local], 200),
        (&["host: LOCALHOST"], 200),
        (&["host: [::1]:80"], 200),
        (&["host: models.example"], 200),
        (&[&with_port, &named], 200),
        (&["host: localhost", &named], 403),
    ] {
        let (found, answer) = service.ask("POST /score", &[lines, &[AS_JSON]].concat(), "{}");
        assert_eq!(found, status, "{lines:?}: {answer}");
        // Requests that need neither a token nor a body.
        assert_eq!(service.ask("GET /model", lines, "").0, status, "{lines:?}");
        assert_eq!(service.ask("HEAD /model", lines, "").0, status, "{lines:?}");
        for method in ["GET", "HEAD"] {
            let expected = if status == 431 { 431 } else { 200 };
            assert_eq!(service.ask(&format!("{method} /health"), lines, "").0, expected, "{lines:?}");
        }
        assert!(status == 200 || answer.contains("{\"error\":\"found "), "{lines:?}: {answer}");
    }
    // A host in the path must equal the header's, which must be allowed.
    for (path, host, status) in [
        ("http://localhost/model", "host: localhost", 200),
        ("http://evil.example/model", "host: localhost", 400),
        ("http://evil.example/model", "host: evil.example", 403),
        ("http://user@localhost/model", "host: localhost", 400),
    ] {
        let (found, answer) = service.ask(&format!("GET {path}"), &[host], "");
        assert_eq!(found, status, "{path} {host}: {answer}");
    }
    let evil = ["origin: http://evil.example", &format!("authorization: Bearer {TOKEN}"), "content-type: text/plain"];
    assert_eq!(service.ask("POST /model", &evil, "FEAM").0, 403);
}

#[test]
fn models_need_the_token() {
    let service = Running::start(&[]);
    let first = service.model();
    for token in ["", "another", &TOKEN[1..], &format!("{TOKEN}x")] {
        let (status, answer) = service.post_as("/model", MODEL, token, &models()[1]);
        assert_eq!(status, 401, "{token}: {answer}");
    }
    let (status, answer) = service.ask("POST /model", &["content-type: application/octet-stream"], "FEAM");
    assert!(status == 401 && answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    assert_eq!(service.model(), first);
    let (status, answer) = service.post_as("/model", MODEL, TOKEN, &models()[1]);
    assert_eq!(status, 200, "{answer}");
    assert_ne!(service.model(), first);
    let log = || service.folder.text("log");
    wait_for("the request that had it", || log().contains("\"route\":\"/model\",\"status\":200"));
    assert!(!log().contains(TOKEN));
}

#[test]
fn beyond_the_loopback_everything_needs_the_token() {
    let folder = folder();
    let start = |options: &[&str]| {
        let mut command = Command::new(feamoe());
        let output =
            command.args(["serve", "first.feamoe"]).args(options).current_dir(folder.path(".")).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        String::from_utf8(output.stderr).unwrap()
    };
    let error = start(&["--listen", "0.0.0.0:0"]);
    assert!(error.contains("can be reached by other machines") && error.contains("--token-file FILE"), "{error}");
    set_permissions(folder.path("token"), Permissions::from_mode(0o640)).unwrap();
    let error = start(&["--token-file", "token"]);
    assert!(error.contains("found the mode 640, expected 600 or less; run chmod 600"), "{error}");
    folder.write("token", "too short");
    set_permissions(folder.path("token"), Permissions::from_mode(0o600)).unwrap();
    let error = start(&["--token-file", "token"]);
    assert!(error.contains("found a token of 9 bytes, expected 16 to 1024"), "{error}");

    let service = Running::start(&["--listen", "0.0.0.0:0"]);
    for path in ["/score", "/explain", "/recourse", "/model"] {
        assert_eq!(service.ask(&format!("POST {path}"), &[AS_JSON], "{}").0, 401, "{path}");
    }
    for (path, status) in
        [("/model", 401), ("/metrics", 401), ("/openapi.json", 401), ("/health", 200), ("/ready", 200)]
    {
        assert_eq!(service.get(path).0, status, "{path}");
    }
    assert_eq!(service.post_as("/score", JSON, TOKEN, b"{}").0, 200);
    // The description states this.
    let token = format!("authorization: Bearer {TOKEN}");
    let (_, answer) = service.ask("GET /openapi.json", &[&token], "");
    let description: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(description["security"], json!([{ "token": [] }]));
    assert_eq!(description["paths"]["/health"]["get"]["security"], json!([]));
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

/// A misspelt column would count all decisions as missing.
#[test]
fn columns_of_groups_are_those_of_the_model() {
    let error = folder().run(&["serve", "first.feamoe", "--group", "region,regoin"]).refused();
    assert!(error.contains("found the column \"regoin\" of groups") && error.contains("income"), "{error}");
    assert!(error.contains("use --other-group for a column that the schema does not have"), "{error}");
}

/// Without a token no request can swap the model.
#[test]
fn without_a_token_models_come_by_signal_alone() {
    let folder = folder();
    let mut command = Command::new(feamoe());
    command.args(["serve", "first.feamoe", "--listen", "127.0.0.1:0"]).current_dir(folder.path("."));
    let mut process = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut address = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut address).unwrap();
    let response = ureq::post(format!("{}/model", address.trim()))
        .config()
        .http_status_as_error(false)
        .build()
        .header("content-type", MODEL)
        .header("authorization", "Bearer ")
        .send(&models()[1][..]);
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(response.unwrap().status().as_u16(), 403);
}

#[test]
fn bodies_say_what_they_are() {
    let service = Running::start(&[]);
    for (path, right) in [("/score", JSON), ("/explain", JSON), ("/recourse", JSON), ("/model", MODEL)] {
        let (status, _) = service.post_as(path, right, TOKEN, b"{}");
        assert!(status != 415, "{path} {right}: {status}");
        for content in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            let (status, answer) = service.post_as(path, content, TOKEN, b"{}");
            let error = answer["error"].as_str().unwrap();
            assert!(status == 415 && error.contains(right), "{path} {content}: {status} {error}");
        }
    }
    assert_eq!(service.post_as("/score", "application/json; charset=utf-8", TOKEN, b"{}").0, 200);
    assert_eq!(service.post_as("/explain", "application/vnd.apache.arrow.stream", TOKEN, b"{}").0, 415);
}

/// The log contains nothing that a client sent, and no control characters.
#[test]
fn the_log_has_nothing_of_the_client() {
    let service = Running::start(&[]);
    let secrets = ["secret-path", "secret-query", "secret-name", "secret-level", "secret-agent"];
    for (request, body) in [
        ("POST /score?gate=true", "{\"income\": 4711, \"region\": \"secret-level\"}"),
        ("POST /score?x=secret-query", "{}"),
        ("POST /score", "{\"secret-name\\u001b[2J\\u202e\": 1}"),
        ("GET /secret-path/x", ""),
        ("SECRET /score", ""),
    ] {
        let (status, answer) = service.ask(request, &[AS_JSON, "user-agent: secret-agent"], body);
        assert!(!answer.chars().any(|c| (c.is_control() && c != '\r' && c != '\n') || c == '\u{202e}'), "{answer:?}");
        assert!(answer.contains("x-request-id: "), "{status} {answer}");
    }
    let log = || service.folder.text("log");
    wait_for("five lines", || log().lines().count() == 5);
    for line in log().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert_eq!(keys(&entry), ["bytes", "id", "method", "milliseconds", "route", "status", "time"]);
        assert!(!secrets.iter().any(|secret| line.contains(secret)) && !line.contains("127.0.0.1"), "{line}");
        assert!(!line.contains("4711") && !line.contains("SECRET"), "{line}");
    }
    let entries: Vec<Value> = log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&entries[0]["route"], &entries[0]["status"]), (&"/score".into(), &200.into()));
    assert_eq!((&entries[3]["route"], &entries[4]["method"]), (&"other".into(), &"other".into()));
    // With --quiet, successful requests are not logged.
    let quiet = Running::start(&["--quiet"]);
    assert_eq!((quiet.post("/score", "{}").0, quiet.post("/score", "[").0), (200, 400));
    wait_for("a line", || quiet.folder.text("log").contains("\"status\":400"));
    assert_eq!(quiet.folder.text("log").lines().count(), 1);
}

/// With trusted keys, the service refuses models signed by others and models older than the one in
/// use.
#[test]
fn models_of_others_and_older_ones_are_refused() {
    let folder = folder();
    let run = |arguments: &[&str]| folder.run(arguments).done();
    for key in ["ours.pem", "theirs.pem"] {
        run(&["sign", "--new-key", key]);
    }
    let sign = |model: &str, key: &str, line: &str, version: &str, output: &str| {
        run(&["sign", model, "--key", key, "--line", line, "--model-version", version, "-o", output]);
    };
    std::fs::rename(folder.path("first.feamoe"), folder.path("unsigned.feamoe")).unwrap();
    sign("unsigned.feamoe", "ours.pem", "loans", "5", "first.feamoe");
    for (key, line, version, output) in [
        ("ours.pem", "loans", "4", "older"),
        ("ours.pem", "loans", "6", "newer"),
        ("ours.pem", "cards", "6", "line"),
        ("theirs.pem", "loans", "6", "theirs"),
    ] {
        sign("second.feamoe", key, line, version, output);
    }
    let trust = ["--trust", "ours.pem.pub", "--line", "loans"];
    let refused = folder.run(&[&["serve", "unsigned.feamoe"][..], &trust].concat()).refused();
    assert_eq!(refused, "unsigned.feamoe: cannot use this model: the model is not signed");
    let first = ["serve", "first.feamoe", "--least-version", "6"];
    let refused = folder.run(&[&first[..], &trust].concat()).refused();
    assert!(refused.ends_with("the model has version 5 of its line, but the lowest accepted is 6"), "{refused}");

    let bytes = |name: &str| folder.read(name);
    let [older, newer, line, theirs, unsigned] = ["older", "newer", "line", "theirs", "second.feamoe"].map(bytes);
    let mut changed = newer.clone();
    *changed.last_mut().unwrap() ^= 1;
    let service = Running::start_in(folder, &trust);
    let model = service.model();
    for (what, model) in [
        ("the model is not signed", &unsigned),
        // The signature is verified first.
        ("the signature is wrong", &changed),
        ("the model is not signed", &b"no model at all".to_vec()),
        ("the model has version 4 of its line, but the lowest accepted is 5", &older),
        ("the model is signed for another line", &line),
        ("the model is signed by a key that is not trusted", &theirs),
    ] {
        let (status, answer) = service.post("/model", model);
        assert!(status == 422 && answer["error"].as_str().unwrap().contains(what), "{status} {answer}");
    }
    assert_eq!(service.model(), model);
    assert_eq!(service.post("/model", &newer).0, 200);
    // The accepted version is the lowest allowed from now on.
    service.folder.write("first.feamoe", &older);
    service.signal("HUP");
    wait_for("the refusal", || {
        service.folder.text("log").contains("version 4 of its line, but the lowest accepted is 6")
    });
    assert_ne!(service.model(), model);

    // This holds after a restart too.
    let folder = service.end();
    assert_eq!(folder.text("loans.version"), "loans 6\n");
    let serve = [&["serve", "first.feamoe"][..], &trust].concat();
    let refused = folder.run(&serve).refused();
    let expected = "the model has version 4 of its line, but the lowest accepted is 6, that of loans.version";
    assert!(refused.contains(expected) && refused.contains("--allow-older"), "{refused}");
    // Renaming the file does not avoid the rule.
    std::fs::rename(folder.path("first.feamoe"), folder.path("again.feamoe")).unwrap();
    let refused = folder.run(&[&["serve", "again.feamoe"][..], &trust].concat()).refused();
    assert!(refused.contains(expected), "{refused}");
    std::fs::rename(folder.path("again.feamoe"), folder.path("first.feamoe")).unwrap();
    for (text, why) in [("cards 1\n", "found the line \"cards\", expected \"loans\""), ("6", "found another text")] {
        folder.write("loans.version", text);
        let refused = folder.run(&serve).refused();
        assert!(refused.contains(why) && refused.contains("--version-file FILE"), "{refused}");
    }
    folder.write("loans.version", "loans 6\n");
    // A failed start does not change the stored version.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = folder.run(&[&serve[..], &["--allow-older", "--listen", &address]].concat()).refused();
    assert!(refused.contains("cannot listen there"), "{refused}");
    assert_eq!(folder.text("loans.version"), "loans 6\n");
    // --allow-older lowers the stored version for good.
    let service = Running::start_in(folder, &[&trust[..], &["--allow-older"]].concat());
    assert_eq!(service.folder.text("loans.version"), "loans 4\n");
    assert_eq!(service.post("/model", &newer).0, 200);
    assert_eq!(service.folder.text("loans.version"), "loans 6\n");
}
