//! The Director's Unix sockets: replaces the file of an earlier process, never that of a running one, and removes its own
//! at the end.

use atq_retry::{Deadline, Pauses, retry};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Name of the control socket in `datadir`.
pub const CONTROL: &str = "control.sock";
/// Maximum length in bytes of the path of a Unix socket on Linux.
pub const MAX_PATH: usize = 107;
/// Timeout of the check whether a process listens.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Backoff while another process holds the lock of the directory, and its end.
const LOCK_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(100),
};
const LOCK_FOR: Duration = Duration::from_secs(2);

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path has no directory.
    #[error("the directory `{}` does not exist", .0.display())]
    NoDirectory(PathBuf),
    /// The file is not a socket; it is kept.
    #[error("the file exists and is not a socket")]
    NotASocket,
    /// A process listens on the socket.
    #[error("another process listens on it")]
    InUse,
    /// It cannot be determined whether a process listens.
    #[error("the file exists, and it is not known whether a process listens on it: {0}")]
    Unknown(io::Error),
    /// The group cannot be set.
    #[error(
        "cannot set its group to {group}: {source} (users other than root can set only groups that they belong to)"
    )]
    Group {
        /// Id of the group.
        group: u32,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Another error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The file of an open socket, removed when dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have replaced the file.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = |found: Metadata| identity(&found) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(is_own) {
            // If it stays, the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The user of this process.
pub fn own_user() -> u32 {
    geteuid().as_raw()
}

/// Opens a socket with this mode and group.
///
/// # Errors
/// When the file cannot be created, or a process listens on it.
pub async fn open(
    path: &Path,
    mode: u32,
    group: Option<u32>,
) -> Result<(UnixListener, SocketFile), SocketError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(SocketError::NoDirectory(directory.to_owned()));
    }
    let address = Address::of(path)?;
    let directory = File::open(directory)?;
    lock(&directory).await;
    remove_stale(&address).await?;
    // The mask of new files keeps other users out until the mode is set.
    let listener = UnixListener::bind(address.path())?;
    // Group and mode are those of the socket, whatever has its name meanwhile.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::open(address.path(), flags, Mode::empty()).map_err(io::Error::from)?;
    let own = Path::new("/proc/self/fd").join(socket.as_raw_fd().to_string());
    let found = fs::metadata(&own)?;
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket);
    }
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(&found),
    };
    if let Some(group) = group {
        chown(&own, None, Some(group)).map_err(|source| SocketError::Group { group, source })?;
    }
    fs::set_permissions(&own, Permissions::from_mode(mode))?;
    Ok((listener, file))
}

/// Keeps another Director that starts at the same time from removing the socket that this one creates, until `directory`
/// is closed. Any program may hold the lock, so the wait for it is short, and then ends without it.
async fn lock(directory: &File) {
    let try_lock = || async { flock(directory, FlockOperation::NonBlockingLockExclusive) };
    let is_held = |error: &Errno| *error == Errno::WOULDBLOCK;
    let locked = retry(LOCK_PAUSES, Deadline::after(LOCK_FOR), try_lock, is_held).await;
    if let Err(error) = locked {
        tracing::debug!(%error, "the directory of the socket cannot be locked");
    }
}

/// Removes the file of a process that has ended.
async fn remove_stale(address: &Address) -> Result<(), SocketError> {
    let path = address.path();
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotASocket),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    match timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A process listens whose queue of connections is full.
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(SocketError::InUse),
        Ok(Err(error)) => Err(SocketError::Unknown(error)),
        Ok(Ok(_)) | Err(_) => Err(SocketError::InUse),
    }
}

/// A path by which a socket can be opened or connected, however long its own path is.
#[derive(Debug)]
pub struct Address {
    path: PathBuf,
    /// Keeps the directory open, through which a long path is shortened.
    _directory: Option<File>,
}

impl Address {
    /// The address of a socket.
    ///
    /// # Errors
    /// When the path is too long, and its directory cannot be opened.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= MAX_PATH {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let directory = File::open(directory)?;
        let number = directory.as_raw_fd().to_string();
        Ok(Self {
            path: Path::new("/proc/self/fd").join(number).join(name),
            _directory: Some(directory),
        })
    }

    /// The path to use while `self` exists.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn a_socket_has_its_mode_and_is_removed_when_closed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s");
        let (listener, file) = open(&path, 0o660, None).await.unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, 0o660);
        drop((listener, file));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (listener, file) = open(&path, 0o600, None).await.unwrap();
        let refused = open(&path, 0o600, None).await;
        assert!(matches!(refused, Err(SocketError::InUse)), "{refused:?}");
        drop((listener, file));
    }

    #[tokio::test]
    async fn of_two_processes_that_replace_a_socket_at_the_same_time_one_gets_it() {
        for _ in 0..50 {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("s");
            drop(UnixListener::bind(&path).unwrap());
            let (one, two) = tokio::join!(open(&path, 0o600, None), open(&path, 0o600, None));
            let (opened, refused) = match one.is_ok() {
                true => (one, two),
                false => (two, one),
            };
            assert!(matches!(refused, Err(SocketError::InUse)), "{refused:?}");
            assert!(UnixStream::connect(&path).await.is_ok());
            drop(opened.unwrap());
        }
    }

    #[tokio::test]
    async fn a_lock_of_another_program_does_not_keep_a_socket_from_being_opened() {
        let home = tempfile::tempdir().unwrap();
        let directory = File::open(home.path()).unwrap();
        flock(&directory, FlockOperation::NonBlockingLockExclusive).unwrap();
        let path = home.path().join("s");
        let opened = open(&path, 0o600, None).await.unwrap();
        assert!(path.exists());
        drop(opened);
    }

    #[tokio::test]
    async fn other_files_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("file"), "content").unwrap();
        fs::create_dir(path("directory")).unwrap();
        symlink("nowhere", path("link")).unwrap();
        for name in ["file", "directory", "link"] {
            let refused = open(&path(name), 0o600, None).await;
            assert!(matches!(refused, Err(SocketError::NotASocket)), "{name}");
        }
        assert_eq!(fs::read(path("file")).unwrap(), b"content");
        let refused = open(&path("none/socket"), 0o600, None).await;
        assert!(matches!(refused, Err(SocketError::NoDirectory(_))));
    }

    #[tokio::test]
    async fn the_file_of_another_process_is_not_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s");
        let (_listener, file) = open(&path, 0o600, None).await.unwrap();
        fs::rename(&path, home.path().join("kept")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_long_path_is_opened_and_connected() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(CONTROL);
        let opened = open(&path, 0o600, None).await.unwrap();
        let address = Address::of(&path).unwrap();
        UnixStream::connect(address.path()).await.unwrap();
        let refused = open(&path, 0o600, None).await;
        assert!(matches!(refused, Err(SocketError::InUse)), "{refused:?}");
        drop(opened);
        assert!(!path.exists());
    }
}
