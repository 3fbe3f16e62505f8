//! The OpenAPI description, generated from the handlers, and its pages. The pages are part of the binary and need no
//! internet access.

use super::app::App;
use super::error;
use super::router::SWAGGER_UI;
use super::router::resources;
use axum::Router;
use axum::middleware::from_fn;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Path of the description.
const DOCUMENT: &str = "/api-docs/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ATQ Director",
        description = "Runs distributed load tests on Docker Swarm.\n\nEvery path is served under `/api` and at the root; a trailing slash is optional. Every error is JSON and has the string `error` beside the members of RFC 9457 and a stable `code`. Values of environment variables never appear in an answer."
    ),
    servers((url = "/api", description = "The base path of 2018"), (url = "/")),
    tags(
        (name = "databind", description = "Bundles: uploaded zips, mounted read-only at `/atq/data`"),
        (name = "task", description = "Load tests"),
        (name = "swarm", description = "The Swarm"),
        (name = "monitoring", description = "Liveness, as in 2018"),
        (name = "health", description = "Liveness and readiness")
    )
)]
struct Base;

/// The description without resources.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// The OpenAPI 3.1 description of all resources.
pub fn document() -> utoipa::openapi::OpenApi {
    resources().into_openapi()
}

/// The description and Swagger UI.
pub(super) fn pages(document: utoipa::openapi::OpenApi) -> Router<App> {
    // By default, Swagger UI calls a validator on the internet.
    let offline = Config::default().validator_url("none");
    let pages = SwaggerUi::new(SWAGGER_UI)
        .config(offline)
        .url(DOCUMENT, document);
    let pages = Router::from(pages);
    pages.layer(from_fn(error::unknown_page))
}
