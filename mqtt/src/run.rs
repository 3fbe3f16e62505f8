//! A run, from the check of the limits to the summary.

use crate::args::Run;
use crate::brokers::Brokers;
use crate::clock::Clock;
use crate::connection::Connector;
use crate::context::{Fatal, RunContext};
use crate::device::Device;
use crate::limits::{self, AddressPairs, Capacity, LimitError, PortRange};
use crate::ports::Ports;
use crate::record::Recorder;
use crate::settings::Settings;
use crate::share::{WorkerShare, WorkerShareError, variable};
use crate::signals::Signals;
use crate::{system, tls};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// Time for devices to disconnect, besides the deadline of acknowledgements.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for devices to end after a signal: the callers of this program kill it after 8 s or more.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a run did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An option, a variable or a file is faulty.
    #[error("{0}")]
    Usage(String),
    /// The environment does not describe a share.
    #[error(transparent)]
    WorkerShare(#[from] WorkerShareError),
    /// The limits of this machine are too low for the devices.
    #[error(transparent)]
    LimitError(#[from] LimitError),
    /// The limits of this machine cannot be read.
    #[error("{0}")]
    System(String),
    /// The broker's host cannot be resolved, or no device could connect.
    #[error("{0}")]
    Unreachable(String),
    /// The run ended early.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The generator was too slow.
    #[error(
        "the generator is too slow: {beyond} of {sent} messages were sent more than {} s late, at most {} s. Use more replicas or CPUs",
        .max_lag.as_secs_f64(), .most.as_secs_f64()
    )]
    Late {
        /// Messages beyond the limit.
        beyond: u64,
        /// All messages.
        sent: u64,
        /// The limit.
        max_lag: Duration,
        /// The greatest lag.
        most: Duration,
    },
}

impl RunError {
    /// The exit code of the program.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::WorkerShare(_) => 2,
            Self::Unreachable(_) => 69,
            Self::Fatal(Fatal::Results(_)) => 74,
            Self::Fatal(Fatal::Panicked(_)) => 101,
            Self::Late { .. } => 75,
            Self::LimitError(_) | Self::System(_) | Self::Fatal(Fatal::Exhausted { .. }) => 78,
        }
    }
}

/// Runs the devices of this worker, and prints progress and summary.
///
/// # Errors
/// When the run cannot start, ends early, or the generator was too slow. Failed messages are no error of the run.
pub async fn run(args: &Run, signals: &mut Signals) -> Result<(), RunError> {
    // First, so that the schedules of all workers agree however long each of them prepares.
    let clock = Clock::start();
    let share = WorkerShare::from_environment()?;
    args.check_replica(&variable("ATQ_REPLICA"), WorkerShare::is_in_environment())
        .map_err(RunError::Usage)?;
    let password = std::env::var("ATQ_MQTT_PASSWORD").ok();
    let settings = args.settings(share, password).map_err(RunError::Usage)?;
    let capacity = system::capacity().map_err(RunError::System)?;
    let connector = connector(args, share, capacity.ports)?;
    let brokers = Brokers::new(&args.host, args.port());
    let addresses = brokers.all_within(settings.connect_timeout).await;
    let addresses = addresses.map_err(RunError::Unreachable)?;
    check_limits(&settings, addresses.len(), &connector, capacity)?;
    let recorder = Recorder::create(&args.results).map_err(|error| {
        RunError::Usage(format!("--results {}: {error}", args.results.display()))
    })?;
    let clock = clock.with_ramp(settings.ramp_time());
    let context = Arc::new(RunContext::new(
        settings, clock, brokers, connector, recorder,
    ));
    print_line(&start_message(&context, addresses.len()));
    run_devices(&context, signals).await;
    summarize(&context)
}

fn connector(args: &Run, share: WorkerShare, ports: PortRange) -> Result<Connector, RunError> {
    let tls = match &args.tls_ca {
        None => None,
        Some(file) => {
            let connector = tls::connector(file).map_err(|error| {
                RunError::Usage(format!("--tls-ca {}: {error}", file.display()))
            })?;
            Some((connector, args.tls_name.clone()))
        }
    };
    for address in &args.source_address {
        system::check_source(*address).map_err(|error| {
            RunError::Usage(format!(
                "--source-address {address}: {error}; expected an address of this machine"
            ))
        })?;
    }
    Ok(Connector {
        tls,
        sources: args.sources(),
        ports: Ports::new(ports, f64::from(share.index()) / f64::from(share.count())),
    })
}

fn check_limits(
    settings: &Settings,
    brokers: usize,
    connector: &Connector,
    capacity: Capacity,
) -> Result<(), RunError> {
    let pairs = AddressPairs {
        brokers: brokers as u64,
        sources: connector.sources.len() as u64,
    };
    limits::check(u64::from(settings.devices()), pairs, capacity)?;
    Ok(())
}

fn start_message(context: &RunContext, brokers: usize) -> String {
    let settings = &context.settings;
    let until_publishing = context
        .clock
        .publish_start()
        .saturating_duration_since(Instant::now());
    format!(
        "worker {} of {}: {} devices, {brokers} broker addresses; publishing starts in {:.1} s, for {:.1} s",
        settings.share.index() + 1,
        settings.share.count(),
        settings.devices(),
        until_publishing.as_secs_f64(),
        settings.duration.as_secs_f64()
    )
}

/// Prints a line. A closed standard output does not end the run.
pub fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Starts the devices, and waits until all have ended.
async fn run_devices(context: &Arc<RunContext>, signals: &mut Signals) {
    let mut devices = JoinSet::new();
    for identity in context.settings.identities() {
        devices.spawn(Device::new(Arc::clone(context), identity).run());
    }
    let observer = tokio::spawn(flush_and_log_progress(Arc::clone(context)));
    wait_for_devices(context, &mut devices, signals).await;
    if !devices.is_empty() {
        print_line(&format!(
            "note: {} devices did not end in time and were cut off",
            devices.len()
        ));
        // Waits until they are gone, so that no row follows the last flush.
        devices.shutdown().await;
    }
    observer.abort();
}

/// Waits until all devices have ended, their time is over, or a second signal arrives.
async fn wait_for_devices(context: &RunContext, devices: &mut JoinSet<()>, signals: &mut Signals) {
    let mut deadline = None;
    let mut is_signalled = false;
    loop {
        tokio::select! {
            ended = devices.join_next() => match ended {
                None => return,
                Some(ended) => check_panic(context, ended),
            },
            () = signals.next() => {
                if is_signalled {
                    return;
                }
                is_signalled = true;
                print_line("stopping: waiting for outstanding acknowledgements");
                context.stop();
                let limit = Instant::now() + STOP_TIMEOUT;
                deadline = Some(deadline.map_or(limit, |planned: Instant| planned.min(limit)));
            }
            () = context.ended(), if deadline.is_none() => {
                deadline = Some(Instant::now() + context.settings.ack_timeout * 2 + END_TIMEOUT);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
        }
    }
}

fn check_panic(context: &RunContext, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        context.abort(Fatal::Panicked(error.to_string()));
    }
}

/// Writes the buffer each second, and a line of progress each ten seconds.
async fn flush_and_log_progress(context: Arc<RunContext>) {
    let start = context.clock.start_of_ramp();
    let mut flush = interval_at(start + FLUSH_INTERVAL, FLUSH_INTERVAL);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_progress = PROGRESS_INTERVAL;
    loop {
        flush.tick().await;
        if let Err(error) = context.recorder.flush() {
            context.abort(Fatal::Results(error.to_string()));
        }
        let elapsed = start.elapsed();
        if elapsed >= next_progress {
            next_progress += PROGRESS_INTERVAL;
            print_line(&context.counters.lock().progress(elapsed));
        }
    }
}

fn summarize(context: &RunContext) -> Result<(), RunError> {
    let flushed = context.recorder.flush();
    let counters = context.counters.lock();
    print_line(&counters.to_string());
    if let Some(fatal) = context.fatal() {
        return Err(fatal.clone().into());
    }
    flushed.map_err(|error| Fatal::Results(error.to_string()))?;
    if !counters.ever_connected() && context.stop_instant().is_none() {
        return Err(RunError::Unreachable(
            "no device could connect; the failures are above".to_owned(),
        ));
    }
    let lag = counters.lag();
    match counters.is_late() {
        true => Err(RunError::Late {
            beyond: lag.over_limit,
            sent: counters.published(),
            max_lag: context.settings.max_lag,
            most: lag.max,
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use clap::Parser;

    fn context(results: &std::path::Path) -> RunContext {
        let args = ["atq-mqtt", "run", "--host", "b", "--devices", "1"];
        let crate::args::Command::Run(args) = crate::args::Cli::parse_from(args).command else {
            panic!("not run");
        };
        let ports = PortRange::DEFAULT;
        RunContext::new(
            args.settings(WorkerShare::WHOLE, None).unwrap(),
            Clock::start(),
            Brokers::new(&args.host, args.port()),
            connector(&args, WorkerShare::WHOLE, ports).unwrap(),
            Recorder::create(results).unwrap(),
        )
    }

    #[tokio::test]
    async fn a_panic_of_a_device_ends_the_run_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(&dir.path().join("mqtt.csv"));
        let mut devices = JoinSet::new();
        devices.spawn(async { panic!("a test") });
        wait_for_devices(&context, &mut devices, &mut Signals::catch().unwrap()).await;
        let error = summarize(&context).unwrap_err();
        assert_eq!(error.exit_code(), 101);
        assert!(error.to_string().contains("a test"), "{error}");
    }
}
