//! A scripted DNS server over TCP that records its questions.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

#[derive(Clone)]
pub enum Answer {
    Records(Vec<Ipv4Addr>),
    /// NOERROR without records.
    Empty,
    NxDomain,
    ServerFailure,
    /// Some records and the truncation flag.
    Truncated(Vec<Ipv4Addr>),
    /// Closes the connection.
    Close,
    /// Closes the connection in the middle of a response.
    HalfThenClose,
    /// Bytes that are not a DNS message.
    Garbage,
    /// Never responds on this connection.
    Stall,
}

#[derive(Default)]
struct Script {
    next: VecDeque<Answer>,
    then: Option<Answer>,
}

pub struct Dns {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    questions: watch::Receiver<Vec<Vec<u8>>>,
    connections: watch::Receiver<usize>,
    udp: UdpSocket,
}

impl Dns {
    pub async fn start(then: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let (received, questions) = watch::channel(Vec::new());
        let (open, connections) = watch::channel(0);
        let script = Arc::new(Mutex::new(Script {
            then: Some(then),
            ..Script::default()
        }));
        tokio::spawn(accept(listener, Arc::clone(&script), received, open));
        Self {
            address,
            script,
            questions,
            connections,
            udp,
        }
    }

    /// Sets the answer after those queued by `once`.
    pub fn always(&self, answer: Answer) {
        self.script.lock().unwrap().then = Some(answer);
    }

    /// Queues an answer.
    pub fn once(&self, answer: Answer) {
        self.script.lock().unwrap().next.push_back(answer);
    }

    /// Waits until `n` questions in total were received.
    pub async fn wait_for_questions(&self, n: usize) {
        wait_until(&self.questions, |all| all.len() >= n).await;
    }

    /// Waits until `n` connections are open at the same time.
    pub async fn wait_for_connections(&self, n: usize) {
        wait_until(&self.connections, |open| *open >= n).await;
    }

    /// Waits until no connection is open.
    pub async fn wait_until_disconnected(&self) {
        wait_until(&self.connections, |open| *open == 0).await;
    }

    /// The questions so far, each as labels with their lengths, root, type and class.
    pub fn questions(&self) -> Vec<Vec<u8>> {
        self.questions.borrow().clone()
    }

    /// Whether anything was received over UDP.
    pub fn received_udp(&self) -> bool {
        self.udp.try_recv(&mut [0; 512]).is_ok()
    }
}

/// Waits for a condition; fails after a timeout.
async fn wait_until<T>(value: &watch::Receiver<T>, condition: impl FnMut(&T) -> bool) {
    let mut value = value.clone();
    let met = timeout(Duration::from_secs(20), value.wait_for(condition)).await;
    assert!(met.expect("not within 20 s").is_ok());
}

async fn accept(
    listener: TcpListener,
    script: Arc<Mutex<Script>>,
    received: watch::Sender<Vec<Vec<u8>>>,
    open: watch::Sender<usize>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (script, received, open) = (Arc::clone(&script), received.clone(), open.clone());
        open.send_modify(|n| *n += 1);
        tokio::spawn(async move {
            serve(stream, script, received).await;
            open.send_modify(|n| *n -= 1);
        });
    }
}

/// `None` closes the connection.
async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<Script>>,
    received: watch::Sender<Vec<Vec<u8>>>,
) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await.ok()?;
        let answer = {
            let mut script = script.lock().unwrap();
            script.next.pop_front().or_else(|| script.then.clone())?
        };
        // The test is notified after the query is complete and its answer is chosen.
        received.send_modify(|all| all.push(query[12..].to_vec()));
        match answer {
            Answer::Records(records) => {
                send(&mut stream, &message(&query, 0x8180, &records)).await?
            }
            Answer::Empty => send(&mut stream, &message(&query, 0x8180, &[])).await?,
            Answer::NxDomain => send(&mut stream, &message(&query, 0x8183, &[])).await?,
            Answer::ServerFailure => send(&mut stream, &message(&query, 0x8182, &[])).await?,
            Answer::Truncated(records) => {
                send(&mut stream, &message(&query, 0x8380, &records)).await?
            }
            Answer::Garbage => send(&mut stream, &[0xff; 40]).await?,
            Answer::Close => return None,
            Answer::HalfThenClose => {
                stream.write_all(&[0x40, 0, 1, 2, 3]).await.ok()?;
                return None;
            }
            // Ends when the peer disconnects.
            Answer::Stall => drop(stream.read_u8().await.ok()?),
        }
    }
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> Option<()> {
    let length = u16::try_from(message.len()).expect("one DNS message holds 65535 bytes");
    stream
        .write_all(&[&length.to_be_bytes(), message].concat())
        .await
        .ok()
}

/// Repeats the question and appends A records whose names point to it.
fn message(query: &[u8], flags: u16, records: &[Ipv4Addr]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap();
    let mut bytes = query[..2].to_vec();
    for field in [flags, 1, count, 0, 0] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend(&query[12..]);
    for address in records {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4]);
        bytes.extend(address.octets());
    }
    bytes
}

/// `count` addresses starting with 10.0.0.2, unordered as in Docker's responses.
pub fn shuffled(count: u32) -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 2));
    // 7919 is prime and divides no count used here, so every address occurs once.
    (0..count)
        .map(|i| Ipv4Addr::from(first + (i * 7919 + 13) % count))
        .collect()
}

/// The same addresses in order, as the sidecar must return them.
pub fn ordered(count: u32) -> Vec<String> {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 2));
    (0..count)
        .map(|i| Ipv4Addr::from(first + i).to_string())
        .collect()
}
