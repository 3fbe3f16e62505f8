//! Limits of processes, and settings of the kernel, in real containers.

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::Image;
use serde_json::{Map, Value, json};

/// Prints a soft and a hard limit, and the settings that are passed as arguments of the shell function.
const SHOW: &str = "show() { echo \"nofile $(ulimit -Sn) $(ulimit -Hn)\"; \
                    for name; do echo $name $(cat /proc/sys/$(echo $name | tr . /)); done; };";

/// A task whose containers print `settings`.
fn shows(name: &str, image: &Image, settings: &[String]) -> Value {
    let settings = settings.join(" ");
    let mut task = small_task(name, 2);
    for (role, then) in [("worker", "exec sleep 600"), ("master", "true")] {
        task[role]["image"] = json!(image.name);
        task[role]["args"] = json!([format!("{SHOW} show {settings}; {then}")]);
    }
    task
}

/// Every setting with its lowest or highest value.
fn all_settings(bound: &str) -> Result<Map<String, Value>> {
    let document: Value = serde_json::from_str(include_str!("../../../api-spec/openapi.json"))?;
    let settings = document["components"]["schemas"]["Sysctls"]["properties"].as_object();
    let settings = settings.context("no schema of `sysctls`")?;
    let values = settings.iter().map(|(name, schema)| {
        let value = match (&schema[bound], bound) {
            (Value::Null, "minimum") => json!("1024 1024"),
            (Value::Null, _) => json!("1024 65535"),
            (number, _) => number.clone(),
        };
        (name.clone(), value)
    });
    Ok(values.collect())
}

/// The kernel shows a range with a tab, which `echo` replaces.
fn lines(settings: &Map<String, Value>) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| {
        format!("{name} {}", value.to_string().trim_matches('"'))
    };
    settings.iter().map(of).collect()
}

#[tokio::test]
async fn containers_have_the_limits_and_settings_of_their_service() -> Result<()> {
    let fixture = Fixture::start("test-limits").await?;
    let client = fixture.client();
    let shell = Image::shell("atq-test-limits-shell:1").await?;
    let (lowest, highest) = (all_settings("minimum")?, all_settings("maximum")?);
    let names: Vec<String> = lowest.keys().cloned().collect();
    let task = shows("limits", &shell, &names);
    let task = with(
        task,
        "/worker/ulimits",
        json!({"nofile": {"soft": 1024, "hard": 4096}}),
    );
    let task = with(
        task,
        "/master/ulimits",
        json!({"nofile": 2048, "core": 0, "stack": 1_048_576}),
    );
    let task = with(task, "/worker/sysctls", highest.clone());
    let task = with(task, "/master/sysctls", lowest.clone());
    client.start(&task).await?;
    let task = client.done("limits", RUN_TIMEOUT).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    let ulimits = serde_json::to_value(&task.worker.ulimits)?;
    ensure!(
        ulimits == json!({"nofile": {"soft": 1024, "hard": 4096}}),
        "{ulimits}"
    );
    for (role, nofile, settings) in [
        ("worker", "nofile 1024 4096", highest),
        ("master", "nofile 2048 2048", lowest),
    ] {
        let log = client.logs("limits", &format!("?service={role}")).await?;
        for line in lines(&settings).iter().map(String::as_str).chain([nofile]) {
            ensure!(log.contains(line), "{role} lacks `{line}`:\n{log}");
        }
    }
    fixture.finish().await
}

/// More descriptors than any node grants: `fs.nr_open` is lower by default.
#[tokio::test]
async fn a_limit_that_the_node_refuses_is_named() -> Result<()> {
    let fixture = Fixture::start("test-limits-refused").await?;
    let client = fixture.client();
    for (role, step, code) in [
        ("worker", Step::Resolve, "worker_failed"),
        ("master", Step::Master, "master_failed"),
    ] {
        let name = format!("refused-{role}");
        let limit = json!({"nofile": {"soft": 1024, "hard": 1_073_741_824}});
        let task = with(small_task(&name, 1), &format!("/{role}/ulimits"), limit);
        client.start(&task).await?;
        let task = client.done(&name, RUN_TIMEOUT).await?;
        let failure = task.failure.context("it did not fail")?;
        ensure!(
            (failure.step, failure.code.as_str()) == (step, code),
            "{failure:#?}"
        );
        for part in [
            "the node does not grant `ulimits.nofile`",
            "operation not permitted",
        ] {
            ensure!(failure.message.contains(part), "{failure:#?}");
        }
        for part in ["the definition requests 1073741824; ", "`LimitNOFILE`"] {
            ensure!(failure.hint.contains(part), "{failure:#?}");
        }
    }
    fixture.finish().await
}
