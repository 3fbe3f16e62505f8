//! Result files from bug reports of users, in real runs from the bundle to the report.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::{Report, Verdict};
use atq_tests::bundle::{zip, zip_directory};
use atq_tests::client::Client;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A task whose master runs a command that writes results.
fn task(name: &str, fileid: &str, command: &[&str]) -> Value {
    json!({
        "name": name,
        "worker": {"alias": "workers", "image": "atq-shell:dev", "args": ["/bin/sleep", "600"]},
        "master": {"alias": "master", "image": "atq-shell:dev", "args": command, "fileid": fileid},
    })
}

async fn report(client: &Client, name: &str) -> Result<Report> {
    let response = client.get(&format!("/task/{name}/report")).await?;
    ensure!(response.status() == 200, "{name}: {}", response.status());
    Ok(response.json().await?)
}

#[tokio::test]
async fn figures_of_reported_files_are_correct_in_a_real_run() -> Result<()> {
    let fixture = Fixture::start("test-result-files").await?;
    let client = fixture.client();
    let root =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/report/tests/fixtures/cases");
    let cases = [
        ("06-jtl-sample-count", 120, 4),
        ("08a-jtl-and-errors-jtl", 120, 12),
        ("11a-jtl-utf16", 120, 12),
        ("16a-jtl-gz", 120, 12),
        ("53-k6-csv-and-json", 150, 11),
        ("55a-k6-system-tags-json", 150, 11),
    ];
    for (case, ..) in cases {
        let fileid = client.upload(zip_directory(&root.join(case))?).await?;
        let copy = ["/bin/sh", "-c", "cp /atq/data/* /atq/results/"];
        client.start(&task(case, &fileid, &copy)).await?;
    }
    for (case, samples, errors) in cases {
        client.done(case, RUN_TIMEOUT).await?;
        let total = report(&client, case).await?.total;
        ensure!(
            (total.samples, total.errors) == (samples, errors),
            "{case}: {total:#?}"
        );
    }
    fixture.finish().await
}

/// Writes a JTL with ten samples a second, the last of which failed.
const SCRIPT: &str = r#"
now=$(($(date +%s) * 1000))
results() {
  echo timeStamp,elapsed,label,responseCode,threadName,success
  for number in $(seq 10 59); do
    echo "$((now + number * 97)),$number,Home,200,Users 1-1,true"
  done
  echo "$((now + 5883)),7,Home,500,Users 1-1,false"
}
results > /atq/results/results.jtl
case $1 in
  errors) results | grep -v ,true > /atq/results/errors.jtl ;;
  half) results | head -n 26 > /atq/results/half.jtl ;;
  other) echo '{"metrics":{"http_reqs":{"count":3,"rate":1},"http_req_duration":{"avg":1}}}' > /atq/results/k6.json ;;
  broken) echo 'timeStamp,label,success' > /atq/results/broken.jtl ;;
esac
sleep 6
"#;

#[tokio::test]
async fn duplicate_samples_invalidate_a_run_and_copies_do_not() -> Result<()> {
    let fixture = Fixture::start("test-duplicates").await?;
    let client = fixture.client();
    let fileid = client
        .upload(zip(&[("write.sh", SCRIPT.as_bytes())])?)
        .await?;
    let runs = [
        ("errors", Verdict::Pass, None),
        (
            "half",
            Verdict::Invalid,
            Some("have some of the same samples"),
        ),
        (
            "other",
            Verdict::Invalid,
            Some("results of different tools"),
        ),
        ("broken", Verdict::Invalid, Some("has no column `elapsed`")),
    ];
    for (kind, ..) in runs {
        let command = ["/bin/sh", "/atq/data/write.sh", kind];
        client
            .start(&task(&format!("duplicates-{kind}"), &fileid, &command))
            .await?;
    }
    for (kind, verdict, reason) in runs {
        let name = format!("duplicates-{kind}");
        let task = client.done(&name, RUN_TIMEOUT).await?;
        ensure!(task.verdict == Some(verdict), "{kind}: {task:#?}");
        let judgement = task.judgement.context("no judgement")?;
        let reasons = judgement.reasons.join("\n");
        ensure!(
            reasons.contains(reason.unwrap_or_default()),
            "{kind}: {reasons}"
        );
        ensure!(reason.is_some() || reasons.is_empty(), "{kind}: {reasons}");
    }
    ensure!(report(&client, "duplicates-errors").await?.total.samples == 51);
    // Naming the result files resolves it.
    let command = ["/bin/sh", "/atq/data/write.sh", "half"];
    let mut chosen = task("duplicates-chosen", &fileid, &command);
    chosen["resultFiles"] = json!(["results.jtl"]);
    client.start(&chosen).await?;
    let task = client.done("duplicates-chosen", RUN_TIMEOUT).await?;
    ensure!(task.verdict == Some(Verdict::Pass), "{task:#?}");
    fixture.finish().await
}
