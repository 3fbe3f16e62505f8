//! Durable files: atomic writes, flushing, and checks of the disk space.

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
