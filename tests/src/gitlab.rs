//! A project whose pipelines `gitlab-ci-local` runs as GitLab would, with this machine's shell.
//! `deploy/setup.sh gitlab-ci-local` fetches the program.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// How long one pipeline may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The template, as projects include it.
const TEMPLATE: &str = "atq-load-test.yml";

/// A Git repository with the template, a definition, a bundle, and the pipelines of
/// `deploy/gitlab/test/project`.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
}

/// How a pipeline ended.
#[derive(Debug)]
pub struct Pipeline {
    /// All that was written.
    pub output: String,
}

impl Pipeline {
    /// Whether the job was run and did not fail.
    pub fn passed(&self, job: &str) -> bool {
        self.line(job, "") && !self.line(job, " FAIL ") && !self.line(job, " WARN ")
    }

    /// Whether the job failed with this exit code.
    pub fn failed(&self, job: &str, code: u8) -> bool {
        self.line(job, &format!(" FAIL {code} "))
    }

    /// Whether the job had this exit code, and is a warning only.
    pub fn warned(&self, job: &str, code: u8) -> bool {
        self.line(job, &format!(" WARN {code} "))
    }

    /// Whether the text was written.
    pub fn says(&self, text: &str) -> bool {
        self.output.contains(text)
    }

    /// Whether the line about the job's end has this text.
    fn line(&self, job: &str, end: &str) -> bool {
        self.output.lines().any(|line| {
            // Names are padded to the longest.
            let rest = line.strip_prefix(job).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with("finished in") && rest.contains(end))
        })
    }
}

impl Project {
    /// Makes it.
    ///
    /// # Errors
    /// When a file cannot be copied, or Git does not take them.
    pub async fn new() -> Result<Self> {
        let gitlab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/gitlab");
        let project = Self {
            dir: tempfile::tempdir()?,
        };
        copy(&gitlab.join("test/project"), &project.path(""))?;
        // Included as a file, and as a component.
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

    /// Where something of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where an artifact of a job is.
    pub fn artifact(&self, job: &str, name: &str) -> PathBuf {
        self.path(&format!(".gitlab-ci-local/artifacts/{job}/{name}"))
    }

    /// Writes a program that jobs find on their PATH, under the name `atq`.
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

    /// Runs a pipeline, `variables` being what the project's settings say.
    ///
    /// # Errors
    /// When `gitlab-ci-local` is missing, or does not come to an end.
    pub async fn pipeline(&self, file: &str, variables: &[(&str, &str)]) -> Result<Pipeline> {
        let mut command = Command::new(program()?);
        // Without its isolation, which empties the directory before `after_script`; GitLab does not.
        command.args(["--file", file, "--no-shell-isolation"]);
        for (name, value) in variables {
            command.args(["--variable", &format!("{name}={value}")]);
        }
        let search = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(self.path(".bin")).chain(std::env::split_paths(&search));
        command.env("PATH", std::env::join_paths(dirs)?);
        // What it writes says more than its exit code.
        let (output, _) = self.run(&mut command).await?;
        Ok(Pipeline { output })
    }

    /// What it wrote, and whether it succeeded.
    async fn run(&self, command: &mut Command) -> Result<(String, bool)> {
        command
            .current_dir(self.dir.path())
            // Nothing of this user's own settings.
            .env("HOME", self.dir.path())
            .env_remove("ATQ_URL")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let what = format!("{:?}", command.as_std().get_program());
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .with_context(|| format!("{what} does not end within {PATIENCE:?}"))?
            .with_context(|| format!("cannot run {what}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let text = text(&output.stdout) + &text(&output.stderr);
        Ok((text, output.status.success()))
    }
}

/// Copies a directory with all that is in it.
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

/// On the PATH, or where the set-up has put it: in `tools` of Cargo's directory.
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
