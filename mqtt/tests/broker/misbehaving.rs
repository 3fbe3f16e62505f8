//! Brokers that do not do what MQTT demands.

use crate::fake::{ACCEPT, answer_once, broker};
use crate::harness::{Generator, free_port};
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_broker_that_acknowledges_nothing_loses_every_message() {
    let port = broker(|stream| answer_once(stream, ACCEPT));
    let options = "--devices 5 --period 500ms --duration 1s --ack-timeout 1s";
    let generator = Generator::new(port, options);
    let ended = generator.run();
    ended.expect(
        0,
        &[
            "10 published, 0 acknowledged, 10 lost, 0 in flight",
            "not acknowledged within 1 s",
        ],
    );
    assert_eq!(generator.count("publish", false), 10);
    assert_times_reach(&generator, 1000.0);
}

#[test]
fn a_broker_that_answers_nothing_is_named_with_the_deadline() {
    let port = broker(|stream| answer_once(stream, &[]));
    let options = "--devices 2 --period 500ms --duration 3s --connect-timeout 1s";
    let generator = Generator::new(port, options);
    let ended = generator.run();
    ended.expect(
        69,
        &[
            "no connection within 1 s",
            "no device could connect",
            "12 not sent",
        ],
    );
    assert!(generator.count("connect", false) >= 2);
    // A message that is not sent has the time of `--ack-timeout`, and does not lower a percentile.
    assert_times_reach(&generator, 10_000.0);
}

/// Asserts that every failed message took at least this time, in milliseconds.
fn assert_times_reach(generator: &Generator, least: f64) {
    for row in generator.rows() {
        let is_failed_message = &row[2] == "publish" && &row[3] == "false";
        let elapsed: f64 = row[1].parse().unwrap();
        assert!(!is_failed_message || elapsed >= least, "{row:?}");
    }
}

#[test]
fn a_server_that_is_no_broker_is_named() {
    let port = broker(|stream| answer_once(stream, &[0xff; 100]));
    let ended = Generator::new(port, "--devices 1 --period 500ms --duration 1s").run();
    ended.expect(69, &["invalid or unexpected MQTT packet"]);
}

#[test]
fn a_broker_that_closes_at_once_is_retried_with_backoff() {
    let port = broker(answer_once_and_close);
    let options = "--devices 1 --period 1s --duration 5s --backoff 100ms --backoff-max 10s";
    let generator = Generator::new(port, options);
    let ended = generator.run();
    ended.expect(0, &["closed by the broker"]);
    let attempts = generator.count("reconnect", true);
    // Without backoff there would be thousands.
    assert!((1..60).contains(&attempts), "{attempts}: {}", ended.text);
}

fn answer_once_and_close(mut stream: std::net::TcpStream) {
    use std::io::{Read, Write};
    let mut bytes = [0; 4096];
    let _ = stream.read(&mut bytes);
    let _ = stream.write_all(ACCEPT);
}

#[test]
fn a_broker_that_does_not_answer_pings_loses_its_devices() {
    let port = broker(|stream| answer_once(stream, ACCEPT));
    let options = "--devices 1 --period 1h --duration 4s --keep-alive 1";
    let generator = Generator::new(port, options);
    generator.run().expect(0, &["outage"]);
    assert!(generator.count("reconnect", true) >= 1);
}

#[test]
fn publishing_does_not_hide_that_a_broker_does_not_answer_pings() {
    for qos in [0, 1] {
        let port = broker(|stream| answer_once(stream, ACCEPT));
        let options = format!(
            "--devices 1 --period 100ms --duration 4s --keep-alive 1 --ack-timeout 1s --qos {qos}"
        );
        let generator = Generator::new(port, &options);
        let ended = generator.run();
        ended.expect(0, &["no answer to PINGREQ"]);
        assert!(generator.count("reconnect", true) >= 1, "{}", ended.text);
    }
}

#[test]
fn a_broker_that_always_sends_does_not_stop_the_publishing() {
    let port = broker(|mut stream| {
        let _ = stream.write_all(ACCEPT);
        let pings = [0xd0, 0].repeat(4096);
        while stream.write_all(&pings).is_ok() {}
    });
    let options = "--devices 1 --period 100ms --duration 1s --ack-timeout 1s";
    Generator::new(port, options)
        .run()
        .expect(0, &["10 published, 0 acknowledged, 10 lost"]);
}

#[test]
fn an_attempt_that_the_end_interrupts_is_no_failure() {
    let port = broker(|stream| answer_once(stream, &[]));
    let options = "--devices 1 --duration 1h --connect-timeout 1h";
    let generator = Generator::new(port, options);
    let running = generator.start();
    sleep(Duration::from_secs(2));
    running.signal("-TERM");
    running.wait().expect(0, &["0 failed attempts"]);
    assert_eq!(generator.rows().len(), 0);
}

/// A broker that acknowledges no message, and a device that waits for an hour.
fn without_acknowledgements(duration: &str) -> Generator {
    let port = broker(|stream| answer_once(stream, ACCEPT));
    let options = format!("--devices 1 --period 500ms --ack-timeout 1h --duration {duration}");
    Generator::new(port, &options).option("--settle", "1s")
}

#[test]
fn a_signal_ends_a_run_within_seconds_whatever_the_broker_does_not_acknowledge() {
    let running = without_acknowledgements("1h").start();
    sleep(Duration::from_secs(3));
    running.signal("-TERM");
    let signalled = Instant::now();
    running
        .wait()
        .expect(0, &["stopping", "1 devices did not end in time", "0 lost"]);
    let elapsed = signalled.elapsed();
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
}

#[test]
fn signals_after_the_planned_end_are_obeyed_and_the_second_ends_the_run_at_once() {
    let running = without_acknowledgements("1s").start();
    sleep(Duration::from_secs(4));
    running.signal("-TERM");
    sleep(Duration::from_millis(500));
    let second = Instant::now();
    running.signal("-INT");
    running
        .wait()
        .expect(0, &["stopping", "2 in flight at the end"]);
    let elapsed = second.elapsed();
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
}

#[test]
fn a_closed_port_is_named() {
    let options = "--devices 2 --period 500ms --duration 1s";
    let ended = Generator::new(free_port(), options).run();
    ended.expect(69, &["Connection refused", "no device could connect"]);
}

#[test]
fn an_unknown_host_and_a_foreign_source_address_are_named() {
    let run = |options: &str| Generator::new(1, options).run();
    let ended = run("--devices 1 --host no.such.host.invalid --connect-timeout 1s");
    ended.expect(69, &["cannot resolve `no.such.host.invalid`"]);
    let ended = run("--devices 1 --source-address 192.0.2.1");
    ended.expect(
        2,
        &[
            "--source-address 192.0.2.1",
            "expected an address of this machine",
        ],
    );
}

#[test]
fn results_that_cannot_be_written_are_named() {
    let generator = Generator::new(1, "--devices 1");
    let generator = generator.option("--results", "/proc/nowhere/mqtt.csv");
    generator
        .run()
        .expect(2, &["--results /proc/nowhere/mqtt.csv: "]);
}
