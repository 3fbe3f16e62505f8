//! Derives the status of workers and master from a list of containers. Pure.

use atq_engine::Member;
use atq_task::event::FailureCode;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Maximum number of replicas listed in a message.
const MAX_LISTED: usize = 3;

/// The status of workers or masters that start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartStatus<T> {
    /// All replicas are ready.
    Ready(T),
    /// Not yet ready; with a description.
    Waiting(String),
    /// Permanently failed; with a description.
    Failed(FailureCode, String),
}

/// The status of the workers before the master exists. They are ready when all run and DNS resolves to their addresses.
pub type WorkersStatus = StartStatus<Vec<Ipv4Addr>>;
/// The status of the master while it starts. It is ready when all its replicas run or have run.
pub type MasterStatus = StartStatus<()>;

/// The status of the workers, `age` after their service was created. `dns` are the last addresses to which their
/// name resolved.
pub fn workers_status(
    members: &[Member],
    replicas: u32,
    dns: &[Ipv4Addr],
    age: Duration,
) -> WorkersStatus {
    if let Some(failed) = failed(members, replicas, age) {
        return failed;
    }
    let mut alive: Vec<Ipv4Addr> = members
        .iter()
        .filter(|member| member.is_alive())
        .filter_map(|member| member.address)
        .collect();
    alive.sort_unstable();
    alive.dedup();
    let complete = u32::try_from(alive.len()) == Ok(replicas);
    match complete && alive == dns {
        true => WorkersStatus::Ready(alive),
        false => WorkersStatus::Waiting(describe_waiting(members, replicas, &alive, dns)),
    }
}

/// Milliseconds from the start of the first of `members` to that of the last; `None` if one does not run.
pub fn start_skew(members: &[Member]) -> Option<u64> {
    if !members.iter().all(Member::is_alive) {
        return None;
    }
    let starts: Option<Vec<_>> = members.iter().map(|member| member.since).collect();
    let starts = starts?;
    let skew = starts.iter().max()?.since(*starts.iter().min()?);
    u64::try_from(skew.as_millis()).ok()
}

/// The failure if a worker cannot become ready any more. Before the master exists, exit code 0 is a failure, too.
fn failed(members: &[Member], replicas: u32, age: Duration) -> Option<WorkersStatus> {
    let is_unplaceable = |member: &Member| member.is_unplaceable(age);
    let (code, message) = if members.iter().any(Member::is_gone) {
        let message = describe_failed(members, replicas, Member::is_gone);
        (FailureCode::WorkerFailed, message)
    } else if members.iter().any(is_unplaceable) {
        let message = describe_failed(members, replicas, is_unplaceable);
        (FailureCode::WorkerUnplaceable, message)
    } else {
        return None;
    };
    Some(WorkersStatus::Failed(code, message))
}

/// "2 of 3 workers run; replica 3: rejected: No such image `x:1`".
fn describe_failed(members: &[Member], replicas: u32, wanted: impl Fn(&Member) -> bool) -> String {
    let alive = count_alive(members);
    let mut parts = vec![format!("{alive} of {replicas} workers run")];
    parts.extend(reasons(members, wanted));
    parts.join("; ")
}

/// The reasons of the first of these members, and the number of the others.
fn reasons(members: &[Member], wanted: impl Fn(&Member) -> bool) -> Vec<String> {
    let wanted: Vec<&Member> = members.iter().filter(|member| wanted(member)).collect();
    let reason = |member: &&Member| format!("replica {}: {}", member.source.replica, member.reason);
    shortened(wanted.iter().map(reason))
}

/// The first parts of a list, and the number of the others.
pub fn shortened(parts: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = parts.len().saturating_sub(MAX_LISTED);
    let more = (more > 0).then(|| format!("and {more} more"));
    parts.take(MAX_LISTED).chain(more).collect()
}

fn describe_waiting(
    members: &[Member],
    replicas: u32,
    alive: &[Ipv4Addr],
    dns: &[Ipv4Addr],
) -> String {
    let head = format!(
        "{} of {replicas} workers run, {} of {replicas} addresses resolve",
        count_alive(members),
        dns.len()
    );
    let mut parts = vec![head];
    parts.extend(reasons(members, |member| !member.is_alive()));
    parts.extend(only_in(alive, dns, "not in DNS"));
    parts.extend(only_in(dns, alive, "in DNS only"));
    parts.join("; ")
}

/// "not in DNS: 10.224.0.4"; nothing when there are none.
fn only_in(here: &[Ipv4Addr], there: &[Ipv4Addr], label: &str) -> Option<String> {
    let only = here.iter().filter(|address| !there.contains(address));
    let only: Vec<String> = only.map(ToString::to_string).collect();
    let shown = only.get(..MAX_LISTED).unwrap_or(&only).join(", ");
    match only.len() {
        0 => None,
        1..=MAX_LISTED => Some(format!("{label}: {shown}")),
        count => Some(format!("{label}: {shown} and {} more", count - MAX_LISTED)),
    }
}

fn count_alive(members: &[Member]) -> usize {
    members.iter().filter(|member| member.is_alive()).count()
}

/// The status of the starting master, `age` after its service was created.
pub fn master_status(members: &[Member], replicas: u32, age: Duration) -> MasterStatus {
    let never_ran = |member: &&Member| member.is_gone() && !member.began;
    if let Some(member) = members.iter().find(never_ran) {
        return MasterStatus::Failed(
            FailureCode::MasterFailed,
            format!("the master did not start: {}", member.reason),
        );
    }
    if let Some(member) = members.iter().find(|member| member.is_unplaceable(age)) {
        return MasterStatus::Failed(
            FailureCode::MasterUnplaceable,
            format!("no node accepts the master: {}", member.reason),
        );
    }
    let started = members
        .iter()
        .filter(|member| member.is_alive() || member.began)
        .count();
    match u32::try_from(started) == Ok(replicas) {
        true => MasterStatus::Ready(()),
        false => {
            let shown = members.iter().take(MAX_LISTED);
            let mut parts = vec![format!("{started} of {replicas} run")];
            parts.extend(shown.map(|member| member.reason.clone()));
            MasterStatus::Waiting(parts.join("; "))
        }
    }
}

/// The worst exit code of the master's replicas once all have ended; `None` until then.
pub fn master_exit(members: &[Member], replicas: u32) -> Option<Option<i64>> {
    let all = u32::try_from(members.len()) == Ok(replicas)
        && members.iter().all(|member| member.has_ended());
    if !all {
        return None;
    }
    let unknown = members.iter().any(|member| member.exit_code.is_none());
    let worst = members
        .iter()
        .filter_map(|member| member.exit_code)
        .max_by_key(|code| code.unsigned_abs());
    match worst {
        Some(0) if unknown => Some(None),
        worst => Some(worst),
    }
}

/// The reason if a worker was lost while the test runs. Exit code 0 is not a loss: the workers of many tools exit
/// before their master.
pub fn worker_loss(member: &Member) -> Option<String> {
    let node_lost = !member.has_ended() && member.leaving;
    (node_lost || member.failed).then(|| member.reason.clone())
}

#[cfg(test)]
mod tests;
