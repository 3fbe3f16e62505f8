//! Wire types of the Director's HTTP API: the content of requests and responses, without logic.
//!
//! - [`task`]: [`TaskPayload`](task::TaskPayload) is a definition, [`Task`](task::Task) a task as responses show it;
//! - [`service`], [`kernel`]: the objects of a service in a definition;
//! - [`bundle`], [`report`], [`live`], [`manifest`], [`swarm`], [`health`]: responses; [`token`]: tokens of clients;
//!   [`error`]: the body of every error.
//!
//! `api-spec/openapi.json` is generated from these types. The crate depends on `serde` and `utoipa` only, so that every
//! other crate can use it.
//!
//! Layer 1 is the contract of 2018 (thesis, section 5.3.1 and appendices A and C); its names and shapes never change.
//! Everything else is an addition. Times are RFC 3339 in UTC; names of durations contain the unit.

pub mod bundle;
pub mod error;
pub mod health;
pub mod kernel;
pub mod live;
pub mod manifest;
pub mod report;
pub mod service;
pub mod session;
pub mod swarm;
pub mod task;
pub mod token;

/// Vendor media type of a task (layer 1).
pub const MEDIA_TASK: &str = "application/atq.task+json";
/// Vendor media type of the response to an upload (layer 1).
pub const MEDIA_UPLOAD: &str = "application/atq.databind.upload+json";
/// Vendor media type of a list of uploads (layer 1).
pub const MEDIA_UPLOADS: &str = "application/atq.databind.upload+json; type=collection";
/// Vendor media type of the Swarm's description (layer 1).
pub const MEDIA_SWARM: &str = "application/atq.swarm+json";
/// Media type of errors (RFC 9457).
pub const MEDIA_PROBLEM: &str = "application/problem+json";
