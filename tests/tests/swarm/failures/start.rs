//! Containers that cannot be started, or end at once.

use super::case::{AT_ONCE, Case, play};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::image::Image;
use atq_tests::stage::{PATIENCE, Stage, small_task, with};
use atq_tests::witness::Witness;
use serde_json::{Value, json};

const ABSENT: &str = "atq-no-such-image:1";

/// A task whose worker runs a shell script.
fn worker_runs(name: &str, image: &Image, script: &str) -> Value {
    let task = with(small_task(name, 1), "/worker/image", image.name.as_str());
    with(task, "/worker/args", json!([script]))
}

/// It may be seen running for a moment; that it never answers keeps the master from being started then.
fn ends_at_once(task: Value) -> Case {
    let task = with(task, "/worker/readiness", json!({"tcp": 7000}));
    Case::new(task, Step::Resolve, "worker_failed").or_in(Step::Readiness)
}

#[tokio::test]
async fn what_cannot_be_started_or_ends_at_once_is_named() -> Result<()> {
    let stage = Stage::open_with("test-start", AT_ONCE).await?;
    let witness = Witness::of("test-start")?;
    let shell = Image::shell("atq-test-start-shell:1").await?;
    let hollow = r#"ENTRYPOINT ["/no/such/program"]"#;
    let hollow = Image::build("atq-test-start-hollow:1", hollow).await?;
    let cases = [
        Case::new(
            with(small_task("image-worker", 3), "/worker/image", ABSENT),
            Step::Resolve,
            "worker_failed",
        )
        // Whichever Swarm tells of first.
        .says("0 of 3 workers run; replica ")
        .says(": rejected: No such image: atq-no-such-image:1")
        .hints("on every node"),
        Case::new(
            with(small_task("image-master", 1), "/master/image", ABSENT),
            Step::Master,
            "master_failed",
        )
        .says("the master did not start: rejected: No such image: atq-no-such-image:1")
        .hints("on every node"),
        ends_at_once(worker_runs("worker-exits-0", &shell, "echo enough; exit 0"))
            .hints("?service=worker")
            .says("0 of 1 workers run; replica 1: complete: exit code 0"),
        ends_at_once(worker_runs(
            "worker-exits-1",
            &shell,
            "echo no plan >&2; exit 1",
        ))
        .hints("?service=worker")
        .says("0 of 1 workers run; replica 1: failed: task: non-zero exit (1)"),
        ends_at_once(with(
            small_task("exec-worker", 2),
            "/worker/image",
            hollow.name.as_str(),
        ))
        .says("of 2 workers run; replica ")
        .says("failed: task: non-zero exit (127): its command was not found")
        .hints("`args`"),
        Case::new(
            with(
                small_task("exec-master", 1),
                "/master/image",
                hollow.name.as_str(),
            ),
            Step::Running,
            "master_exit",
        )
        .says("127 (its command was not found)")
        .hints("?service=master"),
    ];
    let cases: Vec<Case> = cases.into_iter().chain(unplaceable()).collect();
    play(&stage, &witness, &cases).await?;
    for (name, wanted) in [("worker-exits-0", "enough"), ("worker-exits-1", "no plan")] {
        let log = stage.client().logs(name, "?service=worker").await?;
        ensure!(log.contains(wanted), "its log is kept:\n{log}");
    }
    stage.close().await
}

/// Three Directors side by side, each with subnets of its own.
#[tokio::test]
async fn what_is_missing_or_too_long_is_named() -> Result<()> {
    tokio::try_join!(unseen_bundle(), gone_bundle(), kernels_limits())?;
    Ok(())
}

/// `glusterpath` is in a mount namespace of the Director's own, as a directory that is not shared
/// with the nodes.
async fn unseen_bundle() -> Result<()> {
    let stage = Stage::open_apart("test-bundle").await?;
    let witness = Witness::of("test-bundle")?;
    let client = stage.client();
    let bundle = || async { client.upload(zip(&[("a.txt", b"a")])?).await };
    let unseen = bundle().await?;
    let task = with(small_task("bundle-unseen", 1), "/worker/fileid", unseen);
    let task = with(task, "/delivery", "shared");
    let unseen = Case::new(task, Step::Resolve, "worker_failed")
        .says("0 of 1 workers run; replica 1: rejected: invalid mount config for type \"bind\": bind source path does not exist: /")
        .hints("`glusterpath`");
    play(&stage, &witness, &[unseen]).await?;
    stage.close().await
}

/// The second task waits in the queue until the bundle is gone.
async fn gone_bundle() -> Result<()> {
    let more = "maxConcurrentTasks: 1\nsubnetPool: 10.199.16.0/20\n";
    let stage = Stage::open_with("test-bundle-gone", more).await?;
    let client = stage.client();
    let witness = Witness::of("test-bundle-gone")?;
    let fileid = client.upload(zip(&[("a.txt", b"a")])?).await?;
    let case = |role: &str, step| {
        let name = format!("bundle-gone-{role}");
        let pointer = format!("/{role}/fileid");
        let task = with(small_task(&name, 1), &pointer, fileid.as_str());
        let task = with(task, "/delivery", "shared");
        Case::new(with(task, "/delay", 3), step, "bundle_missing")
            .says(&format!("the bundle `{fileid}` is missing in `/"))
            .hints("upload it again")
    };
    let cases = [case("master", Step::Master), case("worker", Step::Workers)];
    for case in &cases {
        case.start(&client).await?;
    }
    let bundles = stage.director().dir.join("bundles");
    std::fs::remove_dir_all(bundles.join(&fileid)).context("the bundle's directory")?;
    for case in &cases {
        case.judge(&client, &witness).await?;
    }
    stage.close().await
}

/// What is too long for the kernel is refused before anything is made; what is just not, runs.
async fn kernels_limits() -> Result<()> {
    let more = "subnetPool: 10.199.32.0/20\n";
    let stage = Stage::open_with("test-too-long", more).await?;
    let client = stage.client();
    let long = |bytes: usize| json!([format!("A={}", "x".repeat(bytes - 2))]);
    let task = |name: &str| small_task(name, 1);
    for (field, value) in [
        ("/master/environment", long(131_072)),
        ("/worker/args", long(131_072)),
    ] {
        let answer = client.put(&with(task("too-long"), field, value)).await?;
        ensure!(answer.status() == 417, "{field}: {}", answer.status());
        let fault = answer.json::<Value>().await?["errors"][0].clone();
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
    // So much that Swarm itself would refuse it does not get that far.
    let many: Vec<String> = (0..16)
        .map(|n| format!("V{n}={}", "x".repeat(131_000)))
        .collect();
    let too_much = with(task("too-much"), "/worker/environment", many);
    let answer = client.put(&too_much).await?;
    ensure!(answer.status() == 413, "{}", answer.status());
    let fits = client.outcome("just-fits", PATIENCE).await?;
    ensure!(fits.status == TaskStatus::Finished, "{fits:#?}");
    client.done("just-fits", PATIENCE).await?;
    stage.close().await
}

/// Containers that no node takes.
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
            .says("0 of 2 workers run; replica ")
            .says(&format!(
                "{no_node}scheduling constraints not satisfied on 1 node)"
            ))
            .hints("`placement.constraints`"),
        Case::new(nowhere("master"), Step::Master, master)
            .says("the master finds no node: ")
            .says(&format!(
                "{no_node}scheduling constraints not satisfied on 1 node)"
            ))
            .hints("`placement.constraints`"),
        Case::new(huge("worker"), Step::Resolve, worker)
            .says("0 of 2 workers run; replica ")
            .says(&format!("{no_node}insufficient resources on 1 node)"))
            .hints("`resources`"),
        Case::new(huge("master"), Step::Master, master)
            .says("the master finds no node: ")
            .says(&format!("{no_node}insufficient resources on 1 node)"))
            .hints("`resources`"),
        Case::new(crowded, Step::Resolve, worker)
            .says(&format!("{no_node}max replicas per node limit exceed)"))
            .hints("`placement.maxReplicasPerNode`"),
    ]
}
