//! Fields of a definition that were added after 2018.

use crate::fixture::{Director, payload};
use atq_api_spec::task::{Task, TaskPayload};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// A definition with all of these fields.
fn full(name: &str) -> Value {
    let mut full = payload(name);
    full["worker"]["readiness"] = json!({"http": {"port": 8080}});
    full["worker"]["resources"] =
        json!({"limits": {"cpus": "1.50", "memory": "512m"}, "reservations": {"cpus": 1}});
    full["worker"]["placement"] =
        json!({"constraints": ["node.role==manager"], "maxReplicasPerNode": 2});
    full["worker"]["labels"] = json!({"team": "checkout"});
    full["worker"]["stopGracePeriod"] = json!(30);
    full["worker"]["ulimits"] =
        json!({"nofile": {"soft": 4096, "hard": 4096}, "nproc": {"soft": 100, "hard": 200}});
    full["worker"]["sysctls"] =
        json!({"net.ipv4.ip_local_port_range": "1024\t65535", "net.ipv4.tcp_tw_reuse": 1});
    full["master"]["resources"] = json!({"reservations": {"memory": 6_291_456}});
    full["master"]["stopGracePeriod"] = json!(0);
    full["maxDuration"] = json!(3600);
    full["onWorkerLoss"] = json!("abort");
    full["exclusive"] = json!("shop-staging");
    full
}

#[tokio::test]
async fn all_fields_are_returned() {
    let director = Director::new().await;
    let sent = full("told");
    // The definition matches the wire types.
    serde_json::from_value::<TaskPayload>(sent.clone()).unwrap();
    let answer = director.put(&sent).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let mut task = director.get("/task/told").await.json();
    for role in ["worker", "master"] {
        // The ids depend on the progress of the task.
        task[role]["id"] = json!("");
    }
    insta::assert_json_snapshot!(json!({"worker": task["worker"], "master": task["master"]}), @r#"
    {
      "master": {
        "alias": "Coordinator",
        "args": [],
        "fileId": "",
        "id": "",
        "image": "load:1",
        "replicas": 1,
        "resources": {
          "reservations": {
            "memory": 6291456
          }
        },
        "stopGracePeriod": 0,
        "tty": false
      },
      "worker": {
        "alias": "Minions",
        "args": [],
        "fileId": "",
        "id": "",
        "image": "load:1",
        "labels": {
          "team": "checkout"
        },
        "placement": {
          "constraints": [
            "node.role==manager"
          ],
          "maxReplicasPerNode": 2
        },
        "readiness": {
          "http": {
            "path": "/",
            "port": 8080,
            "status": 200
          },
          "timeout": 60
        },
        "replicas": 2,
        "resources": {
          "limits": {
            "cpus": 1.5,
            "memory": 536870912
          },
          "reservations": {
            "cpus": 1
          }
        },
        "stopGracePeriod": 30,
        "sysctls": {
          "net.ipv4.ip_local_port_range": "1024 65535",
          "net.ipv4.tcp_tw_reuse": 1
        },
        "tty": false,
        "ulimits": {
          "nofile": 4096,
          "nproc": {
            "hard": 200,
            "soft": 100
          }
        }
      }
    }
    "#);
    assert_eq!(
        (
            &task["maxDuration"],
            &task["onWorkerLoss"],
            &task["exclusive"]
        ),
        (&json!(3600), &json!("abort"), &json!("shop-staging"))
    );
    let typed: Task = serde_json::from_value(task.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), task);
}

#[tokio::test]
async fn returned_fields_can_be_sent_again() {
    let director = Director::new().await;
    director.put(&full("twice")).await;
    let task = director.get("/task/twice").await.json();
    let mut again = full("twice");
    for field in [
        "resources",
        "placement",
        "labels",
        "stopGracePeriod",
        "readiness",
        "ulimits",
        "sysctls",
    ] {
        again["worker"][field] = task["worker"][field].clone();
    }
    // The same amounts in another notation are the same definition.
    assert_eq!(director.put(&again).await.status, StatusCode::OK);
    again["worker"]["resources"]["limits"]["cpus"] = json!(1.25);
    assert_eq!(director.put(&again).await.status, StatusCode::CONFLICT);
}

/// Clients of 2018 get the objects of 2018, plus fields of the first version.
#[tokio::test]
async fn undefined_fields_are_omitted() {
    let director = Director::new().await;
    let mut plain = payload("plain");
    plain["onWorkerLoss"] = json!("continue");
    plain["worker"]["resources"] = json!({"limits": {}});
    plain["worker"]["labels"] = json!({});
    plain["worker"]["ulimits"] = json!({});
    plain["master"]["sysctls"] = json!({"net.core.somaxconn": null});
    director.put(&plain).await;
    let task = director.get("/task/plain").await.json();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    for role in ["worker", "master"] {
        assert_eq!(
            keys(&task[role]),
            ["alias", "args", "fileId", "id", "image", "replicas", "tty"]
        );
    }
    for field in ["maxDuration", "onWorkerLoss", "exclusive"] {
        assert!(task.get(field).is_none(), "{task}");
    }
}

#[tokio::test]
async fn all_faults_of_these_fields_are_reported_at_once() {
    let director = Director::new().await;
    let mut faulty = payload("faulty");
    faulty["maxDuration"] = json!(0);
    faulty["onWorkerLoss"] = json!("stop");
    faulty["exclusive"] = json!("a b");
    faulty["master"]["readiness"] = json!({"tcp": 1});
    faulty["master"]["stopGracePeriod"] = json!(-1);
    faulty["worker"]["readiness"] = json!({"http": {"path": "x"}, "timeout": 0});
    faulty["worker"]["resources"] = json!({"limits": {"cpus": 0, "memory": "1k"}});
    faulty["worker"]["placement"] = json!({"constraints": ["node.rol==a", "b"]});
    faulty["worker"]["labels"] = json!({"com.atq.task": "x", "a b": "c"});
    faulty["worker"]["ulimits"] = json!({"nofile": {"soft": 2048, "hard": 1024}, "rtprio": 1});
    faulty["worker"]["sysctls"] = json!({"net.ipv4.ip_local_port_range": "65535 1024"});
    let answer = director.put(&faulty).await;
    assert_eq!(answer.status, StatusCode::EXPECTATION_FAILED);
    assert_eq!(answer.json()["id"], "faulty");
    let errors = answer.json()["errors"].clone();
    let lines: Vec<String> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            let text = |key: &str| error[key].as_str().unwrap().to_owned();
            format!("{} {}", text("field"), text("message"))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    master.stopGracePeriod is -1; expected a whole number from 0 to 3600
    worker.resources.limits.cpus is 0; expected a number of processors from 0.01 to 1024
    worker.resources.limits.memory is `1k`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    worker.placement.constraints[0] `node.rol==a` has the unknown key `node.rol`; did you mean `node.role`?
    worker.placement.constraints[1] `b` has 0 operators; expected one `==` or `!=`, as in `node.role==worker`
    worker.labels has the key `a b`; expected one without blanks
    worker.labels.com.atq.task cannot be set; labels that start with `com.atq.` belong to the Director
    worker.ulimits.rtprio is not a known field; expected one of `core`, `memlock`, `nofile`, `nproc`, `stack`
    worker.ulimits.nofile.soft is 2048; expected at most the hard limit, 1024
    worker.sysctls.net.ipv4.ip_local_port_range is `65535 1024`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    master.readiness belongs to the worker; the master starts when the workers are ready
    worker.readiness.timeout is 0; expected a whole number from 1 to 86400
    worker.readiness.http.port is missing; it is required
    worker.readiness.http.path `x` is not a path; expected `/` and at most 2000 visible ASCII characters without `#`, others as `%` and two hex digits
    maxDuration is 0; expected a whole number from 1 to 604800
    onWorkerLoss is `stop`; expected one of `continue`, `abort`
    exclusive `a b` is not a name; expected 1 to 100 letters, digits, `_`, `-`, `.` or `:`
    ");
    assert_eq!(
        director.get("/task/faulty").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn limits_that_an_old_engine_would_ignore_are_refused() {
    let director = Director::new().await;
    director.swarm.set_api_version(1, 40);
    let mut task = payload("old-engine");
    task["worker"]["ulimits"] = json!({"nofile": 65536});
    task["worker"]["sysctls"] = json!({"net.ipv4.tcp_tw_reuse": 1});
    let answer = director.put(&task).await;
    assert_eq!(answer.status, StatusCode::EXPECTATION_FAILED);
    assert_eq!(
        answer.json()["errors"],
        json!([{
            "field": "worker.ulimits",
            "message": "needs version 1.41 of Docker's API (Engine 20.10 or later); the manager has version 1.40",
        }])
    );
    director.swarm.set_api_version(1, 41);
    assert_eq!(director.put(&task).await.status, StatusCode::OK);
}
