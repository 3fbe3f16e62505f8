//! Containers that cannot be started, or end immediately.

use super::case::{AT_ONCE, Case, run_all};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::failure_watcher::FailureWatcher;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::Image;
use serde_json::{Value, json};

const ABSENT: &str = "atq-no-such-image:1";

/// A task whose worker runs a shell script.
fn worker_runs(name: &str, image: &Image, script: &str) -> Value {
    let task = with(small_task(name, 1), "/worker/image", image.name.as_str());
    with(task, "/worker/args", json!([script]))
}

/// The worker may be observed as running for a moment; its failing readiness probe prevents a start of the master.
fn ends_immediately(task: Value) -> Case {
    let task = with(task, "/worker/readiness", json!({"tcp": 7000}));
    Case::new(task, Step::Resolve, "worker_failed").or_in(Step::Readiness)
}

#[tokio::test]
async fn failed_container_starts_are_named() -> Result<()> {
    let fixture = Fixture::start_with("test-start", AT_ONCE).await?;
    let watcher = FailureWatcher::start("test-start")?;
    let shell = Image::shell("atq-test-start-shell:1").await?;
    let hollow = r#"ENTRYPOINT ["/no/such/program"]"#;
    let hollow = Image::build("atq-test-start-hollow:1", hollow).await?;
    let cases = [
        Case::new(
            with(small_task("image-worker", 3), "/worker/image", ABSENT),
            Step::Resolve,
            "worker_failed",
        )
        // The replica varies.
        .message("0 of 3 workers run; replica ")
        .message(": rejected: No such image: atq-no-such-image:1")
        .hint("on every node"),
        Case::new(
            with(small_task("image-master", 1), "/master/image", ABSENT),
            Step::Master,
            "master_failed",
        )
        .message("the master did not start: rejected: No such image: atq-no-such-image:1")
        .hint("on every node"),
        ends_immediately(worker_runs("worker-exits-0", &shell, "echo enough; exit 0"))
            .hint("?service=worker")
            .message("0 of 1 workers run; replica 1: complete: exit code 0"),
        ends_immediately(worker_runs(
            "worker-exits-1",
            &shell,
            "echo no plan >&2; exit 1",
        ))
        .hint("?service=worker")
        .message("0 of 1 workers run; replica 1: failed: task: non-zero exit (1)"),
        ends_immediately(with(
            small_task("exec-worker", 2),
            "/worker/image",
            hollow.name.as_str(),
        ))
        .message("of 2 workers run; replica ")
        .message("failed: task: non-zero exit (127): its command was not found")
        .hint("`args`"),
        Case::new(
            with(
                small_task("exec-master", 1),
                "/master/image",
                hollow.name.as_str(),
            ),
            Step::Running,
            "master_exit",
        )
        .message("127 (its command was not found)")
        .hint("?service=master"),
    ];
    let cases: Vec<Case> = cases.into_iter().chain(unplaceable()).collect();
    run_all(&fixture, &watcher, &cases).await?;
    for (name, wanted) in [("worker-exits-0", "enough"), ("worker-exits-1", "no plan")] {
        let log = fixture.client().logs(name, "?service=worker").await?;
        ensure!(log.contains(wanted), "its log is kept:\n{log}");
    }
    fixture.finish().await
}

/// Three concurrent Directors, each with its own subnets.
#[tokio::test]
async fn missing_bundles_and_too_long_values_are_named() -> Result<()> {
    tokio::try_join!(unshared_bundle(), removed_bundle(), kernel_limits())?;
    Ok(())
}

/// `glusterpath` is in the Director's own mount namespace, like a directory that is not shared with the nodes.
async fn unshared_bundle() -> Result<()> {
    let fixture = Fixture::start_in_mount_namespace("test-bundle").await?;
    let watcher = FailureWatcher::start("test-bundle")?;
    let client = fixture.client();
    let bundle = || async { client.upload(zip(&[("a.txt", b"a")])?).await };
    let unshared = bundle().await?;
    let task = with(small_task("bundle-unshared", 1), "/worker/fileid", unshared);
    let task = with(task, "/delivery", "shared");
    let unshared = Case::new(task, Step::Resolve, "worker_failed")
        .message("0 of 1 workers run; replica 1: rejected: invalid mount config for type \"bind\": bind source path does not exist: /")
        .hint("`glusterpath`");
    run_all(&fixture, &watcher, &[unshared]).await?;
    fixture.finish().await
}

/// The second task is queued until the bundle is removed.
async fn removed_bundle() -> Result<()> {
    let more = "maxConcurrentTasks: 1\nsubnetPool: 10.199.16.0/20\n";
    let fixture = Fixture::start_with("test-bundle-removed", more).await?;
    let client = fixture.client();
    let watcher = FailureWatcher::start("test-bundle-removed")?;
    let fileid = client.upload(zip(&[("a.txt", b"a")])?).await?;
    let case = |role: &str, step| {
        let name = format!("bundle-removed-{role}");
        let pointer = format!("/{role}/fileid");
        let task = with(small_task(&name, 1), &pointer, fileid.as_str());
        let task = with(task, "/delivery", "shared");
        Case::new(with(task, "/delay", 3), step, "bundle_missing")
            .message(&format!("the bundle `{fileid}` is missing in `/"))
            .hint("upload it again")
    };
    let cases = [case("master", Step::Master), case("worker", Step::Workers)];
    for case in &cases {
        case.start(&client).await?;
    }
    let bundles = fixture.director().dir.join("bundles");
    std::fs::remove_dir_all(bundles.join(&fileid)).context("the bundle's directory")?;
    for case in &cases {
        case.check(&client, &watcher).await?;
    }
    fixture.finish().await
}

/// Strings above the kernel's limit are rejected before anything is created; strings at the limit work.
async fn kernel_limits() -> Result<()> {
    let more = "subnetPool: 10.199.32.0/20\n";
    let fixture = Fixture::start_with("test-too-long", more).await?;
    let client = fixture.client();
    let long = |bytes: usize| json!([format!("A={}", "x".repeat(bytes - 2))]);
    let task = |name: &str| small_task(name, 1);
    for (field, value) in [
        ("/master/environment", long(131_072)),
        ("/worker/args", long(131_072)),
    ] {
        let response = client.put(&with(task("too-long"), field, value)).await?;
        ensure!(response.status() == 417, "{field}: {}", response.status());
        let fault = response.json::<Value>().await?["errors"][0].clone();
        let path = field[1..].replace('/', ".") + "[0]";
        ensure!(fault["field"] == path.as_str(), "{fault}");
        ensure!(
            fault["message"].to_string().contains("131071 bytes"),
            "{fault}"
        );
    }
    ensure!(client.get("/api/task/too-long").await?.status() == 404);

    client
        .start(&with(
            task("just-fits"),
            "/master/environment",
            long(131_071),
        ))
        .await?;
    // A definition above Swarm's own limit is rejected before.
    let many: Vec<String> = (0..16)
        .map(|n| format!("V{n}={}", "x".repeat(131_000)))
        .collect();
    let too_much = with(task("too-much"), "/worker/environment", many);
    let response = client.put(&too_much).await?;
    ensure!(response.status() == 413, "{}", response.status());
    let fits = client.outcome("just-fits", RUN_TIMEOUT).await?;
    ensure!(fits.status == TaskStatus::Finished, "{fits:#?}");
    client.done("just-fits", RUN_TIMEOUT).await?;
    fixture.finish().await
}

/// Containers that cannot be scheduled.
fn unplaceable() -> [Case; 5] {
    let nowhere = |role: &str| {
        let placement = json!({"constraints": ["node.hostname==atq-no-such-host"]});
        let task = small_task(&format!("nowhere-{role}"), 2);
        with(task, &format!("/{role}/placement"), placement)
    };
    let huge = |role: &str| {
        let resources = json!({"reservations": {"memory": "900g"}});
        let task = small_task(&format!("huge-{role}"), 2);
        with(task, &format!("/{role}/resources"), resources)
    };
    let crowded = json!({"maxReplicasPerNode": 1});
    let crowded = with(small_task("crowded", 3), "/worker/placement", crowded);
    let (worker, master) = ("worker_unplaceable", "master_unplaceable");
    let no_node = "pending: no suitable node (";
    [
        Case::new(nowhere("worker"), Step::Resolve, worker)
            .message("0 of 2 workers run; replica ")
            .message(&format!(
                "{no_node}scheduling constraints not satisfied on 1 node)"
            ))
            .hint("`placement.constraints`"),
        Case::new(nowhere("master"), Step::Master, master)
            .message("no node accepts the master: ")
            .message(&format!(
                "{no_node}scheduling constraints not satisfied on 1 node)"
            ))
            .hint("`placement.constraints`"),
        Case::new(huge("worker"), Step::Resolve, worker)
            .message("0 of 2 workers run; replica ")
            .message(&format!("{no_node}insufficient resources on 1 node)"))
            .hint("`resources`"),
        Case::new(huge("master"), Step::Master, master)
            .message("no node accepts the master: ")
            .message(&format!("{no_node}insufficient resources on 1 node)"))
            .hint("`resources`"),
        Case::new(crowded, Step::Resolve, worker)
            .message(&format!("{no_node}max replicas per node limit exceed)"))
            .hint("`placement.maxReplicasPerNode`"),
    ]
}
