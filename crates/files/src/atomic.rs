//! Atomic writes of small files.

use crate::flush;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::NamedTempFile;

/// Access mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only the owner can read it (0600).
    Private,
    /// Every user can read it (0644).
    Readable,
}

impl Mode {
    fn bits(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Readable => 0o644,
        }
    }
}

/// Replaces the file `path` by `content`: after a crash, the file has either the old or the new content. Creates the
/// directory if it is missing. Blocks.
///
/// # Errors
/// An I/O error; the old file is then unchanged.
pub fn write_atomic(path: &Path, content: &[u8], mode: Mode) -> io::Result<()> {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir)?;
    let mut draft = NamedTempFile::new_in(dir)?;
    draft.write_all(content)?;
    let file = draft.as_file();
    file.set_permissions(Permissions::from_mode(mode.bits()))?;
    file.sync_all()?;
    draft.persist(path).map_err(|error| error.error)?;
    flush(dir)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_its_mode_is_set() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new/file.json");
        for (content, mode) in [("old and long", Mode::Private), ("new", Mode::Readable)] {
            write_atomic(&path, content.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode.bits());
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_no_draft() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        fs::create_dir(&path).unwrap();
        write_atomic(&path, b"content", Mode::Readable).unwrap_err();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
