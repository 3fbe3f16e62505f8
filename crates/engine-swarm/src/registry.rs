//! Credentials for the registries of private images: from `registryAuth` of the configuration, else
//! from Docker's `config.json`, as `docker login` writes it. They are looked up anew at each use, so
//! that a login or a rotated password counts without a restart. Nothing here ever shows a password.

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

/// What Docker Hub is called in `config.json` and in the credentials that Docker is sent.
const HUB_SERVER: &str = "https://index.docker.io/v1/";
/// Longest wait for `config.json` with the helper programs that it names.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of a helper's complaint is shown.
const SHOWN: usize = 200;

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
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

/// Where a password stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// In the configuration, or in a variable that it names.
    Text(Secret),
    /// In a file, without the end of the line. Read at each use.
    File(PathBuf),
}

/// What a registry is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The registry as Docker wants it named.
    pub server: String,
    /// User and password, or token.
    pub proof: Proof,
    /// Where it was found.
    pub source: Source,
}

/// With what a user proves to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A name and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token in place of both.
    IdentityToken(Secret),
}

/// Where a credential was found.
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

/// Why credentials that may exist could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be used: {reason}", .path.display())]
pub struct CredentialError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; never part of its content.
    pub reason: String,
}

/// Docker's file.
#[derive(Debug, Clone)]
struct ConfigFile {
    path: PathBuf,
    /// Whether somebody named it, so that it has to be there.
    named: bool,
}

/// All that is known about credentials. Clones are cheap enough to be moved around once.
#[derive(Debug, Clone)]
pub struct Credentials {
    logins: RegistryAuth,
    file: Option<ConfigFile>,
    patience: Duration,
    /// A helper program that hangs holds up one thread, and not one for each image.
    turn: Arc<Mutex<()>>,
}

impl Credentials {
    /// None at all.
    pub fn none() -> Self {
        Self {
            logins: RegistryAuth::new(),
            file: None,
            patience: PATIENCE,
            turn: Arc::default(),
        }
    }

    /// Those of the configuration, and of the named file or else of `$DOCKER_CONFIG/config.json` or
    /// `~/.docker/config.json`.
    pub fn new(logins: RegistryAuth, docker_config: Option<PathBuf>) -> Self {
        let named = docker_config.is_some();
        let path = docker_config.or_else(default_file);
        Self {
            logins,
            file: path.map(|path| ConfigFile { path, named }),
            ..Self::none()
        }
    }

    /// The credential for the registry of an image; none if nobody has given one.
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
        let turn = Arc::clone(&self.turn);
        // Helper programs block.
        let looked_up = timeout(self.patience, async {
            let turn = turn.lock_owned().await;
            tokio::task::spawn_blocking(move || {
                let found = wanted.look_up(&server);
                drop(turn);
                found
            })
            .await
        });
        match looked_up.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => Err(file.fault(error.to_string())),
            Err(_) => Err(file.fault(format!(
                "neither the file nor a credential helper answered within {} s",
                self.patience.as_secs()
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
            proof: Proof::Password {
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

    /// Blocks.
    fn look_up(&self, server: &str) -> Result<Option<Credential>, CredentialError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.named => {
                return Ok(None);
            }
            Err(error) => return Err(self.fault(error.to_string())),
        };
        // The library does not say where it is broken. Values are not part of such an error.
        serde_json::from_slice::<serde::de::IgnoredAny>(&text)
            .map_err(|error| self.fault(format!("it is not JSON: {error}")))?;
        match get_credential_from_reader(text.as_slice(), server) {
            Ok(found) => Ok(Some(Credential {
                server: server.to_owned(),
                proof: found.into(),
                source: Source::DockerConfig(self.path.clone()),
            })),
            Err(error) => explain(error).map_or(Ok(None), |reason| Err(self.fault(reason))),
        }
    }
}

impl From<DockerCredential> for Proof {
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

/// What went wrong; none when there simply is no credential.
fn explain(error: CredentialRetrievalError) -> Option<String> {
    use CredentialRetrievalError::{
        CredentialDecodingError, CredentialMismatchError, HelperCommunicationError, HelperFailure,
        MalformedHelperResponse, NoCredentialConfigured,
    };
    let reason = match error {
        NoCredentialConfigured => return None,
        HelperFailure { helper, stdout, .. } => {
            // By their protocol helpers complain on standard output, and this is how they say no.
            if stdout.contains("credentials not found") {
                return None;
            }
            format!("the credential helper `{helper}` failed{}", shown(&stdout))
        }
        HelperCommunicationError => {
            "the credential helper that it names could not be asked: is `docker-credential-*` on the PATH?".to_owned()
        }
        MalformedHelperResponse => {
            "the credential helper that it names did not answer with a username and a secret".to_owned()
        }
        CredentialDecodingError => {
            "the registry's `auth` is not `user:password` in base64".to_owned()
        }
        CredentialMismatchError => {
            "the registry's `auth` contradicts its `username` and `password`".to_owned()
        }
        _ => "it is not as `docker login` writes it".to_owned(),
    };
    Some(reason)
}

/// A helper's complaint; nothing if it looks like an answer, which would have the password in it.
fn shown(stdout: &str) -> String {
    let text = stdout.trim();
    match text.is_empty() || text.starts_with('{') {
        true => String::new(),
        false => format!(": {}", text.chars().take(SHOWN).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
