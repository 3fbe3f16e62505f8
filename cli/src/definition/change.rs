//! Changes of a definition by the command line.

use super::faults;
use super::places::{Places, field, item};
use crate::args::Definition;
use crate::error::CliError;
use atq_definition::spec::{Fault, shorten};
use serde_json::{Map, Value};

/// The services of a task.
pub(super) const ROLES: [&str; 2] = ["master", "worker"];
/// Hint with the syntax of `--set`.
const EXAMPLE: &str = "expected `FIELD=VALUE`, for example `--set worker.replicas=5` or \
                       `--set worker.environment[0]=MODE=node`";

/// Hint with the syntax of `--env`.
const VARIABLES: &str =
    "expected `--env NAME=VALUE`, or `--env NAME` with an exported variable of this shell";

/// Applies the changes: `--set` first, in the order of the command line.
pub(super) fn apply(
    args: &Definition,
    payload: &mut Value,
    places: &mut Places,
) -> Result<(), CliError> {
    for change in &args.set {
        set(change, payload, places)?;
    }
    for (index, option) in args.env.iter().enumerate() {
        let Some((name, value)) = variable(option, |name| std::env::var(name).ok()) else {
            // The option is not shown, since it may be a password.
            let why = format!("`--env` number {} is not a variable", index + 1);
            return Err(CliError::usage(why, VARIABLES));
        };
        for role in ROLES {
            set_variable(role, name, &format!("{name}={value}"), payload, places);
        }
    }
    let Value::Object(fields) = payload else {
        return Ok(());
    };
    if let Some(name) = &args.name {
        fields.insert("name".to_owned(), name.as_str().into());
        places.replace("name", "--name");
    }
    for criterion in &args.criteria {
        append(fields, "criteria", "", criterion, "--criterion", places);
    }
    Ok(())
}

/// Name and value of an `--env`. Without `=`, the value is that of `exported`, so that no argument contains a secret.
pub(super) fn variable(
    option: &str,
    exported: impl Fn(&str) -> Option<String>,
) -> Option<(&str, String)> {
    match option.split_once('=') {
        Some(("", _)) => None,
        Some((name, value)) => Some((name, value.to_owned())),
        None => Some((option, exported(option)?)),
    }
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step<'a> {
    Field(&'a str),
    Item(usize),
}

fn set(change: &str, payload: &mut Value, places: &mut Places) -> Result<(), CliError> {
    let Some((path, text)) = change.split_once('=') else {
        let why = format!("`--set {}` has no `=`", shorten(change));
        return Err(CliError::usage(why, EXAMPLE));
    };
    let option = format!("--set {}", shorten(path));
    let refuse = |why: String| CliError::usage(format!("`{option}`: {why}"), EXAMPLE);
    let steps = steps(path).map_err(refuse)?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    let at = put(&steps, value, payload, places, &option).map_err(refuse)?;
    // A value that looks like JSON stays a string where the definition expects a string.
    let is_text = |fault: &Fault| fault.field == at && fault.expects_text();
    if faults(payload).iter().any(is_text) {
        put(&steps, text.into(), payload, places, &option).map_err(refuse)?;
    }
    Ok(())
}

/// Sets the value at a path, which is created if it is missing. Returns the path as in faults.
fn put(
    steps: &[Step<'_>],
    value: Value,
    payload: &mut Value,
    places: &mut Places,
    option: &str,
) -> Result<String, String> {
    let mut at = String::new();
    let mut place = payload;
    for (index, step) in steps.iter().enumerate() {
        (place, at) = descend(place, step, &at)?;
        if index + 1 < steps.len() && !places.contains(&at) {
            places.replace(&at, option);
        }
    }
    *place = value;
    places.replace(&at, option);
    Ok(at)
}

/// Fields of a service whose own fields have dots in their names.
const DOTTED: [&str; 2] = ["labels", "sysctls"];

/// Parses a path as in faults. Below `labels` and `sysctls`, the rest is one name, including dots.
fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let mut steps = Vec::new();
    let mut rest = path;
    loop {
        if rest.is_empty() {
            return Err("a name is missing at the end".to_owned());
        }
        if matches!(steps[..], [Step::Field(_), Step::Field(name)] if DOTTED.contains(&name)) {
            steps.push(Step::Field(rest));
            return Ok(steps);
        }
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        if end == 0 {
            return Err(format!("a name is missing before `{}`", shorten(rest)));
        }
        steps.push(Step::Field(&rest[..end]));
        rest = &rest[end..];
        while let Some(inside) = rest.strip_prefix('[') {
            let (number, after) = inside.split_once(']').ok_or("`[` without `]`")?;
            let index = number.parse().map_err(|_| {
                let number = shorten(number);
                format!("`{number}` is not an item index; expected a number from 0")
            })?;
            steps.push(Step::Item(index));
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(steps),
            None => return Err(format!("expected `.` or `[` before `{}`", shorten(rest))),
        }
    }
}

/// Descends one step; creates the field or item if it is missing.
fn descend<'v>(
    place: &'v mut Value,
    step: &Step<'_>,
    at: &str,
) -> Result<(&'v mut Value, String), String> {
    match step {
        Step::Field(name) => {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(fields) = place else {
                return Err(format!("{} is not an object", named(at)));
            };
            let place = fields.entry(*name).or_insert(Value::Null);
            Ok((place, field(at, name)))
        }
        Step::Item(index) => {
            if place.is_null() {
                *place = Value::Array(Vec::new());
            }
            let Value::Array(items) = place else {
                return Err(format!("{} is not a list", named(at)));
            };
            let length = items.len();
            if *index == length {
                items.push(Value::Null);
            }
            let why = format!(
                "{} has {length} items; expected at most [{length}], which adds one",
                named(at)
            );
            let place = items.get_mut(*index).ok_or(why)?;
            Ok((place, item(at, *index)))
        }
    }
}

fn named(path: &str) -> String {
    match path.is_empty() {
        true => "the definition".to_owned(),
        false => format!("`{path}`"),
    }
}

/// Replaces the variable of the same name, or appends it. An invalid service is reported as a fault later.
fn set_variable(role: &str, name: &str, variable: &str, payload: &mut Value, places: &mut Places) {
    let Some(Value::Object(fields)) = payload.get_mut(role) else {
        return;
    };
    let option = format!("--env {}", shorten(name));
    if let Some(Value::Array(items)) = fields.get_mut("environment") {
        let is_same = |item: &Value| {
            let name_of = item.as_str().and_then(|text| text.split_once('='));
            name_of.is_some_and(|(known, _)| known == name)
        };
        if let Some(index) = items.iter().position(is_same) {
            items[index] = variable.into();
            let at = item(&field(role, "environment"), index);
            return places.replace(&at, &option);
        }
    }
    append(fields, "environment", role, variable, &option, places);
}

/// Appends a text to a list. An invalid list is reported as a fault later.
fn append(
    fields: &mut Map<String, Value>,
    name: &str,
    parent: &str,
    text: &str,
    option: &str,
    places: &mut Places,
) {
    let list = fields.entry(name).or_insert(Value::Null);
    let at = field(parent, name);
    if list.is_null() {
        *list = Value::Array(Vec::new());
        places.replace(&at, option);
    }
    if let Value::Array(items) = list {
        places.replace(&item(&at, items.len()), option);
        items.push(text.into());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn changed(payload: Value, change: &str) -> Result<Value, String> {
        let mut payload = payload;
        let done = set(change, &mut payload, &mut Places::default());
        done.map_err(|error| error.to_string())?;
        Ok(payload)
    }

    #[test]
    fn text_stays_text_where_the_definition_expects_text() {
        let base = json!({"worker": {"args": ["a"]}, "waitCommand": {"command": "true"}});
        for (path, pointer) in [
            ("name", "/name"),
            ("worker.alias", "/worker/alias"),
            ("worker.image", "/worker/image"),
            ("worker.user", "/worker/user"),
            ("worker.fileid", "/worker/fileid"),
            ("worker.args[0]", "/worker/args/0"),
            ("worker.args[1]", "/worker/args/1"),
            ("worker.environment[0]", "/worker/environment/0"),
            ("worker.networks[0]", "/worker/networks/0"),
            (
                "worker.labels.com.example.build",
                "/worker/labels/com.example.build",
            ),
            ("waitCommand.command", "/waitCommand/command"),
            ("waitCommand.expectedResult", "/waitCommand/expectedResult"),
            ("criteria[0]", "/criteria/0"),
            ("onWorkerLoss", "/onWorkerLoss"),
        ] {
            for text in ["20", "0123", "12e4", "1.0", "true", "[1]", "{\"a\": 1}"] {
                let after = changed(base.clone(), &format!("{path}={text}")).unwrap();
                assert_eq!(after.pointer(pointer), Some(&json!(text)), "{path}={text}");
            }
            let after = changed(base.clone(), &format!("{path}=\"20\"")).unwrap();
            assert_eq!(after.pointer(pointer), Some(&json!("20")), "{path}");
        }
        let after = changed(base, "worker.args[0]=null").unwrap();
        assert_eq!(after["worker"]["args"], json!(["null"]));
    }

    #[test]
    fn valid_changes() {
        let table = [
            (json!({}), "delay=5", json!({"delay": 5})),
            (json!({"delay": 1}), "delay=null", json!({"delay": null})),
            (json!({}), "name=load", json!({"name": "load"})),
            (json!({}), "name=\"5\"", json!({"name": "5"})),
            (json!({}), "name=", json!({"name": ""})),
            (
                json!({}),
                "worker.tty=true",
                json!({"worker": {"tty": true}}),
            ),
            (
                json!({"worker": null}),
                "worker.replicas=5",
                json!({"worker": {"replicas": 5}}),
            ),
            (
                json!({"worker": {"tty": true}}),
                "worker.replicas=5",
                json!({"worker": {"tty": true, "replicas": 5}}),
            ),
            (
                json!({}),
                "worker.args=[\"a\", \"b\"]",
                json!({"worker": {"args": ["a", "b"]}}),
            ),
            (
                json!({"criteria": ["a", "b"]}),
                "criteria[0]=p95 < 5s",
                json!({"criteria": ["p95 < 5s", "b"]}),
            ),
            (
                json!({"criteria": ["a"]}),
                "criteria[1]=b",
                json!({"criteria": ["a", "b"]}),
            ),
            (
                json!({}),
                "worker.environment[0]=A=b=c",
                json!({"worker": {"environment": ["A=b=c"]}}),
            ),
            (
                json!({}),
                "worker.split[0].header=true",
                json!({"worker": {"split": [{"header": true}]}}),
            ),
            (
                json!({}),
                "worker.resources.limits.memory=1g",
                json!({"worker": {"resources": {"limits": {"memory": "1g"}}}}),
            ),
            (
                json!({}),
                "worker.labels.com.example.team=x",
                json!({"worker": {"labels": {"com.example.team": "x"}}}),
            ),
            (
                json!({}),
                "worker.sysctls.net.ipv4.tcp_tw_reuse=1",
                json!({"worker": {"sysctls": {"net.ipv4.tcp_tw_reuse": 1}}}),
            ),
            (
                json!({"master": {"ulimits": {"nofile": 1024}}}),
                "master.ulimits.nofile=65536",
                json!({"master": {"ulimits": {"nofile": 65536}}}),
            ),
        ];
        for (before, change, after) in table {
            assert_eq!(changed(before, change), Ok(after), "{change}");
        }
    }

    #[test]
    fn invalid_changes() {
        let error =
            |change: &str| changed(json!({"name": "a", "criteria": ["x"]}), change).unwrap_err();
        let changes = [
            "delay",
            "=5",
            ".a=5",
            "a.=5",
            "a..b=5",
            "a[=5",
            "a[]=5",
            "a[-1]=5",
            "a[x]=5",
            "a]=5",
            "a[0]b=5",
            "[0]=5",
            "worker.labels.=x",
            "name.first=a",
            "name[0]=a",
            "criteria.a=b",
            "criteria[2]=a",
        ];
        let all: Vec<String> = changes.iter().map(|change| error(change)).collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
    `--set delay` has no `=`
    `--set `: a name is missing at the end
    `--set .a`: a name is missing before `.a`
    `--set a.`: a name is missing at the end
    `--set a..b`: a name is missing before `.b`
    `--set a[`: `[` without `]`
    `--set a[]`: `` is not an item index; expected a number from 0
    `--set a[-1]`: `-1` is not an item index; expected a number from 0
    `--set a[x]`: `x` is not an item index; expected a number from 0
    `--set a]`: expected `.` or `[` before `]`
    `--set a[0]b`: expected `.` or `[` before `b`
    `--set [0]`: a name is missing before `[0]`
    `--set worker.labels.`: a name is missing at the end
    `--set name.first`: `name` is not an object
    `--set name[0]`: `name` is not a list
    `--set criteria.a`: `criteria` is not an object
    `--set criteria[2]`: `criteria` has 1 items; expected at most [1], which adds one
    "#);
    }
}
