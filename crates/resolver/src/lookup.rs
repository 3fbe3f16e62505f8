//! DNS lookups: the search list, and the order and timeouts of the queries.

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

/// Maximum timeout of a server in the first round, so that a server that is down does not use up the caller's timeout.
const FIRST_ROUND_TIMEOUT: Duration = Duration::from_secs(1);
const PORT: u16 = 53;

/// The reason why a host cannot be resolved.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    /// The name does not exist.
    #[error("no such host `{host}` (queried {servers})")]
    NoSuchHost {
        /// The name.
        host: String,
        /// The queried servers.
        servers: String,
    },
    /// No server responds.
    #[error("cannot resolve `{host}`: no DNS server of /etc/resolv.conf answers ({reason})")]
    NoAnswer {
        /// The name.
        host: String,
        /// The error of each server.
        reason: String,
    },
    /// The name is not valid in DNS.
    #[error("`{0}` is not a host name")]
    NotAName(String),
}

/// The servers, search list and timeouts of a lookup.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
    ndots: usize,
    /// Timeout of each server, per round.
    timeouts: Vec<Duration>,
    tcp: bool,
}

impl From<ResolvConf> for Plan {
    fn from(conf: ResolvConf) -> Self {
        let mut servers = conf.nameservers;
        if servers.is_empty() {
            // Like the C library, uses the server of this machine, never a public one.
            servers.push(Ipv4Addr::LOCALHOST.into());
        }
        let search = conf.search.iter();
        let timeouts = std::iter::once(conf.timeout.min(FIRST_ROUND_TIMEOUT))
            .chain(std::iter::repeat_n(conf.timeout, conf.attempts));
        Self {
            servers: servers.into_iter().map(|ip| (ip, PORT).into()).collect(),
            search: search
                .filter_map(|domain| Name::from_str_relaxed(domain).ok())
                .collect(),
            ndots: conf.ndots,
            timeouts: timeouts.collect(),
            tcp: conf.tcp,
        }
    }
}

/// The result of one query.
enum Answer {
    Addresses(Vec<IpAddr>),
    /// The name does not exist, or has no addresses.
    Nothing,
    /// A server reported a failure; another candidate may succeed.
    Failure(String),
    /// No server responded.
    NoResponse(String),
}

pub(crate) async fn lookup(host: &str, plan: &Plan) -> Result<Vec<IpAddr>, ResolveError> {
    let name = Name::from_ascii(host).map_err(|_| ResolveError::NotAName(host.to_owned()))?;
    let mut failure = None;
    for candidate in candidates(&name, plan) {
        match query(&candidate, plan).await {
            Answer::Addresses(addresses) => return Ok(addresses),
            Answer::Nothing => {}
            Answer::Failure(reason) => failure = Some(reason),
            Answer::NoResponse(reason) => {
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

/// The fully qualified candidates for a name, in query order.
fn candidates(name: &Name, plan: &Plan) -> Vec<Name> {
    let mut unchanged = name.clone();
    unchanged.set_fqdn(true);
    if name.is_fqdn() {
        return vec![unchanged];
    }
    // A domain that makes the name too long is ignored.
    let searched = plan.search.iter().filter_map(|domain| {
        let mut name = name.clone().append_domain(domain).ok()?;
        name.set_fqdn(true);
        Some(name)
    });
    let mut names: Vec<_> = searched.filter(|name| *name != unchanged).collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let position = if dots >= plan.ndots { 0 } else { names.len() };
    names.insert(position, unchanged);
    names
}

/// Queries the servers in sequence, in each round.
async fn query(name: &Name, plan: &Plan) -> Answer {
    let mut result = Answer::NoResponse("none is configured".to_owned());
    for timeout in &plan.timeouts {
        let mut errors = Vec::new();
        for server in &plan.servers {
            match query_server(name, *server, *timeout, plan.tcp).await {
                Ok(addresses) if addresses.is_empty() => return Answer::Nothing,
                Ok(addresses) => return Answer::Addresses(addresses),
                Err(error) => {
                    let text = format!("{}: {error}", server.ip());
                    if matches!(error, NetError::Dns(_)) {
                        result = Answer::Failure(text.clone());
                    }
                    errors.push(text);
                }
            }
        }
        if let Answer::NoResponse(reason) = &mut result {
            *reason = errors.join("; ");
        }
    }
    result
}

/// Queries one server; an empty list means that the name has no addresses.
async fn query_server(
    name: &Name,
    server: SocketAddr,
    timeout: Duration,
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
    options.timeout = timeout;
    // Counts retries, not attempts.
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
