//! One start of all workers: the phases from the connection to the end of the tools.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::driver::{Order, PING_TIMEOUT, Shared, drive};
use super::seat::{Over, Report, Seat, Stage, are_distinct, numbering_warning, order};
use super::summary;
use crate::args::MasterArgs;
use crate::clock::{Clock, MasterTime, nanos};
use crate::exit::{Code, Failure};
use crate::output::{duration, line, problem, shortened};
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
/// Most workers in a message.
const MAX_NAMED: usize = 10;

/// The workers, their drivers, and the news of them.
pub struct Round {
    args: MasterArgs,
    clock: Clock,
    seats: Vec<Seat>,
    /// Senders of orders, in the order of the seats.
    orders: Vec<UnboundedSender<Order>>,
    /// The seat of each driver: seats are put in another order once.
    places: Vec<usize>,
    reports: UnboundedReceiver<(usize, Report)>,
    drivers: JoinSet<()>,
    signals: Signals,
    release_timeout: Duration,
}

impl Round {
    /// Starts to connect to all workers.
    pub fn new(args: MasterArgs, seats: Vec<Seat>, signals: Signals) -> Self {
        let clock = Clock::start();
        let (sender, reports) = unbounded_channel();
        let shared = Shared {
            clock,
            lost_after: args.lost_after,
            measuring: Arc::new(Semaphore::new(MEASURING)),
            reports: sender,
        };
        let mut drivers = JoinSet::new();
        let mut orders = Vec::with_capacity(seats.len());
        for (place, seat) in seats.iter().enumerate() {
            let (sender, receiver) = unbounded_channel();
            orders.push(sender);
            drivers.spawn(drive(place, seat.address, shared.clone(), receiver));
        }
        let places = (0..seats.len()).collect();
        Self {
            args,
            clock,
            seats,
            orders,
            places,
            reports,
            drivers,
            signals,
            release_timeout: RELEASE_TIMEOUT,
        }
    }

    /// The workers, in the order of their numbers.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Connects, compares the clocks, distributes the shares, starts, and follows until all tools have ended.
    pub async fn play(&mut self) -> Result<(), Failure> {
        self.connect().await?;
        self.measure().await?;
        self.prepare().await?;
        let start = self.start().await?;
        self.check_skew()?;
        self.follow(start).await
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.args.connect_timeout;
        self.reach(Stage::Connected, Some(deadline)).await?;
        self.arrange();
        line(&format!("connected to {}", workers(self.seats.len())));
        Ok(())
    }

    /// Puts the workers in the order of their own numbers.
    fn arrange(&mut self) {
        let replicas: Vec<Option<u32>> = self.seats.iter().map(|seat| seat.replica).collect();
        if let Some(warning) = numbering_warning(&replicas) {
            problem(&warning);
        }
        let order = order(&replicas);
        let are_distinct = are_distinct(&replicas);
        self.seats = order
            .iter()
            .map(|place| self.seats[*place].clone())
            .collect();
        self.orders = order
            .iter()
            .map(|place| self.orders[*place].clone())
            .collect();
        for (number, (seat, driver)) in self.seats.iter_mut().zip(order).enumerate() {
            let position = u32::try_from(number + 1).unwrap_or(u32::MAX);
            seat.number = seat.replica.filter(|_| are_distinct).unwrap_or(position);
            self.places[driver] = number;
        }
    }

    async fn measure(&mut self) -> Result<(), Failure> {
        self.order_all(&Order::Measure);
        let deadline = Instant::now() + measure_timeout(self.seats.len());
        self.reach(Stage::Measured, Some(deadline)).await?;
        let unsure = self.largest_uncertainty();
        line(&format!(
            "clocks compared; uncertainty at most {}",
            duration(unsure)
        ));
        for warning in summary::wall_clock_warnings(&self.seats) {
            problem(&warning);
        }
        Ok(())
    }

    fn largest_uncertainty(&self) -> Duration {
        let all = self
            .seats
            .iter()
            .filter_map(|seat| Some(seat.offset?.uncertainty));
        all.max().unwrap_or_default()
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        let count = u32::try_from(self.seats.len()).unwrap_or(u32::MAX);
        let shares =
            divide(&self.args.shares, count).map_err(|why| Failure::new(Code::USAGE, why))?;
        for (order, share) in self.orders.iter().zip(shares) {
            let _ = order.send(Order::Prepare(share));
        }
        self.reach(Stage::Prepared, Some(Instant::now() + PHASE_TIMEOUT))
            .await
    }

    /// Agrees on an instant and waits for all starts. Nothing starts unless every worker acknowledges in time.
    async fn start(&mut self) -> Result<Instant, Failure> {
        let lead = self.args.lead + self.largest_uncertainty() * 2;
        let now = std::time::Instant::now();
        let start = Instant::from_std(now + lead);
        let instant = MasterTime(self.clock.nanos_at(now).saturating_add(nanos(lead)));
        self.order_all(&Order::Start(instant));
        line(&format!("all tools start in {}", duration(lead)));
        self.reach(Stage::Armed, Some(start - lead / 4)).await?;
        self.reach(Stage::Started, Some(start + START_REPORT_TIMEOUT))
            .await?;
        Ok(start)
    }

    fn check_skew(&self) -> Result<(), Failure> {
        let (skew, longest) = (summary::skew(&self.seats), self.args.max_skew);
        let margin = self
            .seats
            .iter()
            .filter_map(|seat| seat.margin)
            .min()
            .unwrap_or_default();
        line(&format!(
            "{} started; skew {} (uncertainty {}); the start was known at least {} before",
            tools(self.seats.len()),
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
            problem(&format!(
                "the clocks could not be compared well enough to show a skew below {limit} (--max-skew)"
            ));
        }
        Ok(())
    }

    fn extremes(&self) -> String {
        let first = self.seats.iter().min_by_key(|seat| seat.started);
        let last = self.seats.iter().max_by_key(|seat| seat.started);
        first
            .into_iter()
            .chain(last)
            .map(label)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Follows the tools until all have ended or are lost.
    async fn follow(&mut self, start: Instant) -> Result<(), Failure> {
        let deadline = self.args.timeout.and_then(|time| start.checked_add(time));
        let mut progress = Instant::now() + RUN_PROGRESS;
        while let running @ 1.. = self.running() {
            tokio::select! {
                Some((driver, report)) = self.reports.recv() => self.note(driver, report),
                code = self.signals.next() => return Err(interrupted(code)),
                () = at(deadline) => return Err(self.timed_out()),
                () = sleep_until(progress) => {
                    line(&format!("{} running, of {}", running, self.seats.len()));
                    progress += RUN_PROGRESS;
                }
            }
        }
        Ok(())
    }

    fn running(&self) -> usize {
        self.seats.iter().filter(|seat| seat.over.is_none()).count()
    }

    fn timed_out(&self) -> Failure {
        let time = humantime::format_duration(self.args.timeout.unwrap_or_default());
        let late = names(self.seats.iter().filter(|seat| seat.over.is_none()));
        Failure::new(
            Code::TIMEOUT,
            format!("tools still run after {time} (--timeout): {late}"),
        )
    }

    /// Applies news while the tools run; losses and failures are shown at once.
    fn note(&mut self, driver: usize, report: Report) {
        let Some(seat) = self
            .places
            .get(driver)
            .and_then(|place| self.seats.get_mut(*place))
        else {
            return;
        };
        let before = seat.over.is_some();
        seat.apply(report);
        let failed = !before && seat.over.is_some() && summary::seat_code(seat) != Code::SUCCESS;
        let text = summary::line(seat);
        // The last one is among the lines of all workers right after it.
        if failed && self.running() > 0 {
            problem(&text);
        }
    }

    /// Waits until all workers have reached a stage.
    async fn reach(&mut self, stage: Stage, deadline: Option<Instant>) -> Result<(), Failure> {
        let mut progress = Instant::now() + PROGRESS;
        loop {
            if let Some(failure) = self.early_end() {
                return Err(failure);
            }
            if self.seats.iter().all(|seat| seat.stage >= stage) {
                return Ok(());
            }
            tokio::select! {
                Some((driver, report)) = self.reports.recv() => self.apply(driver, report),
                code = self.signals.next() => return Err(interrupted(code)),
                () = at(deadline) => return Err(self.missing(&stage)),
                () = sleep_until(progress) => {
                    line(&format!("waiting for {}", names(self.below(&stage))));
                    progress += PROGRESS;
                }
            }
        }
    }

    fn apply(&mut self, driver: usize, report: Report) {
        if let Some(seat) = self
            .places
            .get(driver)
            .and_then(|place| self.seats.get_mut(*place))
        {
            seat.apply(report);
        }
    }

    fn below(&self, stage: &Stage) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(move |seat| seat.stage < *stage)
    }

    /// A worker that ended before all tools were started. After its start an end is no failure of the start.
    fn early_end(&self) -> Option<Failure> {
        let has_not_started = |seat: &&Seat| seat.over.is_some() && seat.started.is_none();
        let seat = self.seats.iter().find(has_not_started)?;
        let why = format!("before the start, {}", summary::line(seat));
        Some(Failure::new(early_code(seat), why))
    }

    fn missing(&self, stage: &Stage) -> Failure {
        let late = self.below(stage);
        let (code, what) = match stage {
            Stage::Absent | Stage::Connected => {
                (Code::NEVER_CAME, "did not come within --connect-timeout")
            }
            Stage::Measured => (Code::LOST, "did not answer questions for the time"),
            Stage::Prepared => (Code::LOST, "did not take a share"),
            Stage::Armed => (
                Code::LATE,
                "did not acknowledge the start in time; a longer --lead gives more time",
            ),
            Stage::Started => (Code::LOST, "did not report the start of the tool"),
        };
        let late: Vec<&Seat> = late.collect();
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
        self.order_all(&Order::Stop(shortened(why, MAX_REASON).to_owned()));
        let connected = |seat: &Seat| seat.stage > Stage::Absent && seat.over.is_none();
        while self.seats.iter().any(connected) {
            tokio::select! {
                Some((driver, report)) = self.reports.recv() => self.apply(driver, report),
                () = sleep_until(deadline) => return,
            }
        }
    }

    /// Lets all workers end, and closes the connections.
    pub async fn release(mut self) {
        self.order_all(&Order::Release);
        let all = async { while self.drivers.join_next().await.is_some() {} };
        let _ = timeout(self.release_timeout, all).await;
    }

    fn order_all(&self, order: &Order) {
        for sender in &self.orders {
            // A driver that has ended has reported why.
            let _ = sender.send(order.clone());
        }
    }
}

/// Time to compare all clocks: a few at the same time.
fn measure_timeout(workers: usize) -> Duration {
    let groups = u32::try_from(workers.div_ceil(MEASURING)).unwrap_or(u32::MAX);
    PHASE_TIMEOUT + PING_TIMEOUT.saturating_mul(groups)
}

fn early_code(seat: &Seat) -> Code {
    match &seat.over {
        Some(Over::Ended { .. } | Over::Cancelled) => Code::LOST,
        _ => summary::seat_code(seat),
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

fn label(seat: &Seat) -> String {
    seat.label(DEFAULT_PORT)
}

/// Names of some workers, with the reason why one cannot be reached.
fn names<'a>(seats: impl Iterator<Item = &'a Seat>) -> String {
    let name = |seat: &Seat| match (&seat.stage, &seat.unreachable) {
        (Stage::Absent, Some(why)) => format!("{}: {why}", label(seat)),
        _ => label(seat),
    };
    let all: Vec<String> = seats.map(name).collect();
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
