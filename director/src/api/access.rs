//! Authentication and authorization: who a client is, and whether it may use a route.
//!
//! [`guard`] is a layer of every route (`router`). It identifies the client by its connection and its credentials and
//! compares its role with the permission of the route. Handlers get the client as an `Extension<Principal>`.
//!
//! To identify clients in another way, implement [`Identify`] and pass it to [`Access::with`].

use super::error::{ApiError, RequestError, error_code};
use super::peer::Peer;
use crate::audit::{Audit, Entry, Outcome};
use crate::config::{Auth, Config};
use crate::tokens::{Tokens, now};
use atq_access::{ANONYMOUS, Permission, Principal, Role, TokenId, TokenRecord, TokenState, Via};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;

/// Header with a token, for clients that cannot set `Authorization` or use it for a proxy.
pub(super) const TOKEN_HEADER: &str = "x-atq-token";

/// Status in the audit log of requests whose client disconnected before the response.
const DISCONNECTED: u16 = 499;

/// Interval between checks whether the client of a stream still has access.
const ACCESS_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The parts of a request that identify its client.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The method: cookies need further proof for unsafe ones.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The current time in seconds since the Unix epoch.
    pub now: u64,
}

/// A way to identify clients by the headers of their requests, without blocking.
pub trait Identify: Send + Sync {
    /// The client; `None` if the request has no credentials of this kind.
    fn identify(&self, credentials: &Credentials<'_>) -> Option<Result<Principal, RequestError>>;

    /// Whether a client that was identified in this way has no access any longer, although its token is valid. `now` is
    /// in seconds since the Unix epoch.
    fn has_ended(&self, _client: &Principal, _now: u64) -> bool {
        false
    }
}

/// The rules for access. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    auth: Auth,
    socket_role: Role,
    tokens: Tokens,
    audit: Audit,
    /// The first one that finds its kind of credentials decides.
    methods: Vec<Arc<dyn Identify>>,
}

impl Access {
    /// The rules of the configuration.
    pub fn new(config: &Config, tokens: Tokens, audit: Audit) -> Self {
        let socket_role = config.socket.as_ref().map(|socket| socket.role);
        let by_token: Arc<dyn Identify> = Arc::new(ByToken(tokens.clone()));
        Self(Arc::new(Inner {
            auth: config.auth,
            socket_role: socket_role.unwrap_or(Role::Viewer),
            tokens,
            audit,
            methods: vec![by_token],
        }))
    }

    /// Adds a way to identify clients, for requests without credentials of the kinds before.
    #[must_use]
    pub fn with(mut self, method: impl Identify + 'static) -> Self {
        Arc::make_mut(&mut self.0).methods.push(Arc::new(method));
        self
    }

    /// The tokens of clients.
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// Notes in the audit log that a request was refused.
    pub(super) fn note_refusal(
        &self,
        request: &Summary,
        client: Option<&Principal>,
        status: StatusCode,
        code: Option<&'static str>,
    ) {
        let outcome = Outcome::Refused;
        self.audit()
            .add(request.entry(outcome, client, status, code));
    }

    /// Notes in the audit log that a client has changed something; for handlers that identify the client themselves.
    pub(super) fn note_change(
        &self,
        request: &Summary,
        client: &Principal,
        status: StatusCode,
        on: Option<String>,
    ) {
        let mut entry = request.entry(Outcome::Changed, Some(client), status, None);
        entry.on = on;
        self.audit().add(entry);
    }

    /// Notes a change in the audit log, or a refusal by the handler.
    fn note(&self, request: &Summary, client: &Principal, is_change: bool, response: &Response) {
        let (status, extensions) = (response.status(), response.extensions());
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return self.note_refusal(request, Some(client), status, error_code(response));
        }
        // A failed request may have changed something, such as a deletion whose clean-up is not complete.
        let is_done = status.is_success() || (is_change && status.is_server_error());
        if !is_done || extensions.get::<Routine>().is_some() {
            return;
        }
        let outcome = match is_change {
            true => Outcome::Changed,
            false => Outcome::Disclosed,
        };
        let mut entry = request.entry(outcome, Some(client), status, error_code(response));
        entry.on = extensions.get().map(|ChangeOf(what)| what.clone());
        self.audit().add(entry);
    }

    /// The client of a request, if it has the permission.
    ///
    /// # Errors
    /// When the client is unknown, or has not the permission.
    fn permit(&self, request: &Request, permission: Permission) -> Result<Principal, Box<Denied>> {
        let unknown = |error| {
            Box::new(Denied {
                client: None,
                error,
            })
        };
        let client = self.identify(request).map_err(unknown)?;
        match client.role.may(permission) {
            true => Ok(client),
            false => {
                let error = RequestError::Forbidden {
                    name: client.name.clone(),
                    role: client.role,
                    needed: Role::needed_for(permission),
                };
                let client = Some(client);
                Err(Box::new(Denied { client, error }))
            }
        }
    }

    /// The client of a request.
    ///
    /// # Errors
    /// When it cannot be identified.
    fn identify(&self, request: &Request) -> Result<Principal, RequestError> {
        let peer = request.extensions().get::<Peer>();
        if let Some(Peer::Control { uid }) = peer {
            return Ok(process(*uid, Role::Admin, Via::Control(*uid)));
        }
        if self.0.auth == Auth::Tokens {
            let credentials = Credentials {
                method: request.method(),
                headers: request.headers(),
                now: now(),
            };
            let mut methods = self.0.methods.iter();
            if let Some(found) = methods.find_map(|method| method.identify(&credentials)) {
                return found;
            }
        }
        match (peer, self.0.auth) {
            (Some(Peer::Socket { uid }), _) => {
                Ok(process(*uid, self.0.socket_role, Via::Socket(*uid)))
            }
            (_, Auth::Off) => Ok(Principal {
                name: ANONYMOUS.to_owned(),
                role: Role::Admin,
                via: Via::Nothing,
            }),
            (_, Auth::Tokens) => Err(RequestError::Unauthenticated(None)),
        }
    }
}

/// A process of this machine.
fn process(uid: u32, role: Role, via: Via) -> Principal {
    Principal {
        name: format!("uid:{uid}"),
        role,
        via,
    }
}

/// Completes when the client has no access any longer, because its token has ended or it has signed out: a stream ends
/// then.
pub(super) async fn access_ended(access: Access, client: Principal) {
    let (Via::Token(id) | Via::Session(id, _)) = &client.via else {
        return std::future::pending().await;
    };
    let is_valid = |record: TokenRecord| record.state(now()) == TokenState::Valid;
    while access.tokens().get(id).is_some_and(is_valid)
        && access
            .0
            .methods
            .iter()
            .all(|method| !method.has_ended(&client, now()))
    {
        tokio::time::sleep(ACCESS_CHECK_INTERVAL).await;
    }
}

/// The parts of a request in the audit log. The query and the headers may contain secrets.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    peer: String,
    method: String,
    path: String,
}

impl Summary {
    /// Maximum length of a path in characters.
    const MAX_PATH: usize = 200;

    pub(super) fn of(request: &Request) -> Self {
        let peer = match request.extensions().get::<Peer>() {
            Some(Peer::Tcp(address)) => address.to_string(),
            Some(Peer::Socket { .. }) => "socket".to_owned(),
            Some(Peer::Control { .. }) => "control".to_owned(),
            None => "unknown".to_owned(),
        };
        let path = request.uri().path();
        // A client may have put its token into the path by mistake.
        let shown = match token_in(path) {
            Some(at) => format!("{}...", &path[..at]),
            None => path.chars().take(Self::MAX_PATH).collect(),
        };
        Self {
            peer,
            method: request.method().as_str().chars().take(20).collect(),
            path: shown,
        }
    }

    fn entry(
        &self,
        outcome: Outcome,
        client: Option<&Principal>,
        status: StatusCode,
        code: Option<&'static str>,
    ) -> Entry {
        let token = client.and_then(|client| match &client.via {
            Via::Token(id) | Via::Session(id, _) => Some(id.to_string()),
            Via::Nothing | Via::Socket(_) | Via::Control(_) => None,
        });
        Entry {
            outcome,
            name: client.map(|client| client.name.clone()),
            role: client.map(|client| client.role.as_str()),
            via: client.map(|client| match client.via {
                Via::Nothing => "none",
                Via::Token(_) => "token",
                Via::Session(..) => "session",
                Via::Socket(_) => "socket",
                Via::Control(_) => "control",
            }),
            token,
            peer: self.peer.clone(),
            method: self.method.clone(),
            path: self.path.clone(),
            on: None,
            status: status.as_u16(),
            code,
        }
    }
}

/// What a request has changed, for the audit log; an extension of the response. Needed if the path does not contain it.
#[derive(Debug, Clone)]
pub(super) struct ChangeOf(pub String);

/// Marks responses of repeated requests, which are not in the audit log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routine;

/// Where a token begins in a path. Its underscores may be percent-encoded.
fn token_in(path: &str) -> Option<usize> {
    let starts = path.match_indices("atq").map(|(at, _)| at);
    let mut starts = starts.filter(|at| {
        let rest = path.get(at + 3..).and_then(after_underscore);
        let parts = rest.and_then(|rest| rest.split_at_checked(10));
        parts.is_some_and(|(id, rest)| {
            TokenId::parse(id).is_ok() && after_underscore(rest).is_some()
        })
    });
    starts.next()
}

fn after_underscore(text: &str) -> Option<&str> {
    let encoded = || {
        let (first, rest) = text.split_at_checked(3)?;
        first.eq_ignore_ascii_case("%5f").then_some(rest)
    };
    text.strip_prefix('_').or_else(encoded)
}

/// Notes a change whose client disconnects before the response: it may have been made.
struct Unanswered {
    access: Access,
    request: Option<(Summary, Principal)>,
}

impl Unanswered {
    /// The response is there.
    fn answered(mut self) {
        self.request = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some((summary, client)) = self.request.take() {
            let code = Some("disconnected");
            let mut entry = summary.entry(Outcome::Changed, Some(&client), StatusCode::OK, code);
            entry.status = DISCONNECTED;
            self.access.audit().add(entry);
        }
    }
}

/// A request that is refused.
struct Denied {
    /// The client, if it is known.
    client: Option<Principal>,
    error: RequestError,
}

/// Marks responses of routes behind [`guard`].
#[derive(Debug, Clone, Copy)]
struct Guarded;

/// Refuses clients without this permission, and passes the client to the handler. On public routes, clients with invalid
/// credentials are served as those without.
pub async fn guard(
    State(permission): State<Permission>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(access) = request.extensions().get::<Access>().cloned() else {
        // A mistake in the wiring must not open the routes.
        return ApiError::from(RequestError::NoPermission).into_response();
    };
    let mut response = match access.permit(&request, permission) {
        Ok(client) => {
            request.extensions_mut().insert(client.clone());
            let is_change = !request.method().is_safe();
            let is_noted = is_change || permission == Permission::Administer;
            let summary = is_noted.then(|| Summary::of(&request));
            let may_change = is_change && permission != Permission::Public;
            let unanswered = Unanswered {
                access: access.clone(),
                request: summary
                    .clone()
                    .filter(|_| may_change)
                    .map(|summary| (summary, client.clone())),
            };
            let response = next.run(request).await;
            unanswered.answered();
            if let Some(summary) = summary {
                access.note(&summary, &client, is_change, &response);
            }
            response
        }
        Err(_) if permission == Permission::Public => next.run(request).await,
        Err(denied) => {
            let Denied { client, error } = *denied;
            let response = refused(error);
            let (status, code) = (response.status(), error_code(&response));
            access.note_refusal(&Summary::of(&request), client.as_ref(), status, code);
            response
        }
    };
    response.extensions_mut().insert(Guarded);
    response
}

fn refused(error: RequestError) -> Response {
    ApiError::from(error).into_response()
}

/// Replaces responses of routes that have no permission: they were added without [`guard`].
pub async fn require_guard(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let is_fallback = matches!(
        error_code(&response),
        Some("unknown_path" | "method_not_allowed" | "internal")
    );
    match is_fallback || response.extensions().get::<Guarded>().is_some() {
        true => response,
        false => ApiError::from(RequestError::NoPermission).into_response(),
    }
}

/// Identifies clients by their tokens.
struct ByToken(Tokens);

impl Identify for ByToken {
    fn identify(&self, credentials: &Credentials<'_>) -> Option<Result<Principal, RequestError>> {
        let text = match sent(credentials.headers) {
            Ok(found) => found?,
            Err(error) => return Some(Err(error)),
        };
        let found = self.0.find(text, credentials.now);
        Some(match found {
            Ok(record) => Ok(owner(record)),
            Err(error) => Err(RequestError::Unauthenticated(Some(error))),
        })
    }
}

/// The owner of a token.
fn owner(record: TokenRecord) -> Principal {
    Principal {
        name: record.name,
        role: record.role,
        via: Via::Token(record.id),
    }
}

/// The token that a request has in one of two headers; the same one may be in both.
fn sent(headers: &HeaderMap) -> Result<Option<&str>, RequestError> {
    let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let Ok(text) = value.to_str() else {
            return Some("");
        };
        // Other schemes are meant for a proxy.
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    let own = headers.get_all(TOKEN_HEADER).iter();
    let own = own.map(|value| value.to_str().unwrap_or_default().trim());
    let mut all = bearer.chain(own);
    let Some(first) = all.next() else {
        return Ok(None);
    };
    match all.all(|other| other == first) {
        true => Ok(Some(first)),
        false => Err(RequestError::Contradicting),
    }
}

/// Refuses clients that may manage tokens only because authentication is off: a token would outlast this setting.
///
/// # Errors
/// [`RequestError::AuthOff`].
pub(super) fn needs_tokens(client: &Principal) -> Result<(), RequestError> {
    match client.via {
        Via::Nothing => Err(RequestError::AuthOff),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::HeaderValue;
    use axum::middleware::{from_fn, from_fn_with_state};
    use axum::routing::get;
    use tower::ServiceExt;

    fn headers(values: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn found(values: &[(&'static str, &'static str)]) -> Result<Option<String>, String> {
        match sent(&headers(values)) {
            Ok(text) => Ok(text.map(str::to_owned)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_token_is_found_in_both_headers() {
        let token = Ok(Some("atq_x".to_owned()));
        assert_eq!(found(&[("authorization", "Bearer atq_x")]), token);
        assert_eq!(found(&[("authorization", "bearer  atq_x ")]), token);
        assert_eq!(found(&[("x-atq-token", "atq_x")]), token);
        let both = [("authorization", "Bearer atq_x"), ("x-atq-token", "atq_x")];
        assert_eq!(found(&both), token);
        assert_eq!(found(&[]), Ok(None));
    }

    #[test]
    fn only_tokens_are_cut_out_of_a_path() {
        for (path, at) in [
            ("/task/atq_0123456789_abc", Some(6)),
            ("/task/atq%5f0123456789%5Fabc", Some(6)),
            ("/x/atq/atq_0123456789_", Some(7)),
            ("/task/atq_smoke", None),
            ("/task/x-atq_0123456789", None),
            ("/task/atq_01234567\u{e9}", None),
        ] {
            assert_eq!(token_in(path), at, "{path}");
        }
    }

    #[test]
    fn other_schemes_are_left_to_a_proxy() {
        assert_eq!(found(&[("authorization", "Basic YTpi")]), Ok(None));
        let both = [("authorization", "Basic YTpi"), ("x-atq-token", "atq_x")];
        assert_eq!(found(&both), Ok(Some("atq_x".to_owned())));
    }

    #[test]
    fn an_empty_token_is_not_ignored() {
        assert_eq!(
            found(&[("authorization", "Bearer")]),
            Ok(Some(String::new()))
        );
        assert_eq!(found(&[("x-atq-token", "")]), Ok(Some(String::new())));
    }

    #[test]
    fn different_tokens_contradict_each_other() {
        for pair in [
            [("authorization", "Bearer atq_x"), ("x-atq-token", "atq_y")],
            [
                ("authorization", "Bearer atq_x"),
                ("authorization", "Bearer atq_y"),
            ],
            [("x-atq-token", "atq_x"), ("x-atq-token", "")],
        ] {
            assert!(found(&pair).is_err(), "{pair:?}");
        }
    }

    /// A route that somebody has added beside the others.
    #[tokio::test]
    async fn a_route_without_a_permission_is_not_served() {
        let forgotten = || async { "secret" };
        let router = Router::new()
            .route("/forgotten", get(forgotten))
            .layer(from_fn(require_guard));
        let request = Request::builder().uri("/forgotten");
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
        assert!(!body.windows(6).any(|part| part == b"secret"));
    }

    /// Without the rules for access, which only a mistake in the wiring can cause.
    #[tokio::test]
    async fn without_rules_no_guarded_route_is_served() {
        let guarded = from_fn_with_state(Permission::Read, guard);
        let router = Router::new()
            .route("/tasks", get(|| async { "secret" }))
            .layer(guarded);
        let request = Request::builder().uri("/tasks");
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn a_token_in_a_path_is_not_shown() {
        let path = format!("/token/atq_01020304ff_{}", "s3cret".repeat(8));
        let request = Request::builder().uri(format!("{path}?token=s3cret"));
        let summary = Summary::of(&request.body(Body::empty()).unwrap());
        assert_eq!(summary.path, "/token/...");
    }
}
