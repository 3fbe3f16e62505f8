//! The HTTP API: converts requests to calls, and their results to responses.
//!
//! - one file per resource: `task`, `databind`, `swarm`, `monitoring`, `health`, `logs`, `results`, `report`, `events`,
//!   `manifest`;
//! - `error`: the only place with status codes;
//! - `view`: conversion to wire types; `media`: content negotiation;
//! - `terms`: parameters besides the definition;
//! - `body`, `form`, `json`, `query`, `path`: strict parsing of requests;
//! - [`serve`]: connections and their limits; `slots`: limits of concurrent large bodies;
//! - [`router`]: the paths of all resources; `app`: state of the handlers;
//! - [`openapi`]: the description of the API, generated from the handlers.
//!
//! Before routing, the base path `/api` of the 2018 version and a trailing slash are removed, so that `/api/task/`,
//! `/api/task` and `/task` are equivalent.

mod app;
mod body;
mod databind;
mod detached;
mod error;
mod events;
mod form;
mod health;
mod json;
mod logs;
mod manifest;
mod media;
mod monitoring;
pub mod openapi;
mod path;
mod query;
mod report;
mod results;
mod router;
mod serve;
mod slots;
mod swarm;
mod task;
mod terms;
mod view;

pub use app::App;
pub use router::router;
pub use serve::{Limits, serve};
pub use slots::Slots;
