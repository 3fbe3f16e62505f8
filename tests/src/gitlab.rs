//! A project whose pipelines `gitlab-ci-local` runs with the local shell, as a GitLab runner would.
//! `deploy/setup.sh gitlab-ci-local` installs the program.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// How long one pipeline may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The template, as projects include it.
const TEMPLATE: &str = "atq-load-test.yml";

/// A Git repository with the template, a definition, a bundle, and the pipelines of
/// `deploy/gitlab/test/project`.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
}

/// A finished pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// Its output.
    pub output: String,
}

impl Pipeline {
    /// Whether the job ran and did not fail.
    pub fn passed(&self, job: &str) -> bool {
        self.line(job, "") && !self.line(job, " FAIL ") && !self.line(job, " WARN ")
    }

    /// Whether the job failed with this exit code.
    pub fn failed(&self, job: &str, code: u8) -> bool {
        self.line(job, &format!(" FAIL {code} "))
    }

    /// Whether the job had this exit code and counts as a warning.
    pub fn warned(&self, job: &str, code: u8) -> bool {
        self.line(job, &format!(" WARN {code} "))
    }

    /// Whether the output contains the text.
    pub fn contains(&self, text: &str) -> bool {
        self.output.contains(text)
    }

    /// Whether the line about the job's end contains this text.
    fn line(&self, job: &str, end: &str) -> bool {
        self.output.lines().any(|line| {
            // Names are padded to the length of the longest.
            let rest = line.strip_prefix(job).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with("finished in") && rest.contains(end))
        })
    }
}

impl Project {
    /// Creates the project.
    ///
    /// # Errors
    /// When a file cannot be copied or a Git command fails.
    pub async fn new() -> Result<Self> {
        let gitlab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/gitlab");
        let project = Self {
            dir: tempfile::tempdir()?,
        };
        copy(&gitlab.join("test/project"), &project.path(""))?;
        // The template is included both as a file and as a component.
        fs::create_dir(project.path("templates"))?;
        for place in [TEMPLATE.to_owned(), format!("templates/{TEMPLATE}")] {
            fs::copy(gitlab.join(TEMPLATE), project.path(&place))?;
        }
        let remote = "https://gitlab.example.com/shop/webshop.git";
        for args in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["remote", "add", "origin", remote],
            &["config", "user.name", "tester"],
            &["config", "user.email", "tester@example.com"],
            &["add", "--all"],
            &["commit", "--quiet", "--message=Test the shop"],
        ] {
            let mut git = Command::new("git");
            let (output, fine) = project.run(git.args(args)).await?;
            ensure!(fine, "git {args:?}: {output}");
        }
        Ok(project)
    }

    /// Path of a file in the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Path of a job's artifact.
    pub fn artifact(&self, job: &str, name: &str) -> PathBuf {
        self.path(&format!(".gitlab-ci-local/artifacts/{job}/{name}"))
    }

    /// Writes a shell script named `atq` to a directory on the jobs' PATH.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_atq(&self, script: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(".bin/atq");
        fs::create_dir_all(self.path(".bin"))?;
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        Ok(fs::set_permissions(
            path,
            fs::Permissions::from_mode(0o755),
        )?)
    }

    /// Runs a pipeline with `variables` as the project's CI/CD variables.
    ///
    /// # Errors
    /// When `gitlab-ci-local` is missing or does not exit in time.
    pub async fn pipeline(&self, file: &str, variables: &[(&str, &str)]) -> Result<Pipeline> {
        let mut command = Command::new(program()?);
        // Its isolation would empty the directory before `after_script`; GitLab does not do that.
        command.args(["--file", file, "--no-shell-isolation"]);
        for (name, value) in variables {
            command.args(["--variable", &format!("{name}={value}")]);
        }
        let search = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(self.path(".bin")).chain(std::env::split_paths(&search));
        command.env("PATH", std::env::join_paths(dirs)?);
        // The output has the exit code of each job.
        let (output, _) = self.run(&mut command).await?;
        Ok(Pipeline { output })
    }

    /// Runs a command and returns its output and whether it succeeded.
    async fn run(&self, command: &mut Command) -> Result<(String, bool)> {
        command
            .current_dir(self.dir.path())
            // Ignores the settings of the user who runs the tests.
            .env("HOME", self.dir.path())
            .env_remove("ATQ_URL")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let what = format!("{:?}", command.as_std().get_program());
        let output = tokio::time::timeout(TIMEOUT, command.output())
            .await
            .with_context(|| format!("{what} did not exit within {TIMEOUT:?}"))?
            .with_context(|| format!("cannot run {what}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let text = text(&output.stdout) + &text(&output.stderr);
        Ok((text, output.status.success()))
    }
}

/// Copies a directory recursively.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Finds the program on the PATH or in `tools` of Cargo's target directory, where the set-up script installs it.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::current_exe()?;
    let tools = own.ancestors().map(|dir| dir.join("tools"));
    std::env::split_paths(&path)
        .chain(tools)
        .map(|dir| dir.join("gitlab-ci-local"))
        .find(|program| program.is_file())
        .context("`gitlab-ci-local` is missing; run `deploy/setup.sh gitlab-ci-local` first")
}
