//! Restricts the Director's files to its own user. Definitions, logs and results may contain passwords.
//!
//! Only the top directory of `glusterpath` is restricted: unpacked bundles are mounted for the users of arbitrary
//! containers.

use crate::config::Config;
use rustix::fs::Mode;
use rustix::process::umask;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DIRECTORY: u32 = 0o700;
const FILE: u32 = 0o600;
/// Permission bits of other users.
const OTHERS: u32 = 0o077;
/// Number of changed files that are logged individually.
const MAX_LOGGED: u64 = 10;

/// Restricts all files that the process creates from now on to its own user. Unpacking sets the modes of bundles
/// itself.
pub fn keep_new_files_private() {
    umask(Mode::from_bits_truncate(OTHERS));
}

/// Restricts the two directories of the Director. The mode of a directory that belongs to another user is kept.
pub fn restrict_directories(config: &Config) {
    for path in [&config.datadir, &config.glusterpath] {
        match restrict(path) {
            Ok(true) => tracing::warn!(
                "`{}` was readable for other users of this machine; access is now restricted",
                path.display()
            ),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot restrict access to `{}`", path.display());
            }
        }
    }
}

/// Restricts everything in `datadir`, for data of earlier versions. Blocks the thread.
pub fn restrict_contents(config: &Config) {
    let mut summary = Summary::default();
    walk(&config.datadir, &config.glusterpath, &mut summary);
    if summary.changed > 0 {
        tracing::warn!(
            "{} file(s) and directories in `{}` were readable for other users of this machine; access is now restricted",
            summary.changed,
            config.datadir.display()
        );
    }
    if let Some(error) = summary.failed {
        tracing::warn!(%error, "cannot restrict access to some files in `{}`", config.datadir.display());
    }
}

#[derive(Default)]
struct Summary {
    changed: u64,
    /// The first failure.
    failed: Option<io::Error>,
}

impl Summary {
    fn note(&mut self, path: &Path, restricted: io::Result<bool>) {
        match restricted {
            Ok(true) => {
                self.changed += 1;
                if self.changed <= MAX_LOGGED {
                    tracing::info!("access restricted: `{}`", path.display());
                }
            }
            Ok(false) => {}
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }
}

fn walk(dir: &Path, except: &Path, summary: &mut Summary) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return summary.note(dir, Err(error)),
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path == except {
            continue;
        }
        summary.note(&path, restrict(&path));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, except, summary);
        }
    }
}

/// Restricts one file or directory; returns whether its mode changed. Links and special files are skipped.
fn restrict(path: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    let Some(mode) = wanted(&found) else {
        return Ok(false);
    };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(true)
}

/// The restricted mode of a file or directory; `None` if other users have no access.
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
    fn data_is_restricted_recursively_and_bundles_are_unchanged() {
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

        restrict_directories(&config);
        restrict_contents(&config);
        assert_eq!(mode(&data), DIRECTORY);
        assert_eq!(mode(&path("data/evidence/one")), DIRECTORY);
        assert_eq!(mode(&path("data/evidence/one/log")), FILE);
        assert_eq!(mode(&bundles), DIRECTORY, "the top directory");
        assert_eq!(mode(&path("data/bundles/b1")), 0o755);
        assert_eq!(mode(&path("data/bundles/b1/plan.jmx")), 0o755);
        assert_eq!(mode(&path("elsewhere/file")), 0o755, "behind a link");
        let mut again = Summary::default();
        walk(&data, &bundles, &mut again);
        assert_eq!(again.changed, 0);
    }
}
