//! Messages between the Director, the carrier and the sidecar, declared once for both sides:
//!
//! - [`order`]: [`Order`](order::Order), the order for a carrier, in its command line and environment;
//! - [`outcome`]: [`CarrierOutcome`](outcome::CarrierOutcome), the final report of a carrier on stdout;
//! - [`load`]: [`Load`](load::Load), resource usage of a node, posted by a carrier to the Director;
//! - [`tail`]: bytes that containers append to their result files, posted by a carrier to the Director;
//! - [`probe`]: [`ProbeOrder`](probe::ProbeOrder), readiness probes of workers, sent by the Director to the sidecar in the
//!   task's network;
//! - [`stats`]: [`ContainerStats`](stats::ContainerStats), Docker's statistics of a container, from which both compute the same
//!   usage.
//!
//! The images of carrier and sidecar may be older or newer than the Director. New fields are therefore optional, and unknown
//! fields are ignored. The crate contains types and their JSON only: no HTTP, no calls of Docker, no files.
//!
//! ```
//! use atq_node_protocol::order::{Order, Remove, Work};
//!
//! let order = Order::Remove(Remove {
//!     volumes: vec!["atq-bundle-1".to_owned()],
//!     ..Remove::default()
//! });
//! assert_eq!(order.work().as_str(), "remove");
//! assert_eq!(order.to_json(), r#"{"volumes":["atq-bundle-1"]}"#);
//! assert_eq!(Order::from_json(Work::Remove, &order.to_json())?, order);
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod load;
pub mod order;
pub mod outcome;
pub mod probe;
pub mod stats;
pub mod tail;
