//! Messages are counted exactly.

use crate::harness::{Generator, until};
use crate::mosquitto_or_skip;

const ANYONE: &str = "allow_anonymous true";

#[test]
fn every_message_of_every_quality_of_service_arrives() {
    for qos in 0..=2 {
        let broker = mosquitto_or_skip!(ANYONE);
        let options = format!("--devices 20 --period 500ms --duration 2s --ramp 200 --qos {qos}");
        let generator = Generator::new(broker.port, &options);
        let ended = generator.run();
        ended.expect(
            0,
            &["80 published, 80 acknowledged, 0 lost, 0 in flight at the end, 0 not sent"],
        );
        assert_eq!(generator.count("publish", true), 80, "QoS {qos}");
        assert_eq!(generator.count("connect", true), 20);
        assert_eq!(generator.rows().len(), 100);
        // Mosquitto 2.0.11 counts the bytes of all messages, and the messages of QoS 0 and 1.
        broker.expect_counter("publish/bytes/received", 8000);
    }
}

#[test]
fn two_workers_share_the_devices() {
    let broker = mosquitto_or_skip!(ANYONE);
    let worker = |index: u32| {
        Generator::new(
            broker.port,
            "--devices 15 --period 500ms --duration 2s --ramp 100",
        )
        .env("ATQ_SHARE_INDEX", index)
        .env("ATQ_SHARE_COUNT", 2)
    };
    let (first, second) = (worker(0), worker(1));
    let (one, two) = (first.start(), second.start());
    one.wait()
        .expect(0, &["worker 1 of 2: 8 devices", "32 acknowledged"]);
    two.wait()
        .expect(0, &["worker 2 of 2: 7 devices", "28 acknowledged"]);
    // With equal client ids, the broker would have disconnected devices.
    assert_eq!(
        first.count("reconnect", true) + second.count("reconnect", true),
        0
    );
    broker.expect_counter("publish/messages/received", 60);
}

#[test]
fn a_message_has_the_requested_size() {
    let broker = mosquitto_or_skip!(ANYONE);
    let options = "--devices 2 --period 1s --duration 1s --size 5000 --topic t/{worker}/{device}";
    let generator = Generator::new(broker.port, options);
    generator.run().expect(0, &["2 acknowledged"]);
    broker.expect_counter("publish/bytes/received", 10_000);
    for row in generator.rows().iter().filter(|row| &row[2] == "publish") {
        assert_eq!(&row[6], (3 + 2 + "t/0/1".len() + 2 + 5000).to_string());
    }
}

#[test]
fn idle_devices_stay_connected_by_pings() {
    let broker = mosquitto_or_skip!(ANYONE);
    // Mosquitto disconnects a client after one and a half times the interval.
    let options = "--devices 5 --period 1h --duration 6s --keep-alive 1 --ramp 100";
    let generator = Generator::new(broker.port, options);
    generator
        .run()
        .expect(0, &["5 of 5 devices, 0 failed attempts; 0 reconnects"]);
}

#[test]
fn sigterm_ends_a_run_after_its_acknowledgements() {
    let broker = mosquitto_or_skip!(ANYONE);
    let generator = Generator::new(
        broker.port,
        "--devices 10 --period 200ms --duration 1h --ramp 100",
    );
    let running = generator.start();
    assert!(until(|| generator.count("publish", true) >= 10));
    running.signal("-TERM");
    let ended = running.wait();
    ended.expect(
        0,
        &["stopping", "0 lost, 0 in flight at the end, 0 not sent"],
    );
    let published = generator.count("publish", true);
    broker.expect_counter("publish/messages/received", published as u64);
}
