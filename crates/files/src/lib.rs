//! Durable files: atomic writes, flushing, and checks of the disk space.
//!
//! - [`write_atomic`]: replaces a file as a whole; [`flush`], [`flush_tree`]: make written files durable;
//! - [`disk`]: the free space that writes leave;
//! - [`if_there`]: the result of a read, with `None` for a missing file.
//!
//! All programs that keep files use these functions. The functions block; the crate does not depend on an async runtime.
//!
//! ```
//! use atq_files::{Mode, if_there, write_atomic};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("new/state.json");
//! assert_eq!(if_there(std::fs::read(&path))?, None);
//! write_atomic(&path, b"{}", Mode::Private)?;
//! assert_eq!(if_there(std::fs::read(&path))?, Some(b"{}".to_vec()));
//! # Ok::<(), std::io::Error>(())
//! ```

mod atomic;
pub mod disk;
mod durable;

pub use atomic::{Mode, write_atomic};
pub use durable::{flush, flush_tree, walk};

use std::io;

/// The result of a read or a removal; `None` when the file does not exist.
///
/// # Errors
/// Any other I/O error.
pub fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
