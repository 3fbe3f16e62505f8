//! Limits of the machine are named, before the start and while devices connect.

use crate::harness::{Generator, until};
use crate::mosquitto_or_skip;
use std::process::{Command, Stdio};

#[test]
fn too_few_descriptors_are_named_before_the_start() {
    let generator = Generator::new(1, "--devices 50 --duration 1s");
    let command = generator
        .command(&["prlimit", "--nofile=100:100"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&command.stderr);
    assert_eq!(command.status.code(), Some(78), "{error}");
    assert!(
        error.contains("this worker has 50 devices, and the limit is 100"),
        "{error}"
    );
    assert!(error.contains("\"ulimits\": {\"nofile\": 114}"), "{error}");
    assert_eq!(generator.rows().len(), 0);
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let broker = mosquitto_or_skip!("allow_anonymous true");
    let generator = Generator::new(
        broker.port,
        "--devices 50 --duration 1s --period 1s --ramp 500",
    );
    let output = generator
        .command(&["prlimit", "--nofile=20:200"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(generator.count("publish", true), 50);
}

#[test]
fn descriptors_that_run_out_end_the_run_with_advice() {
    let broker = mosquitto_or_skip!("allow_anonymous true");
    let generator = Generator::new(broker.port, "--devices 100 --duration 1h --ramp 20");
    let running = generator.start();
    assert!(until(|| generator.count("connect", true) >= 5));
    let limit = ["--nofile=40:40", "--pid", &running.id().to_string()];
    assert!(
        Command::new("prlimit")
            .args(limit)
            .status()
            .unwrap()
            .success()
    );
    let ended = running.wait();
    ended.expect(
        78,
        &[
            "limit reached with",
            "no file descriptor is free",
            "\"ulimits\"",
        ],
    );
    assert!(
        generator
            .rows()
            .iter()
            .any(|row| row[5].contains("Too many open files"))
    );
}

/// Runs a script in a network namespace of its own; `None` if this user cannot create one.
fn in_namespace(script: &str, generator: &Generator) -> Option<Command> {
    let mut command = generator.command(&[
        "unshare",
        "--map-root-user",
        "--net",
        "sh",
        "-euc",
        script,
        "sh",
    ]);
    let possible = Command::new("unshare")
        .args(["--map-root-user", "--net", "ip", "link", "set", "lo", "up"])
        .stderr(Stdio::null())
        .status();
    possible.is_ok_and(|status| status.success()).then(|| {
        command.stderr(Stdio::piped());
        command
    })
}

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

#[test]
fn too_few_source_ports_are_named_before_the_start() {
    let generator = Generator::new(1, "--devices 11 --duration 1s");
    let script = format!("ip link set lo up; echo 40000 40009 >{RANGE}; exec \"$@\"");
    let Some(mut command) = in_namespace(&script, &generator) else {
        return eprintln!("skipped: this user cannot create a network namespace");
    };
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(
        error.contains("this worker has 11 devices, and 10 connections are possible"),
        "{error}"
    );
    assert!(error.contains("\"sysctls\""), "{error}");
}

#[test]
fn source_ports_that_run_out_end_the_run_with_advice() {
    let Some(mosquitto) = crate::mosquitto::program("mosquitto") else {
        return eprintln!("skipped: `mosquitto` is missing");
    };
    let generator = Generator::new(
        1883,
        "--devices 60 --duration 1h --ramp 50 --client-id b-{device}",
    );
    // Another generator uses 50 of the 100 ports.
    let script = format!(
        "ip link set lo up; echo 40000 40099 >{RANGE}; trap 'kill $broker $other' EXIT
         printf 'listener 1883 127.0.0.1\\nallow_anonymous true\\nuser root\\n' >$DIR/conf
         {} -c $DIR/conf >/dev/null 2>&1 & broker=$!
         $PROGRAM run --host 127.0.0.1 --devices 50 --ramp 500 --duration 1h --results $DIR/other.csv >/dev/null & other=$!
         until [ $(grep -c connect,true $DIR/other.csv 2>/dev/null || true) -eq 50 ] 2>/dev/null; do sleep 0.1; done
         code=0; \"$@\" || code=$?; exit $code",
        mosquitto.display()
    );
    let Some(mut command) = in_namespace(&script, &generator) else {
        return eprintln!("skipped: this user cannot create a network namespace");
    };
    command.env("DIR", generator.dir.path());
    let output = command
        .env("PROGRAM", env!("CARGO_BIN_EXE_atq-mqtt"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(
        error.contains("connected devices: no source port is free"),
        "{error}"
    );
    assert!(generator.count("connect", true) <= 50);
    assert!(error.contains("\"sysctls\""), "{error}");
}

#[test]
fn all_ports_of_the_range_can_be_used_without_delay() {
    let Some(mosquitto) = crate::mosquitto::program("mosquitto") else {
        return eprintln!("skipped: `mosquitto` is missing");
    };
    let generator = Generator::new(1883, "--devices 1000 --period 1s --duration 1s --ramp 500");
    let script = format!(
        "ip link set lo up; echo 40000 40999 >{RANGE}; trap 'kill $broker' EXIT
         printf 'listener 1883 127.0.0.1\\nallow_anonymous true\\nuser root\\nmax_connections -1\\n' >$DIR/conf
         {} -c $DIR/conf >/dev/null 2>&1 & broker=$!
         sleep 1; code=0; \"$@\" || code=$?; exit $code",
        mosquitto.display()
    );
    let Some(mut command) = in_namespace(&script, &generator) else {
        return eprintln!("skipped: this user cannot create a network namespace");
    };
    let output = command.env("DIR", generator.dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(generator.count("connect", true), 1000);
    assert_eq!(generator.count("publish", true), 1000);
}
