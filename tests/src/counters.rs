//! The counters of systems under test, with which reports are compared.

use crate::docker::docker;
use anyhow::{Result, ensure};
use atq_api_spec::report::Report;

/// The network of the RabbitMQ broker of an example, and its service.
pub const RABBITMQ: &str = "atq-example-rabbitmq";

/// The ids of the containers of a service.
///
/// # Errors
/// When Docker does not answer.
pub async fn containers(service: &str) -> Result<Vec<String>> {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let ids = docker(&["ps", "--quiet", "--filter", &filter]).await?;
    Ok(ids.lines().map(str::to_owned).collect())
}

/// Runs a command in the only container of a service.
///
/// # Errors
/// When it has another number of containers, or the command fails.
pub async fn in_service(service: &str, command: &[&str]) -> Result<String> {
    let ids = containers(service).await?;
    ensure!(ids.len() == 1, "containers of `{service}`: {ids:?}");
    in_container(&ids[0], command).await
}

/// Runs a command in a container.
///
/// # Errors
/// When it fails.
pub async fn in_container(id: &str, command: &[&str]) -> Result<String> {
    let mut args = vec!["exec", id];
    args.extend(command);
    docker(&args).await
}

/// The sum of the lines `NAME VALUE`, or `NAME{LABELS} VALUE`, of a counter.
///
/// # Errors
/// When there is no such line.
pub fn counter(text: &str, name: &str) -> Result<u64> {
    let values: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with([' ', '{']))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
        .collect();
    ensure!(!values.is_empty(), "no `{name}` in `{text}`");
    Ok(values.iter().sum())
}

/// Messages that the RabbitMQ broker of the example has received, confirmed and delivered since its start.
///
/// # Errors
/// When the broker does not answer.
pub async fn rabbitmq_messages() -> Result<[u64; 3]> {
    let url = "http://rabbitmq:15692/metrics";
    let curl = ["curl", "--fail", "--silent", "--show-error", url];
    let mut args = vec!["run", "--rm", "--network", RABBITMQ, "atq-shell:dev"];
    args.extend(curl);
    let text = docker(&args).await?;
    let of = |name| counter(&text, &format!("rabbitmq_global_messages_{name}_total"));
    Ok([of("received")?, of("confirmed")?, of("delivered")?])
}

/// The number of samples of all labels that are `name`, or begin with it and a space.
#[must_use]
pub fn samples(report: &Report, name: &str) -> u64 {
    let is_meant = |label: &str| {
        label
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let labels = report.labels.iter().filter(|it| is_meant(&it.name));
    labels.map(|it| it.figures.samples).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_the_sum_of_its_lines() {
        let text = "total 3\ntotals 5\nqueue{kind=\"a\"} 7\nqueue{kind=\"b\"} 8\n";
        assert!(counter(text, "total").is_ok_and(|sum| sum == 3));
        assert!(counter(text, "queue").is_ok_and(|sum| sum == 15));
        assert!(counter(text, "missing").is_err());
    }
}
