//! What a run says: the workers' last words, figures from the result files, and the verdict.
//!
//! All of it can be done again: after a restart in the middle the results are read once more, and the
//! report takes the place of the earlier one.

use super::wind_down;
use crate::load::watches_load;
use crate::run::Run;
use crate::steering::Steering;
use crate::wait::StepResult;
use atq_engine::{Role, Source};
use atq_evidence::load::{BUSY_PERCENT, Busy, Load};
use atq_report::{Figures, Report};
use atq_task::event::Event;
use atq_task::judge::{Facts, Machines, Measured, judge};
use atq_task::verdict::Judgement;
use std::time::Duration;

/// A test that is shorter may end before anybody has looked twice.
const WATCHED_FROM: Duration = Duration::from_secs(15);

/// What Locust writes into its log when it has no processor left for its users.
const LOCUST_AT_ITS_LIMIT: [&str; 2] = [
    "CPU usage above 90%",
    "CPU usage was too high at some point during the test",
];

/// What still runs is told to end and heard out first, unless nobody wants to know. That it was heard
/// is recorded, so that a restart does not wait again.
///
/// # Errors
/// When grace periods are to be skipped from now on: the step is to be begun again.
pub async fn report(run: &mut Run) -> StepResult {
    if wind_down::is_due(run)
        && let Some(event) = wind_down::last_words(run).await?
    {
        return Ok(event);
    }
    if run.desired().is_deleted() {
        return Ok(deleted(run));
    }
    let mut wishes = run.wishes.clone();
    let run = &*run;
    let worked_out = async {
        let figures = run.shared.evidence.figures(&run.spec, &run.state.run);
        match figures.await {
            Ok((report, measured)) => read(run, report, &measured).await,
            Err(problem) => unread(run, problem),
        }
    };
    Ok(tokio::select! {
        event = worked_out => event,
        // Its sender lives as long as the run: an error means the end of the process.
        _ = wishes.wait_for(Steering::is_deleted) => {
            deleted(run)
        }
    })
}

async fn read(run: &Run, mut report: Report, measured: &Measured) -> Event {
    let machines = machines(run, &mut report).await;
    let judgement = judged(run, measured, &machines);
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let kept = run.shared.evidence.keep_report(&report, name, suffix).await;
    let problem = kept.err().map(|error| {
        tracing::error!(task = %name, %error, "the report cannot be kept");
        format!("the report cannot be kept: {error}")
    });
    Event::Reported {
        judgement,
        samples: measured.samples,
        milli_requests_per_second: rate(&report.total),
        problem,
    }
}

/// The results cannot be read.
fn unread(run: &Run, problem: String) -> Event {
    let measured = Measured {
        doubts: vec![problem.clone()],
        ..Measured::default()
    };
    without_figures(run, &measured, problem)
}

/// Nobody wants the figures any more.
fn deleted(run: &Run) -> Event {
    let problem = "the task is being deleted".to_owned();
    let measured = Measured {
        gaps: vec![problem.clone()],
        ..Measured::default()
    };
    without_figures(run, &measured, problem)
}

fn without_figures(run: &Run, measured: &Measured, problem: String) -> Event {
    Event::Reported {
        judgement: judged(run, measured, &Machines::default()),
        samples: 0,
        milli_requests_per_second: None,
        problem: Some(problem),
    }
}

/// Thousandths of a request per second. Samples that took no time have no rate.
fn rate(total: &Figures) -> Option<u64> {
    let is_missing = total.missing.iter().any(|name| name == "throughput");
    let is_known = total.samples > 0 && !is_missing && total.throughput > 0.0;
    let rate = (total.throughput * 1000.0).round();
    (is_known && rate.is_finite()).then_some(rate as u64)
}

fn judged(run: &Run, measured: &Measured, machines: &Machines) -> Judgement {
    judge(&Facts {
        spec: &run.spec,
        state: &run.state,
        measured,
        machines,
        now: run.shared.clock.now(),
    })
}

async fn machines(run: &Run, report: &mut Report) -> Machines {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let load = run.shared.evidence.load(name, suffix).await;
    let load = load
        .inspect_err(
            |error| tracing::warn!(task = %name, %error, "how busy the run was cannot be read"),
        )
        .ok()
        .flatten()
        .unwrap_or_default();
    let mut clocks = run.state.clocks_at_delivery();
    // Measured while the test ran, after the delivery.
    clocks.extend(load.clock_offsets.clone());
    // Samples have the time of the worker that measured them.
    let workers = &run.state.workers;
    clocks.retain(|node, _| workers.iter().any(|seen| seen.node.as_ref() == Some(node)));
    report.notes.extend(unwatched(run, &load));
    let mut saturated = Vec::new();
    for (source, load) in load
        .sources
        .iter()
        .filter(|(_, load)| load.busy.is_saturated())
    {
        let busy = at_its_limit(source, &load.busy);
        // A master makes no load: that it is slow does not lengthen what its workers measure.
        match Source::parse(source).is_some_and(|source| source.role == Role::Worker) {
            true => saturated.push(busy),
            false => report.notes.push(busy),
        }
    }
    let nodes = load.nodes.iter().filter(|(_, busy)| busy.is_saturated());
    report
        .notes
        .extend(nodes.map(|(node, busy)| at_its_limit(&format!("node {node}"), busy)));
    if report
        .sources
        .iter()
        .any(|source| source.format == "locust")
    {
        saturated.extend(busy_locusts(run).await);
    }
    Machines {
        clocks: clocks.into_iter().collect(),
        saturated,
    }
}

/// Of whom it is not known how busy they were, though it matters.
fn unwatched(run: &Run, load: &Load) -> Option<String> {
    let (Some(begun), Some(ended)) = (run.state.started_at, run.state.finished_at) else {
        return None;
    };
    if !watches_load(&run.spec) || ended.since(begun) < WATCHED_FROM {
        return None;
    }
    let workers = (1..=run.spec.worker.replicas).map(|replica| Source {
        role: Role::Worker,
        replica,
    });
    let unknown: Vec<String> = workers
        .map(|source| source.to_string())
        .filter(|source| !load.sources.contains_key(source))
        .collect();
    let first = unknown.first()?;
    Some(format!(
        "it is not known how busy {} worker(s) were, `{first}` among them: whether they were at their limit cannot be said",
        unknown.len()
    ))
}

fn at_its_limit(what: &str, busy: &Busy) -> String {
    format!(
        "`{what}` was at its limit: in {:.0} % of the time it used {BUSY_PERCENT:.0} % or more of its processors",
        busy.busy_share * 100.0
    )
}

/// The containers whose logs hold Locust's own complaint.
async fn busy_locusts(run: &Run) -> Vec<String> {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let logs = run.shared.evidence.logs(name, suffix).await;
    let mut busy = Vec::new();
    for source in logs.unwrap_or_default() {
        if matches!(source.role, Role::Master | Role::Worker) && complains(run, source).await {
            busy.push(format!(
                "`{source}` was at its limit: Locust says `{}`",
                LOCUST_AT_ITS_LIMIT[0]
            ));
        }
    }
    busy
}

async fn complains(run: &Run, source: Source) -> bool {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let Ok(mut log) = run.shared.evidence.read_log(name, suffix, source).await else {
        return false;
    };
    while let Ok(Some(line)) = log.next().await {
        if LOCUST_AT_ITS_LIMIT
            .iter()
            .any(|words| line.text.contains(words))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(samples: u64, throughput: f64) -> Figures {
        Figures {
            samples,
            throughput,
            ..Figures::default()
        }
    }

    #[test]
    fn a_rate_is_the_throughput_in_thousandths() {
        assert_eq!(rate(&total(7532, 41.840_27)), Some(41_840));
        assert_eq!(rate(&total(3, 0.012_6)), Some(13));
    }

    #[test]
    fn without_samples_there_is_no_rate() {
        assert_eq!(rate(&Figures::default()), None);
        assert_eq!(rate(&total(0, 5.0)), None);
    }

    #[test]
    fn samples_that_took_no_time_have_no_rate() {
        assert_eq!(rate(&total(3, 0.0)), None);
        assert_eq!(rate(&total(3, f64::INFINITY)), None);
        assert_eq!(rate(&total(3, f64::NAN)), None);
    }

    #[test]
    fn a_throughput_that_the_tool_does_not_report_is_no_rate() {
        let untold = Figures {
            missing: vec!["throughput".to_owned()],
            ..total(3, 5.0)
        };
        assert_eq!(rate(&untold), None);
    }
}
