//! `GET /metrics`: the documented metrics, in strict formats, with a bounded number of lines.

mod exposition;

use crate::fixture::{Answer, Director, IMAGE, payload, request, zip};
use atq_access::Role as ClientRole;
use atq_director::api::Peer;
use atq_engine::growing::GrowingFiles;
use atq_engine::{Role, Source};
use atq_engine_swarm::fake::FakeSwarm;
use atq_task::spec::TaskName;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use exposition::{Exposition, Format, documented, documented_values};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{advance, sleep, timeout};

const OPEN_METRICS: &str = "application/openmetrics-text";
/// A result file.
const FILE: &str = "results.csv";
/// Interval of the figures of stored data.
const CENSUS: Duration = Duration::from_secs(15);

async fn scrape(director: &Director) -> Exposition {
    let answer = director.get_as("/metrics", OPEN_METRICS).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    Exposition::parse(&answer.text(), Format::OpenMetrics).unwrap()
}

/// A scrape that follows others: they are counted, and the nodes are listed.
async fn complete_scrape(director: &Director) -> Exposition {
    loop {
        let metrics = scrape(director).await;
        if metrics.series("atq_nodes") > 0 && requests_of(&metrics, "/metrics") > 0 {
            return metrics;
        }
        tokio::task::yield_now().await;
    }
}

/// The number of series for requests of a route.
fn requests_of(metrics: &Exposition, route: &str) -> usize {
    let names = metrics.names_of("atq_http_requests_total");
    let label = format!("route=\"{route}\"");
    names
        .iter()
        .filter(|series| series.contains(&label))
        .count()
}

/// Runs a task to its end, whose master ends by itself.
async fn run(director: &Director, name: &str) {
    director.swarm.image(IMAGE).in_role(Role::Master).exits(0);
    assert_eq!(director.put(&payload(name)).await.status, StatusCode::OK);
    director.until(name, |task| task["step"] == "done").await;
}

/// A Director after a run with an uploaded bundle.
async fn used() -> Director {
    used_with(&GrowingFiles::default()).await
}

async fn used_with(files: &GrowingFiles) -> Director {
    let director = Director::with_files("", files).await;
    let bundle = zip(&[("plan.txt", &"plan ".repeat(100))]);
    assert_eq!(director.upload("plan.zip", &bundle).await.status, 200);
    run(&director, "one").await;
    director
}

/// As [`used`], with a running test that has figures.
async fn busy() -> Director {
    let files = GrowingFiles::default();
    let director = used_with(&files).await;
    director
        .swarm
        .image(IMAGE)
        .in_role(Role::Master)
        .after(Duration::from_secs(3600));
    assert_eq!(director.put(&payload("load")).await.status, StatusCode::OK);
    director
        .until("load", |task| task["step"] == "running")
        .await;
    let worker = Source::new(Role::Worker, 1);
    files.append(worker, FILE, "timestamp,elapsed,label,success,active\n");
    for _ in 0..100 {
        let now = director.orchestrator.shared().clock.now().0;
        files.append(worker, FILE, &format!("{},1500,Login,true,7\n", now - 1500));
        sleep(Duration::from_millis(200)).await;
        let metrics = scrape(&director).await;
        let occurs = |name| metrics.series(name) > 0;
        if ["atq_task_container_cpus", "atq_task_sample_rate"]
            .into_iter()
            .all(occurs)
        {
            return director;
        }
    }
    panic!("{:#?}", scrape(&director).await.all_names());
}

#[tokio::test(start_paused = true)]
async fn the_output_follows_the_rules_of_both_formats() {
    let director = busy().await;
    let open = director.get_as("/metrics", OPEN_METRICS).await;
    let text = director.get("/metrics").await;
    let open = Exposition::parse(&open.text(), Format::OpenMetrics).unwrap();
    let text = Exposition::parse(&text.text(), Format::Text).unwrap();
    let names = |exposition: &Exposition| -> Vec<String> {
        let families = exposition.families.iter();
        families.map(|family| family.full_name()).collect()
    };
    assert_eq!(names(&open), names(&text));
    for family in &open.families {
        assert!(family.name.starts_with("atq_"), "{}", family.name);
        assert!(family.help.ends_with('.'), "{}", family.help);
        let unit = ["_seconds", "_bytes"].map(|unit| family.name.ends_with(unit));
        assert_eq!(family.unit.is_some(), unit.contains(&true), "{family:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_documented_with_its_type_and_labels_and_every_documented_one_occurs() {
    let director = busy().await;
    let metrics = scrape(&director).await;
    let found: BTreeSet<_> = metrics
        .families
        .iter()
        .map(|family| (family.full_name(), family.kind.clone(), family.labels()))
        .collect();
    assert_eq!(found, documented());
}

#[tokio::test(start_paused = true)]
async fn every_label_value_is_documented() {
    let director = busy().await;
    director.call("BREW", "/task").await;
    let metrics = complete_scrape(&director).await;
    for label in [
        "state",
        "outcome",
        "verdict",
        "method",
        "call",
        "result",
        "availability",
        "form",
        "quantile",
    ] {
        let (found, documented) = (metrics.label_values(label), documented_values(label));
        assert!(!found.is_empty(), "{label}");
        let unknown: Vec<_> = found.difference(&documented).collect();
        assert!(unknown.is_empty(), "{label}: {unknown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_test_has_figures_which_end_with_it() {
    let director = busy().await;
    let metrics = scrape(&director).await;
    let value = |series: &str| metrics.value(&series.replace("{", "{task=\"load\""));
    assert!(value("atq_task_samples{}").unwrap() > 5.0);
    assert_eq!(value("atq_task_errors{}"), Some(0.0));
    assert_eq!(value("atq_task_error_ratio{}"), Some(0.0));
    assert_eq!(value("atq_task_active_users{}"), Some(7.0));
    assert!((0.5..=6.0).contains(&value("atq_task_sample_rate{}").unwrap()));
    assert!(value("atq_task_lag_seconds{}").unwrap() < 1.0);
    for quantile in ["0.5", "0.95", "0.99"] {
        let series =
            format!("atq_task_response_time_seconds{{quantile=\"{quantile}\",task=\"load\"}}");
        assert_eq!(
            metrics.value(&series),
            Some(1.5),
            "{:?}",
            metrics.all_names()
        );
    }
    let samples = value("atq_task_samples{}");
    assert_eq!(value("atq_task_response_times_seconds_count{}"), samples);
    for (bound, count) in [
        ("0.001", None),
        ("0.5", Some(0.0)),
        ("2.5", samples),
        ("+Inf", samples),
    ] {
        let series =
            format!("atq_task_response_times_seconds_bucket{{le=\"{bound}\",task=\"load\"}}");
        assert_eq!(metrics.value(&series), count, "{bound}");
    }
    let workers = |state| {
        metrics.value(&format!(
            "atq_task_workers{{state=\"{state}\",task=\"load\"}}"
        ))
    };
    assert_eq!(
        (workers("running"), workers("lost")),
        (Some(2.0), Some(0.0))
    );
    director.call("POST", "/task/load/stop").await;
    director.until("load", |task| task["step"] == "done").await;
    let after = scrape(&director).await;
    let names = after.all_names();
    let of_task = names.iter().filter(|name| name.starts_with("atq_task_"));
    assert_eq!(of_task.count(), 0, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_task_is_stored_but_has_no_state() {
    let director = used().await;
    let store = director.orchestrator.shared().store.clone();
    store.damage(&TaskName::parse("one").unwrap());
    store.repair().unwrap();
    let metrics = scrape(&director).await;
    assert_eq!(metrics.value("atq_store_tasks"), Some(1.0));
    let readable = metrics.names_of("atq_tasks").into_iter();
    let readable: f64 = readable.filter_map(|series| metrics.value(&series)).sum();
    assert_eq!(readable, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_determined_is_absent_and_the_others_are_there() {
    let director = Director::new().await;
    std::fs::remove_dir_all(director.dir.path().join("bundles")).unwrap();
    let metrics = scrape(&director).await;
    assert_eq!(metrics.series("atq_bundles"), 0);
    assert_eq!(metrics.series("atq_bundles_bytes"), 0);
    assert_eq!(metrics.value("atq_store_tasks"), Some(0.0));
    assert_eq!(metrics.value("atq_evidence_bytes"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn a_run_moves_the_counters() {
    let director = Director::new().await;
    let before = scrape(&director).await;
    for outcome in ["finished", "errored", "stopped"] {
        let count = before.value(&format!("atq_runs_ended_total{{outcome=\"{outcome}\"}}"));
        assert_eq!(count, Some(0.0));
    }
    assert_eq!(before.value("atq_runs_accepted_total"), Some(0.0));
    assert_eq!(before.value("atq_tasks{state=\"finished\"}"), Some(0.0));
    run(&director, "one").await;
    // The definition is equal: it attaches to no new run, but the task has ended.
    assert_eq!(director.put(&payload("one")).await.status, 409);
    advance(CENSUS).await;
    let after = scrape(&director).await;
    for (series, value) in [
        ("atq_runs_accepted_total", 1.0),
        ("atq_runs_ended_total{outcome=\"finished\"}", 1.0),
        ("atq_runs_ended_total{outcome=\"errored\"}", 0.0),
        ("atq_tasks{state=\"finished\"}", 1.0),
        ("atq_tasks{state=\"running\"}", 0.0),
        ("atq_store_tasks", 1.0),
        ("atq_queue_length", 0.0),
        ("atq_engine_up", 1.0),
        ("atq_nodes{availability=\"active\",state=\"ready\"}", 1.0),
        ("atq_nodes{availability=\"inactive\",state=\"down\"}", 0.0),
    ] {
        assert_eq!(after.value(series), Some(value), "{series}");
    }
    let verdicts = ["pass", "fail", "invalid"].map(|verdict| {
        let series = format!("atq_runs_judged_total{{verdict=\"{verdict}\"}}");
        after.value(&series).unwrap()
    });
    assert_eq!(verdicts.iter().sum::<f64>(), 1.0);
    // Each step of the history is measured once, with its duration there.
    let timings = director.state("one").await.timings;
    assert!(timings.len() > 8, "{timings:?}");
    let mut measured = 0;
    for (step, millis) in &timings {
        let step = step.as_str();
        let series = |part| format!("atq_run_step_duration_seconds_{part}{{step=\"{step}\"}}");
        assert_eq!(after.value(&series("count")), Some(1.0), "{step}");
        let sum = after.value(&series("sum")).unwrap();
        assert!((sum - *millis as f64 / 1000.0).abs() < 1e-9, "{step}");
        measured += 1;
    }
    assert_eq!(
        after.series("atq_run_step_duration_seconds_count"),
        measured
    );
    let created = "{call=\"create_service\",result=\"ok\"}";
    let created = after.value(&format!("atq_engine_calls_total{created}"));
    // Sidecar, workers, master.
    assert_eq!(created, Some(3.0));
    assert!(after.value("atq_evidence_bytes").unwrap() > 0.0);
    assert!(after.value("atq_store_bytes").unwrap() > 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_a_running_a_stopped_and_a_failed_task_are_told_apart() {
    let swarm = FakeSwarm::new();
    for image in ["atq-discovery:dev", "atq-carrier:dev", IMAGE] {
        swarm.image(image);
    }
    let director = Director::on(swarm, "maxConcurrentTasks: 1\n").await;
    for name in ["first", "second"] {
        director.put(&payload(name)).await;
    }
    director
        .until("first", |task| task["step"] == "running")
        .await;
    let metrics = scrape(&director).await;
    assert_eq!(metrics.value("atq_tasks{state=\"running\"}"), Some(1.0));
    assert_eq!(metrics.value("atq_tasks{state=\"queued\"}"), Some(1.0));
    assert_eq!(metrics.value("atq_queue_length"), Some(1.0));
    director.call("POST", "/task/second/stop").await;
    director
        .until("second", |task| task["step"] == "done")
        .await;
    director.swarm.kill("worker", 1, 1);
    director.call("POST", "/task/first/stop").await;
    director.until("first", |task| task["step"] == "done").await;
    advance(CENSUS).await;
    let metrics = scrape(&director).await;
    assert_eq!(metrics.value("atq_tasks{state=\"stopped\"}"), Some(2.0));
    let ended = "atq_runs_ended_total{outcome=\"stopped\"}";
    assert_eq!(metrics.value(ended), Some(2.0));
}

#[tokio::test(start_paused = true)]
async fn failed_calls_of_the_engine_are_counted_by_their_code_and_the_engine_is_down() {
    let director = Director::new().await;
    let refusal = atq_engine_swarm::SwarmError::NotManager;
    director.swarm.fail_all(Some(refusal));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let metrics = scrape(&director).await;
    assert_eq!(metrics.value("atq_engine_up"), Some(0.0));
    let series = "atq_engine_calls_total{call=\"manager\",result=\"not_a_manager\"}";
    assert!(metrics.value(series).unwrap() >= 1.0);
    // Nobody has listed the nodes, and a manager that does not answer is not asked.
    assert_eq!(metrics.series("atq_nodes"), 0);
}

#[tokio::test(start_paused = true)]
async fn nodes_are_counted_by_state_and_availability() {
    let director = Director::new().await;
    director.swarm.add_node("node-2");
    director.swarm.set_active("node-2", false);
    // The first scrape lets the Director ask, without waiting.
    scrape(&director).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = scrape(&director).await;
    let count = |availability, state| {
        let labels = format!("{{availability=\"{availability}\",state=\"{state}\"}}");
        metrics.value(&format!("atq_nodes{labels}"))
    };
    assert_eq!(count("active", "ready"), Some(1.0));
    assert_eq!(count("inactive", "ready"), Some(1.0));
    assert_eq!(count("active", "down"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn scrapes_count_stored_data_at_intervals_and_list_nodes_once_a_minute() {
    let director = Director::new().await;
    let listed = |director: &Director| {
        let calls = director.swarm.calls().into_iter();
        calls.filter(|call| call.method == "nodes").count()
    };
    assert_eq!(scrape(&director).await.value("atq_bundles"), Some(0.0));
    director.upload("a.zip", &zip(&[("a", "a")])).await;
    for _ in 0..50 {
        assert_eq!(scrape(&director).await.value("atq_bundles"), Some(0.0));
    }
    advance(CENSUS).await;
    let metrics = scrape(&director).await;
    assert_eq!(metrics.value("atq_bundles"), Some(1.0));
    let size = |form| metrics.value(&format!("atq_bundles_bytes{{form=\"{form}\"}}"));
    assert_eq!(size("unpacked"), Some(1.0));
    assert!(size("zip").unwrap() > 1.0);
    assert_eq!(listed(&director), 1);
    for _ in 0..9 {
        advance(CENSUS).await;
        scrape(&director).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // 150 s after the first list.
    assert_eq!(listed(&director), 3);
}

#[tokio::test]
async fn without_scrapes_nothing_is_listed() {
    let director = Director::new().await;
    director.get("/task").await;
    let methods: BTreeSet<_> = director
        .swarm
        .calls()
        .iter()
        .map(|call| call.method)
        .collect();
    assert!(!methods.contains("nodes"), "{methods:?}");
}

/// The series of requests.
fn requests(metrics: &Exposition) -> BTreeSet<String> {
    let mut series = metrics.names_of("atq_http_requests_total");
    series.retain(|series| !series.contains("/metrics"));
    series
}

fn series(route: &str, method: &str, status: u16) -> String {
    format!("atq_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}")
}

#[tokio::test]
async fn requests_are_counted_by_the_template_of_their_route() {
    let director = Director::new().await;
    for path in [
        "/task/a",
        "/api/task/b",
        "/api/task/c/",
        "/task/d?x=1",
        "/monitoring/ping",
        "/api/monitoring/ping",
        "/monitoring/ping/",
        "/swagger-ui/swagger-ui.css",
        "/swagger-ui/missing",
        "/sign-in",
        "/carrier/x",
    ] {
        director.get(path).await;
    }
    director.call("DELETE", "/task/e").await;
    director.call("PUT", "/task/f").await;
    director.call("HEAD", "/healthz").await;
    director.call("POST", "/monitoring/ping").await;
    let mut foreign = request("GET", "/task", Body::empty());
    let host = "evil.example".parse().unwrap();
    foreign.headers_mut().insert(header::HOST, host);
    director.send(foreign).await;
    let ready = request("GET", "/carrier/ready", Body::empty());
    director.send_to_carriers(ready).await;
    let nowhere = request("GET", "/task", Body::empty());
    director.send_to_carriers(nowhere).await;
    let metrics = scrape(&director).await;
    let expected = [
        (series("/task/{id}", "GET", 404), 4.0),
        (series("/task/{id}", "DELETE", 404), 1.0),
        (series("/task/{id}", "PUT", 405), 1.0),
        (series("/monitoring/ping", "GET", 200), 3.0),
        (series("/monitoring/ping", "POST", 405), 1.0),
        (series("/healthz", "HEAD", 200), 1.0),
        (series("/swagger-ui/{*rest}", "GET", 200), 1.0),
        (series("/swagger-ui/{*rest}", "GET", 404), 1.0),
        (series("/sign-in", "GET", 200), 1.0),
        (series("none", "GET", 404), 1.0),
        (series("none", "GET", 403), 1.0),
        (series("none", "GET", 421), 1.0),
        (series("/carrier/ready", "GET", 200), 1.0),
    ];
    for (series, count) in &expected {
        let found = requests(&metrics);
        assert_eq!(metrics.value(series), Some(*count), "{series}: {found:#?}");
    }
    assert_eq!(requests(&metrics).len(), expected.len());
}

#[tokio::test]
async fn a_thousand_paths_and_hostile_methods_add_no_series() {
    let director = Director::new().await;
    let attack = async |number: usize| {
        for path in [
            format!("/x{number}"),
            format!("/task/t{number}"),
            format!("/task/t{number}/logs"),
            format!("/databind/{number}%22%0a"),
            format!("/swagger-ui/{number}"),
            format!("/api/api/{number}"),
        ] {
            director.get(&path).await;
        }
        let method = format!("M{number}");
        director.call(&method, "/task").await;
        director.call(&method, "/nowhere").await;
    };
    attack(0).await;
    let first = complete_scrape(&director).await;
    for number in 1..=1000 {
        attack(number).await;
    }
    let last = scrape(&director).await;
    assert_eq!(last.all_names(), first.all_names());
    assert_eq!(last.value(&series("none", "other", 404)), Some(1001.0));
    assert_eq!(last.value(&series("/task", "other", 405)), Some(1001.0));
    assert_eq!(last.value(&series("none", "GET", 404)), Some(2002.0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_disconnects_is_counted_with_its_own_status() {
    let director = Director::new().await;
    let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let sent = director.send(request("PUT", "/task", Body::from_stream(endless)));
    let waited = timeout(Duration::from_secs(1), sent).await;
    assert!(waited.is_err());
    let metrics = scrape(&director).await;
    assert_eq!(metrics.value(&series("/task", "PUT", 499)), Some(1.0));
    let labels = "{method=\"PUT\",route=\"/task\"}";
    let sum = metrics.value(&format!("atq_http_request_duration_seconds_sum{labels}"));
    assert!((1.0..1.5).contains(&sum.unwrap()), "{sum:?}");
}

#[tokio::test]
async fn the_format_depends_on_accept() {
    let director = Director::new().await;
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = "text/plain; version=0.0.4; charset=utf-8";
    for (accept, kind) in [
        ("application/openmetrics-text", open),
        ("application/openmetrics-text; version=1.0.0", open),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            open,
        ),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.1", text),
        ("application/openmetrics-text;version=0.0.1", text),
        ("application/openmetrics-text;q=0", text),
        ("application/vnd.google.protobuf", text),
        ("*/*", text),
        ("text/html", text),
        ("", text),
    ] {
        let answer = director.get_as("/metrics", accept).await;
        assert_eq!(
            (answer.status, answer.kind()),
            (StatusCode::OK, kind),
            "{accept}"
        );
        let is_open = answer.text().ends_with("\n# EOF\n");
        assert_eq!(is_open, kind == open, "{accept}");
    }
}

#[tokio::test]
async fn a_scraper_needs_a_token_of_any_role_or_the_socket() {
    let director = Director::with("auth: tokens\nsocket: /run/atq/atq.sock\n").await;
    let get = || request("GET", "/metrics", Body::empty());
    let refused = director.send(get()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.kind(), "application/problem+json");
    let is_given = |answer: &Answer| answer.text().contains("\natq_queue_length 0\n");
    assert!(!is_given(&refused));
    for role in ClientRole::ALL {
        let token = director.token(role.as_str(), role).await;
        assert!(is_given(&director.send_as(&token, get()).await), "{role}");
    }
    let mut local = get();
    local.extensions_mut().insert(Peer::Socket { uid: 1000 });
    assert!(is_given(&director.send(local).await));
}
