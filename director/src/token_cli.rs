//! `atq-director token`: creates, lists and revokes tokens, with or without a running Director.

mod control;

use crate::args::{TokenCommand, TokenRoleArg, print};
use crate::audit::{Audit, Entry, Outcome};
use crate::tokens::{Tokens, wire};
use anyhow::{Context, anyhow, bail};
use atq_access::TokenId;
use atq_api_spec::token::{TokenCreate, TokenCreated, TokenInfo, TokenList, TokenRole};
use atq_retry::{Deadline, Pauses, retry};
use atq_store::{Store, StoreError};
use control::Control;
use rustix::process::geteuid;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use thiserror::Error;

/// Name of the control socket in `datadir`.
const CONTROL_SOCKET: &str = "control.sock";
/// Retry time while the Director is starting or shutting down; a shutdown takes some 3 s.
const RETRY_FOR: Duration = Duration::from_secs(8);
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(1),
};

/// Runs `command` on the tokens of the Director with this `datadir`. Blocks the thread.
pub fn run(datadir: &Path, command: TokenCommand) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(perform(datadir, command)));
    result.unwrap_or_else(|error| {
        eprintln!("atq-director: {error:#}");
        ExitCode::FAILURE
    })
}

/// The Director is starting or shutting down: the command can be repeated.
#[derive(Debug, Error)]
#[error("{0}")]
struct Unavailable(String);

/// Opens the tokens and calls `work`, again while the Director is starting or shutting down.
async fn with_tokens<T, Fut>(datadir: &Path, work: impl Fn(TokenAccess) -> Fut) -> anyhow::Result<T>
where
    Fut: Future<Output = anyhow::Result<T>>,
{
    let attempt = async || work(TokenAccess::open(datadir).await?).await;
    let is_temporary = |error: &anyhow::Error| error.is::<Unavailable>();
    retry(PAUSES, Deadline::after(RETRY_FOR), attempt, is_temporary).await
}

async fn perform(datadir: &Path, command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create {
            name,
            role,
            expires,
        } => {
            let wanted = TokenCreate {
                name,
                role: role.into(),
                expires_in: Some(expires),
            };
            let create = |access: TokenAccess| access.create(wanted.clone());
            let created = with_tokens(datadir, create).await?;
            let printed = print(&format!("{}\n", created.token));
            eprintln!("{}", explain(&created));
            Ok(printed)
        }
        TokenCommand::List { json } => {
            let list = with_tokens(datadir, TokenAccess::list).await?;
            let text = match json {
                true => serde_json::to_string_pretty(&list)? + "\n",
                false => table(&list.tokens),
            };
            Ok(print(&text))
        }
        TokenCommand::Revoke { id } => {
            // The argument may contain a secret, so it is not shown.
            let id = TokenId::parse(&id).map_err(|_| {
                anyhow!("the argument is not the id of a token: expected ten hexadecimal digits, as `atq-director token list` shows them")
            })?;
            with_tokens(datadir, |access| access.revoke(&id)).await?;
            eprintln!("token {id} is revoked");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The tokens of a Director.
enum TokenAccess {
    /// The Director runs.
    Running(Control),
    /// It does not: the store is open here.
    Stopped { tokens: Tokens, audit: Audit },
}

impl TokenAccess {
    async fn open(datadir: &Path) -> anyhow::Result<Self> {
        let socket = datadir.join(CONTROL_SOCKET);
        match Control::connect(&socket).await {
            Ok(control) => Ok(Self::Running(control)),
            // A Director that was killed leaves its socket.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Self::open_store(datadir)
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot connect to `{}` (run this command as the user of the Director)",
                    socket.display()
                )
            }),
        }
    }

    fn open_store(datadir: &Path) -> anyhow::Result<Self> {
        prepare(datadir).with_context(|| format!("cannot use `{}`", datadir.display()))?;
        let store = match Store::open(&datadir.join("state")) {
            Err(StoreError::Locked { .. }) => bail!(Unavailable(format!(
                "a Director runs on `{}`, but does not accept connections at `{CONTROL_SOCKET}` there\n(is it just starting or shutting down, or of an earlier version?)",
                datadir.display()
            ))),
            opened => opened?,
        };
        Ok(Self::Stopped {
            tokens: Tokens::load(store)?,
            audit: Audit::open(datadir)?,
        })
    }

    async fn create(self, wanted: TokenCreate) -> anyhow::Result<TokenCreated> {
        match self {
            Self::Running(mut control) => {
                let body = serde_json::to_vec(&wanted)?;
                let answer = control.request("POST", "/token", body).await?;
                serde_json::from_slice(&answer).context("the Director's answer is invalid")
            }
            Self::Stopped { tokens, audit } => {
                let wanted = wire::requested(wanted).map_err(|reason| anyhow!(reason))?;
                let (token, record) = tokens.create(wanted).await?;
                note(&audit, "POST", "/token".to_owned(), &record.id, 201).await;
                Ok(wire::created(&token, record))
            }
        }
    }

    async fn list(self) -> anyhow::Result<TokenList> {
        match self {
            Self::Running(mut control) => {
                let answer = control.request("GET", "/token", Vec::new()).await?;
                serde_json::from_slice(&answer).context("the Director's answer is invalid")
            }
            Self::Stopped { tokens, .. } => {
                let tokens = tokens.list().into_iter().map(wire::info).collect();
                Ok(TokenList { tokens })
            }
        }
    }

    async fn revoke(self, id: &TokenId) -> anyhow::Result<()> {
        let path = format!("/token/{id}");
        match self {
            Self::Running(mut control) => {
                control.request("DELETE", &path, Vec::new()).await?;
            }
            Self::Stopped { tokens, audit } => {
                if tokens.revoke(id).await?.is_none() {
                    bail!("there is no token `{id}`\n(`atq-director token list` lists the ids)");
                }
                note(&audit, "DELETE", path, id, 204).await;
            }
        }
        Ok(())
    }
}

/// Creates the directory, unless it exists. Files of another user, also of root, would be unusable for the Director.
fn prepare(datadir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(datadir)?;
    let owner = std::fs::metadata(datadir)?.uid();
    match owner == geteuid().as_raw() {
        true => Ok(()),
        false => Err(io::Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "it belongs to the user with the id {owner}; run this command as that user, or while the Director runs"
            ),
        )),
    }
}

/// Notes a change in the audit log, as the Director does for requests.
async fn note(audit: &Audit, method: &str, path: String, id: &TokenId, status: u16) {
    audit.add(Entry {
        outcome: Outcome::Changed,
        name: Some(format!("uid:{}", geteuid().as_raw())),
        role: Some("admin"),
        via: Some("control"),
        token: None,
        peer: "command".to_owned(),
        method: method.to_owned(),
        path,
        on: Some(id.to_string()),
        status,
        code: None,
    });
    audit.flush().await;
}

impl From<TokenRoleArg> for TokenRole {
    fn from(role: TokenRoleArg) -> Self {
        match role {
            TokenRoleArg::Viewer => Self::Viewer,
            TokenRoleArg::Runner => Self::Runner,
            TokenRoleArg::Admin => Self::Admin,
        }
    }
}

fn role_name(role: TokenRole) -> &'static str {
    match role {
        TokenRole::Viewer => "viewer",
        TokenRole::Runner => "runner",
        TokenRole::Admin => "admin",
    }
}

fn explain(created: &TokenCreated) -> String {
    let expires = match &created.expires {
        Some(time) => format!("it expires at {time}"),
        None => "it never expires".to_owned(),
    };
    format!(
        "created the token {} of `{}` with the role `{}`; {expires}\nThis is the only time that it is shown. Clients send it in the header `Authorization: Bearer <token>`, `atq` takes it from ATQ_TOKEN.\n`atq-director token revoke {}` revokes it.",
        created.id,
        created.name,
        role_name(created.role),
        created.id
    )
}

/// The tokens as a table.
fn table(tokens: &[TokenInfo]) -> String {
    let header = [
        "ID",
        "NAME",
        "ROLE",
        "CREATED",
        "EXPIRES",
        "LAST USED",
        "REVOKED",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    let time = |time: &Option<String>, absent: &str| time.clone().unwrap_or(absent.to_owned());
    rows.extend(tokens.iter().map(|token| {
        [
            token.id.clone(),
            token.name.clone(),
            role_name(token.role).to_owned(),
            token.created.clone(),
            time(&token.expires, "never"),
            time(&token.last_used, "never"),
            time(&token.revoked, "-"),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
