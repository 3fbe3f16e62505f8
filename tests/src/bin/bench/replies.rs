//! How long PUT takes to reply: with nothing to do, and while 20 tasks are being created; how long reads
//! take meanwhile; and how long it takes until all 20 run, against as many floors at once.

use crate::engine::{DIRECTOR_LABEL, Engine, FLOOR_LABEL};
use crate::floor::{Floor, PATIENCE};
use crate::orchestration::{by_step, started, stop, task};
use crate::place;
use crate::table::{Row, say};
use anyhow::{Result, ensure};
use atq_api_spec::task::Task;
use atq_tests::client::Client;
use atq_tests::readers::{Answers, while_reading};
use atq_tests::stats::{ms, percentile, spread};
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};

/// Seconds that a master holds on when its task shall not end by itself.
pub const FOR_EVER: u64 = 3600;
const TASKS: usize = 20;
const WORKERS: u32 = 3;
/// With 20 at once a look every 20 ms would load the Engine more than the work does.
const SELDOM: Duration = Duration::from_millis(250);
/// Time between two PUTs during the creation, so that they spread over it.
const BETWEEN: Duration = Duration::from_millis(100);
/// Time between two reads of the same kind: users who look, not a load test of the API.
const BETWEEN_READS: Duration = Duration::from_millis(100);

/// Replies with nothing else to do: one task holds the only turn, so that the others queue.
///
/// # Errors
/// When a task is not taken.
pub async fn idle(engine: &Engine, count: usize) -> Result<Vec<Row>> {
    let dir = place::directory()?;
    let director = place::director(dir.path(), "maxConcurrentTasks: 1\n").await?;
    let client = &director.client;
    client.start(&task("bench-holder", 1, FOR_EVER)).await?;
    started(client, "bench-holder", PATIENCE).await?;
    let replies = put_many(client, "idle", count, Duration::ZERO).await?;
    director.terminate()?;
    engine.sweep(DIRECTOR_LABEL).await?;
    let met = percentile(&replies, 99) <= 50.0;
    let what = format!("reply to PUT, idle (n={count})");
    Ok(vec![
        Row::barred(what, spread(&replies), "p99 <= 50 ms", met).said(),
    ])
}

/// Queues `count` tasks; gives the milliseconds of each reply.
///
/// # Errors
/// When one is not taken.
pub async fn put_many(
    client: &Client,
    name: &str,
    count: usize,
    pause: Duration,
) -> Result<Vec<f64>> {
    let mut replies = Vec::with_capacity(count);
    for number in 0..count {
        let payload = task(&format!("bench-{name}-{number}"), WORKERS, FOR_EVER);
        let begun = Instant::now();
        let answer = client.put(&payload).await?;
        replies.push(ms(begun.elapsed()));
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "PUT: {status}: {body}");
        tokio::time::sleep(pause).await;
    }
    Ok(replies)
}

/// Replies while 20 tasks are being created, and the time until all of them run.
///
/// # Errors
/// When a task or a floor does not get its master to run.
pub async fn busy(engine: &Engine, count: usize) -> Result<Vec<Row>> {
    let Twenty {
        replies,
        reads,
        seconds: director,
        tasks,
    } = twenty_tasks(engine, count).await?;
    say(format!("{TASKS} tasks: all started after {director:.1} s"));
    let floor = twenty_floors(engine).await?;
    say(format!(
        "{TASKS} floors at once: all masters run after {floor:.1} s"
    ));
    let reply_met = percentile(&replies, 99) <= 250.0;
    let what = format!(
        "reply to PUT while {TASKS} tasks are created (n={})",
        replies.len()
    );
    let wall_met = director <= 1.2 * floor;
    let mut rows = vec![Row::barred(what, spread(&replies), "p99 <= 250 ms", reply_met).said()];
    rows.extend(reads.iter().map(|(read, answers)| {
        let what = format!(
            "{} while {TASKS} tasks are created (n={})",
            read.name(),
            answers.len()
        );
        Row::plain(what, spread(answers)).said()
    }));
    rows.push(
        Row::barred(
            format!("{TASKS} tasks at once ({WORKERS} workers each), all started"),
            format!(
                "Director {director:.1} s, floor {floor:.1} s, ratio {:.2} (n=1)",
                director / floor
            ),
            "<= 1.2 x floor",
            wall_met,
        )
        .said(),
    );
    if !wall_met {
        rows.push(Row::plain("  where, median of the 20", by_step(&tasks)).said());
    }
    Ok(rows)
}

/// What was measured while 20 tasks were created.
struct Twenty {
    /// Milliseconds of the replies to PUT.
    replies: Vec<f64>,
    /// Milliseconds of the answers to reads.
    reads: Answers,
    /// Until all masters ran.
    seconds: f64,
    tasks: Vec<Task>,
}

async fn twenty_tasks(engine: &Engine, count: usize) -> Result<Twenty> {
    let dir = place::directory()?;
    let more = format!("maxConcurrentTasks: {TASKS}\norchestrationTimeout: 300\n");
    let director = place::director(dir.path(), &more).await?;
    let client = &director.client;
    let begun = Instant::now();
    // These replies come while their predecessors are created: they count too.
    let mut replies = put_many(client, "busy", TASKS, Duration::ZERO).await?;
    let queued = put_many(client, "queued", count, BETWEEN);
    let all = async {
        let waits = (0..TASKS).map(|number| async move {
            started(client, &format!("bench-busy-{number}"), PATIENCE).await
        });
        // By Docker's word, as the floor's; then also by the Director's.
        let masters = [DIRECTOR_LABEL, "com.atq.role=master"];
        engine.until_run(&masters, TASKS, SELDOM, PATIENCE).await?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok((seconds, try_join_all(waits).await?))
    };
    let names: Vec<String> = (0..TASKS).map(|n| format!("bench-busy-{n}")).collect();
    let work = async { tokio::try_join!(queued, all) };
    let ((queued, (seconds, tasks)), reads) =
        while_reading(client, &names, BETWEEN_READS, work).await?;
    replies.extend(queued);
    director.terminate()?;
    engine.sweep(DIRECTOR_LABEL).await?;
    Ok(Twenty {
        replies,
        reads,
        seconds,
        tasks,
    })
}

async fn twenty_floors(engine: &Engine) -> Result<f64> {
    let begun = Instant::now();
    let floor = Floor {
        engine,
        workers: WORKERS,
        sidecar: true,
        look: SELDOM,
    };
    try_join_all((0..TASKS).map(|_| floor.until_master_runs())).await?;
    let seconds = begun.elapsed().as_secs_f64();
    engine.sweep(FLOOR_LABEL).await?;
    Ok(seconds)
}

/// Stops every task that `put_many` has queued, the last one first so that none gets a turn.
///
/// # Errors
/// When one cannot be stopped.
pub async fn stop_many(client: &Client, name: &str, count: usize) -> Result<()> {
    for number in (0..count).rev() {
        stop(client, &format!("bench-{name}-{number}")).await?;
    }
    Ok(())
}
