#![allow(clippy::unwrap_used)]

use super::*;
use atq_engine_swarm::SwarmError;
use atq_task::machine::BadHistory;
use atq_task::spec::TaskName;
use axum::body::to_bytes;
use std::io;
use std::path::PathBuf;

const SECRET: &str = "/secret/path";

fn name() -> TaskName {
    TaskName::parse("abc").unwrap()
}

fn text() -> String {
    "x".to_owned()
}

fn requests() -> Vec<(ApiError, u16, &'static str)> {
    use RequestError as E;
    let cases = [
        (E::UnknownPath(text()), 404, "unknown_path"),
        (E::Method(text()), 405, "method_not_allowed"),
        (E::NoTask(text()), 404, "task_not_found"),
        (E::NoBundle(text()), 404, "bundle_not_found"),
        (E::BodyTooSlow(60), 408, "body_too_slow"),
        (
            E::Busy {
                what: "x",
                number: 64,
            },
            503,
            "busy",
        ),
        (
            E::NotOver {
                name: text(),
                step: "running",
            },
            409,
            "not_over",
        ),
        (E::NoResults(text()), 404, "no_results"),
        (E::BodyTooLarge(1), 413, "body_too_large"),
        (E::BodyCutOff, 400, "body_cut_off"),
        (E::BadJson(text()), 400, "bad_json"),
        (E::NotJsonType(text()), 415, "not_json"),
        (E::NotAForm(text()), 415, "not_a_form"),
        (E::BadForm(text()), 400, "bad_form"),
        (E::NoFile, 415, "no_file"),
        (E::ManyFiles, 400, "many_files"),
        (E::BadQuery(text()), 400, "bad_query"),
        (
            E::BadHeader {
                name: "idempotency-key",
                found: text(),
                expected: text(),
            },
            400,
            "bad_header",
        ),
        (
            E::TokensHidden(IpAddr::from([0, 0, 0, 0])),
            503,
            "tokens_hidden",
        ),
        (E::Unauthenticated(None), 401, "unauthenticated"),
        (
            E::Unauthenticated(Some(TokenError::Expired)),
            401,
            "unauthenticated",
        ),
        (E::Contradicting, 400, "contradicting_credentials"),
        (
            E::Forbidden {
                name: text(),
                role: Role::Viewer,
                needed: Role::Runner,
            },
            403,
            "forbidden",
        ),
        (E::NoPermission, 500, "internal"),
        (E::NoMetrics, 500, "internal"),
        (E::AuthOff, 409, "auth_off"),
        (E::NoToken(text()), 404, "token_not_found"),
        (E::BadToken(text()), 400, "bad_token"),
        (E::NoExchange("x"), 404, "no_token_exchange"),
        (E::ShuttingDown, 503, "shutting_down"),
    ];
    cases
        .into_iter()
        .map(|(error, status, code)| (error.into(), status, code))
        .collect()
}

fn dockers() -> Vec<(SwarmError, &'static str)> {
    use SwarmError as E;
    let (what, reason) = (text, text);
    vec![
        (E::NotFound { what: what() }, "docker_object_gone"),
        (
            E::Conflict {
                what: what(),
                reason: reason(),
            },
            "docker_conflict",
        ),
        (
            E::InUse {
                what: what(),
                reason: reason(),
            },
            "docker_in_use",
        ),
        (
            E::Unavailable {
                host: text(),
                reason: reason(),
            },
            "docker_unavailable",
        ),
        (
            E::TimedOut {
                what: what(),
                seconds: 1,
            },
            "docker_timed_out",
        ),
        (E::NotAnsweredYet, "docker_unavailable"),
        (E::NotASwarm, "not_a_swarm"),
        (E::NotManager, "not_a_manager"),
        (E::NoLeader { reason: reason() }, "no_leader"),
        (
            E::Rejected {
                what: what(),
                reason: reason(),
            },
            "docker_refused",
        ),
        (
            E::Internal {
                what: what(),
                reason: reason(),
            },
            "docker_failed",
        ),
    ]
}

fn stores() -> Vec<StoreError> {
    let path = || PathBuf::from(SECRET);
    vec![
        StoreError::Locked { path: path() },
        StoreError::Open {
            path: path(),
            reason: text(),
        },
        StoreError::Format {
            path: path(),
            found: text(),
        },
        StoreError::Io(SECRET.to_owned()),
        StoreError::Corrupt {
            key: SECRET.to_owned(),
            reason: text(),
        },
        StoreError::History {
            task: SECRET.to_owned(),
            reason: BadHistory::Empty,
        },
    ]
}

#[test]
fn the_error_of_a_damaged_task_contains_the_remedy() {
    let damaged = || StoreError::Damaged {
        task: "load".to_owned(),
        reason: "the store's value `spec/load` cannot be read".to_owned(),
    };
    for error in [
        ApiError::from(damaged()),
        SubmitError::from(damaged()).into(),
        ControlError::from(damaged()).into(),
    ] {
        assert_eq!(
            error.status_and_code(),
            (StatusCode::INTERNAL_SERVER_ERROR, "task_damaged")
        );
        let text = error.text();
        assert!(
            text.starts_with("the stored task `load` is damaged: ")
                && text.contains("atq-director store check")
                && text.contains("DELETE"),
            "{text}"
        );
    }
}

#[test]
fn a_full_disk_is_reported() {
    let full = || StoreError::Full {
        free: 3 << 20,
        needed: 16 << 20,
    };
    for error in [
        ApiError::from(full()),
        SubmitError::from(full()).into(),
        ControlError::from(full()).into(),
    ] {
        assert_eq!(
            error.status_and_code(),
            (StatusCode::INSUFFICIENT_STORAGE, "disk_full")
        );
        assert!(error.text().contains("3 MiB are free, 16 MiB are needed"));
    }
}

fn bundles() -> Vec<(ApiError, u16, &'static str)> {
    use BundleError as E;
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let cases = [
        (E::NotAZip { reason: text() }, 415, "not_a_zip"),
        (
            E::Hostile {
                entry: None,
                reason: text(),
            },
            422,
            "archive_refused",
        ),
        (
            E::Broken {
                entry: None,
                reason: text(),
            },
            422,
            "archive_broken",
        ),
        (E::TooLarge { limit: 1 }, 413, "upload_too_large"),
        (
            E::Storage {
                action: text(),
                source: full,
            },
            507,
            "disk_full",
        ),
        (
            E::Storage {
                action: text(),
                source: io::Error::other("x"),
            },
            500,
            "storage_failed",
        ),
    ];
    cases
        .into_iter()
        .map(|(error, status, code)| (error.into(), status, code))
        .collect()
}

fn tasks() -> Vec<(ApiError, u16, &'static str)> {
    let remains = ControlError::Remains {
        name: name(),
        what: text(),
    };
    let fault = Fault {
        field: text(),
        message: text(),
    };
    let refused = ApiError::Refused {
        id: text(),
        faults: vec![fault],
    };
    let evidence = LogError::Evidence(io::Error::other(SECRET));
    vec![
        (
            SubmitError::Faulty { faults: Vec::new() }.into(),
            417,
            "definition_faulty",
        ),
        (refused, 417, "definition_faulty"),
        (
            SubmitError::Different { name: name() }.into(),
            409,
            "task_differs",
        ),
        (
            SubmitError::Ended { name: name() }.into(),
            409,
            "task_ended",
        ),
        (SubmitError::ShuttingDown.into(), 503, "shutting_down"),
        (
            ControlError::NotFound { name: text() }.into(),
            404,
            "task_not_found",
        ),
        (remains.into(), 500, "clean_up_not_over"),
        (evidence.into(), 500, "evidence_failed"),
        (RequestError::NoReport(text()).into(), 404, "no_report"),
    ]
}

fn all() -> Vec<(ApiError, u16, &'static str)> {
    let docker = dockers().into_iter().flat_map(|(error, code)| {
        let error = EngineError::from(error);
        let submit = ApiError::from(SubmitError::from(error.clone()));
        let logs = ApiError::from(LogError::from(error.clone()));
        [submit, logs, error.into()].map(|error| (error, 503, code))
    });
    let store = || stores().into_iter().map(ApiError::from);
    let submit = stores()
        .into_iter()
        .map(|error| SubmitError::from(error).into());
    let control = stores()
        .into_iter()
        .map(|error| ControlError::from(error).into());
    let store = store()
        .chain(submit)
        .chain(control)
        .map(|error| (error, 500, "store_failed"));
    let mut all: Vec<_> = docker.chain(store).collect();
    all.extend(requests());
    all.extend(bundles());
    all.extend(tasks());
    all
}

#[tokio::test]
async fn every_error_has_its_status_and_code() {
    for (error, status, code) in all() {
        let what = format!("{error:?}");
        let response = error.into_response();
        assert_eq!(response.status().as_u16(), status, "{what}");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], code, "{what}");
        assert_eq!(body["detail"], body["error"], "{what}");
        assert_eq!(body["type"], "about:blank", "{what}");
        assert!(body["title"].is_string(), "{what}");
        assert!(!body["error"].as_str().unwrap().contains(SECRET), "{what}");
    }
}

#[tokio::test]
async fn the_documented_500s_carry_their_reason() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let error = BundleError::Storage {
        action: "write the upload".into(),
        source: full,
    };
    assert!(ApiError::from(error).text().contains("the disk is full"));
    let error = ControlError::Remains {
        name: name(),
        what: "network `x` is in use".into(),
    };
    assert!(
        ApiError::from(error)
            .text()
            .contains("network `x` is in use")
    );
}

#[tokio::test]
async fn a_panic_shows_no_internal_details() {
    let response = crashed(Box::new(SECRET.to_owned()));
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        text.contains("\"error\":\"the Director failed") && !text.contains(SECRET),
        "{text}"
    );
}

#[test]
fn only_a_task_whose_master_never_ran_is_a_500() {
    assert_eq!(
        task_status(TaskStatus::Errored, false),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(task_status(TaskStatus::Errored, true), StatusCode::OK);
    assert_eq!(task_status(TaskStatus::Stopped, false), StatusCode::OK);
    assert_eq!(task_status(TaskStatus::Initializing, false), StatusCode::OK);
}

#[test]
fn responses_without_a_request_have_the_declared_length() {
    for (response, expected) in [
        (TOO_MANY_CONNECTIONS, ("busy", 503)),
        (PLAIN_HTTP, ("https_required", 400)),
    ] {
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", expected.1)));
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!((problem.code.as_str(), problem.status), expected);
    }
}

#[test]
fn a_busy_director_sends_retry_after() {
    let busy = RequestError::Busy {
        what: "downloads and uploads",
        number: 64,
    };
    let response = ApiError::from(busy).into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "5");
}
