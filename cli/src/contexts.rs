//! Contexts: Directors with their tokens, stored by `atq login` in `contexts.json`, beside the configuration file. Only its
//! owner can read the file.

use crate::director::{is_same_url, redacted_url};
use crate::error::CliError;
use crate::table::NO_VALUE;
use crate::token::ClientToken;
use atq_files::{Mode, if_there, write_atomic};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Name of the file.
const FILE_NAME: &str = "contexts.json";
/// Maximum length of a name.
const MAX_NAME: usize = 100;

/// A Director with its token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredContext {
    /// Its name.
    pub name: String,
    /// URL of the Director.
    pub url: String,
    /// The token; absent after a logout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Additional trusted certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl fmt::Debug for StoredContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token; a URL may contain a password.
        f.debug_struct("StoredContext")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl StoredContext {
    /// The token, if there is one.
    ///
    /// # Errors
    /// When it does not have the form of a token.
    pub fn client_token(&self) -> Result<Option<ClientToken>, CliError> {
        let source = format!("the context `{}`", self.name);
        let token = self.token.as_deref();
        token
            .map(|text| ClientToken::parse(text, source))
            .transpose()
    }

    /// The URL without user and password.
    pub fn redacted_url(&self) -> String {
        redacted_url(&self.url).unwrap_or_else(|_| NO_VALUE.to_owned())
    }
}

/// The content of the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Contexts {
    /// Name of the context that is used by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The contexts, by name.
    #[serde(default)]
    pub contexts: Vec<StoredContext>,
}

/// Path of the file, beside the configuration file. There is none when the configuration is not a regular file, such as
/// `/dev/null`.
pub fn path_beside(configuration: &Path) -> Option<PathBuf> {
    let is_special = configuration
        .metadata()
        .is_ok_and(|metadata| !metadata.is_file());
    (!is_special).then(|| configuration.with_file_name(FILE_NAME))
}

impl Contexts {
    /// Reads the file; without it there are no contexts.
    ///
    /// # Errors
    /// When the file cannot be read, or is invalid.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = if_there(std::fs::read(path)).map_err(|error| {
            CliError::usage(format!("`{}` cannot be read: {error}", path.display()), "")
        })?;
        let Some(text) = text else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&text).map_err(|error| {
            // The message of an error about a type quotes the value, which may be a token.
            let (line, column) = (error.line(), error.column());
            CliError::usage(
                format!(
                    "`{}` is invalid at line {line}, column {column}",
                    path.display()
                ),
                "repair it, or remove it and log in again: `atq login URL`",
            )
        })
    }

    /// Replaces the file. Only its owner can read it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CliError> {
        let unwritable = |error: &dyn fmt::Display| {
            CliError::failed(
                format!("`{}` cannot be written: {error}", path.display()),
                "",
            )
        };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| unwritable(&error))?;
        text.push(b'\n');
        write_atomic(path, &text, Mode::Private).map_err(|error| unwritable(&error))
    }

    /// A warning if other users can read tokens in the file.
    pub fn warning(&self, path: &Path) -> Option<String> {
        let has_token = self.contexts.iter().any(|context| context.token.is_some());
        let mode = path.metadata().ok()?.permissions().mode() & 0o777;
        (has_token && mode & 0o077 != 0).then(|| {
            let path = path.display();
            format!("`{path}` has tokens and can be accessed by other users (mode {mode:o}): run `chmod 600 {path}`")
        })
    }

    /// The context of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, name: &str) -> Result<&StoredContext, CliError> {
        self.find(name).ok_or_else(|| {
            let known: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
            let hint = match known.is_empty() {
                true => "there is no context yet: `atq login URL` creates one".to_owned(),
                false => format!("known contexts: {}", known.join(", ")),
            };
            CliError::usage(
                format!("there is no context `{}`", name.escape_debug()),
                hint,
            )
        })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().map(|context| context.name.as_str())
    }

    /// The context of this name, if it exists.
    pub fn find(&self, name: &str) -> Option<&StoredContext> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// The context of the Director at `url`; the current one if there are several.
    pub fn of_url(&self, url: &str) -> Option<&StoredContext> {
        let current = self.current.as_deref().and_then(|name| self.find(name));
        let mut all = current.into_iter().chain(&self.contexts);
        all.find(|context| is_same_url(&context.url, url))
    }

    /// Stores a context, and makes it the current one.
    pub fn put(&mut self, context: StoredContext) {
        self.current = Some(context.name.clone());
        self.contexts.retain(|other| other.name != context.name);
        self.contexts.push(context);
        self.contexts.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Removes the token of a context; returns whether it had one.
    pub fn forget_token(&mut self, name: &str) -> bool {
        let mut contexts = self.contexts.iter_mut();
        let context = contexts.find(|context| context.name == name);
        context.is_some_and(|context| context.token.take().is_some())
    }

    /// Removes a context.
    pub fn remove(&mut self, name: &str) {
        self.contexts.retain(|context| context.name != name);
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
    }
}

/// Checks the name of a new context.
///
/// # Errors
/// When it has other characters than expected.
pub fn check_name(name: &str) -> Result<(), CliError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let is_valid = !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with('-')
        && name.bytes().all(is_allowed);
    match is_valid {
        true => Ok(()),
        false => Err(CliError::usage(
            format!("`{}` cannot be the name of a context", name.escape_debug()),
            format!(
                "1 to {MAX_NAME} letters, digits, `.`, `_`, `:` and `-`, not starting with `-`"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::token::tests::token;

    fn context(name: &str, url: &str) -> StoredContext {
        StoredContext {
            name: name.to_owned(),
            url: url.to_owned(),
            token: Some(token(1).reveal()),
            ca: None,
        }
    }

    #[test]
    fn contexts_are_stored_for_their_owner_only_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("atq/contexts.json");
        assert!(Contexts::read(&path).unwrap().contexts.is_empty());
        let mut contexts = Contexts::default();
        contexts.put(context("b", "https://b"));
        contexts.put(context("a", "https://a"));
        contexts.write(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let read = Contexts::read(&path).unwrap();
        assert_eq!(read.current.as_deref(), Some("a"));
        assert_eq!(read.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.warning(&path), None);
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&path, open).unwrap();
        let warning = read.warning(&path).unwrap();
        assert!(
            warning.contains("mode 640") && warning.contains("chmod 600"),
            "{warning}"
        );
    }

    #[test]
    fn a_context_is_found_by_its_url() {
        let mut contexts = Contexts::default();
        contexts.put(context("one", "https://a.example/api/"));
        contexts.put(context("two", "https://a.example:443"));
        let found = |contexts: &Contexts, url: &str| {
            let context = contexts.of_url(url);
            context.map(|context| context.name.clone())
        };
        assert_eq!(
            found(&contexts, "https://A.example").as_deref(),
            Some("two")
        );
        contexts.current = Some("one".to_owned());
        assert_eq!(
            found(&contexts, "https://a.example").as_deref(),
            Some("one")
        );
        for other in [
            "http://a.example",
            "https://a.example:8443",
            "https://b.example",
            "x",
        ] {
            assert_eq!(found(&contexts, other), None, "{other}");
        }
    }

    #[test]
    fn the_current_context_ends_with_its_removal() {
        let mut contexts = Contexts::default();
        contexts.put(context("a", "https://a"));
        assert!(contexts.forget_token("a"));
        assert!(!contexts.forget_token("a"));
        contexts.remove("a");
        assert!(contexts.current.is_none() && contexts.contexts.is_empty());
        assert!(
            contexts
                .named("a")
                .unwrap_err()
                .hint()
                .contains("atq login")
        );
    }

    #[test]
    fn neither_debug_output_nor_an_error_contains_a_token() {
        let mut contexts = Contexts::default();
        contexts.put(context("a", "https://me:hunter2@a"));
        let shown = format!("{contexts:?} {}", contexts.contexts[0].redacted_url());
        assert!(
            !shown.contains("hunter2") && !shown.contains(&token(1).reveal()),
            "{shown}"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contexts.json");
        std::fs::write(&path, r#"{"contexts": "hunter2"}"#).unwrap();
        let error = Contexts::read(&path).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error}");
    }

    #[test]
    fn names_are_restricted() {
        for name in ["prod", "director.example.com:8443", "a_b-1"] {
            check_name(name).unwrap();
        }
        for name in ["", "-a", "a b", "a/b", "a\u{1b}"] {
            check_name(name).unwrap_err();
        }
    }

    #[test]
    fn a_device_as_configuration_has_no_contexts() {
        assert_eq!(path_beside(Path::new("/dev/null")), None);
        let missing = path_beside(Path::new("/no/such/config.yaml"));
        assert_eq!(missing.unwrap(), Path::new("/no/such/contexts.json"));
    }
}
