//! The time with one master: share, start, the tool's run, its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::Worker;
use super::listener::Master;
use super::tool::{Tool, ToolEvent};
use crate::clock::{WallTime, WorkerTime, nanos};
use crate::connection::{ConnectionError, JsonConnection};
use crate::exit::{Code, ProcessEnd};
use crate::output::{duration, log_line, printable, reason, shortened};
use crate::protocol::{FromMaster, FromWorker, MAX_REASON};
use crate::share::Share;
use crate::signals::{Signals, at};

/// The latest start that is accepted, from now.
const LONGEST_LEAD: Duration = Duration::from_secs(600);
/// Time for the master to close the connection after `release`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time from the end of the master to that of a worker whose tool has failed. The Director would otherwise see the failed
/// worker first, and count it as lost while the test runs.
const EXIT_DELAY: Duration = Duration::from_secs(3);

/// How a session ended.
#[derive(Debug)]
pub enum SessionEnd {
    /// The worker ends.
    Ended(Code),
    /// The master is gone, and the tool was not started.
    MasterLost(String),
}

/// Where the worker is.
#[derive(Debug)]
enum Phase {
    Waiting,
    Prepared(Tool),
    Armed(Tool, Instant),
    Running(Tool),
    Ended(Code),
}

/// A session.
#[derive(Debug)]
pub struct Session<'a> {
    worker: &'a Worker,
    /// The connection to the master; `None` after it was lost.
    connection: Option<JsonConnection>,
    master: SocketAddr,
    /// Other masters are refused until the session ends, even if its own one is lost.
    _session_permit: OwnedSemaphorePermit,
    phase: Phase,
    /// The code instead of the tool's own, because the tool did not end by itself.
    exit_code_override: Option<Code>,
    interrupted: bool,
    last_message: Deadline,
    kill_at: Option<Deadline>,
    sender: UnboundedSender<ToolEvent>,
    events: UnboundedReceiver<ToolEvent>,
}

impl<'a> Session<'a> {
    /// A session with a master that has said hello.
    pub fn new(worker: &'a Worker, master: Master) -> Self {
        log_line(&format!("the master {} is connected", master.address));
        let (sender, events) = unbounded_channel();
        Self {
            worker,
            connection: Some(master.connection),
            master: master.address,
            _session_permit: master.session_permit,
            phase: Phase::Waiting,
            exit_code_override: None,
            interrupted: false,
            last_message: Deadline::now(),
            kill_at: None,
            sender,
            events,
        }
    }

    /// Serves the master to its end. `start_deadline` ends the wait for a start.
    pub async fn run(
        mut self,
        signals: &mut Signals,
        start_deadline: Option<Deadline>,
    ) -> SessionEnd {
        loop {
            let waits = matches!(self.phase, Phase::Waiting | Phase::Prepared(_));
            let start_deadline = start_deadline.filter(|_| waits);
            let silent_at = self.last_message + self.worker.lost_after;
            let handled = tokio::select! {
                message = receive(&mut self.connection, silent_at) => match message {
                    Ok(message) => self.on_message(message, signals).await,
                    Err(why) => self.on_loss(&why),
                },
                Some(event) = self.events.recv() => self.on_tool(event).await,
                code = signals.next() => self.on_signal(code).await,
                () = at(self.kill_at) => self.on_grace_over(),
                () = at(start_deadline) => self.on_loss("no start within --start-timeout"),
            };
            if let Some(end) = handled {
                return end;
            }
        }
    }

    async fn on_message(
        &mut self,
        message: FromMaster,
        signals: &mut Signals,
    ) -> Option<SessionEnd> {
        self.last_message = Deadline::now();
        match message {
            FromMaster::Ping { number } => self.answer_ping(number).await,
            FromMaster::Prepare { share } => self.prepare(&share).await,
            FromMaster::Start { at } => self.arm(at).await,
            FromMaster::Stop { reason } => self.on_stop(&reason).await,
            FromMaster::Release => self.release(signals).await,
            FromMaster::Hello { .. } => self.on_loss("the master sent a second hello"),
        }
    }

    async fn answer_ping(&mut self, number: u64) -> Option<SessionEnd> {
        let at = WorkerTime(self.worker.clock.nanos_at(Instant::now()));
        let wall = WallTime::now();
        self.send(FromWorker::Pong { number, at, wall }).await
    }

    async fn prepare(&mut self, share: &Share) -> Option<SessionEnd> {
        if !matches!(self.phase, Phase::Waiting) {
            return self.on_loss("the master sent a second share");
        }
        if let Err(why) = share.check() {
            return self.on_loss(&format!("the master sent an impossible share: {why}"));
        }
        match self.create(share) {
            Ok(tool) => {
                log_line(&format!("share: {}", describe(share)));
                self.phase = Phase::Prepared(tool);
                self.send(FromWorker::Prepared).await
            }
            Err(why) => self.refuse(why).await,
        }
    }

    /// Creates the process that becomes the tool.
    fn create(&self, share: &Share) -> Result<Tool, String> {
        let command = self.worker.plan.command(share)?;
        let cannot = |error| format!("cannot create a process: {}", reason(&error));
        Tool::create(command, self.sender.clone()).map_err(cannot)
    }

    async fn refuse(&mut self, reason: String) -> Option<SessionEnd> {
        log_line(&reason);
        self.phase = Phase::Ended(Code::REFUSED);
        self.send(FromWorker::Refused {
            reason: shortened(&reason, MAX_REASON).to_owned(),
            temporary: false,
        })
        .await
    }

    async fn arm(&mut self, at: WorkerTime) -> Option<SessionEnd> {
        let now = Instant::now();
        let latest = now + LONGEST_LEAD;
        let instant = self.worker.clock.instant(at.0);
        let Some(instant) = instant.filter(|it| *it <= latest) else {
            return self.on_loss("the master sent a start that is more than 10 minutes ahead");
        };
        let mut tool = match std::mem::replace(&mut self.phase, Phase::Ended(Code::LATE)) {
            Phase::Prepared(tool) => tool,
            other => {
                self.phase = other;
                return self.on_loss("the master sent a start without a share before");
            }
        };
        let late = now.saturating_duration_since(instant);
        if !late.is_zero() {
            let by = duration(late);
            log_line(&format!(
                "the start was received {by} late; the tool is not started"
            ));
            return self.late(tool, late).await;
        }
        if let Err(error) = tool.start_at(instant) {
            return self.not_started(&error).await;
        }
        self.phase = Phase::Armed(tool, instant);
        let margin_ns = unsigned(instant - now);
        self.send(FromWorker::Armed { margin_ns }).await
    }

    async fn late(&mut self, tool: Tool, by: Duration) -> Option<SessionEnd> {
        drop(tool);
        self.send(FromWorker::Late {
            late_ns: unsigned(by),
        })
        .await
    }

    async fn on_tool(&mut self, event: ToolEvent) -> Option<SessionEnd> {
        if matches!(self.phase, Phase::Ended(_)) {
            // The end of a process that was dropped before the start.
            return None;
        }
        match event {
            ToolEvent::Started(at) => self.started(at).await,
            ToolEvent::NotStarted(error) => self.not_started(&error).await,
            ToolEvent::Cancelled => self.cancelled().await,
            ToolEvent::Ended(end, time) => self.ended(end, time).await,
        }
    }

    async fn started(&mut self, at: Instant) -> Option<SessionEnd> {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Armed(tool, instant) => {
                let after = duration(at.saturating_duration_since(instant));
                log_line(&format!(
                    "the tool was started, {after} after the agreed instant"
                ));
                Phase::Running(tool)
            }
            other => other,
        };
        let at = WorkerTime(self.worker.clock.nanos_at(at));
        self.send(FromWorker::Started { at }).await
    }

    async fn not_started(&mut self, error: &std::io::Error) -> Option<SessionEnd> {
        let (code, why) = match error.kind() {
            std::io::ErrorKind::NotFound => (
                Code::NOT_FOUND,
                "it or its interpreter does not exist".to_owned(),
            ),
            _ => (Code::NOT_EXECUTABLE, reason(error)),
        };
        let reason = format!("the tool cannot be executed: {why}");
        log_line(&reason);
        self.phase = Phase::Ended(code);
        self.send(FromWorker::NotStarted {
            code: code.value(),
            reason,
        })
        .await
    }

    async fn cancelled(&mut self) -> Option<SessionEnd> {
        log_line("the start was cancelled");
        let code = self.exit_code_override.unwrap_or(Code::REFUSED);
        self.phase = Phase::Ended(code);
        let sent = self.send(FromWorker::Cancelled).await;
        self.interrupted.then_some(SessionEnd::Ended(code)).or(sent)
    }

    async fn ended(&mut self, end: ProcessEnd, time: Duration) -> Option<SessionEnd> {
        log_line(&format!(
            "the tool has ended: {end} after {}",
            duration(time)
        ));
        let code = self.exit_code_override.unwrap_or(end.code());
        self.phase = Phase::Ended(code);
        self.kill_at = None;
        let interrupted = self.interrupted;
        let sent = self
            .send(FromWorker::Ended {
                end,
                run_ns: unsigned(time),
                interrupted,
            })
            .await;
        let is_last = interrupted || self.connection.is_none();
        is_last.then_some(SessionEnd::Ended(code)).or(sent)
    }

    /// The master asks to stop.
    async fn on_stop(&mut self, why: &str) -> Option<SessionEnd> {
        log_line(&format!("the master stops the tool: {}", printable(why)));
        match self.phase {
            Phase::Waiting | Phase::Prepared(_) => self.cancelled().await,
            _ => {
                self.stop_tool();
                None
            }
        }
    }

    /// This process received a signal with this exit code.
    async fn on_signal(&mut self, code: Code) -> Option<SessionEnd> {
        self.interrupted = true;
        match self.phase {
            Phase::Waiting | Phase::Prepared(_) => {
                self.send(FromWorker::Cancelled).await;
                Some(SessionEnd::Ended(code))
            }
            Phase::Ended(code) => Some(SessionEnd::Ended(code)),
            Phase::Armed(..) => {
                self.exit_code_override = Some(code);
                self.stop_tool();
                None
            }
            Phase::Running(_) => {
                log_line("stopping the tool after a signal");
                self.stop_tool();
                None
            }
        }
    }

    /// The connection to the master cannot be used any more.
    fn on_loss(&mut self, why: &str) -> Option<SessionEnd> {
        self.connection = None;
        let address = self.master;
        match self.phase {
            Phase::Waiting | Phase::Prepared(_) => Some(SessionEnd::MasterLost(format!(
                "the master {address} was lost before the start: {why}"
            ))),
            Phase::Ended(code) => Some(SessionEnd::Ended(code)),
            Phase::Armed(..) | Phase::Running(_) => {
                log_line(&format!(
                    "the master {address} was lost: {why}; stopping the tool, because no master monitors it"
                ));
                self.exit_code_override = Some(Code::LOST);
                self.interrupted = true;
                self.stop_tool();
                None
            }
        }
    }

    fn stop_tool(&mut self) {
        if let Phase::Armed(tool, _) | Phase::Running(tool) = &self.phase {
            tool.stop();
            self.kill_at
                .get_or_insert_with(|| Deadline::now() + self.worker.stop_grace);
        }
    }

    fn on_grace_over(&mut self) -> Option<SessionEnd> {
        self.kill_at = None;
        if let Phase::Armed(tool, _) | Phase::Running(tool) = &self.phase {
            let grace = humantime::format_duration(self.worker.stop_grace);
            log_line(&format!(
                "the tool still runs {grace} after SIGTERM; sending SIGKILL"
            ));
            tool.kill();
        }
        None
    }

    /// The master has seen the end of all tools.
    async fn release(&mut self, signals: &mut Signals) -> Option<SessionEnd> {
        let Phase::Ended(code) = self.phase else {
            return self.on_loss("the master ended while the tool runs");
        };
        if let Some(connection) = &mut self.connection {
            tokio::select! {
                _ = timeout(CLOSE_TIMEOUT, connection.closed()) => (),
                _ = signals.next() => return Some(SessionEnd::Ended(code)),
            }
        }
        if code != Code::SUCCESS {
            let _ = timeout(EXIT_DELAY, signals.next()).await;
        }
        Some(SessionEnd::Ended(code))
    }

    async fn send(&mut self, message: FromWorker) -> Option<SessionEnd> {
        let sent = match &mut self.connection {
            Some(connection) => connection.send(&message).await,
            None => Ok(()),
        };
        sent.err()
            .and_then(|error| self.on_loss(&error.to_string()))
    }
}

/// The next message of the master; never without one.
async fn receive(
    connection: &mut Option<JsonConnection>,
    silent_at: Deadline,
) -> Result<FromMaster, String> {
    let Some(connection) = connection else {
        return std::future::pending().await;
    };
    match timeout_at(silent_at, connection.receive()).await {
        Ok(received) => received.map_err(|error: ConnectionError| error.to_string()),
        Err(_) => Err("it was silent for --lost-after".to_owned()),
    }
}

fn describe(share: &Share) -> String {
    let parts = share
        .parts
        .iter()
        .map(|(name, part)| format!(", {name}={part}"));
    format!(
        "index {} of {}{}",
        share.index,
        share.count,
        parts.collect::<String>()
    )
}

fn unsigned(time: Duration) -> u64 {
    nanos(time).unsigned_abs()
}
