//! Fields added after 2018, for example readiness, placement, labels and time limits. Resources: `amounts.rs`.

use crate::examples::{BUNDLE, parse, payload, spec};
use crate::spec::{Delivery, OnWorkerLoss, ReadinessProbe, ReadinessSpec, STOP_GRACE};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::time::Duration;

/// The faults of the smallest definition with one additional field, one per line.
pub(super) fn fault(pointer: &str, value: Value) -> String {
    let mut payload = payload(&[]);
    let field = pointer
        .split('/')
        .skip(1)
        .fold(&mut payload, |field, key| &mut field[key]);
    *field = value;
    let faults = parse(&payload).expect_err(&format!("{pointer} was accepted: {payload}"));
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("{} {}", fault.field, fault.message))
        .collect();
    lines.join("\n")
}

pub(super) fn faults(pointer: &str, values: &[Value]) -> String {
    let all: Vec<String> = values
        .iter()
        .map(|value| fault(pointer, value.clone()))
        .collect();
    all.join("\n")
}

#[test]
fn options_of_a_test_are_parsed() {
    let spec = spec(&[
        ("/maxDuration", json!(604_800)),
        ("/onWorkerLoss", json!("abort")),
        ("/exclusive", json!("shop.staging:eu_1-A")),
    ]);
    assert_eq!(spec.max_duration, Some(604_800));
    assert_eq!(spec.on_worker_loss, OnWorkerLoss::Abort);
    assert_eq!(spec.exclusive.as_deref(), Some("shop.staging:eu_1-A"));
    let named = crate::examples::spec(&[
        ("/onWorkerLoss", json!("continue")),
        ("/exclusive", json!(null)),
    ]);
    assert_eq!(named, crate::examples::spec(&[]));
}

#[test]
fn invalid_options_of_a_test_are_reported() {
    let all = [
        faults(
            "/maxDuration",
            &[json!(0), json!(604_801), json!(1.5), json!("1h")],
        ),
        faults(
            "/onWorkerLoss",
            &[json!("Abort"), json!("continu"), json!("x"), json!(true)],
        ),
        faults(
            "/exclusive",
            &[
                json!(""),
                json!("a b"),
                json!("x".repeat(101)),
                json!("ä"),
                json!(["a"]),
            ],
        ),
    ];
    assert_snapshot!(all.join("\n"), @r"
    maxDuration is 0; expected a whole number from 1 to 604800
    maxDuration is 604801; expected a whole number from 1 to 604800
    maxDuration is 1.5; expected a whole number from 1 to 604800
    maxDuration is a string; expected a whole number from 1 to 604800
    onWorkerLoss is `Abort`; did you mean `abort`?
    onWorkerLoss is `continu`; did you mean `continue`?
    onWorkerLoss is `x`; expected one of `continue`, `abort`
    onWorkerLoss is true or false; expected a string
    exclusive `` is not a name; expected 1 to 100 letters, digits, `_`, `-`, `.` or `:`
    exclusive `a b` is not a name; expected 1 to 100 letters, digits, `_`, `-`, `.` or `:`
    exclusive `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...` is not a name; expected 1 to 100 letters, digits, `_`, `-`, `.` or `:`
    exclusive `ä` is not a name; expected 1 to 100 letters, digits, `_`, `-`, `.` or `:`
    exclusive is a list; expected a string
    ");
}

#[test]
fn each_readiness_probe() {
    let of = |value: Value| spec(&[("/worker/readiness", value)]).readiness.unwrap();
    assert_eq!(
        of(json!({"tcp": 1099})),
        ReadinessSpec {
            probe: ReadinessProbe::Tcp(1099),
            timeout: 60
        }
    );
    let http = |path: &str, status| ReadinessProbe::Http {
        port: 8080,
        path: path.into(),
        status,
    };
    assert_eq!(of(json!({"http": {"port": 8080}})).probe, http("/", 200));
    assert_eq!(
        of(json!({"http": {"port": 8080, "path": "/up?x={1}", "status": 204}, "tcp": null})).probe,
        http("/up?x={1}", 204)
    );
    assert_eq!(
        of(json!({"exec": "nc -z $ATQ_WORKER_ADDRESS 1", "timeout": 86_400})),
        ReadinessSpec {
            probe: ReadinessProbe::Exec("nc -z $ATQ_WORKER_ADDRESS 1".into()),
            timeout: 86_400
        }
    );
    // Including its name and `=` this is the longest string that the kernel accepts.
    assert!(
        parse(&payload(&[(
            "/worker/readiness",
            json!({"exec": "x".repeat(131_049)})
        )]))
        .is_ok()
    );
}

#[test]
fn wrong_readiness() {
    let all = [
        faults(
            "/worker/readiness",
            &[
                json!("tcp"),
                json!({}),
                json!({"timeout": 5}),
                json!({"tcp": 1, "exec": "x"}),
                json!({"tcp": 1, "http": {"port": 1}, "exec": "x"}),
                json!({"tcp": 0, "timeout": 0}),
                json!({"tcp": 65_536, "timeout": 86_401}),
                json!({"tcp": "1099"}),
                json!({"TCP": 1099}),
            ],
        ),
        faults(
            "/worker/readiness/http",
            &[
                json!(80),
                json!({}),
                json!({"port": 80, "path": "up"}),
                json!({"port": 80, "path": ""}),
                json!({"port": 80, "path": "/a b"}),
                json!({"port": 80, "path": "/a\r\nX: y"}),
                json!({"port": 80, "path": "/a#b"}),
                json!({"port": 80, "path": "/ä"}),
                json!({"port": 80, "path": 1, "status": 99}),
                json!({"port": 80, "status": 600, "body": "ok"}),
            ],
        ),
        faults(
            "/worker/readiness/exec",
            &[
                json!(" "),
                json!(["nc"]),
                json!("a\u{0}b"),
                json!("x".repeat(131_050)),
            ],
        ),
        fault("/master/readiness", json!({"tcp": 1})),
    ];
    assert_snapshot!(all.join("\n"), @r"
    worker.readiness is a string; expected an object
    worker.readiness has no question; expected exactly one of `tcp`, `http`, `exec`
    worker.readiness has no question; expected exactly one of `tcp`, `http`, `exec`
    worker.readiness has `tcp` and `exec`; expected exactly one of `tcp`, `http`, `exec`
    worker.readiness has `tcp` and `http` and `exec`; expected exactly one of `tcp`, `http`, `exec`
    worker.readiness.timeout is 0; expected a whole number from 1 to 86400
    worker.readiness.tcp is 0; expected a whole number from 1 to 65535
    worker.readiness.timeout is 86401; expected a whole number from 1 to 86400
    worker.readiness.tcp is 65536; expected a whole number from 1 to 65535
    worker.readiness.tcp is a string; expected a whole number from 1 to 65535
    worker.readiness.TCP is not a known field; did you mean `tcp`?
    worker.readiness has no question; expected exactly one of `tcp`, `http`, `exec`
    worker.readiness.http is a number; expected an object
    worker.readiness.http.port is missing; it is required
    worker.readiness.http.path `up` is not a path; expected `/` and at most 2000 visible ASCII characters without `#`, others as `%` and two hex digits
    worker.readiness.http.path `` is not a path; expected `/` and at most 2000 visible ASCII characters without `#`, others as `%` and two hex digits
    worker.readiness.http.path `/a b` is not a path; expected `/` and at most 2000 visible ASCII characters without `#`, others as `%` and two hex digits
    worker.readiness.http.path `/a��X: y` is not a path; expected `/` and at most 2000 visible ASCII characters without `#`, others as `%` and two hex digits
    worker.readiness.http.path `/a#b` is not a path; expected `/` and at most 2000 visible ASCII characters without `#`, others as `%` and two hex digits
    worker.readiness.http.path `/ä` is not a path; expected `/` and at most 2000 visible ASCII characters without `#`, others as `%` and two hex digits
    worker.readiness.http.path is a number; expected a string
    worker.readiness.http.status is 99; expected a whole number from 100 to 599
    worker.readiness.http.body is not a known field; expected one of `port`, `path`, `status`
    worker.readiness.http.status is 600; expected a whole number from 100 to 599
    worker.readiness.exec is empty; expected a command for `/bin/sh -c`
    worker.readiness.exec is a list; expected a string
    worker.readiness.exec contains a NUL character, which a container cannot receive
    worker.readiness.exec is longer than 131049 bytes
    master.readiness belongs to the worker; the master starts when the workers are ready
    ");
}

#[test]
fn valid_constraints() {
    let constraints = [
        "node.id==2ivku8v2gvtg4",
        "node.hostname!=node-2",
        " node.role == manager ",
        "NODE.ROLE==worker",
        "node.ip==10.0.0.0/8",
        "node.platform.os==linux",
        "node.platform.arch==x86_64",
        "node.labels.zone.row-1==a b",
        "engine.labels.operatingsystem==ubuntu 14.04",
    ];
    let placement = json!({"constraints": constraints, "maxReplicasPerNode": 2});
    let placement = spec(&[("/worker/placement", placement)]).worker.placement;
    assert_eq!(placement.constraints, constraints);
    assert_eq!(placement.max_replicas_per_node, Some(2));
}

#[test]
fn wrong_placement() {
    let all = [
        faults(
            "/worker/placement",
            &[
                json!([]),
                json!({"constraint": []}),
                json!({"maxReplicasPerNode": 0}),
                json!({"maxReplicasPerNode": 100_001}),
                json!({"constraints": "node.role==worker"}),
                json!({"constraints": ["node.role==worker", 7]}),
            ],
        ),
        fault(
            "/worker/placement/constraints",
            json!([
                "",
                "node.role=worker",
                "node.role",
                "node.role==a==b",
                "node.role!==a",
                "node.rol==worker",
                "node.label.zone==a",
                "node.labels==a",
                "node.labels.==a",
                "node.labels.a/b==c",
                "zone==a",
                "node.id==",
                "node.id==a,b",
                "node.id==ä",
            ]),
        ),
    ];
    assert_snapshot!(all.join("\n"), @r"
    worker.placement is a list; expected an object
    worker.placement.constraint is not a known field; did you mean `constraints`?
    worker.placement.maxReplicasPerNode is 0; expected a whole number from 1 to 100000
    worker.placement.maxReplicasPerNode is 100001; expected a whole number from 1 to 100000
    worker.placement.constraints is a string; expected a list of strings
    worker.placement.constraints[1] is a number; expected a string
    worker.placement.constraints[0] `` has 0 operators; expected one `==` or `!=`, as in `node.role==worker`
    worker.placement.constraints[1] `node.role=worker` has 0 operators; expected one `==` or `!=`, as in `node.role==worker`
    worker.placement.constraints[2] `node.role` has 0 operators; expected one `==` or `!=`, as in `node.role==worker`
    worker.placement.constraints[3] `node.role==a==b` has 2 operators; expected one `==` or `!=`, as in `node.role==worker`
    worker.placement.constraints[4] `node.role!==a` has 2 operators; expected one `==` or `!=`, as in `node.role==worker`
    worker.placement.constraints[5] `node.rol==worker` has the unknown key `node.rol`; did you mean `node.role`?
    worker.placement.constraints[6] `node.label.zone==a` has the unknown key `node.label.zone`; did you mean `node.labels.NAME`?
    worker.placement.constraints[7] `node.labels==a` has the unknown key `node.labels`; did you mean `node.labels.NAME`?
    worker.placement.constraints[8] `node.labels.==a` has the unknown key `node.labels.`; did you mean `node.labels.NAME`?
    worker.placement.constraints[9] `node.labels.a/b==c` has the unknown key `node.labels.a/b`; did you mean `node.labels.NAME`?
    worker.placement.constraints[10] `zone==a` has the unknown key `zone`; expected one of `node.id`, `node.hostname`, `node.role`, `node.ip`, `node.platform.os`, `node.platform.arch`, `node.labels.NAME`, `engine.labels.NAME`
    worker.placement.constraints[11] `node.id==` has the invalid value ``; expected letters, digits, blanks and `:-_.*()?+[]\^$|/`
    worker.placement.constraints[12] `node.id==a,b` has the invalid value `a,b`; expected letters, digits, blanks and `:-_.*()?+[]\^$|/`
    worker.placement.constraints[13] `node.id==ä` has the invalid value `ä`; expected letters, digits, blanks and `:-_.*()?+[]\^$|/`
    ");
}

#[test]
fn labels_of_the_user() {
    let given = json!({"team": "checkout", "org.example/cost": "", "com.atqx": "1"});
    let labels = spec(&[("/worker/labels", given.clone())]).worker.labels;
    assert_eq!(serde_json::to_value(labels).unwrap(), given);
}

#[test]
fn wrong_labels() {
    let all = [
        faults("/worker/labels", &[json!(["team=a"]), json!("team=a")]),
        fault(
            "/worker/labels",
            json!({
                "": "1",
                "a b": "1",
                "a\n": "1",
                "COM.ATQ.run": "1",
                "Com.Atq": "1",
                "com.atq": "1",
                "com.atq.task": "mine",
                "com.docker.stack.namespace": "x",
                "count": 7,
                "none": null,
                "nul": "a\u{0}",
            }),
        ),
    ];
    assert_snapshot!(all.join("\n"), @r"
    worker.labels is a list; expected an object of strings
    worker.labels is a string; expected an object of strings
    worker.labels has the key ``; expected one without blanks
    worker.labels.COM.ATQ.run cannot be set; labels that start with `com.atq.` belong to the Director
    worker.labels.Com.Atq cannot be set; the label `com.atq` belongs to the Director
    worker.labels has the key `a�`; expected one without blanks
    worker.labels has the key `a b`; expected one without blanks
    worker.labels.com.atq cannot be set; the label `com.atq` belongs to the Director
    worker.labels.com.atq.task cannot be set; labels that start with `com.atq.` belong to the Director
    worker.labels.com.docker.stack.namespace cannot be set; labels that start with `com.docker.` belong to Docker
    worker.labels.count is a number; expected a string
    worker.labels.none is null; expected a string
    worker.labels.nul contains a NUL character, which a container cannot receive
    ");
}

#[test]
fn stop_grace_periods() {
    let of = |value: Value| {
        spec(&[("/master/stopGracePeriod", value)])
            .master
            .stop_grace()
    };
    assert_eq!(of(json!(0)), Duration::ZERO);
    assert_eq!(of(json!(3600)), Duration::from_secs(3600));
    assert_eq!(of(Value::Null), STOP_GRACE);
    assert_snapshot!(faults("/master/stopGracePeriod", &[json!(3601), json!(-1), json!("30s")]), @r"
    master.stopGracePeriod is 3601; expected a whole number from 0 to 3600
    master.stopGracePeriod is -1; expected a whole number from 0 to 3600
    master.stopGracePeriod is a string; expected a whole number from 0 to 3600
    ");
}

#[test]
fn delivery_and_split_are_parsed() {
    let spec = spec(&[
        ("/worker/fileid", json!(BUNDLE)),
        (
            "/worker/split",
            json!([{"path": "b.csv", "header": false}, {"path": "a/a.csv", "header": true}]),
        ),
        ("/worker/user", json!("1000:1000")),
        ("/master/user", json!("root")),
        ("/master/split", json!([])),
    ]);
    assert_eq!(spec.delivery, Delivery::Push);
    let split: Vec<_> = spec
        .worker
        .split
        .iter()
        .map(|file| (file.path.as_str(), file.header))
        .collect();
    assert_eq!(split, [("a/a.csv", true), ("b.csv", false)]);
    assert_eq!(spec.worker.user.as_deref(), Some("1000:1000"));
    let shared = crate::examples::spec(&[("/delivery", json!("shared"))]);
    assert_eq!(shared.delivery, Delivery::Shared);
}

#[test]
fn faults_of_delivery_and_split_are_reported() {
    let file = json!([{"path": "a.csv", "header": true}]);
    let cases = [
        vec![("/delivery", json!("pull"))],
        vec![("/delivery", json!(1))],
        vec![("/worker/split", file.clone())],
        vec![
            ("/worker/fileid", json!(BUNDLE)),
            ("/worker/split", file.clone()),
            ("/delivery", json!("shared")),
        ],
        vec![("/master/fileid", json!(BUNDLE)), ("/master/split", file)],
        vec![
            ("/worker/fileid", json!(BUNDLE)),
            ("/worker/split", json!([{"path": "a.csv"}])),
        ],
        vec![
            ("/worker/fileid", json!(BUNDLE)),
            (
                "/worker/split",
                json!([{"path": "../a.csv", "header": 1, "rows": 2}]),
            ),
        ],
        vec![
            ("/worker/fileid", json!(BUNDLE)),
            (
                "/worker/split",
                json!([{"path": "a", "header": true}, {"path": "a", "header": true}]),
            ),
        ],
        vec![("/worker/split", json!({"path": "a"}))],
        vec![("/worker/user", json!("a b"))],
        vec![("/worker/user", json!("1:"))],
        vec![("/worker/user", json!(""))],
        vec![("/worker/user", json!(1000))],
    ];
    let all: Vec<String> = cases
        .iter()
        .flat_map(|case| parse(&payload(case)).unwrap_err())
        .map(|fault| format!("{} {}", fault.field, fault.message))
        .collect();
    assert_snapshot!(all.join("\n"), @r"
    delivery is `pull`; expected one of `push`, `shared`
    delivery is a number; expected a string
    worker.split needs `fileid`: only files of the bundle can be split
    worker.split needs `delivery: push`; with `shared` all replicas mount the same files
    master.split is for the worker only, whose replicas each get a part of the file
    worker.split[0].header is missing; expected `true` if the first line of the file names its columns, otherwise `false`
    worker.split[0].rows is not a known field; expected one of `path`, `header`
    worker.split[0].path `../a.csv` is not a path in the bundle; expected one like `data/users.csv`
    worker.split[0].header is a number; expected true or false
    worker.split[1].path names `a` twice
    worker.split is an object; expected a list of objects with `path` and `header`
    worker.user `a b` is not a user; expected one like `root`, `1000` or `1000:1000`
    worker.user `1:` is not a user; expected one like `root`, `1000` or `1000:1000`
    worker.user `` is not a user; expected one like `root`, `1000` or `1000:1000`
    worker.user is a number; expected a string
    ");
}

#[test]
fn a_definition_in_the_format_of_answers_is_accepted() {
    let bundle = json!(BUNDLE);
    let shown = spec(&[
        ("/id", json!("other")),
        ("/status", json!("finished")),
        ("/step", json!("done")),
        ("/createdAt", json!("2026-01-31T12:00:00Z")),
        ("/worker/id", json!("x1")),
        ("/worker/fileId", bundle.clone()),
        ("/master/fileId", json!("")),
    ]);
    let defined = spec(&[("/worker/fileid", bundle.clone())]);
    assert_eq!(shown, defined);
    let twice = payload(&[
        ("/worker/fileid", bundle),
        ("/worker/fileId", json!("0123456789abcdef0123456789abcde0")),
    ]);
    let faults = parse(&twice).unwrap_err();
    assert_eq!(faults[0].field, "worker.fileid");
    assert!(faults[0].message.contains("two bundles"), "{faults:?}");
    let mut unnamed = payload(&[("/id", json!("by-id"))]);
    unnamed.as_object_mut().unwrap().remove("name");
    assert_eq!(parse(&unnamed).unwrap().name.as_str(), "by-id");
}
