//! Headless Chromium for tests of report pages.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;

/// How long loading or printing one page may take.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A browser with its own files and profile.
pub struct Browser {
    dir: TempDir,
}

/// A loaded page.
pub struct LoadedPage {
    /// The document after everything was loaded.
    pub dom: String,
    /// Lines of the console, including script errors and violations of the content security policy.
    pub console: Vec<String>,
}

impl Browser {
    /// # Errors
    /// When `chromium` is not installed.
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

    /// Path of a file in the browser's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into that directory.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.path(name), text).with_context(|| format!("cannot write `{name}`"))
    }

    /// Loads one of the files with additional flags and returns the resulting document.
    pub async fn load(&self, name: &str, flags: &[&str]) -> Result<LoadedPage> {
        let mut flags = flags.to_vec();
        flags.push("--dump-dom");
        let (dom, log) = self.run(name, &flags).await?;
        ensure!(dom.contains("</html>"), "the page has no document:\n{log}");
        let console = log.lines().filter(|line| line.contains("CONSOLE"));
        Ok(LoadedPage {
            dom,
            console: console.map(str::to_owned).collect(),
        })
    }

    /// Prints one of the files and returns the PDF.
    pub async fn print(&self, name: &str) -> Result<Vec<u8>> {
        let pdf = self.path("printed.pdf");
        let flag = format!("--print-to-pdf={}", pdf.display());
        let (_, log) = self.run(name, &[&flag]).await?;
        std::fs::read(&pdf).with_context(|| format!("nothing was printed:\n{log}"))
    }

    async fn run(&self, name: &str, flags: &[&str]) -> Result<(String, String)> {
        let mut command = Command::new("chromium");
        // Chromium's sandbox does not run as root; only trusted pages are loaded.
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
        let output = tokio::time::timeout(TIMEOUT, command.output())
            .await
            .with_context(|| format!("`chromium` did not exit within {TIMEOUT:?}"))??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let log = text(&output.stderr);
        ensure!(output.status.success(), "`chromium` failed:\n{log}");
        Ok((text(&output.stdout), log))
    }
}

fn address(path: &Path) -> String {
    format!("file://{}", path.display())
}
