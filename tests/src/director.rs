//! Runs the Director as a child process.

use crate::client::Client;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running Director. Killed when dropped.
#[derive(Debug)]
pub struct Director {
    child: Child,
    /// Its working directory: configuration, data, log.
    pub dir: PathBuf,
    /// A client of its API.
    pub client: Client,
}

impl Director {
    /// Starts `binary` in `dir` on a free loopback port, with `more` lines of configuration, and waits until it is
    /// ready. It continues with existing data in `dir`.
    ///
    /// # Errors
    /// When it is not ready within 30 s; the message contains its log.
    pub async fn start(binary: &Path, dir: &Path, more: &str) -> Result<Self> {
        let port = free_port()?;
        Self::start_on(binary, dir, port, more).await
    }

    /// Like [`Self::start`], on the given port.
    ///
    /// # Errors
    /// When it is not ready within 30 s; the message contains its log.
    pub async fn start_on(binary: &Path, dir: &Path, port: u16, more: &str) -> Result<Self> {
        let client = Client::new(format!("http://127.0.0.1:{port}"))?;
        Self::launch(Command::new(binary), dir, client, port, more).await
    }

    /// Like [`Self::start_on`], for a `command` that becomes the Director and is reached by `client`.
    ///
    /// # Errors
    /// When it is not ready within 30 s; the message contains its log.
    pub async fn launch(
        mut command: Command,
        dir: &Path,
        client: Client,
        port: u16,
        more: &str,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        // The port after a free one may be in use.
        let node_port = match more.contains("nodePort:") {
            true => "",
            false => "nodePort: 0\n",
        };
        let config = format!(
            "port: {port}\n{node_port}glusterpath: {0}/bundles\ndatadir: {0}/data\n{more}",
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
        let mut director = Self { child, dir, client };
        director.until_ready(Duration::from_secs(30)).await?;
        Ok(director)
    }

    async fn until_ready(&mut self, timeout: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let status = match self.client.get("/readyz").await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => response.text().await.unwrap_or_default(),
                Err(error) => format!("{error:#}"),
            };
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the Director exited with {status}; its log:\n{}",
                    self.log()
                );
            }
            if begun.elapsed() > timeout {
                bail!(
                    "the Director is not ready after {timeout:?}: {status}\nits log:\n{}",
                    self.log()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The log written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("director.log")).unwrap_or_default()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process with SIGKILL, as in a crash.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn crash(mut self) -> Result<PathBuf> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.dir.clone())
    }

    /// Sends SIGTERM and returns the exit code and the duration of the shutdown.
    ///
    /// # Errors
    /// When it does not exit within 10 s.
    pub fn terminate(mut self) -> Result<(Option<i32>, Duration)> {
        let begun = Instant::now();
        let sent = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()?;
        if !sent.success() {
            bail!("cannot send SIGTERM to process {}", self.pid());
        }
        while begun.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status.code(), begun.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the Director does not exit; its log:\n{}", self.log())
    }

    /// Detaches from the process, so that it outlives this value, and returns its id.
    pub fn leave_running(self) -> u32 {
        let pid = self.pid();
        std::mem::forget(self);
        pid
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds a free port.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Path of the Director's binary.
///
/// # Errors
/// When it is not built.
pub fn binary() -> Result<PathBuf> {
    built("atq-director")
}

/// Path of a binary in the directory `ATQ_TEST_PROGRAMS`, or else from the same Cargo profile as the running test or
/// tool.
///
/// # Errors
/// When it is not built.
pub fn built(name: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("ATQ_TEST_PROGRAMS") {
        let path = PathBuf::from(dir).join(name);
        ensure!(
            path.is_file(),
            "`{}` is missing; ATQ_TEST_PROGRAMS names its directory",
            path.display()
        );
        return Ok(path);
    }
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.with_context(|| format!("`{name}` is not built; run `cargo build` first"))
}
