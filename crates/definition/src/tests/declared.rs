//! Every field declared by the wire types is parsed and shown.

use crate::examples::{BUNDLE, parse, payload, spec};
use atq_api_spec::kernel::{SoftAndHard, Sysctls, Ulimits};
use atq_api_spec::service::{
    Amounts, HttpQuestion, Placement, Resources, SplitFile, WorkerReadiness,
};
use atq_api_spec::task::{ServicePayload, Task, TaskPayload, TaskService, WaitCommand};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

fn properties<T: ToSchema>() -> Map<String, Value> {
    let schema = serde_json::to_value(T::schema()).unwrap();
    schema["properties"].as_object().unwrap().clone()
}

/// A value that is invalid for every field of this kind.
fn wrong(schema: &Value) -> Value {
    match schema["type"] == "array" {
        true => json!(7),
        false => json!([0]),
    }
}

/// Checks that each field declared by `T` is validated.
fn all_are_read<T: ToSchema>(pointer: &str) {
    for (name, schema) in properties::<T>() {
        let mut definition = payload(&[("/worker/fileid", json!(BUNDLE))]);
        let object = pointer.split('/').skip(1).fold(&mut definition, |at, key| {
            match key.parse::<usize>() {
                Ok(0) => {
                    *at = json!([{}]);
                    &mut at[0]
                }
                _ => &mut at[key],
            }
        });
        object[&name] = wrong(&schema);
        let path = pointer.trim_start_matches('/').replace("/0", "[0]");
        let path = format!("{path}/{name}").replace('/', ".");
        let path = path.trim_start_matches('.');
        let faults = parse(&definition).expect_err(path);
        let found = faults.iter().find(|fault| fault.field.starts_with(path));
        let message = &found
            .unwrap_or_else(|| panic!("{path}: {faults:?}"))
            .message;
        assert!(!message.contains("known"), "{path}: {message}");
    }
}

#[test]
fn every_declared_field_is_read() {
    all_are_read::<TaskPayload>("");
    all_are_read::<ServicePayload>("/worker");
    all_are_read::<ServicePayload>("/master");
    all_are_read::<WaitCommand>("/waitCommand");
    all_are_read::<Resources>("/worker/resources");
    all_are_read::<Amounts>("/master/resources/limits");
    all_are_read::<Placement>("/worker/placement");
    all_are_read::<SplitFile>("/worker/split/0");
    all_are_read::<Ulimits>("/worker/ulimits");
    all_are_read::<SoftAndHard>("/worker/ulimits/nofile");
    all_are_read::<Sysctls>("/master/sysctls");
    all_are_read::<WorkerReadiness>("/worker/readiness");
    all_are_read::<HttpQuestion>("/worker/readiness/http");
}

/// The type of a field, without its bounds.
fn kind(schema: &Value) -> Value {
    let mut kind = match schema["oneOf"][0].as_object() {
        Some(reference) => reference.clone(),
        None => schema.as_object().unwrap().clone(),
    };
    kind.retain(|keyword, _| {
        ["type", "$ref", "items", "additionalProperties"].contains(&keyword.as_str())
    });
    Value::Object(kind)
}

/// Checks that each field declared by `D` exists in the answer `A` with the same type.
fn all_are_shown<D: ToSchema, A: ToSchema>(but: &[&str]) {
    let shown = properties::<A>();
    for (name, schema) in properties::<D>() {
        if but.contains(&name.as_str()) {
            continue;
        }
        let found = shown
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not shown"));
        let services = ["master", "worker"].contains(&name.as_str());
        assert!(services || kind(found) == kind(&schema), "{name}: {found}");
    }
}

#[test]
fn every_declared_field_is_shown() {
    all_are_shown::<TaskPayload, Task>(&["name"]);
    all_are_shown::<ServicePayload, TaskService>(&["environment", "fileid"]);
}

#[test]
fn an_answer_can_be_sent_back() {
    let sent = spec(&[
        ("/worker/args", json!(["-n"])),
        ("/worker/fileid", json!(BUNDLE)),
        ("/worker/split", json!([{"path": "a.csv", "header": true}])),
        ("/worker/user", json!("1000")),
        ("/worker/replicas", json!(3)),
        ("/worker/tty", json!(true)),
        ("/worker/networks", json!(["target"])),
        (
            "/worker/resources",
            json!({"limits": {"cpus": "1.5", "memory": "1g"}, "reservations": {"cpus": 1}}),
        ),
        (
            "/worker/placement",
            json!({"constraints": ["node.role==worker"], "maxReplicasPerNode": 2}),
        ),
        ("/worker/labels", json!({"team": "checkout"})),
        ("/worker/stopGracePeriod", json!(0)),
        (
            "/worker/ulimits",
            json!({"nofile": 65536, "stack": {"soft": 1_048_576, "hard": 8_388_608}}),
        ),
        (
            "/worker/sysctls",
            json!({"net.ipv4.ip_local_port_range": "1024 65535", "net.ipv4.tcp_tw_reuse": 0}),
        ),
        (
            "/worker/readiness",
            json!({"http": {"port": 80, "path": "/up", "status": 204}, "timeout": 5}),
        ),
        (
            "/waitCommand",
            json!({"command": "true", "expectedResult": "x", "timeout": 2}),
        ),
        ("/delay", json!(1)),
        ("/maxDuration", json!(60)),
        ("/onWorkerLoss", json!("abort")),
        ("/exclusive", json!("shop")),
        ("/criteria", json!(["p95 < 500 ms"])),
        ("/stopWhen", json!(["errors > 20 % for 30s"])),
        ("/minSamples", json!(10)),
        ("/resultFiles", json!(["*.jtl"])),
    ]);
    let mut shown = serde_json::to_value(sent.shown(Some("m1"), None)).unwrap();
    // Added by the Director to a finished run.
    shown["requestsPerSecond"] = json!(41.84);
    assert_eq!(shown["master"]["id"], "m1");
    assert_eq!(parse(&shown).unwrap(), sent);
    let definition = serde_json::to_value(sent.without_values()).unwrap();
    assert_eq!(parse(&definition).unwrap(), sent);
}
