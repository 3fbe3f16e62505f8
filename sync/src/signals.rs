//! What ends a wait: SIGTERM, SIGINT, and deadlines.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::exit::{Code, Failure};

/// The signals that end a process of `atq-sync`.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Handles the signals from now on.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn install() -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure {
            code: Code::REFUSED,
            message: format!("cannot handle signals: {error}"),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(cannot)?,
            interrupt: signal(SignalKind::interrupt()).map_err(cannot)?,
        })
    }

    /// Waits for a signal; returns its exit code.
    pub async fn next(&mut self) -> Code {
        tokio::select! {
            _ = self.terminate.recv() => Code::of_signal(15),
            _ = self.interrupt.recv() => Code::of_signal(2),
        }
    }
}

/// Waits for a deadline, or for ever.
pub async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
