//! The URL of the Director: from the command line, else the environment, else the configuration file, else the default.

use crate::director::Director;
use crate::error::CliError;
use crate::trust::Trust;
use etcetera::BaseStrategy;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// URL of a Director with default configuration on this machine.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// An example of a configuration file.
const EXAMPLE: &str = "url: https://director.example.com:8443\nca: /etc/ssl/director.pem";

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    url: Option<String>,
    ca: Option<PathBuf>,
}

/// A client for the Director. `url` and `ca` are from the command line or the environment.
///
/// # Errors
/// When the configuration file, the certificates or the URL are invalid.
pub fn director(url: Option<&str>, ca: Option<&Path>) -> Result<Director, CliError> {
    let url = url.filter(|url| !url.is_empty());
    let ca = ca.filter(|ca| !ca.as_os_str().is_empty());
    let file = match (url, ca, path()) {
        (Some(_), Some(_), _) | (_, _, None) => File::default(),
        (_, _, Some(path)) => read(&path)?,
    };
    let trust = match ca.or(file.ca.as_deref()) {
        Some(ca) => Trust::read(ca)?,
        None => Trust::default(),
    };
    Director::trusting(url.or(file.url.as_deref()).unwrap_or(DEFAULT_URL), &trust)
}

/// Path of the configuration file: `ATQ_CLI_CONFIG`, else `atq/config.yaml` in the user's configuration directory.
pub fn path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ATQ_CLI_CONFIG").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.config_dir().join("atq").join("config.yaml"))
}

fn read(path: &Path) -> Result<File, CliError> {
    let problem = |what: String| format!("the configuration file `{}` {what}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => {
            let message = problem(format!("cannot be read: {error}"));
            return Err(CliError::usage(message, ""));
        }
    };
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let mut file: File = serde_saphyr::from_str(&text).map_err(|error| {
        let message = problem(format!("is invalid: {error}"));
        CliError::usage(message, format!("example:\n{EXAMPLE}"))
    })?;
    // A relative path is relative to the configuration file.
    let dir = path.parent().unwrap_or(Path::new(""));
    file.ca = file.ca.map(|ca| dir.join(ca));
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(text: &str) -> Result<File, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn arguments_override_the_file() {
        let given = director(Some("http://a:1"), None).unwrap();
        assert_eq!(given.url(), "http://a:1");
        let error = director(Some("http://a:1"), Some(Path::new("/no/such.pem"))).unwrap_err();
        assert!(error.to_string().contains("/no/such.pem"), "{error}");
    }

    #[test]
    fn the_file_sets_url_and_ca() {
        let complete = file(EXAMPLE).unwrap();
        assert_eq!(complete.url.unwrap(), "https://director.example.com:8443");
        assert_eq!(complete.ca.unwrap(), Path::new("/etc/ssl/director.pem"));
        let beside = file("ca: director.pem").unwrap().ca.unwrap();
        assert!(
            beside.is_absolute() && beside.ends_with("director.pem"),
            "{beside:?}"
        );
        assert_eq!(file("").unwrap().url, None);
        assert_eq!(read(Path::new("/no/such/file")).unwrap().url, None);
    }

    #[test]
    fn an_invalid_file_is_named() {
        let error = file("ulr: http://a:1").unwrap_err();
        assert!(error.to_string().contains("config.yaml"), "{error}");
        assert!(error.hint().contains("url:"), "{error:?}");
    }
}
