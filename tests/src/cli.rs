//! Runs `atq` as a child process without a terminal, as in a pipeline.

use crate::director::built;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// The `atq` binary with its own directory for definitions.
#[derive(Debug)]
pub struct Atq {
    binary: PathBuf,
    url: String,
    /// Its working directory.
    pub dir: TempDir,
}

/// Exit code and output of one invocation.
#[derive(Debug)]
pub struct AtqOutput {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl AtqOutput {
    /// Parses standard output as one JSON document.
    ///
    /// # Errors
    /// When it is not valid JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{self:#?}"))
    }
}

impl Atq {
    /// An `atq` for the Director at `url`.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn at(url: &str) -> Result<Self> {
        Ok(Self {
            binary: built("atq")?,
            url: url.to_owned(),
            dir: tempfile::tempdir()?,
        })
    }

    /// Writes a definition to a file named after the task and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn definition(&self, task: &Value) -> Result<String> {
        let name = task["name"].as_str().context("the task has no name")?;
        let file = format!("{name}.json");
        std::fs::write(self.dir.path().join(&file), task.to_string())?;
        Ok(file)
    }

    /// Runs `atq` until it exits.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, args: &[&str]) -> Result<AtqOutput> {
        let output = self.command(args).output().await?;
        Ok(AtqOutput {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs `atq` and sends `signal` as soon as a line of standard error contains `text`.
    ///
    /// # Errors
    /// When it exits without writing such a line.
    pub async fn run_until(&self, args: &[&str], text: &str, signal: &str) -> Result<AtqOutput> {
        let mut child = self.command(args).spawn()?;
        let pid = child.id().context("the process has exited")?.to_string();
        let mut out = child.stdout.take().context("no standard output")?;
        let errors = child.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(errors).lines();
        let mut err = String::new();
        let mut is_sent = false;
        while let Some(line) = lines.next_line().await? {
            err += &format!("{line}\n");
            if !is_sent && line.contains(text) {
                let mut kill = Command::new("kill");
                is_sent = kill.args(["-s", signal, &pid]).status().await?.success();
            }
        }
        if !is_sent {
            bail!("no line contains `{text}`:\n{err}");
        }
        let mut stdout = String::new();
        out.read_to_string(&mut stdout).await?;
        Ok(AtqOutput {
            code: child.wait().await?.code(),
            out: stdout,
            err,
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ATQ_URL", &self.url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}
