//! Which Director this is. Everything that it creates in Docker carries the id, so that two
//! Directors on one Swarm never remove each other's objects.
//!
//! The id is in `datadir/director-id`. When the whole data directory is lost, the objects of the tests
//! that ran can be recognised by nothing but the id, and would stay for ever. So there is a second
//! copy beside the bundles, the only other directory that a Director has. Directors on several
//! machines may share that one, and several of one machine too: the copy's name holds a hash of host
//! name, data directory and port, so that only a Director in the very same place takes it over.

use anyhow::Context;
use atq_files::{Mode, if_there, write_atomic};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The second copies' names begin so. Hidden, and no id of a bundle.
const COPY_PREFIX: &str = ".director-id-";

/// Where a Director lives.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its data directory, absolute.
    pub datadir: &'a Path,
    /// Where its bundles are.
    pub glusterpath: &'a Path,
    /// The port of the configuration. 0, which is any, is no place that is found again.
    pub port: u16,
}

/// The configured id, or the one in `datadir/director-id`, which is generated at the first start. To
/// be called while the store's lock is held: a second Director must not change any of this.
///
/// # Errors
/// When the file cannot be read or written.
pub fn director_id(place: &Place<'_>, configured: Option<&str>) -> anyhow::Result<String> {
    on_host(&host(), place, configured)
}

/// A name for the place, in which no two Directors can be at once. One that cannot be told from others
/// gets a name that is never found again.
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
            // Objects in Docker are found by it after a crash, so it must be on the disk first.
            write(&path, &id).with_context(|| format!("cannot write `{}`", path.display()))?;
            id
        }
    };
    if let Some(copy) = copy {
        keep_copy(&copy, &id);
    }
    Ok(id)
}

/// Where the second copy is; none when the place cannot be told from others.
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

/// The id that an earlier Director of this place had.
fn copied(path: &Path, copy: Option<&Path>) -> Option<String> {
    let copy = copy?;
    match read(copy) {
        Ok(id) => {
            let id = id?;
            tracing::warn!(
                "`{}` is missing; the Director of this place had the id `{id}` before, as `{}` says, and goes on with it",
                path.display(),
                copy.display()
            );
            Some(id)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read `{}`; this Director gets a new id", copy.display());
            None
        }
    }
}

/// Only worth a warning: the Director works without it.
fn keep_copy(copy: &Path, id: &str) {
    if read(copy).is_ok_and(|present| present.as_deref() == Some(id)) {
        return;
    }
    if let Err(error) = write(copy, id) {
        tracing::warn!(
            %error,
            "cannot keep a second copy of this Director's id in `{}`; if `datadir` is lost, the containers and networks of its tasks will not be found",
            copy.display()
        );
    }
}

/// The id in a file; none when it is not there or holds none, as after a crash in the middle of writing it.
fn read(path: &Path) -> io::Result<Option<String>> {
    let text = if_there(fs::read_to_string(path))?;
    Ok(text
        .map(|text| text.trim().to_owned())
        .filter(|id| is_id(id)))
}

fn is_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=40).contains(&text.len()) && text.chars().all(allowed)
}

fn generated() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

fn write(path: &Path, id: &str) -> io::Result<()> {
    write_atomic(path, format!("{id}\n").as_bytes(), Mode::Readable)
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
    fn a_lost_id_comes_back_in_the_same_place_only() {
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
    fn what_is_no_id_is_not_taken_over() {
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
    fn no_copy_is_kept_of_a_place_that_is_not_found_again() {
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
    async fn the_bundles_do_not_mind_the_copy() {
        let home = Home::new();
        let id = home.id("host", "one", 80);
        let bundles = BundleStore::open(&home.0.path().join("bundles"), Limits::default()).unwrap();
        assert!(bundles.list().await.unwrap().is_empty());
        home.lose("one");
        assert_eq!(home.id("host", "one", 80), id);
    }
}
