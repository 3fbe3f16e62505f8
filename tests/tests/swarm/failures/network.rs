//! Networks without free subnets or addresses.

use super::case::{AT_ONCE, Case, run_all};
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::docker::docker;
use atq_tests::engine::Proxy;
use atq_tests::failure_watcher::FailureWatcher;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task};

/// An overlay network outside of ATQ. Removed when dropped.
struct ForeignNetwork(&'static str);

impl ForeignNetwork {
    async fn create(name: &'static str, subnet: &str) -> Result<Self> {
        drop(Self(name));
        docker(&[
            "network", "create", "--driver", "overlay", "--subnet", subnet, name,
        ])
        .await?;
        Ok(Self(name))
    }
}

impl Drop for ForeignNetwork {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker")
            .args(["network", "rm", self.0])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// Concurrent Directors with disjoint pools.
#[tokio::test]
async fn exhausted_networks_are_named() -> Result<()> {
    tokio::try_join!(full_pool(), no_addresses())?;
    Ok(())
}

async fn full_pool() -> Result<()> {
    let _foreign = ForeignNetwork::create("atq-test-full", "10.199.8.0/25").await?;
    let more = format!("{AT_ONCE}subnetPool: 10.199.8.0/24\n");
    let fixture = Fixture::start_with("test-full", &more).await?;
    let watcher = FailureWatcher::start("test-full")?;
    let case = Case::new(
        small_task("pool-full", 1),
        Step::Network,
        "subnets_exhausted",
    )
    .message("the pool `10.199.8.0/24` has no free /24")
    .hint("`subnetPool`");
    run_all(&fixture, &watcher, &[case]).await?;
    fixture.finish().await
}

/// A fixture whose Director uses Docker through a proxy that hides these networks.
async fn hiding(id: &str, networks: &[ForeignNetwork]) -> Result<(Proxy, Fixture)> {
    let proxy = Proxy::start()?;
    for network in networks {
        proxy.hide_network(network.0);
    }
    let more = format!("dockerHost: {}\nsubnetPool: 10.199.10.0/23\n", proxy.url());
    let fixture = Fixture::start_with(id, &more).await?;
    Ok((proxy, fixture))
}

/// Docker accepts a network with the subnet of another one, and then silently assigns no addresses. The Director avoids
/// subnets that it sees in use, so the other networks are hidden from it.
async fn no_addresses() -> Result<()> {
    let others = [
        ForeignNetwork::create("atq-test-hidden-1", "10.199.10.0/24").await?,
        ForeignNetwork::create("atq-test-hidden-2", "10.199.11.0/24").await?,
    ];
    let (_proxy, one) = hiding("test-hidden-one", &others[..1]).await?;
    let (_proxy, all) = hiding("test-hidden-all", &others).await?;
    let watcher = FailureWatcher::start("test-hidden-all")?;
    let case = Case::new(
        small_task("no-addresses", 1),
        Step::Discovery,
        "no_addresses",
    )
    .message("no address within 15 s")
    .hint("`subnetPool`");
    // This Director sees that the second subnet is in use.
    let full = Case::new(
        small_task("one-subnet-left", 1),
        Step::Discovery,
        "subnets_exhausted",
    )
    .message("the pool `10.199.10.0/23` has no free /24");
    let (named, exhausted) = tokio::join!(
        run_all(&all, &watcher, std::slice::from_ref(&case)),
        run_all(&one, &watcher, std::slice::from_ref(&full)),
    );
    named.and(exhausted)?;
    all.finish().await?;

    // With a free subnet the task runs.
    let [hidden, free] = others;
    drop(free);
    one.client().start(&small_task("second-subnet", 1)).await?;
    let task = one.client().done("second-subnet", RUN_TIMEOUT).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    one.finish().await?;
    drop(hidden);
    Ok(())
}
