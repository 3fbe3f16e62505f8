#![allow(clippy::unwrap_used)]

use super::*;
use crate::settings::DeviceSource;
use crate::share::WorkerShare;
use clap::CommandFactory;

fn parse(args: &[&str]) -> Result<Run, String> {
    let cli = Cli::try_parse_from(["atq-mqtt", "run"].iter().chain(args));
    match cli.map_err(|error| error.to_string())?.command {
        Command::Run(run) => Ok(*run),
        Command::Plan(_) => panic!("not run"),
    }
}

fn fault(args: &[&str]) -> String {
    let run = parse(args);
    match run.and_then(|run| run.settings(WorkerShare::WHOLE, None)) {
        Err(error) => error,
        Ok(settings) => panic!("{settings:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn each_worker_takes_its_part_of_the_devices() {
    let run = parse(&["--host", "b", "--devices", "5"]).unwrap();
    let names = |index| {
        let settings = run
            .settings(WorkerShare::new(index, 2).unwrap(), None)
            .unwrap();
        let names = settings
            .identities()
            .map(|device| device.credentials.client_id);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(0), ["atq-0", "atq-2", "atq-4"]);
    assert_eq!(names(1), ["atq-1", "atq-3"]);
}

#[test]
fn own_devices_are_numbered_like_those_of_all_workers() {
    let run = parse(&["--host", "b", "--own-devices", "2"]).unwrap();
    let settings = run.settings(WorkerShare::new(1, 3).unwrap(), None).unwrap();
    let topics: Vec<_> = settings.identities().map(|device| device.topic).collect();
    assert_eq!(topics, ["devices/1/attrs", "devices/4/attrs"]);
}

#[test]
fn faults_name_the_option_and_what_would_be_right() {
    assert!(fault(&["--devices", "5"]).contains("--host"));
    assert!(fault(&["--host", "b"]).contains("--devices"));
    assert!(fault(&["--host", "b", "--devices", "0"]).contains("--devices"));
    assert!(
        fault(&["--host", "b", "--devices", "1", "--own-devices", "1"]).contains("--own-devices")
    );
    assert!(fault(&["--host", "b", "--devices", "1", "--qos", "3"]).contains("--qos"));
    assert!(fault(&["--host", "b", "--devices", "1", "--period", "0s"]).contains("more than zero"));
    assert!(
        fault(&["--host", "b", "--devices", "1", "--period", "15"]).contains("for example `15s`")
    );
    assert!(fault(&["--host", "b", "--devices", "1", "--ramp", "0"]).contains("from 0.01"));
    assert!(
        fault(&["--host", "b", "--devices", "1", "--topic", "a/#"]).contains("--topic: a topic")
    );
    assert!(
        fault(&["--host", "b", "--devices", "1", "--client-id", "x"])
            .contains("--client-id: `{device}`")
    );
    assert!(
        fault(&["--host", "b", "--credentials", "/no/file"])
            .contains("--credentials /no/file: cannot read")
    );
    assert!(fault(&["--host", "b", "--devices", "1", "--size", "99999999"]).contains("--size"));
}

#[test]
fn more_workers_than_devices_are_rejected() {
    let run = parse(&["--host", "b", "--devices", "2"]).unwrap();
    let error = run
        .settings(WorkerShare::new(2, 3).unwrap(), None)
        .unwrap_err();
    assert!(
        error.contains("fewer devices than workers; worker 3 of 3"),
        "{error}"
    );
}

#[test]
fn a_password_without_a_user_is_rejected() {
    let run = parse(&["--host", "b", "--devices", "2"]).unwrap();
    let error = run
        .settings(WorkerShare::WHOLE, Some("x".to_owned()))
        .unwrap_err();
    assert!(error.contains("ATQ_MQTT_PASSWORD"), "{error}");
    let run = parse(&["--host", "b", "--devices", "2", "--username", "u"]).unwrap();
    let settings = run
        .settings(WorkerShare::WHOLE, Some("x".to_owned()))
        .unwrap();
    assert!(
        matches!(settings.device_source, DeviceSource::Numbered { login, .. } if login.password == "x")
    );
}

#[test]
fn an_empty_password_is_treated_as_absent() {
    let run = parse(&["--host", "b", "--devices", "2"]).unwrap();
    assert!(
        run.settings(WorkerShare::WHOLE, Some(String::new()))
            .is_ok()
    );
}

#[test]
fn the_password_of_all_devices_is_not_in_debug_output() {
    let run = parse(&["--host", "b", "--devices", "2", "--username", "u"]).unwrap();
    let settings = run.settings(WorkerShare::WHOLE, Some("secret".to_owned()));
    assert!(!format!("{settings:?}").contains("secret"));
}

#[test]
fn topics_and_client_ids_are_at_most_as_long_as_mqtt_allows() {
    let long = "{device}".repeat(4_000);
    let with = |option: &str, text: &str, devices: &str| {
        let args = ["--host", "b", "--own-devices", devices, option, text];
        let share = WorkerShare::new(3_999_999_999, 4_000_000_000).unwrap();
        parse(&args).unwrap().settings(share, None)
    };
    for option in ["--topic", "--client-id"] {
        // Only the last devices have numbers of 20 digits.
        assert!(with(option, &long, "1").is_ok());
        let error = with(option, &long, "4000000000").unwrap_err();
        assert!(error.starts_with(option), "{error}");
        assert!(error.contains("expected at most 65535"), "{error}");
    }
}

#[test]
fn a_source_address_given_twice_counts_once() {
    let sources = "127.0.0.1,127.0.0.2,127.0.0.1";
    let run = parse(&["--host", "b", "--devices", "2", "--source-address", sources]).unwrap();
    assert_eq!(run.sources().len(), 2);
}

#[test]
fn replicas_without_a_share_do_not_simulate_the_same_devices() {
    let check = |option, replica, has_share| {
        let run = parse(&["--host", "b", option, "2"]).unwrap();
        run.check_replica(replica, has_share)
    };
    let error = check("--devices", "2", false).unwrap_err();
    assert!(error.contains("replica 2"), "{error}");
    assert_eq!(check("--devices", "1", false), Ok(()));
    assert_eq!(check("--devices", "", false), Ok(()));
    assert_eq!(check("--devices", "2", true), Ok(()));
    assert_eq!(check("--own-devices", "2", false), Ok(()));
    assert_eq!(check("--credentials", "2", false), Ok(()));
}

#[test]
fn the_port_depends_on_tls() {
    let port = |more: &[&str]| {
        parse(&[&["--host", "b", "--devices", "1"], more].concat())
            .unwrap()
            .port()
    };
    assert_eq!(port(&[]), 1883);
    assert_eq!(port(&["--tls-ca", "ca.pem"]), 8883);
    assert_eq!(port(&["--port", "99"]), 99);
}
