//! The port for carriers, as the engine uses it. The Director implements it.

use async_trait::async_trait;
use std::net::{IpAddr, SocketAddr};

/// The listener that serves [`crate::SwarmEngine::router`] over TLS, and nothing else.
#[async_trait]
pub trait NodeDoor: Send + Sync + 'static {
    /// Listens on this address too, unless it does already, and returns it with its port. The server's certificate is
    /// valid for all addresses.
    ///
    /// # Errors
    /// A sentence that names the address and the keys of the configuration.
    async fn open(&self, address: IpAddr) -> Result<SocketAddr, String>;

    /// The port.
    fn port(&self) -> u16;

    /// The certificate of the authority, in PEM. It is the only one that carriers trust.
    fn certificate(&self) -> &str;

    /// The secret from which the tokens of a run's carriers are derived. It is derived from the run's own `token` and a key
    /// of the Director: the sidecar in the network of the task has the token.
    fn run_secret(&self, token: &str) -> String;
}

/// A port without a network.
#[cfg(any(test, feature = "model"))]
pub mod fake {
    use super::NodeDoor;
    use async_trait::async_trait;
    use parking_lot::Mutex;
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Arc;

    /// The certificate of [`FakeDoor`].
    pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nfake\n-----END CERTIFICATE-----\n";

    #[derive(Debug, Default)]
    struct Inner {
        opened: Vec<IpAddr>,
        refusal: Option<String>,
    }

    /// Records the addresses that are opened.
    #[derive(Debug, Clone, Default)]
    pub struct FakeDoor(Arc<Mutex<Inner>>);

    impl FakeDoor {
        /// Port of all addresses.
        pub const PORT: u16 = 8081;

        /// The opened addresses, without duplicates.
        pub fn opened(&self) -> Vec<IpAddr> {
            self.0.lock().opened.clone()
        }

        /// Lets further addresses fail for this reason; `None`: they succeed.
        pub fn refuse(&self, reason: Option<&str>) {
            self.0.lock().refusal = reason.map(str::to_owned);
        }
    }

    #[async_trait]
    impl NodeDoor for FakeDoor {
        async fn open(&self, address: IpAddr) -> Result<SocketAddr, String> {
            let mut inner = self.0.lock();
            if !inner.opened.contains(&address) {
                if let Some(reason) = &inner.refusal {
                    return Err(reason.clone());
                }
                inner.opened.push(address);
            }
            Ok(SocketAddr::new(address, Self::PORT))
        }

        fn port(&self) -> u16 {
            Self::PORT
        }

        fn certificate(&self) -> &str {
            CERTIFICATE
        }

        fn run_secret(&self, token: &str) -> String {
            token.to_owned()
        }
    }
}
