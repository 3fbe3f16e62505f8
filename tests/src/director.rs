//! A Director as a process of its own.

use crate::client::Client;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Director. Killed when dropped.
#[derive(Debug)]
pub struct Director {
    child: Child,
    /// Its working directory: configuration, data, log.
    pub dir: PathBuf,
    /// A client of its API.
    pub client: Client,
}

impl Director {
    /// Starts `binary` in `dir` on a free port of the loopback, with `more` lines of configuration,
    /// and waits until it is ready. What `dir` holds of an earlier one is taken up.
    ///
    /// # Errors
    /// When it is not ready within 30 s; the message has its log.
    pub async fn start(binary: &Path, dir: &Path, more: &str) -> Result<Self> {
        let port = free_port()?;
        Self::start_on(binary, dir, port, more).await
    }

    /// The same on the given port.
    ///
    /// # Errors
    /// When it is not ready within 30 s; the message has its log.
    pub async fn start_on(binary: &Path, dir: &Path, port: u16, more: &str) -> Result<Self> {
        Self::launch(Command::new(binary), dir, "127.0.0.1", port, more).await
    }

    /// The same for a `command` that becomes the Director, and is asked at `host`.
    ///
    /// # Errors
    /// When it is not ready within 30 s; the message has its log.
    pub async fn launch(
        mut command: Command,
        dir: &Path,
        host: &str,
        port: u16,
        more: &str,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let config = format!(
            "port: {port}\nglusterpath: {0}/bundles\ndatadir: {0}/data\n{more}",
            dir.display()
        );
        std::fs::write(dir.join("controller-config.yaml"), config)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join("director.log"))?;
        let child = command
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let client = Client::new(format!("http://{host}:{port}"))?;
        let mut director = Self { child, dir, client };
        director.until_ready(Duration::from_secs(30)).await?;
        Ok(director)
    }

    async fn until_ready(&mut self, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let seen = match self.client.get("/readyz").await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => format!("{error:#}"),
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("the Director ended with {status}; its log:\n{}", self.log());
            }
            if begun.elapsed() > patience {
                bail!(
                    "the Director is not ready after {patience:?}: {seen}\nits log:\n{}",
                    self.log()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("director.log")).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, as a crash.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn crash(mut self) -> Result<PathBuf> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.dir.clone())
    }

    /// SIGTERM; gives the exit code and how long the end took.
    ///
    /// # Errors
    /// When it does not end within 10 s.
    pub fn terminate(mut self) -> Result<(Option<i32>, Duration)> {
        let begun = Instant::now();
        let told = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()?;
        if !told.success() {
            bail!("cannot send SIGTERM to process {}", self.pid());
        }
        while begun.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status.code(), begun.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the Director does not end; its log:\n{}", self.log())
    }

    /// Lets the process live on when this is dropped.
    pub fn leave_running(self) -> u32 {
        let pid = self.pid();
        std::mem::forget(self);
        pid
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on just now.
///
/// # Errors
/// When the system gives none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The Director's binary.
///
/// # Errors
/// When it is not there; `cargo build` makes it.
pub fn binary() -> Result<PathBuf> {
    built("atq-director")
}

/// A binary beside the running test or tool: Cargo puts all of a profile in one directory.
///
/// # Errors
/// When it is not there; `cargo build` makes it.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.with_context(|| format!("`{name}` is not built; run `cargo build` first"))
}
