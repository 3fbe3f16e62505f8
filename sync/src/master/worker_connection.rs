//! The connection to one worker: a task that handles requests and sends events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use atq_retry::{Backoff, Pauses};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::worker_state::{Outcome, WorkerEvent};
use crate::clock::{Clock, Exchange, MasterTime, Offset, WallTime};
use crate::connection::{ConnectionError, JsonConnection};
use crate::exit::Code;
use crate::output::{printable, reason};
use crate::protocol::{FromMaster, FromWorker, VERSION};
use crate::share::Share;

/// Pauses between attempts to connect.
const CONNECT_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
};
/// Time for an attempt to connect, and for the answer to `hello`.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Clock probes of a worker. The exchange with the smallest round trip counts.
const PINGS: usize = 16;
/// Interval of the pings that show that both sides are alive.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Time for the answer to a ping while the clocks are compared.
pub const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A message, or why the connection has ended.
type Received = Result<FromWorker, ConnectionError>;

/// A request to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Compare the clocks.
    Measure,
    /// Take a share.
    Prepare(Share),
    /// Start at this time.
    Start(MasterTime),
    /// End the tool, for this reason.
    Stop(String),
    /// The end; nothing follows.
    Release,
}

/// What all connections share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The clock of the master.
    pub clock: Clock,
    /// Silence after which a worker is lost.
    pub lost_after: Duration,
    /// Limits the comparisons of clocks at the same time: others would delay the answers.
    pub measuring: Arc<Semaphore>,
    /// Events, with the index of the worker.
    pub events: Sender<(usize, WorkerEvent)>,
}

impl Shared {
    async fn send_event(&self, index: usize, event: WorkerEvent) {
        // The receiver is closed only when the master ends.
        let _ = self.events.send((index, event)).await;
    }
}

/// How a connection ended.
#[derive(Debug)]
enum ConnectionEnd {
    /// After `Release`, or because the master ends.
    Done,
    /// The worker takes no further part.
    Outcome(Outcome),
}

impl From<ConnectionError> for ConnectionEnd {
    fn from(error: ConnectionError) -> Self {
        Self::Outcome(Outcome::Lost(error.to_string()))
    }
}

/// Connects to a worker and serves it until the end.
pub async fn run_connection(
    index: usize,
    address: SocketAddr,
    shared: Shared,
    mut requests: UnboundedReceiver<Request>,
) {
    let connected = tokio::select! {
        connected = connect(index, address, &shared) => connected,
        // No request is sent before the connection; the master ends.
        _ = requests.recv() => return,
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(outcome) => {
            return shared
                .send_event(index, WorkerEvent::Outcome(outcome))
                .await;
        }
    };
    let mut connection = WorkerConnection {
        index,
        shared: shared.clone(),
        connection,
        offset: None,
        pings: 0,
        pending_ping: None,
        heartbeat: heartbeat(),
        silent_at: Instant::now() + shared.lost_after,
    };
    if let Err(ConnectionEnd::Outcome(outcome)) = connection.serve(&mut requests).await {
        shared
            .send_event(index, WorkerEvent::Outcome(outcome))
            .await;
    }
}

/// Tries until the worker answers; ends only with a permanent refusal.
async fn connect(
    index: usize,
    address: SocketAddr,
    shared: &Shared,
) -> Result<JsonConnection, Outcome> {
    let mut backoff = Backoff::new(CONNECT_PAUSES);
    loop {
        let attempt = timeout(ATTEMPT_TIMEOUT, handshake(address)).await;
        match attempt.unwrap_or_else(|_| Err(Refusal::Temporary("no answer".to_owned()))) {
            Ok((connection, replica)) => {
                shared
                    .send_event(index, WorkerEvent::Connected(replica))
                    .await;
                return Ok(connection);
            }
            Err(Refusal::Permanent(why)) => return Err(Outcome::Refused(why)),
            Err(Refusal::Temporary(why)) => {
                shared
                    .send_event(index, WorkerEvent::Unreachable(why))
                    .await
            }
        }
        sleep(backoff.next_pause()).await;
    }
}

/// Why an attempt to connect failed.
enum Refusal {
    Temporary(String),
    Permanent(String),
}

impl From<ConnectionError> for Refusal {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Invalid(_) => Self::Permanent(error.to_string()),
            _ => Self::Temporary(error.to_string()),
        }
    }
}

async fn handshake(address: SocketAddr) -> Result<(JsonConnection, Option<u32>), Refusal> {
    let stream = TcpStream::connect(address).await;
    let mut connection =
        JsonConnection::new(stream.map_err(|error| Refusal::Temporary(reason(&error)))?);
    connection
        .send(&FromMaster::Hello { version: VERSION })
        .await?;
    match connection.receive().await? {
        FromWorker::Hello {
            version: VERSION,
            replica,
        } => Ok((connection, replica)),
        FromWorker::Refused {
            reason,
            temporary: true,
        } => Err(Refusal::Temporary(printable(&reason))),
        FromWorker::Refused {
            reason,
            temporary: false,
        } => Err(Refusal::Permanent(printable(&reason))),
        other => Err(Refusal::Permanent(printable(&format!(
            "it answered the hello with {other:?}"
        )))),
    }
}

struct WorkerConnection {
    index: usize,
    shared: Shared,
    connection: JsonConnection,
    offset: Option<Offset>,
    pings: u64,
    /// Number and time of the ping that was sent last.
    pending_ping: Option<(u64, MasterTime)>,
    heartbeat: Interval,
    /// The worker is lost if it sends nothing until then.
    silent_at: Instant,
}

impl WorkerConnection {
    async fn serve(
        &mut self,
        requests: &mut UnboundedReceiver<Request>,
    ) -> Result<(), ConnectionEnd> {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => {
                        self.handle_request(request).await?;
                        self.renew();
                    }
                    None => return Err(ConnectionEnd::Done),
                },
                message = timeout_at(self.silent_at, self.connection.receive()) => {
                    self.on_received(message).await?;
                }
                _ = self.heartbeat.tick() => self.ping().await?,
            }
        }
    }

    /// Restarts the time of silence.
    fn renew(&mut self) {
        self.silent_at = Instant::now() + self.shared.lost_after;
    }

    async fn on_received(
        &mut self,
        message: Result<Received, Elapsed>,
    ) -> Result<(), ConnectionEnd> {
        let message = message.map_err(|_| silent(self.shared.lost_after))??;
        self.renew();
        self.on_message(message).await
    }

    async fn handle_request(&mut self, request: Request) -> Result<(), ConnectionEnd> {
        match request {
            Request::Measure => self.measure().await,
            Request::Prepare(share) => self.send(FromMaster::Prepare { share }).await,
            Request::Start(at) => self.start(at).await,
            Request::Stop(reason) => self.send(FromMaster::Stop { reason }).await,
            Request::Release => {
                self.send(FromMaster::Release).await?;
                Err(ConnectionEnd::Done)
            }
        }
    }

    async fn start(&mut self, at: MasterTime) -> Result<(), ConnectionEnd> {
        let offset = self
            .offset
            .ok_or_else(|| lost("its clock was not compared"))?;
        self.send(FromMaster::Start {
            at: offset.to_worker(at),
        })
        .await
    }

    /// Compares the clocks by several pings, one after the other.
    async fn measure(&mut self) -> Result<(), ConnectionEnd> {
        let _permit = self.measure_permit().await?;
        let exchanges = self.exchanges().await?;
        self.offset = Offset::estimate(&exchanges);
        if let Some(offset) = self.offset {
            self.send_event(WorkerEvent::Measured(offset)).await;
        }
        Ok(())
    }

    async fn exchanges(&mut self) -> Result<Vec<Exchange>, ConnectionEnd> {
        let mut exchanges = Vec::with_capacity(PINGS);
        for _ in 0..PINGS {
            self.ping().await?;
            let exchange = timeout(PING_TIMEOUT, self.answer()).await;
            exchanges.push(exchange.map_err(|_| unanswered())??);
        }
        Ok(exchanges)
    }

    /// The answer to the ping that was sent last.
    async fn answer(&mut self) -> Result<Exchange, ConnectionEnd> {
        loop {
            let message = self.connection.receive().await?;
            match self.exchange(&message) {
                Some(exchange) => return Ok(exchange),
                None => self.on_message(message).await?,
            }
        }
    }

    /// Waits for the other comparisons; meanwhile both sides show that they are alive.
    async fn measure_permit(&mut self) -> Result<OwnedSemaphorePermit, ConnectionEnd> {
        let permit = Arc::clone(&self.shared.measuring).acquire_owned();
        tokio::pin!(permit);
        loop {
            tokio::select! {
                permit = &mut permit => return permit.map_err(|_| ConnectionEnd::Done),
                message = timeout_at(self.silent_at, self.connection.receive()) => {
                    self.on_received(message).await?;
                }
                _ = self.heartbeat.tick() => self.ping().await?,
            }
        }
    }

    /// The exchange that this message completes: earlier pings may still be answered.
    fn exchange(&self, message: &FromWorker) -> Option<Exchange> {
        let (asked, sent) = self.pending_ping?;
        match *message {
            FromWorker::Pong { number, at, wall } if number == asked => Some(Exchange {
                sent,
                worker: at,
                worker_wall: wall,
                received: self.now(),
                master_wall: WallTime::now(),
            }),
            _ => None,
        }
    }

    fn now(&self) -> MasterTime {
        MasterTime(self.shared.clock.nanos_at(std::time::Instant::now()))
    }

    async fn ping(&mut self) -> Result<(), ConnectionEnd> {
        self.pings += 1;
        self.pending_ping = Some((self.pings, self.now()));
        self.send(FromMaster::Ping { number: self.pings }).await
    }

    async fn on_message(&self, message: FromWorker) -> Result<(), ConnectionEnd> {
        match message {
            FromWorker::Pong { .. } => (),
            FromWorker::Prepared => self.send_event(WorkerEvent::Prepared).await,
            FromWorker::Armed { margin_ns } => {
                self.send_event(WorkerEvent::Armed(Duration::from_nanos(margin_ns)))
                    .await
            }
            FromWorker::Started { at } => {
                let offset = self
                    .offset
                    .ok_or_else(|| lost("it started its tool too early"))?;
                self.send_event(WorkerEvent::Started(offset.to_master(at)))
                    .await;
            }
            FromWorker::Refused { reason, .. } => {
                self.outcome(Outcome::Refused(printable(&reason))).await
            }
            FromWorker::Late { late_ns } => {
                self.outcome(Outcome::Late(Duration::from_nanos(late_ns)))
                    .await
            }
            FromWorker::NotStarted { code, reason } => {
                self.outcome(Outcome::NotStarted(Code::new(code), printable(&reason)))
                    .await;
            }
            FromWorker::Cancelled => self.outcome(Outcome::Cancelled).await,
            FromWorker::Ended {
                end,
                run_ns,
                interrupted,
            } => {
                let time = Duration::from_nanos(run_ns);
                self.outcome(Outcome::Ended {
                    end,
                    time,
                    interrupted,
                })
                .await;
            }
            FromWorker::Hello { .. } => return Err(lost("it sent a second hello")),
        }
        Ok(())
    }

    /// Sends the end of the worker's part. The connection stays until `Release`.
    async fn outcome(&self, outcome: Outcome) {
        self.send_event(WorkerEvent::Outcome(outcome)).await;
    }

    async fn send_event(&self, event: WorkerEvent) {
        self.shared.send_event(self.index, event).await;
    }

    async fn send(&mut self, message: FromMaster) -> Result<(), ConnectionEnd> {
        Ok(self.connection.send(&message).await?)
    }
}

fn unanswered() -> ConnectionEnd {
    lost(&format!(
        "it did not answer a clock probe within {} s",
        PING_TIMEOUT.as_secs()
    ))
}

fn heartbeat() -> Interval {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

fn lost(why: &str) -> ConnectionEnd {
    ConnectionEnd::Outcome(Outcome::Lost(why.to_owned()))
}

fn silent(time: Duration) -> ConnectionEnd {
    lost(&format!(
        "silent for {} (--lost-after)",
        humantime::format_duration(time)
    ))
}
