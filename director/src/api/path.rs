//! Names in paths. An invalid name is treated as an unknown one: a 404, not an error of the request.

use super::error::RequestError;
use atq_bundle_store::BundleId;
use atq_task::spec::{TaskName, shorten};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

/// The task of a path.
pub struct TaskId(pub TaskName);

/// The bundle of a path.
pub struct BundlePath(pub BundleId);

impl<S: Send + Sync> FromRequestParts<S> for TaskId {
    type Rejection = super::error::ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let text = segment(parts, state).await;
        let name = TaskName::parse(&text);
        Ok(Self(
            name.map_err(|_| RequestError::NoTask(shorten(&text)))?,
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for BundlePath {
    type Rejection = super::error::ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let text = segment(parts, state).await;
        let id = text.parse();
        Ok(Self(
            id.map_err(|_| RequestError::NoBundle(shorten(&text)))?,
        ))
    }
}

/// The `{id}` of the path; empty if it is not valid UTF-8.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> String {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text).unwrap_or_default()
}
