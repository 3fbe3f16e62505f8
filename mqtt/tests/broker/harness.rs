//! Runs the program, and reads its results.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A generous deadline.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A command line of `atq-mqtt run`, with a directory for its results.
pub struct Generator {
    pub dir: TempDir,
    args: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Generator {
    /// The options are separated by blanks. Devices have some seconds to connect, also on a busy machine.
    pub fn new(port: u16, options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let results = dir.path().join("mqtt.csv");
        let mut args: Vec<String> = ["run", "--host", "127.0.0.1", "--settle", "4s", "--port"]
            .map(str::to_owned)
            .to_vec();
        args.push(port.to_string());
        args.push("--results".to_owned());
        args.push(results.display().to_string());
        args.extend(options.split_whitespace().map(str::to_owned));
        Self {
            dir,
            args,
            environment: Vec::new(),
        }
    }

    pub fn env(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    /// A file in the directory of this run.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Sets an option, instead of an earlier value.
    pub fn option(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        if let Some(at) = self.args.iter().position(|arg| arg == name) {
            self.args.drain(at..at + 2);
        }
        self.args.push(name.to_owned());
        self.args.push(value.as_ref().display().to_string());
        self
    }

    /// The command; `prefix` is a program that runs it, with its arguments.
    pub fn command(&self, prefix: &[&str]) -> Command {
        let program = [env!("CARGO_BIN_EXE_atq-mqtt")];
        let mut words = prefix.iter().chain(&program);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn start(&self) -> Running {
        Running(Some(self.command(&[]).spawn().unwrap()))
    }

    pub fn run(&self) -> Ended {
        self.start().wait()
    }

    /// Rows of the results: how many of each label succeeded and failed.
    pub fn counts(&self) -> BTreeMap<(String, bool), usize> {
        let mut counts = BTreeMap::new();
        for row in self.rows() {
            *counts
                .entry((row[2].to_owned(), &row[3] == "true"))
                .or_default() += 1;
        }
        counts
    }

    pub fn count(&self, label: &str, success: bool) -> usize {
        let counts = self.counts();
        counts
            .get(&(label.to_owned(), success))
            .copied()
            .unwrap_or(0)
    }

    pub fn rows(&self) -> Vec<csv::StringRecord> {
        let path = self.dir.path().join("mqtt.csv");
        let Ok(reader) = csv::Reader::from_path(path) else {
            return Vec::new();
        };
        reader.into_records().filter_map(Result::ok).collect()
    }
}

/// A running program, killed when dropped.
pub struct Running(Option<Child>);

impl Running {
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    pub fn wait(mut self) -> Ended {
        let mut child = self.0.take().unwrap();
        let ended = until(|| child.try_wait().unwrap().is_some());
        if !ended {
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        assert!(ended, "did not end: {}", text(&output));
        Ended {
            code: output.status.code(),
            text: text(&output),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Exit code and output of a program.
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
}

impl Ended {
    pub fn expect(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for part in parts {
            assert!(
                self.text.contains(part),
                "`{part}` is missing: {}",
                self.text
            );
        }
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// Polls a condition; false after the deadline.
pub fn until(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
