//! Docker through its command line: independent of the Director's client, so that its bugs cannot affect the checks.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Runs `docker ARGS` and returns its standard output, trimmed.
///
/// # Errors
/// When it fails; the message contains its standard error.
pub async fn docker(args: &[&str]) -> Result<String> {
    run(Command::new("docker").args(args)).await
}

/// Like [`docker`], for the Engine at `host`, for example `unix:///run/docker.sock`.
///
/// # Errors
/// When it fails; the message contains its standard error.
pub async fn docker_at(host: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new("docker");
    command.args(args).env("DOCKER_HOST", host);
    command.env_remove("DOCKER_CONTEXT");
    run(command.env_remove("DOCKER_TLS_VERIFY")).await
}

async fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run `docker`")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{:?}: {}", command.as_std(), why.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Lists the objects in Docker with a label, by kind and name.
///
/// # Errors
/// When Docker does not respond.
pub async fn labelled(label: &str) -> Result<BTreeSet<String>> {
    let filter = format!("label={label}");
    let kinds: [(&str, &[&str]); 4] = [
        ("service", &["service", "ls", "--format", "{{.Name}}"]),
        ("network", &["network", "ls", "--format", "{{.Name}}"]),
        ("container", &["ps", "-a", "--format", "{{.Names}}"]),
        ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
    ];
    let mut found = BTreeSet::new();
    for (kind, command) in kinds {
        let args: Vec<&str> = command
            .iter()
            .copied()
            .chain(["--filter", &filter])
            .collect();
        let names = docker(&args).await?;
        found.extend(names.lines().map(|name| format!("{kind} {name}")));
    }
    Ok(found)
}

/// Waits until no object has the label.
///
/// # Errors
/// On a timeout; the message lists the remaining objects.
pub async fn until_nothing(label: &str, timeout: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let remaining = labelled(label).await?;
        if remaining.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > timeout {
            bail!("still in Docker with the label `{label}`: {remaining:?}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// An overlay network with one HTTP server (image `atq-testload:dev`, port 8080): a simulated system under test.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name of the network and of its service.
    pub name: String,
    label: String,
}

impl Target {
    /// The target with this name and label, whether or not it exists.
    pub fn known(name: &str, label: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
        }
    }

    /// Creates both and replaces leftovers of an interrupted run.
    ///
    /// # Errors
    /// When Docker rejects a request.
    pub async fn start(name: &str, label: &str) -> Result<Self> {
        let target = Self::known(name, label);
        target.remove().await?;
        docker(&[
            "network",
            "create",
            "--driver",
            "overlay",
            "--attachable",
            "--label",
            label,
            name,
        ])
        .await?;
        docker(&[
            "service",
            "create",
            "--quiet",
            "--detach",
            "--name",
            name,
            "--network",
            name,
            "--endpoint-mode",
            "dnsrr",
            "--no-resolve-image",
            "--label",
            label,
            "--container-label",
            label,
            "--init",
            "--stop-grace-period",
            "1s",
            "atq-testload:dev",
            "target",
        ])
        .await?;
        target.until_running(Duration::from_secs(60)).await?;
        Ok(target)
    }

    async fn until_running(&self, timeout: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let states = docker(&[
                "service",
                "ps",
                &self.name,
                "--format",
                "{{.CurrentState}} {{.Error}}",
            ])
            .await?;
            if states.starts_with("Running") {
                return Ok(());
            }
            if begun.elapsed() > timeout {
                bail!("the target does not run after {timeout:?}: {states}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Removes both and waits until they are gone.
    ///
    /// # Errors
    /// When something remains after a minute.
    pub async fn remove(&self) -> Result<()> {
        // A missing service is fine.
        let _ = docker(&["service", "rm", &self.name]).await;
        let begun = Instant::now();
        loop {
            let remaining = labelled(&self.label).await?;
            if remaining.is_empty() {
                return Ok(());
            }
            if remaining
                .iter()
                .all(|object| object.starts_with("network "))
            {
                let _ = docker(&["network", "rm", &self.name]).await;
            }
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("cannot remove the target: {remaining:?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
