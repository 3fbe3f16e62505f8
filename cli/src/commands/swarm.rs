//! `atq swarm`.

use crate::context::Context;
use crate::exit::Exit;
use crate::out::{BAD, GOOD};
use crate::table::NOTHING;
use crate::trouble::Trouble;
use atq_api_spec::health::Readiness;
use atq_api_spec::swarm::SwarmDetails;
use reqwest::Method;
use serde::Serialize;
use std::time::Duration;

/// The Director writes to its disk before it answers.
const ANSWER: Duration = Duration::from_secs(30);

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    /// Whether tasks can be run.
    readiness: Readiness,
    /// The tokens with which machines join; null when they are not given.
    swarm: Option<SwarmDetails>,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Prints whether tasks can be run; ends with [`Exit::InfrastructureFailed`] when not.
///
/// # Errors
/// When no Director answers.
pub async fn swarm(context: &Context) -> Result<Exit, Trouble> {
    let (swarm, reason) = match context.director.get("swarm").await {
        Ok(swarm) => (Some(swarm), None),
        Err(Trouble::Rejected { message, .. } | Trouble::Busy { message, .. }) => {
            (None, Some(message))
        }
        Err(trouble) => return Err(trouble),
    };
    let state = State {
        readiness: readiness(context).await?,
        swarm,
        reason,
    };
    for line in lines(&state) {
        context.out.line(line);
    }
    context.out.result(&state);
    Ok(match state.readiness.ready {
        true => Exit::Pass,
        false => Exit::InfrastructureFailed,
    })
}

/// Comes with the status 503 when something is missing.
async fn readiness(context: &Context) -> Result<Readiness, Trouble> {
    let director = &context.director;
    let request = director.request(Method::GET, "readyz")?;
    let response = director.exchange(request, ANSWER).await?;
    director.read(response).await
}

/// Who has a token can add machines to the Swarm, so it does not belong on a screen or into the log of a pipeline:
/// here it is only said whether there are any.
fn lines(state: &State) -> Vec<String> {
    let readiness = &state.readiness;
    let ready = match readiness.ready {
        true => format!("{GOOD}yes{GOOD:#}"),
        false => format!("{BAD}no{BAD:#}"),
    };
    let tokens = match (&state.swarm, &state.reason) {
        (Some(_), _) => "given; `--json` prints them",
        (None, Some(reason)) => reason,
        (None, None) => NOTHING,
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
    fn tokens_are_not_for_the_screen() {
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
        join tokens  given; `--json` prints them
        ");
    }

    #[test]
    fn what_is_missing_is_told() {
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
