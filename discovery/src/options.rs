//! Command line and environment.

use std::net::SocketAddr;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;

use crate::dns::NameServers;

/// Says over HTTP which IPv4 addresses a name has inside this network.
#[derive(Debug, Parser)]
#[command(name = "atq-discovery", version)]
pub struct Args {
    /// Address and port to serve on
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "ATQ_DISCOVERY_LISTEN",
        default_value = "0.0.0.0:9090"
    )]
    pub listen: SocketAddr,

    /// DNS server to ask instead of those in /etc/resolv.conf
    #[arg(long, value_name = "IP:PORT", env = "ATQ_DISCOVERY_NAMESERVER")]
    pub nameserver: Option<SocketAddr>,

    /// Token that requests to /api and /probe must carry as `Authorization: Bearer`; without one, anyone may ask.
    /// Prefer the environment: arguments show in the list of processes
    #[arg(
        long,
        env = "ATQ_DISCOVERY_TOKEN",
        hide_env_values = true,
        // An empty variable is more likely a mistake than a wish to be open to everyone.
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub token: Option<String>,
}

impl Args {
    /// What the server needs of the arguments, with the name servers settled.
    ///
    /// # Errors
    ///
    /// Says what is wrong with `/etc/resolv.conf` when it is needed and names no server.
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

/// How a sidecar works.
#[derive(Clone)]
pub struct Options {
    /// Whom to ask.
    pub name_servers: NameServers,
    /// The token that requests to `/api` and `/probe` must carry; `None` leaves them open.
    pub token: Option<String>,
}
