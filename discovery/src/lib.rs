//! The discovery sidecar: resolves names inside a task's network and serves their IPv4 addresses over HTTP.
//!
//! The Director is not attached to that network, so it cannot query the network's DNS itself. It starts this program
//! there and sends it long-polls until every worker has an address:
//!
//! * `GET /api/{hostname}`: 200 with a sorted JSON array (`Accept: text/csv`: `ip1,ip2`), 204 without addresses.
//! * `?replicas=N&timeout=5s`: responds as soon as there are N addresses; at the timeout, with the addresses found so far.
//! * `?probe=tcp:1099`: only addresses that accept a TCP connection on that port count.
//! * `POST /probe` with `{"addresses": ["10.0.0.2"], "tcp": 1099, "timeout": 5}` or, in place of `tcp`,
//!   `"http": {"port": 8080, "path": "/health", "status": 200}`: probes each address until it succeeds once or
//!   the timeout passes; 200 with one entry per address, in the order of the request:
//!   `[{"address":"10.0.0.2","ready":false,"reason":"connection refused"}]`; `reason` is present only if `ready` is false.
//! * `GET /healthz`: 200 `ok`.
//!
//! | module | responsibility |
//! | --- | --- |
//! | `api` | routes, authentication, status codes and bodies |
//! | `query` | validation of host names and parameters |
//! | `long_poll` | repeated lookups until the response is complete or the timeout passes |
//! | `dns` | a single lookup |
//! | `probe` | probing addresses and collecting the outcomes |
//! | `probe::check` | a single attempt: a TCP connection, an HTTP response |
//! | `probe::order` | validation of the body of `/probe` |

mod api;
mod dns;
mod error;
mod long_poll;
mod options;
mod probe;
mod query;

use std::future::Future;
use std::io;

use tokio::net::TcpListener;

pub use dns::NameServers;
pub use options::{Args, Options};

/// Serves requests on `listener` until `shutdown` completes.
///
/// The shutdown drops pending requests, including long-polls: the client is ending the task and does not need the
/// responses, and waiting for them would delay the removal of the task's network.
///
/// # Errors
///
/// Returns a permanent error of the listener.
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
