//! The scripts of the GitLab template, run by `sh` with a fake `atq`: how the job gets its token, and that no log shows it.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const TEMPLATE: &str = include_str!("../../deploy/gitlab/atq-load-test.yml");
const SECRET: &str = "S3cretS3cretS3cretS3cretS3cretS3cretS3cretA";
const JWT: &str = "aa.bb.cc";

/// Records its command and its token; exchanges the JWT for a token.
const FAKE: &str = r#"#!/bin/sh
echo "$1 ${ATQ_TOKEN-none} ${ATQ_URL-none}" >>"$RECORD"
if [ "$1 $2" = "token exchange" ]; then
  [ -z "${REFUSE-}" ] || { echo "error: the JWT is not accepted" >&2; exit 10; }
  echo "atq_01020304ff_$EXCHANGED"
fi
"#;

/// The block scalar that follows this key.
fn block(key: &str) -> String {
    let (_, rest) = TEMPLATE
        .split_once(&format!("\n  {key}:\n    - |\n"))
        .unwrap();
    let lines = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("      "));
    lines
        .map(|line| format!("{}\n", line.trim_start_matches("      ")))
        .collect()
}

/// Runs the script; returns its exit code, its log with a trace, and the calls of `atq`.
fn run(script: &str, home: &Path, variables: &[(&str, &str)]) -> (i32, String, Vec<String>) {
    let program = home.join("atq");
    std::fs::write(&program, FAKE).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let record = home.join("record");
    let _ = std::fs::remove_file(&record);
    let output = Command::new("sh")
        .args(["-exc", script])
        .env_clear()
        .envs([
            ("PATH", std::env::var("PATH").unwrap().as_str()),
            ("RECORD", record.to_str().unwrap()),
            ("EXCHANGED", SECRET),
            ("ATQ_JOB_PROGRAM", program.to_str().unwrap()),
            ("ATQ_JOB_TASK", "load.yaml"),
            ("ATQ_JOB_BUNDLE", ""),
            ("ATQ_JOB_NAME", ""),
            ("ATQ_JOB_URL", "https://director.example.com"),
            ("ATQ_JOB_TIMEOUT", "50m"),
            ("ATQ_JOB_RESULTS", "out"),
            ("ATQ_JOB_LISTS", "--set []\n--env []\n--criterion []"),
            ("CI_PROJECT_NAME", "shop"),
            ("CI_PROJECT_DIR", home.to_str().unwrap()),
            ("CI_JOB_ID", "17"),
            ("CI_SERVER_HOST", "gitlab.example.com"),
        ])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let log = [output.stdout, output.stderr].concat();
    let calls = std::fs::read_to_string(&record).unwrap_or_default();
    let calls = calls.lines().map(str::to_owned).collect();
    let log = String::from_utf8_lossy(&log).into_owned();
    (output.status.code().unwrap(), log, calls)
}

#[test]
fn a_job_uses_the_token_of_its_variable() {
    let home = tempfile::tempdir().unwrap();
    let token = format!("atq_0102030400_{SECRET}");
    let variables = [("ATQ_TOKEN", token.as_str()), ("ATQ_JWT", JWT)];
    let (code, log, calls) = run(&block("script"), home.path(), &variables);
    assert_eq!(code, 0, "{log}");
    assert_eq!(calls, [format!("run {token} https://director.example.com")]);
    assert!(!log.contains(SECRET) && !log.contains(JWT), "{log}");
}

#[test]
fn a_job_with_a_jwt_exchanges_it_and_shows_neither_jwt_nor_token() {
    let home = tempfile::tempdir().unwrap();
    let (code, log, calls) = run(&block("script"), home.path(), &[("ATQ_JWT", JWT)]);
    assert_eq!(code, 0, "{log}");
    let url = "https://director.example.com";
    assert_eq!(
        calls,
        [
            format!("token none {url}"),
            format!("run atq_01020304ff_{SECRET} {url}")
        ]
    );
    assert!(!log.contains(SECRET) && !log.contains(JWT), "{log}");
}

#[test]
fn a_job_whose_jwt_is_not_accepted_fails_without_a_test() {
    let home = tempfile::tempdir().unwrap();
    let variables = [("ATQ_JWT", JWT), ("REFUSE", "1")];
    let (code, log, calls) = run(&block("script"), home.path(), &variables);
    assert_eq!(code, 10, "{log}");
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[test]
fn a_job_without_token_runs_as_before() {
    let home = tempfile::tempdir().unwrap();
    let (code, log, calls) = run(&block("script"), home.path(), &[]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(calls, ["run none https://director.example.com"]);
}

#[test]
fn the_test_of_a_killed_job_is_stopped_with_a_token() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".atq-task-17"), "shop-17").unwrap();
    let (code, log, calls) = run(&block("after_script"), home.path(), &[("ATQ_JWT", JWT)]);
    assert_eq!(code, 0, "{log}");
    let stop = format!("stop atq_01020304ff_{SECRET} https://director.example.com");
    assert_eq!(calls.last(), Some(&stop));
    assert!(!log.contains(SECRET), "{log}");
}
