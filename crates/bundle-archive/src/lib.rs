//! Checks and unpacks the zip archives of bundles.
//!
//! - [`scan`]: checks every entry against the rules for names and the [`Limits`], and returns the [`Totals`];
//! - [`each_file`]: the paths of the files of a scanned archive;
//! - [`unpack`]: writes the files of a scanned archive into a directory;
//! - [`BundleId`]: the id, from the hash of the content; [`BundleError`]: the reason why an archive is refused.
//!
//! The Director uses the crate for uploads, the carrier for downloads and `atq` before an upload, so all three accept the
//! same archives. Memory usage does not grow with the archive's content. The crate does not depend on HTTP, Docker or an
//! async runtime.
//!
//! ```
//! use atq_bundle_archive::{Limits, scan, unpack};
//! use std::fs::{self, File};
//! use std::io::Write;
//! use std::sync::Arc;
//! use zip::write::SimpleFileOptions;
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("bundle.zip");
//! let mut zip = zip::ZipWriter::new(File::create(&path)?);
//! zip.start_file("plan.jmx", SimpleFileOptions::default())?;
//! zip.write_all(b"<jmeterTestPlan/>")?;
//! zip.finish()?;
//!
//! let archive = Arc::new(File::open(&path)?);
//! let totals = scan(&archive, &Limits::default())?;
//! assert_eq!((totals.files, totals.bytes), (1, 17));
//!
//! let root = dir.path().join("data");
//! fs::create_dir(&root)?;
//! unpack(&archive, &root)?;
//! assert_eq!(fs::read(root.join("plan.jmx"))?, b"<jmeterTestPlan/>");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
pub use scan::{Totals, each_file, scan};
pub use unpack::unpack;
