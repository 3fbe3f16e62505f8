//! A broker that ends.

use crate::harness::{Generator, until};
use crate::mosquitto_or_skip;

#[test]
fn all_devices_come_back_after_a_restart_and_every_message_is_accounted_for() {
    let mut broker = mosquitto_or_skip!("allow_anonymous true");
    let options =
        "--devices 30 --period 500ms --duration 10s --ramp 100 --backoff 500ms --backoff-max 1s";
    let generator = Generator::new(broker.port, options);
    let running = generator.start();
    assert!(until(|| generator.count("publish", true) >= 60));
    broker.kill();
    assert!(until(|| generator.count("reconnect", false) >= 1));
    broker.restart();
    let ended = running.wait();
    ended.expect(
        0,
        &[
            "outage",
            "all reconnected after",
            "30 reconnects",
            "the device was not connected",
        ],
    );
    assert_eq!(generator.count("reconnect", true), 30);
    // Each message that was due is one sample: acknowledged, lost or not sent.
    let all = generator.count("publish", true) + generator.count("publish", false);
    assert_eq!(all, 30 * 20);
}
