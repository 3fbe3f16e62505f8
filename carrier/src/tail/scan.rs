//! Listing and opening the files below a directory that a container writes to.
//!
//! The container may replace any directory by a link at any time. Each component of a path is therefore opened relative to its
//! open parent directory, and links are never followed. Only regular files are opened.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use atq_node_protocol::tail::is_valid_path;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

/// Maximum depth of a file below the directory.
const MAX_DEPTH: usize = 8;
/// Maximum number of entries that are read in one listing.
const MAX_ENTRIES: usize = 5000;

/// Identifies a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Path below the directory.
    pub path: String,
    /// The file.
    pub id: FileId,
}

/// The regular files below a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files, ordered by path; those with several names under each of them.
    pub files: Vec<Found>,
    /// The reason why some files are missing.
    pub problem: Option<String>,
}

/// Size and number of names of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Size in bytes.
    pub size: u64,
    /// Whether it has no name any more.
    pub is_deleted: bool,
}

/// A directory and what is below it.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens the directory.
    ///
    /// # Errors
    /// An I/O error.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open_dir(CWD, path)?))
    }

    /// Lists the regular files. Entries that vanish meanwhile are skipped.
    ///
    /// # Errors
    /// When the directory itself cannot be read.
    pub fn list(&self) -> io::Result<Listing> {
        let mut walk = Walk::default();
        walk.directory(&open_dir(&self.0, ".")?, "", 1)?;
        walk.listing.files.sort();
        Ok(walk.listing)
    }

    /// Opens a listed file; `None` if it is not there any more.
    ///
    /// # Errors
    /// An I/O error.
    pub fn open_file(&self, found: &Found) -> io::Result<Option<File>> {
        match self.try_open(&found.path) {
            Ok((file, stat)) => Ok((FileId::of(&stat) == found.id).then_some(file)),
            Err(error) if is_replaced(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_open(&self, path: &str) -> io::Result<(File, Stat)> {
        let (dirs, name) = match path.rsplit_once('/') {
            Some((dirs, name)) => (Some(dirs), name),
            None => (None, path),
        };
        let mut at = open_dir(&self.0, ".")?;
        for dir in dirs.into_iter().flat_map(|dirs| dirs.split('/')) {
            at = open_dir(&at, dir)?;
        }
        // Opening a pipe without a writer does not wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(&at, name, flags | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file.into(), stat)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Size and number of names of an open file.
///
/// # Errors
/// An I/O error.
pub fn status(file: &File) -> io::Result<Status> {
    let stat = fstat(file)?;
    Ok(Status {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        is_deleted: stat.st_nlink == 0,
    })
}

fn open_dir(at: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Whether the error means that another object has the name now, or none.
fn is_replaced(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let replaced = [Errno::NOENT, Errno::LOOP, Errno::NOTDIR, Errno::NXIO];
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::NotFound
        || replaced.iter().any(|one| code == Some(one.raw_os_error()))
}

#[derive(Default)]
struct Walk {
    listing: Listing,
    entries: usize,
}

impl Walk {
    fn directory(&mut self, dir: &OwnedFd, prefix: &str, depth: usize) -> io::Result<()> {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if matches!(bytes, b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                self.problem(format!("more than {MAX_ENTRIES} files and directories"));
                return Ok(());
            }
            let path = match std::str::from_utf8(bytes) {
                Ok(name) => format!("{prefix}{name}"),
                Err(_) => String::new(),
            };
            if is_valid_path(&path) {
                self.entry(dir.as_fd(), entry.file_name(), &path, depth);
            } else {
                self.problem(
                    "a file has a name that is too long, not UTF-8, or has control characters"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Skips what is neither a regular file nor a directory, or vanishes.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &std::ffi::CStr, path: &str, depth: usize) {
        let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.listing.files.push(Found {
                path: path.to_owned(),
                id: FileId::of(&stat),
            }),
            FileType::Directory if depth >= MAX_DEPTH => {
                self.problem(format!("directories are nested more than {MAX_DEPTH} deep"));
            }
            FileType::Directory => {
                let opened = open_dir(dir, name);
                let read =
                    opened.and_then(|inner| self.directory(&inner, &format!("{path}/"), depth + 1));
                match read {
                    Err(error) if !is_replaced(&error) => {
                        let reason = crate::problem::reason(&error);
                        self.problem(format!("a directory cannot be read: {reason}"));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Keeps the first problem.
    fn problem(&mut self, problem: String) {
        self.listing.problem.get_or_insert(problem);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn paths(root: &Root) -> Vec<String> {
        let listing = root.list().unwrap();
        listing.files.into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn regular_files_are_listed_and_nothing_else() {
        let (dir, root) = root();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("deep/er")).unwrap();
        for name in ["b.csv", "deep/er/a.csv", "deep/ä b"] {
            fs::write(at(name), "x").unwrap();
        }
        fs::hard_link(at("b.csv"), at("z.csv")).unwrap();
        symlink("/etc/passwd", at("link")).unwrap();
        symlink("/etc", at("linked")).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(at("pipe"))
                .status()
                .unwrap()
                .success()
        );
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert_eq!(
            paths(&root),
            ["b.csv", "deep/er/a.csv", "deep/ä b", "z.csv"]
        );
        drop(socket);
    }

    #[test]
    fn odd_names_and_deep_directories_are_told() {
        use std::os::unix::ffi::OsStrExt as _;
        let (dir, root) = root();
        let odd = std::ffi::OsStr::from_bytes(b"odd-\xff");
        fs::write(dir.path().join(odd), "x").unwrap();
        fs::write(dir.path().join("fine"), "x").unwrap();
        let listing = root.list().unwrap();
        assert_eq!(listing.files.len(), 1);
        assert!(listing.problem.unwrap().contains("not UTF-8"));

        let (dir, root) = self::root();
        let deep = dir.path().join("d/".repeat(MAX_DEPTH));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("too-deep"), "x").unwrap();
        let listing = root.list().unwrap();
        assert_eq!(listing.files, []);
        assert!(listing.problem.unwrap().contains("nested"));
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let (dir, root) = root();
        for number in 0..=MAX_ENTRIES {
            fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        let listing = root.list().unwrap();
        assert_eq!(listing.files.len(), MAX_ENTRIES);
        assert!(listing.problem.unwrap().starts_with("more than"));
    }

    #[test]
    fn a_file_that_became_a_link_a_pipe_a_directory_or_another_file_is_not_opened() {
        let (dir, root) = root();
        let path = dir.path().join("a");
        let pipe = || Command::new("mkfifo").arg(&path).status().map(drop);
        let replacements: [&dyn Fn() -> io::Result<()>; 5] = [
            &|| Ok(()),
            &|| symlink("/etc/passwd", &path),
            &pipe,
            &|| fs::create_dir(&path),
            &|| fs::write(&path, "another"),
        ];
        for replace in replacements {
            fs::write(&path, "own").unwrap();
            let found = root.list().unwrap().files.remove(0);
            // An open file keeps its inode.
            let file = root.open_file(&found).unwrap().unwrap();
            fs::remove_file(&path).unwrap();
            replace().unwrap();
            assert!(root.open_file(&found).unwrap().is_none());
            assert_eq!(io::read_to_string(file).unwrap(), "own");
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
    }

    #[test]
    fn a_directory_that_becomes_a_link_never_leads_outside() {
        let (dir, root) = root();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let own = dir.path().join("own");
        let aside = dir.path().join("aside");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("secret"), "public").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let swapping = {
            let (own, aside, stop) = (own.clone(), aside.clone(), Arc::clone(&stop));
            let outside = outside.path().to_owned();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    fs::rename(&own, &aside).unwrap();
                    symlink(&outside, &own).unwrap();
                    fs::remove_file(&own).unwrap();
                    fs::rename(&aside, &own).unwrap();
                }
            })
        };
        let mut opened = 0;
        for _ in 0..2000 {
            for found in root.list().unwrap().files {
                if let Some(file) = root.open_file(&found).unwrap() {
                    assert_eq!(io::read_to_string(file).unwrap(), "public");
                    opened += 1;
                }
            }
            // A path that was valid before may lead to a link now.
            if let Ok((file, _)) = root.try_open("own/secret") {
                assert_eq!(io::read_to_string(file).unwrap(), "public");
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapping.join().unwrap();
        assert!(opened > 0);
    }
}
