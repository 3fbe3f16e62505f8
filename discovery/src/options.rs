//! Command line and environment.

use std::net::SocketAddr;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;

use crate::dns::NameServers;

/// Resolves names inside this network and serves their IPv4 addresses over HTTP.
#[derive(Debug, Parser)]
#[command(name = "atq-discovery", version)]
pub struct Args {
    /// Address and port to listen on
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "ATQ_DISCOVERY_LISTEN",
        default_value = "0.0.0.0:9090"
    )]
    pub listen: SocketAddr,

    /// DNS server to query instead of those in /etc/resolv.conf
    #[arg(long, value_name = "IP:PORT", env = "ATQ_DISCOVERY_NAMESERVER")]
    pub nameserver: Option<SocketAddr>,

    /// Token that requests to /api and /probe must send as `Authorization: Bearer`; without it, access is open.
    /// Prefer the environment variable: arguments are visible in the process list
    #[arg(
        long,
        env = "ATQ_DISCOVERY_TOKEN",
        hide_env_values = true,
        // An empty variable is probably a mistake and must not open access.
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub token: Option<String>,
}

impl Args {
    /// The options of the server, with the DNS servers resolved.
    ///
    /// # Errors
    ///
    /// When `/etc/resolv.conf` is needed and contains no server.
    pub fn options(&self) -> Result<Options, String> {
        let name_servers = match self.nameserver {
            Some(address) => NameServers::one(address),
            None => NameServers::from_system()?,
        };
        Ok(Options {
            name_servers,
            token: self.token.clone(),
        })
    }
}

/// Options of the sidecar.
#[derive(Clone)]
pub struct Options {
    /// The DNS servers to query.
    pub name_servers: NameServers,
    /// The token that requests to `/api` and `/probe` must send; `None` leaves access open.
    pub token: Option<String>,
}
