//! The threads on which calls wait for the disk. tokio's own are shared with everybody who reads and writes files.

use super::StoreError;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

/// sled and the disk serve few at once; whoever comes later waits for a turn.
const THREADS: usize = 4;

/// Threads of one's own once they are started, until then those of the runtime (tests with a clock of their own need
/// these). Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Threads(Arc<OnceLock<Own>>);

/// A runtime of which only the threads for blocking work are used; they are started when there is work.
struct Own(Option<Runtime>);

impl Threads {
    pub(super) fn start(&self) -> io::Result<()> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(THREADS)
            .thread_name("atq-store")
            .build()?;
        // When they are started already, those stay.
        let _ = self.0.set(Own(Some(runtime)));
        Ok(())
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let own = self.0.get().and_then(|own| own.0.as_ref());
        let running = match own {
            Some(runtime) => runtime.spawn_blocking(work),
            None => spawn_blocking(work),
        };
        running
            .await
            .map_err(|error| StoreError::Io(error.to_string()))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Nothing may wait here: the last clone may go on a thread that serves others.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[tokio::test]
    async fn work_has_threads_of_its_own_however_busy_the_others_are() {
        let threads = Threads::default();
        threads.start().unwrap();
        let name = || thread::current().name().map(str::to_owned);
        assert_eq!(threads.run(name).await.unwrap().unwrap(), "atq-store");
        let (free, waits) = mpsc::channel::<()>();
        let held = threads.run(move || waits.recv());
        let other = threads.run(|| 7);
        let (held, other) = tokio::join!(held, async {
            let other = other.await;
            drop(free);
            other
        });
        assert!(held.unwrap().is_err());
        assert_eq!(other.unwrap(), 7);
    }
}
