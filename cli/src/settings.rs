//! Where the Director is: the command line, else the environment, else the configuration file, else
//! this machine.

use crate::director::Director;
use crate::trouble::Trouble;
use crate::trust::Trust;
use etcetera::BaseStrategy;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where a Director listens that is not configured otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// What a configuration file may say.
const EXAMPLE: &str = "url: https://director.example.com:8443\nca: /etc/ssl/director.pem";

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    url: Option<String>,
    ca: Option<PathBuf>,
}

/// The Director; `url` and `ca` are what the command line or the environment say.
///
/// # Errors
/// When the configuration file or the certificates cannot be used, or that is no URL.
pub fn director(url: Option<&str>, ca: Option<&Path>) -> Result<Director, Trouble> {
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

/// Where the configuration file is looked for: `ATQ_CLI_CONFIG`, else `atq/config.yaml` in the user's
/// directory for configurations.
pub fn path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ATQ_CLI_CONFIG").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.config_dir().join("atq").join("config.yaml"))
}

fn read(path: &Path) -> Result<File, Trouble> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => {
            let message = format!(
                "the configuration file `{}` cannot be read: {error}",
                path.display()
            );
            return Err(Trouble::usage(message, ""));
        }
    };
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let mut file: File = serde_saphyr::from_str(&text).map_err(|error| {
        let message = format!(
            "the configuration file `{}` cannot be used: {error}",
            path.display()
        );
        Trouble::usage(message, format!("a whole one:\n{EXAMPLE}"))
    })?;
    // A path is meant from where it is written.
    file.ca = file
        .ca
        .map(|ca| path.parent().unwrap_or(Path::new("")).join(ca));
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(text: &str) -> Result<File, Trouble> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn what_is_given_wins() {
        let given = director(Some("http://a:1"), None).unwrap();
        assert_eq!(given.url(), "http://a:1");
        let trouble = director(Some("http://a:1"), Some(Path::new("/no/such.pem"))).unwrap_err();
        assert!(trouble.to_string().contains("/no/such.pem"), "{trouble}");
    }

    #[test]
    fn the_file_says_where_the_director_is() {
        let whole = file(EXAMPLE).unwrap();
        assert_eq!(whole.url.unwrap(), "https://director.example.com:8443");
        assert_eq!(whole.ca.unwrap(), Path::new("/etc/ssl/director.pem"));
        let beside = file("ca: director.pem").unwrap().ca.unwrap();
        assert!(
            beside.is_absolute() && beside.ends_with("director.pem"),
            "{beside:?}"
        );
        assert_eq!(file("").unwrap().url, None);
        assert_eq!(read(Path::new("/no/such/file")).unwrap().url, None);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let trouble = file("ulr: http://a:1").unwrap_err();
        assert!(trouble.to_string().contains("config.yaml"), "{trouble}");
        assert!(trouble.hint().contains("url:"), "{trouble:?}");
    }
}
