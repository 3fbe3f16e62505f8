//! Tasks whose workers write samples, and the figures of running tests.

use crate::client::Client;
use crate::fixture::{RUN_TIMEOUT, small_task, with};
use anyhow::{Result, ensure};
use atq_api_spec::live::{LiveFigures, LiveTask};
use atq_api_spec::report::Report;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A task whose workers write `samples` samples each, ten a second, and whose master lasts twice as long.
pub fn sampling(name: &str, workers: u32, samples: u32) -> Value {
    let task = small_task(name, workers);
    let hold = format!("HOLD={}", samples / 5 + 5);
    let task = with(task, "/master/environment", json!([hold]));
    let samples = format!("TURNS={samples}");
    with(task, "/worker/environment", json!([samples]))
}

/// The state of a task and the figures of its test.
///
/// # Errors
/// When the answer is not 200.
pub async fn live(client: &Client, name: &str) -> Result<LiveTask> {
    let response = client.get(&format!("/task/{name}/live")).await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(response.json().await?)
}

/// Polls until the figures meet a condition.
///
/// # Errors
/// When the run ends before, or on a timeout.
pub async fn until_figures(
    client: &Client,
    name: &str,
    met: impl Fn(&LiveFigures) -> bool,
) -> Result<LiveTask> {
    let begun = Instant::now();
    loop {
        let now = live(client, name).await?;
        if now.figures.as_ref().is_some_and(&met) {
            return Ok(now);
        }
        ensure!(begun.elapsed() < RUN_TIMEOUT && !now.is_final, "{now:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The report of a task.
///
/// # Errors
/// When the answer is not 200.
pub async fn report(client: &Client, name: &str) -> Result<Report> {
    let response = client.get(&format!("/task/{name}/report")).await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(response.json().await?)
}
