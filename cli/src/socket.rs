//! URLs of Unix sockets, `unix:///run/atq/atq.sock`, and the socket of the packages.

use percent_encoding::percent_decode_str;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// The socket of a Director that was installed from a package.
pub const DEFAULT_PATH: &str = "/run/atq/atq.sock";
/// The beginning of a URL.
const SCHEME: &str = "unix://";
/// Timeout of the check of the default socket.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the URL is that of a socket.
pub fn is_url(url: &str) -> bool {
    url.starts_with(SCHEME)
}

/// The path in the URL of a socket; `None` if it is not absolute. Percent-encoded bytes are decoded.
pub fn path_of(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix(SCHEME)?;
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    let is_path = bytes.starts_with(b"/") && !bytes.ends_with(b"/") && !bytes.contains(&0);
    is_path.then(|| OsString::from_vec(bytes).into())
}

/// The URL of a socket.
pub fn url_of(path: &Path) -> String {
    format!("{SCHEME}{}", path.display())
}

/// Whether a Director listens at the socket and this user may connect. A busy one counts.
pub async fn is_usable(path: &Path) -> bool {
    match tokio::time::timeout(PROBE_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Ok(_)) | Err(_) => true,
        Ok(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_has_an_absolute_path() {
        let path = |url| path_of(url);
        assert_eq!(
            path("unix:///run/atq.sock").unwrap(),
            Path::new("/run/atq.sock")
        );
        assert_eq!(path("unix:///a%20b").unwrap(), Path::new("/a b"));
        for url in [
            "unix://",
            "unix://run/atq.sock",
            "unix:/run/atq.sock",
            "unix:///run/",
            "unix:///a%00b",
            "http:///run/atq.sock",
        ] {
            assert_eq!(path(url), None, "{url}");
        }
    }

    #[tokio::test]
    async fn only_a_socket_with_a_listener_is_usable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("atq.sock");
        assert!(!is_usable(&path).await, "missing");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert!(is_usable(&path).await);
        drop(listener);
        assert!(!is_usable(&path).await, "left behind by an ended Director");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!is_usable(&file).await, "a file");
    }
}
