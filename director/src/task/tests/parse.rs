//! Every rule of the payload, each fault with its path.

use super::{Around, BUNDLE, parse, payload, spec};
use crate::task::spec::{MAX_WORKERS, TaskName, TaskSpec, WORKERS_NAME};
use insta::{assert_debug_snapshot, assert_snapshot};
use serde_json::{Value, json};

/// The faults of a definition, one a line.
fn faults(payload: &Value) -> String {
    let faults = parse(payload).expect_err("it was taken");
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("{} {}", fault.field, fault.message))
        .collect();
    lines.join("\n")
}

fn fault(pointer: &str, value: Value) -> String {
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
        },
        wait: None,
        delay: 0,
        readiness: None,
        max_duration: None,
        delivery: Push,
        on_worker_loss: Continue,
        exclusive: None,
        criteria: [],
        min_samples: None,
        result_files: [],
    }
    "#);
}

#[test]
fn null_is_as_good_as_missing() {
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
        "/master/split",
        "/onWorkerLoss",
        "/exclusive",
        "/criteria",
        "/minSamples",
        "/resultFiles",
    ]
    .map(|pointer| (pointer, Value::Null));
    assert_eq!(parse(&payload(&changes)), parse(&payload(&[])));
}

#[test]
fn a_full_definition_is_taken_as_it_is() {
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
fn task_names() {
    let (shortest, longest) = ("a-b", "x".repeat(45));
    for good in [shortest, &longest, "A_9", "0--0", "Load_test-1"] {
        assert_eq!(TaskName::parse(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "a",
        "ab",
        &"x".repeat(46),
        "-ab",
        "ab-",
        "a b",
        "a/b",
        "a.b",
        "äbc",
        "a\nb",
        "../..",
    ] {
        let why = TaskName::parse(bad).unwrap_err();
        assert!(why.contains("expected 3 to 45"), "{why}");
        assert!(!why.contains('\n'), "{why}");
    }
    assert_snapshot!(fault("/name", json!("no way")), @"name `no way` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends");
}

#[test]
fn names_and_texts() {
    let all = [
        fault("/name", json!("")),
        fault("/name", Value::Null),
        fault("/name", json!(7)),
        fault("/worker/alias", json!("")),
        fault("/worker/alias", json!("my worker")),
        fault("/worker/alias", json!(["w"])),
        fault("/worker/alias", json!(WORKERS_NAME.to_uppercase())),
        fault("/worker/alias", json!("x".repeat(64))),
        fault("/worker/image", json!("Bad Image")),
        fault("/worker/image", json!("forbidden:1")),
        fault("/worker/image", Value::Null),
        fault("/worker/args", json!("one")),
        fault("/worker/args", json!(["a", 1, null])),
        fault("/worker/args", json!(["a\u{0}b"])),
        fault("/worker/args", json!(["x".repeat(131_072)])),
        fault("/worker/tty", json!("yes")),
        fault("/worker/fileid", json!("nope")),
        fault("/worker/fileid", json!(1)),
        fault("/worker/networks", json!(["", "a", "a"])),
        fault("/waitCommand", json!("sleep 1")),
        fault(
            "/waitCommand",
            json!({"command": 1, "expectedResult": 2, "timeout": -1}),
        ),
        fault("/waitCommand", json!({"command": "x".repeat(131_072)})),
    ];
    assert_snapshot!(all.join("\n"), @r"
    name is empty; it is required
    name is missing; it is required
    name is a number; expected a string
    worker.alias is empty; it is required
    worker.alias `my worker` is not an alias; expected 1 to 63 letters, digits, `_` or `-`, with a letter or digit at both ends
    worker.alias is a list; expected a string
    worker.alias `ATQ-WORKERS` is used by the Director itself
    worker.alias `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is not an alias; expected 1 to 63 letters, digits, `_` or `-`, with a letter or digit at both ends
    worker.image `Bad Image` has the part `Bad Image`; expected lower-case letters and digits, with single `.`, `_` or `-` between them
    worker.image `forbidden:1` is not allowed
    worker.image is missing; it is required
    worker.args is a string; expected a list of strings
    worker.args[1] is a number; expected a string
    worker.args[2] is null; expected a string
    worker.args[0] holds a NUL character, which no container can take
    worker.args[0] is longer than 131071 bytes
    worker.tty is a string; expected true or false
    worker.fileid `nope` is unknown; upload the bundle first and use the `id` of the answer
    worker.fileid is a number; expected a string
    worker.networks[0] is empty; expected the name of an overlay network
    worker.networks[2] names `a` twice
    waitCommand is a string; expected an object
    waitCommand.command is a number; expected a string
    waitCommand.expectedResult is a number; expected a string
    waitCommand.timeout is -1; expected a whole number from 0 to 86400
    waitCommand.command is longer than 131071 bytes
    ");
}

#[test]
fn whole_numbers() {
    let all = [
        fault("/worker/replicas", json!(0)),
        fault("/worker/replicas", json!(-1)),
        fault("/worker/replicas", json!(2.5)),
        fault("/worker/replicas", json!(1001)),
        fault("/worker/replicas", json!("3")),
        fault("/master/replicas", json!(1e300)),
        fault("/delay", json!(86_401)),
        fault("/delay", json!(true)),
    ];
    assert_snapshot!(all.join("\n"), @r"
    worker.replicas is 0; expected a whole number from 1 to 1000
    worker.replicas is -1; expected a whole number from 1 to 1000
    worker.replicas is 2.5; expected a whole number from 1 to 1000
    worker.replicas is 1001; expected a whole number from 1 to 1000
    worker.replicas is a string; expected a whole number from 1 to 1000
    master.replicas is 1e+300; expected a whole number from 1 to 1000
    delay is 86401; expected a whole number from 0 to 86400
    delay is true or false; expected a whole number from 0 to 86400
    ");
    assert_eq!(
        spec(&[("/worker/replicas", json!(1000))]).worker.replicas,
        1000
    );
}

#[test]
fn more_workers_than_dns_can_say_are_refused_whatever_is_configured() {
    assert_eq!(WORKERS_NAME.len(), 11);
    assert_eq!(MAX_WORKERS, 2426);
    // An answer of so many fits into 64 KiB, one more does not.
    let answer = |addresses: u64| 12 + (11 + 2 + 4) + addresses * (11 + 2 + 14);
    assert!(answer(MAX_WORKERS) <= 65_535 && answer(MAX_WORKERS + 1) > 65_535);

    let around = Around {
        max_replicas: 10_000,
    };
    let with = |replicas: u64| {
        TaskSpec::parse(&payload(&[("/worker/replicas", json!(replicas))]), &around)
    };
    assert_eq!(with(MAX_WORKERS).unwrap().worker.replicas, 2426);
    let faults = with(MAX_WORKERS + 1).unwrap_err();
    assert_eq!(faults[0].field, "worker.replicas");
    assert_snapshot!(faults[0].message, @"is 2427; at most 2426 workers fit into one answer of Docker's DNS (64 KiB)");
}

#[test]
fn environments() {
    let all = [
        fault("/worker/environment", json!("A=1")),
        fault("/worker/environment", json!(["A"])),
        fault("/worker/environment", json!(["=secret-1"])),
        fault("/worker/environment", json!(["A=1", "B=2", "A=secret-2"])),
        fault("/worker/environment", json!(["WORKER_CSV_VIPS=secret-3"])),
        fault("/worker/environment", json!(["ATQ_TASK=secret-4"])),
        fault("/worker/environment", json!([{"A": "secret-5"}])),
        fault("/worker/environment", json!(["A=secret-6\u{0}"])),
        fault(
            "/worker/environment",
            json!([format!("A=secret-7{}", "x".repeat(131_072))]),
        ),
        fault("/worker/environment", json!([null])),
    ];
    let all = all.join("\n");
    assert!(!all.contains("secret"), "{all}");
    assert_snapshot!(all, @r"
    worker.environment is a string; expected a list of strings
    worker.environment[0] has no `=`; expected `NAME=value`
    worker.environment[0] has no name before `=`; expected `NAME=value`
    worker.environment sets `A` twice
    worker.environment[0] sets `WORKER_CSV_VIPS`, which the Director sets itself
    worker.environment[0] sets `ATQ_TASK`; names that start with `ATQ_` belong to the Director
    worker.environment[0] is an object; expected a string
    worker.environment[0] holds a NUL character, which no container can take
    worker.environment[0] is 131082 bytes long; a container's variable holds at most 131071 bytes together with its name (a limit of the Linux kernel)
    worker.environment[0] is null; expected a string
    ");
    // One string of 131,071 bytes is what execve takes.
    let longest = format!("A={}", "x".repeat(131_069));
    assert_eq!(
        spec(&[("/worker/environment", json!([longest]))])
            .worker
            .environment
            .len(),
        1
    );
}

#[test]
fn values_of_variables_are_not_in_debug_output() {
    let spec = spec(&[("/worker/environment", json!(["PASSWORD=secret"]))]);
    let debug = format!("{spec:?}");
    assert!(
        debug.contains("PASSWORD=***") && !debug.contains("secret"),
        "{debug}"
    );
}

#[test]
fn variables_that_an_image_requires() {
    assert_snapshot!(fault("/worker/image", json!("demanding:1")), @r"
    worker.environment lacks `REMOTES`, which the image `demanding:1` requires
    worker.environment lacks `PLAN`, which the image `demanding:1` requires
    ");
    assert_snapshot!(fault("/master/image", json!("demanding:1")), @"master.environment lacks `PLAN`, which the image `demanding:1` requires");
    spec(&[
        ("/worker/image", json!("demanding:1")),
        ("/worker/environment", json!(["PLAN=", "REMOTES=x"])),
    ]);
}

#[test]
fn the_aliases_of_a_task_differ_whatever_the_case() {
    assert_snapshot!(fault("/worker/alias", json!("M")), @"worker.alias `M` is also the master's alias; the two aliases of a task must differ, whatever the case");
    // Also told when something else is wrong.
    let both = faults(&payload(&[
        ("/worker/alias", json!("m")),
        ("/worker/image", json!("Bad")),
    ]));
    assert_eq!(both.lines().count(), 2, "{both}");
}

#[test]
fn unknown_fields_come_with_the_nearest_known_name() {
    let all = [
        fault("/dealy", json!(1)),
        fault("/zzz", json!(1)),
        fault("/worker/fileId", json!(BUNDLE)),
        fault("/worker/env", json!([])),
        fault("/master/replica", json!(1)),
        fault("/waitCommand", json!({"command": "x", "timeOut": 1})),
    ];
    assert_snapshot!(all.join("\n"), @r"
    dealy is not a known field; did you mean `delay`?
    zzz is not a known field; known are `name`, `master`, `worker`, `waitCommand`, `delay`, `maxDuration`, `delivery`, `onWorkerLoss`, `exclusive`, `criteria`, `minSamples`, `resultFiles`
    worker.fileId is not a known field; did you mean `fileid`?
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
fn what_is_not_an_object() {
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
    color is not a known field; known are `name`, `master`, `worker`, `waitCommand`, `delay`, `maxDuration`, `delivery`, `onWorkerLoss`, `exclusive`, `criteria`, `minSamples`, `resultFiles`
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
fn faults_without_end_are_told_up_to_a_thousand() {
    let wrong = vec!["no equals sign"; 50_000];
    let faults = parse(&payload(&[("/worker/environment", json!(wrong))])).unwrap_err();
    assert_eq!(faults.len(), 1001);
    assert_eq!(faults[999].field, "worker.environment[999]");
    assert_snapshot!(faults[1000].message, @"has more faults than these 1000; they are told when these are mended");
}

/// What a definition's mebibyte holds: compared each with each, it would take minutes.
#[test]
fn a_double_among_a_hundred_thousand_is_found() {
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
fn a_definition_survives_its_storage() {
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
fn faults_of_criteria_and_patterns_are_told_with_their_places() {
    let all = faults(&payload(&[
        (
            "/criteria",
            json!(["p95 < 500ms", "p95 <500", "erors < 1%", 7]),
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
    minSamples is 0; expected a whole number from 1 to 9007199254740992
    resultFiles[1] has 0 bytes; expected a pattern of 1 to 1000, for example `*.jtl`
    resultFiles[2] `../x` leads out of `/atq/results`; expected a path below it, for example `run/*.jtl`
    resultFiles[3] `/etc/*` leads out of `/atq/results`; expected a path below it, for example `run/*.jtl`
    resultFiles[4] `a[` is not a pattern: unclosed character class; missing ']'
    resultFiles[5] `{a` is not a pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
    "#);
    let many = vec!["errors < 1%"; 101];
    assert_snapshot!(fault("/criteria", json!(many)), @"criteria has 101 items; expected at most 100");
}

#[test]
fn criteria_are_kept_in_their_canonical_form() {
    let taken = spec(&[
        ("/criteria", json!(["P95<500ms"])),
        ("/minSamples", json!(1000)),
        ("/resultFiles", json!(["*.jtl"])),
    ]);
    assert_eq!(taken.criteria[0].to_string(), "p95 < 500ms");
    let stored = serde_json::to_value(&taken).unwrap();
    assert_eq!(stored["criteria"], json!(["p95 < 500ms"]));
    assert_eq!(serde_json::from_value::<TaskSpec>(stored).unwrap(), taken);
}
