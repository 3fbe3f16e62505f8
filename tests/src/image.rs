//! Images that a test builds for itself, based on the test image.

use crate::director::built;
use crate::docker::docker;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// An image. Removed when dropped.
#[derive(Debug)]
pub struct Image {
    /// Its reference.
    pub name: String,
}

impl Image {
    /// Builds the test image with additional Dockerfile lines as `name`, which must be unique among the tests.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn build(name: &str, lines: &str) -> Result<Self> {
        Self::build_with(name, lines, &[]).await
    }

    /// Like [`Self::build`], with files that the lines can copy.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn build_with(name: &str, lines: &str, files: &[&Path]) -> Result<Self> {
        let context = tempfile::tempdir()?;
        let text = format!("FROM atq-testload:dev\nLABEL com.atq.image=test\n{lines}\n");
        std::fs::write(context.path().join("Dockerfile"), text)?;
        for file in files {
            let base = file.file_name().context("a file without a name")?;
            std::fs::copy(file, context.path().join(base))?;
        }
        let output = Command::new("docker")
            // BuildKit is not part of every client, and is not needed.
            .env("DOCKER_BUILDKIT", "0")
            .args(["build", "--quiet", "--force-rm", "--tag", name])
            .arg(context.path())
            .output()
            .await
            .context("cannot run `docker build`")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("docker build of `{name}`: {}", why.trim());
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }

    /// Builds an image whose command is one of `atq-sync`.
    ///
    /// # Errors
    /// When it cannot be built, or `atq-sync` is not.
    pub async fn sync(name: &str) -> Result<Self> {
        let lines = "COPY atq-sync /bin/atq-sync\nENTRYPOINT [\"/bin/atq-sync\"]";
        Self::build_with(name, lines, &[&built("atq-sync")?]).await
    }

    /// Builds an image whose first argument is a shell script.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn shell(name: &str) -> Result<Self> {
        Self::build(name, r#"ENTRYPOINT ["/bin/sh", "-c"]"#).await
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // The next run of the test builds it again.
        let _ = std::process::Command::new("docker")
            .args(["image", "rm", "--force", &self.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// The container id of one replica of a task's service, by role (`worker`, `master`, `discovery`).
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
