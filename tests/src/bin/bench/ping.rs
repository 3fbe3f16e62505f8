//! How many pings a second the Director answers, against the smallest server that the same libraries
//! can make.

use crate::place;
use crate::table::{Row, say};
use anyhow::{Context, Result, bail, ensure};
use atq_tests::director::free_port;
use atq_tests::stats::median;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const CONNECTIONS: usize = 16;
const BAR: f64 = 0.9;
const REQUEST: &[u8] = b"GET /monitoring/ping HTTP/1.1\r\nHost: bench\r\n\r\n";
/// The argument with which this program is that server.
const HELLO: &str = "--hello-server";

/// Measures both in turns, `rounds` times for `length` each.
///
/// # Errors
/// When a server does not answer.
pub async fn measure(rounds: usize, length: Duration) -> Result<Vec<Row>> {
    let dir = place::directory()?;
    let director = place::director(dir.path(), "").await?;
    let ours: u16 = director
        .client
        .url
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .parse()?;
    let theirs = free_port()?;
    let _hello = start_hello(theirs).await?;
    let (mut director_rates, mut hello_rates) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let director_rate = rate(ours, length).await?;
        let hello_rate = rate(theirs, length).await?;
        say(format!(
            "ping round {}: Director {director_rate:.0}/s, hello-world {hello_rate:.0}/s",
            round + 1
        ));
        director_rates.push(director_rate);
        hello_rates.push(hello_rate);
    }
    director.terminate()?;
    let (ours, theirs) = (median(&director_rates), median(&hello_rates));
    let ratio = ours / theirs;
    let figure = format!("{ours:.0}/s; hello-world {theirs:.0}/s; ratio {ratio:.2} (n={rounds})");
    let what = format!("GET /monitoring/ping, {CONNECTIONS} connections");
    Ok(vec![
        Row::barred(what, figure, ">= 0.9", ratio >= BAR).said(),
    ])
}

/// The other server: this program again, as a process of its own like the Director.
async fn start_hello(port: u16) -> Result<Child> {
    let child = Command::new(std::env::current_exe()?)
        .args([HELLO, &port.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        ensure!(
            begun.elapsed() < Duration::from_secs(10),
            "the hello-world server does not listen"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(child)
}

/// Serves a hello-world until killed.
///
/// # Errors
/// When the port is taken.
pub async fn serve_hello(port: u16) -> Result<()> {
    let router =
        axum::Router::new().route("/monitoring/ping", axum::routing::get(|| async { "pong" }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    Ok(axum::serve(listener, router).await?)
}

/// Answers a second over kept-alive connections, each with one question at a time.
async fn rate(port: u16, length: Duration) -> Result<f64> {
    let (count, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut asking = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        asking.spawn(ask(port, Arc::clone(&count), Arc::clone(&over)));
    }
    tokio::time::sleep(length).await;
    let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = asking.join_next().await {
        ended??;
    }
    Ok(rate)
}

async fn ask(port: u16, count: Arc<AtomicU64>, over: Arc<AtomicBool>) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(1024);
    while !over.load(Ordering::Relaxed) {
        stream.write_all(REQUEST).await?;
        answer.clear();
        while !complete(&answer)? {
            ensure!(
                stream.read_buf(&mut answer).await? > 0,
                "the connection was closed"
            );
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Whether a whole answer is there, by its `Content-Length`.
fn complete(answer: &[u8]) -> Result<bool> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let text = std::str::from_utf8(&answer[..head])?;
    if !text.starts_with("HTTP/1.1 200") {
        bail!(
            "the answer is `{}`; expected 200",
            text.lines().next().unwrap_or_default()
        );
    }
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(answer.len() >= head + 4 + length.context("the answer has no length")?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::complete;

    #[test]
    fn an_answer_is_complete_when_its_body_is_there() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n";
        let whole = format!("{head}\r\npong");
        assert!(!complete(head.as_bytes()).unwrap());
        assert!(!complete(&whole.as_bytes()[..whole.len() - 1]).unwrap());
        assert!(complete(whole.as_bytes()).unwrap());
        assert!(complete(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        assert!(complete(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
