//! Figures of a task while its test runs.

use crate::fixture::{Director, IMAGE, payload, request};
use crate::streams_and_manifest::{StreamEvent, parse_stream, stream};
use atq_api_spec::live::LiveTask;
use atq_api_spec::report::SeriesPoint;
use atq_engine::growing::GrowingFiles;
use atq_engine::{Role, Source};
use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

const FILE: &str = "results.csv";
const HEADER: &str = "timestamp,elapsed,label,success\n";
const WORKER: Source = Source::new(Role::Worker, 1);

/// A Director on which a test takes some seconds.
async fn director(seconds: u64, files: &GrowingFiles) -> Director {
    let director = Director::with_files("maxConcurrentTasks: 1\n", files).await;
    let master = director.swarm.image(IMAGE).in_role(Role::Master);
    master.exits(0).after(Duration::from_secs(seconds));
    director
}

/// A test with one worker.
fn test(name: &str) -> Value {
    let mut task = payload(name);
    task["worker"]["replicas"] = json!(1);
    task
}

async fn running(director: &Director, task: &Value) {
    assert_eq!(director.put(task).await.status, StatusCode::OK);
    let name = task["name"].as_str().unwrap();
    director.until(name, |task| task["step"] == "running").await;
}

async fn live(director: &Director, name: &str) -> LiveTask {
    let answer = director.get(&format!("/task/{name}/live")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// Writes 10 samples a second for some seconds, of which some are errors.
async fn write(director: &Director, files: &GrowingFiles, seconds: u64, errors: u64) {
    for _ in 0..seconds {
        for number in 0..10 {
            sleep(Duration::from_millis(100)).await;
            let end = director.orchestrator.shared().clock.now().0;
            let row = format!("{},{},Login,{}\n", end - 50, 50, number >= errors);
            files.append(WORKER, FILE, &row);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_resource_usage_of_containers_is_a_csv_file_while_the_test_runs_and_afterwards() {
    const COLUMNS: &str = "at,interval,container,id,node,sampled,cpus,cpus_max,cpus_limit,memory,memory_limit,received,sent,read,written";
    let director = director(30, &GrowingFiles::default()).await;
    let path = "/task/usage/container-metrics";
    assert_eq!(director.get(path).await.status, StatusCode::NOT_FOUND);
    running(&director, &test("usage")).await;
    let first = director.get(path).await;
    assert_eq!(first.headers["content-type"], "text/csv; charset=utf-8");
    let name = first.headers["content-disposition"].to_str().unwrap();
    assert!(name.ends_with("-container-metrics.csv\""), "{name}");
    let rows = async || director.get(path).await.text();
    let mut text = first.text();
    while !text.contains(",worker.1,") || !text.contains(",master.1,") {
        assert!(text.starts_with(COLUMNS) && text.ends_with('\n'), "{text}");
        assert_ne!(
            director.get("/task/usage").await.json()["step"],
            "done",
            "{text}"
        );
        sleep(Duration::from_millis(500)).await;
        text = rows().await;
    }
    director.until("usage", |task| task["step"] == "done").await;
    assert!(rows().await.contains(",worker.1,"));
}

#[tokio::test(start_paused = true)]
async fn figures_are_shown_while_the_test_runs_and_replaced_by_those_of_the_report() {
    let files = GrowingFiles::default();
    let director = director(8, &files).await;
    let mut task = test("figures");
    task["criteria"] = json!(["errors < 20%", "p95 of Login < 10ms", "p99 < 1s for 2s"]);
    task["maxDuration"] = json!(60);
    running(&director, &task).await;
    files.append(WORKER, FILE, HEADER);
    write(&director, &files, 4, 1).await;
    let during = live(&director, "figures").await;
    let figures = during.figures.clone().unwrap();
    assert!((25..=40).contains(&figures.total.samples), "{figures:?}");
    assert_eq!(figures.labels[0].name, "Login");
    assert_eq!(figures.workers[0].name, "worker.1");
    assert!(
        (7.0..=11.0).contains(&figures.last.throughput),
        "{:?}",
        figures.last
    );
    assert_eq!(
        (during.problem, during.verdict, during.is_final),
        (None, None, false)
    );
    assert!(during.lag_ms.unwrap() < 1000);
    assert!((4000..6000).contains(&during.elapsed_ms.unwrap()));
    assert_eq!(during.max_duration_ms, 60_000);
    assert_eq!((during.workers.wanted, during.workers.running), (1, 1));
    assert!(
        during.containers.iter().any(|one| one.name == "worker.1"),
        "{:?}",
        during.containers
    );
    let holds: Vec<bool> = during.criteria.iter().map(|one| one.holds).collect();
    assert_eq!(holds, [true, false, true], "{:?}", during.criteria);
    let points = figures.series.points;
    let later = points[2].at;
    let some = director
        .get(&format!("/task/figures/live?since={later}"))
        .await
        .json();
    let some = &some["figures"];
    assert_eq!(
        (
            some["seriesFrom"].as_u64(),
            some["series"]["points"][0]["at"].as_u64()
        ),
        (Some(later), Some(later))
    );

    director
        .until("figures", |task| task["step"] == "done")
        .await;
    let after = live(&director, "figures").await;
    let report = director.get("/task/figures/report").await.json();
    assert!(after.is_final && after.lag_ms.is_none() && after.problem.is_none());
    let figures = serde_json::to_value(after.figures.unwrap()).unwrap();
    assert_eq!(figures["total"], report["total"]);
    assert_eq!(figures["series"], report["series"]);
    assert_eq!(figures["labels"][0]["total"]["samples"], 40);
    assert_eq!(figures["sources"][0]["state"], "ended");
    assert_eq!(
        serde_json::to_value(&after.criteria).unwrap(),
        report["judgement"]["criteria"]
    );
    assert_eq!(serde_json::to_value(after.verdict).unwrap(), "fail");
    assert_eq!((after.workers.running, after.containers), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_test_without_figures_has_the_reason() {
    let files = GrowingFiles::default();
    let director = director(5, &files).await;
    running(&director, &test("first")).await;
    assert_eq!(director.put(&test("second")).await.status, StatusCode::OK);
    let waiting = live(&director, "second").await;
    assert_eq!((waiting.queue_position, waiting.run), (Some(1), None));
    assert_eq!(waiting.problem.as_deref(), Some("the test has not begun"));
    let first = live(&director, "first").await;
    assert_eq!(
        first.problem.as_deref(),
        Some("no bytes of result files have arrived yet")
    );
    files.fail(Some("no node reaches the Director"));
    sleep(Duration::from_secs(2)).await;
    let problem = live(&director, "first").await.problem.unwrap();
    assert_eq!(
        problem,
        "the results of worker.1, master.1 are not read: no node reaches the Director"
    );
    director.until("first", |task| task["step"] == "done").await;
    let ended = live(&director, "first").await;
    assert!(ended.is_final && ended.figures.is_none() && ended.verdict.is_none());
    let problem = ended.problem.unwrap();
    assert!(problem.starts_with("no result file was found"), "{problem}");
}

/// The points that a client has after these events.
fn points(events: &[StreamEvent]) -> Vec<SeriesPoint> {
    let mut points: Vec<SeriesPoint> = Vec::new();
    for event in events {
        let task: LiveTask = serde_json::from_value(event.data.clone()).unwrap();
        let Some(figures) = task.figures else {
            continue;
        };
        points.retain(|point| figures.series_from.is_some_and(|from| point.at < from));
        points.extend(figures.series.points);
    }
    points
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_the_changes_of_each_second_and_ends_with_the_final_state() {
    let files = GrowingFiles::default();
    let director = director(12, &files).await;
    running(&director, &test("stream")).await;
    files.append(WORKER, FILE, HEADER);
    let (text, ()) = tokio::join!(
        stream(&director, "/task/stream/live", None),
        write(&director, &files, 10, 1)
    );
    assert!(text.starts_with("retry: 2000\n\n"), "{text}");
    let events = parse_stream(&text);
    assert!(events.iter().all(|event| event.name == "live"));
    assert!((10..=25).contains(&events.len()), "{}", events.len());
    assert!(events.windows(2).all(|pair| pair[0].id < pair[1].id));
    let (last, before) = events.split_last().unwrap();
    assert_eq!(last.data["isFinal"], true);
    assert!(before.iter().all(|event| event.data["isFinal"] == false));
    let report = director.get("/task/stream/report").await.json();
    assert_eq!(last.data["figures"]["total"], report["total"]);
    // Only what has changed is sent.
    let figures = before
        .iter()
        .filter(|event| !event.data["figures"].is_null());
    let with_figures: Vec<&StreamEvent> = figures.collect();
    assert!(with_figures[0].data["figures"]["seriesFrom"].is_null());
    let sent = |event: &&StreamEvent| {
        event.data["figures"]["series"]["points"]
            .as_array()
            .unwrap()
            .len()
    };
    assert!(
        with_figures.iter().skip(1).all(|event| sent(event) <= 4),
        "{text}"
    );
    let of_samples =
        |points: Vec<SeriesPoint>| points.iter().map(|point| point.samples).sum::<u64>();
    assert_eq!(of_samples(points(before)), 100);
    assert_eq!(of_samples(points(&events)), 100);
    // After the end, there is the final state only.
    let again = parse_stream(&stream(&director, "/task/stream/live", Some("5")).await);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].data["figures"], last.data["figures"]);
}

/// Reads the first events of a stream.
async fn first_events(
    director: &Director,
    path: &str,
    last: Option<u64>,
    number: usize,
) -> Vec<StreamEvent> {
    use futures_util::StreamExt;
    use tower::ServiceExt;
    let mut request = request("GET", path, Body::empty());
    let headers = request.headers_mut();
    headers.insert("accept", "text/event-stream".parse().unwrap());
    if let Some(last) = last {
        headers.insert("last-event-id", last.to_string().parse().unwrap());
    }
    let response = director.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    while parse_stream(&text).len() < number || !text.ends_with("\n\n") {
        let part = body.next().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&part).unwrap());
    }
    parse_stream(&text)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reconnects_gets_what_has_changed() {
    let files = GrowingFiles::default();
    let director = director(60, &files).await;
    running(&director, &test("resumed")).await;
    files.append(WORKER, FILE, HEADER);
    write(&director, &files, 6, 0).await;
    let path = "/task/resumed/live";
    let mut events = first_events(&director, path, None, 2).await;
    write(&director, &files, 3, 0).await;
    let last = events.last().unwrap().id;
    let resumed = first_events(&director, path, last, 1).await;
    let figures = &resumed[0].data["figures"];
    assert!(figures["seriesFrom"].is_u64(), "{figures}");
    assert!(
        figures["series"]["points"].as_array().unwrap().len() <= 6,
        "{figures}"
    );
    events.extend(resumed);
    let now = live(&director, "resumed").await.figures.unwrap();
    assert_eq!(points(&events), now.series.points);
    // A state of another process.
    let unknown = first_events(&director, path, Some(7), 1).await;
    assert_eq!(points(&unknown), now.series.points);
    assert!(unknown[0].data["figures"]["seriesFrom"].is_null());
    let since = now.series.points[4].at;
    let since = first_events(&director, &format!("{path}?since={since}"), None, 1).await;
    assert_eq!(points(&since), now.series.points[4..]);
}

#[tokio::test(start_paused = true)]
async fn a_met_condition_stops_the_task_which_fails() {
    let files = GrowingFiles::default();
    let director = director(600, &files).await;
    let mut task = test("failing");
    task["stopWhen"] = json!(["throughput < 1/min for 5m", "errors>20% for 3s"]);
    running(&director, &task).await;
    files.append(WORKER, FILE, HEADER);
    // A window has complete seconds, of which the first and the last one are a part.
    write(&director, &files, 6, 1).await;
    let before = live(&director, "failing").await;
    let unknown = before.stop_when[0].unknown.as_deref();
    assert_eq!(unknown, Some("the run is shorter than the window"));
    assert_eq!(
        before.stop_when[1].seen.as_deref(),
        Some("10 %"),
        "{before:#?}"
    );
    write(&director, &files, 5, 9).await;
    let ended = director
        .until("failing", |task| task["step"] == "done")
        .await;
    assert_eq!(
        (&ended["status"], &ended["verdict"]),
        (&json!("stopped"), &json!("fail"))
    );
    assert_eq!(
        ended["stopWhen"],
        json!(["throughput < 1/min for 300s", "errors > 20% for 3s"])
    );
    assert_eq!(ended["stoppedWhen"]["condition"], "errors > 20% for 3s");
    let reason = ended["judgement"]["reasons"][0].as_str().unwrap();
    assert!(
        reason.starts_with("the run was stopped, as `errors > 20% for 3s` was met: "),
        "{reason}"
    );
    let events = director.get("/task/failing/events").await.json();
    let events = events["events"].as_array().unwrap();
    let met: Vec<_> = events
        .iter()
        .filter(|one| one["event"] == "stopConditionMet")
        .collect();
    assert_eq!(met.len(), 1);
    assert_eq!(met[0]["data"]["condition"], "errors > 20% for 3s");
    let after = live(&director, "failing").await;
    assert_eq!(
        after.stop_when[1].seen.as_deref(),
        met[0]["data"]["seen"].as_str()
    );
    let has_ended: Vec<bool> = after
        .stop_when
        .iter()
        .map(|one| one.has_ended_run)
        .collect();
    assert_eq!(has_ended, [false, true]);
    let manifest = director.get("/task/failing/manifest").await.json();
    assert_eq!(manifest["definition"]["stopWhen"], ended["stopWhen"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_task_ends_its_stream() {
    let files = GrowingFiles::default();
    let director = director(600, &files).await;
    running(&director, &test("gone")).await;
    let (text, deleted) = tokio::join!(
        stream(&director, "/task/gone/live", None),
        director.call("DELETE", "/task/gone")
    );
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let last = parse_stream(&text).pop().unwrap();
    let is_final = last.data["isFinal"] == true;
    assert!(
        last.name == "deleted" && last.id.is_none() || is_final,
        "{text}"
    );
}

#[tokio::test]
async fn unknown_tasks_and_invalid_parameters_are_refused() {
    let director = Director::new().await;
    assert_eq!(
        director.get("/task/nobody/live").await.status,
        StatusCode::NOT_FOUND
    );
    let stream = director
        .get_as("/task/nobody/live", "text/event-stream")
        .await;
    assert_eq!(stream.status, StatusCode::NOT_FOUND);
    assert_eq!(director.put(&payload("known")).await.status, StatusCode::OK);
    for query in [
        "since=x",
        "since=-1",
        "since=9007199254740993",
        "sinc=1",
        "since=1&since=2",
    ] {
        let answer = director.get(&format!("/task/known/live?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let mut request = request("GET", "/task/known/live", Body::empty());
    request
        .headers_mut()
        .insert("last-event-id", "x".parse().unwrap());
    assert_eq!(director.send(request).await.status, StatusCode::BAD_REQUEST);
    let text = director.get("/task/known/live").await.text();
    assert!(!text.contains(crate::fixture::SECRET));
}
