//! The process of the tool. It exists before the start, see [`crate::exec_at`]; a thread monitors it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::mpsc::UnboundedSender;

use crate::exec_at::{from_machine, to_machine};
use crate::exit::ProcessEnd;

/// What happened to the tool.
#[derive(Debug)]
pub enum ToolEvent {
    /// Executed; the time is right before it.
    Started(Instant),
    /// Not executed.
    NotStarted(io::Error),
    /// Stopped before the start.
    Cancelled,
    /// Ended, with the time since the start.
    Ended(ProcessEnd, Duration),
}

/// The process group, as long as its first process is not reaped: its number cannot belong to another one then.
#[derive(Debug)]
struct Group(Mutex<Option<Pid>>);

impl Group {
    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = *self.lock() {
            // The processes may have ended.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Waits for the end of the first process, and kills what is left of the group.
    fn reap(&self, child: &mut Child) -> io::Result<ProcessEnd> {
        let first = Pid::from_child(child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(first), options))?;
        let mut group = self.lock();
        let _ = kill_process_group(first, Signal::KILL);
        let status = child.wait()?;
        *group = None;
        Ok(ProcessEnd::of(status))
    }
}

/// A tool that will be started, runs, or has ended. Dropped before the start, it is not started.
#[derive(Debug)]
pub struct Tool {
    channel: UnixStream,
    group: Arc<Group>,
}

impl Tool {
    /// Creates the process, in a group of its own, without starting the tool. Events arrive in `events`; the last one is
    /// `NotStarted`, `Cancelled` or `Ended`.
    ///
    /// # Errors
    /// No process or thread can be created.
    pub fn create(mut command: Command, events: UnboundedSender<ToolEvent>) -> io::Result<Self> {
        let (channel, other) = UnixStream::pair()?;
        let child = command
            .stdin(OwnedFd::from(other))
            .process_group(0)
            .spawn()?;
        let group = Arc::new(Group(Mutex::new(Some(Pid::from_child(&child)))));
        let tool = Self {
            channel: channel.try_clone()?,
            group: Arc::clone(&group),
        };
        let monitor = move || monitor(channel, child, &group, &events);
        thread::Builder::new()
            .name("tool".to_owned())
            .spawn(monitor)?;
        Ok(tool)
    }

    /// Starts the tool at an instant.
    ///
    /// # Errors
    /// The process has ended.
    pub fn start_at(&mut self, at: Instant) -> io::Result<()> {
        self.channel.write_all(&to_machine(at).to_ne_bytes())
    }

    /// Cancels the start, or sends SIGTERM to the process group.
    pub fn stop(&self) {
        self.group.signal(Signal::TERM);
    }

    /// Sends SIGKILL to the process group.
    pub fn kill(&self) {
        self.group.signal(Signal::KILL);
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // The process ends if the tool is not started yet, and is not affected otherwise.
        let _ = self.channel.shutdown(std::net::Shutdown::Both);
    }
}

fn monitor(
    channel: UnixStream,
    mut child: Child,
    group: &Group,
    events: &UnboundedSender<ToolEvent>,
) {
    // The receiver is gone only when the worker has ended.
    let send_event = |event| drop(events.send(event));
    let started = started(channel);
    if let Ok(Some(at)) = started {
        send_event(ToolEvent::Started(at));
    }
    let end = group.reap(&mut child).unwrap_or(ProcessEnd::Code(u8::MAX));
    send_event(match started {
        Ok(Some(at)) => ToolEvent::Ended(end, at.elapsed()),
        Ok(None) => ToolEvent::Cancelled,
        Err(error) => ToolEvent::NotStarted(error),
    });
}

/// Waits for the start; `None` if the process ended before.
fn started(mut channel: UnixStream) -> io::Result<Option<Instant>> {
    let mut time = [0; 8];
    if channel.read_exact(&mut time).is_err() {
        return Ok(None);
    }
    let mut error = [0; 4];
    match channel.read_exact(&mut error) {
        Ok(()) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(error))),
        Err(_) => Ok(Some(from_machine(i64::from_ne_bytes(time)))),
    }
}
