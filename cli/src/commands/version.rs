//! `atq version`.

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use serde::{Deserialize, Serialize};

/// The `--json` document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    /// Version of this program.
    atq: &'static str,
    /// Version of the Director; null when it does not respond.
    director: Option<String>,
    /// URL of the Director.
    url: String,
    /// The reason, if the Director's version is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The part of the OpenAPI document that has the version of the Director.
#[derive(Debug, Deserialize)]
struct Document {
    info: Info,
}

#[derive(Debug, Deserialize)]
struct Info {
    version: String,
}

/// Prints both versions; without a response, the reason instead of the Director's version.
///
/// # Errors
/// None: the version of this program is available without a Director.
pub async fn version(context: &Context) -> Result<Exit, CliError> {
    let request = context.director.get::<Document>("api-docs/openapi.json");
    let (director, reason) = match request.await {
        Ok(document) => (Some(document.info.version), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let versions = Versions {
        atq: env!("CARGO_PKG_VERSION"),
        director,
        url: context.director.url().to_owned(),
        reason,
    };
    context.out.show(lines(&versions), &versions);
    Ok(Exit::Pass)
}

fn lines(versions: &Versions) -> [String; 2] {
    let director = match &versions.director {
        Some(version) => format!("Director {version} at {}", versions.url),
        None => versions.reason.clone().unwrap_or_default(),
    };
    [format!("atq {}", versions.atq), director]
}
