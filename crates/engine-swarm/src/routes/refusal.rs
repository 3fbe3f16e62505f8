//! Answers to carriers whose request is refused.

use crate::carrier_endpoint::RequestError;
use crate::node_auth::FetchError;
use atq_api_spec::error::Problem;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use thiserror::Error;

/// Code of requests that their sender may not send.
const NOT_AUTHORIZED: &str = "not_authorized";

/// Extension of a response to an unauthorized request: the reason.
#[derive(Debug, Clone)]
pub(super) struct Unauthorized(pub String);

/// Reason why a request of a carrier is refused.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// Refused by [`crate::carrier_endpoint::CarrierEndpoint`].
    #[error(transparent)]
    Carrier(#[from] RequestError),
    /// The bundle is not delivered now.
    #[error("the bundle `{0}` is not delivered now")]
    NotDelivered(String),
    /// The bundle does not exist.
    #[error("there is no bundle `{0}`")]
    NoBundle(String),
    /// The disk cannot be read.
    #[error("the bundle `{bundle}` cannot be read: {reason}")]
    Disk {
        /// The bundle.
        bundle: String,
        /// Reason of the store.
        reason: String,
    },
    /// The Director is shutting down.
    #[error("the Director is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// The refusal of a bundle.
    pub fn of_bundle(refusal: FetchError, bundle: String) -> Self {
        match refusal {
            FetchError::Unauthorized => Self::Carrier(RequestError::Unauthorized),
            FetchError::NotDelivered => Self::NotDelivered(bundle),
        }
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Carrier(RequestError::Unauthorized | RequestError::NotOnNode { .. }) => {
                (StatusCode::FORBIDDEN, NOT_AUTHORIZED)
            }
            Self::Carrier(RequestError::NotWatched) => (StatusCode::CONFLICT, "usage_not_expected"),
            Self::Carrier(RequestError::NotFollowed) => {
                (StatusCode::CONFLICT, "results_not_followed")
            }
            Self::Carrier(RequestError::Replaced(_)) => (StatusCode::CONFLICT, "request_replaced"),
            Self::Carrier(RequestError::Invalid(_)) => (StatusCode::BAD_REQUEST, "invalid_body"),
            Self::Carrier(RequestError::NotExpected(_)) => (StatusCode::CONFLICT, "results_closed"),
            Self::Carrier(RequestError::TooLarge(_)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "results_too_large")
            }
            // A 5xx status would cause the carrier to send everything again.
            Self::Carrier(RequestError::NotStored(_)) => (StatusCode::CONFLICT, "results_unkept"),
            Self::Carrier(RequestError::Truncated(_)) => {
                (StatusCode::BAD_REQUEST, "results_cut_off")
            }
            Self::NotDelivered(_) => (StatusCode::FORBIDDEN, "not_delivered"),
            Self::NoBundle(_) => (StatusCode::NOT_FOUND, "bundle_not_found"),
            Self::Disk { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "storage_failed"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code, error = %self, "request of a carrier failed");
        }
        let title = status.canonical_reason().unwrap_or_default();
        let reason = self.to_string();
        let problem = Problem::new(status.as_u16(), title, code, reason.clone());
        let mut response = (status, Json(problem)).into_response();
        if code == NOT_AUTHORIZED {
            response.extensions_mut().insert(Unauthorized(reason));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        "x".to_owned()
    }

    #[test]
    fn every_refusal_has_its_status_and_code() {
        let of_bundle = |refusal| Refusal::of_bundle(refusal, text());
        let disk = Refusal::Disk {
            bundle: text(),
            reason: text(),
        };
        for (refusal, status, code) in [
            (RequestError::Unauthorized.into(), 403, "not_authorized"),
            (
                RequestError::NotOnNode {
                    container: text(),
                    node: text(),
                }
                .into(),
                403,
                "not_authorized",
            ),
            (RequestError::NotWatched.into(), 409, "usage_not_expected"),
            (
                RequestError::NotFollowed.into(),
                409,
                "results_not_followed",
            ),
            (
                RequestError::Replaced(text()).into(),
                409,
                "request_replaced",
            ),
            (RequestError::Invalid(text()).into(), 400, "invalid_body"),
            (
                RequestError::NotExpected(text()).into(),
                409,
                "results_closed",
            ),
            (
                RequestError::TooLarge(text()).into(),
                413,
                "results_too_large",
            ),
            (
                RequestError::NotStored(text()).into(),
                409,
                "results_unkept",
            ),
            (
                RequestError::Truncated(text()).into(),
                400,
                "results_cut_off",
            ),
            (of_bundle(FetchError::Unauthorized), 403, "not_authorized"),
            (of_bundle(FetchError::NotDelivered), 403, "not_delivered"),
            (Refusal::NoBundle(text()), 404, "bundle_not_found"),
            (disk, 500, "storage_failed"),
            (Refusal::ShuttingDown, 503, "shutting_down"),
        ] {
            let seen: (StatusCode, &str) = Refusal::status_and_code(&refusal);
            assert_eq!((seen.0.as_u16(), seen.1), (status, code), "{refusal}");
        }
    }
}
