//! Rules for single values: names, texts, numbers, variables.

use super::parse::{fault, faults};
use crate::examples::{TestSurroundings, payload, spec};
use crate::spec::{MAX_WORKERS, TaskName, TaskSpec, WORKERS_NAME};
use insta::assert_snapshot;
use serde_json::{Value, json};

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
    worker.args[0] contains a NUL character, which a container cannot receive
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
fn more_workers_than_fit_into_a_dns_answer_are_refused() {
    assert_eq!(WORKERS_NAME.len(), 11);
    assert_eq!(MAX_WORKERS, 2426);
    // An answer with this number of addresses fits into 64 KiB, one more does not.
    let answer = |addresses: u64| 12 + (11 + 2 + 4) + addresses * (11 + 2 + 14);
    assert!(answer(MAX_WORKERS) <= 65_535 && answer(MAX_WORKERS + 1) > 65_535);

    let surroundings = TestSurroundings {
        max_replicas: 10_000,
    };
    let with = |replicas: u64| {
        TaskSpec::parse(
            &payload(&[("/worker/replicas", json!(replicas))]),
            &surroundings,
        )
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
    worker.environment[0] contains a NUL character, which a container cannot receive
    worker.environment[0] is 131082 bytes long; a container's variable holds at most 131071 bytes together with its name (a limit of the Linux kernel)
    worker.environment[0] is null; expected a string
    ");
    // `execve` accepts a string of 131,071 bytes.
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
fn the_aliases_of_a_task_differ_ignoring_case() {
    assert_snapshot!(fault("/worker/alias", json!("M")), @"worker.alias `M` is also the master's alias; the two aliases of a task must differ, ignoring case");
    // The fault is also reported together with other faults.
    let both = faults(&payload(&[
        ("/worker/alias", json!("m")),
        ("/worker/image", json!("Bad")),
    ]));
    assert_eq!(both.lines().count(), 2, "{both}");
}
