//! Which names are asked for, and which server is asked when.

use crate::resolv_conf::ResolvConf;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

/// In the first round a server has at most so long, so that one that is down does not use up the caller's patience.
const FIRST_ROUND: Duration = Duration::from_secs(1);
const PORT: u16 = 53;

/// Why a host has no address.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    /// The servers know no such name.
    #[error("no such host `{host}` (asked {servers})")]
    NoSuchHost {
        /// The name.
        host: String,
        /// Who was asked.
        servers: String,
    },
    /// No server gives an answer.
    #[error("cannot resolve `{host}`: no DNS server of /etc/resolv.conf answers ({reason})")]
    NoAnswer {
        /// The name.
        host: String,
        /// What was seen of each server.
        reason: String,
    },
    /// DNS has no such names.
    #[error("`{0}` is not a host name")]
    NotAName(String),
}

/// Whom to ask, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
    ndots: usize,
    /// How long a server may take, round by round.
    rounds: Vec<Duration>,
    tcp: bool,
}

impl From<ResolvConf> for Plan {
    fn from(conf: ResolvConf) -> Self {
        let mut servers = conf.nameservers;
        if servers.is_empty() {
            // As the C library: a server of this machine, and never a public one.
            servers.push(Ipv4Addr::LOCALHOST.into());
        }
        let search = conf.search.iter();
        let rounds = std::iter::once(conf.timeout.min(FIRST_ROUND))
            .chain(std::iter::repeat_n(conf.timeout, conf.attempts));
        Self {
            servers: servers.into_iter().map(|ip| (ip, PORT).into()).collect(),
            search: search
                .filter_map(|domain| Name::from_str_relaxed(domain).ok())
                .collect(),
            ndots: conf.ndots,
            rounds: rounds.collect(),
            tcp: conf.tcp,
        }
    }
}

/// What one question came to.
enum Answer {
    Addresses(Vec<IpAddr>),
    /// The name does not exist, or has no addresses.
    Nothing,
    /// A server answered that it cannot tell; another name may do.
    Failure(String),
    /// No server answered.
    Silence(String),
}

pub(crate) async fn lookup(host: &str, plan: &Plan) -> Result<Vec<IpAddr>, ResolveError> {
    let name = Name::from_ascii(host).map_err(|_| ResolveError::NotAName(host.to_owned()))?;
    let mut failure = None;
    for candidate in candidates(&name, plan) {
        match ask(&candidate, plan).await {
            Answer::Addresses(addresses) => return Ok(addresses),
            Answer::Nothing => {}
            Answer::Failure(reason) => failure = Some(reason),
            Answer::Silence(reason) => {
                failure = Some(reason);
                break;
            }
        }
    }
    let host = host.to_owned();
    Err(match failure {
        Some(reason) => ResolveError::NoAnswer { host, reason },
        None => {
            let servers: Vec<_> = plan.servers.iter().map(|at| at.ip().to_string()).collect();
            let servers = servers.join(", ");
            ResolveError::NoSuchHost { host, servers }
        }
    })
}

/// The complete names that a name may stand for, in the order in which they are asked for.
fn candidates(name: &Name, plan: &Plan) -> Vec<Name> {
    let mut as_it_is = name.clone();
    as_it_is.set_fqdn(true);
    if name.is_fqdn() {
        return vec![as_it_is];
    }
    // A domain with which the name gets too long is ignored.
    let searched = plan.search.iter().filter_map(|domain| {
        let mut name = name.clone().append_domain(domain).ok()?;
        name.set_fqdn(true);
        Some(name)
    });
    let mut names: Vec<_> = searched.filter(|name| *name != as_it_is).collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let place = if dots >= plan.ndots { 0 } else { names.len() };
    names.insert(place, as_it_is);
    names
}

/// Asks one server after the other, as often as there are rounds.
async fn ask(name: &Name, plan: &Plan) -> Answer {
    let mut seen = Answer::Silence("none is configured".to_owned());
    for limit in &plan.rounds {
        let mut silent = Vec::new();
        for server in &plan.servers {
            match ask_one(name, *server, *limit, plan.tcp).await {
                Ok(addresses) if addresses.is_empty() => return Answer::Nothing,
                Ok(addresses) => return Answer::Addresses(addresses),
                Err(error) => {
                    let told = format!("{}: {error}", server.ip());
                    if matches!(error, NetError::Dns(_)) {
                        seen = Answer::Failure(told.clone());
                    }
                    silent.push(told);
                }
            }
        }
        if let Answer::Silence(reason) = &mut seen {
            *reason = silent.join("; ");
        }
    }
    seen
}

/// The addresses that one server gives; none when it says that there are none.
async fn ask_one(
    name: &Name,
    server: SocketAddr,
    limit: Duration,
    tcp: bool,
) -> Result<Vec<IpAddr>, NetError> {
    let mut connections = vec![ConnectionConfig::tcp()];
    if !tcp {
        connections.insert(0, ConnectionConfig::udp());
    }
    for connection in &mut connections {
        connection.port = server.port();
    }
    let server = NameServerConfig::new(server.ip(), true, connections);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.timeout = limit;
    // Counts repetitions.
    options.attempts = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    match builder.build()?.lookup_ip(name.clone()).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(
                none.response_code,
                ResponseCode::NXDomain | ResponseCode::NoError
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
