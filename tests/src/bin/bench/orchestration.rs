//! From PUT to the running master, against the floor; and from the master's end to the outcome in
//! the task's status. One clock for all sides: Docker's own list of Swarm tasks.

use crate::engine::{DIRECTOR_LABEL, Engine, FLOOR_LABEL, LOOK};
use crate::floor::{Floor, PATIENCE, TOOL};
use crate::place;
use crate::table::{Row, say};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Task, TaskStatus};
use atq_tests::client::Client;
use atq_tests::stats::{median, ms};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Seconds for which a measured master goes on running: it must be seen.
pub const HOLD: u64 = 1;
/// Bar: this times the floor, and a little.
const FACTOR: f64 = 1.05;
const ALLOWANCE: f64 = 0.15;
const OUTCOME_BAR: f64 = 1000.0;
/// What is before the running master, in the Director's words and order.
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

/// How often each number of workers is measured.
pub type Plan = Vec<(u32, usize)>;

#[derive(Default)]
struct Figures {
    director: Vec<(f64, Task)>,
    floor: Vec<f64>,
    bare: Vec<f64>,
}

/// Measures every number of workers of the plan.
///
/// # Errors
/// When a side does not get its master to run.
pub async fn measure(engine: &Engine, plan: &Plan) -> Result<Vec<Row>> {
    let dir = place::directory()?;
    let director = place::director(dir.path(), "orchestrationTimeout: 300\n").await?;
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
        rows.extend(judge(*workers, &figures));
    }
    rows.push(
        Row::barred(
            "master's end -> outcome in `status`",
            format!(
                "median {:.0} ms, max {:.0} ms (n={})",
                median(&ends),
                ends.iter().fold(0.0_f64, |a, b| a.max(*b)),
                ends.len()
            ),
            "<= 1000 ms",
            ends.iter().all(|end| *end <= OUTCOME_BAR),
        )
        .said(),
    );
    director.terminate()?;
    Ok(rows)
}

/// Each side once, in an order that changes from round to round.
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
                let (start, end, task) = run_task(engine, client, workers, round).await?;
                ends.push(end);
                say(by_step(std::slice::from_ref(&task)));
                figures.director.push((start, task));
                start
            }
            _ => {
                let sidecar = side == 1;
                let floor = Floor {
                    engine,
                    workers,
                    sidecar,
                    look: LOOK,
                };
                let seconds = floor.until_master_runs().await?.as_secs_f64();
                engine.sweep(FLOOR_LABEL).await?;
                if sidecar {
                    figures.floor.push(seconds)
                } else {
                    figures.bare.push(seconds)
                }
                seconds
            }
        };
        let name = ["Director", "floor", "floor without sidecar"][side];
        say(format!(
            "N={workers} round {}: {name} {seconds:.2} s",
            round + 1
        ));
    }
    Ok(())
}

/// Gives the seconds from PUT to the running master, the milliseconds from its end to the outcome,
/// and the task at its end.
async fn run_task(
    engine: &Engine,
    client: &Client,
    workers: u32,
    round: usize,
) -> Result<(f64, f64, Task)> {
    let name = format!("bench-{workers}-{round}");
    let own = format!("com.atq.task={name}");
    let labels = [DIRECTOR_LABEL, own.as_str(), "com.atq.role=master"];
    let payload = task(&name, workers, HOLD);
    let begun = Instant::now();
    let running = engine.until_run(&labels, 1, LOOK, PATIENCE);
    let seconds = async { running.await.map(|_| begun.elapsed().as_secs_f64()) };
    let (_, seconds) = tokio::try_join!(client.start(&payload), seconds)?;
    engine
        .until_tasks(&labels, LOOK, PATIENCE, |tasks| {
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
    // The next one must not share the machine with the end of this one.
    engine.sweep(DIRECTOR_LABEL).await?;
    Ok((seconds, late, outcome))
}

async fn outcome(client: &Client, name: &str) -> Result<Task> {
    let begun = Instant::now();
    loop {
        let task = client.task(name).await?;
        if !matches!(task.status, TaskStatus::Initializing | TaskStatus::Started) {
            return Ok(task);
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "task `{name}` has no outcome {PATIENCE:?} after its master's end"
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// A task whose master holds on for `hold` seconds.
pub fn task(name: &str, workers: u32, hold: u64) -> Value {
    json!({
        "name": name,
        "worker": {"alias": "workers", "image": TOOL, "args": ["worker"], "replicas": workers},
        "master": {"alias": "master", "image": TOOL, "args": ["master"], "environment": [format!("HOLD={hold}")]},
    })
}

fn judge(workers: u32, figures: &Figures) -> Vec<Row> {
    let times: Vec<f64> = figures
        .director
        .iter()
        .map(|(seconds, _)| *seconds)
        .collect();
    let (director, floor, bare) = (
        median(&times),
        median(&figures.floor),
        median(&figures.bare),
    );
    let bar = FACTOR * floor + ALLOWANCE;
    let met = director <= bar;
    let row = Row::barred(
        format!("PUT -> master running, N={workers}"),
        format!(
            "Director {director:.2} s, floor {floor:.2} s, ratio {:.2} (floor without sidecar {bare:.2} s; n={})",
            director / floor,
            times.len()
        ),
        format!("<= {bar:.2} s (1.05 x floor + 0.15 s)"),
        met,
    );
    let mut rows = vec![row.said()];
    if !met && let Some(where_) = steps(&figures.director) {
        rows.push(Row::plain(format!("  where, N={workers}"), where_).said());
    }
    rows
}

/// Where the round lost its time whose time is the median.
fn steps(rounds: &[(f64, Task)]) -> Option<String> {
    let mut sorted: Vec<&(f64, Task)> = rounds.iter().collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (_, task) = sorted.get(sorted.len() / 2)?;
    Some(by_step(std::slice::from_ref(task)))
}

/// Milliseconds by step up to the master, as the Director tells them: medians over these tasks.
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

/// Waits until a task's master runs by the Director's own word.
///
/// # Errors
/// When it does not.
pub async fn started(client: &Client, name: &str, patience: Duration) -> Result<Task> {
    let task = client
        .until(name, patience, |task| {
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

/// Stops a task; one that has ended already is fine.
///
/// # Errors
/// When the Director refuses.
pub async fn stop(client: &Client, name: &str) -> Result<()> {
    let status = client
        .stop(name)
        .await
        .with_context(|| format!("task `{name}`"))?;
    ensure!(status.is_success(), "POST stop of `{name}`: {status}");
    Ok(())
}
