//! Tests of the contract of 2018.

use crate::fixture::{Director, IMAGE, SECRET, payload, request, zip};
use atq_engine::Role;
use atq_engine_swarm::SwarmError;
use atq_engine_swarm::fake::FakeSwarm;
use axum::body::Body;
use axum::http::{StatusCode, header};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn ping_returns_pong() {
    let director = Director::new().await;
    for path in [
        "/monitoring/ping",
        "/api/monitoring/ping",
        "/api/monitoring/ping/",
        "/monitoring/ping/",
    ] {
        let answer = director.get(path).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (StatusCode::OK, "pong"),
            "{path}"
        );
        assert_eq!(answer.kind(), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn the_swarm_returns_its_tokens() {
    let director = Director::new().await;
    for path in ["/swarm", "/swarm/", "/api/swarm", "/api/swarm/"] {
        let answer = director.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let tokens = answer.json()["joinTokens"].clone();
        assert!(
            tokens["manager"].is_string() && tokens["worker"].is_string(),
            "{tokens}"
        );
        assert_eq!(answer.json().as_object().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn each_error_of_docker_has_its_own_message() {
    let director = Director::new().await;
    let errors = [
        (
            SwarmError::NotASwarm,
            "Docker is not part of a swarm; run `docker swarm init` first",
        ),
        (
            SwarmError::NotManager,
            "Docker is a worker of its swarm; the Director needs a manager",
        ),
        (
            SwarmError::Unavailable {
                host: "unix:///x.sock".into(),
                reason: "no such file".into(),
            },
            "cannot reach Docker at `unix:///x.sock`: no such file",
        ),
    ];
    for (error, message) in errors {
        director.swarm.fail_all(Some(error));
        let answer = director.get("/swarm/").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.error(), message);
    }
}

#[tokio::test]
async fn join_tokens_are_shown_to_admins_only_when_clients_need_tokens() {
    let director = Director::with("bind: 0.0.0.0\nauth: tokens\n").await;
    let swarm = || request("GET", "/swarm", Body::empty());
    let unknown = director.send(swarm()).await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    assert!(!unknown.text().contains("SWMTKN"));
    let runner = director.token("ci", atq_access::Role::Runner).await;
    let refused = director.send_as(&runner, swarm()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!refused.text().contains("SWMTKN"));
    let admin = director.token("ana", atq_access::Role::Admin).await;
    let shown = director.send_as(&admin, swarm()).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.text().contains("SWMTKN"));
}

#[tokio::test]
async fn a_definition_is_accepted_at_once() {
    let director = Director::new().await;
    let answer = director.put(&payload("first")).await;
    assert_eq!(answer.status, StatusCode::OK);
    insta::assert_snapshot!(answer.text(), @r#"{"id":"first","status":"initializing"}"#);
    assert_eq!(answer.kind(), "application/json");
}

#[tokio::test]
async fn the_example_of_the_manual_is_accepted() {
    let director = Director::with("").await;
    let id = director
        .upload("abvetmadrid.zip", &zip(&[("abvetmadrid.jmx", "<x/>")]))
        .await
        .json()["id"]
        .clone();
    let manual = json!({
        "delay": 2,
        "master": {
            "alias": "Coordinator", "image": "tenrero/jmeterdistributed", "fileid": id,
            "environment": ["MODE=master", "TEST_PATH=/atq/data/abvetmadrid.jmx"], "replicas": 1, "tty": true
        },
        "name": "jm11",
        "waitCommand": {"command": "sleep 4", "expectedResult": "", "timeout": 2},
        "worker": {
            "alias": "Minions", "image": "tenrero/jmeterdistributed", "replicas": 3,
            "environment": ["MODE=node"], "tty": true
        }
    });
    let mut request = request("PUT", "/api/task/", Body::from(manual.to_string()));
    // The default of `curl -d`.
    request.headers_mut().insert(
        header::CONTENT_TYPE,
        "application/x-www-form-urlencoded".parse().unwrap(),
    );
    let answer = director.send(request).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::OK, r#"{"id":"jm11","status":"initializing"}"#)
    );
    let task = director.get("/api/task/jm11").await.json();
    assert_eq!(task["master"]["fileId"], id);
    assert_eq!(task["master"]["tty"], true);
    assert_eq!(task["worker"]["replicas"], 3);
    assert_eq!(
        task["waitCommand"],
        json!({"command": "sleep 4", "expectedResult": "", "timeout": 2})
    );
    assert_eq!(task["delay"], 2);
}

#[tokio::test]
async fn all_faults_are_reported_at_once() {
    let director = Director::new().await;
    let payload = json!({"name": "x!", "master": {"alias": "a", "image": "UPPER"}, "worker": {"image": "w"}, "dellay": 3});
    let answer = director.put(&payload).await;
    assert_eq!(answer.status, StatusCode::EXPECTATION_FAILED);
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "code": "definition_faulty",
      "detail": "`dellay`: is not a known field; did you mean `delay`?; `name`: `x!` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends; `master.image`: `UPPER` has the part `UPPER`; expected lower-case letters and digits, with single `.`, `_` or `-` between them; `worker.alias`: is missing; it is required",
      "error": "`dellay`: is not a known field; did you mean `delay`?; `name`: `x!` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends; `master.image`: `UPPER` has the part `UPPER`; expected lower-case letters and digits, with single `.`, `_` or `-` between them; `worker.alias`: is missing; it is required",
      "errors": [
        {
          "field": "dellay",
          "message": "is not a known field; did you mean `delay`?"
        },
        {
          "field": "name",
          "message": "`x!` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends"
        },
        {
          "field": "master.image",
          "message": "`UPPER` has the part `UPPER`; expected lower-case letters and digits, with single `.`, `_` or `-` between them"
        },
        {
          "field": "worker.alias",
          "message": "is missing; it is required"
        }
      ],
      "id": "",
      "status": "errored",
      "title": "Expectation Failed",
      "type": "about:blank"
    }
    "#);
}

#[tokio::test]
async fn the_refusal_of_a_definition_contains_its_valid_name() {
    let director = Director::new().await;
    let mut payload = payload("usable");
    payload["worker"]["fileid"] = json!("1530553166");
    let answer = director.put(&payload).await;
    assert_eq!(answer.status, StatusCode::EXPECTATION_FAILED);
    assert_eq!(answer.json()["id"], "usable");
    assert_eq!(answer.json()["errors"][0]["field"], "worker.fileid");
    assert_eq!(
        director.get("/task/usable").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn only_configured_images_are_allowed() {
    let rules =
        "images:\n  - imageName: load:1\n    variables:\n      - {name: MODE, required: true}\n";
    let director = Director::with(rules).await;
    let mut payload = payload("bound");
    payload["worker"]["image"] = json!("other:1");
    let answer = director.put(&payload).await;
    assert_eq!(answer.status, StatusCode::EXPECTATION_FAILED);
    insta::assert_json_snapshot!(answer.json()["errors"], @r#"
    [
      {
        "field": "master.environment",
        "message": "lacks `MODE`, which the image `load:1` requires"
      },
      {
        "field": "worker.image",
        "message": "image `other:1` is not allowed: expected one of `load:1`"
      }
    ]
    "#);
    payload["worker"]["image"] = json!("docker.io/library/load:1");
    payload["worker"]["environment"] = json!(["MODE=node"]);
    payload["master"]["environment"] = json!(["MODE=master"]);
    assert_eq!(director.put(&payload).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_same_definition_again_is_a_safe_repetition() {
    let director = Director::new().await;
    assert_eq!(director.put(&payload("again")).await.status, StatusCode::OK);
    assert_eq!(director.put(&payload("again")).await.status, StatusCode::OK);
    let mut other = payload("again");
    other["delay"] = json!(7);
    let answer = director.put(&other).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["code"], "task_differs");
    assert_eq!(answer.kind(), "application/json");
}

#[tokio::test]
async fn without_docker_nothing_is_stored() {
    let swarm = FakeSwarm::new();
    swarm.fail_all(Some(SwarmError::NotASwarm));
    let director = Director::on(swarm, "").await;
    let answer = director.put(&payload("nowhere")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.error().contains("docker swarm init"));
    assert_eq!(
        director.get("/task/nowhere").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_to_its_end_and_is_deleted() {
    let director = Director::new().await;
    director
        .swarm
        .image(IMAGE)
        .in_role(Role::Master)
        .exits(0)
        .after(Duration::from_secs(5))
        .prints(&["12 samples"]);
    director.put(&payload("whole")).await;
    let started = director
        .until("whole", |task| task["status"] == "started")
        .await;
    assert!(
        started["startedAt"].is_string() && started["workers"].is_array(),
        "{started}"
    );
    let ended = director.until("whole", |task| task["step"] == "done").await;
    assert_eq!(ended["status"], "finished");
    assert_eq!(ended["exitCode"], 0);
    assert!(!ended["master"]["id"].as_str().unwrap().is_empty());
    let again = director.put(&payload("whole")).await;
    assert_eq!(
        (again.status, again.json()["code"].as_str()),
        (StatusCode::CONFLICT, Some("task_ended"))
    );
    let gone = director.call("DELETE", "/api/task/whole").await;
    assert_eq!(
        (gone.status, gone.text().as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    for method in ["GET", "DELETE"] {
        let answer = director.call(method, "/task/whole").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.error(), "there is no task `whole`");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_could_not_be_created_is_a_500() {
    let director = Director::new().await;
    director
        .swarm
        .image(IMAGE)
        .in_role(Role::Worker)
        .never_starts("No such image: load:1");
    director.put(&payload("broken")).await;
    director
        .until("broken", |task| task["step"] == "done")
        .await;
    let answer = director.get("/task/broken").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let task = answer.json();
    assert_eq!(
        (&task["status"], &task["id"]),
        (&json!("errored"), &json!("broken"))
    );
    assert_eq!(task["failure"]["code"], "worker_failed");
    assert_eq!(task["error"], task["failure"]["message"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_master_is_not_a_500() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).in_role(Role::Master).exits(3);
    director.put(&payload("exits")).await;
    let task = director.until("exits", |task| task["step"] == "done").await;
    assert_eq!(
        (&task["status"], &task["exitCode"]),
        (&json!("errored"), &json!(3))
    );
    assert_eq!(director.get("/task/exits").await.status, StatusCode::OK);
}

#[tokio::test]
async fn vendor_media_types_are_returned_on_request() {
    let director = Director::new().await;
    director.upload("a.zip", &zip(&[("a", "b")])).await;
    director.put(&payload("media")).await;
    let task = "application/atq.task+json";
    let upload = "application/atq.databind.upload+json";
    let uploads = "application/atq.databind.upload+json; type=collection";
    let cases = [
        ("/task/media", task, task),
        (
            "/task/media",
            "application/atq.task+json; view=default",
            task,
        ),
        (
            "/task/media",
            "text/html, application/ATQ.task+json;q=0.2, */*;q=0.1",
            task,
        ),
        (
            "/task/media",
            "application/json, application/atq.task+json;q=0.9",
            "application/json",
        ),
        (
            "/task/media",
            "application/atq.task+json;q=0",
            "application/json",
        ),
        ("/task/media", "*/*", "application/json"),
        ("/task/media", "application/*", "application/json"),
        ("/task/media", "text/html", "application/json"),
        ("/task/media", upload, "application/json"),
        ("/databind/list", uploads, uploads),
        (
            "/databind/list",
            "application/atq.databind.upload+json;type=\"collection\"",
            uploads,
        ),
        ("/databind/list", upload, uploads),
        ("/databind/list", "application/json", "application/json"),
        (
            "/swarm",
            "application/atq.swarm+json",
            "application/atq.swarm+json",
        ),
        ("/task/none-such", task, task),
    ];
    for (path, accept, kind) in cases {
        assert_eq!(
            director.get_as(path, accept).await.kind(),
            kind,
            "{path} as {accept}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn values_of_variables_are_never_returned() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).in_role(Role::Master).exits(0);
    director.put(&payload("quiet")).await;
    let mut different = payload("quiet");
    different["delay"] = json!(1);
    let mut seen = vec![director.put(&different).await.text()];
    for bad in [
        json!([format!("{SECRET}")]),
        json!([{ "PASSWORD": SECRET }]),
        json!([format!("ATQ_X={SECRET}")]),
    ] {
        let mut faulty = payload("quiet2");
        faulty["worker"]["environment"] = bad;
        seen.push(director.put(&faulty).await.text());
    }
    director.until("quiet", |task| task["step"] == "done").await;
    for path in [
        "/task/quiet",
        "/task",
        "/task/quiet/events",
        "/task/quiet/logs",
    ] {
        seen.push(director.get(path).await.text());
    }
    let token = director
        .orchestrator
        .get(&serde_json::from_value(json!("quiet")).unwrap())
        .await
        .unwrap()
        .unwrap()
        .state
        .token;
    for text in seen {
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains(&token), "{text}");
    }
}

#[tokio::test]
async fn numbers_may_be_written_with_a_point() {
    let director = Director::new().await;
    let text = payload("pointed")
        .to_string()
        .replace("\"replicas\":2", "\"replicas\":2.0");
    let answer = director
        .send(request("PUT", "/task", Body::from(text)))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        director.get("/task/pointed").await.json()["worker"]["replicas"],
        Value::from(2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_client_does_not_cancel_its_delete() {
    let director = Director::new().await;
    director.put(&payload("left")).await;
    director
        .until("left", |task| task["status"] == "started")
        .await;
    // The client disconnects before the request is stored.
    let answered = director.call("DELETE", "/task/left").now_or_never();
    assert!(answered.is_none());
    director
        .until("left", |answer| answer["code"] == "task_not_found")
        .await;
    assert_eq!(director.swarm.leftovers(), Default::default());
}
