//! One look-up: A records, over TCP, from no cache.

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

/// Docker's DNS asks the outside world for a name that no container has yet, which can stall for seconds. By then the
/// name may well be there, so asking again soon beats waiting.
const QUERY_TIMEOUT: Duration = Duration::from_millis(300);

/// The DNS servers to ask.
#[derive(Clone)]
pub struct NameServers(Vec<NameServerConfig>);

impl NameServers {
    /// Asks this one only.
    pub fn one(address: SocketAddr) -> Self {
        Self(vec![over_tcp(address)])
    }

    /// Asks those of the `nameserver` lines of `/etc/resolv.conf`. Names are asked for as they are, so that nothing
    /// else in the file matters.
    ///
    /// # Errors
    ///
    /// When the file names none.
    pub fn from_system() -> Result<Self, String> {
        Self::of(&ResolvConf::from_system())
    }

    fn of(conf: &ResolvConf) -> Result<Self, String> {
        let servers = conf.nameservers.iter();
        let servers: Vec<_> = servers.map(|ip| over_tcp((*ip, 53).into())).collect();
        match servers.is_empty() {
            true => Err("no DNS server in `/etc/resolv.conf`; expected a line such as `nameserver 127.0.0.11`\n\
                         hint: name one with `--nameserver IP:PORT`".to_owned()),
            false => Ok(Self(servers)),
        }
    }

    /// Opens a session. Each request has one, with a connection of its own: over a name that it does not know, Docker's
    /// DNS may end the connection, which would take the queries of other requests with it.
    pub(crate) fn session(&self) -> Result<Session, NetError> {
        let config = ResolverConfig::from_name_servers(self.0.clone());
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options();
        Ok(Session(builder.build()?))
    }
}

/// TCP alone: by UDP, answers above the buffer's size arrive cut.
fn over_tcp(address: SocketAddr) -> NameServerConfig {
    let mut connection = ConnectionConfig::tcp();
    connection.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![connection])
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = QUERY_TIMEOUT;
    // Counts repetitions, not attempts; whoever waits looks again anyway.
    options.attempts = 0;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.edns0 = false;
    options.num_concurrent_reqs = 1;
    options.use_hosts_file = ResolveHosts::Never;
    options
}

/// A connection to the name servers, opened by the first look-up and opened anew after a failed one.
pub(crate) struct Session(TokioResolver);

impl Session {
    /// Asks once. An error means that nothing is known, which is how Docker's DNS answers for a name that is not there
    /// yet (NXDOMAIN, end of connection, silence) and, rarely and under load, for one that is.
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
    fn only_the_lines_with_a_server_matter() {
        let text = "search .corp.test ${DOMAIN}\noptions nonsense:x\nnameserver 127.0.0.11\n\\";
        assert_eq!(servers(text), Ok(1));
        let error = servers("search corp.test\nnameserver nowhere\n");
        assert!(error.is_err_and(|error| error.contains("nameserver 127.0.0.11")));
    }
}
