//! The program: arguments, environment, signals.

use std::process::Stdio;

use reqwest::StatusCode;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Sidecar;
use crate::dns::{Answer, Dns, ordered, shuffled};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atq-discovery"));
    command
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Starts the program and waits for its listening address.
async fn listening(mut command: Command) -> (Child, Sidecar) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap();
    (child, Sidecar::at(format!("http://{address}")))
}

async fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    let killed = Command::new("sh")
        .args(["-c", "kill -TERM \"$0\"", &pid])
        .status()
        .await
        .unwrap();
    assert!(killed.success());
}

async fn text(arguments: &[&str]) -> (Option<i32>, String) {
    let output = program().args(arguments).output().await.unwrap();
    let bytes = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn sigterm_ends_the_program_with_0_despite_pending_requests() {
    let dns = Dns::start(Answer::NxDomain).await;
    let mut command = program();
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--nameserver",
        &dns.address.to_string(),
    ]);
    let (mut child, sidecar) = listening(command).await;
    let request = sidecar.request("/api/w?replicas=1&timeout=30").send();
    let request = tokio::spawn(request);
    dns.wait_for_questions(1).await;
    terminate(&child).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert!(request.await.unwrap().is_err());
}

#[tokio::test]
async fn the_environment_sets_every_option() {
    let dns = Dns::start(Answer::Records(shuffled(3))).await;
    let mut command = program();
    command
        .env("ATQ_DISCOVERY_LISTEN", "127.0.0.1:0")
        .env("ATQ_DISCOVERY_NAMESERVER", dns.address.to_string())
        .env("ATQ_DISCOVERY_TOKEN", "s3cret");
    let (_child, sidecar) = listening(command).await;
    assert_eq!(sidecar.get("/api/w").await.0, StatusCode::UNAUTHORIZED);
    let response = sidecar
        .request("/api/w")
        .bearer_auth("s3cret")
        .send()
        .await
        .unwrap();
    assert_eq!(response.json::<Vec<String>>().await.unwrap(), ordered(3));
}

#[tokio::test]
async fn help_and_version_are_printed() {
    let (code, help) = text(&["--help"]).await;
    assert_eq!(code, Some(0));
    for part in [
        "--listen",
        "0.0.0.0:9090",
        "--nameserver",
        "ATQ_DISCOVERY_TOKEN",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    let version = format!("atq-discovery {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&["--version"]).await, (Some(0), version));
}

#[tokio::test]
async fn a_failed_start_exits_with_2_and_a_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (code, output) = text(&["--listen", &taken, "--nameserver", "127.0.0.1:1"]).await;
    assert_eq!(code, Some(2), "{output}");
    assert!(
        output.contains(&format!("cannot listen on `{taken}`")),
        "{output}"
    );
    assert_eq!(text(&["--listen", "9090"]).await.0, Some(2));
    assert_eq!(text(&["--token", ""]).await.0, Some(2));
}
