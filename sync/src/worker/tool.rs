//! The process of the tool: a thread waits for the instant, starts it, and waits for its end.

use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::mpsc::UnboundedSender;

use crate::exit::ProcessEnd;

/// The last part of the wait, without the possibility to cancel: a plain sleep is the most precise.
const LAST_SLEEP: Duration = Duration::from_millis(2);

/// What happened to the tool.
#[derive(Debug)]
pub enum ToolEvent {
    /// Executed; the time is right after it.
    Started(Instant),
    /// Not executed.
    NotStarted(io::Error),
    /// Cancelled before the start.
    Cancelled,
    /// Ended, with the time since the start.
    Ended(ProcessEnd, Duration),
}

#[derive(Debug)]
enum State {
    Waiting,
    Cancelled,
    /// The first process is not reaped yet, so the number of the group cannot belong to another one.
    Running(Pid),
    Ended,
}

#[derive(Debug)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until shortly before the instant, or until the start is cancelled.
    fn wait(&self, at: Instant) {
        let time = at.saturating_duration_since(Instant::now() + LAST_SLEEP);
        let waiting = |state: &mut State| matches!(state, State::Waiting);
        drop(self.changed.wait_timeout_while(self.lock(), time, waiting));
        if waiting(&mut self.lock()) {
            thread::sleep(at.saturating_duration_since(Instant::now()));
        }
    }

    /// Starts the process unless the start is cancelled.
    fn spawn(&self, command: &mut Command) -> io::Result<Option<Child>> {
        let mut state = self.lock();
        if matches!(*state, State::Cancelled) {
            return Ok(None);
        }
        let child = command.spawn()?;
        *state = State::Running(Pid::from_child(&child));
        Ok(Some(child))
    }

    /// Waits for the end of the first process, and kills what is left of its group.
    fn reap(&self, child: &mut Child) -> io::Result<ProcessEnd> {
        let group = Pid::from_child(child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(group), options))?;
        let mut state = self.lock();
        let _ = kill_process_group(group, Signal::KILL);
        let status = child.wait()?;
        *state = State::Ended;
        Ok(ProcessEnd::of(status))
    }
}

/// A tool that will be started, runs, or has ended.
#[derive(Debug)]
pub struct Tool {
    gate: Arc<Gate>,
}

impl Tool {
    /// Starts the command at an instant. Events arrive in `events`; the last one is `NotStarted`, `Cancelled` or `Ended`.
    ///
    /// # Errors
    /// No thread can be created.
    pub fn arm(
        command: Command,
        at: Instant,
        events: UnboundedSender<ToolEvent>,
    ) -> io::Result<Self> {
        let gate = Arc::new(Gate {
            state: Mutex::new(State::Waiting),
            changed: Condvar::new(),
        });
        let inner = Arc::clone(&gate);
        thread::Builder::new()
            .name("tool".to_owned())
            .spawn(move || run(&inner, command, at, &events))?;
        Ok(Self { gate })
    }

    /// Cancels the start, or sends SIGTERM to the process group.
    pub fn stop(&self) {
        let mut state = self.gate.lock();
        match *state {
            State::Waiting => *state = State::Cancelled,
            State::Running(group) => drop(kill_process_group(group, Signal::TERM)),
            State::Cancelled | State::Ended => (),
        }
        self.gate.changed.notify_all();
    }

    /// Sends SIGKILL to the process group.
    pub fn kill(&self) {
        if let State::Running(group) = *self.gate.lock() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn run(gate: &Gate, mut command: Command, at: Instant, events: &UnboundedSender<ToolEvent>) {
    // The receiver is gone only when the process ends.
    let tell = |event| drop(events.send(event));
    gate.wait(at);
    let child = gate.spawn(&mut command);
    let started = Instant::now();
    match child {
        Err(error) => tell(ToolEvent::NotStarted(error)),
        Ok(None) => tell(ToolEvent::Cancelled),
        Ok(Some(mut child)) => {
            tell(ToolEvent::Started(started));
            let end = gate.reap(&mut child).unwrap_or(ProcessEnd::Code(u8::MAX));
            tell(ToolEvent::Ended(end, started.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::process::CommandExt;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn arm(script: &str, after: Duration) -> (Tool, UnboundedReceiver<ToolEvent>, Instant) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).process_group(0);
        let (sender, events) = unbounded_channel();
        let at = Instant::now() + after;
        (Tool::arm(command, at, sender).unwrap(), events, at)
    }

    #[tokio::test]
    async fn a_tool_starts_at_its_instant_and_not_before() {
        let (_tool, mut events, at) = arm("exit 3", Duration::from_millis(200));
        let Some(ToolEvent::Started(started)) = events.recv().await else {
            panic!()
        };
        assert!(started >= at);
        assert!(matches!(
            events.recv().await,
            Some(ToolEvent::Ended(ProcessEnd::Code(3), _))
        ));
    }

    #[tokio::test]
    async fn a_cancelled_tool_does_not_start() {
        let (tool, mut events, _) = arm("exit 3", Duration::from_secs(3600));
        tool.stop();
        assert!(matches!(events.recv().await, Some(ToolEvent::Cancelled)));
    }

    #[tokio::test]
    async fn a_stop_reaches_the_whole_group_and_leftovers_are_killed() {
        // The child ignores SIGTERM and would hold the pipe open.
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        let script = "trap 'exit 7' TERM; (trap '' TERM; echo ready; sleep 600) & wait";
        command.args(["-c", script]).process_group(0).stdout(writer);
        let (sender, mut events) = unbounded_channel();
        let tool = Tool::arm(command, Instant::now(), sender).unwrap();
        let output = tokio::task::spawn_blocking(move || {
            let mut lines = io::BufRead::lines(io::BufReader::new(reader));
            let first = lines.next().unwrap().unwrap();
            (first, lines)
        });
        let (first, mut lines) = output.await.unwrap();
        assert_eq!(first, "ready");
        assert!(matches!(events.recv().await, Some(ToolEvent::Started(_))));
        tool.stop();
        assert!(matches!(
            events.recv().await,
            Some(ToolEvent::Ended(ProcessEnd::Code(7), _))
        ));
        // The pipe ends only if no process of the group is left.
        assert!(lines.next().is_none());
        tool.stop();
        tool.kill();
    }
}
