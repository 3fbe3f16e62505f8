//! A gateway between `atq` and the Director that is busy or redirects.

use super::{endless, expect, run, sampled};
use anyhow::{Result, ensure};
use atq_tests::cli::Atq;
use atq_tests::gateway::{Gateway, Rule};
use axum::http::StatusCode;

/// Every request is retried until it succeeds, and nothing is lost.
pub async fn is_busy(director: &str) -> Result<()> {
    let rules = [
        Rule::new("PUT", "/task", StatusCode::TOO_MANY_REQUESTS, 1),
        Rule::new("GET", "/events", StatusCode::GATEWAY_TIMEOUT, 1),
        Rule::new("GET", "/manifest", StatusCode::SERVICE_UNAVAILABLE, 2),
        Rule::new("GET", "/report", StatusCode::BAD_GATEWAY, 2),
        Rule::new("GET", "/results", StatusCode::SERVICE_UNAVAILABLE, 2),
        Rule::new("GET", "/logs", StatusCode::BAD_GATEWAY, 2),
    ];
    let gateway = Gateway::start(director, rules).await?;
    let atq = Atq::at(&gateway.url)?;
    let task = sampled("atq-busy", "p95 < 500ms");
    run(&atq, &task, &["--results", "out"], 0).await?;
    gateway.check_all_rules_used()?;
    for file in ["results/master.1/samples.csv", "report.html", "logs"] {
        let path = atq.dir.path().join("out").join(file);
        ensure!(path.exists(), "{} is missing", path.display());
    }
    Ok(())
}

/// A permanently failing request leads to a missing output, and a passed run does not exit with 0.
pub async fn is_closed(director: &str) -> Result<()> {
    let closed = Rule::new(
        "GET",
        "/results",
        StatusCode::SERVICE_UNAVAILABLE,
        usize::MAX,
    );
    let gateway = Gateway::start(director, [closed]).await?;
    let atq = Atq::at(&gateway.url)?;
    let task = sampled("atq-closed", "p95 < 500ms");
    let ended = run(&atq, &task, &["--results", "out"], 4).await?;
    ensure!(ended.out.starts_with("PASS atq-closed"), "{ended:#?}");
    let report = atq.dir.path().join("out/report.html");
    ensure!(report.exists(), "the report is missing: {ended:#?}");
    Ok(())
}

/// Redirects keep method and body of uploads, definitions and stops.
pub async fn redirects(director: &str) -> Result<()> {
    let rule = |method, path, status| Rule::new(method, path, status, 1);
    tokio::try_join!(
        redirects_once(
            director,
            "atq-moved-upload",
            rule("POST", "/databind/upload", StatusCode::MOVED_PERMANENTLY),
        ),
        redirects_once(
            director,
            "atq-moved-put",
            rule("PUT", "/task", StatusCode::FOUND),
        ),
        redirects_once(
            director,
            "atq-moved-stop",
            rule("POST", "/stop", StatusCode::PERMANENT_REDIRECT),
        ),
    )?;
    Ok(())
}

async fn redirects_once(director: &str, name: &str, rule: Rule) -> Result<()> {
    let gateway = Gateway::start(director, [rule]).await?;
    let atq = Atq::at(&gateway.url)?;
    std::fs::create_dir(atq.dir.path().join("bundle"))?;
    // Unique content, so that it is uploaded.
    std::fs::write(atq.dir.path().join("bundle/plan"), name)?;
    let file = atq.definition(&endless(name))?;
    let args = ["run", file.as_str(), "--bundle", "bundle", "--json"];
    let ended = atq.run_until(&args, "the test runs", "TERM").await?;
    let ended = expect(ended, &name.into(), 6)?;
    let json = ended.json()?;
    ensure!(json["task"]["status"] == "stopped", "{json:#}");
    gateway.check_all_rules_used()
}
