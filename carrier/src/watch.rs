//! Telling the Director how busy this node and the run's containers are.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use atq_node_protocol::load::{ContainerLoad, Load};
use atq_node_protocol::order::Watch;

use crate::args::Args;
use crate::docker::{CpuStats, Docker, Listed, ROLE, RUN};
use crate::http::{Director, now_ms};
use crate::load::{Ticks, rounded};
use crate::problem::Problem;
use crate::words::Done;

/// `<service>.<slot>.<id>`, given by Swarm.
const TASK_NAME: &str = "com.docker.swarm.task.name";
/// A Director that takes longer gets the next one.
const POST: Duration = Duration::from_secs(2);

/// Looks and tells until the process is ended; whoever does not answer is passed over.
///
/// # Errors
/// Only before the first look: when the counters of this node cannot be read, or the URL cannot be used.
pub fn run(args: &Args, order: &Watch) -> Result<Done, Problem> {
    // Far enough away to be never.
    let director = Director::at(
        &order.url,
        args,
        Instant::now() + Duration::from_secs(1 << 32),
    )?;
    let docker = Docker::at(&args.docker_socket);
    let pause = Duration::from_secs(order.seconds.clamp(1, 60));
    let path = format!("{}/load", order.run);
    let mut watcher = Watcher {
        docker,
        label: format!("{RUN}={}", order.run),
        before: ticks()?,
        counters: HashMap::new(),
    };
    watcher.look_at_containers();
    loop {
        thread::sleep(pause);
        if let Some(load) = watcher.look()? {
            let json = serde_json::to_vec(&load).unwrap_or_default();
            if let Err(problem) = director.post(&path, &json, POST) {
                eprintln!("{problem}");
            }
        }
    }
}

struct Watcher {
    docker: Docker,
    label: String,
    before: Ticks,
    /// By container, as they were at the last look.
    counters: HashMap<String, CpuStats>,
}

impl Watcher {
    fn look(&mut self) -> Result<Option<Load>, Problem> {
        let now = ticks()?;
        let percent = now.percent_since(&self.before);
        self.before = now;
        let containers = self.look_at_containers();
        Ok(percent.map(|node_percent| Load {
            at: now_ms(),
            cpus: now.cpus,
            node_percent,
            containers,
        }))
    }

    /// Those that were there at the last look, too. One that has just ended is no problem, nor is Docker in a hurry.
    fn look_at_containers(&mut self) -> Vec<ContainerLoad> {
        let listed = self.docker.running(&self.label).unwrap_or_else(|problem| {
            eprintln!("{problem}");
            Vec::new()
        });
        let mut counters = HashMap::new();
        let mut found = Vec::new();
        for container in listed {
            let Some(source) = source(&container) else {
                continue;
            };
            let Ok(stats) = self.docker.stats(&container.id) else {
                continue;
            };
            let before = self.counters.get(&container.id);
            if let Some(percent) = before.and_then(|before| percent(before, &stats.cpu_stats)) {
                let id = container.id.clone();
                found.push(ContainerLoad {
                    id,
                    source,
                    percent,
                });
            }
            counters.insert(container.id, stats.cpu_stats);
        }
        self.counters = counters;
        found
    }
}

fn ticks() -> Result<Ticks, Problem> {
    Ticks::now().map_err(|e| Problem::lasting(format!("cannot read `/proc/stat`: {e}")))
}

/// For example `worker.3`; none for other roles.
fn source(container: &Listed) -> Option<String> {
    let role = container.labels.get(ROLE)?;
    if role != "worker" && role != "master" {
        return None;
    }
    let slot = container.labels.get(TASK_NAME)?.rsplit('.').nth(1)?;
    Some(format!("{role}.{slot}"))
}

fn percent(before: &CpuStats, now: &CpuStats) -> Option<f64> {
    let used = now
        .cpu_usage
        .total_usage
        .checked_sub(before.cpu_usage.total_usage)?;
    let passed = now.system_cpu_usage.checked_sub(before.system_cpu_usage)?;
    if passed == 0 || now.online_cpus == 0 {
        return None;
    }
    Some(rounded(
        100.0 * used as f64 / passed as f64 * f64::from(now.online_cpus),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::CpuUsage;

    fn stats(total_usage: u64, system_cpu_usage: u64) -> CpuStats {
        CpuStats {
            cpu_usage: CpuUsage { total_usage },
            system_cpu_usage,
            online_cpus: 4,
        }
    }

    #[test]
    fn a_hundred_percent_is_one_processor() {
        // One second on four processors, of which two were used.
        let (before, now) = (stats(0, 0), stats(2_000_000_000, 4_000_000_000));
        assert_eq!(percent(&before, &now), Some(200.0));
        assert_eq!(percent(&now, &now), None);
        assert_eq!(percent(&now, &before), None);
    }

    #[test]
    fn only_masters_and_workers_have_a_source() {
        let labelled = |role: &str, name: &str| Listed {
            id: "x".to_owned(),
            labels: [(ROLE, role), (TASK_NAME, name)]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
        };
        assert_eq!(
            source(&labelled("worker", "t-abc-worker.3.xyz")).as_deref(),
            Some("worker.3")
        );
        assert_eq!(
            source(&labelled("discovery", "t-abc-discovery.1.xyz")),
            None
        );
        assert_eq!(source(&labelled("worker", "odd")), None);
    }
}
