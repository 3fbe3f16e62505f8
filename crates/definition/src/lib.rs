//! Parses and validates definitions of load tests.
//!
//! - [`spec`]: [`TaskSpec::parse`](spec::TaskSpec::parse) returns a valid definition or every [`Fault`](spec::Fault) of
//!   it, each with its field. [`Surroundings`](spec::Surroundings) provides the facts that a definition is checked
//!   against;
//! - [`criteria`]: the grammar of pass criteria, [`Criterion`](criteria::Criterion);
//! - [`image`]: image references.
//!
//! The crate is pure: no I/O, no clock, no async runtime. The Director and `atq` therefore report the same faults.
//!
//! ```
//! use atq_definition::spec::{Surroundings, TaskSpec};
//! use serde_json::json;
//!
//! struct AllowAll;
//!
//! impl Surroundings for AllowAll {
//!     fn max_replicas(&self) -> u64 {
//!         10
//!     }
//!     fn has_bundle(&self, _: &str) -> bool {
//!         true
//!     }
//!     fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
//!         Ok(Vec::new())
//!     }
//! }
//!
//! let mut definition = json!({
//!     "name": "checkout",
//!     "worker": {"alias": "workers", "image": "tool:1", "replicas": 3},
//!     "master": {"alias": "master", "image": "tool:1"},
//! });
//! assert!(TaskSpec::parse(&definition, &AllowAll).is_ok());
//!
//! definition["worker"]["replicas"] = json!(11);
//! definition["delay"] = json!("soon");
//! let faults = TaskSpec::parse(&definition, &AllowAll).unwrap_err();
//! let mut fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
//! fields.sort();
//! assert_eq!(fields, ["delay", "worker.replicas"]);
//! ```

pub mod criteria;
#[cfg(any(test, feature = "examples"))]
pub mod examples;
pub mod image;
pub mod spec;
mod wording;

#[cfg(test)]
mod tests;
