//! Where the Director is: the command line, else the environment, else the configuration file, else
//! this machine.

use crate::trouble::Trouble;
use etcetera::BaseStrategy;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where a Director listens that is not configured otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// What a configuration file may say.
const EXAMPLE: &str = "url: http://director.example.com:8080";

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    url: Option<String>,
}

/// The URL of the Director; `given` is what the command line or the environment say.
///
/// # Errors
/// When the configuration file cannot be used.
pub fn url(given: Option<&str>) -> Result<String, Trouble> {
    if let Some(url) = given.filter(|url| !url.is_empty()) {
        return Ok(url.to_owned());
    }
    let configured = match path() {
        Some(path) => read(&path)?.url,
        None => None,
    };
    Ok(configured.unwrap_or_else(|| DEFAULT_URL.to_owned()))
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
    serde_saphyr::from_str(&text).map_err(|error| {
        let message = format!(
            "the configuration file `{}` cannot be used: {error}",
            path.display()
        );
        Trouble::usage(message, format!("a whole one: `{EXAMPLE}`"))
    })
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
        assert_eq!(url(Some("http://a:1")).unwrap(), "http://a:1");
    }

    #[test]
    fn the_file_says_where_the_director_is() {
        assert_eq!(
            file(EXAMPLE).unwrap().url.unwrap(),
            "http://director.example.com:8080"
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
