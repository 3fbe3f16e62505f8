//! Time from PUT to the running master, compared with the baseline, and from the master's end to the outcome in the
//! task's status. All sides are observed through Docker's list of Swarm tasks.

use crate::baseline::{Baseline, START_TIMEOUT, TOOL};
use crate::director;
use crate::engine::{BASELINE_LABEL, DIRECTOR_LABEL, Engine, POLL_INTERVAL, reaction};
use crate::table::{Row, say};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Task, TaskStatus};
use atq_tests::client::Client;
use atq_tests::stats::{median, ms};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// `HOLD` of a measured master in seconds, long enough to be observed.
pub const HOLD: u64 = 1;
/// The limit is this factor times the baseline plus [`ALLOWANCE`] in seconds.
const FACTOR: f64 = 1.05;
const ALLOWANCE: f64 = 0.15;
const OUTCOME_LIMIT: f64 = 1000.0;
/// The Director's steps up to the running master, in order.
const STEPS: [&str; 9] = [
    "queued",
    "network",
    "discovery",
    "workers",
    "resolve",
    "readiness",
    "waitCommand",
    "delay",
    "master",
];

/// Numbers of workers, with the rounds of each.
pub type Plan = Vec<(u32, usize)>;

#[derive(Default)]
struct Figures {
    director: Vec<(f64, Task)>,
    baseline: Vec<f64>,
    bare: Vec<f64>,
    /// Milliseconds from the last worker's start to the master's creation, of Director and baseline.
    reactions: [Vec<f64>; 2],
}

/// Measures every number of workers of the plan.
///
/// # Errors
/// When the master of a side does not run.
pub async fn measure(engine: &Engine, plan: &Plan) -> Result<Vec<Row>> {
    let dir = director::temp_dir()?;
    let director = director::start(dir.path(), "orchestrationTimeout: 300\n").await?;
    let (mut rows, mut ends) = (Vec::new(), Vec::new());
    for (workers, rounds) in plan {
        let mut figures = Figures::default();
        for round in 0..*rounds {
            one_round(
                engine,
                &director.client,
                *workers,
                round,
                &mut figures,
                &mut ends,
            )
            .await?;
        }
        rows.extend(rows_of(*workers, &figures));
    }
    rows.push(
        Row::with_limit(
            "master's end -> outcome in `status`",
            format!(
                "median {:.0} ms, max {:.0} ms (n={})",
                median(&ends),
                ends.iter().fold(0.0_f64, |a, b| a.max(*b)),
                ends.len()
            ),
            "<= 1000 ms",
            ends.iter().all(|end| *end <= OUTCOME_LIMIT),
        )
        .print(),
    );
    director.terminate()?;
    Ok(rows)
}

/// Measures each side once, in an order that rotates from round to round.
async fn one_round(
    engine: &Engine,
    client: &Client,
    workers: u32,
    round: usize,
    figures: &mut Figures,
    ends: &mut Vec<f64>,
) -> Result<()> {
    for turn in 0..3 {
        let side = (turn + round) % 3;
        let seconds = match side {
            0 => {
                let (start, reaction, end, task) = run_task(engine, client, workers, round).await?;
                figures.reactions[0].push(reaction);
                ends.push(end);
                say(by_step(std::slice::from_ref(&task)));
                figures.director.push((start, task));
                start
            }
            _ => {
                let sidecar = side == 1;
                let baseline = Baseline {
                    engine,
                    workers,
                    sidecar,
                    poll_interval: POLL_INTERVAL,
                };
                let (duration, reaction) = baseline.until_master_runs().await?;
                let seconds = duration.as_secs_f64();
                engine.remove_all(BASELINE_LABEL).await?;
                if sidecar {
                    figures.reactions[1].push(reaction);
                    figures.baseline.push(seconds)
                } else {
                    figures.bare.push(seconds)
                }
                seconds
            }
        };
        let name = ["Director", "baseline", "baseline without sidecar"][side];
        say(format!(
            "N={workers} round {}: {name} {seconds:.2} s",
            round + 1
        ));
    }
    Ok(())
}

/// Returns the seconds from PUT to the running master, the [`reaction`], the milliseconds from its end to the outcome, and
/// the ended task.
async fn run_task(
    engine: &Engine,
    client: &Client,
    workers: u32,
    round: usize,
) -> Result<(f64, f64, f64, Task)> {
    let name = format!("bench-{workers}-{round}");
    let own = format!("com.atq.task={name}");
    let labels = [DIRECTOR_LABEL, own.as_str(), "com.atq.role=master"];
    let payload = task(&name, workers, HOLD);
    let begun = Instant::now();
    let running = engine.until_run(&labels, 1, POLL_INTERVAL, START_TIMEOUT);
    let seconds = async { running.await.map(|_| begun.elapsed().as_secs_f64()) };
    let (_, seconds) = tokio::try_join!(client.start(&payload), seconds)?;
    let reaction = reaction(&engine.tasks(&[DIRECTOR_LABEL, own.as_str()]).await?)?;
    engine
        .until_tasks(&labels, POLL_INTERVAL, START_TIMEOUT, |tasks| {
            tasks.iter().any(|task| task.complete())
        })
        .await?;
    let ended = Instant::now();
    let outcome = outcome(client, &name).await?;
    let late = ms(ended.elapsed());
    ensure!(
        outcome.status == TaskStatus::Finished,
        "task `{name}` ended `{:?}`: {:?}",
        outcome.status,
        outcome.failure
    );
    let (status, body) = client.delete(&name).await?;
    ensure!(
        status.as_u16() == 204,
        "DELETE of `{name}`: {status}: {body}"
    );
    // The clean-up must not overlap with the next measurement.
    engine.remove_all(DIRECTOR_LABEL).await?;
    Ok((seconds, reaction, late, outcome))
}

async fn outcome(client: &Client, name: &str) -> Result<Task> {
    let begun = Instant::now();
    loop {
        let task = client.task(name).await?;
        if !matches!(task.status, TaskStatus::Initializing | TaskStatus::Started) {
            return Ok(task);
        }
        ensure!(
            begun.elapsed() < START_TIMEOUT,
            "task `{name}` has no outcome {START_TIMEOUT:?} after its master's end"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A task whose master runs for `hold` seconds.
pub fn task(name: &str, workers: u32, hold: u64) -> Value {
    json!({
        "name": name,
        "worker": {"alias": "workers", "image": TOOL, "args": ["worker"], "replicas": workers},
        "master": {"alias": "master", "image": TOOL, "args": ["master"], "environment": [format!("HOLD={hold}")]},
    })
}

fn rows_of(workers: u32, figures: &Figures) -> Vec<Row> {
    let times: Vec<f64> = figures
        .director
        .iter()
        .map(|(seconds, _)| *seconds)
        .collect();
    let (director, baseline, bare) = (
        median(&times),
        median(&figures.baseline),
        median(&figures.bare),
    );
    let limit = FACTOR * baseline + ALLOWANCE;
    let met = director <= limit;
    let row = Row::with_limit(
        format!("PUT -> master running, N={workers}"),
        format!(
            "Director {director:.2} s, baseline {baseline:.2} s, ratio {:.2} (baseline without sidecar {bare:.2} s; n={})",
            director / baseline,
            times.len()
        ),
        format!("<= {limit:.2} s (1.05 x baseline + 0.15 s)"),
        met,
    );
    let mut rows = vec![row.print()];
    let [own, direct] = &figures.reactions;
    let each: Vec<String> = own.iter().map(|ms| format!("{ms:.0}")).collect();
    let figure = format!(
        "Director {:.0} ms, baseline {:.0} ms (Director: {})",
        median(own),
        median(direct),
        each.join(", ")
    );
    rows.push(
        Row::plain(
            format!("last worker runs -> master created, N={workers}"),
            figure,
        )
        .print(),
    );
    if !met && let Some(breakdown) = steps(&figures.director) {
        rows.push(Row::plain(format!("  by step, N={workers}"), breakdown).print());
    }
    rows
}

/// The times by step of the median round.
fn steps(rounds: &[(f64, Task)]) -> Option<String> {
    let mut sorted: Vec<&(f64, Task)> = rounds.iter().collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (_, task) = sorted.get(sorted.len() / 2)?;
    Some(by_step(std::slice::from_ref(task)))
}

/// Medians of the Director's timings by step up to the master, in milliseconds.
pub fn by_step(tasks: &[Task]) -> String {
    let parts: Vec<String> = STEPS
        .iter()
        .filter_map(|step| {
            let times: Vec<f64> = tasks
                .iter()
                .filter_map(|task| task.timings.get(*step).map(|ms| *ms as f64))
                .collect();
            (!times.is_empty()).then(|| format!("{step} {:.0}", median(&times)))
        })
        .collect();
    format!("ms by step: {}", parts.join(", "))
}

/// Waits until the Director reports that a task's master runs.
///
/// # Errors
/// On another outcome or a timeout.
pub async fn started(client: &Client, name: &str, timeout: Duration) -> Result<Task> {
    let task = client
        .until(name, timeout, |task| {
            task.status != TaskStatus::Initializing
        })
        .await?;
    ensure!(
        task.status == TaskStatus::Started,
        "task `{name}` is `{:?}`: {:?}",
        task.status,
        task.failure
    );
    Ok(task)
}

/// Stops a task, unless it has already ended.
///
/// # Errors
/// When the Director rejects the request.
pub async fn stop(client: &Client, name: &str) -> Result<()> {
    let status = client
        .stop(name)
        .await
        .with_context(|| format!("task `{name}`"))?;
    ensure!(status.is_success(), "POST stop of `{name}`: {status}");
    Ok(())
}
