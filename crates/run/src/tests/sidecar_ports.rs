//! Ports of sidecars. Docker may publish one port under two numbers, one for IPv4 and one for IPv6, and does not
//! distinguish them.

use super::simulation::{Simulation, simple};
use atq_task::state::{Outcome, Step};

#[test]
fn a_sidecar_is_reached_when_its_ipv6_port_is_the_ipv4_port_of_another() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let one = director.accepted(&simple("one")).await;
        let two = director.accepted(&simple("two")).await;
        for name in [&one, &two] {
            director.wait_for_step(name, Step::Running).await;
        }
        for name in [&one, &two] {
            let state = director.wait_done(name).await;
            assert_eq!(state.outcome, Some(Outcome::Finished));
        }
    });
}
