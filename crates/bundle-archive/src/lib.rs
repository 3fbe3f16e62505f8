//! Checks and unpacks the zip archives of bundles.
//!
//! The Director uses it for uploads and the carrier for downloads, so both accept and unpack the same archives. Memory
//! usage does not grow with the archive's content. The crate does not depend on HTTP, Docker or an async runtime.

mod error;
mod id;
mod limits;
mod name;
#[cfg(any(test, feature = "raw"))]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod raw;
mod scan;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;

pub use error::BundleError;
pub use id::{BundleId, InvalidBundleId};
pub use limits::Limits;
pub use name::{LOCK, MARKER, relative_path};
pub use scan::{Totals, scan};
pub use unpack::unpack;
