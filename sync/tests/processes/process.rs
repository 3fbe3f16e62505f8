//! A process of `atq-sync` with its lines.

use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running process. Killed when dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// A process that has ended.
pub struct Ended {
    /// Its exit code; 128 and the number of a signal.
    pub code: i32,
    /// All lines.
    pub text: String,
}

impl Process {
    pub fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atq-sync"));
        for name in [
            "ATQ_SUBNET",
            "ATQ_REPLICA",
            "ATQ_SYNC_PORT",
            "WORKER_CSV_VIPS",
        ] {
            command.env_remove(name);
        }
        command.args(args).envs(environment.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        read(child.stdout.take().unwrap(), sender.clone());
        read(child.stderr.take().unwrap(), sender);
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line with a text; returns it. Lines that were seen before count.
    pub fn until(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with `{text}` in {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process and of its output.
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + TIMEOUT;
        let left = || deadline.saturating_duration_since(Instant::now());
        loop {
            match self.lines.recv_timeout(left()) {
                Ok(line) => self.seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(_) => panic!("the process does not end: {:#?}", self.seen),
            }
        }
        let status = self.child.wait().unwrap();
        let code = atq_sync::exit::ProcessEnd::of(status).code().value();
        let text = self.seen.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        });
        Ended {
            code: code.into(),
            text,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Checks exit code and texts.
    #[track_caller]
    pub fn expect(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "no `{text}` in:\n{}", self.text);
        }
    }
}

fn read(output: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

/// A worker that listens on a port of its own.
pub struct Worker {
    pub process: Process,
    pub address: String,
}

/// A worker with a shell script as its tool.
pub fn worker(script: &str) -> Worker {
    worker_with(&[], script, &[])
}

pub fn worker_with(options: &[&str], script: &str, environment: &[(&str, &str)]) -> Worker {
    let fixed = ["worker", "--port", "0"];
    let subnet: &[&str] = match options.contains(&"--subnet") {
        true => &[],
        false => &["--subnet", "127.0.0.0/8"],
    };
    let tool = ["--", "/bin/sh", "-c", script, "tool", "{share:index}"];
    let args: Vec<&str> = fixed
        .iter()
        .chain(subnet)
        .chain(options)
        .chain(&tool)
        .copied()
        .collect();
    let mut process = Process::start(&args, environment);
    let line = process.until("listening on ");
    let address = line.split(' ').nth(3).unwrap().to_owned();
    Worker { process, address }
}

/// A master of these workers.
pub fn master(workers: &[&str], options: &[&str]) -> Process {
    let list = workers.join(",");
    let args: Vec<&str> = ["master"].iter().chain(options).copied().collect();
    Process::start(&args, &[("WORKER_CSV_VIPS", &list)])
}

pub fn addresses(workers: &[Worker]) -> Vec<&str> {
    workers.iter().map(|one| one.address.as_str()).collect()
}

/// An address on which nothing listens.
pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
