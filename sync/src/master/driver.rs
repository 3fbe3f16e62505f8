//! The connection to one worker: a task that carries out orders and reports news.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use atq_retry::{Backoff, Pauses};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::seat::{Over, Report};
use crate::clock::{Clock, Exchange, MasterTime, Offset, WallTime};
use crate::exit::Code;
use crate::output::{printable, reason};
use crate::protocol::{FromMaster, FromWorker, VERSION};
use crate::share::Share;
use crate::wire::{Wire, WireError};

/// Pauses between attempts to connect.
const CONNECT_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
};
/// Time for an attempt to connect, and for the answer to `hello`.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Questions for the time of a worker. The exchange with the smallest round trip counts.
const PINGS: usize = 16;
/// Interval of the pings that show that both sides are alive.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Time for the answer to a ping while the clocks are compared.
pub const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A message, or why the connection has ended.
type Received = Result<FromWorker, WireError>;

/// What a worker shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
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

/// What all drivers share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The clock of the master.
    pub clock: Clock,
    /// Silence after which a worker is lost.
    pub lost_after: Duration,
    /// Limits the comparisons of clocks at the same time: others would delay the answers.
    pub measuring: Arc<Semaphore>,
    /// News, with the place of the worker.
    pub reports: UnboundedSender<(usize, Report)>,
}

/// The end of a driver.
#[derive(Debug)]
enum Stop {
    /// After `Release`, or because the master ends.
    Done,
    /// The worker takes no further part.
    Over(Over),
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Over(Over::Lost(error.to_string()))
    }
}

/// Connects to a worker and serves it until the end.
pub async fn drive(
    place: usize,
    address: SocketAddr,
    shared: Shared,
    mut orders: UnboundedReceiver<Order>,
) {
    let report = |report| drop(shared.reports.send((place, report)));
    let connected = tokio::select! {
        connected = connect(address, report) => connected,
        // Nothing can be ordered before the connection; the master ends.
        _ = orders.recv() => return,
    };
    let wire = match connected {
        Ok(wire) => wire,
        Err(over) => return report(Report::Over(over)),
    };
    let mut driver = Driver {
        place,
        shared: shared.clone(),
        wire,
        offset: None,
        pings: 0,
        asked: None,
        heartbeat: heartbeat(),
        silent_at: Instant::now() + shared.lost_after,
    };
    if let Err(Stop::Over(over)) = driver.serve(&mut orders).await {
        report(Report::Over(over));
    }
}

/// Tries until the worker answers; ends only with a permanent refusal.
async fn connect(address: SocketAddr, report: impl Fn(Report)) -> Result<Wire, Over> {
    let mut backoff = Backoff::new(CONNECT_PAUSES);
    loop {
        let attempt = timeout(ATTEMPT_TIMEOUT, greet(address)).await;
        match attempt.unwrap_or_else(|_| Err(Refusal::Temporary("no answer".to_owned()))) {
            Ok((wire, replica)) => {
                report(Report::Connected(replica));
                return Ok(wire);
            }
            Err(Refusal::Permanent(why)) => return Err(Over::Refused(why)),
            Err(Refusal::Temporary(why)) => report(Report::Unreachable(why)),
        }
        sleep(backoff.next_pause()).await;
    }
}

/// Why an attempt to connect failed.
enum Refusal {
    Temporary(String),
    Permanent(String),
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Invalid(_) => Self::Permanent(error.to_string()),
            _ => Self::Temporary(error.to_string()),
        }
    }
}

async fn greet(address: SocketAddr) -> Result<(Wire, Option<u32>), Refusal> {
    let stream = TcpStream::connect(address).await;
    let mut wire = Wire::new(stream.map_err(|error| Refusal::Temporary(reason(&error)))?);
    wire.send(&FromMaster::Hello { version: VERSION }).await?;
    match wire.receive().await? {
        FromWorker::Hello {
            version: VERSION,
            replica,
        } => Ok((wire, replica)),
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

struct Driver {
    place: usize,
    shared: Shared,
    wire: Wire,
    offset: Option<Offset>,
    pings: u64,
    /// Number and time of the ping that was sent last.
    asked: Option<(u64, MasterTime)>,
    heartbeat: Interval,
    /// The worker is lost if it sends nothing until then.
    silent_at: Instant,
}

impl Driver {
    async fn serve(&mut self, orders: &mut UnboundedReceiver<Order>) -> Result<(), Stop> {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => {
                        self.obey(order).await?;
                        self.renew();
                    }
                    None => return Err(Stop::Done),
                },
                message = timeout_at(self.silent_at, self.wire.receive()) => {
                    self.on_received(message)?;
                }
                _ = self.heartbeat.tick() => self.ping().await?,
            }
        }
    }

    /// Starts the time of silence anew.
    fn renew(&mut self) {
        self.silent_at = Instant::now() + self.shared.lost_after;
    }

    fn on_received(&mut self, message: Result<Received, Elapsed>) -> Result<(), Stop> {
        let message = message.map_err(|_| silent(self.shared.lost_after))??;
        self.renew();
        self.on_message(message)
    }

    async fn obey(&mut self, order: Order) -> Result<(), Stop> {
        match order {
            Order::Measure => self.measure().await,
            Order::Prepare(share) => self.send(FromMaster::Prepare { share }).await,
            Order::Start(at) => self.start(at).await,
            Order::Stop(reason) => self.send(FromMaster::Stop { reason }).await,
            Order::Release => {
                self.send(FromMaster::Release).await?;
                Err(Stop::Done)
            }
        }
    }

    async fn start(&mut self, at: MasterTime) -> Result<(), Stop> {
        let offset = self
            .offset
            .ok_or_else(|| lost("its clock was not compared"))?;
        self.send(FromMaster::Start {
            at: offset.to_worker(at),
        })
        .await
    }

    /// Compares the clocks by several pings, one after the other.
    async fn measure(&mut self) -> Result<(), Stop> {
        let _permit = self.measure_permit().await?;
        let exchanges = self.exchanges().await?;
        self.offset = Offset::estimate(&exchanges);
        if let Some(offset) = self.offset {
            self.report(Report::Measured(offset));
        }
        Ok(())
    }

    async fn exchanges(&mut self) -> Result<Vec<Exchange>, Stop> {
        let mut exchanges = Vec::with_capacity(PINGS);
        for _ in 0..PINGS {
            self.ping().await?;
            let exchange = timeout(PING_TIMEOUT, self.answer()).await;
            exchanges.push(exchange.map_err(|_| unanswered())??);
        }
        Ok(exchanges)
    }

    /// The answer to the ping that was sent last.
    async fn answer(&mut self) -> Result<Exchange, Stop> {
        loop {
            let message = self.wire.receive().await?;
            match self.exchange(&message) {
                Some(exchange) => return Ok(exchange),
                None => self.on_message(message)?,
            }
        }
    }

    /// Waits for the other comparisons; meanwhile both sides show that they are alive.
    async fn measure_permit(&mut self) -> Result<OwnedSemaphorePermit, Stop> {
        let permit = Arc::clone(&self.shared.measuring).acquire_owned();
        tokio::pin!(permit);
        loop {
            tokio::select! {
                permit = &mut permit => return permit.map_err(|_| Stop::Done),
                message = timeout_at(self.silent_at, self.wire.receive()) => {
                    self.on_received(message)?;
                }
                _ = self.heartbeat.tick() => self.ping().await?,
            }
        }
    }

    /// The exchange that this message completes: earlier pings may still be answered.
    fn exchange(&self, message: &FromWorker) -> Option<Exchange> {
        let (asked, sent) = self.asked?;
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

    async fn ping(&mut self) -> Result<(), Stop> {
        self.pings += 1;
        self.asked = Some((self.pings, self.now()));
        self.send(FromMaster::Ping { number: self.pings }).await
    }

    fn on_message(&self, message: FromWorker) -> Result<(), Stop> {
        match message {
            FromWorker::Pong { .. } => (),
            FromWorker::Prepared => self.report(Report::Prepared),
            FromWorker::Armed { margin_ns } => {
                self.report(Report::Armed(Duration::from_nanos(margin_ns)))
            }
            FromWorker::Started { at } => {
                let offset = self
                    .offset
                    .ok_or_else(|| lost("it started its tool too early"))?;
                self.report(Report::Started(offset.to_master(at)));
            }
            FromWorker::Refused { reason, .. } => self.over(Over::Refused(printable(&reason))),
            FromWorker::Late { late_ns } => self.over(Over::Late(Duration::from_nanos(late_ns))),
            FromWorker::NotStarted { code, reason } => {
                self.over(Over::NotStarted(Code::new(code), printable(&reason)));
            }
            FromWorker::Cancelled => self.over(Over::Cancelled),
            FromWorker::Ended {
                end,
                run_ns,
                interrupted,
            } => {
                let time = Duration::from_nanos(run_ns);
                self.over(Over::Ended {
                    end,
                    time,
                    interrupted,
                });
            }
            FromWorker::Hello { .. } => return Err(lost("it sent a second hello")),
        }
        Ok(())
    }

    /// Reports the end of the worker's part. The connection stays until `Release`.
    fn over(&self, over: Over) {
        self.report(Report::Over(over));
    }

    fn report(&self, report: Report) {
        // The receiver is gone only when the master ends.
        let _ = self.shared.reports.send((self.place, report));
    }

    async fn send(&mut self, message: FromMaster) -> Result<(), Stop> {
        Ok(self.wire.send(&message).await?)
    }
}

fn unanswered() -> Stop {
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

fn lost(why: &str) -> Stop {
    Stop::Over(Over::Lost(why.to_owned()))
}

fn silent(time: Duration) -> Stop {
    lost(&format!(
        "silent for {} (--lost-after)",
        humantime::format_duration(time)
    ))
}
