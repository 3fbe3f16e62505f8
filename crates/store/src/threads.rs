//! Threads for blocking calls of the store. tokio's own ones are shared with all other file access.

use super::StoreError;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

/// sled and the disk serve few calls at once; further ones are queued.
const THREADS: usize = 4;

/// Dedicated threads after [`Threads::start`], before that those of the runtime, which tests with a paused clock
/// need. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Threads(Arc<OnceLock<OwnRuntime>>);

/// A runtime of which only the blocking threads are used; they are started on demand.
struct OwnRuntime(Option<Runtime>);

impl Threads {
    pub(super) fn start(&self) -> io::Result<()> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(THREADS)
            .thread_name("atq-store")
            .build()?;
        // If they were started before, this does nothing.
        let _ = self.0.set(OwnRuntime(Some(runtime)));
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

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Must not block: the last clone may be dropped on an asynchronous thread.
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
    async fn busy_runtime_threads_do_not_delay_work() {
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
