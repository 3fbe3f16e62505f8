//! Who may read what the Director keeps: nobody but its own user. Definitions, logs and results hold passwords.
//!
//! `glusterpath` is closed at its top only: unpacked bundles are mounted for the users of all kinds of containers.

use crate::config::Config;
use rustix::fs::Mode;
use rustix::process::umask;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DIRECTORY: u32 = 0o700;
const FILE: u32 = 0o600;
/// What others have no right to.
const OTHERS: u32 = 0o077;
/// So many are named in the log.
const NAMED: u64 = 10;

/// From now on, what the process makes is for its own user; unpacking sets the modes of bundles itself.
pub fn keep_new_files_private() {
    umask(Mode::from_bits_truncate(OTHERS));
}

/// Closes the two directories of the Director to others. The mode of one that belongs to somebody else stays.
pub fn close_directories(config: &Config) {
    for path in [&config.datadir, &config.glusterpath] {
        match closed(path) {
            Ok(true) => tracing::warn!(
                "`{}` was open to other users of this machine; now it is not",
                path.display()
            ),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "`{}` cannot be closed to other users", path.display());
            }
        }
    }
}

/// Closes everything in `datadir`, which earlier versions left open. Blocks.
pub fn close_contents(config: &Config) {
    let mut mended = Mended::default();
    walk(&config.datadir, &config.glusterpath, &mut mended);
    if mended.changed > 0 {
        tracing::warn!(
            "{} file(s) and directories in `{}` were readable for other users of this machine; now they are not",
            mended.changed,
            config.datadir.display()
        );
    }
    if let Some(error) = mended.failed {
        tracing::warn!(%error, "some files in `{}` cannot be closed to other users", config.datadir.display());
    }
}

#[derive(Default)]
struct Mended {
    changed: u64,
    /// The first failure.
    failed: Option<io::Error>,
}

impl Mended {
    fn note(&mut self, path: &Path, closed: io::Result<bool>) {
        match closed {
            Ok(true) => {
                self.changed += 1;
                if self.changed <= NAMED {
                    tracing::info!("closed to other users: `{}`", path.display());
                }
            }
            Ok(false) => {}
            // It went meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }
}

fn walk(dir: &Path, except: &Path, mended: &mut Mended) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return mended.note(dir, Err(error)),
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path == except {
            continue;
        }
        mended.note(&path, closed(&path));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, except, mended);
        }
    }
}

/// Closes one file or directory; whether it was open. Links and what is neither stay as they are.
fn closed(path: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    let Some(mode) = wanted(&found) else {
        return Ok(false);
    };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(true)
}

/// The mode that a file or directory is to get, if others have any right to it.
fn wanted(found: &Metadata) -> Option<u32> {
    let mode = match (found.is_dir(), found.is_file()) {
        (true, _) => DIRECTORY,
        (_, true) => FILE,
        _ => return None,
    };
    (found.permissions().mode() & OTHERS != 0).then_some(mode)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_data_is_closed_to_its_ground_and_bundles_stay_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        let path = |below: &str| home.path().join(below);
        for dir in ["data/evidence/one", "data/bundles/b1", "elsewhere"] {
            fs::create_dir_all(path(dir)).unwrap();
        }
        let files = [
            "data/evidence/one/log",
            "data/bundles/b1/plan.jmx",
            "elsewhere/file",
        ];
        for file in files {
            fs::write(path(file), "x").unwrap();
            fs::set_permissions(path(file), Permissions::from_mode(0o755)).unwrap();
        }
        for dir in ["data", "data/evidence", "data/bundles", "data/bundles/b1"] {
            fs::set_permissions(path(dir), Permissions::from_mode(0o755)).unwrap();
        }
        symlink(path("elsewhere"), path("data/link")).unwrap();
        let (data, bundles) = (path("data"), path("data/bundles"));
        let text = format!(
            "port: 0\nglusterpath: {}\ndatadir: {}\n",
            bundles.display(),
            data.display()
        );
        let config = Config::parse(&text, |_| None).unwrap();

        close_directories(&config);
        close_contents(&config);
        assert_eq!(mode(&data), DIRECTORY);
        assert_eq!(mode(&path("data/evidence/one")), DIRECTORY);
        assert_eq!(mode(&path("data/evidence/one/log")), FILE);
        assert_eq!(mode(&bundles), DIRECTORY, "its top");
        assert_eq!(mode(&path("data/bundles/b1")), 0o755);
        assert_eq!(mode(&path("data/bundles/b1/plan.jmx")), 0o755);
        assert_eq!(mode(&path("elsewhere/file")), 0o755, "behind a link");
        let mut again = Mended::default();
        walk(&data, &bundles, &mut again);
        assert_eq!(again.changed, 0);
    }
}
