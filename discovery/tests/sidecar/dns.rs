//! A DNS server over TCP that answers as it is told, and says what it was asked.

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
    /// Some records and the flag that says there are more.
    Cut(Vec<Ipv4Addr>),
    /// Ends the connection.
    Close,
    /// Ends the connection in the middle of an answer.
    HalfThenClose,
    /// Bytes that are no DNS message.
    Garbage,
    /// Says nothing, on this connection, for ever.
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
        let (asked, questions) = watch::channel(Vec::new());
        let (open, connections) = watch::channel(0);
        let script = Arc::new(Mutex::new(Script {
            then: Some(then),
            ..Script::default()
        }));
        tokio::spawn(accept(listener, Arc::clone(&script), asked, open));
        Self {
            address,
            script,
            questions,
            connections,
            udp,
        }
    }

    /// From now on, and after what `once` has queued.
    pub fn always(&self, answer: Answer) {
        self.script.lock().unwrap().then = Some(answer);
    }

    /// The next answer, after those queued before.
    pub fn once(&self, answer: Answer) {
        self.script.lock().unwrap().next.push_back(answer);
    }

    /// Waits until `n` questions in all have come in.
    pub async fn asked(&self, n: usize) {
        until(&self.questions, |all| all.len() >= n).await;
    }

    /// Waits until `n` connections are open at once.
    pub async fn visited(&self, n: usize) {
        until(&self.connections, |open| *open >= n).await;
    }

    /// Waits until no connection is open.
    pub async fn left(&self) {
        until(&self.connections, |open| *open == 0).await;
    }

    /// The questions so far: each the labels with their lengths, the root, type and class.
    pub fn questions(&self) -> Vec<Vec<u8>> {
        self.questions.borrow().clone()
    }

    /// Whether anything came in over UDP.
    pub fn heard_udp(&self) -> bool {
        self.udp.try_recv(&mut [0; 512]).is_ok()
    }
}

/// Fails, rather than hangs, when what must come does not come.
async fn until<T>(value: &watch::Receiver<T>, condition: impl FnMut(&T) -> bool) {
    let mut value = value.clone();
    let met = timeout(Duration::from_secs(20), value.wait_for(condition)).await;
    assert!(met.expect("not within 20 s").is_ok());
}

async fn accept(
    listener: TcpListener,
    script: Arc<Mutex<Script>>,
    asked: watch::Sender<Vec<Vec<u8>>>,
    open: watch::Sender<usize>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (script, asked, open) = (Arc::clone(&script), asked.clone(), open.clone());
        open.send_modify(|n| *n += 1);
        tokio::spawn(async move {
            serve(stream, script, asked).await;
            open.send_modify(|n| *n -= 1);
        });
    }
}

/// `None` ends the connection.
async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<Script>>,
    asked: watch::Sender<Vec<Vec<u8>>>,
) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await.ok()?;
        let answer = {
            let mut script = script.lock().unwrap();
            script.next.pop_front().or_else(|| script.then.clone())?
        };
        // The query was complete and its answer is settled before the test hears of it.
        asked.send_modify(|all| all.push(query[12..].to_vec()));
        match answer {
            Answer::Records(records) => {
                send(&mut stream, &message(&query, 0x8180, &records)).await?
            }
            Answer::Empty => send(&mut stream, &message(&query, 0x8180, &[])).await?,
            Answer::NxDomain => send(&mut stream, &message(&query, 0x8183, &[])).await?,
            Answer::ServerFailure => send(&mut stream, &message(&query, 0x8182, &[])).await?,
            Answer::Cut(records) => send(&mut stream, &message(&query, 0x8380, &records)).await?,
            Answer::Garbage => send(&mut stream, &[0xff; 40]).await?,
            Answer::Close => return None,
            Answer::HalfThenClose => {
                stream.write_all(&[0x40, 0, 1, 2, 3]).await.ok()?;
                return None;
            }
            // Ends when the other side does.
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

/// `count` addresses from 10.0.0.2 on, in an order like Docker's: none.
pub fn shuffled(count: u32) -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 2));
    // 7919 is prime and divides no count used here, so that every address comes up once.
    (0..count)
        .map(|i| Ipv4Addr::from(first + (i * 7919 + 13) % count))
        .collect()
}

/// The same in order, as the sidecar must give them.
pub fn ordered(count: u32) -> Vec<String> {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 2));
    (0..count)
        .map(|i| Ipv4Addr::from(first + i).to_string())
        .collect()
}
