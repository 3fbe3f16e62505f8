//! `atq swarm`.

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{FAILURE, SUCCESS};
use crate::table::NO_VALUE;
use atq_api_spec::health::Readiness;
use atq_api_spec::swarm::SwarmDetails;
use reqwest::Method;
use serde::Serialize;
use std::time::Duration;

/// Timeout of the readiness request: the Director writes to its disk before it responds.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The `--json` document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    /// Whether tasks can be run.
    readiness: Readiness,
    /// The join tokens; null when the Director does not disclose them.
    swarm: Option<SwarmDetails>,
    /// The reason, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Prints whether tasks can be run; returns [`Exit::InfrastructureFailed`] if not.
///
/// # Errors
/// When the Director is unreachable, or a proxy refuses the request.
pub async fn swarm(context: &Context) -> Result<Exit, CliError> {
    let (swarm, reason) = match context.director.get("swarm").await {
        Ok(swarm) => (Some(swarm), None),
        Err(
            CliError::Rejected { message, .. }
            | CliError::Busy { message, .. }
            | CliError::Denied { message, .. },
        ) => (None, Some(message)),
        Err(error) => return Err(error),
    };
    let state = State {
        readiness: readiness(context).await?,
        swarm,
        reason,
    };
    context.out.show(lines(&state), &state);
    Ok(match state.readiness.ready {
        true => Exit::Pass,
        false => Exit::InfrastructureFailed,
    })
}

/// The readiness. The response has the status 503 when the Director is not ready.
async fn readiness(context: &Context) -> Result<Readiness, CliError> {
    let director = &context.director;
    let request = director.request(Method::GET, "readyz")?;
    let response = director.exchange(request, RESPONSE_TIMEOUT).await?;
    director.read_any_status(response).await
}

/// The lines for the terminal. Join tokens allow adding machines to the Swarm, so only their availability is printed:
/// the output may be on a screen or in the log of a pipeline.
fn lines(state: &State) -> Vec<String> {
    let readiness = &state.readiness;
    let ready = match readiness.ready {
        true => format!("{SUCCESS}yes{SUCCESS:#}"),
        false => format!("{FAILURE}no{FAILURE:#}"),
    };
    let tokens = match (&state.swarm, &state.reason) {
        (Some(_), _) => "available; `--json` prints them",
        (None, Some(reason)) => reason,
        (None, None) => NO_VALUE,
    };
    vec![
        format!("ready        {ready}"),
        format!("docker       {}", readiness.docker),
        format!("store        {}", readiness.store),
        format!("recovery     {}", readiness.recovery),
        format!("join tokens  {tokens}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use atq_api_spec::swarm::JoinTokens;

    #[test]
    fn tokens_are_not_printed() {
        let ok = || "ok".to_owned();
        let readiness = Readiness {
            ready: true,
            docker: ok(),
            store: ok(),
            recovery: ok(),
        };
        let tokens = JoinTokens {
            manager: "SWMTKN-1-m".to_owned(),
            worker: "SWMTKN-1-w".to_owned(),
        };
        let state = State {
            readiness,
            swarm: Some(SwarmDetails {
                join_tokens: tokens,
            }),
            reason: None,
        };
        insta::assert_snapshot!(strip_str(&lines(&state).join("\n")), @"
        ready        yes
        docker       ok
        store        ok
        recovery     ok
        join tokens  available; `--json` prints them
        ");
    }

    #[test]
    fn missing_parts_are_shown() {
        let readiness = Readiness {
            ready: false,
            docker: "Docker is not part of a swarm".to_owned(),
            store: "ok".to_owned(),
            recovery: "ok".to_owned(),
        };
        let state = State {
            readiness,
            swarm: None,
            reason: Some("Docker is not part of a swarm".to_owned()),
        };
        insta::assert_snapshot!(strip_str(&lines(&state).join("\n")), @"
        ready        no
        docker       Docker is not part of a swarm
        store        ok
        recovery     ok
        join tokens  Docker is not part of a swarm
        ");
    }
}
