//! The step `report`: the final logs of the workers, figures from the result files, and the verdict.
//!
//! The step can be repeated: after a restart the results are read again, and the new report replaces the earlier one.

use super::results::missing_part;
use super::{containers, shutdown};
use crate::control::RunControl;
use crate::interruption::StepResult;
use crate::live::not_evaluated_until_the_end;
use crate::run::Run;
use crate::usage::{MIN_SAMPLED_DURATION, requires_cpu_usage};
use atq_engine::{Role, Source};
use atq_evidence::cpu_usage::{BUSY_PERCENT, Busy, CpuUsage};
use atq_report::{Figures, Report};
use atq_task::event::Event;
use atq_task::rules::{Inputs, LoadGenerators, Measured, evaluate};
use atq_task::verdict::Judgement;

/// Messages that Locust logs when its CPU is saturated.
const LOCUST_CPU_WARNINGS: [&str; 2] = [
    "CPU usage above 90%",
    "CPU usage was too high at some point during the test",
];

/// Stops running workers and keeps their final logs first, unless the task is to be deleted. This is recorded, so that
/// it is not repeated after a restart. Then computes figures and verdict.
///
/// # Errors
/// When skipping grace periods is newly requested; the step is then repeated.
pub async fn report(run: &mut Run) -> StepResult {
    if shutdown::is_needed(run)
        && let Some(event) = shutdown::collect_final_logs(run).await?
    {
        return Ok(event);
    }
    run.following.ended().await;
    remove_received(run).await;
    if run.desired().is_deleted() {
        return Ok(deleted(run));
    }
    let mut control = run.control.clone();
    let run = &*run;
    let reported = async {
        let figures = run.shared.evidence.figures(&run.spec, &run.state.run);
        match figures.await {
            Ok((report, measured)) => evaluated(run, report, &measured).await,
            Err(problem) => unreadable(run, problem),
        }
    };
    Ok(tokio::select! {
        event = reported => event,
        // The sender lives as long as the run: an error means that the process shuts down.
        _ = control.wait_for(RunControl::is_deleted) => deleted(run),
    })
}

/// Removes the bytes that were received while the test ran: all results are collected, or taken from them.
async fn remove_received(run: &Run) {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    if let Err(error) = run.shared.evidence.remove_live(name, suffix).await {
        tracing::warn!(task = %name, %error, "cannot remove the bytes that were received while the test ran");
    }
}

/// Notes about what was received while the test ran: partial results, and stop conditions that were not evaluated.
async fn notes_on_received(run: &Run) -> Vec<String> {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let kept = run.shared.evidence.results(name, suffix).await;
    let partial = kept
        .unwrap_or_default()
        .into_iter()
        .filter(|kept| kept.partial);
    let mut notes: Vec<String> = partial.filter_map(|kept| missing_part(&kept)).collect();
    match run.live.results() {
        Some(results) => notes.extend(results.unevaluated()),
        None if run.spec.stop_when.is_empty() || run.state.started_at.is_none() => {}
        None if run.state.stopped_when.is_some() => {}
        None => notes.push(not_evaluated_until_the_end(
            "the result files were not read while the test ran, or the Director was restarted after its end",
        )),
    }
    notes
}

async fn evaluated(run: &Run, mut report: Report, measured: &Measured) -> Event {
    report.notes.extend(notes_on_received(run).await);
    let generators = load_generators(run, &mut report).await;
    containers::add(run, &mut report).await;
    let judgement = judgement(run, measured, &generators);
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let kept = run.shared.evidence.keep_report(&report, name, suffix).await;
    let problem = kept.err().map(|error| {
        tracing::error!(task = %name, %error, "the report cannot be stored");
        format!("the report cannot be stored: {error}")
    });
    Event::Reported {
        judgement,
        samples: measured.samples,
        milli_requests_per_second: rate(&report.total),
        problem,
    }
}

/// The event for results that cannot be read.
fn unreadable(run: &Run, problem: String) -> Event {
    let measured = Measured {
        doubts: vec![problem.clone()],
        ..Measured::default()
    };
    without_figures(run, &measured, problem)
}

/// The event for a task that is to be deleted; figures are not computed.
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
        judgement: judgement(run, measured, &LoadGenerators::default()),
        samples: 0,
        milli_requests_per_second: None,
        problem: Some(problem),
    }
}

/// Thousandths of a request per second; `None` for samples without duration.
fn rate(total: &Figures) -> Option<u64> {
    let is_missing = total.missing.iter().any(|name| name == "throughput");
    let is_known = total.samples > 0 && !is_missing && total.throughput > 0.0;
    let rate = (total.throughput * 1000.0).round();
    (is_known && rate.is_finite()).then_some(rate as u64)
}

fn judgement(run: &Run, measured: &Measured, generators: &LoadGenerators) -> Judgement {
    evaluate(&Inputs {
        spec: &run.spec,
        state: &run.state,
        measured,
        generators,
        now: run.shared.clock.now(),
    })
}

async fn load_generators(run: &Run, report: &mut Report) -> LoadGenerators {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let usage = run.shared.evidence.cpu_usage(name, suffix).await;
    let usage = usage.unwrap_or_else(|error| {
        tracing::warn!(task = %name, %error, "the CPU usage of the run cannot be read");
        None
    });
    let usage = usage.unwrap_or_default();
    let mut clock_offsets = run.state.clocks_at_delivery();
    // Measured while the test ran, after the delivery.
    clock_offsets.extend(usage.clock_offsets.clone());
    // Samples are dated by the clock of the worker that measured them.
    let ran_on = |node: &String| {
        let mut workers = run.state.workers.iter();
        workers.any(|worker| worker.node.as_ref() == Some(node))
    };
    clock_offsets.retain(|node, _| ran_on(node));
    report.notes.extend(unknown_cpu_usage(run, &usage));
    let mut saturated = Vec::new();
    let sources = usage.sources.iter();
    for (source, usage) in sources.filter(|(_, usage)| usage.busy.is_saturated()) {
        let sentence = saturation(source, &usage.busy);
        // A master generates no load: its saturation does not affect the measurements of the workers.
        match Source::parse(source).is_some_and(|source| source.role == Role::Worker) {
            true => saturated.push(sentence),
            false => report.notes.push(sentence),
        }
    }
    let nodes = usage.nodes.iter().filter(|(_, busy)| busy.is_saturated());
    let sentences = nodes.map(|(node, busy)| saturation(&format!("node {node}"), busy));
    report.notes.extend(sentences);
    let mut sources = report.sources.iter();
    if sources.any(|source| source.format == "locust") {
        saturated.extend(saturated_locust(run).await);
    }
    LoadGenerators {
        clock_offsets: clock_offsets.into_iter().collect(),
        saturated,
    }
}

/// A note about workers whose CPU usage is unknown although the verdict depends on it.
fn unknown_cpu_usage(run: &Run, usage: &CpuUsage) -> Option<String> {
    let (Some(started), Some(ended)) = (run.state.started_at, run.state.finished_at) else {
        return None;
    };
    if !requires_cpu_usage(&run.spec) || ended.since(started) < MIN_SAMPLED_DURATION {
        return None;
    }
    let unknown: Vec<String> = (1..=run.spec.worker.replicas)
        .map(|replica| Source::new(Role::Worker, replica).to_string())
        .filter(|source| !usage.sources.contains_key(source))
        .collect();
    let first = unknown.first()?;
    let workers = match unknown.len() {
        1 => format!("1 worker (`{first}`)"),
        count => format!("{count} workers (`{first}`, ...)"),
    };
    Some(format!(
        "CPU usage unknown for {workers}; saturation cannot be ruled out"
    ))
}

fn saturation(what: &str, busy: &Busy) -> String {
    format!(
        "`{what}` was saturated: it used {BUSY_PERCENT:.0} % or more of its CPUs in {:.0} % of the time",
        busy.busy_share * 100.0
    )
}

/// A sentence for each container whose log has a CPU warning of Locust.
async fn saturated_locust(run: &Run) -> Vec<String> {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let logs = run.shared.evidence.logs(name, suffix).await;
    let mut busy = Vec::new();
    for source in logs.unwrap_or_default() {
        if source.role.keeps_results() && has_cpu_warning(run, source).await {
            busy.push(format!(
                "`{source}` was saturated: Locust logged `{}`",
                LOCUST_CPU_WARNINGS[0]
            ));
        }
    }
    busy
}

async fn has_cpu_warning(run: &Run, source: Source) -> bool {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let Ok(mut log) = run.shared.evidence.read_log(name, suffix, source).await else {
        return false;
    };
    while let Ok(Some(line)) = log.next().await {
        let is_logged = |warning: &&str| line.text.contains(*warning);
        if LOCUST_CPU_WARNINGS.iter().any(is_logged) {
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
    fn samples_without_duration_have_no_rate() {
        assert_eq!(rate(&total(3, 0.0)), None);
        assert_eq!(rate(&total(3, f64::INFINITY)), None);
        assert_eq!(rate(&total(3, f64::NAN)), None);
    }

    #[test]
    fn an_unreported_throughput_is_no_rate() {
        let unreported = Figures {
            missing: vec!["throughput".to_owned()],
            ..total(3, 5.0)
        };
        assert_eq!(rate(&unreported), None);
    }
}
