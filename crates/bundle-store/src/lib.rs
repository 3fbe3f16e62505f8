//! Stores bundles: the zip archives that users upload and tasks mount at `/atq/data`.
//!
//! - [`BundleStore`]: the bundles; [`BundleInfo`], [`BundleContent`]: a bundle and its files;
//! - [`Incoming`]: an upload that streams to the disk, from [`BundleStore::begin`]; [`Uploaded`]: its result.
//!
//! The crate `atq-bundle-archive`, which the carrier and `atq` also use, checks and unpacks the zip. The crate must not
//! depend on HTTP or Docker.
//!
//! # Layout under `glusterpath`
//! ```text
//! <id>/                 the unpacked content as mounted in containers (read-only)
//! .meta/<id>.json       other properties: the uploaded name, the zip's size, the time of the upload
//! .zips/<id>.zip        the uploaded zip, which is transferred to the nodes
//! .incoming/<random>/   an upload that is being unpacked, or content that is being removed
//! ```
//! `<id>` is the first 32 hex digits of the zip's SHA-256, so an id is never reused for other content, and uploading the
//! same zip again finds the existing bundle. Directories with other names are not touched.
//!
//! # Crash safety
//!
//! An upload and its content are below `.incoming`. The zip is flushed and moved into place first, so that every bundle
//! has one, except for bundles from versions that did not keep zips. A zip without a bundle is the result of a crash;
//! the first start at least one hour later removes it. The content is flushed, and only then renamed to `<id>`, so a
//! directory `<id>` is always complete, even after a power failure. Uploading the same zip again adds the zip to a
//! bundle that lacks it. The description in `.meta` is written last; if a crash prevents that, it is rebuilt from the
//! content, without the uploaded name. Removal runs in reverse: one rename hides the content, then zip, description and
//! files are removed. The next [`BundleStore::open`] sweeps the remains below `.incoming`; each directory there is
//! locked while in use, so that the sweep never removes the unfinished work of another Director on the same shared file
//! system.

mod engine_bundles;
mod incoming;
mod store;
#[cfg(test)]
mod tests;
mod workdir;

pub use atq_bundle_archive::{BundleError, BundleId, InvalidBundleId, Limits};
pub use incoming::{Incoming, Uploaded, check_file_name};
pub use store::{BundleContent, BundleEntry, BundleInfo, BundleStore};
