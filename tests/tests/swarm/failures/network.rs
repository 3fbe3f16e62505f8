//! Networks without room.

use super::case::{AT_ONCE, Case, play};
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::docker::docker;
use atq_tests::engine::Proxy;
use atq_tests::stage::{PATIENCE, Stage, small_task};
use atq_tests::witness::Witness;

/// An overlay network of somebody else's. Removed when dropped.
struct Others(&'static str);

impl Others {
    async fn create(name: &'static str, subnet: &str) -> Result<Self> {
        drop(Self(name));
        docker(&[
            "network", "create", "--driver", "overlay", "--subnet", subnet, name,
        ])
        .await?;
        Ok(Self(name))
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker")
            .args(["network", "rm", self.0])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// Directors side by side, with pools that do not meet.
#[tokio::test]
async fn networks_without_room_are_named() -> Result<()> {
    tokio::try_join!(full_pool(), no_addresses())?;
    Ok(())
}

async fn full_pool() -> Result<()> {
    let _others = Others::create("atq-test-full", "10.199.8.0/25").await?;
    let more = format!("{AT_ONCE}subnetPool: 10.199.8.0/24\n");
    let stage = Stage::open_with("test-full", &more).await?;
    let witness = Witness::of("test-full")?;
    let case = Case::new(
        small_task("pool-full", 1),
        Step::Network,
        "subnets_exhausted",
    )
    .says("the pool `10.199.8.0/24` has no free /24")
    .hints("`subnetPool`");
    play(&stage, &witness, &[case]).await?;
    stage.close().await
}

/// A stage whose Director sees Docker through a proxy that keeps these networks to itself.
async fn blind_to(id: &str, networks: &[Others]) -> Result<(Proxy, Stage)> {
    let proxy = Proxy::start()?;
    for network in networks {
        proxy.hide_network(network.0);
    }
    let more = format!("dockerHost: {}\nsubnetPool: 10.199.10.0/23\n", proxy.url());
    let stage = Stage::open_with(id, &more).await?;
    Ok((proxy, stage))
}

/// Docker accepts a network whose addresses another one has, and then gives none, without a word.
/// The Director does not take what it sees, so the other networks are kept from it.
async fn no_addresses() -> Result<()> {
    let others = [
        Others::create("atq-test-hidden-1", "10.199.10.0/24").await?,
        Others::create("atq-test-hidden-2", "10.199.11.0/24").await?,
    ];
    let (_proxy, one) = blind_to("test-hidden-one", &others[..1]).await?;
    let (_proxy, all) = blind_to("test-hidden-all", &others).await?;
    let witness = Witness::of("test-hidden-all")?;
    let case = Case::new(
        small_task("no-addresses", 1),
        Step::Discovery,
        "no_addresses",
    )
    .says("no address within 5 s")
    .hints("`subnetPool`");
    // This Director sees that the second subnet is taken.
    let full = Case::new(
        small_task("one-subnet-left", 1),
        Step::Discovery,
        "subnets_exhausted",
    )
    .says("the pool `10.199.10.0/23` has no free /24");
    let (named, exhausted) = tokio::join!(
        play(&all, &witness, std::slice::from_ref(&case)),
        play(&one, &witness, std::slice::from_ref(&full)),
    );
    named.and(exhausted)?;
    all.close().await?;

    // With one that is free the task runs.
    let [hidden, free] = others;
    drop(free);
    one.client().start(&small_task("second-subnet", 1)).await?;
    let task = one.client().done("second-subnet", PATIENCE).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    one.close().await?;
    drop(hidden);
    Ok(())
}
