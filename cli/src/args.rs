//! Command line arguments.

use crate::exit::Exit;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Runs distributed load tests with an ATQ Director.
#[derive(Debug, Parser)]
#[command(name = "atq", version, after_help = exit_codes())]
pub struct Args {
    /// The Director and the token.
    #[command(flatten)]
    pub connection: Connection,
    /// Write the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the Director is, and with which token. The variables of the environment are read by [`crate::settings`], which
/// ranks each of them below every option. No option has a token as its value: other users can list the arguments of
/// processes.
#[derive(Debug, Clone, Default, Group)]
pub struct Connection {
    /// URL of the Director, `http://`, `https://` or `unix:///path` [env: ATQ_URL] [default: the current context, else
    /// `url` of the configuration file, else the socket /run/atq/atq.sock if a Director listens there, else
    /// http://127.0.0.1:8080].
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Additional trusted certificates (PEM): the Director's own or its CA [default: `ca` of the context or of the
    /// configuration file].
    // An empty variable counts as unset.
    #[arg(long, global = true, value_name = "FILE", env = "ATQ_CA", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub ca: Option<PathBuf>,
    /// File with the token [env: ATQ_TOKEN_FILE; ATQ_TOKEN has the token itself] [default: the token of the context].
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Stored context with URL and token, see `atq login` [env: ATQ_CONTEXT] [default: the current context].
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
}

/// The table of exit codes for the help.
fn exit_codes() -> String {
    let lines = Exit::ALL
        .iter()
        .map(|exit| format!("  {:>2}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

const WATCH_EXAMPLES: &str = "\
Examples:
  atq watch checkout-nightly            the figures, until the end
  atq watch checkout-nightly --labels   also those of each label
  atq watch checkout-nightly -f         also the log of the master";

const WAIT_EXAMPLES: &str = "\
Examples:
  atq run task.json --detach && atq wait checkout-nightly
  atq wait checkout-nightly --timeout 30m || echo \"exit code $?\"";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a test, show its progress, download its results, and exit with its verdict.
    Run(Run),
    /// Show the figures of a task until its end, and exit with its verdict.
    ///
    /// Any task can be watched, in any state, by any number of clients. Ctrl-C only ends the watch: the task keeps
    /// running, and the exit code is 6.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Watch),
    /// Wait for the end of a task, and exit with its verdict.
    ///
    /// Nothing is shown before the end. Ctrl-C only ends the wait: the task keeps running, and the exit code is 6.
    #[command(after_help = WAIT_EXAMPLES)]
    Wait(Wait),
    /// Write a working example.
    Init(Init),
    /// Validate a definition without running it.
    ///
    /// Does not contact a Director. Only `atq run` can check whether the bundle of a `fileid` was uploaded and contains the
    /// files to split, which images are allowed, and which networks exist. The limit of replicas is 1000, unless the
    /// Director is configured otherwise.
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
    /// Check a token and store it as a context.
    ///
    /// The token is read from the terminal without being shown, or from standard input. With `--jwt-file` or `ATQ_JWT` the
    /// JWT of a CI job is exchanged for a token. The context becomes the current one.
    Login(Login),
    /// Remove the stored token of a context.
    Logout(Logout),
    /// List, select or remove contexts.
    Context(Contexts),
    /// Create, list or revoke tokens.
    Token(Token),
    /// Show the versions of this program and of the Director.
    Version,
    /// Print a shell completion script.
    Completions(Completions),
}

impl Command {
    /// Whether the command needs a Director before it begins. Other commands work with any configuration.
    pub fn needs_director(&self) -> bool {
        !matches!(
            self,
            Self::Init(_)
                | Self::Validate(_)
                | Self::Login(_)
                | Self::Logout(_)
                | Self::Context(_)
                | Self::Completions(_)
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
    /// Set an environment variable of master and workers. `NAME` alone takes the value of this shell's variable, so that a
    /// secret is in no file and no argument.
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
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
    /// Also show the figures of each label while the test runs.
    #[arg(long)]
    pub labels: bool,
    /// Start the test without waiting for its end.
    #[arg(long, conflicts_with_all = ["follow", "labels", "results", "junit", "gitlab", "lease"])]
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

/// `atq watch`.
#[derive(Debug, Clone, Default, Group)]
pub struct Watch {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Also show the figures of each label while the test runs.
    #[arg(long)]
    pub labels: bool,
    /// Also show the log of the master.
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// `atq wait`.
#[derive(Debug, Clone, Default, Group)]
pub struct Wait {
    /// Name of the task.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Stop waiting after this time, for example `30m`; the task keeps running, and the exit code is 5.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

/// Examples that `atq init` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Example {
    /// Artillery, HTTP, with a part of the test data for each worker.
    Artillery,
    /// Gatling, HTTP, with a part of the test data for each worker.
    Gatling,
    /// Apache JMeter, distributed.
    Jmeter,
    /// Locust, HTTP.
    Locust,
    /// Devices that publish to an MQTT broker.
    Mqtt,
    /// RabbitMQ PerfTest, AMQP.
    Perftest,
    /// Shell scripts as master and worker.
    Plain,
    /// Vegeta, HTTP at a constant rate.
    Vegeta,
    /// wrk, HTTP at the highest rate.
    Wrk,
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
    /// Bundle for `run`: a missing `fileid` is then not a fault, and the files to split must be in the bundle.
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

/// `atq login`.
#[derive(Debug, Clone, Default, Group)]
pub struct Login {
    /// URL of the Director [default: as for other commands].
    #[arg(value_name = "URL")]
    pub director: Option<String>,
    /// Exchange the JWT in this file for a token [env: ATQ_JWT has the JWT itself].
    #[arg(long, value_name = "FILE")]
    pub jwt_file: Option<PathBuf>,
}

/// `atq logout`.
#[derive(Debug, Clone, Default, Group)]
pub struct Logout {
    /// Also revoke the token at the Director.
    #[arg(long)]
    pub revoke: bool,
}

/// `atq context`.
#[derive(Debug, Clone, Group)]
pub struct Contexts {
    /// The action.
    #[command(subcommand)]
    pub action: ContextAction,
}

/// Actions of `atq context`.
#[derive(Debug, Clone, Subcommand)]
pub enum ContextAction {
    /// List the contexts; `*` marks the current one.
    #[command(visible_alias = "ls")]
    List,
    /// Make a context the current one.
    Use {
        /// Name of the context.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove contexts with their tokens.
    Rm {
        /// Names of the contexts.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

/// `atq token`.
#[derive(Debug, Clone, Group)]
pub struct Token {
    /// The action.
    #[command(subcommand)]
    pub action: TokenAction,
}

/// Actions of `atq token`.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenAction {
    /// Create a token and print it. It cannot be shown again.
    Create {
        /// Name of the owner, for tasks and the audit log: letters, digits and `._-@+`.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What the token allows.
        #[arg(long, value_enum)]
        role: Role,
        /// Lifetime, for example `30d`, or `never`.
        #[arg(long, value_name = "TIME", value_parser = lifetime, default_value = "90d")]
        expires: Duration,
    },
    /// List tokens: all for an admin, else only your own.
    #[command(visible_alias = "ls")]
    List,
    /// Revoke a token at once.
    Revoke {
        /// Id of the token, its part between the underscores.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Exchange the JWT of a CI job for a short-lived token and print it.
    ///
    /// The JWT is read from `--jwt-file`, else from the variable ATQ_JWT, else from standard input.
    Exchange {
        /// File with the JWT.
        #[arg(long, value_name = "FILE")]
        jwt_file: Option<PathBuf>,
    },
}

/// Roles of tokens. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads tasks, logs, results, reports and bundles.
    Viewer,
    /// Also uploads bundles, and starts, stops and deletes tasks.
    Runner,
    /// Also manages tokens, and reads the join tokens of the Swarm.
    Admin,
}

/// The lifetime of a token; zero: it never expires.
fn lifetime(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "never" | "0" => Ok(Duration::ZERO),
        text => match humantime::parse_duration(text) {
            Ok(time) if time.as_secs() > 0 => Ok(time),
            Ok(_) => Err("it is less than a second; `never` disables the expiry".to_owned()),
            Err(_) => Err(
                "expected a time with a unit, for example `90d` or `12h`, or `never`".to_owned(),
            ),
        },
    }
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

    #[test]
    fn lifetimes_have_a_unit_or_are_endless() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        assert_eq!(lifetime("90d"), Ok(days(90)));
        assert_eq!(lifetime("1day 12h"), Ok(days(3) / 2));
        assert_eq!(lifetime("never"), Ok(Duration::ZERO));
        assert_eq!(lifetime("0"), Ok(Duration::ZERO));
        for text in ["90", "1ms", "soon", ""] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_option_takes_a_token() {
        let parse = |args: &[&str]| Args::try_parse_from(args).map(drop);
        assert!(parse(&["atq", "--token", "x", "ps"]).is_err());
        assert!(parse(&["atq", "login", "--token", "x"]).is_err());
    }
}
