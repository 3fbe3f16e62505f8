#![allow(clippy::unwrap_used)]

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

const IMAGE: &str = "r.example:5000/team/tool:1";
const REGISTRY: &str = "r.example:5000";

/// A `config.json` with this text.
fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn login(password: Password) -> RegistryAuth {
    let username = "robot".to_owned();
    [(REGISTRY.to_owned(), Login { username, password })].into()
}

fn text(password: &str) -> Password {
    Password::Text(Secret::new(password))
}

/// User and password of the credential that is found for an image.
async fn found(credentials: &Credentials, image: &str) -> Option<(String, String)> {
    match credentials.for_image(image).await.unwrap()?.secrets {
        Secrets::Password { username, password } => Some((username, password.0)),
        Secrets::IdentityToken(token) => Some(("<token>".to_owned(), token.0)),
    }
}

fn pair(user: &str, password: &str) -> Option<(String, String)> {
    Some((user.to_owned(), password.to_owned()))
}

/// The error for a `config.json` with this text.
async fn reason(text: &str) -> String {
    let (_dir, path) = file(text);
    let credentials = Credentials::new(RegistryAuth::new(), Some(path));
    credentials.for_image(IMAGE).await.unwrap_err().reason
}

#[tokio::test]
async fn the_configuration_takes_precedence_over_dockers_file() {
    // `other:old` and `hub:x`.
    let (_dir, path) = file(
        r#"{"auths": {"r.example:5000": {"auth": "b3RoZXI6b2xk"}, "https://index.docker.io/v1/": {"auth": "aHViOng="}}}"#,
    );
    let only_file = Credentials::new(RegistryAuth::new(), Some(path.clone()));
    assert_eq!(found(&only_file, IMAGE).await, pair("other", "old"));
    let both = Credentials::new(login(text("new")), Some(path.clone()));
    assert_eq!(found(&both, IMAGE).await, pair("robot", "new"));
    // Registries without a configured login still use the file.
    assert_eq!(found(&both, "tool").await, pair("hub", "x"));
    assert_eq!(found(&both, "docker.io/a/b:1").await, pair("hub", "x"));
    assert_eq!(found(&both, "elsewhere.example/x").await, None);
    let hub = both.for_image("tool").await.unwrap().unwrap();
    assert_eq!(hub.server, HUB_SERVER);
    assert_eq!(hub.source, Source::DockerConfig(path));
}

#[tokio::test]
async fn every_form_of_an_entry_is_read() {
    for (entry, expected) in [
        (r#"{"auth": "dTpwOnE="}"#, pair("u", "p:q")),
        (r#"{"username": "u", "password": "p"}"#, pair("u", "p")),
        (r#"{"identitytoken": "t"}"#, pair("<token>", "t")),
        (r#"{}"#, None),
    ] {
        for key in [
            REGISTRY,
            "https://r.example:5000",
            "http://r.example:5000/v2/",
        ] {
            let (_dir, path) = file(&format!(r#"{{"auths": {{"{key}": {entry}}}}}"#));
            let credentials = Credentials::new(RegistryAuth::new(), Some(path));
            assert_eq!(found(&credentials, IMAGE).await, expected, "{key} {entry}");
        }
    }
}

#[tokio::test]
async fn files_are_read_at_each_use() {
    let (_dir, path) = file("{}");
    let credentials = Credentials::new(RegistryAuth::new(), Some(path.clone()));
    assert_eq!(found(&credentials, IMAGE).await, None);
    std::fs::write(&path, r#"{"auths": {"r.example:5000": {"auth": "dTpw"}}}"#).unwrap();
    assert_eq!(found(&credentials, IMAGE).await, pair("u", "p"));

    std::fs::write(&path, "secret\r\n").unwrap();
    let credentials = Credentials::new(login(Password::File(path.clone())), None);
    assert_eq!(found(&credentials, IMAGE).await, pair("robot", "secret"));
    std::fs::write(&path, "rotated").unwrap();
    assert_eq!(found(&credentials, IMAGE).await, pair("robot", "rotated"));
    std::fs::remove_file(&path).unwrap();
    let error = credentials.for_image(IMAGE).await.unwrap_err().to_string();
    assert!(
        error.contains("config.json` cannot be used: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn only_a_configured_file_must_exist() {
    let missing = PathBuf::from("/nonexistent/config.json");
    let mut credentials = Credentials::new(RegistryAuth::new(), Some(missing));
    let error = credentials.for_image(IMAGE).await.unwrap_err().to_string();
    assert!(
        error.contains("`/nonexistent/config.json` cannot be used"),
        "{error}"
    );
    credentials.file.as_mut().unwrap().required = false;
    assert_eq!(found(&credentials, IMAGE).await, None);
    assert_eq!(found(&Credentials::none(), IMAGE).await, None);
}

#[tokio::test]
async fn errors_do_not_contain_the_content_of_the_file() {
    for (text, expected) in [
        (
            r#"{"auths": {"hunter2": }"#,
            "it is not JSON: expected value at line 1 column 23",
        ),
        (
            r#"{"auths": "hunter2"}"#,
            "it is not in the format of `docker login`",
        ),
        (
            r#"{"auths": {"r.example:5000": {"auth": "hunter2!"}}}"#,
            "the registry's `auth` is not `user:password` in base64",
        ),
        (
            r#"{"credsStore": "hunter2"}"#,
            "cannot run the credential helper that it names: is `docker-credential-*` on the PATH?",
        ),
    ] {
        assert_eq!(reason(text).await, expected);
    }
}

#[test]
fn a_secret_is_never_printed() {
    let credentials = Credentials::new(login(text("hunter2")), None);
    let printed = format!("{credentials:?} {:?}", Secret::new("hunter2"));
    assert!(
        printed.contains("robot") && !printed.contains("hunter2"),
        "{printed}"
    );
}

/// Runs [`with_helpers_on_the_path`] in a process with helper programs on its PATH.
#[test]
fn helper_programs_are_run() {
    let dir = tempfile::tempdir().unwrap();
    for (name, script) in [
        (
            "good",
            r#"echo "{\"Username\": \"of $registry\", \"Secret\": \"p\"}""#,
        ),
        ("token", r#"echo '{"Username": "<token>", "Secret": "t"}'"#),
        (
            "without",
            "echo 'credentials not found in native keychain'; exit 1",
        ),
        ("bad", "echo 'the keychain is locked'; exit 1"),
        ("chatty", r#"echo '{"Secret": "hunter2"}'; exit 1"#),
        ("slow", "exec sleep 3"),
    ] {
        let path = dir.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\nregistry=$(cat)\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!(
        "{}:{}",
        dir.path().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "registry::tests::with_helpers_on_the_path",
        ])
        .env("PATH", path)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}"
    );
}

#[tokio::test]
#[ignore = "needs the PATH of `helper_programs_are_run`"]
async fn with_helpers_on_the_path() {
    let with = |store: &str| {
        let (dir, path) = file(&format!(
            r#"{{"auths": {{"r.example:5000": {{}}}}, "credHelpers": {{"r.example:5000": "{store}"}}, "credsStore": "{store}"}}"#
        ));
        (dir, Credentials::new(RegistryAuth::new(), Some(path)))
    };
    for (store, expected) in [
        ("good", pair("of r.example:5000", "p")),
        ("token", pair("<token>", "t")),
        ("without", None),
    ] {
        let (_dir, credentials) = with(store);
        assert_eq!(found(&credentials, IMAGE).await, expected, "{store}");
    }
    let (_dir, hub) = with("good");
    assert_eq!(
        found(&hub, "tool").await,
        pair("of https://index.docker.io/v1/", "p")
    );
    for (store, expected) in [
        (
            "bad",
            "the credential helper `docker-credential-bad` failed: the keychain is locked",
        ),
        (
            "chatty",
            "the credential helper `docker-credential-chatty` failed",
        ),
    ] {
        let (_dir, credentials) = with(store);
        assert_eq!(
            credentials.for_image(IMAGE).await.unwrap_err().reason,
            expected
        );
    }
    let (_dir, mut slow) = with("slow");
    slow.timeout = Duration::from_millis(100);
    // The second call waits for the lock, but not longer than the timeout.
    for _ in 0..2 {
        let error = slow.for_image(IMAGE).await.unwrap_err();
        assert!(error.reason.contains("within 0 s"), "{error}");
    }
}
