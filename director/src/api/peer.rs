//! The other end of a connection.

use std::net::SocketAddr;

/// The other end of a connection; an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A client of a TCP port, with or without TLS.
    Tcp(SocketAddr),
    /// A process on this machine, connected to the Unix socket of the configuration, with its user id.
    Socket {
        /// User id of the process.
        uid: u32,
    },
    /// A process of the Director's own user, connected to the control socket in the data directory.
    Control {
        /// User id of the process.
        uid: u32,
    },
}
