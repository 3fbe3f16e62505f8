//! The examples of `deploy/examples`, run with the commands of their READMEs.

use crate::client::Client;
use crate::director::built;
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Limit of all commands below one heading.
const TIMEOUT: Duration = Duration::from_secs(240);

/// A folder of `deploy/examples`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// Its name for `atq init`.
    pub name: &'static str,
}

impl Example {
    /// The example of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name }
    }

    /// The name of its task.
    #[must_use]
    pub fn task(&self) -> String {
        format!("example-{}", self.name)
    }

    /// Its folder in the repository.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/examples")
            .join(self.name)
    }

    /// The code blocks with commands below a heading of its README.
    ///
    /// # Errors
    /// When the README has no such heading.
    pub fn blocks(&self, heading: &str) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.folder().join("README.md"))?;
        let (_, section) = text
            .split_once(&format!("\n## {heading}\n"))
            .with_context(|| format!("`{}` has no `{heading}`", self.name))?;
        let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
        let parts: Vec<&str> = section.split("```").collect();
        Ok(parts
            .iter()
            .filter_map(|part| part.strip_prefix("sh\n"))
            .map(str::to_owned)
            .collect())
    }

    /// Copies the folder into `to`.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub async fn copy(&self, to: &Path) -> Result<PathBuf> {
        let from = self.folder();
        let status = Command::new("cp").arg("-R").args([&*from, to]).status();
        ensure!(status.await?.success(), "cp of `{}`", from.display());
        Ok(to.join(self.name))
    }

    /// Writes it by `atq init` into `to`, as a new user would.
    ///
    /// # Errors
    /// When `atq init` fails.
    pub async fn init(&self, to: &Path, url: &str) -> Result<PathBuf> {
        shell(&format!("atq init {}", self.name), to, url).await?;
        Ok(to.join(self.name))
    }

    /// Runs the commands below `With atq` in `dir`, and checks that the test passed and that its files are there.
    ///
    /// # Errors
    /// When a command fails, or the verdict is not `pass`.
    pub async fn run_with_atq(&self, dir: &Path, client: &Client) -> Result<String> {
        let commands = self.blocks("With atq")?.join("\n");
        let commands = commands.replace("atq run task.json", "atq run task.json --replace");
        let output = shell(&commands, dir, &client.url).await?;
        ensure!(
            output.contains(&format!("PASS {}", self.task())),
            "{output}"
        );
        for kept in ["report.html", "junit.xml", "logs/master.1.log"] {
            ensure!(
                dir.join("results").join(kept).exists(),
                "no `{kept}`: {output}"
            );
        }
        Ok(output)
    }
}

/// The system under test of an example. Removed with the last commands of its README when dropped, also when a test fails.
#[derive(Debug)]
pub struct Target {
    remove: String,
}

impl Target {
    /// Starts it with the commands below `Something to load`, after the removal of leftovers.
    ///
    /// # Errors
    /// When a command fails.
    pub async fn start(example: Example, url: &str) -> Result<Self> {
        let remove = example.blocks("Tidy up")?;
        let remove = remove.last().context("no commands below `Tidy up`")?;
        let target = Self {
            remove: remove.clone(),
        };
        target.remove();
        let start = example.blocks("Something to load")?.join("\n");
        shell(&start, &example.folder(), url).await?;
        Ok(target)
    }

    /// Each command on its own, because some of the objects may be missing.
    fn remove(&self) {
        let _ = std::process::Command::new("timeout")
            .args(["60", "sh", "-c", &self.remove])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The PATH of this process, extended by the built `atq`.
fn path() -> Result<OsString> {
    let atq = built("atq")?;
    let own = std::env::var_os("PATH").unwrap_or_default();
    let dir = atq.parent().context("a program is in a directory")?;
    let all = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&own));
    Ok(std::env::join_paths(all)?)
}

/// Runs shell commands in `dir` with the Director at `url`, and returns their output.
///
/// # Errors
/// When a command fails, or after 240 s.
pub async fn shell(commands: &str, dir: &Path, url: &str) -> Result<String> {
    shell_within(TIMEOUT, commands, dir, url).await
}

/// Like [`shell`], with another limit.
///
/// # Errors
/// When a command fails, or after the limit.
pub async fn shell_within(
    limit: Duration,
    commands: &str,
    dir: &Path,
    url: &str,
) -> Result<String> {
    let running = Command::new("sh")
        .args(["-euc", commands])
        .current_dir(dir)
        .env("ATQ_URL", url)
        .env("PATH", path()?)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(limit, running)
        .await
        .with_context(|| format!("timeout of {limit:?}: {commands}"))??;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{}: {commands}\n{out}\n{err}",
        output.status
    );
    Ok(out.into_owned())
}
