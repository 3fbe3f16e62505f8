//! A process that becomes the tool at an instant.
//!
//! The worker starts it when it gets its share. At the instant only the tool has to be executed: no process has to be created then, which
//! would take longer than everything else on a busy node.
//!
//! Its standard input is a socket to the worker. It receives the instant, sends the time right before it executes the tool, and sends
//! the error if that fails; the system closes the socket when the tool is executed. If the worker ends before, so does this process. If the worker
//! is killed later, the system kills the tool.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::nanos;
use crate::exit::Code;

/// The name of the subcommand.
pub const NAME: &str = "exec-at";
/// The last part of the wait is a plain sleep. The timeout of a socket is up to an eighth too long, because the kernel rounds it up.
const LAST_SLEEP: Duration = Duration::from_millis(25);

/// Arguments of the process.
#[derive(Debug, clap::Args)]
pub struct ExecAtArgs {
    /// Path of the tool, its name for itself, its arguments
    #[arg(last = true, required = true, num_args = 2..)]
    tool: Vec<OsString>,
}

/// The monotonic clock of the machine, in nanoseconds: the same for all processes.
fn machine_time() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec)
}

/// An instant of this process as time of the machine.
pub fn to_machine(instant: Instant) -> i64 {
    let ahead = nanos(instant.saturating_duration_since(Instant::now()));
    machine_time().saturating_add(ahead)
}

/// A past time of the machine as instant of this process.
pub fn from_machine(time: i64) -> Instant {
    let ago = u64::try_from(machine_time().saturating_sub(time)).unwrap_or(0);
    let now = Instant::now();
    now.checked_sub(Duration::from_nanos(ago)).unwrap_or(now)
}

/// Waits and executes the tool. Returns only if the tool is not executed.
pub fn run(args: &ExecAtArgs) -> Code {
    match wait_and_execute(args) {
        Ok(code) => code,
        // The worker is gone, and so is the reason to start.
        Err(_) => Code::LOST,
    }
}

fn wait_and_execute(args: &ExecAtArgs) -> io::Result<Code> {
    let mut worker = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut command = Command::new(Path::new(&args.tool[0]));
    command
        .arg0(&args.tool[1])
        .args(&args.tool[2..])
        .stdin(Stdio::null());
    // The tool keeps this setting. The thread that created this process is the main thread of the worker.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    wait(&mut worker)?;
    worker.write_all(&machine_time().to_ne_bytes())?;
    let error = command.exec();
    worker.write_all(&error.raw_os_error().unwrap_or(0).to_ne_bytes())?;
    Ok(Code::NOT_EXECUTABLE)
}

/// Waits for the instant, and then until it. The end of the worker is an error.
fn wait(worker: &mut UnixStream) -> io::Result<()> {
    let mut instant = [0; 8];
    worker.read_exact(&mut instant)?;
    let instant = i64::from_ne_bytes(instant);
    loop {
        let left = left(instant);
        if left <= LAST_SLEEP {
            thread::sleep(left);
            return Ok(());
        }
        worker.set_read_timeout(Some(left / 2))?;
        match worker.read(&mut [0]) {
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if is_temporary(&error) => (),
            Err(error) => return Err(error),
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn left(instant: i64) -> Duration {
    let left = instant.saturating_sub(machine_time());
    Duration::from_nanos(u64::try_from(left).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// How late a wait for `lead` ends.
    fn lateness(lead: Duration) -> Duration {
        let (mut process, mut worker) = UnixStream::pair().unwrap();
        let instant = to_machine(Instant::now() + lead);
        worker.write_all(&instant.to_ne_bytes()).unwrap();
        wait(&mut process).unwrap();
        let late = machine_time() - instant;
        Duration::from_nanos(u64::try_from(late).unwrap())
    }

    #[test]
    fn a_wait_is_not_prolonged_by_the_rounding_of_timeouts() {
        // A busy machine may delay some of the attempts.
        let lateness = (0..5).map(|_| lateness(Duration::from_millis(995))).min();
        assert!(lateness < Some(Duration::from_millis(10)), "{lateness:?}");
    }

    #[test]
    fn the_end_of_the_worker_ends_the_wait() {
        let (mut process, mut worker) = UnixStream::pair().unwrap();
        let instant = to_machine(Instant::now() + Duration::from_secs(3600));
        worker.write_all(&instant.to_ne_bytes()).unwrap();
        drop(worker);
        assert!(wait(&mut process).is_err());
    }

    #[test]
    fn instants_are_the_same_after_a_conversion_to_the_time_of_the_machine_and_back() {
        let instant = Instant::now();
        let back = from_machine(to_machine(instant));
        let error = back.max(instant) - back.min(instant);
        assert!(error < Duration::from_secs(1), "{error:?}");
        assert!(
            left(to_machine(Instant::now() + Duration::from_secs(3600)))
                > Duration::from_secs(3000)
        );
        assert_eq!(left(0), Duration::ZERO);
    }
}
