//! `atq version`.

use crate::context::Context;
use crate::exit::Exit;
use crate::trouble::Trouble;
use serde::{Deserialize, Serialize};

/// This program's.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    /// Of this program.
    atq: &'static str,
    /// Of the Director; null when none answers.
    director: Option<String>,
    /// Where it was asked.
    url: String,
    /// Why the Director's is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// As much of the description of the API as is needed: its version is that of the Director.
#[derive(Debug, Deserialize)]
struct Document {
    info: Info,
}

#[derive(Debug, Deserialize)]
struct Info {
    version: String,
}

/// Prints both versions, or its own one and why the other is missing.
///
/// # Errors
/// None: who asks for a version may have no Director yet.
pub async fn version(context: &Context) -> Result<Exit, Trouble> {
    let asked = context.director.get::<Document>("api-docs/openapi.json");
    let (director, reason) = match asked.await {
        Ok(document) => (Some(document.info.version), None),
        Err(trouble) => (None, Some(trouble.to_string())),
    };
    let url = context.director.url().to_owned();
    let versions = Versions {
        atq: OWN,
        director,
        url,
        reason,
    };
    for line in lines(&versions) {
        context.out.line(line);
    }
    context.out.result(&versions);
    Ok(Exit::Pass)
}

fn lines(versions: &Versions) -> [String; 2] {
    let director = match &versions.director {
        Some(version) => format!("Director {version} at {}", versions.url),
        None => versions.reason.clone().unwrap_or_default(),
    };
    [format!("atq {}", versions.atq), director]
}
