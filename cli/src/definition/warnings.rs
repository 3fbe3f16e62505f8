//! Warnings about probable mistakes.

use super::change::ROLES;
use super::has_no_bundle;
use super::places::{field, item};
use serde_json::Value;

/// Mount point of a bundle in a container.
const BUNDLE_MOUNT: &str = "/atq/data";

/// Warnings for services that reference a file of a bundle but have no bundle: `--bundle` is probably missing.
pub fn warnings(payload: &Value) -> Vec<String> {
    let without = ROLES.into_iter().filter_map(|role| {
        let service = payload.get(role)?;
        has_no_bundle(service).then_some((role, service))
    });
    without
        .filter_map(|(role, service)| {
            let named = names_bundle(payload, role, service)?;
            Some(format!(
                "`{named}` refers to {BUNDLE_MOUNT}, but `{role}` has no `fileid`: is `--bundle DIR` missing?"
            ))
        })
        .collect()
}

/// The first field that refers to a file of a bundle. Wait command and readiness command run with the worker's bundle.
fn names_bundle(payload: &Value, role: &str, service: &Value) -> Option<String> {
    let lists = ["args", "environment"].into_iter().flat_map(|name| {
        let items = service.get(name).and_then(Value::as_array);
        let items = items.into_iter().flatten().enumerate();
        items.map(move |(index, value)| (item(&field(role, name), index), value))
    });
    let of_worker = [
        ("waitCommand.command", "/waitCommand/command"),
        ("worker.readiness.exec", "/worker/readiness/exec"),
    ];
    let commands = of_worker.into_iter().filter_map(|(path, pointer)| {
        let value = payload.pointer(pointer).filter(|_| role == "worker")?;
        Some((path.to_owned(), value))
    });
    let mut texts = lists.chain(commands);
    let found = texts.find(|(_, value)| {
        value
            .as_str()
            .is_some_and(|text| text.contains(BUNDLE_MOUNT))
    });
    found.map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_forgotten_bundle_is_detected() {
        let named = |payload: Value| warnings(&payload).join("\n");
        let args = json!(["/bin/sh", "/atq/data/run.sh"]);
        for (payload, field) in [
            (json!({"master": {"args": args}}), "`master.args[1]`"),
            (
                json!({"master": {"args": args, "fileid": ""}}),
                "`master.args[1]`",
            ),
            (
                json!({"worker": {"environment": ["A=b", "P=/atq/data/x"], "fileid": null}}),
                "`worker.environment[1]`",
            ),
            (
                json!({"worker": {}, "waitCommand": {"command": "sh /atq/data/x"}}),
                "`waitCommand.command`",
            ),
            (
                json!({"worker": {"readiness": {"exec": "/atq/data/x"}}}),
                "`worker.readiness.exec`",
            ),
        ] {
            assert!(named(payload.clone()).contains(field), "{payload}");
        }
        for payload in [
            json!({"master": {"args": args, "fileid": "0123"}}),
            json!({"master": {"args": ["/data/run.sh", 5]}}),
            json!({"master": [], "worker": null}),
            json!("/atq/data"),
        ] {
            assert_eq!(named(payload.clone()), "", "{payload}");
        }
    }
}
