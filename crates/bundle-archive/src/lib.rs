//! Bundles as archives: what is refused, how one is unpacked.
//!
//! The Director reads an upload with this and the carrier what it has fetched, so both refuse and unpack the same. Memory
//! does not grow with the archive's content; nothing here knows HTTP, Docker or a runtime.

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
