//! Decides from a list of containers how far a run is. Pure.

use atq_engine::Member;
use atq_task::event::FailureCode;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How many replicas a message names one by one.
const NAMED: usize = 3;

/// What the workers look like before the master exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workers {
    /// All run, and DNS agrees.
    Ready(Vec<Ipv4Addr>),
    /// Not yet; the words say what was seen.
    Waiting(String),
    /// It cannot become better.
    Failed(FailureCode, String),
}

/// Judges the workers, `age` after their service was created. `dns` are the addresses that the
/// name of the workers resolved to last.
pub fn workers(members: &[Member], replicas: u32, dns: &[Ipv4Addr], age: Duration) -> Workers {
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
        true => Workers::Ready(alive),
        false => Workers::Waiting(seen(members, replicas, &alive, dns)),
    }
}

/// Milliseconds from the start of the first of `members` to that of the last; `None` when one does not
/// run.
pub fn start_skew(members: &[Member]) -> Option<u64> {
    if !members.iter().all(Member::is_alive) {
        return None;
    }
    let starts: Option<Vec<_>> = members.iter().map(|member| member.since).collect();
    let starts = starts?;
    let skew = starts.iter().max()?.since(*starts.iter().min()?);
    u64::try_from(skew.as_millis()).ok()
}

/// A worker that cannot become ready any more, whichever it is. Before the master exists also one
/// that exited 0 is lost.
fn failed(members: &[Member], replicas: u32, age: Duration) -> Option<Workers> {
    if members.iter().any(Member::is_gone) {
        Some(Workers::Failed(
            FailureCode::WorkerFailed,
            named(members, replicas, Member::is_gone),
        ))
    } else if members.iter().any(|member| member.is_unplaceable(age)) {
        Some(Workers::Failed(
            FailureCode::WorkerUnplaceable,
            named(members, replicas, |member| member.is_unplaceable(age)),
        ))
    } else {
        None
    }
}

/// "2 of 3 workers run; replica 3: rejected: No such image `x:1`".
fn named(members: &[Member], replicas: u32, wanted: impl Fn(&Member) -> bool) -> String {
    let bad: Vec<&Member> = members.iter().filter(|member| wanted(member)).collect();
    let mut parts = vec![format!(
        "{} of {replicas} workers run",
        count_alive(members)
    )];
    parts.extend(
        bad.iter()
            .take(NAMED)
            .map(|member| format!("replica {}: {}", member.source.replica, member.reason)),
    );
    if bad.len() > NAMED {
        parts.push(format!("and {} more", bad.len() - NAMED));
    }
    parts.join("; ")
}

fn seen(members: &[Member], replicas: u32, alive: &[Ipv4Addr], dns: &[Ipv4Addr]) -> String {
    let head = format!(
        "{} of {replicas} workers run, {} of {replicas} addresses resolve",
        count_alive(members),
        dns.len()
    );
    let late: Vec<&Member> = members.iter().filter(|member| !member.is_alive()).collect();
    let mut parts = vec![head];
    parts.extend(
        late.iter()
            .take(NAMED)
            .map(|member| format!("replica {}: {}", member.source.replica, member.reason)),
    );
    if late.len() > NAMED {
        parts.push(format!("and {} more", late.len() - NAMED));
    }
    parts.extend(only_in(alive, dns, "not in DNS"));
    parts.extend(only_in(dns, alive, "in DNS only"));
    parts.join("; ")
}

/// "not in DNS: 10.224.0.4"; nothing when there are none.
fn only_in(here: &[Ipv4Addr], there: &[Ipv4Addr], words: &str) -> Option<String> {
    let only: Vec<String> = here
        .iter()
        .filter(|address| !there.contains(address))
        .map(ToString::to_string)
        .collect();
    let shown = only
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match only.len() {
        0 => None,
        count if count > NAMED => Some(format!("{words}: {shown} and {} more", count - NAMED)),
        _ => Some(format!("{words}: {shown}")),
    }
}

fn count_alive(members: &[Member]) -> usize {
    members.iter().filter(|member| member.is_alive()).count()
}

/// What the master looks like while it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// All replicas run, or have run.
    Started,
    /// Not yet; the words say what was seen.
    Waiting(String),
    /// It cannot be started.
    Failed(FailureCode, String),
}

/// Judges the start of the master, `age` after its service was created.
pub fn start(members: &[Member], replicas: u32, age: Duration) -> Start {
    let stillborn = |member: &&Member| member.is_gone() && !member.began;
    if let Some(member) = members.iter().find(stillborn) {
        return Start::Failed(
            FailureCode::MasterFailed,
            format!("the master did not start: {}", member.reason),
        );
    }
    if let Some(member) = members.iter().find(|member| member.is_unplaceable(age)) {
        return Start::Failed(
            FailureCode::MasterUnplaceable,
            format!("the master finds no node: {}", member.reason),
        );
    }
    let started = members
        .iter()
        .filter(|member| member.is_alive() || member.began)
        .count();
    match u32::try_from(started) == Ok(replicas) {
        true => Start::Started,
        false => {
            let mut parts = vec![format!("{started} of {replicas} run")];
            parts.extend(
                members
                    .iter()
                    .take(NAMED)
                    .map(|member| member.reason.clone()),
            );
            Start::Waiting(parts.join("; "))
        }
    }
}

/// Worst exit code of the master's replicas once all have ended; `None` while one has not.
pub fn end(members: &[Member], replicas: u32) -> Option<Option<i64>> {
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

/// Why a worker counts as lost while the test runs. Workers of many tools exit 0 before their
/// master, so that is no loss.
pub fn loss(member: &Member) -> Option<String> {
    let node_lost = !member.has_ended() && member.leaving;
    (node_lost || member.failed).then(|| member.reason.clone())
}

#[cfg(test)]
mod tests;
