//! A Director with tokens, under attack from one address while a task runs: clients of another address get their
//! responses, and the task runs to its end. Prints the response times of these clients for each attack.

use anyhow::{Context, Result, ensure};
use atq_tests::client::Client;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Duration of each attack.
const DURATION: Duration = Duration::from_secs(8);
/// Pause of the other client between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the attacker waits before it uses a connection again that the Director does not answer.
const GIVE_UP: Duration = Duration::from_secs(2);
const TASK: &str = "attacked";
const ISSUER: &str = "https://ci.example.com";
const AUDIENCE: &str = "https://atq.example.com";

/// What one connection of the attacker does.
#[derive(Clone)]
enum Attack {
    /// Sends the request repeatedly and reads each response, which has one of the statuses.
    Requests(String, &'static [u16]),
    /// Sends the text, then one byte every half second.
    Slow(String),
    /// Sends the request and reads nothing.
    Deaf(String),
}

/// What the connections of an attack have seen.
#[derive(Default)]
struct Seen {
    /// Number of requests.
    requests: AtomicU64,
    /// A response with a status that the attack does not expect: it may not do what its name says.
    unexpected: Mutex<Option<String>>,
}

/// A kind of attack, and its number of concurrent connections.
struct Plan {
    name: &'static str,
    connections: usize,
    attack: Attack,
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// A JWT of the issuer in [`configuration`] whose signature is wrong, so that the Director must verify it.
fn forged_jwt() -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": "ES256", "typ": "JWT"}));
    let claims = part(json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "attacker", "jti": "1", "project_path": "shop/web",
        "iat": 1_700_000_000, "exp": 4_000_000_000_u64,
    }));
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 64]))
}

/// Tokens are required, and JWTs signed with the key in `file` can be exchanged.
fn configuration(file: &Path) -> String {
    format!(
        "auth: tokens\ntokenExchange:\n  - name: ci\n    issuer: {ISSUER}\n    audience: {AUDIENCE}\n    \
         keys: {{file: {}}}\n    claims: {{project_path: shop/web}}\n    role: viewer\n",
        file.display()
    )
}

/// The attacks. `runner` is a valid token that the attacker has.
fn attacks(runner: &str) -> Vec<Plan> {
    let plan = |name, connections, attack| Plan {
        name,
        connections,
        attack,
    };
    let own = format!("Authorization: Bearer {runner}\r\n");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let json = "Content-Type: application/json\r\n";
    let jwt = json!({"jwt": forged_jwt()}).to_string();
    let wrong = format!(
        "Authorization: Bearer atq_0123456789_{}\r\n",
        "A".repeat(43)
    );
    let half = "POST /databind/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n\
                Content-Length: 100000\r\n";
    vec![
        plan("none", 0, Attack::Deaf(String::new())),
        plan("idle connections", 4000, Attack::Deaf(String::new())),
        plan(
            "slow headers",
            2000,
            Attack::Slow("GET /task HTTP/1.1\r\nX: ".to_owned()),
        ),
        plan(
            "slow uploads with a token",
            200,
            Attack::Slow(format!("{half}{own}\r\n--x\r\n")),
        ),
        plan(
            "unread event streams with a token",
            700,
            Attack::Deaf(get(
                &format!("/task/{TASK}/events"),
                &format!("{own}Accept: text/event-stream\r\n"),
            )),
        ),
        plan(
            "wrong tokens",
            16,
            Attack::Requests(get("/task", &wrong), &[401]),
        ),
        plan(
            "wrong sign-ins",
            16,
            Attack::Requests(post("/sign-in", form, "token=wrong"), &[401, 429]),
        ),
        plan(
            "wrong JWTs",
            16,
            Attack::Requests(post("/token/exchange", json, &jwt), &[403, 429]),
        ),
        plan(
            "readiness",
            16,
            Attack::Requests(get("/readyz", ""), &[200]),
        ),
        plan(
            "lists with a token",
            16,
            Attack::Requests(get("/task", &own), &[200]),
        ),
    ]
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(to).await?)
}

/// Reads one response, and returns its first line.
async fn read_response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<String> {
    buffer.clear();
    loop {
        let read = stream.read_buf(buffer).await?;
        ensure!(read > 0, "closed");
        let text = String::from_utf8_lossy(buffer).to_lowercase();
        let Some(head) = text.find("\r\n\r\n") else {
            continue;
        };
        let is_whole = match text[..head].split("content-length: ").nth(1) {
            Some(rest) => {
                let length: usize = rest.lines().next().context("length")?.parse()?;
                buffer.len() >= head + 4 + length
            }
            None => text.ends_with("\r\n0\r\n\r\n"),
        };
        if is_whole {
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
    }
}

/// Attacks by one connection, which it opens again whenever the Director closes it, until it is cancelled.
async fn attack(to: SocketAddr, attack: Attack, seen: Arc<Seen>) {
    let mut buffer = Vec::new();
    loop {
        let begun = Instant::now();
        // The end of a connection is what the attacker expects.
        let _ = by_connection(to, &attack, &seen, &mut buffer).await;
        if begun.elapsed() < Duration::from_millis(10) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn by_connection(
    to: SocketAddr,
    attack: &Attack,
    seen: &Seen,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    let mut stream = tokio::time::timeout(GIVE_UP, connect(ATTACKER, to)).await??;
    let (Attack::Requests(text, _) | Attack::Slow(text) | Attack::Deaf(text)) = attack;
    loop {
        stream.write_all(text.as_bytes()).await?;
        seen.requests.fetch_add(1, Ordering::Relaxed);
        match attack {
            Attack::Requests(_, expected) => {
                let response = read_response(&mut stream, buffer);
                let first = tokio::time::timeout(GIVE_UP, response).await??;
                let is_status = |status: &u16| first.starts_with(&format!("http/1.1 {status} "));
                if !expected.iter().any(is_status) {
                    *seen
                        .unexpected
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(first);
                }
            }
            Attack::Slow(_) => loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                stream.write_all(b"x").await?;
            },
            Attack::Deaf(_) => loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                stream.peer_addr()?;
                let mut byte = [0];
                if matches!(stream.try_read(&mut byte), Ok(0)) {
                    return Ok(());
                }
            },
        }
    }
}

/// Response times of the other client.
struct Times(Vec<Duration>);

impl Times {
    /// In milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// Reads the task every few milliseconds for the duration of an attack. Each response must be a success.
async fn other_client(url: &str, token: &str) -> Result<Times> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .local_address(IpAddr::V4(OTHER))
        .build()?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < DURATION {
        let sent = Instant::now();
        let request = http.get(format!("{url}/task/{TASK}")).bearer_auth(token);
        let response = request
            .send()
            .await
            .context("the other client gets no response")?;
        let status = response.status();
        let body = response.bytes().await?;
        ensure!(status == StatusCode::OK, "{status}: {body:?}");
        times.push(sent.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    times.sort_unstable();
    Ok(Times(times))
}

/// Attacks, and returns a row of the table.
async fn one_attack(plan: Plan, url: &str, token: &str) -> Result<String> {
    let to: SocketAddr = url.trim_start_matches("http://").parse()?;
    let seen = Arc::new(Seen::default());
    let mut attackers = JoinSet::new();
    for _ in 0..plan.connections {
        attackers.spawn(attack(to, plan.attack.clone(), Arc::clone(&seen)));
    }
    let times = other_client(url, token).await.context(plan.name)?;
    attackers.shutdown().await;
    let unexpected = seen
        .unexpected
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    ensure!(unexpected.is_none(), "{}: {unexpected:?}", plan.name);
    let rate = seen.requests.load(Ordering::Relaxed) / DURATION.as_secs();
    Ok(format!(
        "| {} | {} | {rate} | {} | {:.1} | {:.1} | {:.1} |",
        plan.name,
        plan.connections,
        times.0.len(),
        times.percentile(50),
        times.percentile(99),
        times.percentile(100)
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_other_addresses_are_served_and_a_task_ends_under_attack() -> Result<()> {
    let keys = tempfile::tempdir()?;
    let key = keys.path().join("key.pem");
    std::fs::write(&key, rcgen::KeyPair::generate()?.public_key_pem())?;
    let mut fixture = Fixture::start_with("test-attack", &configuration(&key)).await?;
    let admin = fixture.create_token("admin")?;
    let runner = fixture.create_token("runner")?;
    fixture.use_token(&admin)?;
    let client: Client = fixture.client();
    let attacks = attacks(&runner);
    let seconds = DURATION.as_secs() * (attacks.len() as u64 + 2);
    let held = with(
        small_task(TASK, 2),
        "/master/environment",
        json!([format!("HOLD={seconds}")]),
    );
    client.start(&held).await?;
    let mut rows = Vec::new();
    for plan in attacks {
        rows.push(one_attack(plan, &client.url, &admin).await?);
    }
    println!(
        "| attack | connections | requests/s | answered | p50 ms | p99 ms | max ms |\n{}",
        rows.join("\n")
    );
    let task = client
        .done(TASK, RUN_TIMEOUT + Duration::from_secs(seconds))
        .await?;
    println!("the task under attack: {:?}", task.step);
    client.delete(TASK).await?;
    fixture.finish().await
}
