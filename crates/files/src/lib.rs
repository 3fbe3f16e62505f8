//! Files that outlive a crash: atomic writes, flushing, and the space on the disk.

mod atomic;
pub mod disk;
mod durable;

pub use atomic::{Mode, write_atomic};
pub use durable::{flush, flush_tree, walk};
