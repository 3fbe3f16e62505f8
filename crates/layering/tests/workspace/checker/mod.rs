//! Checks the structure of the workspace (ARCHITECTURE.md, "Direction of dependencies").
//!
//! - [`workspace`]: the crates and the dependencies in their manifests;
//! - [`code`]: the modules of a crate with their paths and words, without test code;
//! - [`crates`]: dependencies between crates and on libraries;
//! - [`imports`]: imports of modules and libraries by modules;
//! - [`cycles`]: import cycles between files of different module groups;
//! - [`words`]: uses of the words of one engine per file.
//!
//! The rules themselves are the tables in the parent directory.

pub mod code;
mod collect;
pub mod crates;
pub mod cycles;
pub mod imports;
pub mod words;
pub mod workspace;

/// A path as its segments: `crate::a::B` is `["crate", "a", "B"]`.
pub type Segments = Vec<String>;

/// The segments of a path written with `::`.
pub fn segments(path: &str) -> Segments {
    path.split("::").map(str::to_owned).collect()
}

/// True if the path is `prefix` or below it. The last segment of the prefix may end with `*`.
pub fn is_within(path: &[String], prefix: &str) -> bool {
    let prefix = segments(prefix);
    path.len() >= prefix.len()
        && prefix.iter().zip(path).all(|(wanted, segment)| {
            wanted
                .strip_suffix('*')
                .map_or(wanted == segment, |start| segment.starts_with(start))
        })
}
