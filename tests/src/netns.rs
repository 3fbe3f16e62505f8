//! Connections from other network namespaces: those of nodes and of containers. Needs root.

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Whether this process may enter network namespaces.
pub fn can_enter() -> bool {
    rustix::process::geteuid().is_root()
}

/// The network namespace of a running container, of any Engine on this machine, by its full id.
///
/// # Errors
/// When no process belongs to the container.
pub fn of_container(id: &str) -> Result<PathBuf> {
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let groups = fs::read_to_string(process.join("cgroup"));
        if groups.is_ok_and(|groups| groups.contains(id)) {
            return Ok(process.join("ns/net"));
        }
    }
    anyhow::bail!("no process of the container `{id}`")
}

/// Runs `work` on a thread in the network namespace.
///
/// # Errors
/// When the namespace cannot be entered, or `work` fails.
pub async fn within<T, F, Fut>(namespace: &Path, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<T>>,
{
    let namespace = File::open(namespace).context("cannot open the network namespace")?;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own: it never returns to its earlier namespace.
    thread::spawn(move || {
        let result = enter(&namespace).and_then(|()| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(work())
        });
        let _ = sender.send(result);
    });
    receiver.await.context("the thread has panicked")?
}

fn enter(namespace: &File) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter the network namespace")
}

/// Forwards connections from a port on this machine's loopback to an address in a network namespace, until it is
/// dropped.
#[derive(Debug)]
pub struct Forwarder {
    /// The address on this machine.
    pub address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Forwarder {
    /// Forwards to `target` in `namespace`.
    ///
    /// # Errors
    /// When the namespace does not exist.
    pub fn start(namespace: &Path, target: SocketAddr) -> Result<Self> {
        let namespace = File::open(namespace).context("cannot open the network namespace")?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let closed = Arc::new(AtomicBool::new(false));
        let is_closed = Arc::clone(&closed);
        // The listener stays in the namespace in which it was created; new connections belong to that of the thread.
        thread::spawn(move || {
            if let Err(error) = enter(&namespace) {
                eprintln!("{error:#}");
                return;
            }
            for accepted in listener.incoming() {
                if is_closed.load(Ordering::Acquire) {
                    return;
                }
                if let (Ok(here), Ok(there)) = (accepted, TcpStream::connect(target)) {
                    // Closed if the connection cannot be copied.
                    let _ = forward(here, there);
                }
            }
        });
        Ok(Self { address, closed })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // Ends the wait for the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn forward(here: TcpStream, there: TcpStream) -> io::Result<()> {
    let pairs = [(here.try_clone()?, there.try_clone()?), (there, here)];
    for (mut from, mut to) in pairs {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
