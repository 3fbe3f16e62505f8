//! Far more connections than the Director accepts: each gets its response, and those that are idle longest are closed.

use anyhow::{Result, ensure};
use atq_tests::fixture::Fixture;
use futures_util::future::try_join_all;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const CONNECTIONS: usize = 20_000;
/// Client addresses, so that the limit of one address does not apply.
const ADDRESSES: usize = 8;
const AT_ONCE: usize = 200;
/// The documented limit of connections.
const LIMIT: usize = 4096;
/// Upper bound of the Director's memory for them, in KiB.
const MEMORY: u64 = 200 << 10;

/// Connects from the loopback address with this number and gets one response.
async fn ping(address: usize, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(address % ADDRESSES + 1)?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    let mut stream = socket.connect(to).await?;
    stream
        .write_all(b"GET /monitoring/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut response = [0; 1024];
    let read = stream.read(&mut response).await?;
    let text = String::from_utf8_lossy(&response[..read]).into_owned();
    ensure!(text.starts_with("HTTP/1.1 200 "), "{text:?}");
    Ok(stream)
}

/// Whether the Director has not closed the connection.
fn is_open(stream: &TcpStream) -> bool {
    let mut rest = [0; 1024];
    loop {
        match stream.try_read(&mut rest) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Memory of a process in KiB: resident now, and at most.
fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    Ok((value("VmRSS:"), value("VmHWM:")))
}

#[tokio::test]
async fn twenty_thousand_connections_are_answered_and_the_idle_ones_closed() -> Result<()> {
    let fixture = Fixture::start("test-connections").await?;
    let url = fixture.client().url;
    let to: SocketAddr = url.trim_start_matches("http://").parse()?;
    let begun = Instant::now();
    let mut open: Vec<TcpStream> = Vec::new();
    let mut most = 0;
    for batch in 0..CONNECTIONS / AT_ONCE {
        let pings = (0..AT_ONCE).map(|number| ping(batch * AT_ONCE + number, to));
        open.extend(try_join_all(pings).await?);
        // The Director closes a connection before it accepts the next one; the client may read of it later.
        if batch % 5 == 4 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            open.retain(is_open);
            most = most.max(open.len());
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    open.retain(is_open);
    ensure!(
        (LIMIT / 2..=LIMIT).contains(&open.len()),
        "{} connections are open",
        open.len()
    );
    let (now, peak) = memory(fixture.director().pid())?;
    ensure!(peak < MEMORY, "{peak} KiB");
    let response = fixture.client().get("/readyz").await?;
    ensure!(response.status().is_success(), "{response:?}");
    println!(
        "{CONNECTIONS} connections answered in {elapsed:.1} s, at most {most} open at once, {} at the end; \
         memory {now} KiB, peak {peak} KiB",
        open.len()
    );
    drop(open);
    fixture.finish().await
}
