//! Command line and environment.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Does one piece of work of the Director's on this node, and says how it went in one line of JSON on stdout.
///
/// Ends with 0 when it is done, with 1 when it is not, with 143 when SIGTERM came before the end (`watch` always
/// ends by SIGTERM, with 0).
#[derive(Debug, Parser)]
#[command(name = "atq-carrier", version)]
pub struct Args {
    /// What to do
    #[arg(value_enum)]
    pub work: Work,

    /// The details, as JSON
    #[arg(
        long,
        value_name = "JSON",
        env = "ATQ_CARRIER_ORDER",
        default_value = "",
        hide_env_values = true
    )]
    pub order: String,

    /// Secret for the Director. Prefer the environment: arguments show in the list of processes
    #[arg(
        long,
        value_name = "SECRET",
        env = "ATQ_CARRIER_TOKEN",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub token: String,

    /// The id of the node on which this runs
    #[arg(
        long,
        value_name = "ID",
        env = "ATQ_CARRIER_NODE",
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

/// What a carrier can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Bring a bundle into the volume at the bundle's directory
    Fetch,
    /// Remove volumes
    Remove,
    /// Take what containers have left in `/atq/results` to the Director
    Collect,
    /// Tell the Director how busy this node and its containers are, until SIGTERM
    Watch,
    /// Kill containers of a run
    Kill,
}

impl Work {
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Remove => "remove",
            Self::Collect => "collect",
            Self::Watch => "watch",
            Self::Kill => "kill",
        }
    }
}
