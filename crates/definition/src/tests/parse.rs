//! Complete definitions, and their faults with paths. Single values: `values.rs`.

use crate::examples::{BUNDLE, parse, payload, spec};
use crate::spec::TaskSpec;
use insta::{assert_debug_snapshot, assert_snapshot};
use serde_json::{Value, json};

/// The faults of a definition, one per line.
pub(super) fn faults(payload: &Value) -> String {
    let faults = parse(payload).expect_err("it was accepted");
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("{} {}", fault.field, fault.message))
        .collect();
    lines.join("\n")
}

pub(super) fn fault(pointer: &str, value: Value) -> String {
    faults(&payload(&[(pointer, value)]))
}

#[test]
fn the_smallest_definition_has_all_defaults() {
    assert_debug_snapshot!(parse(&payload(&[])).unwrap(), @r#"
    TaskSpec {
        name: TaskName(
            "load",
        ),
        worker: ServiceSpec {
            alias: "w",
            image: "tool:1",
            args: [],
            environment: [],
            fileid: None,
            replicas: 1,
            tty: false,
            networks: [],
            resources: Resources {
                limits: Amounts {
                    nano_cpus: None,
                    memory: None,
                },
                reservations: Amounts {
                    nano_cpus: None,
                    memory: None,
                },
            },
            placement: Placement {
                constraints: [],
                max_replicas_per_node: None,
            },
            labels: {},
            stop_grace_period: None,
            split: [],
            user: None,
            ulimits: Ulimits(
                {},
            ),
            sysctls: Sysctls {
                somaxconn: None,
                ip_local_port_range: None,
                tcp_fin_timeout: None,
                tcp_keepalive_intvl: None,
                tcp_keepalive_probes: None,
                tcp_keepalive_time: None,
                tcp_max_syn_backlog: None,
                tcp_max_tw_buckets: None,
                tcp_retries2: None,
                tcp_slow_start_after_idle: None,
                tcp_syn_retries: None,
                tcp_tw_reuse: None,
            },
        },
        master: ServiceSpec {
            alias: "m",
            image: "boss:1",
            args: [],
            environment: [],
            fileid: None,
            replicas: 1,
            tty: false,
            networks: [],
            resources: Resources {
                limits: Amounts {
                    nano_cpus: None,
                    memory: None,
                },
                reservations: Amounts {
                    nano_cpus: None,
                    memory: None,
                },
            },
            placement: Placement {
                constraints: [],
                max_replicas_per_node: None,
            },
            labels: {},
            stop_grace_period: None,
            split: [],
            user: None,
            ulimits: Ulimits(
                {},
            ),
            sysctls: Sysctls {
                somaxconn: None,
                ip_local_port_range: None,
                tcp_fin_timeout: None,
                tcp_keepalive_intvl: None,
                tcp_keepalive_probes: None,
                tcp_keepalive_time: None,
                tcp_max_syn_backlog: None,
                tcp_max_tw_buckets: None,
                tcp_retries2: None,
                tcp_slow_start_after_idle: None,
                tcp_syn_retries: None,
                tcp_tw_reuse: None,
            },
        },
        wait: None,
        delay: 0,
        readiness: None,
        max_duration: None,
        delivery: Push,
        on_worker_loss: Continue,
        exclusive: None,
        criteria: [],
        stop_when: [],
        min_samples: None,
        result_files: [],
    }
    "#);
}

#[test]
fn null_is_treated_as_absent() {
    let changes = [
        "/waitCommand",
        "/delay",
        "/worker/args",
        "/worker/environment",
        "/worker/fileid",
        "/worker/replicas",
        "/worker/tty",
        "/worker/networks",
        "/worker/resources",
        "/worker/placement",
        "/worker/labels",
        "/worker/stopGracePeriod",
        "/worker/readiness",
        "/master/readiness",
        "/maxDuration",
        "/delivery",
        "/worker/split",
        "/worker/user",
        "/worker/ulimits",
        "/master/sysctls",
        "/master/split",
        "/onWorkerLoss",
        "/exclusive",
        "/criteria",
        "/stopWhen",
        "/minSamples",
        "/resultFiles",
    ]
    .map(|pointer| (pointer, Value::Null));
    assert_eq!(parse(&payload(&changes)), parse(&payload(&[])));
}

#[test]
fn a_complete_definition_is_accepted_unchanged() {
    let spec = spec(&[
        ("/worker/args", json!(["-n", ""])),
        ("/worker/environment", json!(["A=1", "EMPTY=", "EQ=a=b"])),
        ("/worker/fileid", json!(BUNDLE)),
        ("/worker/replicas", json!(3.0)),
        ("/worker/tty", json!(true)),
        ("/worker/networks", json!(["target"])),
        (
            "/waitCommand",
            json!({"command": "x", "expectedResult": "y", "timeout": 2e0}),
        ),
        ("/delay", json!(86_400)),
    ]);
    let worker = &spec.worker;
    assert_eq!(
        (worker.replicas, worker.tty, worker.fileid.as_deref()),
        (3, true, Some(BUNDLE))
    );
    assert_eq!(worker.environment[2].value, "a=b");
    assert_eq!(worker.environment[1].value, "");
    let wait = spec.wait.unwrap();
    assert_eq!(
        (
            wait.command.as_str(),
            wait.expected_result.as_str(),
            wait.timeout
        ),
        ("x", "y", 2)
    );
    assert_eq!(spec.delay, 86_400);
}

#[test]
fn a_wait_command_without_a_command_is_none() {
    for wait in [
        json!({}),
        json!({"command": ""}),
        json!({"command": "  ", "timeout": 9}),
    ] {
        assert_eq!(spec(&[("/waitCommand", wait)]).wait, None);
    }
}

#[test]
fn unknown_fields_come_with_the_nearest_known_name() {
    let all = [
        fault("/dealy", json!(1)),
        fault("/zzz", json!(1)),
        fault("/worker/fileIds", json!(BUNDLE)),
        fault("/worker/env", json!([])),
        fault("/master/replica", json!(1)),
        fault("/waitCommand", json!({"command": "x", "timeOut": 1})),
    ];
    assert_snapshot!(all.join("\n"), @r"
    dealy is not a known field; did you mean `delay`?
    zzz is not a known field; expected one of `name`, `master`, `worker`, `waitCommand`, `delay`, `maxDuration`, `delivery`, `onWorkerLoss`, `exclusive`, `criteria`, `stopWhen`, `minSamples`, `resultFiles`
    worker.fileIds is not a known field; did you mean `fileid`?
    worker.env is not a known field; did you mean `environment`?
    master.replica is not a known field; did you mean `replicas`?
    waitCommand.timeOut is not a known field; did you mean `timeout`?
    ");
    let long = fault(
        "/worker",
        json!({"alias": "w", "image": "x", ("k\n".repeat(500)): 1}),
    );
    assert!(long.len() < 400 && long.lines().count() == 1, "{long}");
}

#[test]
fn values_that_are_not_objects() {
    for payload in [json!([]), json!("x"), json!(null), json!(1)] {
        let faults = parse(&payload).unwrap_err();
        assert_eq!((faults.len(), faults[0].field.as_str()), (1, "body"));
    }
    assert_snapshot!(faults(&json!({})), @r"
    name is missing; it is required
    master is missing; expected an object with `alias` and `image`
    worker is missing; expected an object with `alias` and `image`
    ");
    assert_snapshot!(fault("/worker", json!("w")), @"worker is a string; expected an object");
}

#[test]
fn all_faults_at_once() {
    let payload = json!({
        "name": "?",
        "worker": {"alias": "-", "image": "X", "args": 1, "environment": ["A", "B"], "replicas": 0, "tty": 1, "fileid": "x"},
        "master": {"alias": "m m", "image": "", "networks": [""]},
        "waitCommand": {"command": 1, "timeout": "x"},
        "delay": -1,
        "color": "red",
    });
    assert_snapshot!(faults(&payload), @r"
    color is not a known field; expected one of `name`, `master`, `worker`, `waitCommand`, `delay`, `maxDuration`, `delivery`, `onWorkerLoss`, `exclusive`, `criteria`, `stopWhen`, `minSamples`, `resultFiles`
    name `?` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends
    master.alias `m m` is not an alias; expected 1 to 63 letters, digits, `_` or `-`, with a letter or digit at both ends
    master.image is empty; it is required
    master.networks[0] is empty; expected the name of an overlay network
    worker.alias `-` is not an alias; expected 1 to 63 letters, digits, `_` or `-`, with a letter or digit at both ends
    worker.image `X` has the part `X`; expected lower-case letters and digits, with single `.`, `_` or `-` between them
    worker.args is a number; expected a list of strings
    worker.environment[0] has no `=`; expected `NAME=value`
    worker.environment[1] has no `=`; expected `NAME=value`
    worker.fileid `x` is unknown; upload the bundle first and use the `id` of the answer
    worker.replicas is 0; expected a whole number from 1 to 1000
    worker.tty is a number; expected true or false
    waitCommand.command is a number; expected a string
    waitCommand.timeout is a string; expected a whole number from 0 to 86400
    delay is -1; expected a whole number from 0 to 86400
    ");
}

#[test]
fn at_most_a_thousand_faults_are_reported() {
    let wrong = vec!["no equals sign"; 50_000];
    let faults = parse(&payload(&[("/worker/environment", json!(wrong))])).unwrap_err();
    assert_eq!(faults.len(), 1001);
    assert_eq!(faults[999].field, "worker.environment[999]");
    assert_snapshot!(faults[1000].message, @"has more faults than these 1000; fix these first to see the others");
}

/// A definition of 1 MiB: comparing all pairs would take minutes.
#[test]
fn a_duplicate_among_a_hundred_thousand_is_found() {
    let mut names: Vec<String> = (0..100_000).map(|n| format!("n{n}")).collect();
    names.push("n7".into());
    let variables: Vec<String> = names.iter().map(|name| format!("{name}=")).collect();
    let faults = faults(&payload(&[
        ("/worker/environment", json!(variables)),
        ("/worker/networks", json!(names)),
    ]));
    assert_snapshot!(faults, @r"
    worker.environment sets `n7` twice
    worker.networks[100000] names `n7` twice
    ");
}

#[test]
fn a_stored_definition_is_read_unchanged() {
    let spec = spec(&[
        ("/worker/environment", json!(["A=b=c", "D="])),
        ("/worker/fileid", json!(BUNDLE)),
        ("/waitCommand", json!({"command": "x"})),
        (
            "/worker/readiness",
            json!({"http": {"port": 80, "path": "/up"}}),
        ),
        (
            "/master/resources",
            json!({"limits": {"cpus": 0.5, "memory": "1g"}}),
        ),
        (
            "/master/placement",
            json!({"constraints": ["node.role==manager"], "maxReplicasPerNode": 2}),
        ),
        ("/master/labels", json!({"team": "a"})),
        ("/master/stopGracePeriod", json!(30)),
        ("/maxDuration", json!(60)),
        ("/onWorkerLoss", json!("abort")),
        ("/exclusive", json!("shop")),
    ]);
    let stored = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<TaskSpec>(&stored).unwrap(), spec);
}

#[test]
fn faults_of_criteria_and_patterns_have_positions() {
    let all = faults(&payload(&[
        (
            "/criteria",
            json!(["p95 < 500ms", "p95 <500", "erors < 1%", 7]),
        ),
        (
            "/stopWhen",
            json!([
                "errors > 20% for 30s",
                "errors < 20% for 30s",
                "p95 > 2s",
                null
            ]),
        ),
        ("/minSamples", json!(0)),
        (
            "/resultFiles",
            json!(["*.jtl", "", "../x", "/etc/*", "a[", "{a"]),
        ),
    ]));
    assert_snapshot!(all, @r#"
    criteria[1] `p95 <500`: column 9: `500` has no unit; a time needs `ms`, `s` or `m`, for example `500ms`
    criteria[2] `erors < 1%`: column 1: `erors` is not a figure; did you mean `errors`?
    criteria[3] is a number; expected a string
    stopWhen[1] `errors < 20% for 30s`: column 8: found `<`; a run ends early if `errors` is above a limit: expected `>` or `>=`
    stopWhen[2] `p95 > 2s`: column 9: the text ends here; expected `for` and a duration, for example `for 30s`
    stopWhen[3] is null; expected a string
    minSamples is 0; expected a whole number from 1 to 9007199254740992
    resultFiles[1] has 0 bytes; expected a pattern of 1 to 1000, for example `*.jtl`
    resultFiles[2] `../x` leads out of `/atq/results`; expected a path below it, for example `run/*.jtl`
    resultFiles[3] `/etc/*` leads out of `/atq/results`; expected a path below it, for example `run/*.jtl`
    resultFiles[4] `a[` is not a pattern: unclosed character class; missing ']'
    resultFiles[5] `{a` is not a pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
    "#);
    let many = vec!["errors < 1%"; 101];
    assert_snapshot!(fault("/criteria", json!(many)), @"criteria has 101 items; expected at most 100");
    let many = vec!["errors > 1% for 5s"; 101];
    assert_snapshot!(fault("/stopWhen", json!(many)), @"stopWhen has 101 items; expected at most 100");
}

#[test]
fn criteria_are_kept_in_their_canonical_form() {
    let taken = spec(&[
        ("/criteria", json!(["P95<500ms"])),
        ("/stopWhen", json!(["P95>2s for 1m"])),
        ("/minSamples", json!(1000)),
        ("/resultFiles", json!(["*.jtl"])),
    ]);
    assert_eq!(taken.criteria[0].to_string(), "p95 < 500ms");
    let stored = serde_json::to_value(&taken).unwrap();
    assert_eq!(stored["criteria"], json!(["p95 < 500ms"]));
    assert_eq!(stored["stop_when"], json!(["p95 > 2s for 60s"]));
    // A definition of a version without stop conditions.
    let mut old = serde_json::to_value(spec(&[])).unwrap();
    old.as_object_mut().unwrap().remove("stop_when");
    assert_eq!(serde_json::from_value::<TaskSpec>(old).unwrap(), spec(&[]));
    for (field, value) in [
        ("/criteria", json!(["errors < 1%"])),
        ("/stopWhen", json!(["errors > 1% for 5s"])),
        ("/minSamples", json!(1)),
    ] {
        assert!(spec(&[(field, value)]).has_requirements());
    }
    assert!(!spec(&[("/resultFiles", json!(["*.jtl"]))]).has_requirements());
    assert_eq!(serde_json::from_value::<TaskSpec>(stored).unwrap(), taken);
}
