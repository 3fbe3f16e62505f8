//! Tokens, contexts and sockets: the compiled program against a fake Director.
#![allow(clippy::unwrap_used)]

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

const SECRET: &str = "S3cretS3cretS3cretS3cretS3cretS3cretS3cretA";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJoJnVudGVyMiJ9.c2lnbmF0dXJl";

/// A token that the fake Director accepts.
fn token() -> String {
    format!("atq_01020304ff_{SECRET}")
}

/// A token that it does not accept.
fn other_token() -> String {
    format!("atq_0102030400_{SECRET}")
}

/// A token that has expired.
fn ended_token() -> String {
    format!("atq_0102030401_{SECRET}")
}

#[derive(Clone, Debug)]
struct Sent {
    what: String,
    authorization: Option<String>,
    body: Value,
}

type Requests = Arc<Mutex<Vec<Sent>>>;

async fn answer(
    State(requests): State<Requests>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let what = format!("{method} {uri}");
    let authorization = headers.get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    requests.lock().unwrap().push(Sent {
        what: what.clone(),
        authorization: authorization.clone(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let created = |expires: &str| json!({"id": "01020304ff", "token": token(), "name": "ci", "role": "runner", "expires": expires});
    if what == "POST /api/token/exchange" {
        return Json(created("2026-03-04T13:00:00Z")).into_response();
    }
    if authorization == Some(format!("Bearer {}", ended_token())) && method == Method::DELETE {
        let body =
            json!({"error": "the token has expired\n(see the list)", "code": "unauthenticated"});
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    if authorization != Some(format!("Bearer {}", token())) {
        let body = json!({"error": "a valid token is required", "code": "unauthenticated"});
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    match what.as_str() {
        "GET /api/token" => Json(json!({"tokens": [{
            "id": "01020304ff", "name": "ci", "role": "runner", "created": "2026-03-04T12:00:00Z",
        }]}))
        .into_response(),
        "POST /api/token" => Json(created("2099-03-04T12:00:00Z")).into_response(),
        "DELETE /api/token/01020304ff" => StatusCode::NO_CONTENT.into_response(),
        "GET /api/task?limit=20" => Json(json!({"tasks": []})).into_response(),
        _ => {
            let body = json!({"error": "the role `admin` is required", "code": "forbidden"});
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
    }
}

/// A fake Director, and a user's home directory.
struct World {
    url: String,
    requests: Requests,
    home: tempfile::TempDir,
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

async fn world() -> World {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let routes = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&requests));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    World {
        url,
        requests,
        home: tempfile::tempdir().unwrap(),
    }
}

impl World {
    fn contexts(&self) -> PathBuf {
        self.home.path().join("atq/contexts.json")
    }

    fn command(&self, program: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        for name in [
            "ATQ_URL",
            "ATQ_TOKEN",
            "ATQ_TOKEN_FILE",
            "ATQ_CONTEXT",
            "ATQ_CA",
            "ATQ_JWT",
        ] {
            command.env_remove(name);
        }
        command
            .env_remove("ATQ_CLI_CONFIG")
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str], variables: &[(&str, &str)], input: &str) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_atq"));
        command.args(args).envs(variables.iter().copied());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read its input may have ended.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs the program without variables and input; its output must not contain the secret.
    async fn atq(&self, args: &[&str]) -> Ended {
        let ended = self.run(args, &[], "").await;
        assert!(
            !format!("{}{}", ended.out, ended.err).contains(SECRET),
            "{args:?}"
        );
        ended
    }

    async fn log_in(&self) -> Ended {
        let ended = self
            .run(&["login", &self.url], &[], &format!("{}\n", token()))
            .await;
        assert!(!format!("{}{}", ended.out, ended.err).contains(SECRET));
        ended.ok()
    }

    fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

#[tokio::test]
async fn a_login_stores_the_token_for_later_commands() {
    let world = world().await;
    let ended = world.log_in().await;
    assert!(
        ended.out.contains("as `ci` (role runner, expires: never)"),
        "{}",
        ended.out
    );
    let mode = world.contexts().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world.atq(&["ps"]).await.ok();
    let sent = world.sent();
    assert_eq!(sent[0].what, "GET /api/token");
    assert_eq!(sent[1].authorization, Some(format!("Bearer {}", token())));
    // By its URL, the context is found without being the current one.
    world.atq(&["ps", "--url", &world.url]).await.ok();
    let elsewhere = world.atq(&["ps", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(elsewhere.code, 9);
}

#[tokio::test]
async fn a_token_that_the_director_does_not_accept_is_not_stored() {
    let world = world().await;
    let ended = world
        .run(&["login", &world.url, "--json"], &[], &other_token())
        .await;
    assert_eq!(ended.code, 10, "{}", ended.err);
    assert_eq!(ended.json()["exit"], "accessDenied");
    assert!(
        ended.json()["hint"]
            .as_str()
            .unwrap()
            .contains("`0102030400`")
    );
    assert!(!world.contexts().exists());
}

#[tokio::test]
async fn a_malformed_token_is_a_usage_error_before_any_request() {
    let world = world().await;
    let url = world.url.as_str();
    let cut = token().trim_end_matches('A').to_owned();
    for text in ["hunter2", cut.as_str()] {
        let variable = world
            .run(&["ps", "--url", url], &[("ATQ_TOKEN", text)], "")
            .await;
        let piped = world.run(&["login", url], &[], text).await;
        for ended in [variable, piped] {
            assert_eq!(ended.code, 2, "{}", ended.err);
            assert!(!ended.err.contains(text), "{}", ended.err);
        }
    }
    let empty = world.run(&["login", url], &[], "").await;
    assert!(
        empty.code == 2 && empty.err.contains("standard input is empty"),
        "{}",
        empty.err
    );
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn no_output_has_the_token_of_the_environment() {
    let world = world().await;
    let token = token();
    let jwt = ("ATQ_JWT", JWT);
    for args in [
        &["--help"][..],
        &["login", "--help"],
        &["version", "--json"],
        &["completions", "bash"],
        &["ps", "--json"],
        &["swarm", "--json"],
        &["ps", "--nonsense"],
    ] {
        let variables = [
            ("ATQ_TOKEN", token.as_str()),
            ("ATQ_URL", world.url.as_str()),
            jwt,
        ];
        let ended = world.run(args, &variables, "").await;
        let text = format!("{}{}", ended.out, ended.err);
        assert!(
            !text.contains(SECRET) && !text.contains(JWT),
            "{args:?}: {text}"
        );
    }
}

#[tokio::test]
async fn denied_access_is_exit_code_10_with_the_next_step() {
    let world = world().await;
    let without = world.atq(&["ps", "--url", &world.url]).await;
    assert_eq!(without.code, 10);
    assert!(
        without.err.contains(&format!("atq login {}", world.url)),
        "{}",
        without.err
    );
    world.log_in().await;
    let forbidden = world.atq(&["show", "load"]).await;
    assert_eq!(forbidden.code, 10);
    assert!(
        forbidden.err.contains("the role `admin` is required"),
        "{}",
        forbidden.err
    );
    assert!(
        forbidden.err.contains("ask an administrator"),
        "{}",
        forbidden.err
    );
}

#[tokio::test]
async fn a_token_is_sent_over_a_network_without_encryption_only_with_a_warning() {
    let world = world().await;
    let token = token();
    // The proxy is closed, so the request fails at once.
    let variables = [
        ("ATQ_TOKEN", token.as_str()),
        ("http_proxy", "http://127.0.0.1:1"),
    ];
    let far = world
        .run(&["ps", "--url", "http://192.0.2.1:9"], &variables, "")
        .await;
    assert_eq!(
        far.err.matches("without encryption").count(),
        1,
        "{}",
        far.err
    );
    let near = world
        .run(&["ps", "--url", &world.url], &variables, "")
        .await
        .ok();
    assert!(!near.err.contains("warning"), "{}", near.err);
}

#[tokio::test]
async fn a_logout_removes_the_token_and_revokes_it_on_request() {
    let world = world().await;
    world.log_in().await;
    let ended = world.atq(&["logout", "--revoke", "--json"]).await.ok();
    assert_eq!(ended.json()["revoked"], true);
    assert_eq!(
        world.sent().last().unwrap().what,
        "DELETE /api/token/01020304ff"
    );
    assert!(
        !std::fs::read_to_string(world.contexts())
            .unwrap()
            .contains(SECRET)
    );
    assert_eq!(world.atq(&["ps"]).await.code, 10);
    world.log_in().await;
    world.sent();
    let ended = world.atq(&["logout"]).await.ok();
    assert!(ended.out.contains("until it expires"), "{}", ended.out);
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn a_logout_removes_an_expired_token_and_keeps_one_that_is_refused_for_another_reason() {
    let world = world().await;
    for (stored, code) in [(ended_token(), 0), (other_token(), 10)] {
        world.log_in().await;
        let text = std::fs::read_to_string(world.contexts()).unwrap();
        std::fs::write(world.contexts(), text.replace(&token(), &stored)).unwrap();
        let ended = world.atq(&["logout", "--revoke"]).await;
        assert_eq!(ended.code, code, "{}{}", ended.out, ended.err);
        let text = std::fs::read_to_string(world.contexts()).unwrap();
        assert_eq!(text.contains(SECRET), code != 0, "{text}");
    }
}

#[tokio::test]
async fn contexts_are_listed_selected_and_removed() {
    let world = world().await;
    let (url, token) = (world.url.as_str(), token());
    for name in ["a", "b"] {
        world
            .run(&["login", url, "--context", name], &[], &token)
            .await
            .ok();
    }
    let listed = world.atq(&["context", "list", "--json"]).await.ok().json();
    assert_eq!(listed["current"], "b");
    assert_eq!(
        listed["contexts"][0],
        json!({"name": "a", "url": url, "tokenId": "01020304ff", "ca": null})
    );
    world.atq(&["context", "use", "a"]).await.ok();
    let listed = world.atq(&["context", "ls"]).await.ok();
    assert!(listed.out.contains("\n*  a "), "{}", listed.out);
    assert_eq!(world.atq(&["context", "use", "c"]).await.code, 2);
    world.atq(&["ps", "--context", "b"]).await.ok();
    world.atq(&["context", "rm", "a", "b"]).await.ok();
    assert_eq!(world.atq(&["ps", "--context", "b"]).await.code, 2);
    let bad = world
        .run(&["login", url, "--context", "a b"], &[], &token)
        .await;
    assert_eq!(bad.code, 2, "{}", bad.err);
}

#[tokio::test]
async fn tokens_that_other_users_can_read_cause_a_warning() {
    let world = world().await;
    world.log_in().await;
    assert!(!world.atq(&["ps"]).await.ok().err.contains("warning"));
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(world.contexts(), open).unwrap();
    let ended = world.atq(&["ps"]).await.ok();
    assert!(ended.err.contains("run `chmod 600 "), "{}", ended.err);
}

#[tokio::test]
async fn a_new_token_is_the_only_line_of_the_output() {
    let world = world().await;
    world.log_in().await;
    world.sent();
    let create = ["token", "create", "--name", "jenkins", "--role", "runner"];
    let ended = world.run(&create, &[], "").await.ok();
    assert_eq!(ended.out, format!("{}\n", token()));
    assert!(
        ended.err.contains("cannot be shown again") && !ended.err.contains(SECRET),
        "{}",
        ended.err
    );
    let never = [&create[..], &["--expires", "never", "--json"]].concat();
    let ended = world.run(&never, &[], "").await.ok();
    assert_eq!(ended.json()["token"], token());
    let bodies: Vec<Value> = world.sent().into_iter().map(|sent| sent.body).collect();
    let expected =
        |seconds: u64| json!({"name": "jenkins", "role": "runner", "expiresIn": seconds});
    assert_eq!(bodies, [expected(7_776_000), expected(0)]);
    let unknown = world
        .atq(&["token", "create", "--name", "x", "--role", "root"])
        .await;
    assert_eq!(unknown.code, 2);
}

#[tokio::test]
async fn tokens_are_listed_and_revoked_by_id() {
    let world = world().await;
    world.log_in().await;
    let listed = world.atq(&["token", "list"]).await.ok();
    assert!(
        listed.out.contains("01020304ff  ci    runner"),
        "{}",
        listed.out
    );
    let listed = world.atq(&["token", "list", "--json"]).await.ok();
    assert_eq!(listed.json()["tokens"][0]["name"], "ci");
    let ended = world
        .atq(&["token", "revoke", "01020304ff", "--json"])
        .await
        .ok();
    assert_eq!(ended.json(), json!({"id": "01020304ff", "revoked": true}));
    world.sent();
    // A whole token would be visible in the list of processes.
    let whole = world.atq(&["token", "revoke", &token()]).await;
    assert!(
        whole.code == 2 && whole.err.contains("atq token revoke 01020304ff"),
        "{}",
        whole.err
    );
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn a_jwt_is_exchanged_for_a_token_without_sending_another_one() {
    let world = world().await;
    let url = ("ATQ_URL", world.url.as_str());
    let old = other_token();
    let old = ("ATQ_TOKEN", old.as_str());
    let exchange = ["token", "exchange"];
    let variable = world
        .run(&exchange, &[url, old, ("ATQ_JWT", JWT)], "")
        .await
        .ok();
    let piped = world.run(&exchange, &[url, old], JWT).await.ok();
    let path = world.home.path().join("jwt");
    std::fs::write(&path, JWT).unwrap();
    let file = ["token", "exchange", "--jwt-file", path.to_str().unwrap()];
    let file = world.run(&file, &[url], "").await.ok();
    for ended in [variable, piped, file] {
        assert_eq!(ended.out, format!("{}\n", token()));
        assert!(
            !ended.err.contains(SECRET) && !ended.err.contains(JWT),
            "{}",
            ended.err
        );
    }
    for sent in world.sent() {
        assert_eq!((sent.authorization, sent.body), (None, json!({"jwt": JWT})));
    }
    let malformed = world
        .run(&exchange, &[url, ("ATQ_JWT", "hunter2")], "")
        .await;
    assert!(
        malformed.code == 2 && !malformed.err.contains("hunter2"),
        "{}",
        malformed.err
    );
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn a_login_with_a_jwt_stores_the_exchanged_token() {
    let world = world().await;
    world
        .run(&["login", &world.url], &[("ATQ_JWT", JWT)], "")
        .await
        .ok();
    world.atq(&["ps"]).await.ok();
    let what: Vec<String> = world.sent().into_iter().map(|sent| sent.what).collect();
    assert_eq!(
        what,
        [
            "POST /api/token/exchange",
            "GET /api/token",
            "GET /api/task?limit=20"
        ]
    );
}

#[tokio::test]
async fn commands_and_logins_work_through_a_unix_socket() {
    let world = world().await;
    let path = world.home.path().join("atq.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let routes = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&world.requests));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let url = format!("unix://{}", path.display());
    world.run(&["login", &url], &[], &token()).await.ok();
    let listed = world.atq(&["context", "list", "--json"]).await.ok().json();
    assert_eq!(
        (&listed["current"], &listed["contexts"][0]["url"]),
        (&json!("local"), &json!(url))
    );
    // A proxy is not used.
    let proxy = [
        ("http_proxy", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ];
    world.run(&["ps"], &proxy, "").await.ok();
}

#[tokio::test]
async fn the_prompt_on_a_terminal_does_not_show_the_token() {
    let world = world().await;
    // `script` runs the program on a terminal of its own.
    let atq = env!("CARGO_BIN_EXE_atq");
    let mut command = world.command("script");
    command.args(["-qec", &format!("{atq} login {}", world.url), "/dev/null"]);
    let Ok(mut child) = command.spawn() else {
        return; // Not installed.
    };
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let typing = async {
        // Typed after the prompt, when the terminal hides its input.
        tokio::io::AsyncBufReadExt::read_until(&mut stdout, b':', &mut shown)
            .await
            .unwrap();
        tokio::io::AsyncBufReadExt::read_until(&mut stdout, b' ', &mut shown)
            .await
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        stdin
            .write_all(format!("{}\n", token()).as_bytes())
            .await
            .unwrap();
        tokio::io::AsyncReadExt::read_to_end(&mut stdout, &mut shown)
            .await
            .unwrap();
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), typing)
        .await
        .unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(
        shown.contains("Token for ") && shown.contains("logged in at"),
        "{shown}"
    );
    assert!(!shown.contains(SECRET), "{shown}");
}
