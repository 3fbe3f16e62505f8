//! Latency of PUT on an idle Director and while 20 tasks are created; latency of reads meanwhile; and the time until all
//! 20 run, compared with as many concurrent baselines.

use crate::baseline::{Baseline, START_TIMEOUT};
use crate::director;
use crate::engine::{BASELINE_LABEL, DIRECTOR_LABEL, Engine};
use crate::orchestration::{by_step, started, stop, task};
use crate::table::{Row, say};
use anyhow::{Result, ensure};
use atq_api_spec::task::Task;
use atq_tests::client::Client;
use atq_tests::readers::{Latencies, while_reading};
use atq_tests::stats::{ms, percentile, spread};
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};

/// `HOLD` in seconds of a master that runs until it is stopped.
pub const HOLD_UNTIL_STOPPED: u64 = 3600;
const TASKS: usize = 20;
const WORKERS: u32 = 3;
/// With 20 tasks at once, polling every 20 ms would load the Engine more than the work itself.
const SLOW_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Interval between two PUTs, so that they are spread over the creation.
const PUT_INTERVAL: Duration = Duration::from_millis(100);
/// Interval between two reads of the same kind, as from users and not from a load test.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// Latency of PUT on an idle Director: one task occupies the only slot, so that the others queue.
///
/// # Errors
/// When a task is rejected.
pub async fn idle(engine: &Engine, count: usize) -> Result<Vec<Row>> {
    let dir = director::temp_dir()?;
    let director = director::start(dir.path(), "maxConcurrentTasks: 1\n").await?;
    let client = &director.client;
    client
        .start(&task("bench-holder", 1, HOLD_UNTIL_STOPPED))
        .await?;
    started(client, "bench-holder", START_TIMEOUT).await?;
    let replies = put_many(client, "idle", count, Duration::ZERO).await?;
    director.terminate()?;
    engine.remove_all(DIRECTOR_LABEL).await?;
    let met = percentile(&replies, 99) <= 50.0;
    let what = format!("reply to PUT, idle (n={count})");
    Ok(vec![
        Row::with_limit(what, spread(&replies), "p99 <= 50 ms", met).print(),
    ])
}

/// Queues `count` tasks and returns the latency of each PUT in milliseconds.
///
/// # Errors
/// When one is rejected.
pub async fn put_many(
    client: &Client,
    name: &str,
    count: usize,
    interval: Duration,
) -> Result<Vec<f64>> {
    let mut replies = Vec::with_capacity(count);
    for number in 0..count {
        let payload = task(
            &format!("bench-{name}-{number}"),
            WORKERS,
            HOLD_UNTIL_STOPPED,
        );
        let begun = Instant::now();
        let response = client.put(&payload).await?;
        replies.push(ms(begun.elapsed()));
        let status = response.status();
        let body = response.text().await?;
        ensure!(status.is_success(), "PUT: {status}: {body}");
        tokio::time::sleep(interval).await;
    }
    Ok(replies)
}

/// Latency of PUT while 20 tasks are created, and the time until all of them run.
///
/// # Errors
/// When the master of a task or a baseline does not run.
pub async fn busy(engine: &Engine, count: usize) -> Result<Vec<Row>> {
    let Twenty {
        replies,
        reads,
        seconds: director,
        tasks,
    } = twenty_tasks(engine, count).await?;
    say(format!("{TASKS} tasks: all started after {director:.1} s"));
    let baseline = twenty_baselines(engine).await?;
    say(format!(
        "{TASKS} baselines at once: all masters run after {baseline:.1} s"
    ));
    let reply_met = percentile(&replies, 99) <= 250.0;
    let what = format!(
        "reply to PUT while {TASKS} tasks are created (n={})",
        replies.len()
    );
    let wall_met = director <= 1.2 * baseline;
    let mut rows =
        vec![Row::with_limit(what, spread(&replies), "p99 <= 250 ms", reply_met).print()];
    rows.extend(reads.iter().map(|(read, answers)| {
        let what = format!(
            "{} while {TASKS} tasks are created (n={})",
            read.name(),
            answers.len()
        );
        Row::plain(what, spread(answers)).print()
    }));
    rows.push(
        Row::with_limit(
            format!("{TASKS} tasks at once ({WORKERS} workers each), all started"),
            format!(
                "Director {director:.1} s, baseline {baseline:.1} s, ratio {:.2} (n=1)",
                director / baseline
            ),
            "<= 1.2 x baseline",
            wall_met,
        )
        .print(),
    );
    if !wall_met {
        rows.push(Row::plain("  by step, median of the 20", by_step(&tasks)).print());
    }
    Ok(rows)
}

/// Measurements during the creation of 20 tasks.
struct Twenty {
    /// Latencies of PUT in milliseconds.
    replies: Vec<f64>,
    /// Latencies of reads.
    reads: Latencies,
    /// Seconds until all masters ran.
    seconds: f64,
    tasks: Vec<Task>,
}

async fn twenty_tasks(engine: &Engine, count: usize) -> Result<Twenty> {
    let dir = director::temp_dir()?;
    let more = format!("maxConcurrentTasks: {TASKS}\norchestrationTimeout: 300\n");
    let director = director::start(dir.path(), &more).await?;
    let client = &director.client;
    let begun = Instant::now();
    // These count too: their predecessors are already being created.
    let mut replies = put_many(client, "busy", TASKS, Duration::ZERO).await?;
    let queued = put_many(client, "queued", count, PUT_INTERVAL);
    let all = async {
        let waits = (0..TASKS).map(|number| async move {
            started(client, &format!("bench-busy-{number}"), START_TIMEOUT).await
        });
        // Measured through Docker, like the baseline; the Director must agree afterwards.
        let masters = [DIRECTOR_LABEL, "com.atq.role=master"];
        engine
            .until_run(&masters, TASKS, SLOW_POLL_INTERVAL, START_TIMEOUT)
            .await?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok((seconds, try_join_all(waits).await?))
    };
    let names: Vec<String> = (0..TASKS).map(|n| format!("bench-busy-{n}")).collect();
    let work = async { tokio::try_join!(queued, all) };
    let ((queued, (seconds, tasks)), reads) =
        while_reading(client, &names, READ_INTERVAL, work).await?;
    replies.extend(queued);
    director.terminate()?;
    engine.remove_all(DIRECTOR_LABEL).await?;
    Ok(Twenty {
        replies,
        reads,
        seconds,
        tasks,
    })
}

async fn twenty_baselines(engine: &Engine) -> Result<f64> {
    let begun = Instant::now();
    let baseline = Baseline {
        engine,
        workers: WORKERS,
        sidecar: true,
        poll_interval: SLOW_POLL_INTERVAL,
    };
    try_join_all((0..TASKS).map(|_| baseline.until_master_runs())).await?;
    let seconds = begun.elapsed().as_secs_f64();
    engine.remove_all(BASELINE_LABEL).await?;
    Ok(seconds)
}

/// Stops every task that `put_many` has queued, in reverse order so that none starts.
///
/// # Errors
/// When one cannot be stopped.
pub async fn stop_many(client: &Client, name: &str, count: usize) -> Result<()> {
    for number in (0..count).rev() {
        stop(client, &format!("bench-{name}-{number}")).await?;
    }
    Ok(())
}
