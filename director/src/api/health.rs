//! Liveness and readiness of the Director.

use super::app::App;
use super::error::readiness_status;
use atq_api_spec::health::Readiness;
use atq_store::Store;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const OK: &str = "ok";
/// Minimum interval between two checks of the store.
const STORE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Returns `ok` while the process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "getHealth",
    tag = "health",
    responses((status = 200, description = "The process is alive.", body = String, content_type = "text/plain", example = "ok"))
)]
pub async fn healthz() -> &'static str {
    OK
}

/// Reports whether tasks can be run: Docker and the store are usable, and earlier tasks are resumed.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "health",
    responses(
        (status = 200, description = "The Director is ready.", body = Readiness, example = json!({"ready": true, "docker": "ok", "store": "ok", "recovery": "ok"})),
        (status = 503, description = "The Director is not ready; the response contains the reasons.", body = Readiness, example = json!({"ready": false, "docker": "Docker is not part of a swarm; run `docker swarm init` first", "store": "ok", "recovery": "ok"}))
    )
)]
pub async fn readyz(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let shared = app.orchestrator.shared();
    let docker = or_reason(shared.health.usable());
    let store = app.store_check.result(&shared.store).await;
    let recovery = match *app.recovered.borrow() {
        true => OK.to_owned(),
        false => "resuming earlier tasks".to_owned(),
    };
    let ready = [&docker, &store, &recovery].iter().all(|part| *part == OK);
    let readiness = Readiness {
        ready,
        docker,
        store,
        recovery,
    };
    (readiness_status(ready), Json(readiness))
}

/// Whether the store is usable. A check writes to the disk and waits for the flush, and anyone may ask, so requests at
/// the same time share one.
#[derive(Clone, Default)]
pub struct StoreCheck(Arc<Mutex<Option<(Instant, String)>>>);

impl StoreCheck {
    /// `ok`, or the reason why it is not usable.
    async fn result(&self, store: &Store) -> String {
        let mut last = self.0.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < STORE_CHECK_INTERVAL
        {
            return text.clone();
        }
        let text = or_reason(store.probe().await);
        *last = Some((Instant::now(), text.clone()));
        text
    }
}

fn or_reason<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| OK.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_at_the_same_time_share_a_check_of_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let check = StoreCheck::default();
        assert_eq!(check.result(&store).await, OK);
        let first = check.0.lock().await.clone().unwrap();
        let checks = std::iter::repeat_with(|| check.result(&store)).take(100);
        assert!(
            futures_util::future::join_all(checks)
                .await
                .iter()
                .all(|text| text == OK)
        );
        assert_eq!(check.0.lock().await.clone().unwrap(), first);
        // An old result is not returned.
        let old = Instant::now().checked_sub(STORE_CHECK_INTERVAL).unwrap();
        *check.0.lock().await = Some((old, "full".to_owned()));
        assert_eq!(check.result(&store).await, OK);
    }
}
