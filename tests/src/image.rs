//! Images that a test makes for itself, on top of the test image.

use crate::docker::docker;
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// An image. Removed when dropped.
#[derive(Debug)]
pub struct Image {
    /// Its reference.
    pub name: String,
}

impl Image {
    /// The test image with more lines of a Dockerfile, as `name`, which no other test uses.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn build(name: &str, lines: &str) -> Result<Self> {
        let mut child = Command::new("docker")
            // The lines need nothing of BuildKit, which is not part of every client.
            .env("DOCKER_BUILDKIT", "0")
            .args(["build", "--quiet", "--force-rm", "--tag", name, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `docker build`")?;
        let file = format!("FROM atq-testload:dev\nLABEL com.atq.image=test\n{lines}\n");
        let mut input = child.stdin.take().context("no standard input")?;
        input.write_all(file.as_bytes()).await?;
        drop(input);
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("docker build of `{name}`: {}", why.trim());
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }

    /// One whose arguments are a shell script.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn shell(name: &str) -> Result<Self> {
        Self::build(name, r#"ENTRYPOINT ["/bin/sh", "-c"]"#).await
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Another try of the same test makes it anew.
        let _ = std::process::Command::new("docker")
            .args(["image", "rm", "--force", &self.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// The container of one replica of a task's service, by its role (`worker`, `master`, `discovery`).
///
/// # Errors
/// When there is none.
pub async fn container(task: &str, role: &str, replica: u32) -> Result<String> {
    let (task, role) = (
        format!("label=com.atq.task={task}"),
        format!("label=com.atq.role={role}"),
    );
    let list = docker(&[
        "ps",
        "--filter",
        &task,
        "--filter",
        &role,
        "--format",
        "{{.ID}} {{.Names}}",
    ])
    .await?;
    let part = format!(".{replica}.");
    let found = list.lines().find(|line| line.contains(&part));
    let id = found.and_then(|line| line.split(' ').next());
    Ok(id
        .with_context(|| format!("no container {role} {replica} of {task} in: {list}"))?
        .to_owned())
}
