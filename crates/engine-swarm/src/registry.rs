//! Credentials for the registries of private images: from `registryAuth` of the configuration, else from Docker's
//! `config.json`, as `docker login` writes it. They are read at each use, so that a login or a rotated password takes
//! effect without a restart. Passwords never appear in output.

use atq_task::image::{self, HUB};
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The name of Docker Hub in `config.json` and in credentials sent to Docker.
const HUB_SERVER: &str = "https://index.docker.io/v1/";
/// Timeout for reading `config.json`, including the helper programs that it names.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest excerpt of a helper's error message, in characters.
const MAX_EXCERPT: usize = 200;

/// Text that never appears in output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Use it only where it is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The configuration's logins, by registry: `registry.example.com:5000`, `docker.io`.
pub type RegistryAuth = BTreeMap<String, Login>;

/// One login of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Password,
}

/// The location of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// In the configuration, or in an environment variable that it names.
    Text(Secret),
    /// In a file, without the trailing newline. Read at each use.
    File(PathBuf),
}

/// A credential for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The registry's name as Docker expects it.
    pub server: String,
    /// User and password, or token.
    pub secrets: Secrets,
    /// The source of the credential.
    pub source: Source,
}

/// The secret part of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secrets {
    /// A user name and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token instead of both.
    IdentityToken(Secret),
}

/// The source of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the Director's own configuration.
    RegistryAuth,
    /// In a `config.json` of Docker's.
    DockerConfig(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RegistryAuth => f.write_str("`registryAuth`"),
            Self::DockerConfig(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// The reason why configured credentials cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be used: {reason}", .path.display())]
pub struct CredentialError {
    /// The file.
    pub path: PathBuf,
    /// The problem; never contains the file's content.
    pub reason: String,
}

/// Docker's `config.json`.
#[derive(Debug, Clone)]
struct ConfigFile {
    path: PathBuf,
    /// Whether the file is configured explicitly, so that it must exist.
    required: bool,
}

/// All configured credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    logins: RegistryAuth,
    file: Option<ConfigFile>,
    timeout: Duration,
    /// Serializes reads, so that a helper program that hangs blocks one thread, not one for each image.
    lock: Arc<Mutex<()>>,
}

impl Credentials {
    /// No credentials.
    pub fn none() -> Self {
        Self {
            logins: RegistryAuth::new(),
            file: None,
            timeout: TIMEOUT,
            lock: Arc::default(),
        }
    }

    /// The credentials of the configuration, and of the configured file, else of `$DOCKER_CONFIG/config.json` or
    /// `~/.docker/config.json`.
    pub fn new(logins: RegistryAuth, docker_config: Option<PathBuf>) -> Self {
        let required = docker_config.is_some();
        let path = docker_config.or_else(default_file);
        Self {
            logins,
            file: path.map(|path| ConfigFile { path, required }),
            ..Self::none()
        }
    }

    /// The credential for the registry of an image; `None` if none is configured.
    ///
    /// # Errors
    /// [`CredentialError`] when a file or a helper program fails.
    pub async fn for_image(&self, image: &str) -> Result<Option<Credential>, CredentialError> {
        let registry = image::registry(image);
        match (self.logins.get(registry), &self.file) {
            (Some(login), _) => Ok(Some(login.credential(registry).await?)),
            (None, Some(file)) => self.in_file(file, registry).await,
            (None, None) => Ok(None),
        }
    }

    async fn in_file(
        &self,
        file: &ConfigFile,
        registry: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let (wanted, server) = (file.clone(), server(registry).to_owned());
        let lock = Arc::clone(&self.lock);
        // Helper programs block the thread.
        let read = timeout(self.timeout, async {
            let lock = lock.lock_owned().await;
            tokio::task::spawn_blocking(move || {
                let found = wanted.look_up(&server);
                drop(lock);
                found
            })
            .await
        });
        match read.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => Err(file.fault(error.to_string())),
            Err(_) => Err(file.fault(format!(
                "neither the file nor a credential helper answered within {} s",
                self.timeout.as_secs()
            ))),
        }
    }
}

fn server(registry: &str) -> &str {
    match registry {
        HUB => HUB_SERVER,
        other => other,
    }
}

fn default_file() -> Option<PathBuf> {
    let given = std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty());
    let dir = given
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".docker")));
    dir.map(|dir| dir.join("config.json"))
}

impl Login {
    async fn credential(&self, registry: &str) -> Result<Credential, CredentialError> {
        let password = match &self.password {
            Password::Text(secret) => secret.clone(),
            Password::File(path) => read_password(path).await?,
        };
        Ok(Credential {
            server: server(registry).to_owned(),
            secrets: Secrets::Password {
                username: self.username.clone(),
                password,
            },
            source: Source::RegistryAuth,
        })
    }
}

async fn read_password(path: &Path) -> Result<Secret, CredentialError> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| CredentialError {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

impl ConfigFile {
    fn fault(&self, reason: impl Into<String>) -> CredentialError {
        CredentialError {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    /// Blocks the thread.
    fn look_up(&self, server: &str) -> Result<Option<Credential>, CredentialError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.required => {
                return Ok(None);
            }
            Err(error) => return Err(self.fault(error.to_string())),
        };
        // The library does not report the position of an error. Such an error contains no values.
        serde_json::from_slice::<serde::de::IgnoredAny>(&text)
            .map_err(|error| self.fault(format!("it is not JSON: {error}")))?;
        match get_credential_from_reader(text.as_slice(), server) {
            Ok(found) => Ok(Some(Credential {
                server: server.to_owned(),
                secrets: found.into(),
                source: Source::DockerConfig(self.path.clone()),
            })),
            Err(error) => explain(error).map_or(Ok(None), |reason| Err(self.fault(reason))),
        }
    }
}

impl From<DockerCredential> for Secrets {
    fn from(found: DockerCredential) -> Self {
        match found {
            DockerCredential::IdentityToken(token) => Self::IdentityToken(Secret(token)),
            DockerCredential::UsernamePassword(username, password) => Self::Password {
                username,
                password: Secret(password),
            },
        }
    }
}

/// The reason of the failure; `None` if there is no credential.
fn explain(error: CredentialRetrievalError) -> Option<String> {
    use CredentialRetrievalError::{
        CredentialDecodingError, CredentialMismatchError, HelperCommunicationError, HelperFailure,
        MalformedHelperResponse, NoCredentialConfigured,
    };
    let reason = match error {
        NoCredentialConfigured => return None,
        HelperFailure { helper, stdout, .. } => {
            // Helpers report errors on standard output; this text is their error for a missing credential.
            if stdout.contains("credentials not found") {
                return None;
            }
            format!(
                "the credential helper `{helper}` failed{}",
                excerpt(&stdout)
            )
        }
        HelperCommunicationError => {
            "cannot run the credential helper that it names: is `docker-credential-*` on the PATH?"
                .to_owned()
        }
        MalformedHelperResponse => {
            "the credential helper that it names returned no username and secret".to_owned()
        }
        CredentialDecodingError => {
            "the registry's `auth` is not `user:password` in base64".to_owned()
        }
        CredentialMismatchError => {
            "the registry's `auth` contradicts its `username` and `password`".to_owned()
        }
        _ => "it is not in the format of `docker login`".to_owned(),
    };
    Some(reason)
}

/// A helper's error message; empty if it looks like an answer, which would contain the password.
fn excerpt(stdout: &str) -> String {
    let text = stdout.trim();
    match text.is_empty() || text.starts_with('{') {
        true => String::new(),
        false => format!(": {}", text.chars().take(MAX_EXCERPT).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
