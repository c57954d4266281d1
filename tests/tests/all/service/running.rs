//! Runs a separate service for each test, and sends requests to it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use feamoe_tests::command::{Folder, feamoe};
use serde_json::Value;

/// The longest time that a test waits. It allows for a loaded machine, not for a slow service.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The token for swapping models.
pub const TOKEN: &str = "a-token-of-the-tests";
pub const JSON: &str = "application/json";
pub const MODEL: &str = "application/octet-stream";

/// A running service of `first.feamoe`, in a folder that also has `second.feamoe`. Its log is in
/// `log`.
pub struct Running {
    pub folder: Folder,
    pub process: Child,
    pub address: String,
    agent: ureq::Agent,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two models with the same features; the second is calibrated, so its probabilities differ from
/// its scores.
pub fn models() -> &'static [Vec<u8>; 2] {
    static MODELS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    MODELS.get_or_init(|| {
        let folder = Folder::with_model();
        let data = ["train", "lending.csv", "--schema", "lending.toml", "--bins", "8"];
        let _ = folder.run(&[&data[..], &["--class-weight", "balanced", "-o", "second.feamoe"]].concat()).done();
        [folder.read("lending.feamoe"), folder.read("second.feamoe")]
    })
}

/// A folder with both models and a token.
pub fn folder() -> Folder {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    for (name, model) in ["first.feamoe", "second.feamoe"].iter().zip(models()) {
        folder.write(name, model);
    }
    folder.write("token", format!("{TOKEN}\n"));
    std::fs::set_permissions(folder.path("token"), std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

impl Running {
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(folder(), options)
    }

    /// Like [`Running::start`], in a folder that already has the model and the token.
    pub fn start_in(folder: Folder, options: &[&str]) -> Self {
        let mut command = Command::new(feamoe());
        command.args(["serve", "first.feamoe", "--token-file", "token"]).args(options).current_dir(folder.path("."));
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let log = File::create(folder.path("log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().trim_start_matches("http://").replace("0.0.0.0", "127.0.0.1");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Self { folder, process, address, agent: config.build().new_agent() }
    }

    /// Ends the process and returns its folder.
    pub fn end(mut self) -> Folder {
        std::mem::replace(&mut self.folder, Folder::new())
    }

    pub fn post_as(&self, path: &str, content: &str, token: &str, body: &[u8]) -> (u16, Value) {
        let request = self.agent.post(format!("http://{}{path}", self.address)).header("content-type", content);
        let mut response = request.header("authorization", format!("Bearer {token}")).send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_json().unwrap())
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
        let content = if path == "/model" { MODEL } else { JSON };
        self.post_as(path, content, TOKEN, body.as_ref())
    }

    #[cfg(feature = "tables")]
    pub fn post_bytes(&self, path: &str, content: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = self.agent.post(format!("http://{}{path}", self.address)).header("content-type", content);
        let mut response = request.send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let mut response = self.agent.get(format!("http://{}{path}", self.address)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    pub fn model(&self) -> Value {
        serde_json::from_str::<Value>(&self.get("/model").1).unwrap()["model"].clone()
    }

    /// Returns the value of a line of the metrics, or 0 if there is none.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap().success());
    }

    /// Opens a new connection.
    pub fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(&self.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    /// Sends bytes on a new connection. Returns what is received until it ends.
    pub fn say(&self, text: &str) -> String {
        let mut connection = self.connect();
        connection.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A refusal before the end of a body may cut the connection after the answer.
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    /// Sends a request with these header lines besides the usual ones. Returns the status and the
    /// answer.
    pub fn ask(&self, method_and_path: &str, lines: &[&str], body: &str) -> (u16, String) {
        let mut head = format!("{method_and_path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !lines.iter().any(|line| line.starts_with("host:")) {
            head.push_str(&format!("host: {}\r\n", self.address));
        }
        lines.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
        let answer = self.say(&format!("{head}\r\n{body}"));
        let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
        (status.parse().unwrap(), answer)
    }

    /// Returns a value of the process from `/proc` in kilobytes, or `None` on systems without it.
    pub fn memory(&self, key: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        status.lines().find_map(|line| line.strip_prefix(key)?.trim().trim_end_matches(" kB").parse().ok())
    }

    /// Returns the CPU time of the process in ticks, usually of 10 ms.
    pub fn ticks(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }
}

/// Returns the header of a request with a body of this length, or of a body sent in chunks.
pub fn head(path: &str, length: Option<usize>) -> String {
    head_with(path, length, "connection: keep-alive")
}

/// Like [`head`], with an additional line.
pub fn head_with(path: &str, length: Option<usize>, line: &str) -> String {
    let length = length.map_or("transfer-encoding: chunked".into(), |length| format!("content-length: {length}"));
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{line}\r\n{length}\r\n\r\n")
}

/// Waits until the condition holds.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not yet: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
