//! The port of a worker: accepts one master at a time, ignores probes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::connection::{ConnectionError, JsonConnection};
use crate::exit::{Code, Failure};
use crate::output::{log_line, printable, reason};
use crate::protocol::{FromMaster, FromWorker, VERSION};

/// Most connections that have not sent a hello yet; more are closed at once.
const MAX_PENDING: usize = 32;
/// Time for the hello of a master.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connected master.
#[derive(Debug)]
pub struct Master {
    /// The connection.
    pub connection: JsonConnection,
    /// Its address.
    pub address: SocketAddr,
    /// Other masters are refused until it is dropped.
    pub session_permit: OwnedSemaphorePermit,
}

/// The open port.
#[derive(Debug)]
pub struct WorkerListener {
    masters: Receiver<Master>,
    accepting: JoinHandle<()>,
}

impl Drop for WorkerListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl WorkerListener {
    /// Listens on the address in the subnet, or on all.
    pub async fn open(
        port: u16,
        subnet: Option<IpNet>,
        replica: Option<u32>,
    ) -> Result<Self, Failure> {
        let address = SocketAddr::new(own_address(subnet).await?, port);
        let cannot = |error: io::Error| Failure {
            code: Code::USAGE,
            message: format!(
                "cannot listen on `{address}`: {}; another port is possible with --port",
                reason(&error)
            ),
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let actual = listener.local_addr().map_err(cannot)?;
        let from = match subnet {
            Some(subnet) => format!("from {subnet}"),
            None => "from any network, as --subnet and ATQ_SUBNET are not set".to_owned(),
        };
        log_line(&format!("listening on {actual} for a master {from}"));
        let (sender, masters) = channel(1);
        let acceptor = Acceptor {
            subnet,
            replica,
            sessions: Arc::new(Semaphore::new(1)),
            sender,
        };
        Ok(Self {
            masters,
            accepting: tokio::spawn(accept(listener, acceptor)),
        })
    }

    /// The next master that has said hello.
    pub async fn next(&mut self) -> Master {
        match self.masters.recv().await {
            Some(master) => master,
            // The sender lives as long as the accepting task.
            None => std::future::pending().await,
        }
    }
}

/// Checks each connection.
#[derive(Debug, Clone)]
struct Acceptor {
    subnet: Option<IpNet>,
    replica: Option<u32>,
    sessions: Arc<Semaphore>,
    sender: Sender<Master>,
}

impl Acceptor {
    fn is_allowed(&self, address: IpAddr) -> bool {
        self.subnet.is_none_or(|subnet| subnet.contains(&address))
    }

    async fn handle(self, stream: TcpStream, address: SocketAddr) {
        let Ok(result) = timeout(
            HELLO_TIMEOUT,
            self.handshake(JsonConnection::new(stream), address),
        )
        .await
        else {
            return log_line(&format!(
                "{address} sent no hello within {} s; ignored",
                HELLO_TIMEOUT.as_secs()
            ));
        };
        match result {
            Ok(Some(master)) => drop(self.sender.send(master).await),
            // A probe connects and closes.
            Ok(None) | Err(ConnectionError::Closed) => (),
            Err(error) => log_line(&format!("{address} is no master: {error}")),
        }
    }

    async fn handshake(
        &self,
        mut connection: JsonConnection,
        address: SocketAddr,
    ) -> Result<Option<Master>, ConnectionError> {
        let refusal = match connection.receive().await? {
            FromMaster::Hello { version: VERSION } => {
                match Arc::clone(&self.sessions).try_acquire_owned() {
                    Ok(session_permit) => {
                        connection
                            .send(&FromWorker::Hello {
                                version: VERSION,
                                replica: self.replica,
                            })
                            .await?;
                        return Ok(Some(Master {
                            connection,
                            address,
                            session_permit,
                        }));
                    }
                    Err(_) => refused("it has another master", true),
                }
            }
            FromMaster::Hello { version } => {
                let text = format!(
                    "it uses protocol version {VERSION}, the master version {version}; use the same atq-sync"
                );
                refused(&text, false)
            }
            other => {
                return Err(ConnectionError::Invalid(printable(&format!(
                    "no hello, but {other:?}"
                ))));
            }
        };
        connection.send(&refusal).await?;
        Ok(None)
    }
}

fn refused(reason: &str, temporary: bool) -> FromWorker {
    FromWorker::Refused {
        reason: reason.to_owned(),
        temporary,
    }
}

async fn accept(listener: TcpListener, acceptor: Acceptor) {
    let pending = Arc::new(Semaphore::new(MAX_PENDING));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log_line(&format!("cannot accept a connection: {}", reason(&error)));
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&pending).try_acquire_owned() else {
            continue;
        };
        if !acceptor.is_allowed(address.ip()) {
            log_line(&format!(
                "{address} is outside of the network of the task; ignored"
            ));
            continue;
        }
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            acceptor.handle(stream, address).await;
            drop(permit);
        });
    }
}

/// The address of this machine in the subnet; all addresses without a subnet.
async fn own_address(subnet: Option<IpNet>) -> Result<IpAddr, Failure> {
    let Some(subnet) = subnet else {
        return Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    };
    let missing = || Failure {
        code: Code::USAGE,
        message: format!("this machine has no address in {subnet} (--subnet, ATQ_SUBNET)"),
    };
    let source = source_address(subnet).await.map_err(|_| missing())?;
    subnet
        .contains(&source)
        .then_some(source)
        .ok_or_else(missing)
}

/// The address from which the system would send to the subnet. Connecting a UDP socket sends nothing.
async fn source_address(subnet: IpNet) -> io::Result<IpAddr> {
    let inside = subnet.hosts().next().unwrap_or(subnet.addr());
    let any: IpAddr = match inside {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect((inside, 9)).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn the_address_in_a_subnet_is_found_or_missing() {
        let own = |text: &str| own_address(Some(text.parse().unwrap()));
        assert_eq!(own("127.0.0.0/8").await.unwrap().to_string(), "127.0.0.1");
        let failure = own("203.0.113.0/24").await.unwrap_err();
        assert!(
            failure.message.contains("no address in 203.0.113.0/24"),
            "{failure:?}"
        );
        assert_eq!(own_address(None).await.unwrap().to_string(), "0.0.0.0");
    }

    #[tokio::test]
    async fn peers_outside_of_the_subnet_are_not_allowed() {
        let (sender, _masters) = channel(1);
        let subnet = Some("10.1.0.0/16".parse().unwrap());
        let acceptor = Acceptor {
            subnet,
            replica: None,
            sessions: Arc::new(Semaphore::new(1)),
            sender,
        };
        assert!(acceptor.is_allowed("10.1.2.3".parse().unwrap()));
        assert!(!acceptor.is_allowed("10.2.2.3".parse().unwrap()));
    }
}
