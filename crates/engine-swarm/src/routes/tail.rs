//! Receives appended bytes of result files.

use super::refusal::Refusal;
use super::{RouteState, node, to_completion, token, unauthorized};
use atq_node_protocol::tail::Answer;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

/// A body of [`atq_node_protocol::tail`].
pub(super) async fn receive(
    State(state): State<RouteState>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Answer>, Response> {
    let refused = |refusal: Refusal| refusal.into_response();
    let Path(run) = path.map_err(unauthorized).map_err(refused)?;
    let (token, node) = (token(&headers).map_err(refused)?, node(&headers));
    let turn = state.inbound.tail_turn(&run, token, &node);
    let turn = turn.map_err(|error| refused(error.into()))?;
    let read = turn
        .unless_replaced(Bytes::from_request(request, &()))
        .await;
    let body = read
        .map_err(|error| refused(error.into()))?
        .map_err(IntoResponse::into_response)?;
    let received = to_completion(turn.receive(body)).await;
    received.map(Json).map_err(refused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::carrier_endpoint::{CarrierEndpoint, FollowedRun};
    use crate::fake::NoBundles;
    use crate::node_auth::NodeAuth;
    use crate::plan::{Errand, carrier_token};
    use crate::routes::router;
    use async_trait::async_trait;
    use atq_engine::{
        Append, Appended, ReadProblem, RefusedRequest, Renames, ResultsSink, Role, Source, UpToDate,
    };
    use atq_node_protocol::tail::{Header, MAX_BODY, Outcome, Part, encode};
    use axum::body::{Body, to_bytes};
    use axum::http::{Method, StatusCode};
    use std::collections::HashSet;
    use std::sync::Arc;
    use tower::ServiceExt;

    const SECRET: &str = "0123456789abcdef";

    struct AcceptsAll;

    #[async_trait]
    impl ResultsSink for AcceptsAll {
        async fn append(&self, _: Appended) -> Result<Append, String> {
            Ok(Append::Accepted)
        }

        async fn rename(&self, _: Renames) -> Result<(), String> {
            Ok(())
        }

        fn up_to_date(&self, _: &[UpToDate]) {}

        fn problem(&self, _: &[Source], _: ReadProblem) {}
    }

    /// Sends a request of the node `n1` to the routes; only `worker.1` of the run `r1` is followed there.
    async fn send(method: Method, path: &str, errand: Errand<'_>, body: Vec<u8>) -> Response {
        let node_auth = Arc::new(NodeAuth::default());
        let _guards = ["r1", "r2"].map(|run| node_auth.register(run, SECRET));
        let endpoint = CarrierEndpoint {
            node_auth,
            ingest: Arc::default(),
        };
        let placed = HashSet::from([(Source::new(Role::Worker, 1), "n1".to_owned())]);
        let followed = FollowedRun::new(Arc::new(AcceptsAll), placed);
        endpoint.ingest.follow("r1", Arc::new(followed));
        let run = path.split('/').nth(2).unwrap();
        let token = carrier_token(SECRET, run, errand);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Authorization", format!("Bearer {token}"))
            .header("X-Atq-Node", "n1")
            .body(Body::from(body));
        let routes = router(endpoint, Arc::new(NoBundles), "director-1");
        routes.oneshot(request.unwrap()).await.unwrap()
    }

    fn body(source: &str, bytes: &[u8]) -> Vec<u8> {
        let part = Part {
            source: source.to_owned(),
            path: "a.csv".to_owned(),
            generation: 0,
            offset: 0,
            length: bytes.len() as u64,
        };
        let header = Header {
            parts: vec![part],
            ..Header::default()
        };
        encode(&header, bytes)
    }

    const TAIL: Errand<'_> = Errand::Tail { node: "n1" };

    #[tokio::test]
    async fn appended_bytes_are_answered_with_one_outcome_for_each_part() {
        let sent = body("worker.1", &[b'x'; 1 << 20]);
        let response = send(Method::POST, "/carrier/r1/tail", TAIL, sent).await;
        assert_eq!(response.status(), StatusCode::OK);
        let text = to_bytes(response.into_body(), 1000).await.unwrap();
        let answer: Answer = serde_json::from_slice(&text).unwrap();
        assert_eq!(answer.parts, [Outcome::Accepted]);
    }

    #[tokio::test]
    async fn a_request_that_is_not_authorized_is_refused_before_its_body_is_read() {
        let large = || vec![b'x'; 2 * MAX_BODY];
        for (method, path, errand) in [
            (Method::POST, "/carrier/r1/tail", Errand::Watch),
            (
                Method::POST,
                "/carrier/r1/tail",
                Errand::Tail { node: "n2" },
            ),
            (
                Method::POST,
                "/carrier/r1/tail",
                Errand::Collect { node: "n1" },
            ),
            (Method::POST, "/carrier/r3/tail", TAIL),
            (Method::GET, "/carrier/r1/tail", TAIL),
            (Method::POST, "/carrier/r1/load", TAIL),
            (Method::PUT, "/carrier/r1/results/worker.1", TAIL),
        ] {
            let response = send(method, path, errand, large()).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
            assert!(response.extensions().get::<RefusedRequest>().is_some());
        }
    }

    #[tokio::test]
    async fn bodies_that_are_too_large_invalid_or_not_expected_are_refused() {
        for (path, body, status) in [
            (
                "/carrier/r1/tail",
                vec![b'x'; MAX_BODY + 1],
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            (
                "/carrier/r1/tail",
                b"no header".to_vec(),
                StatusCode::BAD_REQUEST,
            ),
            (
                "/carrier/r1/tail",
                body("worker.2", b""),
                StatusCode::FORBIDDEN,
            ),
            (
                "/carrier/r2/tail",
                body("worker.1", b""),
                StatusCode::CONFLICT,
            ),
        ] {
            let response = send(Method::POST, path, TAIL, body).await;
            assert_eq!(response.status(), status, "{path}");
        }
    }
}
