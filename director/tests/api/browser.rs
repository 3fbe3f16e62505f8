//! The pages of the Director in a real browser: they work under their policies, and pages of other sites can neither
//! read nor change anything. Skipped without Chromium.

mod chromium;

use crate::fixture::{Director, payload};
use crate::reports;
use atq_access::Role;
use atq_director::api::{Access, App, Slots, StoreCheck, router};
use atq_director::config::Config;
use axum::Router;
use axum::http::StatusCode;
use axum::response::Html;
use chromium::{Chromium, Page};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Serves on a free port of 127.0.0.1.
async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

/// Tries to run markup that is not part of the page, as a fault in its escaping would.
const INJECT: &str = "(async () => {
    const script = document.createElement('script');
    script.textContent = 'window.injected = 1';
    document.body.append(script);
    const box = document.createElement('div');
    box.innerHTML = '<b onclick=\"window.injected = 2\" style=\"width: 123px; display: block\">x</b>';
    document.body.append(box);
    box.firstChild.click();
    await new Promise((resolve) => setTimeout(resolve, 50));
    return [window.injected ?? null, box.firstChild.offsetWidth === 123];
})()";

/// The script of a report has run, nothing was blocked, and other scripts and styles are.
async fn check_report(page: &Page) {
    page.until("document.querySelectorAll('th button').length > 1")
        .await;
    let is_styled = "getComputedStyle(document.querySelector('.badge')).fontWeight === '700'";
    assert_eq!(page.evaluate(is_styled).await, true);
    assert_eq!(page.console(), [""; 0]);
    assert_eq!(page.evaluate(INJECT).await, json!([null, false]));
    // The policies of the page and of the header report a violation each.
    let blocked: BTreeSet<String> = page.console().into_iter().collect();
    assert_eq!(blocked.len(), 3, "{blocked:#?}");
    for message in &blocked {
        assert!(message.contains("Content Security Policy"), "{message}");
    }
}

#[tokio::test]
async fn a_report_works_under_its_policy_from_the_director_and_from_the_disk() {
    let Some(chromium) = Chromium::start(&[]).await else {
        return;
    };
    let director = reports::with_results(&[100, 200, 300]).await;
    reports::run(&director, "shown", json!(["errors = 0"])).await;
    let port = serve(director.router.clone()).await;
    let page = chromium.page().await;
    page.open(&format!("http://127.0.0.1:{port}/task/shown/report"))
        .await;
    check_report(&page).await;

    let saved = director.dir.path().join("saved.html");
    let report = director.get("/task/shown/report?format=html").await;
    std::fs::write(&saved, &report.body).unwrap();
    let page = chromium.page().await;
    page.open(&format!("file://{}", saved.display())).await;
    check_report(&page).await;
}

/// Executes an operation of Swagger UI with the parameters of its examples.
async fn execute(page: &Page, operation: &str) {
    for (selector, next) in [
        (".opblock-summary-control", ".try-out__btn"),
        (".try-out__btn", ".execute"),
        (".execute", ".live-responses-table .response-col_status"),
    ] {
        let click = format!("{operation}.querySelector('{selector}').click()");
        page.evaluate(&click).await;
        page.until(&format!("{operation}.querySelector('{next}') !== null"))
            .await;
    }
}

#[tokio::test]
async fn swagger_ui_works_under_its_policy() {
    let Some(chromium) = Chromium::start(&[]).await else {
        return;
    };
    let director = Director::new().await;
    let port = serve(director.router.clone()).await;
    let page = chromium.page().await;
    page.open(&format!("http://127.0.0.1:{port}/swagger-ui/"))
        .await;
    let operation = "document.querySelector('#operations-health-getReadiness')";
    page.until(&format!("{operation} !== null")).await;
    execute(&page, operation).await;
    let answer = format!("{operation}.querySelector('.live-responses-table').innerText");
    page.until(&format!("{answer}.includes('\"ready\": true')"))
        .await;
    assert_eq!(page.console(), [""; 0]);
    let injected = page.evaluate(INJECT).await;
    assert_eq!(injected[0], Value::Null);
}

/// The page of another site. Its functions return what it could read.
fn hostile(port: u16) -> String {
    let director = format!("http://127.0.0.1:{port}");
    let definition = payload("foreign");
    format!(
        "<!doctype html><title>hostile</title><iframe name=sink></iframe><script>
        const director = '{director}';
        const read = async (path, options) => {{
            try {{
                const answer = await fetch(director + path, options);
                return answer.type === 'opaque' ? 'opaque' : answer.status + ' ' + await answer.text();
            }} catch (error) {{
                return error.name;
            }}
        }};
        const load = (name, path) => new Promise((resolve) => {{
            const element = document.createElement(name);
            element.onload = () => resolve('loaded');
            element.onerror = () => resolve('blocked');
            element.src = director + path;
            document.body.append(element);
        }});
        const submit = (path, kind, fields) => new Promise((resolve) => {{
            const form = document.createElement('form');
            form.method = 'POST';
            form.action = director + path;
            form.enctype = kind;
            form.target = 'sink';
            for (const [name, value] of fields) {{
                const input = document.createElement('input');
                [input.name, input.value] = [name, value];
                form.append(input);
            }}
            document.querySelector('iframe').onload = () => resolve('sent');
            document.body.append(form);
            form.submit();
        }});
        const definition = JSON.stringify({definition});
        </script>"
    )
}

/// What is visible to a page: the results of requests of all kinds.
const READS: &str = "(async () => [
    await read('/task'),
    await read('/swarm'),
    await read('/task/shown/report', {credentials: 'include'}),
    await read('/task', {mode: 'no-cors', credentials: 'include'}),
    await load('script', '/task'),
    await load('img', '/swagger-ui/favicon-32x32.png'),
])()";

/// Changes by requests of all kinds.
const CHANGES: &str = "(async () => [
    await read('/task', {method: 'PUT', body: definition, headers: {'content-type': 'application/json'}}),
    await read('/task', {method: 'PUT', body: definition, mode: 'no-cors'}),
    await read('/task/victim/stop', {method: 'POST', mode: 'no-cors', credentials: 'include'}),
    await read('/task/victim', {method: 'DELETE'}),
    await submit('/task/victim/stop', 'text/plain', [['x', 'y']]),
    await submit('/databind/upload', 'multipart/form-data', [['file', 'PK']]),
])()";

#[tokio::test]
async fn a_page_of_another_site_reads_and_changes_nothing() {
    let Some(chromium) = Chromium::start(&["evil.example"]).await else {
        return;
    };
    let director = reports::with_results(&[100]).await;
    reports::run(&director, "shown", json!([])).await;
    let mut victim = payload("victim");
    victim["delay"] = json!(3600);
    assert_eq!(director.put(&victim).await.status, StatusCode::OK);
    let port = serve(director.router.clone()).await;
    let html = hostile(port);
    let evil = Router::new().fallback(move || async move { Html(html) });
    let evil = serve(evil).await;
    let page = chromium.page().await;
    page.open(&format!("http://evil.example:{evil}/")).await;

    let reads = page.evaluate(READS).await;
    let expected = [
        "TypeError",
        "TypeError",
        "TypeError",
        "TypeError",
        "blocked",
        "blocked",
    ];
    assert_eq!(reads, json!(expected));
    let changes = page.evaluate(CHANGES).await;
    let expected = [
        "TypeError",
        "TypeError",
        "TypeError",
        "TypeError",
        "sent",
        "sent",
    ];
    assert_eq!(changes, json!(expected));

    // The report is not shown in a frame, and a window with it is out of reach.
    let frame = format!(
        "new Promise((resolve) => {{
            const frame = document.querySelector('iframe');
            frame.onload = () => resolve(frame.contentWindow.length);
            frame.src = 'http://127.0.0.1:{port}/task/shown/report';
        }})"
    );
    page.evaluate(&frame).await;
    let console = page.console().join("\n");
    assert!(console.contains("frame-ancestors 'none'"), "{console}");
    let opened = format!(
        "(async () => {{
            const opened = window.open('http://127.0.0.1:{port}/task/shown/report');
            for (let n = 0; n < 100 && !opened.closed; n++) await new Promise((r) => setTimeout(r, 50));
            return opened.closed;
        }})()"
    );
    assert_eq!(page.evaluate(&opened).await, true, "the window is in reach");
    unchanged(&director).await;

    // The same code in a page of the Director's own origin does all of it.
    let own = format!("http://127.0.0.1:{port}/own");
    page.open_as(&own, &hostile(port)).await;
    let reads = page.evaluate(READS).await;
    assert!(reads[0].as_str().unwrap().starts_with("200 "), "{reads}");
    let changes = page.evaluate(CHANGES).await;
    assert!(
        changes[0].as_str().unwrap().starts_with("200 "),
        "{changes}"
    );
    assert!(director.get("/task/foreign").await.status == StatusCode::OK);
    assert_eq!(
        director.get("/task/victim").await.status,
        StatusCode::NOT_FOUND
    );
}

async fn unchanged(director: &Director) {
    let victim = director.get("/task/victim").await.json();
    assert_eq!(victim["status"], "initializing", "{victim}");
    assert_eq!(victim.get("stoppedBy"), None, "{victim}");
    let foreign = director.get("/task/foreign").await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{}", foreign.text());
    let bundles = director.get("/databind/list").await;
    assert_eq!(bundles.status, StatusCode::NO_CONTENT, "{}", bundles.text());
}

/// DNS rebinding: the name of a hostile page resolves to the Director after the page was loaded, so that both have the
/// same origin for the browser.
#[tokio::test]
async fn a_page_whose_name_resolves_to_the_director_reads_and_changes_nothing() {
    let Some(chromium) = Chromium::start(&["evil.example"]).await else {
        return;
    };
    let director = Director::new().await;
    let mut victim = payload("victim");
    victim["delay"] = json!(3600);
    assert_eq!(director.put(&victim).await.status, StatusCode::OK);
    let port = serve(director.router.clone()).await;
    let page = chromium.page().await;
    let html = hostile(port).replace("http://127.0.0.1:", "http://evil.example:");
    page.open_as(&format!("http://evil.example:{port}/"), &html)
        .await;

    // The page can read these answers, so they must be refusals.
    let reads = page.evaluate(READS).await;
    for read in &reads.as_array().unwrap()[..3] {
        assert!(read.as_str().unwrap().starts_with("421 "), "{read}");
    }
    let changes = page.evaluate(CHANGES).await;
    for at in [0, 3] {
        let change = changes[at].as_str().unwrap();
        assert!(change.starts_with("421 "), "{change}");
    }
    unchanged(&director).await;

    // The names in the configuration decide: with the name among them, the same page reads the list of tasks.
    let director = Director::with("allowedHosts: [evil.example]\n").await;
    let port = serve(director.router.clone()).await;
    let html = hostile(port).replace("http://127.0.0.1:", "http://evil.example:");
    page.open_as(&format!("http://evil.example:{port}/"), &html)
        .await;
    assert_eq!(page.evaluate("read('/task')").await, "200 {\"tasks\":[]}");
}

/// The routes of the Director with authentication.
fn with_tokens(director: &Director) -> Router {
    let text = "port: 0\nglusterpath: /unused\nauth: tokens\n";
    let config = Config::parse(text, |_| None).unwrap();
    let (tokens, audit) = (director.access.tokens(), director.access.audit());
    let app = App {
        orchestrator: director.orchestrator.clone(),
        access: Access::new(&config, tokens.clone(), audit.clone()),
        config: Arc::new(config),
        recovered: director.recovered.subscribe(),
        slots: Slots::default(),
        store_check: StoreCheck::default(),
        metrics: director.metrics.clone(),
    };
    router(app)
}

/// The least contrast of a text with its background, and whether the page is wider than the window.
const MEASURE: &str = "(() => {
    const parse = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => parse(color).slice(0, 3)
        .map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
    const background = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        const isClear = parse(color)[3] === 0;
        return isClear && element.parentElement ? background(element.parentElement) : color;
    };
    const contrast = (element) => {
        const pair = [getComputedStyle(element).color, background(element)].map(luminance).sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
    };
    const texts = [...document.querySelectorAll('h1, p, a, code, label, input:not([type=hidden]), button')];
    const root = document.documentElement;
    return [Math.min(...texts.map(contrast)), root.scrollWidth <= root.clientWidth, texts.length];
})()";

/// The page fits a narrow window, and its texts can be read in both colour schemes.
async fn check_legibility(page: &Page) {
    let narrow = json!({"width": 360, "height": 640, "deviceScaleFactor": 1, "mobile": false});
    page.call("Emulation.setDeviceMetricsOverride", narrow)
        .await;
    for scheme in ["light", "dark"] {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        let media = json!({"features": [feature]});
        page.call("Emulation.setEmulatedMedia", media).await;
        let measured = page.evaluate(MEASURE).await;
        assert!(measured[0].as_f64().unwrap() >= 4.5, "{scheme}: {measured}");
        assert_eq!(measured[1], true, "the page is too wide");
        assert!(measured[2].as_u64().unwrap() >= 3, "{measured}");
    }
    page.call("Emulation.clearDeviceMetricsOverride", json!({}))
        .await;
}

async fn enter(page: &Page, token: &str) {
    let fill = format!("document.querySelector('#token').value = '{token}'");
    page.evaluate(&fill).await;
    page.evaluate("document.querySelector('button').click()")
        .await;
}

#[tokio::test]
async fn a_person_signs_in_once_and_pages_of_other_sites_do_not_profit() {
    let Some(chromium) = Chromium::start(&["evil.example"]).await else {
        return;
    };
    let director = reports::with_results(&[100, 200, 300]).await;
    reports::run(&director, "shown", json!([])).await;
    for name in ["victim", "checkout-nightly"] {
        let mut waiting = payload(name);
        waiting["delay"] = json!(3600);
        assert_eq!(director.put(&waiting).await.status, StatusCode::OK);
    }
    let token = director.token("ana", Role::Runner).await;
    let port = serve(with_tokens(&director)).await;
    let url = format!("http://127.0.0.1:{port}");

    // The report leads to the form, and the form back to the report.
    let page = chromium.page().await;
    page.open(&format!("{url}/task/shown/report")).await;
    page.until("location.pathname === '/sign-in' && document.activeElement.id === 'token'")
        .await;
    let form = "[document.documentElement.lang, document.querySelector('label').control.id, document.scripts.length]";
    assert_eq!(page.evaluate(form).await, json!(["en", "token", 0]));
    check_legibility(&page).await;
    assert_eq!(page.console(), [""; 0]);
    enter(&page, "atq_0000000000_wrong").await;
    page.until("document.querySelector('[role=alert]') !== null")
        .await;
    check_legibility(&page).await;
    enter(&page, &token).await;
    page.until("location.pathname === '/task/shown/report'")
        .await;
    page.until("document.querySelectorAll('th button').length > 1")
        .await;
    assert_eq!(
        page.evaluate("document.cookie").await,
        "",
        "a script can read the cookie"
    );
    let console = page.console().join("\n");
    assert!(!console.contains("Content Security Policy"), "{console}");

    // A link of another site leads to the report, too, without the form.
    let html = format!("<!doctype html><a href='{url}/task/shown/report'>report</a>");
    let link = serve(Router::new().fallback(move || async move { Html(html) })).await;
    let page = chromium.page().await;
    page.open(&format!("http://evil.example:{link}/")).await;
    page.evaluate("document.querySelector('a').click()").await;
    page.until("location.pathname === '/task/shown/report'")
        .await;

    // Pages of other sites have no use of the session.
    let html = hostile(port);
    let evil = serve(Router::new().fallback(move || async move { Html(html) })).await;
    for site in ["evil.example", "127.0.0.1"] {
        let page = chromium.page().await;
        page.open(&format!("http://{site}:{evil}/")).await;
        for read in page.evaluate(READS).await.as_array().unwrap() {
            assert!(
                ["TypeError", "blocked", "opaque"].contains(&read.as_str().unwrap()),
                "{site}: {read}"
            );
        }
        page.evaluate(CHANGES).await;
        unchanged(&director).await;
    }

    // A request of the Director's own pages needs the CSRF token, which Swagger UI adds.
    let page = chromium.page().await;
    page.open(&format!("{url}/swagger-ui/")).await;
    let stop = "fetch('/task/victim/stop', {method: 'POST'}).then((answer) => answer.status)";
    assert_eq!(page.evaluate(stop).await, 403);
    unchanged(&director).await;
    let operation = "document.querySelector('#operations-task-stopTask')";
    page.until(&format!("{operation} !== null")).await;
    execute(&page, operation).await;
    page.until(&format!(
        "{operation}.querySelector('.live-responses-table tbody').innerText.includes('202')"
    ))
    .await;
    let stopped = director.get("/task/checkout-nightly").await.json();
    assert_eq!(stopped["stoppedBy"], "ana", "{stopped}");

    // After signing out, the report leads to the form again.
    page.open(&format!("{url}/sign-in")).await;
    check_legibility(&page).await;
    page.evaluate("document.querySelector('button').click()")
        .await;
    page.until("document.querySelector('#token') !== null")
        .await;
    page.open(&format!("{url}/task/shown/report")).await;
    page.until("location.pathname === '/sign-in'").await;
}
