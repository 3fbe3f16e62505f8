//! The HTTP contract, and nothing but HTTP: from requests to calls, from what they give to answers.
//!
//! - one file for each resource: [`task`], [`databind`], [`swarm`], [`monitoring`], [`health`], [`logs`],
//!   [`results`], [`report`],
//!   [`events`], [`manifest`];
//! - [`error`]: the only place that knows status codes;
//! - [`view`]: from our words to those of the wire; [`media`]: what the client wants to read;
//! - [`terms`]: what a client asks for beside a definition;
//! - [`body`], [`form`], [`json`], [`query`], [`path`]: requests, read strictly;
//! - [`serve`]: connections and their limits; [`slots`]: how many large bodies there are at once;
//! - [`router`]: every resource once, under its path; [`app`]: what the handlers work with;
//! - [`openapi`]: the description of all this, made from the handlers themselves.
//!
//! Before routing, the base path `/api` of the original and
//! a trailing slash are taken off, so that `/api/task/`, `/api/task` and `/task` are one and the same.

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
