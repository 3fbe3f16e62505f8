//! The command line.

use crate::exit::Exit;
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Runs distributed load tests with an ATQ Director.
#[derive(Debug, Parser)]
#[command(name = "atq", version, after_help = exit_codes())]
pub struct Args {
    /// Where the Director is; else `url` of the configuration file, else http://127.0.0.1:8080.
    // A value of the environment is not shown in the help, since it may hold a password.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ATQ_URL",
        hide_env_values = true
    )]
    pub url: Option<String>,
    /// Certificates (PEM) to trust besides those of the machine: the Director's own, or its authority's; else `ca` of
    /// the configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "ATQ_CA")]
    pub ca: Option<PathBuf>,
    /// Write the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The table of exit codes, for the help.
fn exit_codes() -> String {
    let lines = Exit::ALL
        .iter()
        .map(|exit| format!("  {}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a test, show it, bring its results, and end with its verdict.
    Run(Run),
    /// Write an example that works.
    Init(Init),
    /// Look for faults in a definition, without running it.
    ///
    /// No Director is asked. What only a Director knows is checked by `atq run`: whether a bundle was
    /// uploaded and has the files that are dealt out, which images may run, which networks there are. As
    /// the largest number of replicas counts 1000, which a Director may be configured to exceed.
    ///
    /// In YAML, which is that of version 1.2, anchors, aliases and `<<` are followed.
    Validate(Validate),
    /// Upload a bundle, unless the Director has its content.
    Upload(Upload),
    /// List the bundles, show one, or remove one.
    Bundles(Bundles),
    /// List the tasks, newest first.
    #[command(visible_alias = "ls")]
    Ps(Ps),
    /// Show a task.
    Show(Named),
    /// Show what the containers of a task wrote.
    Logs(Logs),
    /// Show what happened to a task.
    Events(Events),
    /// Stop a task; its logs and results are kept.
    Stop(Stop),
    /// Remove tasks with all that is kept of them.
    Rm(Rm),
    /// Bring the result files of a task.
    Results(Results),
    /// Show the figures of a task, or write its report.
    Report(Report),
    /// Show the Swarm, and whether the Director is ready.
    Swarm,
    /// Show the versions of this program and of the Director.
    Version,
    /// Print a script that completes this program's arguments in a shell.
    Completions(Completions),
}

impl Command {
    /// Whether it calls a Director; the others work with any configuration.
    pub fn needs_director(&self) -> bool {
        !matches!(
            self,
            Self::Init(_) | Self::Validate(_) | Self::Completions(_)
        )
    }
}

/// A definition and what is changed in it.
#[derive(Debug, Clone, Default, Group)]
pub struct Definition {
    /// The definition, JSON or YAML; `-` is standard input.
    #[arg(value_name = "TASK")]
    pub task: PathBuf,
    /// Sets a field, for example `worker.replicas=5` or `criteria[0]=p95 < 2s`; the value is JSON where
    /// the field takes something else than text.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// Sets a variable of the environment of master and workers.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The task's name, instead of that of the definition.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Adds a criterion, for example `p95 < 500ms`.
    #[arg(long = "criterion", value_name = "CRITERION")]
    pub criteria: Vec<String>,
}

/// `atq run`.
#[derive(Debug, Clone, Default, Group)]
pub struct Run {
    /// The definition and what is changed in it.
    #[command(flatten)]
    pub definition: Definition,
    /// A directory or a zip for the services whose `fileid` is missing; `.atqignore` in a directory
    /// says what is left out.
    #[arg(long, value_name = "DIR|ZIP")]
    pub bundle: Option<PathBuf>,
    /// Also show the lines that the master writes.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Start the test, and do not wait for it.
    #[arg(long, conflicts_with_all = ["follow", "results", "junit", "gitlab", "lease"])]
    pub detach: bool,
    /// Where to put result files, report, logs and manifest.
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Writes the verdict as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Writes the figures as GitLab's load performance report.
    #[arg(long, value_name = "FILE")]
    pub gitlab: Option<PathBuf>,
    /// Ends the test when it is not over after this time, that in the queue included, for example `30m`. The
    /// Director sees to it, also when this program has died.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Ends the test when this program has not been heard of for this time; it renews the lease while it watches.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "60s"
    )]
    pub lease: Option<Duration>,
    /// Names this invocation, instead of a random key: another one with the same definition only watches the test.
    #[arg(long, value_name = "KEY", env = "ATQ_IDEMPOTENCY_KEY")]
    pub idempotency_key: Option<String>,
    /// Removes a task of this name that is over, before the start.
    #[arg(long)]
    pub replace: bool,
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// Examples that `atq init` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Example {
    /// Apache JMeter, distributed.
    Jmeter,
    /// Locust, HTTP.
    Locust,
    /// Shell scripts as master and worker.
    Plain,
}

/// `atq init`.
#[derive(Debug, Clone, Group)]
pub struct Init {
    /// Which example.
    #[arg(value_enum)]
    pub example: Example,
    /// Where to write it: a directory that does not exist, or is empty; else one of the example's name.
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `atq validate`.
#[derive(Debug, Clone, Default, Group)]
pub struct Validate {
    /// The definition and what is changed in it.
    #[command(flatten)]
    pub definition: Definition,
    /// The bundle of `run`: a `fileid` that is missing is no fault then.
    #[arg(long, value_name = "DIR|ZIP")]
    pub bundle: Option<PathBuf>,
}

/// `atq upload`.
#[derive(Debug, Clone, Group)]
pub struct Upload {
    /// A directory, or a zip.
    #[arg(value_name = "DIR|ZIP")]
    pub bundle: PathBuf,
}

/// `atq bundles`.
#[derive(Debug, Clone, Default, Group)]
pub struct Bundles {
    /// Show what this one holds.
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Remove it.
    #[arg(long, requires = "id")]
    pub rm: bool,
}

/// `atq ps`.
#[derive(Debug, Clone, Default, Group)]
pub struct Ps {
    /// Only those with this status: initializing, started, stopped, finished, errored.
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub limit: u32,
}

/// A command about one task.
#[derive(Debug, Clone, Default, Group)]
pub struct Named {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `atq logs`.
#[derive(Debug, Clone, Default, Group)]
pub struct Logs {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Go on until the containers have ended.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Only of this service: worker, master, wait, readiness.
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Only of this replica.
    #[arg(long, value_name = "NUMBER")]
    pub replica: Option<u32>,
    /// Only so many last lines of each container.
    #[arg(long, value_name = "NUMBER")]
    pub tail: Option<u32>,
}

/// `atq events`.
#[derive(Debug, Clone, Default, Group)]
pub struct Events {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Go on until the task is over.
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// `atq stop`.
#[derive(Debug, Clone, Default, Group)]
pub struct Stop {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Wait until it is over.
    #[arg(long)]
    pub wait: bool,
    /// Kill its containers at once, without their grace period; also when it is being stopped already.
    #[arg(long)]
    pub force: bool,
    /// Stop the task only if `atq run` started it with this key.
    #[arg(long, value_name = "KEY", env = "ATQ_IDEMPOTENCY_KEY")]
    pub idempotency_key: Option<String>,
}

/// `atq rm`.
#[derive(Debug, Clone, Default, Group)]
pub struct Rm {
    /// Names of the tasks.
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Kill containers that still run at once, without their grace period.
    #[arg(long)]
    pub force: bool,
}

/// `atq results`.
#[derive(Debug, Clone, Default, Group)]
pub struct Results {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where to put the files; a name that ends with `.zip` is the archive itself, `-` standard output. By default
    /// a directory of the task's name.
    #[arg(long, short = 'o', value_name = "DIR|ZIP")]
    pub output: Option<PathBuf>,
}

/// `atq report`.
#[derive(Debug, Clone, Default, Group)]
pub struct Report {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Compare it with the run of this task.
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Write the page with figures and charts here.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the verdict as JUnit XML here.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the figures as GitLab's load performance report here.
    #[arg(long, value_name = "FILE")]
    pub gitlab: Option<PathBuf>,
}

/// `atq completions`.
#[derive(Debug, Clone, Group)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Shells whose arguments can be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
