//! Command line and environment.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use ipnet::IpNet;

use crate::exec_at::{ExecAtArgs, NAME};
use crate::protocol::DEFAULT_PORT;
use crate::share::Total;

/// Longest time of an option: that of one year in `humantime`.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// Exit codes, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes of the master: the highest exit code of the tools (128 and the number, if a signal ended one); 0 if all succeeded. Its own:
    2  wrong arguments
  120  a worker did not connect
  121  a worker was lost
  122  the start was late, or the starts were further apart than --max-skew
  123  a worker refused its share, or does not use this protocol version
  124  --timeout has passed
  126  a tool could not be executed
  127  a tool or its interpreter does not exist
  143  SIGTERM (130: SIGINT)

Exit codes of a worker: that of its tool. Its own:
    2  wrong arguments
  120  no master started the tool within --start-timeout
  121  the master was lost; the tool was stopped
  122  the start was received late
  123  the start was refused or cancelled
  126  the tool is not executable
  127  the tool or its interpreter does not exist
  143  SIGTERM before the start (130: SIGINT)";

/// Starts a tool that has no master on all workers at one instant, with a share for each.
///
/// The containers of the workers run `atq-sync worker -- TOOL ARGS`, the container of the master runs `atq-sync master`. Only an
/// instant and a share are sent, never a command.
#[derive(Debug, Parser)]
#[command(name = "atq-sync", version, after_help = EXIT_CODES)]
pub struct Args {
    /// What this process is
    #[command(subcommand)]
    pub role: Role,
}

/// The roles.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Wait for the master, start the tool at the agreed instant, end with its exit code
    #[command(after_help = EXIT_CODES)]
    Worker(WorkerArgs),
    /// Start the tools of all workers at one instant, monitor them, end with the worst exit code
    #[command(after_help = EXIT_CODES)]
    Master(MasterArgs),
    /// Becomes the tool; started by a worker
    #[command(name = NAME, hide = true)]
    ExecAt(ExecAtArgs),
}

/// Arguments of a worker.
#[derive(Debug, ClapArgs)]
pub struct WorkerArgs {
    /// Port to listen on
    #[arg(long, env = "ATQ_SYNC_PORT", default_value_t = DEFAULT_PORT)]
    pub port: u16,

    /// Network of the master, for example 10.224.0.0/24. The worker listens on its own address in it and accepts no other peers.
    /// Without it, all peers are accepted. The Director sets the variable
    #[arg(long, value_name = "CIDR", env = "ATQ_SUBNET")]
    pub subnet: Option<IpNet>,

    /// Number of this worker, from 1. The Director sets the variable
    #[arg(long, value_name = "NUMBER", env = "ATQ_REPLICA")]
    pub replica: Option<u32>,

    /// Time to wait for a master that starts the tool
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration)]
    pub start_timeout: Duration,

    /// Time from SIGTERM to SIGKILL when the tool is stopped
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    pub stop_grace: Duration,

    /// Silence of the master after which it is lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = at_least_three_seconds)]
    pub lost_after: Duration,

    /// The tool and its arguments. `{share:NAME}`, `{share:index}` (from 0) and `{share:count}` are replaced in the arguments
    #[arg(last = true, required = true, value_name = "TOOL ARGS")]
    pub tool: Vec<OsString>,
}

/// Arguments of the master.
#[derive(Debug, ClapArgs)]
pub struct MasterArgs {
    /// Addresses of the workers, each `ADDRESS` or `ADDRESS:PORT`. The Director sets the variable
    #[arg(long, value_name = "A,B,..", env = "WORKER_CSV_VIPS", value_delimiter = ',', required = true, value_parser = peer)]
    pub workers: Vec<Peer>,

    /// Port of workers whose address has none
    #[arg(long, env = "ATQ_SYNC_PORT", default_value_t = DEFAULT_PORT)]
    pub port: u16,

    /// Total to divide between the workers, for example users=1000; repeatable
    #[arg(long = "share", value_name = "NAME=TOTAL")]
    pub shares: Vec<Total>,

    /// Time to wait for all workers
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub connect_timeout: Duration,

    /// Time from the agreement on the instant of the start to the instant
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = lead)]
    pub lead: Duration,

    /// Longest time between the first and the last start
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub max_skew: Duration,

    /// Longest time from the start until all tools have ended; no limit without it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Time for the workers to stop their tools; as long as that of the workers, or longer
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    pub stop_grace: Duration,

    /// Silence of a worker after which it is lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = at_least_three_seconds)]
    pub lost_after: Duration,
}

/// The address of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    ip: IpAddr,
    port: Option<u16>,
}

impl Peer {
    /// The address with the port, or with `default` if it has none.
    pub fn socket(self, default: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(default))
    }
}

fn peer(text: &str) -> Result<Peer, String> {
    let whole = || {
        text.parse::<SocketAddr>().map(|it| Peer {
            ip: it.ip(),
            port: Some(it.port()),
        })
    };
    let bare = text.parse().map(|ip| Peer { ip, port: None });
    bare.or_else(|_| whole())
        .map_err(|_| format!("`{text}` is no address of a worker; right is for example `10.224.0.5` or `10.224.0.5:7700`"))
}

fn duration(text: &str) -> Result<Duration, String> {
    between(text, Duration::ZERO, YEAR)
}

fn between(text: &str, shortest: Duration, longest: Duration) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| {
        format!("`{text}` is not a time ({error}); right is for example `500ms`, `30s` or `10m`")
    })?;
    let show = humantime::format_duration;
    match time >= shortest && time <= longest {
        true => Ok(time),
        false => Err(format!(
            "`{text}` is not between {} and {}",
            show(shortest),
            show(longest)
        )),
    }
}

/// Pings are sent each second.
fn at_least_three_seconds(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(3), Duration::from_secs(3600))
}

fn lead(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(50), Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn error(arguments: &[&str]) -> String {
        let all = ["atq-sync"].iter().chain(arguments);
        Args::try_parse_from(all).unwrap_err().to_string()
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn wrong_values_name_the_option_what_was_seen_and_what_is_right() {
        let cases = [
            (["master", "--workers", "a,10.0.0.1"], "`10.224.0.5`"),
            (["master", "--lead", "1"], "--lead"),
            (["master", "--share", "users"], "`NAME=TOTAL`"),
            (["worker", "--lost-after", "1s"], "between 3s and 1h"),
            (["worker", "--start-timeout", "2y"], "between 0s and 1year"),
            (
                ["master", "--stop-grace", "500000000000y"],
                "between 0s and 1year",
            ),
        ];
        for (arguments, part) in cases {
            let text = error(&arguments);
            assert!(text.contains(arguments[1]) && text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_tool_follows_two_hyphens_and_keeps_its_options() {
        let args = Args::parse_from([
            "atq-sync", "worker", "--port", "1", "--", "tool", "--port", "--", "-x",
        ]);
        let Role::Worker(worker) = args.role else {
            panic!("no worker")
        };
        assert_eq!(worker.tool, ["tool", "--port", "--", "-x"]);
        assert!(error(&["worker"]).contains("TOOL ARGS"));
    }

    #[test]
    fn addresses_have_the_default_port_unless_they_have_their_own() {
        let at = |text| peer(text).unwrap().socket(7700).to_string();
        assert_eq!(at("10.0.0.1"), "10.0.0.1:7700");
        assert_eq!(at("10.0.0.1:9"), "10.0.0.1:9");
        assert_eq!(at("[::1]:9"), "[::1]:9");
        assert!(peer("host:1").is_err());
    }
}
