//! The token of this client: where it comes from, and how it is sent. No error and no `Debug` output contains a secret.

use crate::error::CliError;
use atq_access::Token;
use atq_api_spec::token::TokenExchange;
use reqwest::RequestBuilder;
use reqwest::header::{self, HeaderName, HeaderValue};
use std::io::{IsTerminal, Read};
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// The environment variable with a token.
pub const VARIABLE: &str = "ATQ_TOKEN";
/// The environment variable with the path of a file that has a token.
pub const FILE_VARIABLE: &str = "ATQ_TOKEN_FILE";
/// The environment variable with the JWT of a CI job.
pub const JWT_VARIABLE: &str = "ATQ_JWT";
/// The header for a token when a proxy needs `Authorization` for itself.
pub const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-atq-token");
/// The form of a token.
const EXPECTED: &str = "a token has the form `atq_<id>_<secret>`; was it copied completely?";
/// Exit code of a program that SIGINT has ended, as in a shell.
const INTERRUPTED: i32 = 130;
/// Maximum size of a token or JWT with blanks around it.
const MAX_BYTES: u64 = 64 * 1024;

/// A token, and where it comes from, for messages.
#[derive(Debug, Clone)]
pub struct ClientToken {
    /// The token.
    pub token: Token,
    /// For example `` `ATQ_TOKEN` ``.
    pub source: String,
}

impl ClientToken {
    /// Parses a token; blanks around it are ignored.
    ///
    /// # Errors
    /// When it does not have the form of a token.
    pub fn parse(text: &str, source: impl Into<String>) -> Result<Self, CliError> {
        let source = source.into();
        match Token::parse(text.trim()) {
            Ok(token) => Ok(Self { token, source }),
            Err(_) => Err(CliError::usage(
                format!("{source} does not contain a token of a Director"),
                EXPECTED,
            )),
        }
    }

    /// Reads the token in a file.
    ///
    /// # Errors
    /// When the file cannot be read, or has no token.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let source = format!("`{}`", path.display());
        let text = std::fs::File::open(path)
            .and_then(bounded)
            .map_err(|error| {
                CliError::usage(
                    format!("the token file {source} cannot be read: {error}"),
                    "",
                )
            })?;
        Self::parse(&text, source)
    }

    /// Reads a token from the terminal, without showing it, else from standard input.
    ///
    /// # Errors
    /// When there is no token.
    pub async fn ask(prompt: String) -> Result<Self, CliError> {
        if !std::io::stdin().is_terminal() {
            return Self::parse(&piped("a token")?, "standard input");
        }
        // With a handler, SIGINT does not end this program before the terminal shows its input again.
        let interrupts = signal(SignalKind::interrupt());
        let typed = tokio::task::spawn_blocking(|| rpassword::prompt_password(prompt)).await;
        if let Ok(mut interrupts) = interrupts {
            // The handler stays installed, so the signal must end the program from here.
            tokio::spawn(async move {
                interrupts.recv().await;
                std::process::exit(INTERRUPTED);
            });
        }
        match typed {
            Ok(Ok(text)) => Self::parse(&text, "the input"),
            Ok(Err(error)) => Err(CliError::usage(
                format!("no token was entered: {error}"),
                "",
            )),
            Err(error) => Err(CliError::failed(error.to_string(), "")),
        }
    }

    /// Adds the token to a request. `has_password` is set when the URL has a user for a proxy, who needs the header
    /// `Authorization`.
    pub fn sign(&self, request: RequestBuilder, has_password: bool) -> RequestBuilder {
        let secret = self.token.reveal();
        let (name, value) = match has_password {
            true => (TOKEN_HEADER, secret),
            false => (header::AUTHORIZATION, format!("Bearer {secret}")),
        };
        // A token has only visible ASCII characters.
        match HeaderValue::try_from(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                request.header(name, value)
            }
            Err(_) => request,
        }
    }
}

/// The warning about a token that is sent without encryption.
pub fn unencrypted(url: &str) -> String {
    format!("the token is sent to `{url}` without encryption: use `https`")
}

/// Reads the JWT of a CI job: from a file, else from `ATQ_JWT`, else from standard input.
///
/// # Errors
/// When there is no JWT.
pub fn jwt(file: Option<&Path>, variable: Option<String>) -> Result<TokenExchange, CliError> {
    let (text, source) = match (file, variable) {
        (Some(path), _) => {
            let source = format!("`{}`", path.display());
            let read = std::fs::File::open(path).and_then(bounded);
            let text = read.map_err(|error| {
                CliError::usage(format!("the JWT file {source} cannot be read: {error}"), "")
            })?;
            (text, source)
        }
        (None, Some(text)) => (text, format!("`{JWT_VARIABLE}`")),
        (None, None) if std::io::stdin().is_terminal() => {
            return Err(CliError::usage(
                "the JWT is missing",
                format!("set `{JWT_VARIABLE}` or `--jwt-file FILE`, or write it to standard input"),
            ));
        }
        (None, None) => (piped("a JWT")?, "standard input".to_owned()),
    };
    let jwt = text.trim();
    let parts: Vec<&str> = jwt.split('.').collect();
    let is_part = |part: &&str| {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(is_base64)
    };
    match parts.len() == 3 && parts.iter().all(is_part) {
        true => Ok(TokenExchange {
            jwt: jwt.to_owned(),
        }),
        false => Err(CliError::usage(
            format!("{source} does not contain a JWT"),
            "expected a signed JWT, `<header>.<payload>.<signature>`; in GitLab, `id_tokens` of the job sets it",
        )),
    }
}

fn piped(what: &str) -> Result<String, CliError> {
    let text = bounded(std::io::stdin())
        .map_err(|error| CliError::usage(format!("standard input cannot be read: {error}"), ""))?;
    match text.trim().is_empty() {
        false => Ok(text),
        true => Err(CliError::usage(
            "standard input is empty",
            format!("expected {what}"),
        )),
    }
}

fn bounded(input: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    input.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
pub mod tests {
    #![allow(missing_docs, clippy::unwrap_used)]
    use super::*;

    /// A token of tests.
    pub fn token(last: u8) -> Token {
        Token::from_random([1, 2, 3, 4, last], [last; 32])
    }

    #[test]
    fn blanks_around_a_token_are_ignored() {
        let text = format!(" {}\r\n", token(7).reveal());
        let parsed = ClientToken::parse(&text, "x").unwrap();
        assert_eq!(parsed.token.reveal(), token(7).reveal());
    }

    #[test]
    fn a_malformed_token_is_a_usage_error_that_does_not_contain_it() {
        let whole = token(7).reveal();
        let cut = whole.get(..whole.len() - 3).unwrap();
        for text in ["hunter2", cut, "Bearer hunter2", ""] {
            let error = ClientToken::parse(text, "`ATQ_TOKEN`").unwrap_err();
            let shown = format!("{error} {} {error:?}", error.hint());
            assert!(text.is_empty() || !shown.contains(text), "{shown}");
            assert!(shown.contains("`ATQ_TOKEN`"), "{shown}");
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
        }
    }

    #[test]
    fn no_secret_is_in_debug_output() {
        let own = ClientToken::parse(&token(7).reveal(), "x").unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only(Vec::<reqwest::Certificate>::new())
            .build();
        let secret = token(7).reveal().splitn(3, '_').last().unwrap().to_owned();
        let jwt = jwt(None, Some("aa.hunter2.cc".to_owned())).unwrap();
        assert!(!format!("{own:?} {jwt:?}").contains("hunter2"));
        if let Ok(client) = client {
            for has_password in [true, false] {
                let request = own.sign(client.get("http://a"), has_password);
                let shown = format!(
                    "{own:?} {request:?} {:?}",
                    request.try_clone().unwrap().build()
                );
                assert!(!shown.contains(&secret), "{shown}");
            }
        }
    }

    #[test]
    fn a_text_that_is_no_jwt_is_refused_without_showing_it() {
        let given = |text: &str| jwt(None, Some(text.to_owned()));
        assert_eq!(given(" a.b-_9.c\n").unwrap().jwt, "a.b-_9.c");
        for text in [
            "hunter2",
            "hunter2.b",
            "hunter2..c",
            "a.b.hunter2 x",
            "a.b.c.hunter2",
        ] {
            let error = given(text).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, format!("{}\n", token(1).reveal())).unwrap();
        assert_eq!(ClientToken::read(&path).unwrap().token.id(), token(1).id());
        let error = ClientToken::read(&dir.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
