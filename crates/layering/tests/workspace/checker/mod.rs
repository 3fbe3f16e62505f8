//! Checks the walls of the workspace (ARCHITECTURE.md, "Direction of dependencies").
//!
//! - [`workspace`]: the crates and what their manifests depend on;
//! - [`code`]: the modules of a crate, and the paths and words in each, without code for tests;
//! - [`crates`]: which crate depends on which crate and library;
//! - [`imports`]: which module imports which module and library;
//! - [`cycles`]: import cycles between files of different rooms;
//! - [`words`]: how often a file uses the words of one engine.
//!
//! The rules themselves are the tables beside this module.

pub mod code;
mod collect;
pub mod crates;
pub mod cycles;
pub mod imports;
pub mod words;
pub mod workspace;

/// A path as its segments: `crate::a::B` is `["crate", "a", "B"]`.
pub type Segments = Vec<String>;

/// The segments of a path that is written with `::`.
pub fn segments(path: &str) -> Segments {
    path.split("::").map(str::to_owned).collect()
}

/// Whether the path is `prefix` or below it. The last segment of the prefix may end with `*`.
pub fn is_within(path: &[String], prefix: &str) -> bool {
    let prefix = segments(prefix);
    path.len() >= prefix.len()
        && prefix.iter().zip(path).all(|(wanted, segment)| {
            wanted
                .strip_suffix('*')
                .map_or(wanted == segment, |start| segment.starts_with(start))
        })
}
