//! Command line arguments.

use crate::exit::Exit;
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Runs distributed load tests with an ATQ Director.
#[derive(Debug, Parser)]
#[command(name = "atq", version, after_help = exit_codes())]
pub struct Args {
    /// URL of the Director [default: `url` of the configuration file, else http://127.0.0.1:8080].
    // The help does not show the value of the variable, since it may contain a password.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ATQ_URL",
        hide_env_values = true
    )]
    pub url: Option<String>,
    /// Additional trusted certificates (PEM): the Director's own or its CA [default: `ca` of the configuration file].
    #[arg(long, global = true, value_name = "FILE", env = "ATQ_CA")]
    pub ca: Option<PathBuf>,
    /// Write the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The table of exit codes for the help.
fn exit_codes() -> String {
    let lines = Exit::ALL
        .iter()
        .map(|exit| format!("  {}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a test, show its progress, download its results, and exit with its verdict.
    Run(Run),
    /// Write a working example.
    Init(Init),
    /// Validate a definition without running it.
    ///
    /// Does not contact a Director. Only `atq run` can check whether a bundle was uploaded and contains the files to
    /// split, which images are allowed, and which networks exist. The limit of replicas is 1000, unless the Director is
    /// configured otherwise.
    ///
    /// YAML is version 1.2; anchors, aliases and `<<` are supported.
    Validate(Validate),
    /// Upload a bundle, unless the Director has it already.
    Upload(Upload),
    /// List bundles, show one, or remove one.
    Bundles(Bundles),
    /// List tasks, newest first.
    #[command(visible_alias = "ls")]
    Ps(Ps),
    /// Show a task.
    Show(Named),
    /// Show the logs of a task.
    Logs(Logs),
    /// Show the events of a task.
    Events(Events),
    /// Stop a task; keep its logs and results.
    Stop(Stop),
    /// Remove tasks with their logs and results.
    Rm(Rm),
    /// Download the result files of a task.
    Results(Results),
    /// Show the figures of a task, or write its report.
    Report(Report),
    /// Show whether the Director is ready, and its Swarm.
    Swarm,
    /// Show the versions of this program and of the Director.
    Version,
    /// Print a shell completion script.
    Completions(Completions),
}

impl Command {
    /// Whether the command needs a Director. Other commands work with any configuration.
    pub fn needs_director(&self) -> bool {
        !matches!(
            self,
            Self::Init(_) | Self::Validate(_) | Self::Completions(_)
        )
    }
}

/// A definition and changes to it.
#[derive(Debug, Clone, Default, Group)]
pub struct Definition {
    /// Definition in JSON or YAML; `-` for standard input.
    #[arg(value_name = "TASK")]
    pub task: PathBuf,
    /// Set a field, for example `worker.replicas=5` or `criteria[0]=p95 < 2s`; the value is JSON unless the field is a
    /// string.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// Set an environment variable of master and workers.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Override the task's name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Add a criterion, for example `p95 < 500ms`.
    #[arg(long = "criterion", value_name = "CRITERION")]
    pub criteria: Vec<String>,
}

/// `atq run`.
#[derive(Debug, Clone, Default, Group)]
pub struct Run {
    /// The definition and changes to it.
    #[command(flatten)]
    pub definition: Definition,
    /// Bundle (directory or zip) for services without a `fileid`; `.atqignore` in the directory excludes files.
    #[arg(long, value_name = "DIR|ZIP")]
    pub bundle: Option<PathBuf>,
    /// Also show the log of the master.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Start the test without waiting for its end.
    #[arg(long, conflicts_with_all = ["follow", "results", "junit", "gitlab", "lease"])]
    pub detach: bool,
    /// Directory for result files, report, logs and manifest.
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Write the verdict as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the figures as a load performance report for GitLab.
    #[arg(long, value_name = "FILE")]
    pub gitlab: Option<PathBuf>,
    /// Stop the test after this time, including the time in the queue, for example `30m`. The Director enforces it, even if
    /// this program is killed.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Stop the test if this program does not renew its lease within this time, for example because it was killed.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "60s"
    )]
    pub lease: Option<Duration>,
    /// Key of this invocation instead of a random one. An invocation with another key and the same definition only watches
    /// the test.
    #[arg(long, value_name = "KEY", env = "ATQ_IDEMPOTENCY_KEY")]
    pub idempotency_key: Option<String>,
    /// Remove a finished task of this name before the start.
    #[arg(long)]
    pub replace: bool,
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
    /// Name of the example.
    #[arg(value_enum)]
    pub example: Example,
    /// Target directory, new or empty [default: the name of the example].
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `atq validate`.
#[derive(Debug, Clone, Default, Group)]
pub struct Validate {
    /// The definition and changes to it.
    #[command(flatten)]
    pub definition: Definition,
    /// Bundle for `run`; a missing `fileid` is then not a fault.
    #[arg(long, value_name = "DIR|ZIP")]
    pub bundle: Option<PathBuf>,
}

/// `atq upload`.
#[derive(Debug, Clone, Group)]
pub struct Upload {
    /// Directory or zip.
    #[arg(value_name = "DIR|ZIP")]
    pub bundle: PathBuf,
}

/// `atq bundles`.
#[derive(Debug, Clone, Default, Group)]
pub struct Bundles {
    /// Show the files of this bundle.
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Remove the bundle.
    #[arg(long, requires = "id")]
    pub rm: bool,
}

/// `atq ps`.
#[derive(Debug, Clone, Default, Group)]
pub struct Ps {
    /// Only tasks with this status: initializing, started, stopped, finished, errored.
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Maximum number of tasks.
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
    /// Follow until the containers have ended.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Only this service: worker, master, wait, readiness.
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Only this replica.
    #[arg(long, value_name = "NUMBER")]
    pub replica: Option<u32>,
    /// Only this number of last lines of each container.
    #[arg(long, value_name = "NUMBER")]
    pub tail: Option<u32>,
}

/// `atq events`.
#[derive(Debug, Clone, Default, Group)]
pub struct Events {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Follow until the task is over.
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// `atq stop`.
#[derive(Debug, Clone, Default, Group)]
pub struct Stop {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Wait until the task is over.
    #[arg(long)]
    pub wait: bool,
    /// Kill the containers without a grace period, even if the task is stopping already.
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
    /// Kill running containers without a grace period.
    #[arg(long)]
    pub force: bool,
}

/// `atq results`.
#[derive(Debug, Clone, Default, Group)]
pub struct Results {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Target directory; a name that ends with `.zip` stores the archive itself, `-` writes it to standard output [default: the
    /// name of the task].
    #[arg(long, short = 'o', value_name = "DIR|ZIP")]
    pub output: Option<PathBuf>,
}

/// `atq report`.
#[derive(Debug, Clone, Default, Group)]
pub struct Report {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Compare with the run of this task.
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Write a page with figures and charts.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the verdict as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the figures as a load performance report for GitLab.
    #[arg(long, value_name = "FILE")]
    pub gitlab: Option<PathBuf>,
}

/// `atq completions`.
#[derive(Debug, Clone, Group)]
pub struct Completions {
    /// Shell.
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
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
