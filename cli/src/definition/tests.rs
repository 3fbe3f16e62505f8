#![allow(clippy::unwrap_used)]

use super::places::Places;
use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::path::PathBuf;

/// The value of a text, or its syntax faults as lines.
fn parse(text: &str, is_json: bool) -> Result<(Value, Places), String> {
    source::parse(text.as_bytes(), is_json).map_err(|fault| fault.line("load"))
}

/// The faults of a text, one per line.
fn faults_in(text: &str, is_json: bool) -> String {
    let (payload, places) = match parse(text, is_json) {
        Ok(read) => read,
        Err(fault) => return fault,
    };
    let faults = faults(&payload).into_iter();
    let lines: Vec<String> = faults
        .map(|fault| places.placed(fault).line("load"))
        .collect();
    lines.join("\n")
}

/// Arguments for a file with this text.
fn args(name: &str, text: &str) -> (tempfile::TempDir, Definition) {
    let dir = tempfile::tempdir().unwrap();
    let task: PathBuf = dir.path().join(name);
    std::fs::write(&task, text).unwrap();
    let args = Definition {
        task,
        ..Definition::default()
    };
    (dir, args)
}

/// The faults of a file and a command line, without the directory.
fn faults_of(error: &CliError) -> String {
    let CliError::Faults { faults, .. } = error else {
        return format!("{error}");
    };
    let lines: Vec<String> = faults.iter().map(|fault| fault.line("load.yaml")).collect();
    lines.join("\n")
}

const SMALL: &str = "\
name: load
master: {alias: m, image: boss:1}
worker:
  alias: w
  image: tool:1
  environment:
    - MODE=node
    - PASSWORD=hunter2
";

#[test]
fn places_in_json() {
    let text = "{\n\t\"name\": \"x\",\t\"dely\": 5,\n\t\"é\": 1, \"delay\": -1,\n  \"master\": {\"alias\": \"m\",\t\"image\": \"A\"},\n  \"worker\": {\n    \"alias\": \"w\",\n    \"environment\": [\"A=1\",\n      \"B\"],\n    \"split\": [{\"path\": \"a\"}]\n  }\n}";
    insta::assert_snapshot!(faults_in(text, true), @r#"
    load:2:15: dely: is not a known field; did you mean `delay`?
    load:3:2: é: is not a known field; expected one of `name`, `master`, `worker`, `waitCommand`, `delay`, `maxDuration`, `delivery`, `onWorkerLoss`, `exclusive`, `criteria`, `stopWhen`, `minSamples`, `resultFiles`
    load:2:2: name: `x` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends
    load:4:28: master.image: `A` has the part `A`; expected lower-case letters and digits, with single `.`, `_` or `-` between them
    load:5:3: worker.image: is missing; it is required
    load:8:7: worker.environment[1]: has no `=`; expected `NAME=value`
    load:9:5: worker.split: needs `fileid`: only files of the bundle can be split
    load:9:15: worker.split[0].header: is missing; expected `true` if the first line of the file names its columns, otherwise `false`
    load:3:10: delay: is -1; expected a whole number from 0 to 86400
    "#);
}

#[test]
fn places_in_yaml() {
    let text = "\
# A comment.
name: x
dely: 5
master: {alias: m, image: A,
  environment: [A=1, B]}
worker:
  alias: w
  environment:
    - A=1
    - B
  split:
    - path: a
    -
      header: 1
      path: ../b
  readiness:
    http:
      port: 0
";
    insta::assert_snapshot!(faults_in(text, false), @r#"
    load:3:1: dely: is not a known field; did you mean `delay`?
    load:2:1: name: `x` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends
    load:4:20: master.image: `A` has the part `A`; expected lower-case letters and digits, with single `.`, `_` or `-` between them
    load:5:22: master.environment[1]: has no `=`; expected `NAME=value`
    load:6:1: worker.image: is missing; it is required
    load:10:7: worker.environment[1]: has no `=`; expected `NAME=value`
    load:11:3: worker.split: needs `fileid`: only files of the bundle can be split
    load:12:7: worker.split[0].header: is missing; expected `true` if the first line of the file names its columns, otherwise `false`
    load:15:7: worker.split[1].path: `../b` is not a path in the bundle; expected one like `data/users.csv`
    load:14:7: worker.split[1].header: is a number; expected true or false
    load:18:7: worker.readiness.http.port: is 0; expected a whole number from 1 to 65535
    "#);
}

#[test]
fn anchors_are_resolved() {
    let text = "\
name: load
master: &base
  alias: m
  image: A
worker:
  <<: *base
  alias: w
  environment: &env [B]
waitCommand: *base
";
    insta::assert_snapshot!(faults_in(text, false), @r#"
    load:4:3: master.image: `A` has the part `A`; expected lower-case letters and digits, with single `.`, `_` or `-` between them
    load:4:3: worker.image: `A` has the part `A`; expected lower-case letters and digits, with single `.`, `_` or `-` between them
    load:8:22: worker.environment[0]: has no `=`; expected `NAME=value`
    load:3:3: waitCommand.alias: is not a known field; expected one of `command`, `expectedResult`, `timeout`
    load:4:3: waitCommand.image: is not a known field; expected one of `command`, `expectedResult`, `timeout`
    "#);
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &('b'..='j').fold(String::new(), |text, name| {
            let last = char::from_u32(name as u32 - 1).unwrap();
            let ten = vec![format!("*{last}"); 10].join(", ");
            text + &format!("{name}: &{name} [{ten}]\n")
        });
    let refused = faults_in(&bomb, false);
    assert!(refused.contains("is not YAML"), "{refused}");
}

#[test]
fn syntax_errors() {
    let json = [
        "",
        "{",
        "{\"name\" 5}",
        "{\n  \"é\": \"é\" 5\n}",
        "{\"name\": 1,\n \"name\": 2}",
        "{\"a\": [{\"b\": 1, \"b\": 2}]}",
        "{\"a\": 1e999}",
        "{} {}",
        "{\"a\": 'b'}",
        "{a: 1}",
        "{\"a\": 1,}",
        "// a\n{}",
        "5",
        "[]",
        "null",
    ];
    let yaml = [
        "",
        "a: b: c",
        "a:\n\t- b",
        "name: 1\nname: 2",
        "{\"a\": 1, \"a\": 2}",
        "1: a\n\"1\": b",
        "a: .nan",
        "a: *b",
        "a: [",
        "--- 1\n--- 2",
        "a: !x b",
        "5",
    ];
    let all = json
        .iter()
        .map(|text| format!("{text:?} {}", faults_in(text, true)));
    let all = all.chain(
        yaml.iter()
            .map(|text| format!("{text:?} {}", faults_in(text, false))),
    );
    insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n"), @r#"
    "" load:1:1: is not JSON: EOF while parsing a value
    "{" load:1:1: is not JSON: EOF while parsing an object
    "{\"name\" 5}" load:1:9: is not JSON: expected `:`
    "{\n  \"é\": \"é\" 5\n}" load:2:12: is not JSON: expected `,` or `}`
    "{\"name\": 1,\n \"name\": 2}" load:2:2: the field `name` is a duplicate; the first is in line 1
    "{\"a\": [{\"b\": 1, \"b\": 2}]}" load:1:17: the field `b` is a duplicate; the first is in line 1
    "{\"a\": 1e999}" load:1:11: is not JSON: number out of range
    "{} {}" load:1:4: is not JSON: trailing characters
    "{\"a\": 'b'}" load:1:7: is not JSON: expected value
    "{a: 1}" load:1:2: is not JSON: key must be a string
    "{\"a\": 1,}" load:1:9: is not JSON: trailing comma
    "// a\n{}" load:1:1: is not JSON: expected value
    "5" load:1:1: body: is a number; expected an object
    "[]" load:1:1: body: is a list; expected an object
    "null" load:1:1: body: is null; expected an object
    "" load:1:1: body: is null; expected an object
    "a: b: c" load:1:5: is not YAML: mapping values are not allowed in this context
    "a:\n\t- b" load:2:2: is not YAML: tabs disallowed within this context (block indentation)
    "name: 1\nname: 2" load:2:1: the field `name` is a duplicate
    "{\"a\": 1, \"a\": 2}" load:1:10: the field `a` is a duplicate; the first is in line 1
    "1: a\n\"1\": b" load:1:1: is not YAML: the field `1` is a duplicate
    "a: .nan" load:1:4: is not YAML: value `.nan` is not a finite number
    "a: *b" load:1:4: is not YAML: reference to unknown value
    "a: [" load:1:4: is not YAML: unclosed bracket '['
    "--- 1\n--- 2" load:2:5: is not YAML: only single YAML document expected but multiple found
    "a: !x b" load:1:1: a: is not a known field; expected one of `name`, `master`, `worker`, `waitCommand`, `delay`, `maxDuration`, `delivery`, `onWorkerLoss`, `exclusive`, `criteria`, `stopWhen`, `minSamples`, `resultFiles`
    load:1:1: name: is missing; it is required
    load:1:1: master: is missing; expected an object with `alias` and `image`
    load:1:1: worker: is missing; expected an object with `alias` and `image`
    "5" load:1:1: body: is a number; expected an object
    "#);
    let latin = source::parse(b"name: a\nb: \xe9", false).unwrap_err();
    assert_eq!(latin.line("load"), "load:2:4: is not UTF-8");
}

#[test]
fn json_and_yaml_mean_the_same() {
    let yaml = "{\"a\": \"\\ud83d\\ude00\\/\",\t\"b\": [1, 1.5, -2, true, null], \"c\": {}}";
    let wanted = json!({"a": "😀/", "b": [1, 1.5, -2, true, null], "c": {}});
    assert_eq!(parse(yaml, true).unwrap().0, wanted);
    assert_eq!(parse(yaml, false).unwrap().0, wanted);
    let block = "\u{feff}a: 😀/\nb: [1, 1.5, -2, true, ~]\nc: {}\n";
    assert_eq!(parse(block, false).unwrap().0, wanted);
    let texts =
        "user: 1000:1000\na: yes\nb: NO\nc: 1_000\nd: 2026-11-21\ne: 'null'\nf: |\n  x\n  y\n";
    let wanted = json!({
        "user": "1000:1000", "a": "yes", "b": "NO", "c": 1000, "d": "2026-11-21", "e": "null", "f": "x\ny\n",
    });
    assert_eq!(parse(texts, false).unwrap().0, wanted);
}

#[test]
fn changes_by_the_command_line() {
    let (_dir, mut args) = args("load.yaml", SMALL);
    args.set = vec![
        "worker.replicas=5".into(),
        "worker.resources.limits.cpus=0.5".into(),
    ];
    args.env = vec!["MODE=other".into(), "NEW=a=b".into()];
    args.name = Some("nightly".into());
    args.criteria = vec!["p95 < 500ms".into()];
    let mut loaded = load(&args, false).unwrap();
    assert_eq!(loaded.name, "nightly");
    assert!(loaded.use_bundle("0123456789abcdef0123456789abcdef"));
    assert!(
        !loaded.use_bundle("1123456789abcdef0123456789abcdef"),
        "all have one"
    );
    assert_eq!(
        loaded.payload,
        json!({
            "name": "nightly",
            "master": {"alias": "m", "image": "boss:1", "environment": ["MODE=other", "NEW=a=b"], "fileid": "0123456789abcdef0123456789abcdef"},
            "worker": {
                "alias": "w", "image": "tool:1", "environment": ["MODE=other", "PASSWORD=hunter2", "NEW=a=b"], "replicas": 5,
                "resources": {"limits": {"cpus": 0.5}}, "fileid": "0123456789abcdef0123456789abcdef",
            },
            "criteria": ["p95 < 500ms"],
        })
    );
}

#[test]
fn faults_of_the_command_line_name_the_option_without_its_value() {
    let (_dir, mut args) = args("load.yaml", SMALL);
    args.set = vec![
        "worker.replicas=0".into(),
        "worker.environment[0]=ATQ_A=hunter3".into(),
        "worker.labels.com.atq.x=hunter6".into(),
    ];
    args.env = vec!["ATQ_B=hunter4".into()];
    args.name = Some("x".into());
    args.criteria = vec!["p95 << 500ms".into()];
    let error = load(&args, false).unwrap_err();
    assert_eq!(error.exit(), crate::exit::Exit::Usage);
    insta::assert_snapshot!(faults_of(&error), @r#"
    load.yaml (--name): name: `x` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends
    load.yaml (--env ATQ_B): master.environment[0]: sets `ATQ_B`; names that start with `ATQ_` belong to the Director
    load.yaml (--set worker.environment[0]): worker.environment[0]: sets `ATQ_A`; names that start with `ATQ_` belong to the Director
    load.yaml (--env ATQ_B): worker.environment[2]: sets `ATQ_B`; names that start with `ATQ_` belong to the Director
    load.yaml (--set worker.replicas): worker.replicas: is 0; expected a whole number from 1 to 1000
    load.yaml (--set worker.labels.com.atq.x): worker.labels.com.atq.x: cannot be set; labels that start with `com.atq.` belong to the Director
    load.yaml (--criterion): criteria[0]: `p95 << 500ms`: column 5: found `<<`; expected an operator (`<`, `<=`, `>`, `>=`) after `p95`, or `of` and a label
    "#);
    args.env = vec!["hunter5".into()];
    let error = load(&args, false).unwrap_err();
    assert_eq!(error.to_string(), "`--env` number 1 is not a variable");
}

#[test]
fn a_variable_without_a_value_takes_that_of_the_shell() {
    let shell = |name: &str| match name {
        "TOKEN" => Some("a=b".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let read = |option| change::variable(option, shell);
    assert_eq!(read("TOKEN"), Some(("TOKEN", "a=b".to_owned())));
    assert_eq!(read("EMPTY"), Some(("EMPTY", String::new())));
    assert_eq!(read("TOKEN=own"), Some(("TOKEN", "own".to_owned())));
    assert_eq!(read("TOKEN="), Some(("TOKEN", String::new())));
    for wrong in ["OTHER", "", "=", "=TOKEN", "TOKEN "] {
        assert_eq!(read(wrong), None, "`{wrong}`");
    }

    let (_dir, mut args) = args("load.yaml", SMALL);
    // Cargo sets it for tests.
    args.env = vec!["CARGO_PKG_NAME".into()];
    let loaded = load(&args, false).unwrap();
    for role in ["master", "worker"] {
        let environment = loaded.payload[role]["environment"].as_array().unwrap();
        let expected = "CARGO_PKG_NAME=atq-cli".into();
        assert!(environment.contains(&expected), "{role}: {environment:?}");
    }
}

#[test]
fn a_bundle_may_be_added_later() {
    let (_dir, mut args) = args("load.yaml", SMALL);
    args.set = vec![r#"worker.split=[{"path": "a.csv", "header": true}]"#.into()];
    let error = load(&args, false).unwrap_err();
    assert!(faults_of(&error).contains("needs `fileid`"), "{error:?}");
    let loaded = load(&args, true).unwrap();
    assert_eq!(
        loaded.payload["worker"].get("fileid"),
        None,
        "it is not there yet"
    );
}

#[test]
fn only_validate_checks_the_limit_of_replicas() {
    let (_dir, mut args) = args("load.yaml", SMALL);
    args.set = vec!["worker.replicas=1001".into()];
    assert_eq!(
        load(&args, false).unwrap().payload["worker"]["replicas"],
        1001
    );
    let faults = check(&args, None).unwrap().faults;
    assert_eq!(
        faults[0].message,
        "is 1001; expected a whole number from 1 to 1000"
    );
    args.set = vec!["worker.replicas=1000.5".into()];
    load(&args, false).unwrap_err();
}

#[test]
fn unreadable_files() {
    let args = Definition {
        task: "/no/such/load.yaml".into(),
        ..Definition::default()
    };
    let error = load(&args, false).unwrap_err();
    assert!(matches!(error, CliError::Usage { .. }), "{error:?}");
    assert!(
        error.to_string().contains("`/no/such/load.yaml`"),
        "{error}"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let name = prop_oneof![
            prop::sample::select(vec![
                "name",
                "worker",
                "master",
                "environment",
                "labels",
                "image",
                "criteria"
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_preserved(value in any_json()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let (read, places) = parse(&text, true).unwrap();
        prop_assert_eq!(&read, &value);
        for fault in faults(&value) {
            let placed = places.placed(fault);
            let line = text.lines().nth(placed.line.unwrap() - 1).unwrap();
            prop_assert!(placed.column.unwrap() <= line.chars().count(), "{:?}", placed);
        }
    }

    #[test]
    fn no_text_causes_a_panic(text in "[\\[\\]{}\",:\\\\a-c0-9 \n\t&*<é-]{0,60}", is_json: bool) {
        faults_in(&text, is_json);
    }

    #[test]
    fn no_change_causes_a_panic(value in any_json(), change in "(worker|criteria|a|\\.|\\[|\\]|0|1|=|labels){0,8}") {
        let mut payload = value;
        let args = Definition { set: vec![change], env: vec!["A=b".into()], criteria: vec!["x".into()], ..Definition::default() };
        let _ = change::apply(&args, &mut payload, &mut Places::default());
    }
}

#[test]
fn utf_16_is_reported() {
    let text = r#"{"name": "load"}"#;
    let wide = |endian: fn(u16) -> [u8; 2], mark: &str| {
        let units = mark.encode_utf16().chain(text.encode_utf16());
        units.flat_map(endian).collect::<Vec<u8>>()
    };
    for mark in ["\u{feff}", ""] {
        for bytes in [wide(u16::to_le_bytes, mark), wide(u16::to_be_bytes, mark)] {
            let fault = source::parse(&bytes, true).unwrap_err();
            assert!(fault.message.contains("UTF-16"), "{}", fault.message);
        }
    }
}

#[test]
fn deep_definitions_are_accepted_or_rejected() {
    for depth in [30, 33, 100, 127, 128, 1000, 100_000] {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(parse(&text, true).is_ok(), depth < 128, "{depth}");
        assert_eq!(parse(&text, false).is_ok(), depth < 128, "{depth}");
        let text = "- ".repeat(depth);
        assert_eq!(parse(&text, false).is_ok(), depth <= 32, "{depth}");
    }
}

#[test]
fn a_split_file_that_is_not_in_the_bundle_is_a_fault_with_its_place() {
    let text = SMALL.to_owned() + "  split: [{path: data/user.csv, header: true}]\n";
    let (_dir, args) = args("load.yaml", &text);
    let faults = |files: &[&str]| {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let faults = check(&args, Some(&files)).unwrap().faults;
        let lines: Vec<String> = faults.iter().map(|fault| fault.line("load")).collect();
        lines.join("\n")
    };
    assert_eq!(faults(&["data/user.csv"]), "");
    let many: Vec<String> = (1..=11).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let all = [
        faults(&["data/users.csv", "plan.jmx"]),
        faults(&["1", "2"]),
        faults(&many),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    load:9:12: worker.split[0].path: `data/user.csv` is not a file of the bundle; did you mean `data/users.csv`?
    load:9:12: worker.split[0].path: `data/user.csv` is not a file of the bundle; expected one of `1`, `2`
    load:9:12: worker.split[0].path: `data/user.csv` is not a file of the bundle; the bundle has 11 files
    ");
}
