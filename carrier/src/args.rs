//! Command line and environment.

use std::path::PathBuf;

use atq_node_protocol::order::{Work, variable};
use clap::Parser;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Does one piece of work of the Director's on this node, and says how it went in one line of JSON on stdout.
///
/// Ends with 0 when it is done, with 1 when it is not, with 143 when SIGTERM came before the end (`watch` always
/// ends by SIGTERM, with 0).
#[derive(Debug, Parser)]
#[command(name = "atq-carrier", version)]
pub struct Args {
    /// What to do
    #[arg(value_parser = work())]
    pub work: Work,

    /// The details, as JSON
    #[arg(
        long,
        value_name = "JSON",
        env = variable::ORDER,
        default_value = "",
        hide_env_values = true
    )]
    pub order: String,

    /// Secret for the Director. Prefer the environment: arguments show in the list of processes
    #[arg(
        long,
        value_name = "SECRET",
        env = variable::TOKEN,
        default_value = "",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub token: String,

    /// The id of the node on which this runs
    #[arg(
        long,
        value_name = "ID",
        env = variable::NODE,
        default_value = "",
        hide_default_value = true
    )]
    pub node: String,

    /// Where the bundle's volume is mounted
    #[arg(
        long,
        value_name = "DIR",
        env = "ATQ_CARRIER_BUNDLE_DIR",
        default_value = "/bundle"
    )]
    pub bundle_dir: PathBuf,

    /// Where the volumes of the parts are mounted, each in a directory with the replica's number
    #[arg(
        long,
        value_name = "DIR",
        env = "ATQ_CARRIER_PARTS_DIR",
        default_value = "/part"
    )]
    pub parts_dir: PathBuf,

    /// Docker's socket on this node
    #[arg(
        long,
        value_name = "PATH",
        env = "ATQ_CARRIER_DOCKER_SOCKET",
        default_value = "/var/run/docker.sock"
    )]
    pub docker_socket: PathBuf,

    /// The authorities' certificates, needed when the Director is reached by `https`
    #[arg(
        long,
        value_name = "PEM",
        env = "SSL_CERT_FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    pub ca_file: PathBuf,
}

/// The words for the work, with their help.
fn work() -> impl TypedValueParser<Value = Work> {
    let words = Work::ALL.map(|work| PossibleValue::new(work.as_str()).help(help(work)));
    PossibleValuesParser::new(words).try_map(|word| {
        let mut all = Work::ALL.into_iter();
        all.find(|work| work.as_str() == word).ok_or("unknown work")
    })
}

fn help(work: Work) -> &'static str {
    match work {
        Work::Fetch => "Bring a bundle into the volume at the bundle's directory",
        Work::Remove => "Remove volumes",
        Work::Collect => "Take what containers have left in `/atq/results` to the Director",
        Work::Watch => {
            "Report to the Director how busy this node and its containers are, until SIGTERM"
        }
        Work::Kill => "Kill containers of a run",
    }
}
