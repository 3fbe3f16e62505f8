//! The discovery sidecar: says over HTTP which IPv4 addresses a name has, seen from inside a task's network.
//!
//! The Director does not take part in that network, so it cannot ask the network's DNS itself. It starts this program
//! there and asks it, with long-polls, until every worker has an address:
//!
//! * `GET /api/{hostname}`: 200 with a sorted JSON array (`Accept: text/csv`: `ip1,ip2`), 204 when there is none.
//! * `?replicas=N&timeout=5s`: answers as soon as N addresses are there, at the time-out with those that are.
//! * `?probe=tcp:1099`: only addresses count that accept a TCP connection on that port.
//! * `POST /probe` with `{"addresses": ["10.0.0.2"], "tcp": 1099, "timeout": 5}` or, in place of `tcp`,
//!   `"http": {"port": 8080, "path": "/health", "status": 200}`: tries each address until it has succeeded once or
//!   time is up; 200 with one entry for each address, in the order of the request:
//!   `[{"address":"10.0.0.2","ready":false,"reason":"connection refused"}]`; `reason` only where `ready` is false.
//! * `GET /healthz`: 200 `ok`.
//!
//! | module | what it decides |
//! | --- | --- |
//! | `api` | routes, the token, status codes and bodies |
//! | `query` | which host names and parameters are valid |
//! | `wait` | when to look again, when to answer, with what |
//! | `dns` | one look-up |
//! | `probe` | which addresses have succeeded, and why the others have not |
//! | `probe::check` | one try: a TCP connection, an HTTP answer |
//! | `probe::order` | which bodies of `/probe` are valid |

mod api;
mod dns;
mod error;
mod options;
mod probe;
mod query;
mod wait;

use std::future::Future;
use std::io;

use tokio::net::TcpListener;

pub use dns::NameServers;
pub use options::{Args, Options};

/// Serves requests on `listener` until `shutdown` completes.
///
/// Requests under way are cut off then, long-polls included: the answers are worth nothing to a client that is
/// ending the task, and waiting for them would hold up the removal of the task's network.
///
/// # Errors
///
/// Fails when the listener breaks for good.
pub async fn run(
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let server = axum::serve(listener, api::router(options));
    tokio::select! {
        ended = server.into_future() => ended,
        () = shutdown => Ok(()),
    }
}
