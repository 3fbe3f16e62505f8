//! Figures of running tests.

use super::gauges::{Distribution, Gauges};
use atq_run::Orchestrator;
use atq_run::live_updates::LiveUpdate;
use futures_util::future::join_all;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};
use prometheus_client::registry::Unit;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// Maximum number of tasks, in the order of their names.
const MAX_TASKS: usize = 100;
/// Maximum number of containers of all tasks.
const MAX_CONTAINERS: usize = 1000;
/// Time for which a scrape waits for figures.
const WAIT: Duration = Duration::from_secs(3);
/// State of a running worker, as the engine reports it.
const RUNNING: &str = "running";

/// Reads the figures of running tests at a scrape.
pub(super) struct LiveTests {
    orchestrator: Orchestrator,
    tests: Mutex<Vec<LiveUpdate>>,
}

impl LiveTests {
    pub(super) fn new(orchestrator: Orchestrator) -> Self {
        Self {
            orchestrator,
            tests: Mutex::default(),
        }
    }

    /// Renews the figures. Those of a test that are not there in time are absent.
    pub(super) async fn renew(&self) {
        let mut names = self.orchestrator.running_tests();
        names.truncate(MAX_TASKS);
        let updates = names.iter().map(async |name| {
            let update = timeout(WAIT, self.orchestrator.live_update(name)).await;
            let update = update.ok()?.inspect_err(|error| {
                tracing::warn!(task = %name, %error, "metrics: cannot read the figures");
            });
            // The test may have ended since.
            update.ok()?.filter(|update| update.snapshot.is_some())
        });
        let updates = join_all(updates).await;
        *self.tests.lock() = updates.into_iter().flatten().collect();
    }
}

impl fmt::Debug for LiveTests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTests").finish_non_exhaustive()
    }
}

/// A label with its value.
type Label<'a> = (&'static str, &'a str);

fn of_task(update: &LiveUpdate) -> Label<'_> {
    ("task", update.view.spec.name.as_str())
}

impl Collector for LiveTests {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges = Gauges::new(encoder);
        let tests = self.tests.lock();
        figures(&tests, &mut gauges)?;
        response_times(&tests, &mut gauges)?;
        distributions(&tests, &mut gauges)?;
        workers(&tests, &mut gauges)?;
        containers(&tests, &mut gauges)
    }
}

/// Writes a value of each task that has one.
fn each<'a, V: EncodeGaugeValue>(
    gauges: &mut Gauges<'_>,
    tests: &'a [LiveUpdate],
    (name, help, unit): (&str, &str, Option<&Unit>),
    value: impl Fn(&'a LiveUpdate) -> Option<V>,
) -> fmt::Result {
    let rows = tests
        .iter()
        .filter_map(|test| Some(([of_task(test)], value(test)?)));
    gauges.present(name, help, unit, rows.collect())
}

/// Whether a tool reports a figure.
fn is_known(missing: &[String], name: &str) -> bool {
    !missing.iter().any(|missing| missing == name)
}

fn figures(tests: &[LiveUpdate], gauges: &mut Gauges<'_>) -> fmt::Result {
    let of = |test: &LiveUpdate| Some(test.snapshot.as_ref()?.figures.as_ref()?.total.samples);
    let help = "Samples of a running test";
    each(gauges, tests, ("task_samples", help, None), of)?;

    let of = |test: &LiveUpdate| {
        let total = &test.snapshot.as_ref()?.figures.as_ref()?.total;
        is_known(&total.missing, "errors").then_some(total.errors)
    };
    let help = "Failed samples of a running test";
    each(gauges, tests, ("task_errors", help, None), of)?;

    let of = |test: &LiveUpdate| {
        let figures = test.snapshot.as_ref()?.figures.as_ref()?;
        (figures.last_seconds > 0).then_some(figures.last.throughput)
    };
    let help = "Samples per second of a running test in its latest ten seconds";
    each(gauges, tests, ("task_sample_rate", help, None), of)?;

    let of = |test: &LiveUpdate| {
        let last = &test.snapshot.as_ref()?.figures.as_ref()?.last;
        let is_known = last.samples > 0 && is_known(&last.missing, "errors");
        is_known.then_some(last.error_percent / 100.0)
    };
    let help = "Share of failed samples of a running test in its latest ten seconds";
    each(gauges, tests, ("task_error_ratio", help, None), of)?;

    let of = |test: &LiveUpdate| test.snapshot.as_ref()?.figures.as_ref()?.active;
    let help = "Active users of a running test";
    each(gauges, tests, ("task_active_users", help, None), of)?;

    let of =
        |test: &LiveUpdate| Some(Duration::from_millis(test.snapshot.as_ref()?.lag?).as_secs_f64());
    let help = "Time since all result files of a running test were last read";
    each(gauges, tests, ("task_lag", help, Some(&Unit::Seconds)), of)
}

fn response_times(tests: &[LiveUpdate], gauges: &mut Gauges<'_>) -> fmt::Result {
    let rows = tests.iter().flat_map(|test| {
        let figures = test
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.figures.as_ref());
        let last = figures
            .map(|figures| &figures.last)
            .filter(|last| last.samples > 0);
        let quantiles = last.map(|last| {
            [
                ("0.5", "p50", last.p50),
                ("0.95", "p95", last.p95),
                ("0.99", "p99", last.p99),
            ]
            .into_iter()
            .filter(|(_, name, _)| is_known(&last.missing, name))
            .map(|(quantile, _, millis)| ([of_task(test), ("quantile", quantile)], millis / 1000.0))
        });
        quantiles.into_iter().flatten()
    });
    let help = "Response times of a running test in its latest ten seconds";
    gauges.present(
        "task_response_time",
        help,
        Some(&Unit::Seconds),
        rows.collect(),
    )
}

fn distributions(tests: &[LiveUpdate], gauges: &mut Gauges<'_>) -> fmt::Result {
    let rows = tests.iter().filter_map(|test| {
        let figures = test.snapshot.as_ref()?.figures.as_ref()?;
        #[expect(clippy::cast_precision_loss)]
        let sum = figures.total.mean * figures.total.samples as f64 / 1000.0;
        let buckets = figures.response_times.iter().map(|bucket| {
            let bound = bucket.up_to.map(Duration::from_millis);
            let bound = bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
            (bound, bucket.count)
        });
        let buckets: Vec<_> = buckets.collect();
        (!buckets.is_empty()).then_some(([of_task(test)], Distribution { sum, buckets }))
    });
    gauges.histograms(
        "task_response_times",
        "Response times of a running test since its start",
        &Unit::Seconds,
        rows.collect(),
    )
}

fn workers(tests: &[LiveUpdate], gauges: &mut Gauges<'_>) -> fmt::Result {
    let rows = tests.iter().flat_map(|test| {
        let running = test
            .view
            .workers
            .iter()
            .filter(|worker| worker.state == RUNNING);
        let (running, lost) = (running.count() as u64, test.view.state.lost.len() as u64);
        [("running", running), ("lost", lost)]
            .map(|(state, number)| ([of_task(test), ("state", state)], number))
    });
    gauges.present(
        "task_workers",
        "Workers of a running test",
        None,
        rows.collect(),
    )
}

fn containers(tests: &[LiveUpdate], gauges: &mut Gauges<'_>) -> fmt::Result {
    let all = tests.iter().flat_map(|test| {
        let named = test
            .usage
            .iter()
            .map(|(source, usage)| (source.to_string(), usage));
        named.map(move |(name, usage)| (of_task(test), name, usage))
    });
    let all: Vec<_> = all.take(MAX_CONTAINERS).collect();
    let rows = all.iter().filter_map(|(task, name, usage)| {
        Some(([*task, ("container", name.as_str())], usage.cpu?))
    });
    let help = "CPUs in use by a container of a running test";
    gauges.present("task_container_cpus", help, None, rows.collect())?;
    let rows = all.iter().filter_map(|(task, name, usage)| {
        Some(([*task, ("container", name.as_str())], usage.memory?))
    });
    let help = "Memory in use by a container of a running test";
    gauges.present(
        "task_container_memory",
        help,
        Some(&Unit::Bytes),
        rows.collect(),
    )
}
