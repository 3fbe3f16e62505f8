//! Opens the listeners of the Director for its clients: the main port, the socket of the configuration, and the control
//! socket.

use crate::api::Listener;
use crate::config::{Config, Socket};
use crate::groups;
use crate::sockets::{self, SocketFile};
use crate::tls::{self, Certificate};
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

/// Mode of the socket for clients: its owner and its group.
const SOCKET_MODE: u32 = 0o660;
/// Mode of the control socket: its owner.
const CONTROL_MODE: u32 = 0o600;

/// The open listeners.
#[derive(Debug)]
pub struct Listeners {
    /// The main port.
    pub main: Listener,
    /// The socket of the configuration, if there is one.
    pub socket: Option<Listener>,
    /// The control socket; `None` if it cannot be opened.
    pub control: Option<Listener>,
    /// The files of the sockets, removed when dropped.
    pub files: Vec<SocketFile>,
}

/// Opens the listeners; `port` is that of the main port. Must be called with the store's lock held: only one Director
/// may use the control socket.
///
/// # Errors
/// When the certificate or the socket of the configuration cannot be used.
pub async fn open(config: &Config, port: TcpListener) -> anyhow::Result<Listeners> {
    let mut files = Vec::new();
    let main = with_tls(config, port).await?;
    let socket = match &config.socket {
        Some(socket) => {
            let (listener, file) = open_socket(socket).await?;
            files.push(file);
            Some(listener)
        }
        None => None,
    };
    let control = open_control(&config.datadir).await.map(|(listener, file)| {
        files.push(file);
        listener
    });
    Ok(Listeners {
        main,
        socket,
        control,
        files,
    })
}

async fn with_tls(config: &Config, port: TcpListener) -> anyhow::Result<Listener> {
    let Some(tls) = &config.tls else {
        return Ok(Listener::Plain(port));
    };
    let files = tls.files();
    let certificate = spawn_blocking(move || Certificate::load(files)).await??;
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(Arc::clone(&certificate).watch(hangup));
    Ok(Listener::Tls(port, tls::server_config(certificate)?))
}

async fn open_socket(socket: &Socket) -> anyhow::Result<(Listener, SocketFile)> {
    let path = &socket.path;
    let group = match &socket.group {
        Some(name) => {
            let name = name.clone();
            let id = spawn_blocking(move || groups::id(&name)).await?;
            Some(id.context("the group in `socketGroup` does not exist any more")?)
        }
        None => None,
    };
    let opened = sockets::open(path, SOCKET_MODE, group).await;
    let (listener, file) = opened.with_context(|| {
        let path = path.display();
        format!("cannot open `{path}` (`socket` of the configuration)")
    })?;
    tracing::info!("listening on the socket `{}`", path.display());
    Ok((Listener::Socket(listener), file))
}

async fn open_control(datadir: &Path) -> Option<(Listener, SocketFile)> {
    let path = datadir.join(sockets::CONTROL);
    match sockets::open(&path, CONTROL_MODE, None).await {
        Ok((listener, file)) => {
            let owner = sockets::own_user();
            Some((Listener::Control { listener, owner }, file))
        }
        // Some file systems have no sockets; everything else works without it.
        Err(error) => {
            tracing::warn!(
                %error,
                "cannot open `{}`; `atq-director token` will not work while the Director runs",
                path.display()
            );
            None
        }
    }
}
