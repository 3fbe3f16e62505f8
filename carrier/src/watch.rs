//! Reporting resource usage of this node and of the run's containers to the Director.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use atq_node_protocol::load::{ContainerLoad, Load};
use atq_node_protocol::order::Watch;
use atq_node_protocol::outcome::CarrierOutcome;
use atq_node_protocol::stats::CpuStats;

use crate::args::Args;
use crate::cpu_usage::{CpuTicks, round_percent};
use crate::docker::{ContainerSummary, Docker, ROLE_LABEL, RUN_LABEL};
use crate::http::{Director, now_ms};
use crate::problem::Problem;

/// Label with `<service>.<slot>.<id>`, set by Swarm.
const TASK_NAME_LABEL: &str = "com.docker.swarm.task.name";
/// The roles that are reported if the order names none.
const DEFAULT_ROLES: [&str; 2] = ["worker", "master"];
/// A report that takes longer is dropped; the next one follows.
const POST_TIMEOUT: Duration = Duration::from_secs(2);

/// Samples and reports until the process is ended. A sample that cannot be sent is dropped.
///
/// # Errors
/// When the counters of this node cannot be read, or the URL cannot be used.
pub fn run(args: &Args, order: &Watch) -> Result<CarrierOutcome, Problem> {
    // The deadline is too far away to have an effect.
    let director = Director::at(
        &order.url,
        order.certificate.as_deref(),
        args,
        Instant::now() + Duration::from_secs(1 << 32),
    )?;
    let docker = Docker::at(&args.docker_socket);
    let interval = Duration::from_secs(order.seconds.clamp(1, 60));
    let path = format!("{}/load", order.run);
    let mut sampler = Sampler {
        docker,
        label: format!("{RUN_LABEL}={}", order.run),
        roles: roles(order),
        previous: ticks()?,
        counters: HashMap::new(),
    };
    sampler.sample_containers();
    loop {
        thread::sleep(interval);
        if let Some(load) = sampler.sample()? {
            let json = serde_json::to_vec(&load).unwrap_or_default();
            if let Err(problem) = director.post(&path, &json, POST_TIMEOUT) {
                eprintln!("{problem}");
            }
        }
    }
}

/// The roles of the containers to report.
fn roles(order: &Watch) -> Vec<String> {
    match order.roles.is_empty() {
        true => DEFAULT_ROLES.map(str::to_owned).to_vec(),
        false => order.roles.clone(),
    }
}

struct Sampler {
    docker: Docker,
    label: String,
    roles: Vec<String>,
    previous: CpuTicks,
    /// By container, from the previous sample.
    counters: HashMap<String, CpuStats>,
}

impl Sampler {
    fn sample(&mut self) -> Result<Option<Load>, Problem> {
        let now = ticks()?;
        let percent = now.percent_since(&self.previous);
        self.previous = now;
        let containers = self.sample_containers();
        Ok(percent.map(|node_percent| Load {
            at: now_ms(),
            cpus: now.cpus,
            node_percent,
            containers,
        }))
    }

    /// Usage of containers that were also in the previous sample. Containers that have ended meanwhile are ignored.
    fn sample_containers(&mut self) -> Vec<ContainerLoad> {
        let listed = self
            .docker
            .running_containers(&self.label)
            .unwrap_or_else(|problem| {
                eprintln!("{problem}");
                Vec::new()
            });
        let mut counters = HashMap::new();
        let mut usages = Vec::new();
        for container in listed {
            let Some(source) = source(&container, &self.roles) else {
                continue;
            };
            let Ok(stats) = self.docker.stats(&container.id) else {
                continue;
            };
            let previous = self.counters.get(&container.id);
            let now = &stats.cpu_stats;
            if let Some(percent) = previous.and_then(|previous| percent(previous, now)) {
                usages.push(ContainerLoad {
                    id: container.id.clone(),
                    source,
                    percent,
                    usage: stats.usage(),
                });
            }
            counters.insert(container.id, stats.cpu_stats);
        }
        self.counters = counters;
        usages
    }
}

fn ticks() -> Result<CpuTicks, Problem> {
    CpuTicks::now().map_err(|e| Problem::permanent(format!("cannot read `/proc/stat`: {e}")))
}

/// The source of a container, for example `worker.3`; `None` for roles other than `roles`.
fn source(container: &ContainerSummary, roles: &[String]) -> Option<String> {
    let role = container.labels.get(ROLE_LABEL)?;
    if !roles.contains(role) {
        return None;
    }
    let slot = container.labels.get(TASK_NAME_LABEL)?.rsplit('.').nth(1)?;
    Some(format!("{role}.{slot}"))
}

fn percent(before: &CpuStats, now: &CpuStats) -> Option<f64> {
    let used = now
        .cpu_usage
        .total_usage
        .checked_sub(before.cpu_usage.total_usage)?;
    let elapsed = now.system_cpu_usage.checked_sub(before.system_cpu_usage)?;
    if elapsed == 0 || now.online_cpus == 0 {
        return None;
    }
    Some(round_percent(
        100.0 * used as f64 / elapsed as f64 * f64::from(now.online_cpus),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use atq_node_protocol::stats::CpuTime;

    fn stats(total_usage: u64, system_cpu_usage: u64) -> CpuStats {
        CpuStats {
            cpu_usage: CpuTime { total_usage },
            system_cpu_usage,
            online_cpus: 4,
        }
    }

    #[test]
    fn one_fully_used_cpu_is_a_hundred_percent() {
        // One second on four CPUs, two of them in use.
        let (before, now) = (stats(0, 0), stats(2_000_000_000, 4_000_000_000));
        assert_eq!(percent(&before, &now), Some(200.0));
        assert_eq!(percent(&now, &now), None);
        assert_eq!(percent(&now, &before), None);
    }

    #[test]
    fn only_containers_of_the_ordered_roles_have_a_source() {
        let order = |roles: &[&str]| Watch {
            url: String::new(),
            certificate: None,
            run: String::new(),
            seconds: 2,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        let source =
            |container: &ContainerSummary, roles| source(container, &super::roles(&order(roles)));
        let labelled = |role: &str, name: &str| ContainerSummary {
            id: "x".to_owned(),
            labels: [(ROLE_LABEL, role), (TASK_NAME_LABEL, name)]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
        };
        assert_eq!(
            source(&labelled("worker", "t-abc-worker.3.xyz"), &[]).as_deref(),
            Some("worker.3")
        );
        assert_eq!(
            source(&labelled("discovery", "t-abc-discovery.1.xyz"), &[]),
            None
        );
        let wait = labelled("wait", "t-abc-wait-2.1.xyz");
        assert_eq!(source(&wait, &[]), None);
        assert_eq!(source(&wait, &["wait"]).as_deref(), Some("wait.1"));
        assert_eq!(source(&labelled("worker", "odd"), &[]), None);
    }
}
