//! A connection to somebody who answers before all was said.
//!
//! A server that has read enough of a body, because it is too large, answers and closes. Writing then fails, but the answer has
//! arrived and says more than "connection reset". So a failed write is only noted, and what can be read decides.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Whether the peer has stopped to listen.
#[derive(Debug, Clone, Default)]
pub struct Deaf(Arc<AtomicBool>);

impl Deaf {
    /// Whether whatever is said now is lost.
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins anew, for the next call.
    pub fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<In: Transport> Connector<In> for Deaf {
    type Out = MaybeDeaf<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let deaf = self.clone();
        Ok(chained.map(|inner| MaybeDeaf { inner, deaf }))
    }
}

/// See the module.
#[derive(Debug)]
pub struct MaybeDeaf<T> {
    inner: T,
    deaf: Deaf,
}

impl<T: Transport> Transport for MaybeDeaf<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(e)) if is_closed(&e) => {
                self.deaf.0.store(true, Ordering::Relaxed);
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
