//! `atq-director token`, and where tokens must not appear.

use super::{Home, assert_stderr, stderr};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

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
fn a_token_is_created_although_the_director_shuts_down_at_the_same_time() {
    let home = Home::new();
    fs::create_dir_all(home.path("data")).unwrap();
    let path = home.path("data/control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let command = home
        .command(&["token", "create", "--name", "ci", "--role", "runner"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    // The request has arrived, and its rest is never read.
    stream.read_exact(&mut [0; 4]).unwrap();
    fs::remove_file(&path).unwrap();
    drop((listener, stream));
    printed_token(&command.wait_with_output().unwrap());
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
fn a_token_given_as_an_id_is_not_shown() {
    let home = Home::new();
    let token = printed_token(&home.run(&["token", "create", "--name", "x", "--role", "viewer"]));
    let output = home.run(&["token", "revoke", &token]);
    assert_stderr(&output, 1, &["the argument is not the id of a token"]);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(!shown.contains(&token[15..]), "{shown}");
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
