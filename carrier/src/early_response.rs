//! Responses that arrive before the request body was sent completely.
//!
//! A server that refuses a body as too large responds and closes the connection. The next write then fails, but the response
//! has arrived and is more precise than "connection reset". A failed write is therefore only recorded, and the response
//! decides the outcome.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Whether the peer has closed its read side.
#[derive(Debug, Clone, Default)]
pub struct PeerClosed(Arc<AtomicBool>);

impl PeerClosed {
    /// Whether bytes that are sent now are lost.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Clears the flag for the next request.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<In: Transport> Connector<In> for PeerClosed {
    type Out = EarlyResponse<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let peer_closed = self.clone();
        Ok(chained.map(|inner| EarlyResponse { inner, peer_closed }))
    }
}

/// A transport that records failed writes instead of reporting them. See the module.
#[derive(Debug)]
pub struct EarlyResponse<T> {
    inner: T,
    peer_closed: PeerClosed,
}

impl<T: Transport> Transport for EarlyResponse<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(e)) if is_closed(&e) => {
                self.peer_closed.0.store(true, Ordering::Relaxed);
                Ok(())
            }
            other => other,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
