//! Headless Chromium, controlled by the DevTools protocol over a pair of pipes: no port, and no client library.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// Set to `1` where a missing Chromium is an error, and not a reason to skip the tests.
const REQUIRED: &str = "ATQ_TEST_BROWSER";
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A browser with a profile of its own.
pub struct Chromium {
    _child: Child,
    _profile: TempDir,
    shared: Arc<Shared>,
}

/// A tab.
pub struct Page {
    shared: Arc<Shared>,
    session: String,
}

struct Shared {
    input: tokio::sync::Mutex<ChildStdin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    events: Vec<Value>,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a method and returns its result, or the text of its error.
    async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut state = self.state();
            state.last_id += 1;
            let id = state.last_id;
            state.waiting.insert(id, sender);
            id
        };
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.lock().await.write_all(&bytes).await.unwrap();
        let answer = timeout(TIMEOUT, answer).await;
        let answer = answer
            .unwrap_or_else(|_| panic!("no answer to {method} within {TIMEOUT:?}"))
            .unwrap_or_else(|_| panic!("chromium has ended before its answer to {method}"));
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].clone()),
        }
    }
}

/// Reads messages until Chromium ends. Then nobody waits any longer.
async fn read(output: ChildStdout, shared: Arc<Shared>) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while matches!(output.read_until(0, &mut bytes).await, Ok(1..)) {
        bytes.pop();
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        bytes.clear();
        let mut state = shared.state();
        match message["id"].as_u64() {
            Some(id) => {
                if let Some(sender) = state.waiting.remove(&id) {
                    let _ = sender.send(message);
                }
            }
            None => state.events.push(message),
        }
    }
    shared.state().waiting.clear();
}

impl Chromium {
    /// Starts Chromium. Each of the `names` resolves to 127.0.0.1, and no other name resolves. `None` if Chromium is not
    /// installed.
    pub async fn start(names: &[&str]) -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let found = Command::new("chromium")
            .arg("--version")
            .env("HOME", profile.path())
            .output()
            .await;
        if !found.is_ok_and(|output| output.status.success()) {
            let is_required = std::env::var(REQUIRED).is_ok_and(|value| value == "1");
            assert!(
                !is_required,
                "no `chromium`; install it: `deploy/setup.sh browser`, as root"
            );
            eprintln!("skipped: no `chromium` (install it: `deploy/setup.sh browser`, as root)");
            return None;
        }
        let mut rules: Vec<String> = names
            .iter()
            .map(|name| format!("MAP {name} 127.0.0.1"))
            .collect();
        rules.push("MAP * ~NOTFOUND".to_owned());
        rules.push("EXCLUDE 127.0.0.1".to_owned());
        // The protocol uses the descriptors 3 and 4, which only a shell can set without `unsafe`.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            // Chromium's sandbox does not run as root; only pages of these tests are loaded.
            .args(["chromium", "--headless", "--no-sandbox", "--disable-gpu"])
            .args([
                "--remote-debugging-pipe",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            // A check of newer browsers, which would hide from a test what the Director refuses by itself.
            .arg("--disable-features=LocalNetworkAccessChecks")
            .arg(format!("--host-resolver-rules={}", rules.join(" , ")))
            .arg(format!(
                "--user-data-dir={}",
                profile.path().join("profile").display()
            ))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let shared = Arc::new(Shared {
            input: tokio::sync::Mutex::new(child.stdin.take().unwrap()),
            state: Mutex::default(),
        });
        tokio::spawn(read(child.stdout.take().unwrap(), Arc::clone(&shared)));
        Some(Self {
            _child: child,
            _profile: profile,
            shared,
        })
    }

    /// Opens an empty tab.
    pub async fn page(&self) -> Page {
        let call = |method, params| self.shared.call(None, method, params);
        let target = call("Target.createTarget", json!({"url": "about:blank"}))
            .await
            .unwrap();
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = call("Target.attachToTarget", attach).await.unwrap();
        let page = Page {
            shared: Arc::clone(&self.shared),
            session: attached["sessionId"].as_str().unwrap().to_owned(),
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page
    }
}

impl Page {
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let result = self.shared.call(Some(&self.session), method, params).await;
        result.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn events(&self, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let state = self.shared.state();
        let own = state
            .events
            .iter()
            .filter(|event| event["sessionId"] == self.session.as_str());
        own.filter(|event| wanted(event["method"].as_str().unwrap()))
            .map(|event| event["params"].clone())
            .collect()
    }

    /// Opens an address and waits until everything is loaded.
    pub async fn open(&self, url: &str) {
        let loads = self.events(|method| method == "Page.loadEventFired").len();
        let opened = self.call("Page.navigate", json!({"url": url})).await;
        assert_eq!(opened.get("errorText"), None, "{url}");
        let deadline = Instant::now() + TIMEOUT;
        while self.events(|method| method == "Page.loadEventFired").len() == loads {
            assert!(Instant::now() < deadline, "`{url}` is not loaded");
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Evaluates an expression in the page; waits for a promise.
    pub async fn evaluate(&self, expression: &str) -> Value {
        let result = self.try_evaluate(expression).await;
        result.unwrap_or_else(|error| panic!("`{expression}`: {error}"))
    }

    async fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let call = self
            .shared
            .call(Some(&self.session), "Runtime.evaluate", params);
        let result = call.await?;
        match result.get("exceptionDetails") {
            Some(details) => Err(details.to_string()),
            None => Ok(result["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true, also across a change of the page.
    pub async fn until(&self, expression: &str) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let last = self.try_evaluate(expression).await;
            if last == Ok(Value::Bool(true)) {
                return;
            }
            if Instant::now() >= deadline {
                let page =
                    "location.href + ' ' + document.documentElement.outerHTML.slice(0, 2000)";
                let page = self.try_evaluate(page).await;
                panic!(
                    "never true: `{expression}` ({last:?}): {page:?} {:?}",
                    self.console()
                );
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Answers the next request for this address with a page, as a server would to which the name has resolved before.
    pub async fn open_as(&self, url: &str, html: &str) {
        let enable = json!({"patterns": [{"urlPattern": url}]});
        self.call("Fetch.enable", enable).await;
        let fulfill = async {
            let deadline = Instant::now() + TIMEOUT;
            let id = loop {
                let paused = self.events(|method| method == "Fetch.requestPaused");
                if let Some(event) = paused
                    .iter()
                    .rev()
                    .find(|event| event["request"]["url"] == url)
                {
                    break event["requestId"].clone();
                }
                assert!(Instant::now() < deadline, "`{url}` was not requested");
                sleep(POLL_INTERVAL).await;
            };
            let headers = json!([{"name": "content-type", "value": "text/html; charset=utf-8"}]);
            let answer = json!({
                "requestId": id, "responseCode": 200, "responseHeaders": headers, "body": base64(html.as_bytes()),
            });
            self.call("Fetch.fulfillRequest", answer).await;
        };
        tokio::join!(self.open(url), fulfill);
        self.call("Fetch.disable", json!({})).await;
    }

    /// All messages of the console: of scripts, of failed requests, and violations of a policy.
    pub fn console(&self) -> Vec<String> {
        let is_message = |method: &str| {
            [
                "Log.entryAdded",
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
            ]
            .contains(&method)
        };
        let texts = self.events(is_message).into_iter();
        texts
            .map(|event| match event["entry"]["text"].as_str() {
                Some(text) => text.to_owned(),
                None => event.to_string(),
            })
            .collect()
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
