//! Chromium without a window, to look at pages with.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A browser with files and a profile of its own.
pub struct Browser {
    dir: TempDir,
}

/// What a look gave.
pub struct Look {
    /// The document after all was loaded.
    pub dom: String,
    /// What was written on the console, scripts' errors and breaches of the policy among it.
    pub console: Vec<String>,
}

impl Browser {
    /// Fails where there is no `chromium`.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let found = std::process::Command::new("chromium")
            .arg("--version")
            .env("HOME", dir.path())
            .output();
        match found {
            Ok(output) if output.status.success() => Ok(Self { dir }),
            Ok(output) => bail!(
                "`chromium --version` failed: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => {
                bail!("no `chromium` ({error}); install it: `deploy/setup.sh browser`, as root")
            }
        }
    }

    /// Where the browser's files are.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file there.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.path(name), text).with_context(|| format!("cannot write `{name}`"))
    }

    /// Loads one of its files, with further flags, and gives the document as it then is.
    pub async fn look(&self, name: &str, flags: &[&str]) -> Result<Look> {
        let mut flags = flags.to_vec();
        flags.push("--dump-dom");
        let (dom, log) = self.run(name, &flags).await?;
        ensure!(dom.contains("</html>"), "no document came out:\n{log}");
        let console = log.lines().filter(|line| line.contains("CONSOLE"));
        Ok(Look {
            dom,
            console: console.map(str::to_owned).collect(),
        })
    }

    /// Prints one of its files and gives the PDF.
    pub async fn print(&self, name: &str) -> Result<Vec<u8>> {
        let pdf = self.path("printed.pdf");
        let flag = format!("--print-to-pdf={}", pdf.display());
        let (_, log) = self.run(name, &[&flag]).await?;
        std::fs::read(&pdf).with_context(|| format!("nothing was printed:\n{log}"))
    }

    async fn run(&self, name: &str, flags: &[&str]) -> Result<(String, String)> {
        let mut command = Command::new("chromium");
        // Chromium's own sandbox refuses root, and what is loaded is ours.
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"])
            .args(["--enable-logging=stderr", "--allow-file-access-from-files"])
            .arg(format!(
                "--user-data-dir={}",
                self.path("profile").display()
            ))
            .args(flags)
            .arg(address(&self.path(name)))
            .env("HOME", self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .with_context(|| format!("`chromium` does not end within {PATIENCE:?}"))??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let log = text(&output.stderr);
        ensure!(output.status.success(), "`chromium` failed:\n{log}");
        Ok((text(&output.stdout), log))
    }
}

fn address(path: &Path) -> String {
    format!("file://{}", path.display())
}
