//! The paths used by an archive, in memory that is independent of the length of names.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File,
    Directory,
}

/// The set of files and directories to be created. Paths are stored as 128 bits of their SHA-256, because an
/// archive may have many entries with names of several kilobytes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: HashMap<[u8; 16], Node>,
}

impl Tree {
    /// Files and directories so far, including directories implied by paths.
    pub(super) fn len(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Adds a file. The error is a predicate; the caller prepends the name.
    pub(super) fn add_file(&mut self, path: &str) -> Result<(), String> {
        self.add_parents(path)?;
        match self.nodes.insert(key(path), Node::File) {
            None => Ok(()),
            Some(Node::File) => Err("occurs more than once".to_owned()),
            Some(Node::Directory) => Err("is a file and a directory at once".to_owned()),
        }
    }

    /// Adds a directory. Duplicates are common and harmless.
    pub(super) fn add_directory(&mut self, path: &str) -> Result<(), String> {
        self.add_parents(path)?;
        match self.nodes.entry(key(path)).or_insert(Node::Directory) {
            Node::Directory => Ok(()),
            Node::File => Err("is a file and a directory at once".to_owned()),
        }
    }

    fn add_parents(&mut self, path: &str) -> Result<(), String> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            if *self.nodes.entry(key(parent)).or_insert(Node::Directory) == Node::File {
                return Err(format!("lies below `{parent}`, which is a file"));
            }
        }
        Ok(())
    }
}

fn key(path: &str) -> [u8; 16] {
    let digest = Sha256::digest(path.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}
