//! The Swarm.

use super::app::App;
use super::error::{ApiError, RequestError};
use crate::config::Auth;
use atq_api_spec::error::Problem;
use atq_api_spec::swarm::{JoinTokens, SwarmDetails};
use axum::Json;
use axum::extract::State;

/// Describes the Swarm: returns its join tokens.
///
/// The tokens allow adding machines to the Swarm: with `auth: tokens` in the configuration of the Director, only an admin
/// gets them.
#[utoipa::path(
    get,
    path = "/swarm",
    operation_id = "getSwarm",
    tag = "swarm",
    responses(
        (status = 200, description = "The Swarm.", content(
            (SwarmDetails = "application/json", example = json!({"joinTokens": {"manager": "SWMTKN-1-3pu6hszjas19xyp7-8vxv8rssmk743ojn", "worker": "SWMTKN-1-3pu6hszjas19xyp7-06yq8dvgsjx6g4k2"}})),
            (SwarmDetails = "application/atq.swarm+json")
        )),
        (status = 503, description = "Docker cannot be reached, is not part of a swarm or not one of its managers; or the tokens are protected.", content((Problem = "application/json"), (Problem = "application/atq.swarm+json")))
    )
)]
pub async fn status(State(app): State<App>) -> Result<Json<SwarmDetails>, ApiError> {
    let tokens = app.orchestrator.shared().engine.join_tokens().await?;
    if !may_show_tokens(&app) {
        return Err(RequestError::TokensHidden(app.config.bind).into());
    }
    let join_tokens = JoinTokens {
        manager: tokens.manager,
        worker: tokens.worker,
    };
    Ok(Json(SwarmDetails { join_tokens }))
}

fn may_show_tokens(app: &App) -> bool {
    let config = &app.config;
    // With authentication, only admins get here.
    config.auth == Auth::Tokens
        || config.expose_join_tokens
        || config.bind.to_canonical().is_loopback()
}
