//! The port for carriers: TLS with a certificate of the Director's own, on loopback or `nodeBind` from the start, and on
//! further addresses on demand. It must stay the same over a restart, because carriers of running tests know its URL.
//! Without `nodePort`, a port other than the default is therefore stored in `datadir`.

mod certificate;

use crate::api::{Endpoint, Listener, Server};
use crate::config::Config;
use anyhow::Context;
use async_trait::async_trait;
use atq_engine_swarm::NodeDoor;
use atq_files::{Mode, if_there, write_atomic};
use atq_retry::{Deadline, Pauses, retry};
use certificate::{Authority, CurrentCertificate};
use rustls::ServerConfig;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// File in `datadir` with the port that was chosen because none is configured.
const PORT_FILE: &str = "node-port";
/// Backoff while another program uses the port of the last start, and its end.
const REBIND_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(100),
    longest: Duration::from_millis(500),
};
const REBIND_FOR: Duration = Duration::from_secs(3);

/// The port for carriers.
pub struct NodePort {
    authority: Authority,
    certificate: Arc<CurrentCertificate>,
    tls: Arc<ServerConfig>,
    /// The first address to listen on.
    first: IpAddr,
    /// File with the port; `None`: it is configured.
    port_file: Option<PathBuf>,
    port: AtomicU16,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Set by [`NodePort::start`].
    served: Option<(Server, Endpoint)>,
    listening: BTreeSet<IpAddr>,
    /// Names and addresses for which the certificate is valid.
    names: BTreeSet<String>,
}

impl State {
    /// Whether connections to `address` are accepted already.
    fn covers(&self, address: IpAddr) -> bool {
        let any = match address {
            IpAddr::V4(_) => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            IpAddr::V6(_) => [Ipv6Addr::UNSPECIFIED.into(); 2],
        };
        self.listening.contains(&address) || any.iter().any(|any| self.listening.contains(any))
    }
}

impl NodePort {
    /// Reads or creates the authority in `datadir`. Does not listen yet. Blocks the thread.
    ///
    /// # Errors
    /// When `datadir` cannot be read or written.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let authority = Authority::open(&config.datadir)?;
        let loopback = [
            Ipv4Addr::LOCALHOST.to_string(),
            Ipv6Addr::LOCALHOST.to_string(),
        ];
        let host = config.advertised_host();
        let names = loopback.into_iter().chain(["localhost".to_owned()]);
        let names: BTreeSet<String> = names.chain(host).collect();
        let certificate = Arc::new(CurrentCertificate::new(authority.server(&names)?));
        let tls = certificate::server_config(Arc::clone(&certificate))?;
        let port_file = match config.node_port {
            None | Some(0) => Some(config.datadir.join(PORT_FILE)),
            Some(_) => None,
        };
        let port = config.node_port.unwrap_or_else(|| after(config.port));
        Ok(Self {
            authority,
            certificate,
            tls,
            first: config.node_bind.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port_file,
            port: AtomicU16::new(port),
            state: Mutex::new(State {
                names,
                ..State::default()
            }),
        })
    }

    /// Listens on the first address. Further ones are served by the same server and endpoint.
    ///
    /// # Errors
    /// When the port cannot be used.
    pub async fn start(&self, server: Server, endpoint: Endpoint) -> anyhow::Result<()> {
        let listener = match &self.port_file {
            Some(file) => self.chosen(file).await?,
            None => self.bind(self.first).await.map_err(anyhow::Error::msg)?,
        };
        let mut state = self.state.lock().await;
        state.served = Some((server, endpoint));
        let added = self.add(&mut state, self.first, Some(listener));
        added.map_err(anyhow::Error::msg)?;
        let address = SocketAddr::new(self.first, self.number());
        tracing::info!("listening for carriers on https://{address}");
        Ok(())
    }

    /// The port; 0 before the start if it is chosen then.
    pub fn number(&self) -> u16 {
        self.port.load(Ordering::Acquire)
    }

    async fn bind(&self, address: IpAddr) -> Result<TcpListener, String> {
        let port = self.number();
        let failed = |error| format!("{}: {}", cannot_listen(address, port), reason(&error));
        let bound = TcpListener::bind((address, port)).await;
        bound.map_err(failed)
    }

    /// A listener on the port after the main one; `None` if there is none, or another program uses it.
    async fn at_default(&self) -> anyhow::Result<Option<TcpListener>> {
        let port = self.number();
        if port == 0 {
            return Ok(None);
        }
        match TcpListener::bind((self.first, port)).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(
                    port,
                    "another program uses the port for carriers, choosing another one; `nodePort` in the configuration sets it"
                );
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| cannot_listen(self.first, port)),
        }
    }

    /// A listener on the port that was chosen at an earlier start, on the default one, or on a free one.
    async fn chosen(&self, file: &Path) -> anyhow::Result<TcpListener> {
        let unreadable = || format!("cannot read `{}`", file.display());
        let stored = if_there(std::fs::read_to_string(file)).with_context(unreadable)?;
        let stored = stored.and_then(|text| text.trim().parse::<u16>().ok());
        let stored = stored.filter(|port| *port > 0);
        if let Some(port) = stored {
            let bind = || TcpListener::bind((self.first, port));
            let is_used = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
            // An outgoing connection of another program may use the port for a moment.
            match retry(REBIND_PAUSES, Deadline::after(REBIND_FOR), bind, is_used).await {
                Ok(listener) => {
                    self.port.store(port, Ordering::Release);
                    return Ok(listener);
                }
                Err(error) => {
                    tracing::warn!(port, %error, "cannot listen for carriers on the port of the last start, choosing another one; carriers of running tests will not reach the Director");
                }
            }
        }
        if let Some(listener) = self.at_default().await? {
            return Ok(listener);
        }
        let listener = TcpListener::bind((self.first, 0)).await;
        let listener = listener.with_context(|| cannot_listen(self.first, 0))?;
        let port = listener.local_addr()?.port();
        write_atomic(file, format!("{port}\n").as_bytes(), Mode::Private)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
        self.port.store(port, Ordering::Release);
        Ok(listener)
    }

    /// Makes the certificate valid for the address, then serves it by `listener`, if it is not served yet.
    fn add(
        &self,
        state: &mut State,
        address: IpAddr,
        listener: Option<TcpListener>,
    ) -> Result<(), String> {
        let name = address.to_string();
        if !address.is_unspecified() && !state.names.contains(&name) {
            let mut names = state.names.clone();
            names.insert(name);
            let renewed = self.authority.server(&names);
            let renewed = renewed.map_err(|error| format!("{error:#}"))?;
            self.certificate.replace(renewed);
            state.names = names;
        }
        if let (Some(listener), Some((server, endpoint))) = (listener, &state.served) {
            server.listen(Listener::Tls(listener, Arc::clone(&self.tls)), endpoint);
            state.listening.insert(address);
        }
        Ok(())
    }
}

/// The port after the main one; 0 if there is none.
fn after(port: u16) -> u16 {
    match port {
        0 => 0,
        port => port.checked_add(1).unwrap_or(0),
    }
}

fn cannot_listen(address: IpAddr, port: u16) -> String {
    let address = SocketAddr::new(address, port);
    format!(
        "cannot listen for carriers on {address} (`nodePort` and `nodeBind` of the configuration)"
    )
}

/// The message of the operating system, without the error number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[async_trait]
impl NodeDoor for NodePort {
    async fn open(&self, address: IpAddr) -> Result<SocketAddr, String> {
        let mut state = self.state.lock().await;
        if state.served.is_none() {
            return Err("the Director does not listen for carriers yet".to_owned());
        }
        let listener = match state.covers(address) {
            true => None,
            false => Some(self.bind(address).await?),
        };
        let opened = SocketAddr::new(address, self.number());
        if listener.is_some() {
            tracing::info!("listening for carriers on https://{opened}, too");
        }
        self.add(&mut state, address, listener)?;
        Ok(opened)
    }

    fn port(&self) -> u16 {
        self.number()
    }

    fn certificate(&self) -> &str {
        self.authority.certificate()
    }

    fn run_secret(&self, token: &str) -> String {
        self.authority.derive(token)
    }
}

#[cfg(test)]
mod tests;
