//! Tests of the program `atq-director`.
#![allow(missing_docs, clippy::unwrap_used)]

mod listeners;
mod node_port;
mod store;
mod tokens;

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/example.yaml");

#[test]
fn a_full_disk_for_the_output_is_a_failure_and_not_a_panic() {
    for command in ["example", "check"] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_atq-director"))
            .args(["config", command])
            .env("ATQ_CONFIG", EXAMPLE)
            .stdout(full)
            .output()
            .unwrap();
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command}: {stderr}");
        assert!(!stderr.contains("panicked"), "{command}: {stderr}");
    }
}

/// Standard error.
fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory with a configuration. Docker is not needed.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self::with_config("")
    }

    /// A home whose configuration has further keys; `HOME` in their values is its path.
    fn with_config(keys: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let text = format!(
            "port: 0\nnodePort: 0\nglusterpath: HOME/bundles\ndatadir: HOME/data\ndockerHost: unix://HOME/none.sock\n{keys}"
        );
        let path = home.0.path().to_str().unwrap();
        let text = text.replace("HOME", path);
        fs::write(home.path("controller-config.yaml"), text).unwrap();
        home
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atq-director"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env_remove("ATQ_CONFIG")
            .env_remove("ATQ_LOG")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The line of a task in an export, in the format of the first version.
    fn line(name: &str) -> String {
        format!(
            r#"{{"format":1,"task":"{name}","spec":{{"name":"{name}","worker":{SERVICE},"master":{SERVICE},"wait":null,"delay":0}},"desired":"run","history":[{{"seq":1,"at":1750000000000,"event":"queued","data":{{"run":"a1b2c3","token":"t"}}}}]}}"#
        )
    }

    /// A home with these tasks in its store.
    fn with_tasks(names: &[&str]) -> Self {
        let home = Self::new();
        let lines: String = names
            .iter()
            .map(|name| format!("{}\n", Self::line(name)))
            .collect();
        fs::write(home.path("tasks.ndjson"), lines).unwrap();
        let output = home.run(&["store", "import", "tasks.ndjson"]);
        assert!(output.status.success(), "{}", stderr(&output));
        home
    }

    /// Starts a Director and waits until it listens.
    fn serve(&self) -> Serving {
        self.served_by(self.command(&[]))
    }

    /// Starts a Director with a limit of descriptors.
    fn serve_with(&self, descriptors: u32) -> Serving {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {descriptors}; exec \"$0\"");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_atq-director")])
            .current_dir(self.0.path())
            .env_remove("ATQ_CONFIG")
            .env_remove("ATQ_LOG")
            .stdin(Stdio::null());
        self.served_by(command)
    }

    fn served_by(&self, mut command: Command) -> Serving {
        let log = fs::File::create(self.path("log")).unwrap();
        let serving = Serving(command.stderr(log).spawn().unwrap());
        self.until_logged("listening on http");
        serving
    }

    fn until_logged(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The address of the main port.
    fn address(&self) -> String {
        let log = self.log();
        let (_, rest) = log.split_once("listening on http").unwrap();
        let (_, rest) = rest.split_once("://").unwrap();
        rest.split(',').next().unwrap().to_owned()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).unwrap();
        stream
    }

    /// The whole response to a GET.
    fn get(&self, path: &str) -> String {
        get(self.connect(), path).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

/// The whole response to a GET over a connection.
fn get(mut stream: impl Read + Write, path: &str) -> io::Result<String> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

const SERVICE: &str = r#"{"alias":"a","image":"tool","args":[],"environment":[{"name":"A","value":"secret"}],"fileid":null,"replicas":1,"tty":false,"networks":[]}"#;

struct Serving(Child);

impl Serving {
    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.0);
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Ends the Director by SIGTERM and waits for it.
    fn terminate(mut self) {
        self.signal(Signal::TERM);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn assert_stderr(output: &Output, code: i32, words: &[&str]) {
    let stderr = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn an_unreadable_directory_is_named() {
    let home = Home::new();
    fs::create_dir(home.path("data")).unwrap();
    fs::write(home.path("data/state"), "a file").unwrap();
    assert_stderr(
        &home.run(&[]),
        1,
        &["cannot open the store in `", "data/state`"],
    );
}

#[test]
fn the_handling_of_orphans_is_set_by_option_or_variable() {
    let home = Home::new();
    let output = home.run(&["--adopt-orphans=maybe"]);
    assert_stderr(&output, 2, &["remove", "keep"]);
    let output = home
        .command(&[])
        .env("ATQ_ADOPT_ORPHANS", "maybe")
        .output()
        .unwrap();
    assert_stderr(&output, 2, &["remove", "keep"]);
}

#[test]
fn many_incomplete_requests_do_not_block_others() {
    let home = Home::new();
    let _serving = home.serve_with(256);
    let mut halves = Vec::new();
    for _ in 0..400 {
        let mut half = home.connect();
        half.write_all(b"GET /task HTTP/1.1\r\nho").unwrap();
        halves.push(half);
    }
    for path in ["/monitoring/ping", "/task", "/task/none/logs"] {
        let answer = home.get(path);
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 5"), "{path}: {answer}");
    }
    assert!(!home.log().contains("cannot accept"), "{}", home.log());
}

#[test]
fn data_is_restricted_to_its_own_user_even_if_it_was_readable_before() {
    let home = Home::with_tasks(&["one"]);
    let mode = |below: &str| {
        let found = fs::metadata(home.path(below)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode("data"), 0o700, "after creation");
    let open = |below: &str, mode| {
        fs::set_permissions(home.path(below), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("data", 0o755);
    open("data/state", 0o755);
    open("data/state/db", 0o644);
    let _serving = home.serve();
    home.until_logged("were readable for other users");
    assert!(home.log().contains("access restricted: `"));
    for (below, expected) in [
        ("data", 0o700),
        ("data/state", 0o700),
        ("data/state/db", 0o600),
        ("data/director-id", 0o600),
        ("bundles", 0o700),
    ] {
        assert_eq!(mode(below), expected, "{below}");
    }
}

/// The token that a command prints.
#[test]
fn a_director_without_authentication_does_not_listen_beyond_loopback() {
    let home = Home::new();
    let config = fs::read_to_string(home.path("controller-config.yaml")).unwrap();
    let open = format!("{config}bind: 0.0.0.0\n");
    fs::write(home.path("controller-config.yaml"), &open).unwrap();
    for args in [&[][..], &["config", "check"]] {
        let words = ["`bind` (line 6)", "`auth: tokens`", "`bind: 127.0.0.1`"];
        assert_stderr(&home.run(args), 2, &words);
    }
    fs::write(home.path("controller-config.yaml"), open + "auth: tokens\n").unwrap();
    let output = home.run(&["config", "check"]);
    assert_stderr(&output, 0, &[]);
}
