//! `atq context`.

use crate::args::{ContextAction, Contexts as Args};
use crate::contexts::Contexts;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use crate::settings::Sources;
use crate::table::{NO_VALUE, table};
use serde::Serialize;
use std::path::Path;

/// The `--json` document.
#[derive(Debug, Serialize)]
struct Listed {
    /// Name of the current context.
    current: Option<String>,
    /// The contexts.
    contexts: Vec<Row>,
}

/// A context without its secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    /// URL without user and password.
    url: String,
    /// Id of the token.
    token_id: Option<String>,
    ca: Option<String>,
}

/// Lists, selects or removes contexts. With `--json` every action prints the contexts.
///
/// # Errors
/// When there is no context of the given name, or the file cannot be read or written.
pub fn context(sources: &Sources, args: &Args, out: Out) -> Result<Exit, CliError> {
    let mut contexts = sources.stored()?;
    match &args.action {
        ContextAction::List => {
            if let Some(warning) = file(sources).ok().and_then(|path| contexts.warning(path)) {
                out.warning(warning);
            }
            let listed = listed(&contexts);
            match listed.contexts.is_empty() {
                true => out.progress("no contexts; `atq login URL` creates one"),
                false => lines(&listed).iter().for_each(|line| out.line(line)),
            }
        }
        ContextAction::Use { name } => {
            contexts.current = Some(contexts.named(name)?.name.clone());
            contexts.write(file(sources)?)?;
            out.line(name);
        }
        ContextAction::Rm { names } => {
            for name in names {
                contexts.named(name)?;
            }
            for name in names {
                contexts.remove(name);
                out.line(name);
            }
            contexts.write(file(sources)?)?;
        }
    }
    out.result(&listed(&contexts));
    Ok(Exit::Pass)
}

/// Path of the file with the contexts.
///
/// # Errors
/// When there is no place for it.
pub fn file(sources: &Sources) -> Result<&Path, CliError> {
    sources.contexts.as_deref().ok_or_else(|| {
        CliError::usage(
            "there is no directory for contexts",
            "set `HOME`, or `ATQ_CLI_CONFIG` to the path of a configuration file; in pipelines use `ATQ_URL` and \
             `ATQ_TOKEN` instead",
        )
    })
}

fn listed(contexts: &Contexts) -> Listed {
    let rows = contexts.contexts.iter().map(|context| Row {
        name: context.name.clone(),
        url: context.redacted_url(),
        token_id: match context.client_token() {
            Ok(token) => token.map(|own| own.token.id().to_string()),
            Err(_) => Some("invalid".to_owned()),
        },
        ca: context.ca.as_ref().map(|path| path.display().to_string()),
    });
    Listed {
        current: contexts.current.clone(),
        contexts: rows.collect(),
    }
}

fn lines(listed: &Listed) -> Vec<String> {
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| NO_VALUE.to_owned());
    let rows: Vec<_> = listed
        .contexts
        .iter()
        .map(|row| {
            let is_current = listed.current.as_deref() == Some(&row.name);
            [
                if is_current { "*" } else { "" }.to_owned(),
                row.name.clone(),
                row.url.clone(),
                cell(&row.token_id),
                cell(&row.ca),
            ]
        })
        .collect();
    table(["", "NAME", "URL", "TOKEN", "CA"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::StoredContext;
    use crate::token::tests::token;

    #[test]
    fn contexts_are_a_table_without_secrets() {
        let mut contexts = Contexts::default();
        let context = |name: &str, url: &str, token| StoredContext {
            name: name.to_owned(),
            url: url.to_owned(),
            token,
            ca: None,
        };
        contexts.put(context("local", "unix:///run/atq/atq.sock", None));
        let url = "https://me:hunter2@director.example.com";
        contexts.put(context("prod", url, Some(token(255).reveal())));
        insta::assert_snapshot!(lines(&listed(&contexts)).join("\n"), @"
           NAME   URL                           TOKEN       CA
           local  unix:///run/atq/atq.sock      -           -
        *  prod   https://director.example.com  01020304ff  -
        ");
    }
}
