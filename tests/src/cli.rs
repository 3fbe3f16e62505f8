//! The command line as a process of its own, without a terminal, as in a pipeline.

use crate::director::built;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// The command line with definitions in a directory of its own.
#[derive(Debug)]
pub struct Atq {
    binary: PathBuf,
    url: String,
    /// Where it runs.
    pub dir: TempDir,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Standard output, which must be one JSON document.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{self:#?}"))
    }
}

impl Atq {
    /// One that asks the Director at `url`.
    ///
    /// # Errors
    /// When it is not built.
    pub fn at(url: &str) -> Result<Self> {
        Ok(Self {
            binary: built("atq")?,
            url: url.to_owned(),
            dir: tempfile::tempdir()?,
        })
    }

    /// Writes a definition, named as the task; gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn definition(&self, task: &Value) -> Result<String> {
        let name = task["name"].as_str().context("the task has no name")?;
        let file = format!("{name}.json");
        std::fs::write(self.dir.path().join(&file), task.to_string())?;
        Ok(file)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn run(&self, args: &[&str]) -> Result<Ended> {
        let output = self.command(args).output().await?;
        Ok(Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs it, and sends `signal` as soon as a line of standard error has `words`.
    ///
    /// # Errors
    /// When it ends before.
    pub async fn run_until(&self, args: &[&str], words: &str, signal: &str) -> Result<Ended> {
        let mut child = self.command(args).spawn()?;
        let pid = child.id().context("it has ended")?.to_string();
        let mut out = child.stdout.take().context("no standard output")?;
        let errors = child.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(errors).lines();
        let mut err = String::new();
        let mut is_sent = false;
        while let Some(line) = lines.next_line().await? {
            err += &format!("{line}\n");
            if !is_sent && line.contains(words) {
                let mut kill = Command::new("kill");
                is_sent = kill.args(["-s", signal, &pid]).status().await?.success();
            }
        }
        if !is_sent {
            bail!("no line with `{words}` in\n{err}");
        }
        let mut text = String::new();
        out.read_to_string(&mut text).await?;
        Ok(Ended {
            code: child.wait().await?.code(),
            out: text,
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
