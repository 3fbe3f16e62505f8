//! Command line and environment.

use std::path::PathBuf;

use atq_node_protocol::order::{Work, variable};
use clap::Parser;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Performs one job for the Director on this node and reports the outcome as one line of JSON on stdout.
///
/// Exit codes: 0 on success, 1 on failure, 143 after SIGTERM (`watch` and `tail` run until SIGTERM and exit with 0).
#[derive(Debug, Parser)]
#[command(name = "atq-carrier", version)]
pub struct Args {
    /// Work to perform
    #[arg(value_parser = work_parser())]
    pub work: Work,

    /// Order with the details, as JSON
    #[arg(
        long,
        value_name = "JSON",
        env = variable::ORDER,
        default_value = "",
        hide_env_values = true
    )]
    pub order: String,

    /// Secret for the Director. Prefer the environment variable: arguments are visible in the process list
    #[arg(
        long,
        value_name = "SECRET",
        env = variable::TOKEN,
        default_value = "",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub token: String,

    /// Id of this node
    #[arg(
        long,
        value_name = "ID",
        env = variable::NODE,
        default_value = "",
        hide_default_value = true
    )]
    pub node: String,

    /// Mount point of the bundle's volume
    #[arg(
        long,
        value_name = "DIR",
        env = "ATQ_CARRIER_BUNDLE_DIR",
        default_value = "/bundle"
    )]
    pub bundle_dir: PathBuf,

    /// Directory with the mount points of the parts' volumes, one per replica, named by its number
    #[arg(
        long,
        value_name = "DIR",
        env = "ATQ_CARRIER_PARTS_DIR",
        default_value = "/part"
    )]
    pub parts_dir: PathBuf,

    /// Directory with the mount points of the volumes with results, one per container, named like it
    #[arg(
        long,
        value_name = "DIR",
        env = "ATQ_CARRIER_RESULTS_DIR",
        default_value = "/results"
    )]
    pub results_dir: PathBuf,

    /// Docker socket of this node
    #[arg(
        long,
        value_name = "PATH",
        env = "ATQ_CARRIER_DOCKER_SOCKET",
        default_value = "/var/run/docker.sock"
    )]
    pub docker_socket: PathBuf,

    /// CA certificates for an `https` URL, unless the order has a certificate
    #[arg(
        long,
        value_name = "PEM",
        env = "SSL_CERT_FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    pub ca_file: PathBuf,
}

/// Parses the kind of work; lists all kinds with their help.
fn work_parser() -> impl TypedValueParser<Value = Work> {
    let names = Work::ALL.map(|work| PossibleValue::new(work.as_str()).help(help(work)));
    PossibleValuesParser::new(names).try_map(|name| {
        let mut all = Work::ALL.into_iter();
        all.find(|work| work.as_str() == name).ok_or("unknown work")
    })
}

fn help(work: Work) -> &'static str {
    match work {
        Work::Fetch => "Download a bundle into the volume at the bundle directory",
        Work::Remove => "Remove volumes",
        Work::Collect => "Upload the content of `/atq/results` of containers to the Director",
        Work::Watch => {
            "Report resource usage of this node and its containers to the Director, until SIGTERM"
        }
        Work::Kill => "Kill the containers of a run",
        Work::Tail => {
            "Send the bytes that containers append to their result files to the Director, until SIGTERM"
        }
    }
}
