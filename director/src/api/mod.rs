//! The HTTP API: converts requests to calls, and their results to responses.
//!
//! - one file per resource: `task`, `databind`, `swarm`, `token`, `exchange`, `monitoring`, `metrics`, `health`, `logs`, `results`,
//!   `report`, `events`, `live`, `manifest`; `sse`: streams of events;
//! - `error`: the only place with status codes;
//! - `view`: conversion to wire types; `media`: content negotiation;
//! - `terms`: parameters besides the definition;
//! - `body`, `form`, `json`, `query`, `path`: strict parsing of requests;
//! - `headers`: what browsers may do with answers; `door`: checks of every request; [`Access`]: authentication and
//!   authorization; `session`: sessions of browsers; [`Peer`]: the other end of the connection;
//! - `serve`: connections and their limits; `slots`: limits of concurrent large bodies;
//! - [`router`]: the paths of all resources; [`carriers`]: those of the port for carriers; `app`: state of the handlers;
//! - [`openapi`]: the description of the API, generated from the handlers.
//!
//! Before routing, the base path `/api` of the 2018 version and a trailing slash are removed, so that `/api/task/`,
//! `/api/task` and `/task` are equivalent.

mod access;
mod app;
mod body;
mod carriers;
mod container_metrics;
mod databind;
mod detached;
mod door;
mod error;
mod events;
mod exchange;
mod form;
mod headers;
mod health;
mod json;
mod live;
mod logs;
mod manifest;
mod media;
mod metrics;
mod monitoring;
pub mod openapi;
mod path;
mod peer;
mod query;
mod report;
mod results;
mod router;
mod serve;
mod session;
mod slots;
mod sse;
mod swarm;
mod task;
mod terms;
mod token;
mod view;

pub use access::{Access, Credentials, Identify};
pub use app::App;
pub use carriers::carriers;
pub use error::RequestError;
pub use health::StoreCheck;
pub use peer::Peer;
pub use router::router;
pub use serve::{ConnectionLimits, Endpoint, Limits, Listener, ListenerHandle, Server};
pub use slots::Slots;
