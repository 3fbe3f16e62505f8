//! Tests of the additions to the contract of 2018.

use crate::fixture::{Director, IMAGE, payload};
use atq_engine::Role;
use atq_engine_swarm::fake::FakeSwarm;
use atq_engine_swarm::plan::{Errand, carrier_token};
use atq_task::spec::TaskName;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

fn ids(page: &Value) -> Vec<String> {
    page["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn tasks_are_listed_page_by_page() {
    let director = Director::with("maxConcurrentTasks: 1\n").await;
    assert_eq!(director.get("/task").await.json(), json!({"tasks": []}));
    for number in 0..5 {
        director.put(&payload(&format!("task-{number}"))).await;
    }
    let all = director.get("/api/task/").await.json();
    assert_eq!(ids(&all).len(), 5);
    assert_eq!(all["next"], Value::Null);
    let mut seen = Vec::new();
    let mut path = "/task?limit=2".to_owned();
    loop {
        let page = director.get(&path).await.json();
        seen.extend(ids(&page));
        // Deleting the last task of a page does not affect the next page.
        director
            .call("DELETE", &format!("/task/{}", seen.last().unwrap()))
            .await;
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/task?limit=2&after={next}");
    }
    assert_eq!(seen, ids(&all));
    let remaining = ids(&director.get("/task").await.json());
    assert_eq!(remaining.len(), 2);
    let after = director
        .get(&format!("/task?after={}", remaining[0]))
        .await
        .json();
    assert_eq!(ids(&after), [remaining[1].clone()]);
    assert_eq!(
        ids(&director.get("/task?status=finished").await.json()),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_queued_task_shows_its_position() {
    let director = Director::with("maxConcurrentTasks: 1\n").await;
    director.put(&payload("runs")).await;
    director
        .until("runs", |task| task["step"] != "queued")
        .await;
    director.put(&payload("waits-1")).await;
    director.put(&payload("waits-2")).await;
    let waiting = director.get("/task/waits-2").await.json();
    assert_eq!(
        (&waiting["step"], &waiting["queuePosition"]),
        (&json!("queued"), &json!(2))
    );
    assert!(waiting["timings"]["queued"].is_u64());
}

#[tokio::test(start_paused = true)]
async fn the_history_is_returned() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).in_role(Role::Master).exits(0);
    let mut payload = payload("told");
    payload["delay"] = json!(1);
    director.put(&payload).await;
    director.until("told", |task| task["step"] == "done").await;
    let history = director.get("/task/told/events").await.json();
    assert_eq!(history["id"], "told");
    let events = history["events"].as_array().unwrap();
    let numbers: Vec<u64> = events
        .iter()
        .map(|event| event["id"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        (&events[0]["event"], &events[0]["step"]),
        (&json!("queued"), &json!("queued"))
    );
    let keys: Vec<&String> = events[0]["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["run"]);
    let find = |name: &str| {
        events
            .iter()
            .find(|event| event["event"] == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    let delay = find("delayStarted");
    assert_eq!(delay["step"], "delay");
    assert!(
        delay["data"]["until"].as_str().unwrap().ends_with('Z'),
        "{delay}"
    );
    assert_eq!(find("masterEnded")["data"], json!({"exitCode": 0}));
    assert_eq!(find("masterStarted")["data"], json!({}));
    assert_eq!(events.last().unwrap()["data"], json!({"step": "done"}));
}

#[tokio::test(start_paused = true)]
async fn log_lines_are_available_during_and_after_the_run() {
    let director = Director::new().await;
    let image = |role| director.swarm.image(IMAGE).in_role(role);
    image(Role::Worker).prints(&["ready", "busy"]);
    image(Role::Master)
        .prints(&["12 samples"])
        .prints_to_stderr(&["slow"])
        .exits(0)
        .after(Duration::from_secs(60));
    director.put(&payload("logged")).await;
    director
        .until("logged", |task| task["status"] == "started")
        .await;
    let during = director
        .get("/task/logged/logs?service=worker&tail=1")
        .await;
    assert_eq!(
        (during.status, during.kind()),
        (StatusCode::OK, "text/plain; charset=utf-8")
    );
    let lines: Vec<String> = during.text().lines().map(without_time).collect();
    assert_eq!(lines, ["worker.1 busy", "worker.2 busy"]);
    director
        .until("logged", |task| task["step"] == "done")
        .await;
    let after = director.get("/task/logged/logs?replica=1").await;
    let mut lines: Vec<String> = after.text().lines().map(without_time).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "master.1 12 samples",
            "master.1 slow",
            "worker.1 busy",
            "worker.1 ready"
        ]
    );
    let entries = director
        .get_as("/task/logged/logs?service=master", "application/x-ndjson")
        .await;
    assert_eq!(entries.kind(), "application/x-ndjson");
    let text = entries.text();
    let mut last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(last["at"].take().is_string());
    assert_eq!(
        last,
        json!({"at": null, "service": "master", "replica": 1, "stream": "stderr", "text": "slow"})
    );
}

fn without_time(line: &str) -> String {
    line.split_once(' ').unwrap().1.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_stopped_task_keeps_its_record() {
    let director = Director::new().await;
    director.put(&payload("halted")).await;
    director
        .until("halted", |task| task["status"] == "started")
        .await;
    let answer = director.call("POST", "/api/task/halted/stop").await;
    assert_eq!(
        (answer.status, answer.json()["id"].as_str()),
        (StatusCode::ACCEPTED, Some("halted"))
    );
    let task = director
        .until("halted", |task| task["step"] == "done")
        .await;
    assert_eq!(task["status"], "stopped");
    assert_eq!(
        director.call("POST", "/task/halted/stop").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        ids(&director.get("/task?status=stopped").await.json()),
        ["halted"]
    );
}

#[tokio::test(start_paused = true)]
async fn force_is_a_boolean_and_recorded_in_the_history() {
    let director = Director::new().await;
    director.put(&payload("killed")).await;
    director
        .until("killed", |task| task["status"] == "started")
        .await;
    for (method, path) in [
        ("POST", "/task/killed/stop?force=yes"),
        ("POST", "/task/killed/stop?forced=true"),
        ("DELETE", "/task/killed?force=1"),
    ] {
        let answer = director.call(method, path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.error().contains("`force"), "{}", answer.error());
    }
    let answer = director.call("POST", "/task/killed/stop?force=true").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    director
        .until("killed", |task| task["step"] == "done")
        .await;
    let events = director.get("/task/killed/events").await.json();
    let mut events = events["events"].as_array().unwrap().iter();
    assert!(events.any(|one| one["event"] == "forced"));
    let answer = director.call("DELETE", "/task/killed?force=true").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn health_and_readiness() {
    let director = Director::new().await;
    assert_eq!(director.get("/healthz").await.text(), "ok");
    let ready = director.get("/readyz/").await;
    assert_eq!(ready.status, StatusCode::OK);
    assert_eq!(
        ready.json(),
        json!({"ready": true, "docker": "ok", "store": "ok", "recovery": "ok"})
    );
    director.recovered.send_replace(false);
    let early = director.get("/readyz").await;
    assert_eq!(early.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(early.json()["recovery"], "resuming earlier tasks");
    let swarm = FakeSwarm::new();
    swarm.down(true);
    let unavailable = Director::on(swarm, "").await.get("/api/readyz").await;
    assert_eq!(unavailable.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        unavailable.json()["docker"]
            .as_str()
            .unwrap()
            .starts_with("cannot reach Docker at"),
        "{}",
        unavailable.text()
    );
}

#[tokio::test]
async fn invalid_parameters_are_refused() {
    let director = Director::new().await;
    director.put(&payload("queried")).await;
    let cases = [
        (
            "/task?status=done",
            "`status` is `done`; expected one of `initializing`, `started`, `stopped`, `finished`, `errored`",
        ),
        (
            "/task?limit=0",
            "`limit` is `0`; expected a whole number from 1 to 1000",
        ),
        (
            "/task?limit=1001",
            "`limit` is `1001`; expected a whole number from 1 to 1000",
        ),
        (
            "/task?limit=1&limit=2",
            "`limit` is given twice; expected once",
        ),
        (
            "/task?after=none-such",
            "`after` is `none-such`; expected `next` of the previous page, or the id of a task",
        ),
        (
            "/task?stauts=errored",
            "`stauts` is not a parameter; did you mean `status`?",
        ),
        (
            "/task/queried/logs?service=masters",
            "`service` is `masters`; expected one of `worker`, `master`, `readiness`, `wait`",
        ),
        (
            "/task/queried/logs?replica=0",
            "`replica` is `0`; expected a whole number from 1 to 4294967295",
        ),
        (
            "/task/queried/logs?tail=-1",
            "`tail` is `-1`; expected a whole number from 0 to 4294967295",
        ),
        (
            "/task/queried/logs?services=master",
            "`services` is not a parameter; did you mean `service`?",
        ),
    ];
    for (path, text) in cases {
        let answer = director.get(path).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (StatusCode::BAD_REQUEST, text),
            "{path}"
        );
        assert_eq!(answer.kind(), "application/problem+json");
        assert_eq!(answer.json()["code"], "bad_query");
    }
}

#[tokio::test(start_paused = true)]
async fn results_are_returned_as_a_zip_once_the_run_has_ended() {
    let director = Director::new().await;
    let image = |role| director.swarm.image(IMAGE).in_role(role);
    image(Role::Worker).writes_result("own.csv", b"1,2\n");
    image(Role::Master)
        .writes_result("results.jtl", b"a,b\n")
        .writes_result("report/index.html", b"<html>")
        .exits(0)
        .after(Duration::from_secs(60));
    director.put(&payload("kept")).await;
    director
        .until("kept", |task| task["status"] == "started")
        .await;
    let early = director.get("/task/kept/results").await;
    assert_eq!(
        (early.status, early.json()["code"].clone()),
        (StatusCode::CONFLICT, json!("not_over"))
    );
    // A request right after the outcome gets all results.
    director
        .until("kept", |task| task["status"] == "finished")
        .await;
    let zip = director.get("/task/kept/results").await;
    assert_eq!(
        (zip.status, zip.kind()),
        (StatusCode::OK, "application/zip")
    );
    let name = zip.headers["content-disposition"].to_str().unwrap();
    assert!(name.starts_with("attachment; filename=\"kept-") && name.ends_with("-results.zip\""));
    let all = [
        "master.1/report/index.html",
        "master.1/results.jtl",
        "worker.1/own.csv",
        "worker.2/own.csv",
    ];
    let mut names = names(&zip.body);
    names.sort();
    assert_eq!(names, all);
    let second = director
        .get("/task/kept/results?service=worker&replica=2")
        .await;
    assert_eq!(self::names(&second.body), ["worker.2/own.csv"]);
}

fn names(zip: &[u8]) -> Vec<String> {
    let zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    zip.file_names()
        .map(|name| name.unwrap().into_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_error_without_results_names_their_directory() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).in_role(Role::Master).exits(0);
    director.put(&payload("bare")).await;
    director.until("bare", |task| task["step"] == "done").await;
    let answer = director.get("/task/bare/results").await;
    assert_eq!(
        (answer.status, answer.kind()),
        (StatusCode::NOT_FOUND, "application/problem+json")
    );
    assert_eq!(answer.json()["code"], "no_results");
    assert!(
        answer.error().contains("`/atq/results`"),
        "{}",
        answer.error()
    );
    assert_eq!(
        director.get("/task/nobody/results").await.status,
        StatusCode::NOT_FOUND
    );
    let wrong = director.get("/task/bare/results?service=wait").await;
    assert_eq!(wrong.json()["code"], "bad_query");
}

#[tokio::test(start_paused = true)]
async fn carriers_upload_results_and_usage_with_the_tokens_of_their_errands() {
    let director = Director::new().await;
    let master = director.swarm.image(IMAGE).in_role(Role::Master);
    master
        .hangs_on_results()
        .exits(0)
        .after(Duration::from_secs(5));
    let mut task = payload("carried");
    task["criteria"] = json!(["errors < 1%"]);
    director.put(&task).await;
    director
        .until("carried", |task| task["status"] == "started")
        .await;
    let state = director.state("carried").await;
    let send = async |method: &str, path: &str, token: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri(format!("/carrier/{}/{path}", state.run))
            .header("host", "127.0.0.1")
            .header("authorization", format!("Bearer {token}"))
            .header("x-atq-node", "node-1")
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()));
        let answer = director.send_to_carriers(request.unwrap()).await;
        assert!(answer.headers.contains_key("x-atq-now"));
        answer.status.as_u16()
    };
    let token = |errand| carrier_token(&state.token, &state.run, errand);
    let (own, watch) = (
        token(Errand::Collect { node: "node-1" }),
        token(Errand::Watch),
    );
    let container = director.container("worker", 1).await;
    let load = json!({
        "at": 1, "cpus": 4, "nodePercent": 50.0,
        "containers": [{"id": container, "source": "worker.1", "percent": 100.0}],
    })
    .to_string();
    assert_eq!(send("POST", "load", &watch, &load).await, 204);
    assert_eq!(send("POST", "load", "wrong", &load).await, 403);
    // A carrier of a later version, with numbers that are not plausible.
    let later = json!({
        "at": 1, "cpus": 4, "nodePercent": 50.0, "uptime": 1,
        "containers": [{"id": container, "source": "worker.1", "percent": 100.0, "pids": 3,
            "memory": 1000, "memoryLimit": u64::MAX, "received": 1u64 << 60, "sent": null, "read": 5}],
    });
    assert_eq!(send("POST", "load", &watch, &later.to_string()).await, 204);
    for wrong in [json!(-1), json!("many"), json!(1.5), json!([1])] {
        let mut load = later.clone();
        load["containers"][0]["memory"] = wrong;
        assert_eq!(send("POST", "load", &watch, &load.to_string()).await, 422);
    }
    assert_eq!(send("PUT", "results/master.1", &own, "").await, 409);
    director
        .until("carried", |task| task["step"] == "collect")
        .await;
    assert_eq!(send("PUT", "results/master.1", "wrong", "").await, 403);
    // The step starts a moment before results are accepted.
    let taken = async {
        loop {
            match send("PUT", "results/master.1", &own, "no tar").await {
                409 => tokio::time::sleep(Duration::from_millis(1)).await,
                other => break other,
            }
        }
    };
    let taken = tokio::time::timeout(Duration::from_secs(5), taken).await;
    assert_eq!(taken.unwrap(), 400);
    assert_eq!(send("PUT", "results/worker.99", &own, "").await, 403);
    assert_eq!(
        send("PUT", "results/master.1?problem=disk", &own, "").await,
        204
    );
    director
        .until("carried", |task| task["step"] == "done")
        .await;
    assert_eq!(send("PUT", "results/master.1", &own, "").await, 403);
    let evidence = &director.orchestrator.shared().evidence;
    let name = TaskName::parse("carried").unwrap();
    let usage = evidence
        .cpu_usage(&name, &state.run)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(usage.sources["worker.1"].busy.max, 25.0);
    let report = director.get("/task/carried/report").await.json();
    let worker = &report["containers"][0];
    assert_eq!(worker["name"], "worker.1");
    assert!(worker["memoryMax"].as_u64() > Some(0), "{worker}");
    // No plausible number was reported.
    assert!(worker.get("receivedBytes").is_none() && worker.get("sentBytes").is_none());
}
