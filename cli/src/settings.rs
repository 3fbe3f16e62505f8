//! The Director and the token: from the command line, else the environment, else a context, else the configuration file,
//! else the default.

use crate::args::Connection;
use crate::contexts::{Contexts, StoredContext, path_beside};
use crate::director::{Director, is_same_url};
use crate::error::CliError;
use crate::out::Out;
use crate::socket;
use crate::token::{self, ClientToken};
use crate::trust::Trust;
use etcetera::BaseStrategy;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// URL of a Director with default configuration on this machine.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// An example of a configuration file.
const EXAMPLE: &str = "url: https://director.example.com:8443\nca: /etc/ssl/director.pem";
/// The environment variable with the URL.
const URL_VARIABLE: &str = "ATQ_URL";
/// The environment variable with the name of a context.
const CONTEXT_VARIABLE: &str = "ATQ_CONTEXT";

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    url: Option<String>,
    ca: Option<PathBuf>,
}

/// The values of environment variables, by name.
type Variables = dyn Fn(&str) -> Option<String>;

/// The environment and the files that the settings are read from.
pub struct Sources {
    variable: Box<Variables>,
    /// The configuration file.
    configuration: Option<PathBuf>,
    /// The file with the contexts.
    pub contexts: Option<PathBuf>,
}

impl Sources {
    /// Those of this process.
    pub fn of_process() -> Self {
        // A variable that is not UTF-8 must not count as missing.
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Self::new(variable, path())
    }

    fn new(
        variable: impl Fn(&str) -> Option<String> + 'static,
        configuration: Option<PathBuf>,
    ) -> Self {
        Self {
            variable: Box::new(variable),
            contexts: configuration.as_deref().and_then(path_beside),
            configuration,
        }
    }

    /// The value of an environment variable, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// The stored contexts.
    ///
    /// # Errors
    /// When the file is invalid.
    pub fn stored(&self) -> Result<Contexts, CliError> {
        match &self.contexts {
            Some(path) => Contexts::read(path),
            None => Ok(Contexts::default()),
        }
    }

    /// The name of the context that the command line or the environment names.
    pub fn context_name(&self, given: &Connection) -> Option<String> {
        let flag = given.context.clone();
        flag.or_else(|| self.variable(CONTEXT_VARIABLE))
    }
}

/// How to reach a Director.
#[derive(Debug)]
pub struct Settings {
    /// Its URL; `None` for the default.
    pub url: Option<String>,
    /// Additional trusted certificates.
    pub ca: Option<PathBuf>,
    /// The token.
    pub token: Option<ClientToken>,
    /// Name of the context that has the URL.
    pub context: Option<String>,
    /// Warnings.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Determines the settings for the arguments of the command line.
    ///
    /// # Errors
    /// When a file or a token is invalid, or there is no context of the given name.
    pub fn resolve(given: &Connection, sources: &Sources) -> Result<Self, CliError> {
        let url = given.url.clone().filter(|url| !url.is_empty());
        let token = explicit_token(given, sources)?;
        let mut warnings = Vec::new();
        let is_complete = url.is_some() && token.is_some() && given.context.is_none();
        let contexts = match is_complete {
            true => Contexts::default(),
            false => sources.stored()?,
        };
        if let Some(path) = &sources.contexts {
            warnings.extend(contexts.warning(path));
        }
        let ca = given.ca.clone().filter(|ca| !ca.as_os_str().is_empty());
        let file = match (&url, &ca, &sources.configuration) {
            (Some(_), Some(_), _) | (_, _, None) => File::default(),
            (_, _, Some(path)) => read(path)?,
        };
        let (url, context) = address(given, sources, &contexts, url, file.url)?;
        // The token of a context is sent only to the Director of that context. For a context that the command line names, it
        // precedes the token of the environment, which may be for another Director.
        let stored = context
            .map(StoredContext::client_token)
            .transpose()?
            .flatten();
        let token = match given.context.is_some() && given.token_file.is_none() {
            true => stored.or(token),
            false => token.or(stored),
        };
        Ok(Self {
            ca: ca
                .or_else(|| context.and_then(|context| context.ca.clone()))
                .or(file.ca),
            context: context.map(|context| context.name.clone()),
            url,
            token,
            warnings,
        })
    }

    /// A client for the Director with these settings. Prints the warnings.
    ///
    /// # Errors
    /// When the certificates or the URL are invalid.
    pub async fn director(self, out: Out) -> Result<Director, CliError> {
        let trust = match &self.ca {
            Some(ca) => Trust::read(ca)?,
            None => Trust::default(),
        };
        let url = match self.url {
            Some(url) => url,
            None => default_url(Path::new(socket::DEFAULT_PATH)).await,
        };
        let director = Director::trusting(&url, &trust)?.with_token(self.token);
        if director.has_token() && director.is_unencrypted() {
            out.warning(token::unencrypted(director.url()));
        }
        self.warnings
            .iter()
            .for_each(|warning| out.warning(warning));
        Ok(director)
    }
}

/// The URL and the context to which it belongs, in the order of precedence.
fn address<'a>(
    given: &Connection,
    sources: &Sources,
    contexts: &'a Contexts,
    url: Option<String>,
    configured: Option<String>,
) -> Result<(Option<String>, Option<&'a StoredContext>), CliError> {
    let of_context = |context: &'a StoredContext| (Some(context.url.clone()), Some(context));
    let of_url = |url: String| {
        let context = contexts.of_url(&url);
        (Some(url), context)
    };
    if let Some(name) = &given.context {
        let context = contexts.named(name)?;
        return match url {
            Some(url) if !is_same_url(&url, &context.url) => Err(CliError::usage(
                format!("`--url` is not the URL of the context `{name}`"),
                "use one of `--url` and `--context`",
            )),
            _ => Ok(of_context(context)),
        };
    }
    if let Some(url) = url.or_else(|| sources.variable(URL_VARIABLE)) {
        return Ok(of_url(url));
    }
    if let Some(name) = sources.variable(CONTEXT_VARIABLE) {
        return Ok(of_context(contexts.named(&name)?));
    }
    if let Some(context) = contexts
        .current
        .as_deref()
        .and_then(|name| contexts.find(name))
    {
        return Ok(of_context(context));
    }
    Ok(configured.map_or((None, None), of_url))
}

/// The token of the command line or the environment.
fn explicit_token(given: &Connection, sources: &Sources) -> Result<Option<ClientToken>, CliError> {
    if let Some(path) = &given.token_file {
        return ClientToken::read(path).map(Some);
    }
    if let Some(text) = sources.variable(token::VARIABLE) {
        return ClientToken::parse(&text, format!("`{}`", token::VARIABLE)).map(Some);
    }
    let path = sources.variable(token::FILE_VARIABLE);
    path.map(|path| ClientToken::read(Path::new(&path)))
        .transpose()
}

/// The socket of the packages if a Director listens there, else the default port.
async fn default_url(packaged: &Path) -> String {
    match socket::is_usable(packaged).await {
        true => socket::url_of(packaged),
        false => DEFAULT_URL.to_owned(),
    }
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
mod tests;
