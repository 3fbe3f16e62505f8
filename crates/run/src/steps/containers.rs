//! The resource usage of the containers in the report.

use crate::run::Run;
use crate::usage::MIN_SAMPLED_DURATION;
use atq_engine::{Role, Source};
use atq_report::{ContainerFigures, Report};
use atq_task::spec::TaskSpec;
use std::collections::BTreeSet;

/// The share of its memory limit with which a container counts as having reached it.
const FULL_SHARE: f64 = 0.95;
/// Maximum number of containers that are named.
const MAX_NAMED: usize = 10;

/// Adds the resource usage of the containers, and notes about it.
pub async fn add(run: &Run, report: &mut Report) {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let evidence = &run.shared.evidence;
    let figures = evidence.container_figures(name, suffix, run.state.started_at);
    report.containers = figures.await.unwrap_or_else(|error| {
        tracing::warn!(task = %name, %error, "the resource usage of the containers cannot be read");
        Vec::new()
    });
    report.notes.extend(full(&run.spec, &report.containers));
    report.notes.extend(unknown(run, &report.containers));
}

/// A note about each container that reached its memory limit.
fn full(spec: &TaskSpec, containers: &[ContainerFigures]) -> Vec<String> {
    let notes = containers.iter().filter_map(|container| {
        let (used, limit) = (container.memory_max?, container.memory_limit?);
        let share = used as f64 / limit as f64;
        (share >= FULL_SHARE).then(|| {
            let limit_of = match has_limit(spec, &container.name) {
                true => "its memory limit",
                false => "the memory of its node",
            };
            format!(
                "`{}` reached {limit_of}: it used {:.0} % of {:.1} MiB",
                container.name,
                share * 100.0,
                limit as f64 / f64::from(1 << 20)
            )
        })
    });
    let mut notes: Vec<String> = notes.collect();
    let more = notes.len().saturating_sub(MAX_NAMED);
    notes.truncate(MAX_NAMED);
    if more > 0 {
        notes.push(format!("{more} more containers reached their memory limit"));
    }
    notes
}

/// Whether the definition limits the memory of a container.
fn has_limit(spec: &TaskSpec, name: &str) -> bool {
    let service = match Source::parse(name).map(|source| source.role) {
        Some(Role::Worker) => &spec.worker,
        Some(Role::Master) => &spec.master,
        _ => return false,
    };
    service.resources.limits.memory.is_some()
}

/// A note about workers and masters whose resource usage is unknown.
fn unknown(run: &Run, containers: &[ContainerFigures]) -> Option<String> {
    let (Some(started), Some(ended)) = (run.state.started_at, run.state.finished_at) else {
        return None;
    };
    if ended.since(started) < MIN_SAMPLED_DURATION {
        return None;
    }
    let known = containers.iter().filter(|one| one.memory_max.is_some());
    let known: BTreeSet<&str> = known.map(|one| one.name.as_str()).collect();
    let of = |role, replicas| (1..=replicas).map(move |replica| Source::new(role, replica));
    let all = of(Role::Worker, run.spec.worker.replicas);
    let all = all.chain(of(Role::Master, run.spec.master.replicas));
    let mut unknown = all
        .map(|source| source.to_string())
        .filter(|name| !known.contains(name.as_str()));
    let first = unknown.next()?;
    Some(match unknown.count() {
        0 => format!("memory, network and block I/O unknown for `{first}`"),
        more => format!("memory, network and block I/O unknown for `{first}` and {more} more"),
    })
}
