//! Identity of this Director. Everything that it creates in Docker is labelled with its id, so that two Directors on
//! one Swarm never remove each other's objects.
//!
//! The id is stored in `datadir/director-id`. After a loss of the whole data directory, the objects of running tests
//! can be recognised only by the id, and would never be removed. Therefore a second copy is kept beside the bundles,
//! the only other directory of a Director. Several Directors, on one or more machines, may share that directory: the
//! name of the copy contains a hash of host name, data directory and port, so that only a Director in the same place
//! reuses the id.

use anyhow::Context;
use atq_files::{Mode, if_there, write_atomic};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Prefix of the names of second copies. Hidden, and never the id of a bundle.
const COPY_PREFIX: &str = ".director-id-";

/// The place of a Director: its directories and its port.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its data directory, absolute.
    pub datadir: &'a Path,
    /// Its directory of bundles.
    pub glusterpath: &'a Path,
    /// The configured port. 0 means any port, so that the place cannot be recognised later.
    pub port: u16,
}

/// The configured id, or the one in `datadir/director-id`, which is generated at the first start. Must be called with
/// the store's lock held: a second Director must not change any of this.
///
/// # Errors
/// When the file cannot be read or written.
pub fn director_id(place: &Place<'_>, configured: Option<&str>) -> anyhow::Result<String> {
    on_host(&host(), place, configured)
}

/// An identifier of the place, unique to one running Director. A place that cannot be distinguished from others gets
/// a random identifier.
pub fn place(place: &Place<'_>) -> String {
    hash(&host(), place).unwrap_or_else(generated)
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn on_host(host: &str, place: &Place<'_>, configured: Option<&str>) -> anyhow::Result<String> {
    if let Some(id) = configured {
        return Ok(id.to_owned());
    }
    let path = place.datadir.join("director-id");
    let copy = copy_path(host, place);
    let own = read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let id = match own {
        Some(id) => id,
        None => {
            let id = copied(&path, copy.as_deref()).unwrap_or_else(generated);
            // The id must be on disk before objects are created: it identifies them after a crash.
            write(&path, &id).with_context(|| format!("cannot write `{}`", path.display()))?;
            id
        }
    };
    if let Some(copy) = copy {
        keep_copy(&copy, &id);
    }
    Ok(id)
}

/// Path of the second copy; `None` if the place cannot be distinguished from others.
fn copy_path(host: &str, place: &Place<'_>) -> Option<PathBuf> {
    let hash = hash(host, place)?;
    Some(place.glusterpath.join(format!("{COPY_PREFIX}{hash}")))
}

fn hash(host: &str, place: &Place<'_>) -> Option<String> {
    if host.is_empty() || place.port == 0 {
        return None;
    }
    let mut hash = Sha256::new();
    for part in [
        host.as_bytes(),
        place.datadir.as_os_str().as_encoded_bytes(),
        place.port.to_string().as_bytes(),
    ] {
        hash.update(part);
        hash.update([0]);
    }
    let hash = format!("{:x}", hash.finalize());
    Some(format!("{hash:.16}"))
}

/// The id of an earlier Director in this place.
fn copied(path: &Path, copy: Option<&Path>) -> Option<String> {
    let copy = copy?;
    match read(copy) {
        Ok(id) => {
            let id = id?;
            tracing::warn!(
                "`{}` is missing; continuing with the id `{id}` from the copy `{}`",
                path.display(),
                copy.display()
            );
            Some(id)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read `{}`; generating a new id for this Director", copy.display());
            None
        }
    }
}

/// A failure is only logged: the Director works without the copy.
fn keep_copy(copy: &Path, id: &str) {
    if read(copy).is_ok_and(|present| present.as_deref() == Some(id)) {
        return;
    }
    if let Err(error) = write(copy, id) {
        tracing::warn!(
            %error,
            "cannot write a second copy of this Director's id to `{}`; if `datadir` is lost, the containers and networks of its tasks cannot be found",
            copy.display()
        );
    }
}

/// The id in a file; `None` if the file is missing or has no valid id, as after a crash while it was written.
fn read(path: &Path) -> io::Result<Option<String>> {
    let text = if_there(fs::read_to_string(path))?;
    let id = text.map(|text| text.trim().to_owned());
    Ok(id.filter(|id| is_id(id)))
}

fn is_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=40).contains(&text.len()) && text.chars().all(allowed)
}

fn generated() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

fn write(path: &Path, id: &str) -> io::Result<()> {
    write_atomic(path, format!("{id}\n").as_bytes(), Mode::Private)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use atq_bundle_store::{BundleStore, Limits};

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            for dir in ["one", "two", "bundles"] {
                fs::create_dir(home.path().join(dir)).unwrap();
            }
            Self(home)
        }

        fn id(&self, host: &str, datadir: &str, port: u16) -> String {
            let datadir = self.0.path().join(datadir);
            let place = Place {
                datadir: &datadir,
                glusterpath: &self.0.path().join("bundles"),
                port,
            };
            on_host(host, &place, None).unwrap()
        }

        fn lose(&self, datadir: &str) {
            fs::remove_file(self.0.path().join(datadir).join("director-id")).unwrap();
        }

        fn copies(&self) -> Vec<PathBuf> {
            let entries = fs::read_dir(self.0.path().join("bundles")).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        }
    }

    #[test]
    fn only_the_own_user_can_read_the_id() {
        use std::os::unix::fs::PermissionsExt;
        let home = Home::new();
        let path = home.0.path().join("director-id");
        write(&path, "mine-1").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lost_id_is_restored_in_the_same_place_only() {
        let home = Home::new();
        let id = home.id("host", "one", 80);
        assert_eq!(home.id("host", "one", 80), id);
        home.lose("one");
        assert_ne!(home.id("other", "one", 80), id);
        home.lose("one");
        assert_ne!(home.id("host", "one", 81), id);
        assert_ne!(home.id("host", "two", 80), id);
        home.lose("one");
        assert_eq!(home.id("host", "one", 80), id);
    }

    #[test]
    fn the_copy_follows_the_data_directory() {
        let home = Home::new();
        home.id("host", "one", 80);
        fs::write(home.0.path().join("one/director-id"), "mine-1\n").unwrap();
        assert_eq!(home.id("host", "one", 80), "mine-1");
        home.lose("one");
        assert_eq!(home.id("host", "one", 80), "mine-1");
        assert_eq!(home.copies().len(), 1);
    }

    #[test]
    fn an_invalid_id_is_not_reused() {
        let home = Home::new();
        home.id("host", "one", 80);
        fs::write(&home.copies()[0], "A B\n").unwrap();
        fs::write(home.0.path().join("one/director-id"), "").unwrap();
        let id = home.id("host", "one", 80);
        assert!(is_id(&id), "{id}");
        home.lose("one");
        assert_eq!(home.id("host", "one", 80), id);
    }

    #[test]
    fn no_copy_is_written_for_a_place_that_cannot_be_recognised() {
        let home = Home::new();
        home.id("host", "one", 0);
        home.id("", "two", 80);
        assert!(home.copies().is_empty());
        let configured = Place {
            datadir: &home.0.path().join("none"),
            glusterpath: &home.0.path().join("bundles"),
            port: 80,
        };
        assert_eq!(on_host("host", &configured, Some("x")).unwrap(), "x");
        assert!(home.copies().is_empty());
    }

    #[tokio::test]
    async fn the_copy_is_not_listed_as_a_bundle() {
        let home = Home::new();
        let id = home.id("host", "one", 80);
        let bundles = BundleStore::open(&home.0.path().join("bundles"), Limits::default()).unwrap();
        assert!(bundles.list().await.unwrap().is_empty());
        home.lose("one");
        assert_eq!(home.id("host", "one", 80), id);
    }
}
