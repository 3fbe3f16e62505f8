//! Tests of the program `atq-director`.
#![allow(missing_docs, clippy::unwrap_used)]

mod listeners;
mod node_port;

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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
fn tasks_are_exported_and_imported() {
    let home = Home::with_tasks(&["one", "two"]);
    let output = home.run(&["store", "check"]);
    assert_stderr(&output, 0, &[]);
    assert_eq!(output.stdout, b"2 task(s), 0 with a problem\n");

    let output = home.run(&["store", "export", "out.ndjson"]);
    assert_stderr(&output, 0, &["2 task(s) exported, 0 skipped"]);
    let file = fs::metadata(home.path("out.ndjson")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let exported = fs::read(home.path("out.ndjson")).unwrap();
    assert_eq!(home.run(&["store", "export"]).stdout, exported);
    let again = home.run(&["store", "export", "out.ndjson"]);
    assert_stderr(&again, 1, &["cannot create `out.ndjson`"]);

    let again = home.run(&["store", "import", "out.ndjson"]);
    assert_stderr(&again, 1, &["the store is not empty: it has 2 task(s)"]);
    fs::remove_dir_all(home.path("data")).unwrap();
    let output = home.run(&["store", "import", "out.ndjson"]);
    assert_stderr(&output, 0, &[]);
    assert_eq!(output.stdout, b"2 task(s) imported\n");
    assert_eq!(home.run(&["store", "export"]).stdout, exported);
}

#[test]
fn a_check_creates_no_store_and_an_invalid_line_no_task() {
    let home = Home::new();
    for command in ["check", "export"] {
        let output = home.run(&["store", command]);
        assert_stderr(&output, 1, &["there is no store in `"]);
        assert!(!home.path("data").exists());
    }
    let lines = format!("{}\n{{}}\n", Home::line("one"));
    fs::write(home.path("bad.ndjson"), lines).unwrap();
    let output = home.run(&["store", "import", "bad.ndjson"]);
    assert_stderr(&output, 1, &["line 2: ", "nothing was imported"]);
    let output = home.run(&["store", "check"]);
    assert_eq!(output.stdout, b"0 task(s), 0 with a problem\n");
    let output = home.run(&["store", "import", "none.ndjson"]);
    assert_stderr(&output, 1, &["cannot read `none.ndjson`"]);
    fs::write(home.path("controller-config.yaml"), "port: x\n").unwrap();
    assert_stderr(&home.run(&["store", "check"]), 2, &["`port`"]);
}

#[test]
fn a_store_in_use_is_not_opened() {
    let home = Home::with_tasks(&["one"]);
    let _serving = home.serve();
    for args in [
        &["store", "check"][..],
        &["store", "export"],
        &["store", "import", "tasks.ndjson"],
    ] {
        assert_stderr(&home.run(args), 1, &["is in use by another process"]);
    }
    let id = home.path("data/director-id");
    fs::remove_file(&id).unwrap();
    assert_stderr(&home.run(&[]), 1, &["is in use by another process"]);
    assert!(!id.exists(), "a second Director touches nothing");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

/// Overwrites a part of each of sled's files, at a fraction of its used length.
fn damage(dir: &Path, share: f64) {
    for path in files(dir) {
        let mut content = fs::read(&path).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let at = (used as f64 * share) as usize;
        let end = content.len().min(at + 32);
        content[at..end].fill(0xa5);
        fs::write(path, content).unwrap();
    }
}

#[test]
fn the_error_of_a_damaged_store_contains_the_remedy() {
    for share in [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0] {
        let home = Home::with_tasks(&["one", "two", "three"]);
        // A second opening writes sled's snapshot.
        home.run(&["store", "check"]);
        let state = home.path("data/state");
        damage(&state, share);
        let words = [
            "cannot open the store in `",
            "`atq-director store export FILE`",
            "--adopt-orphans=keep",
        ];
        assert_stderr(&home.run(&[]), 1, &words);
        assert_stderr(&home.run(&["store", "check"]), 1, &words);
        assert!(!home.path("data/director-id").exists());

        let output = home.run(&["store", "export", "out.ndjson"]);
        assert_stderr(&output, 1, &["cannot open the store in `"]);
        assert!(
            files(&home.path("data")).is_empty(),
            "the copy is removed: {share}"
        );
        // Applies the remedy: moves the store away and imports the export.
        fs::rename(&state, home.path("data/state.broken")).unwrap();
        if home.path("out.ndjson").exists() {
            // The export must not leave an empty file.
            assert!(fs::metadata(home.path("out.ndjson")).unwrap().len() > 0);
            let output = home.run(&["store", "import", "out.ndjson"]);
            assert_stderr(&output, 0, &[]);
        }
        drop(home.serve());
    }
}

#[test]
fn a_damaged_snapshot_loses_no_task() {
    let home = Home::with_tasks(&["one", "two"]);
    let exported = home.run(&["store", "export"]).stdout;
    for path in files(&home.path("data/state")) {
        if path.file_name().unwrap() != "db" {
            fs::write(path, "?").unwrap();
        }
    }
    let output = home.run(&["store", "export", "out.ndjson"]);
    assert_stderr(&output, 1, &["2 task(s) exported, 0 skipped"]);
    assert_eq!(fs::read(home.path("out.ndjson")).unwrap(), exported);
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
fn printed_token(output: &Output) -> String {
    assert_stderr(output, 0, &[]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let token = text.strip_suffix('\n').unwrap();
    assert!(token.starts_with("atq_") && !token.contains(char::is_whitespace));
    token.to_owned()
}

#[test]
fn tokens_are_created_listed_and_revoked_while_no_director_runs() {
    let home = Home::new();
    let create = ["token", "create", "--name", "ana", "--role", "admin"];
    let output = home.run(&create);
    let token = printed_token(&output);
    let secret = token.splitn(3, '_').last().unwrap();
    assert!(!stderr(&output).contains(secret), "{}", stderr(&output));
    let id = token.split('_').nth(1).unwrap();
    let more = ["--expires", "0"];
    printed_token(&home.run(&[&create[..], &more].concat()));

    let output = home.run(&["token", "list", "--json"]);
    assert_stderr(&output, 0, &[]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tokens = list["tokens"].as_array().unwrap();
    let first = tokens.iter().find(|token| token["id"] == id).unwrap();
    assert!(first["expires"].is_string());
    let second = tokens.iter().find(|token| token["id"] != id).unwrap();
    assert_eq!(second.get("expires"), None);
    let output = home.run(&["token", "list"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("ID ") && table.contains(id), "{table}");
    assert!(!table.contains(secret));

    assert_stderr(&home.run(&["token", "revoke", id]), 0, &["is revoked"]);
    let output = home.run(&["token", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut tokens = list["tokens"].as_array().unwrap().iter();
    assert!(tokens.any(|token| token["id"] == id && token["revoked"].is_string()));

    let audit = fs::read_to_string(home.path("data/audit.log")).unwrap();
    assert_eq!(audit.lines().count(), 3, "{audit}");
    assert!(audit.contains(id) && !audit.contains(secret), "{audit}");
    // Tasks only.
    let export = home.run(&["store", "export"]);
    assert_eq!(export.stdout, b"");
}

#[test]
fn invalid_commands_for_tokens_are_refused() {
    let home = Home::new();
    let create = |more: &[&str]| home.run(&[&["token", "create"][..], more].concat());
    assert_stderr(&create(&["--name", "x", "--role", "root"]), 2, &["viewer"]);
    assert_stderr(&create(&["--name", "x"]), 2, &["--role"]);
    let output = create(&["--name", "uid:0", "--role", "admin"]);
    assert_stderr(&output, 1, &["`name`"]);
    let output = create(&["--name", "x", "--role", "admin", "--expires", "90"]);
    assert_stderr(&output, 2, &["`90d`"]);
    let output = home.run(&["token", "revoke", "nothing"]);
    assert_stderr(&output, 1, &["ten hexadecimal digits"]);
    let output = home.run(&["token", "revoke", "0000000000"]);
    assert_stderr(&output, 1, &["there is no token `0000000000`"]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let args = ["token", "create", "--name", "x", "--role", "viewer"];
    let output = home.command(&args).stdout(full).output().unwrap();
    assert_stderr(&output, 1, &[]);
}

/// Answers one request at the control socket; returns the request.
fn control_socket(home: &Home, answer: &'static str) -> std::thread::JoinHandle<String> {
    fs::create_dir_all(home.path("data")).unwrap();
    let path = home.path("data/control.sock");
    let _ = fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).unwrap();
        let (mut request, mut buffer) = (String::new(), [0; 4096]);
        while !request.ends_with('}') && !request.ends_with("\r\n\r\n") {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the request ended early: {request}");
            request.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        stream.write_all(answer.as_bytes()).unwrap();
        request
    })
}

#[test]
fn tokens_of_a_running_director_are_managed_through_its_control_socket() {
    let home = Home::new();
    let created = "HTTP/1.1 201 Created\r\ncontent-length: 74\r\n\r\n{\"id\":\"01020304ff\",\"token\":\"atq_01020304ff_x\",\"name\":\"ci\",\"role\":\"runner\"}";
    let socket = control_socket(&home, created);
    let args = ["token", "create", "--name", "ci", "--role", "runner"];
    let output = home.run(&[&args[..], &["--expires", "1h"]].concat());
    assert_eq!(printed_token(&output), "atq_01020304ff_x");
    let request = socket.join().unwrap();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    let body = r#"{"name":"ci","role":"runner","expiresIn":3600}"#;
    assert!(request.ends_with(body), "{request}");

    let refused =
        "HTTP/1.1 404 Not Found\r\ncontent-length: 28\r\n\r\n{\"error\":\"no such token: x\"}";
    let socket = control_socket(&home, refused);
    let output = home.run(&["token", "revoke", "0000000000"]);
    assert_stderr(&output, 1, &["no such token: x"]);
    let request = socket.join().unwrap();
    assert!(request.starts_with("DELETE /token/0000000000 HTTP/1.1\r\n"));
    // Nobody listens any more, as after a kill of the Director.
    let output = home.run(&args);
    printed_token(&output);
}

#[test]
fn a_running_director_accepts_the_tokens_of_the_command_at_once() {
    let home = Home::new();
    let config = fs::read_to_string(home.path("controller-config.yaml")).unwrap();
    let config = format!("{config}auth: tokens\n");
    fs::write(home.path("controller-config.yaml"), config).unwrap();
    let _serving = home.serve();
    let create = ["token", "create", "--name", "ana", "--role", "admin"];
    let token = printed_token(&home.run(&create));
    let ask = || send(&home, "GET", "/task", &token, "");
    assert!(ask().starts_with("HTTP/1.1 200 "), "{}", ask());
    let id = token.split('_').nth(1).unwrap();
    let output = home.run(&["token", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["tokens"][0]["id"], id);
    assert!(list["tokens"][0]["lastUsed"].is_string(), "{list}");
    assert_stderr(&home.run(&["token", "revoke", id]), 0, &["is revoked"]);
    assert!(ask().starts_with("HTTP/1.1 401 "), "{}", ask());
    let unknown = home.run(&["token", "revoke", "0000000000"]);
    assert_stderr(&unknown, 1, &["there is no token `0000000000`"]);
    let audit = fs::read_to_string(home.path("data/audit.log")).unwrap();
    assert!(audit.contains("\"via\":\"control\""), "{audit}");
}

/// Sends a request to the Director with a token; returns the response.
fn send(home: &Home, method: &str, path: &str, token: &str, body: &str) -> String {
    let mut stream = home.connect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The text of every file below a directory.
fn all_text(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => text += &all_text(&path),
            false => text += &String::from_utf8_lossy(&fs::read(path).unwrap_or_default()),
        }
    }
    text
}

#[test]
fn no_file_no_log_line_and_no_answer_contains_a_token() {
    let home = Home::new();
    let config = fs::read_to_string(home.path("controller-config.yaml")).unwrap();
    let config = format!("{config}auth: tokens\nlogFormat: json\n");
    fs::write(home.path("controller-config.yaml"), config).unwrap();
    let create = |role| {
        let args = ["token", "create", "--name", "ci", "--role", role];
        printed_token(&home.run(&args))
    };
    let (admin, viewer) = (create("admin"), create("viewer"));
    let mut command = home.command(&[]);
    command.env("ATQ_LOG", "debug");
    let serving = home.served_by(command);
    let mut answers = String::new();
    let definition =
        r#"{"name":"one","master":{"alias":"a","image":"x"},"worker":{"alias":"b","image":"x"}}"#;
    for token in [&admin, &viewer, &format!("{admin}x")] {
        for (method, path, body) in [
            ("GET", "/task", ""),
            ("PUT", "/task", definition),
            ("PUT", "/task", token),
            ("GET", "/swarm", ""),
            ("GET", "/token", ""),
            ("DELETE", "/token/0000000000", ""),
            ("GET", "/task/none/events", ""),
        ] {
            answers += &send(&home, method, path, token, body);
        }
        let by_mistake = format!("/task/none?token={token}");
        answers += &send(&home, "GET", &by_mistake, token, "");
    }
    assert!(answers.contains("200 OK") && answers.contains("403 Forbidden"));
    assert!(answers.contains("401 Unauthorized"));
    drop(serving);
    let written = all_text(home.0.path());
    assert!(written.contains("\"outcome\":\"refused\""));
    for token in [&admin, &viewer] {
        let secret = token.splitn(3, '_').last().unwrap();
        assert!(!written.contains(secret), "in a file");
        assert!(!answers.contains(secret), "in an answer");
    }
}

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
