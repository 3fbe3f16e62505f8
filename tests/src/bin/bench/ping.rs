//! Pings per second of the Director, compared with a minimal server on the same libraries.

use crate::director;
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
const LIMIT: f64 = 0.9;
const REQUEST: &[u8] = b"GET /monitoring/ping HTTP/1.1\r\nHost: bench\r\n\r\n";
/// Argument that makes this program run as that server.
const HELLO: &str = "--hello-server";

/// Measures both alternately, `rounds` times for `length` each.
///
/// # Errors
/// When a server does not respond.
pub async fn measure(rounds: usize, length: Duration) -> Result<Vec<Row>> {
    let dir = director::temp_dir()?;
    let director = director::start(dir.path(), "").await?;
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
        Row::with_limit(what, figure, ">= 0.9", ratio >= LIMIT).print(),
    ])
}

/// Starts this program as the hello-world server in a separate process, like the Director.
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

/// Responses per second over kept-alive connections, each with one request at a time.
async fn rate(port: u16, length: Duration) -> Result<f64> {
    let (count, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut requesters = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        requesters.spawn(send_requests(port, Arc::clone(&count), Arc::clone(&stop)));
    }
    tokio::time::sleep(length).await;
    let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = requesters.join_next().await {
        ended??;
    }
    Ok(rate)
}

async fn send_requests(port: u16, count: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut response = Vec::with_capacity(1024);
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(REQUEST).await?;
        response.clear();
        while !complete(&response)? {
            ensure!(
                stream.read_buf(&mut response).await? > 0,
                "the connection was closed"
            );
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Whether the response is complete, by its `Content-Length`.
fn complete(response: &[u8]) -> Result<bool> {
    let Some(head) = response.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let text = std::str::from_utf8(&response[..head])?;
    if !text.starts_with("HTTP/1.1 200") {
        bail!(
            "the response is `{}`; expected 200",
            text.lines().next().unwrap_or_default()
        );
    }
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(response.len() >= head + 4 + length.context("the response has no length")?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::complete;

    #[test]
    fn a_response_is_complete_with_its_body() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n";
        let whole = format!("{head}\r\npong");
        assert!(!complete(head.as_bytes()).unwrap());
        assert!(!complete(&whole.as_bytes()[..whole.len() - 1]).unwrap());
        assert!(complete(whole.as_bytes()).unwrap());
        assert!(complete(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        assert!(complete(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
