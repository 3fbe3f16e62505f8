//! A single lookup of A records, over TCP, without a cache.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use atq_resolver::resolv_conf::ResolvConf;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

/// Docker's DNS forwards a name that no container has yet to external servers, which can stall for seconds. Meanwhile the
/// name may appear, so an early retry is faster than waiting.
const QUERY_TIMEOUT: Duration = Duration::from_millis(300);

/// The DNS servers to query.
#[derive(Clone)]
pub struct NameServers(Vec<NameServerConfig>);

impl NameServers {
    /// Queries only this server.
    pub fn one(address: SocketAddr) -> Self {
        Self(vec![over_tcp(address)])
    }

    /// Queries the servers of the `nameserver` lines of `/etc/resolv.conf`. Names are fully qualified, so no other setting
    /// in the file matters.
    ///
    /// # Errors
    ///
    /// When the file contains no server.
    pub fn from_system() -> Result<Self, String> {
        Self::of(&ResolvConf::from_system())
    }

    fn of(conf: &ResolvConf) -> Result<Self, String> {
        let servers = conf.nameservers.iter();
        let servers: Vec<_> = servers.map(|ip| over_tcp((*ip, 53).into())).collect();
        match servers.is_empty() {
            true => Err("no DNS server in `/etc/resolv.conf`; expected a line such as `nameserver 127.0.0.11`\n\
                         hint: set one with `--nameserver IP:PORT`".to_owned()),
            false => Ok(Self(servers)),
        }
    }

    /// Opens a session. Each request has a session with its own connection: Docker's DNS may close the connection after
    /// a query for an unknown name, which would abort the queries of other requests.
    pub(crate) fn session(&self) -> Result<Session, NetError> {
        let config = ResolverConfig::from_name_servers(self.0.clone());
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options();
        Ok(Session(builder.build()?))
    }
}

/// TCP only: over UDP, large responses are truncated.
fn over_tcp(address: SocketAddr) -> NameServerConfig {
    let mut connection = ConnectionConfig::tcp();
    connection.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![connection])
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = QUERY_TIMEOUT;
    // Counts retries, not attempts; long-polls retry anyway.
    options.attempts = 0;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.edns0 = false;
    options.num_concurrent_reqs = 1;
    options.use_hosts_file = ResolveHosts::Never;
    options
}

/// A connection to the DNS servers, opened by the first lookup and reopened after a failed one.
pub(crate) struct Session(TokioResolver);

impl Session {
    /// Sends one query. An error does not prove that the name is absent: Docker's DNS fails (NXDOMAIN, closed connection, no
    /// response) for a name that does not exist yet and, rarely and under load, for an existing one.
    pub(crate) async fn look_up(&self, name: &Name) -> Result<BTreeSet<Ipv4Addr>, NetError> {
        let found = self.0.lookup(name.clone(), RecordType::A).await?;
        let addresses = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            });
        Ok(addresses.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Result<usize, String> {
        NameServers::of(&ResolvConf::parse(text.as_bytes())).map(|servers| servers.0.len())
    }

    #[test]
    fn only_nameserver_lines_matter() {
        let text = "search .corp.test ${DOMAIN}\noptions nonsense:x\nnameserver 127.0.0.11\n\\";
        assert_eq!(servers(text), Ok(1));
        let error = servers("search corp.test\nnameserver nowhere\n");
        assert!(error.is_err_and(|error| error.contains("nameserver 127.0.0.11")));
    }
}
