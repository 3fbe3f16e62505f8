//! Bundles: the zip archives that users upload and tasks mount at `/atq/data`.
//!
//! An upload streams through [`BundleStore::begin`] and [`Incoming`]; nothing here knows HTTP or Docker.
//! What may be in a zip, and how it is unpacked, is the crate `atq-bundle-archive`, which the carrier uses as well.
//!
//! # Layout under `glusterpath`
//! ```text
//! <id>/                 the unpacked content, exactly what a container sees (read-only)
//! .meta/<id>.json       what the content does not tell: the uploaded name, the zip's size, when it came
//! .zips/<id>.zip        the zip as it was uploaded: what is brought to the nodes
//! .incoming/<random>/   an upload with its content while it is being unpacked, or content on its way out
//! ```
//! `<id>` is the first 32 hex digits of the zip's SHA-256, so an id is never reused for other content and the same
//! zip always meets its own earlier copy. Directories with other names belong to somebody else and are left alone.
//!
//! # Crash story
//! An upload and its content are below `.incoming`. The zip is flushed to the disk and gets its place first, so that every
//! bundle has one, but for those of before zips were kept; one that a crash leaves without a bundle is removed by a start
//! an hour later. The content is flushed to the disk, and only then renamed to `<id>`; so a directory called `<id>` is always
//! whole, even after a power cut. The same zip once more gives a bundle of before its zip. The description in `.meta` is written after that. If a crash takes it, it is rebuilt
//! from the content, without the uploaded name. Removal is the same way backwards: one rename out of sight, then zip,
//! description and files. What a crash leaves below `.incoming` is swept by the next [`BundleStore::open`]; a lock on each
//! directory there keeps the sweep away from another Director's unfinished work on the same shared file system.

mod incoming;
mod offered;
mod store;
#[cfg(test)]
mod tests;
mod workdir;

pub use atq_bundle_archive::{BundleError, BundleId, InvalidBundleId, Limits};
pub use incoming::{Incoming, Uploaded, check_file_name};
pub use store::{BundleContent, BundleEntry, BundleInfo, BundleStore};
