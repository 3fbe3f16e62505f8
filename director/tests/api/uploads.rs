//! Tests of uploads.

use crate::fixture::{Director, form, form_end, form_request, part, payload, request, zip};
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use futures_util::stream;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn an_upload_is_listed_described_and_removed() {
    let director = Director::new().await;
    let none = director.get("/api/databind/list").await;
    assert_eq!(
        (none.status, none.text().as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    let content = zip(&[("plan.jmx", "<x/>"), ("data/users.csv", "a,b")]);
    let answer = director.upload("plan.zip", &content).await;
    assert_eq!(answer.status, StatusCode::OK);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.json(), json!({ "id": id }));
    assert_eq!(
        director.upload("other.ZIP", &content).await.json(),
        json!({ "id": id })
    );
    let list = director.get("/databind/list/").await;
    assert_eq!(list.json(), json!([{ "id": id }]));
    let mut details = director.get(&format!("/databind/{id}")).await.json();
    assert!(details["createdAt"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        details,
        json!({"id": id, "fileName": "plan.zip", "bytes": content.len(), "unpackedBytes": 7, "createdAt": null,
            "files": [{"path": "data/users.csv", "bytes": 3}, {"path": "plan.jmx", "bytes": 4}]})
    );
    assert_eq!(
        director
            .call("DELETE", &format!("/databind/{id}"))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    for method in ["GET", "DELETE"] {
        let answer = director.call(method, &format!("/databind/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.kind(), "application/problem+json");
        assert_eq!(answer.json()["code"], "bundle_not_found");
    }
    assert_eq!(director.files(), 0);
}

#[tokio::test]
async fn a_bundle_in_use_cannot_be_removed() {
    let director = Director::new().await;
    let id = director.upload("a.zip", &zip(&[("a", "b")])).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut payload = payload("user");
    payload["master"]["fileid"] = json!(id);
    director.put(&payload).await;
    let answer = director.call("DELETE", &format!("/databind/{id}")).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.error().contains("`user`"), "{}", answer.error());
    assert_eq!(
        director.call("DELETE", "/task/user").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        director
            .call("DELETE", &format!("/databind/{id}"))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn invalid_zips_are_refused_and_leave_no_files() {
    let director = Director::with("limits: {uploadBytes: 4096}\n").await;
    let good = zip(&[("a", "b")]);
    let large = [b"PK\x03\x04".as_slice(), &[7; 5000]].concat();
    let cases: [(&str, &[u8], u16); 6] = [
        ("a.tar", &good, 415),
        ("", &good, 415),
        ("a.zip", b"hello, this is text", 415),
        ("a.zip", b"", 415),
        ("a.zip", &good[..good.len() - 10], 422),
        ("a.zip", &large, 413),
    ];
    for (name, content, status) in cases {
        let answer = director.upload(name, content).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text());
        assert_eq!(answer.kind(), "application/json");
        assert!(!answer.error().is_empty());
        assert_eq!(director.files(), 0, "{name}");
    }
    let hostile = director.upload("a.zip", &zip(&[("../up", "x")])).await;
    assert_eq!(hostile.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(hostile.error().contains("`../up`"), "{}", hostile.error());
    assert_eq!(director.files(), 0);
}

#[tokio::test]
async fn invalid_forms_are_refused() {
    let director = Director::new().await;
    let file = part("file", "a.zip", &zip(&[("a", "b")]));
    let bodies = [
        (form_end(), 415, "no_file"),
        (
            [part("other", "a.zip", b"x"), form_end()].concat(),
            415,
            "no_file",
        ),
        (
            [file.clone(), file.clone(), form_end()].concat(),
            400,
            "many_files",
        ),
        (file, 400, "bad_form"),
        (b"nonsense".to_vec(), 400, "bad_form"),
        (Vec::new(), 400, "bad_form"),
    ];
    for (body, status, code) in bodies {
        let answer = director.send(form_request(body)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_str()),
            (status, Some(code)),
            "{}",
            answer.text()
        );
        assert_eq!(director.files(), 0);
    }
    for kind in [
        None,
        Some("application/zip"),
        Some("multipart/form-data"),
        Some("application/json"),
    ] {
        let mut request = request(
            "POST",
            "/api/databind/upload/",
            Body::from(zip(&[("a", "b")])),
        );
        if let Some(kind) = kind {
            request
                .headers_mut()
                .insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        let answer = director.send(request).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{kind:?}"
        );
        assert_eq!(answer.json()["code"], "not_a_form");
    }
}

#[tokio::test]
async fn an_aborted_upload_leaves_no_files() {
    let director = Director::new().await;
    let whole = form("a.zip", &zip(&[("a", &"b".repeat(100_000))]));
    let half = Bytes::copy_from_slice(&whole[..whole.len() / 2]);
    let body = Body::from_stream(stream::iter([Ok(half), Err(io::Error::other("gone"))]));
    let answer = director.send(form_request(body)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(director.files(), 0);
    assert_eq!(
        director.get("/databind/list").await.status,
        StatusCode::NO_CONTENT
    );
}

/// A body in chunks of 64 KiB that counts the chunks read.
fn pieces(first: Vec<u8>, count: usize) -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let rest = (0..count).map(|_| Bytes::from_static(&[7; 65536]));
    let all = std::iter::once(Bytes::from(first))
        .chain(rest)
        .map(move |piece| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, io::Error>(piece)
        });
    (Body::from_stream(stream::iter(all)), taken)
}

#[tokio::test]
async fn the_rest_of_a_refused_body_is_read() {
    let director = Director::with("limits: {uploadBytes: 100000}\n").await;
    let start = [part("file", "a.zip", b"PK\x03\x04")].concat();
    for (name, status) in [("a.zip", 413), ("a.tar", 415)] {
        let start = String::from_utf8(start.clone())
            .unwrap()
            .replace("a.zip", name)
            .trim_end()
            .to_owned();
        let (body, taken) = pieces(start.into_bytes(), 100);
        let answer = director.send(form_request(body)).await;
        assert_eq!(
            (answer.status.as_u16(), taken.load(Ordering::SeqCst)),
            (status, 101),
            "{}",
            answer.text()
        );
    }
    let (body, taken) = pieces(Vec::new(), 100);
    let answer = director.send(request("PUT", "/task", body)).await;
    assert_eq!(
        (answer.status.as_u16(), taken.load(Ordering::SeqCst)),
        (413, 101)
    );
}

#[tokio::test]
async fn the_rest_of_a_refused_body_is_read_up_to_a_limit() {
    let director = Director::with("limits: {uploadBytes: 100000}\n").await;
    let start = String::from_utf8(part("file", "a.zip", b"PK\x03\x04"))
        .unwrap()
        .trim_end()
        .to_owned();
    let (body, taken) = pieces(start.into_bytes(), 100_000);
    let answer = director.send(form_request(body)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        taken.load(Ordering::SeqCst) < 1100,
        "{}",
        taken.load(Ordering::SeqCst)
    );
}

#[tokio::test]
async fn a_client_that_expects_continue_is_refused_before_it_sends() {
    let director = Director::with("limits: {uploadBytes: 100000}\n").await;
    let (body, taken) = pieces(Vec::new(), 100);
    let mut request = form_request(body);
    request
        .headers_mut()
        .insert(header::CONTENT_LENGTH, "6553600".parse().unwrap());
    request
        .headers_mut()
        .insert(header::EXPECT, "100-continue".parse().unwrap());
    let answer = director.send(request).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_memory_of_a_form_is_bounded() {
    let director = Director::new().await;
    // A header without end.
    let start = b"------atq-boundary\r\nContent-Disposition: ".to_vec();
    let (body, _) = pieces(start, 100);
    let answer = director.send(form_request(body)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["code"], "bad_form");
}
