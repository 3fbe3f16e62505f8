//! The OpenAPI description, generated from the handlers, and its pages. The pages are part of the binary and need no
//! internet access.

use super::access::TOKEN_HEADER;
use super::app::App;
use super::error;
use super::router::SWAGGER_UI;
use super::router::resources;
use atq_access::{Permission, Role};
use atq_report::page::hash_source;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::{from_fn, map_response};
use axum::routing::get;
use std::sync::LazyLock;
use utoipa::OpenApi;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, Response, ResponseBuilder};
use utoipa_swagger_ui::SwaggerUi;

/// What Swagger UI may load and do: its own files and the API. Its style sheet contains images; it has no inline script.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' {}; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash_source(LOGO_STYLE)
    )
});
/// The style inside the logo of Swagger UI.
const LOGO_STYLE: &str = ".logo_small_svg__cls-2{fill:#fff}.logo_small_svg__cls-3{fill:#85ea2d}";
/// Starts Swagger UI; instead of the file of that name in the library, which cannot add headers to requests.
const INITIALIZER: &str = include_str!("openapi/initializer.js");
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
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
        (name = "token", description = "Tokens of clients"),
        (name = "session", description = "Sessions of browsers"),
        (name = "monitoring", description = "Liveness, as in 2018"),
        (name = "health", description = "Liveness and readiness")
    )
)]
struct Base;

/// Ways to identify a client; each of them suffices.
const SCHEMES: [&str; 3] = ["bearer", "tokenHeader", "session"];
/// Extension of an operation with the permission that it requires.
const PERMISSION: &str = "x-permission";

/// The description without resources.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    let mut document = Base::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("atq_<id>_<secret>")
        .description(Some(
            "A token. No credentials are needed while `auth` is `off`.",
        ));
    let header = ApiKeyValue::with_description(
        TOKEN_HEADER,
        "The same token, for clients that cannot set `Authorization`.",
    );
    let cookie = ApiKeyValue::with_description("atq_session", "The session of a browser.");
    let schemes = [
        SecurityScheme::Http(bearer.build()),
        SecurityScheme::ApiKey(ApiKey::Header(header)),
        SecurityScheme::ApiKey(ApiKey::Cookie(cookie)),
    ];
    for (name, scheme) in SCHEMES.into_iter().zip(schemes) {
        components.add_security_scheme(name, scheme);
    }
    document
}

/// Adds the permission that the operations require, and their responses to other clients. `errors` are the media types
/// of errors.
pub(super) fn describe_access(
    document: &mut utoipa::openapi::OpenApi,
    permission: Permission,
    errors: &[&str],
) {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let extension = ExtensionsBuilder::new().add(PERMISSION, permission.as_str());
        operation.extensions = Some(extension.build());
        if permission == Permission::Public {
            operation.security = Some(Vec::new());
            continue;
        }
        let schemes = SCHEMES.map(|name| SecurityRequirement::new(name, [""; 0]));
        operation.security = Some(schemes.to_vec());
        let role = Role::needed_for(permission);
        let responses = [
            (
                "401",
                "`unauthenticated`: the request has no valid credentials.".to_owned(),
            ),
            (
                "403",
                format!("`forbidden`: the role `{role}` is required; or `foreign_page`."),
            ),
        ];
        for (status, text) in responses {
            let response = refusal(text, errors);
            let responses = &mut operation.responses.responses;
            responses.insert(status.to_owned(), response.into());
        }
    }
}

fn refusal(text: String, media: &[&str]) -> Response {
    let response = ResponseBuilder::new().description(text);
    let content = || Content::new(Some(Ref::from_schema_name("Problem")));
    let response = media.iter().fold(response, |response, kind| {
        response.content(*kind, content())
    });
    response.build()
}

/// The operations of a path.
fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut path.get,
        &mut path.put,
        &mut path.post,
        &mut path.delete,
        &mut path.patch,
    ]
    .into_iter()
    .flatten()
}

/// The OpenAPI 3.1 description of all resources.
pub fn document() -> utoipa::openapi::OpenApi {
    resources().into_openapi()
}

/// The description and Swagger UI.
pub(super) fn pages(document: utoipa::openapi::OpenApi) -> Router<App> {
    let pages = SwaggerUi::new(SWAGGER_UI).url(DOCUMENT, document);
    let initializer = get(|| async { ([(CONTENT_TYPE, JAVASCRIPT)], INITIALIZER) });
    Router::from(pages)
        .route(&format!("{SWAGGER_UI}/swagger-initializer.js"), initializer)
        .layer(map_response(with_policy))
        .layer(from_fn(error::unknown_page))
}

async fn with_policy(mut response: axum::response::Response) -> axum::response::Response {
    // Without it, the policy of all answers holds, which is stricter.
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}
