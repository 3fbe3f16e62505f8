//! Coordinates one start of all workers: the phases from the connection to the end of the tools.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::summary;
use super::worker_connection::{PING_TIMEOUT, Request, Shared, run_connection};
use super::worker_state::{
    Outcome, Stage, WorkerEvent, WorkerState, are_distinct, numbering_warning, order,
};
use crate::args::MasterArgs;
use crate::clock::{Clock, MasterTime, nanos};
use crate::exit::{Code, Failure};
use crate::output::{duration, line, log_line, shortened};
use crate::protocol::{DEFAULT_PORT, MAX_REASON};
use crate::share::divide;
use crate::signals::{Signals, at};

/// Time for all workers to answer in a phase that does not wait for anything outside.
const PHASE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time from the instant of the start to the report of it.
const START_REPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time beyond the grace period for the reports of ended tools. With the release, it is less than the 10 s that Docker waits after
/// SIGTERM.
const STOP_REPORT_TIMEOUT: Duration = Duration::from_millis(700);
/// Time to send the last message to all workers after a stop.
const RELEASE_AFTER_STOP_TIMEOUT: Duration = Duration::from_millis(300);
/// Time to send the last message to all workers after an end without a stop.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of progress lines before the start, and while the tools run.
const PROGRESS: Duration = Duration::from_secs(5);
const RUN_PROGRESS: Duration = Duration::from_secs(60);
/// Comparisons of clocks at the same time.
const MEASURING: usize = 8;
/// Events that wait; connections with more of them stop receiving.
const MAX_EVENTS: usize = 1024;
/// Most workers in a message.
const MAX_NAMED: usize = 10;

/// The workers, their connections, and their events.
pub struct Coordinator {
    args: MasterArgs,
    clock: Clock,
    workers: Vec<WorkerState>,
    /// Senders of requests, in the order of the workers.
    requests: Vec<UnboundedSender<Request>>,
    /// The worker of each connection: workers are put in another order once.
    worker_index: Vec<usize>,
    events: Receiver<(usize, WorkerEvent)>,
    connections: JoinSet<()>,
    signals: Signals,
    release_timeout: Duration,
}

impl Coordinator {
    /// Starts to connect to all workers.
    pub fn new(args: MasterArgs, workers: Vec<WorkerState>, signals: Signals) -> Self {
        let clock = Clock::start();
        let (sender, events) = channel(MAX_EVENTS);
        let shared = Shared {
            clock,
            lost_after: args.lost_after,
            measuring: Arc::new(Semaphore::new(MEASURING)),
            events: sender,
        };
        let mut connections = JoinSet::new();
        let mut requests = Vec::with_capacity(workers.len());
        for (index, worker) in workers.iter().enumerate() {
            let (sender, receiver) = unbounded_channel();
            requests.push(sender);
            connections.spawn(run_connection(
                index,
                worker.address,
                shared.clone(),
                receiver,
            ));
        }
        let worker_index = (0..workers.len()).collect();
        Self {
            args,
            clock,
            workers,
            requests,
            worker_index,
            events,
            connections,
            signals,
            release_timeout: RELEASE_TIMEOUT,
        }
    }

    /// The workers, in the order of their numbers.
    pub fn workers(&self) -> &[WorkerState] {
        &self.workers
    }

    /// Connects, compares the clocks, distributes the shares, starts the tools, and monitors them until all tools have ended.
    pub async fn run(&mut self) -> Result<(), Failure> {
        self.connect().await?;
        self.measure().await?;
        self.prepare().await?;
        let start = self.start().await?;
        self.check_skew()?;
        self.monitor(start).await
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.args.connect_timeout;
        self.wait_for_stage(Stage::Connected, Some(deadline))
            .await?;
        self.sort_by_replica();
        line(&format!("connected to {}", workers(self.workers.len())));
        Ok(())
    }

    /// Puts the workers in the order of their own numbers.
    fn sort_by_replica(&mut self) {
        let replicas: Vec<Option<u32>> = self.workers.iter().map(|worker| worker.replica).collect();
        if let Some(warning) = numbering_warning(&replicas) {
            log_line(&warning);
        }
        let order = order(&replicas);
        let are_distinct = are_distinct(&replicas);
        self.workers = order
            .iter()
            .map(|index| self.workers[*index].clone())
            .collect();
        self.requests = order
            .iter()
            .map(|index| self.requests[*index].clone())
            .collect();
        for (number, (worker, connection)) in self.workers.iter_mut().zip(order).enumerate() {
            let position = u32::try_from(number + 1).unwrap_or(u32::MAX);
            worker.number = worker.replica.filter(|_| are_distinct).unwrap_or(position);
            self.worker_index[connection] = number;
        }
    }

    async fn measure(&mut self) -> Result<(), Failure> {
        self.request_all(&Request::Measure);
        let deadline = Instant::now() + measure_timeout(self.workers.len());
        self.wait_for_stage(Stage::Measured, Some(deadline)).await?;
        let unsure = self.largest_uncertainty();
        line(&format!(
            "clocks compared; uncertainty at most {}",
            duration(unsure)
        ));
        for warning in summary::wall_clock_warnings(&self.workers) {
            log_line(&warning);
        }
        Ok(())
    }

    fn largest_uncertainty(&self) -> Duration {
        let all = self
            .workers
            .iter()
            .filter_map(|worker| Some(worker.offset?.uncertainty));
        all.max().unwrap_or_default()
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        let count = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let shares =
            divide(&self.args.shares, count).map_err(|why| Failure::new(Code::USAGE, why))?;
        for (sender, share) in self.requests.iter().zip(shares) {
            let _ = sender.send(Request::Prepare(share));
        }
        self.wait_for_stage(Stage::Prepared, Some(Instant::now() + PHASE_TIMEOUT))
            .await
    }

    /// Agrees on an instant and waits for all starts. Nothing starts unless every worker acknowledges in time.
    async fn start(&mut self) -> Result<Instant, Failure> {
        let lead = self.args.lead + self.largest_uncertainty() * 2;
        let now = std::time::Instant::now();
        let start = Instant::from_std(now + lead);
        let instant = MasterTime(self.clock.nanos_at(now).saturating_add(nanos(lead)));
        self.request_all(&Request::Start(instant));
        line(&format!("all tools start in {}", duration(lead)));
        self.wait_for_stage(Stage::Armed, Some(start - lead / 4))
            .await?;
        self.wait_for_stage(Stage::Started, Some(start + START_REPORT_TIMEOUT))
            .await?;
        Ok(start)
    }

    fn check_skew(&self) -> Result<(), Failure> {
        let (skew, longest) = (summary::skew(&self.workers), self.args.max_skew);
        let margin = self
            .workers
            .iter()
            .filter_map(|worker| worker.margin)
            .min()
            .unwrap_or_default();
        line(&format!(
            "{} started; skew {} (uncertainty {}); the start was known at least {} before",
            tools(self.workers.len()),
            duration(skew.between),
            duration(skew.uncertainty),
            duration(margin)
        ));
        let limit = humantime::format_duration(longest);
        if skew.between > longest {
            let between = duration(skew.between);
            let why = format!(
                "the tools started {between} apart, more than {limit} (--max-skew); first and last: {}",
                self.extremes()
            );
            return Err(Failure::new(Code::LATE, why));
        }
        if skew.between + skew.uncertainty > longest {
            log_line(&format!(
                "the clocks could not be compared well enough to show a skew below {limit} (--max-skew)"
            ));
        }
        Ok(())
    }

    fn extremes(&self) -> String {
        let first = self.workers.iter().min_by_key(|worker| worker.started);
        let last = self.workers.iter().max_by_key(|worker| worker.started);
        first
            .into_iter()
            .chain(last)
            .map(label)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Monitors the tools until all have ended or are lost.
    async fn monitor(&mut self, start: Instant) -> Result<(), Failure> {
        let deadline = self.args.timeout.and_then(|time| start.checked_add(time));
        let mut progress = Instant::now() + RUN_PROGRESS;
        while let running @ 1.. = self.running() {
            tokio::select! {
                Some((connection, event)) = self.events.recv() => self.apply_and_log(connection, event),
                code = self.signals.next() => return Err(interrupted(code)),
                () = at(deadline) => return Err(self.timed_out()),
                () = sleep_until(progress) => {
                    line(&format!("{} running, of {}", running, self.workers.len()));
                    progress += RUN_PROGRESS;
                }
            }
        }
        Ok(())
    }

    fn running(&self) -> usize {
        self.workers
            .iter()
            .filter(|worker| worker.outcome.is_none())
            .count()
    }

    fn timed_out(&self) -> Failure {
        let time = humantime::format_duration(self.args.timeout.unwrap_or_default());
        let late = names(
            self.workers
                .iter()
                .filter(|worker| worker.outcome.is_none()),
        );
        Failure::new(
            Code::TIMEOUT,
            format!("tools still run after {time} (--timeout): {late}"),
        )
    }

    /// Applies an event while the tools run; losses and failures are shown at once.
    fn apply_and_log(&mut self, connection: usize, event: WorkerEvent) {
        let Some(worker) = self
            .worker_index
            .get(connection)
            .and_then(|index| self.workers.get_mut(*index))
        else {
            return;
        };
        let before = worker.outcome.is_some();
        worker.apply(event);
        let failed =
            !before && worker.outcome.is_some() && summary::worker_code(worker) != Code::SUCCESS;
        let text = summary::line(worker);
        // The last one is among the lines of all workers right after it.
        if failed && self.running() > 0 {
            log_line(&text);
        }
    }

    /// Waits until all workers have reached a stage.
    async fn wait_for_stage(
        &mut self,
        stage: Stage,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let mut progress = Instant::now() + PROGRESS;
        let mut events = Vec::new();
        loop {
            if let Some(failure) = self.early_end() {
                return Err(failure);
            }
            if self.workers.iter().all(|worker| worker.stage >= stage) {
                return Ok(());
            }
            tokio::select! {
                1.. = self.events.recv_many(&mut events, MAX_EVENTS) => self.apply_all(&mut events),
                code = self.signals.next() => return Err(interrupted(code)),
                () = at(deadline) => return Err(self.missing(&stage)),
                () = sleep_until(progress) => {
                    line(&format!("waiting for {}", names(self.below(&stage))));
                    progress += PROGRESS;
                }
            }
        }
    }

    fn apply_all(&mut self, events: &mut Vec<(usize, WorkerEvent)>) {
        for (connection, event) in events.drain(..) {
            self.apply(connection, event);
        }
    }

    fn apply(&mut self, connection: usize, event: WorkerEvent) {
        if let Some(worker) = self
            .worker_index
            .get(connection)
            .and_then(|index| self.workers.get_mut(*index))
        {
            worker.apply(event);
        }
    }

    fn below(&self, stage: &Stage) -> impl Iterator<Item = &WorkerState> {
        self.workers
            .iter()
            .filter(move |worker| worker.stage < *stage)
    }

    /// A worker that ended before all tools were started. After its start an end is no failure of the start.
    fn early_end(&self) -> Option<Failure> {
        let has_not_started =
            |worker: &&WorkerState| worker.outcome.is_some() && worker.started.is_none();
        let worker = self.workers.iter().find(has_not_started)?;
        let why = format!("before the start, {}", summary::line(worker));
        Some(Failure::new(early_code(worker), why))
    }

    fn missing(&self, stage: &Stage) -> Failure {
        let late = self.below(stage);
        let (code, what) = match stage {
            Stage::NotConnected | Stage::Connected => (
                Code::CONNECT_TIMEOUT,
                "did not connect within --connect-timeout",
            ),
            Stage::Measured => (Code::LOST, "did not answer the clock probes"),
            Stage::Prepared => (Code::LOST, "did not accept its share"),
            Stage::Armed => (
                Code::LATE,
                "did not acknowledge the start in time; a longer --lead gives more time",
            ),
            Stage::Started => (Code::LOST, "did not report the start of the tool"),
        };
        let late: Vec<&WorkerState> = late.collect();
        Failure::new(
            code,
            format!(
                "{} {what}: {}",
                workers(late.len()),
                names(late.into_iter())
            ),
        )
    }

    /// Stops all tools after a failure and waits for their ends.
    pub async fn stop(&mut self, why: &str) {
        let deadline = Instant::now() + self.args.stop_grace + STOP_REPORT_TIMEOUT;
        self.release_timeout = RELEASE_AFTER_STOP_TIMEOUT;
        self.request_all(&Request::Stop(shortened(why, MAX_REASON).to_owned()));
        let connected =
            |worker: &WorkerState| worker.stage > Stage::NotConnected && worker.outcome.is_none();
        let mut events = Vec::new();
        while self.workers.iter().any(connected) {
            tokio::select! {
                1.. = self.events.recv_many(&mut events, MAX_EVENTS) => self.apply_all(&mut events),
                () = sleep_until(deadline) => return,
            }
        }
    }

    /// Lets all workers end, and closes the connections.
    pub async fn release(mut self) {
        self.events.close();
        self.request_all(&Request::Release);
        let all = async { while self.connections.join_next().await.is_some() {} };
        let _ = timeout(self.release_timeout, all).await;
    }

    fn request_all(&self, request: &Request) {
        for sender in &self.requests {
            // A connection that has ended has reported why.
            let _ = sender.send(request.clone());
        }
    }
}

/// Time to compare all clocks: a few at the same time.
fn measure_timeout(workers: usize) -> Duration {
    let groups = u32::try_from(workers.div_ceil(MEASURING)).unwrap_or(u32::MAX);
    PHASE_TIMEOUT + PING_TIMEOUT.saturating_mul(groups)
}

fn early_code(worker: &WorkerState) -> Code {
    match &worker.outcome {
        Some(Outcome::Ended { .. } | Outcome::Cancelled) => Code::LOST,
        _ => summary::worker_code(worker),
    }
}

fn interrupted(code: Code) -> Failure {
    let name = if code == Code::of_signal(2) {
        "SIGINT"
    } else {
        "SIGTERM"
    };
    Failure::new(code, format!("received {name}"))
}

fn label(worker: &WorkerState) -> String {
    worker.label(DEFAULT_PORT)
}

/// Names of some workers, with the reason why one cannot be reached.
fn names<'a>(workers: impl Iterator<Item = &'a WorkerState>) -> String {
    let name = |worker: &WorkerState| match (&worker.stage, &worker.unreachable) {
        (Stage::NotConnected, Some(why)) => format!("{}: {why}", label(worker)),
        _ => label(worker),
    };
    let all: Vec<String> = workers.map(name).collect();
    let more = all.len().saturating_sub(MAX_NAMED);
    let named = all
        .into_iter()
        .take(MAX_NAMED)
        .collect::<Vec<_>>()
        .join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {more} more")
    }
}

fn workers(count: usize) -> String {
    if count == 1 {
        "1 worker".to_owned()
    } else {
        format!("{count} workers")
    }
}

fn tools(count: usize) -> String {
    if count == 1 {
        "1 tool".to_owned()
    } else {
        format!("{count} tools")
    }
}
