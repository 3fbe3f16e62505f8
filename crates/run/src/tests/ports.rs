//! Ports of sidecars. Docker may publish one port under two numbers, one for IPv4 and one for IPv6,
//! and does not say which is which.

use super::stage::{Stage, simple};
use atq_task::state::{Outcome, Step};

#[test]
fn a_sidecar_is_found_when_its_ipv6_port_is_another_sidecars_ipv4_port() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let one = director.accepted(&simple("one")).await;
        let two = director.accepted(&simple("two")).await;
        for name in [&one, &two] {
            director.until_step(name, Step::Running).await;
        }
        for name in [&one, &two] {
            let state = director.ended(name).await;
            assert_eq!(state.outcome, Some(Outcome::Finished));
        }
    });
}
