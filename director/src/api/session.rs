//! Sessions of browsers: the page to sign in, the cookie, and the CSRF token of requests that change something.

mod page;

use super::access::{Access, Credentials, Identify, Summary};
use super::app::App;
use super::error::{ApiError, RequestError, error_code, unknown_path};
use super::peer::Peer;
use super::{body, media};
use crate::config::{Auth, Config};
use crate::tokens::{TokenError, Tokens, now, wire};
use atq_access::{
    FailedAttempts, Principal, SESSION_SECONDS, SessionSecret, Sessions, TokenRecord, Via,
    local_path,
};
use atq_api_spec::session::SessionInfo;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Request};
use axum::http::header::{COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use page::{Message, SignIn};
use parking_lot::{Mutex, RwLock};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

/// Maximum number of failed attempts to sign in of one address within a minute.
const MAX_FAILURES: usize = 10;
/// Header with the CSRF token of a session.
const CSRF_HEADER: &str = "x-atq-csrf";
/// Path of the page to sign in.
const SIGN_IN: &str = "/sign-in";
/// Path of the form that ends a session.
const SIGN_OUT: &str = "/sign-out";
/// Maximum size of a form in bytes.
const MAX_FORM: usize = 16 << 10;
/// What a browser accepts as a page.
const HTML: &str = "text/html";

/// The sessions of browsers. Cheap to clone.
#[derive(Clone)]
pub struct Browsers(Arc<Inner>);

struct Inner {
    tokens: Tokens,
    is_on: bool,
    /// Whether browsers reach the Director by TLS; then they never send the cookie without.
    is_secure: bool,
    sessions: RwLock<Sessions>,
    failures: Mutex<FailedAttempts>,
    /// Start of the clock of `failures`, which never goes back.
    started: Instant,
}

/// A client with an open session.
struct SignedIn {
    record: TokenRecord,
    cookie: SessionSecret,
    csrf: String,
}

impl Browsers {
    /// No sessions yet; with the settings of the configuration.
    pub fn new(config: &Config, tokens: Tokens) -> Self {
        let public = config.public_url.as_deref().unwrap_or_default();
        let is_public_secure = public
            .get(..8)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        Self(Arc::new(Inner {
            tokens,
            is_on: config.auth == Auth::Tokens,
            is_secure: config.tls.is_some() || is_public_secure,
            sessions: RwLock::default(),
            failures: Mutex::new(FailedAttempts::new(MAX_FAILURES)),
            started: Instant::now(),
        }))
    }

    /// Name of the cookie. With the prefix, browsers accept it only by TLS and from this host.
    fn cookie_name(&self) -> &'static str {
        match self.0.is_secure {
            true => "__Host-atq_session",
            false => "atq_session",
        }
    }

    fn set_cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.0.is_secure { "; Secure" } else { "" };
        let name = self.cookie_name();
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// The client of a session cookie, and whether the request contains the CSRF token of the session. There may be
    /// several cookies of the name, as those of all ports of a host are sent together.
    fn find(&self, headers: &HeaderMap, now: u64) -> Option<SignedIn> {
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.cookie_name());
        values.find_map(|(_, value)| self.session(SessionSecret::parse(value)?, now))
    }

    fn session(&self, cookie: SessionSecret, now: u64) -> Option<SignedIn> {
        let (token, csrf) = {
            let sessions = self.0.sessions.read();
            let session = sessions.find(&cookie, now)?;
            (session.token.clone(), session.csrf().reveal())
        };
        match self.0.tokens.find_by_id(&token, now) {
            Ok(record) => Some(SignedIn {
                record,
                cookie,
                csrf,
            }),
            Err(_) => {
                self.0.sessions.write().close_of(&token);
                None
            }
        }
    }

    /// Whether the text is the CSRF token of the session.
    fn is_csrf(&self, signed_in: &SignedIn, text: &str, now: u64) -> bool {
        let sessions = self.0.sessions.read();
        let session = sessions.find(&signed_in.cookie, now);
        session.is_some_and(|session| session.is_csrf(text))
    }

    /// Opens a session for a token, and returns its cookie.
    fn exchange(
        &self,
        token: &str,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Result<(TokenRecord, SessionSecret), NotSignedIn> {
        let (now, at) = (now(), self.0.started.elapsed().as_secs());
        let address = match peer {
            Some(Peer::Tcp(address)) => address.ip(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        // Failed attempts must not keep out others with the same address, so a valid token is always accepted.
        let record = self.0.tokens.find(token, now).map_err(|error| {
            let mut failures = self.0.failures.lock();
            match failures.check(address, at) {
                Ok(()) => {
                    failures.record(address, at);
                    NotSignedIn::Refused(error)
                }
                Err(seconds) => NotSignedIn::TooMany(seconds),
            }
        })?;
        let (cookie, csrf) = (random()?, random()?);
        let before = self.find(headers, now);
        let mut sessions = self.0.sessions.write();
        if let Some(before) = before {
            sessions.close(&before.cookie);
        }
        sessions.open(&cookie, csrf, record.id.clone(), now);
        Ok((record, cookie))
    }
}

/// Why a client is not signed in.
enum NotSignedIn {
    /// The token is not accepted.
    Refused(TokenError),
    /// There were too many failed attempts; seconds until the next one.
    TooMany(u64),
    Other(RequestError),
}

fn random() -> Result<SessionSecret, NotSignedIn> {
    let mut bytes = [0; 32];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| NotSignedIn::Other(error.into()))?;
    Ok(SessionSecret::from_random(bytes))
}

impl Identify for Browsers {
    fn identify(&self, credentials: &Credentials<'_>) -> Option<Result<Principal, RequestError>> {
        let Credentials {
            method,
            headers,
            now,
        } = *credentials;
        let signed_in = self.find(headers, now)?;
        let sent = sent_csrf(headers);
        let is_proven =
            method.is_safe() || sent.is_some_and(|sent| self.is_csrf(&signed_in, sent, now));
        Some(match is_proven {
            true => Ok(principal(signed_in.record, &signed_in.cookie)),
            false => Err(RequestError::NoCsrf),
        })
    }

    fn has_ended(&self, client: &Principal, now: u64) -> bool {
        let Via::Session(_, id) = client.via else {
            return false;
        };
        self.0.sessions.read().get(id, now).is_none()
    }
}

/// The pages to sign in and out.
pub(super) fn pages() -> Router<App> {
    Router::new()
        .route("/", get(start))
        .route(SIGN_IN, get(show).post(sign_in))
        .route(SIGN_OUT, post(sign_out))
}

/// Returns the client of the request and, for the session of a browser, its CSRF token.
#[utoipa::path(
    get,
    path = "/session",
    operation_id = "getSession",
    tag = "session",
    responses((status = 200, description = "The client.", body = SessionInfo))
)]
pub async fn current(
    Extension(browsers): Extension<Browsers>,
    Extension(client): Extension<Principal>,
    headers: HeaderMap,
) -> Json<SessionInfo> {
    let csrf = match client.via {
        Via::Session(..) => browsers
            .find(&headers, now())
            .map(|signed_in| signed_in.csrf),
        _ => None,
    };
    Json(SessionInfo {
        name: client.name,
        role: wire::role(client.role),
        csrf,
    })
}

/// Sends a browser to the page to sign in, which has links to the others. There is nothing for programs.
async fn start(OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    match is_navigation(&headers) {
        true => redirect(&format!("{}{SIGN_IN}", base_of(&uri))),
        false => unknown_path(uri).await.into_response(),
    }
}

/// A form for a token, or who is signed in.
async fn show(
    Extension(browsers): Extension<Browsers>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let next = next_of(uri.query().unwrap_or_default().as_bytes());
    let base = base_of(&uri);
    if !browsers.0.is_on {
        return page::no_sign_in(base);
    }
    match (browsers.find(&headers, now()), next) {
        (Some(_), Some(next)) => redirect(&next),
        (Some(signed_in), None) => page::signed_in(base, &signed_in.record, &signed_in.csrf),
        // A browser omits the cookie (SameSite=Strict) where a page of another site has a link to the Director. It sends
        // the cookie where a page of the Director causes the request.
        (None, next) if is_cross_site(&headers) => page::again(base, next.as_deref()),
        (None, next) => page::form(&SignIn::new(base, next.as_deref())).into_response(),
    }
}

/// Exchanges a token for a session.
async fn sign_in(
    Extension(browsers): Extension<Browsers>,
    Extension(access): Extension<Access>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, ApiError> {
    let peer = request.extensions().get::<Peer>().copied();
    let (summary, headers, form) = read_form(request).await?;
    let next = next_of(&form);
    let base = base_of(&uri);
    if !browsers.0.is_on {
        return Ok(page::no_sign_in(base));
    }
    let page = SignIn::new(base, next.as_deref());
    let token = field(&form, "token").unwrap_or_default();
    match browsers.exchange(token.trim(), peer, &headers) {
        Ok((record, cookie)) => {
            let response = redirect(next.as_deref().unwrap_or(&format!("{base}{SIGN_IN}")));
            let client = principal(record, &cookie);
            access.note_change(&summary, &client, response.status(), None);
            let cookie = browsers.set_cookie(&cookie.reveal(), SESSION_SECONDS);
            Ok(([(SET_COOKIE, cookie)], response).into_response())
        }
        Err(NotSignedIn::Other(error)) => Err(error.into()),
        Err(NotSignedIn::Refused(reason)) => {
            let (status, code) = (StatusCode::UNAUTHORIZED, "unauthenticated");
            access.note_refusal(&summary, None, status, Some(code));
            let challenge = [(WWW_AUTHENTICATE, "Bearer realm=\"atq\"")];
            let answer = page::form(&page.with(Message::Refused(reason)));
            Ok((status, challenge, answer).into_response())
        }
        Err(NotSignedIn::TooMany(seconds)) => {
            let (status, code) = (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts");
            access.note_refusal(&summary, None, status, Some(code));
            let retry = [(RETRY_AFTER, HeaderValue::from(seconds))];
            let answer = page::form(&page.with(Message::TooMany(seconds)));
            Ok((status, retry, answer).into_response())
        }
    }
}

/// Ends the session.
async fn sign_out(
    Extension(browsers): Extension<Browsers>,
    Extension(access): Extension<Access>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, ApiError> {
    let (summary, headers, form) = read_form(request).await?;
    let now = now();
    let cookie = browsers.set_cookie("", 0);
    let next = format!("{}{SIGN_IN}", base_of(&uri));
    let response = ([(SET_COOKIE, cookie)], redirect(&next)).into_response();
    if let Some(signed_in) = browsers.find(&headers, now) {
        let sent = field(&form, "csrf").or_else(|| sent_csrf(&headers).map(str::to_owned));
        let is_proven = sent.is_some_and(|sent| browsers.is_csrf(&signed_in, &sent, now));
        let client = principal(signed_in.record, &signed_in.cookie);
        if !is_proven {
            let response = ApiError::from(RequestError::NoCsrf).into_response();
            let (status, code) = (response.status(), error_code(&response));
            access.note_refusal(&summary, Some(&client), status, code);
            return Ok(response);
        }
        browsers.0.sessions.write().close(&signed_in.cookie);
        access.note_change(&summary, &client, response.status(), None);
    }
    Ok(response)
}

/// A request with a form: its parts in the audit log, its headers, and the form.
async fn read_form(request: Request) -> Result<(Summary, HeaderMap, Bytes), ApiError> {
    let summary = Summary::of(&request);
    let (parts, content) = request.into_parts();
    let form = body::read(&parts.headers, content, MAX_FORM).await?;
    Ok((summary, parts.headers, form))
}

/// The owner of a session.
fn principal(record: TokenRecord, cookie: &SessionSecret) -> Principal {
    Principal {
        name: record.name,
        role: record.role,
        via: Via::Session(record.id, cookie.session()),
    }
}

fn sent_csrf(headers: &HeaderMap) -> Option<&str> {
    headers.get(CSRF_HEADER)?.to_str().ok()
}

/// Sends a browser that opens a page without a session to the page to sign in. Other clients get the error.
pub async fn send_to_sign_in(request: Request, next: Next) -> Response {
    let is_page = *request.method() == Method::GET && is_navigation(request.headers());
    let original = request.extensions().get::<OriginalUri>();
    let uri = original.map_or_else(|| request.uri().clone(), |original| original.0.clone());
    let response = next.run(request).await;
    let target = uri.path_and_query().map(|target| target.as_str());
    match target.and_then(local_path) {
        Some(target) if is_page && response.status() == StatusCode::UNAUTHORIZED => redirect(
            &format!("{}{SIGN_IN}?next={}", base_of(&uri), encoded(target)),
        ),
        _ => response,
    }
}

/// Whether a browser opens a page, in contrast to a script that reads an answer.
fn is_navigation(headers: &HeaderMap) -> bool {
    let mode = headers.get("sec-fetch-mode");
    mode.is_none_or(|mode| mode == "navigate") && media::accepts(headers, HTML)
}

fn is_cross_site(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site")
}

/// `/api` if the path of the request begins so: a proxy may forward only this part.
fn base_of(uri: &Uri) -> &'static str {
    match uri.path().starts_with("/api/") {
        true => "/api",
        false => "",
    }
}

/// The first field of the name in a form or query.
fn field(form: &[u8], name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(form);
    let found = pairs.find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

/// Where the browser continues, if it is a path of the Director.
fn next_of(form: &[u8]) -> Option<String> {
    field(form, "next").filter(|next| local_path(next).is_some())
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn redirect(target: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response()
}
