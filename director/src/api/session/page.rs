//! The page to sign in. It needs no script.

use super::{SIGN_IN, SIGN_OUT, encoded};
use crate::tokens::TokenError;
use atq_access::TokenRecord;
use atq_report::page::hash_source;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::sync::LazyLock;

const STYLE: &str = include_str!("page.css");

/// Only the style below; the form is sent to the Director only.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src {}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        hash_source(STYLE)
    )
});

/// The form for a token.
#[derive(Clone, Copy)]
pub(super) struct SignIn<'a> {
    /// Base path of the request.
    base: &'static str,
    /// Where the browser continues.
    next: Option<&'a str>,
    message: Option<Message>,
}

/// Why the client is not signed in.
#[derive(Clone, Copy)]
pub(super) enum Message {
    /// The token is not accepted.
    Refused(TokenError),
    /// Too many failed attempts; seconds until the next one.
    TooMany(u64),
}

impl<'a> SignIn<'a> {
    pub(super) fn new(base: &'static str, next: Option<&'a str>) -> Self {
        Self {
            base,
            next,
            message: None,
        }
    }

    pub(super) fn with(self, message: Message) -> Self {
        Self {
            message: Some(message),
            ..self
        }
    }
}

impl Message {
    fn text(self) -> String {
        match self {
            Self::Refused(error) => format!("You are not signed in: {error}."),
            Self::TooMany(seconds) => format!(
                "You are not signed in: too many failed attempts. Try again in {seconds} s."
            ),
        }
    }
}

pub(super) fn form(page: &SignIn<'_>) -> Response {
    let error = page.message.map(Message::text);
    let described_by = match error {
        Some(_) => "error hint",
        None => "hint",
    };
    let content = html! {
        form method="post" action={ (page.base) (SIGN_IN) } {
            @if let Some(error) = &error { p.error id="error" role="alert" { (error) } }
            label for="token" { "Token" }
            input id="token" name="token" type="password" autocomplete="off" spellcheck="false"
                autocapitalize="off" required autofocus
                aria-invalid=[error.is_some().then_some("true")]
                aria-describedby=(described_by);
            p.hint id="hint" { "It begins with " code { "atq_" } ". An administrator creates it with " code { "atq token create" } "." }
            @if let Some(next) = page.next { input type="hidden" name="next" value=(next); }
            button type="submit" { "Sign in" }
        }
    };
    document("Sign in", None, &content)
}

/// The page for a client that is signed in.
pub(super) fn signed_in(base: &str, record: &TokenRecord, csrf: &str) -> Response {
    let content = html! {
        p { "You are signed in as " strong { (record.name) } " with the role " strong { (record.role) } "." }
        p { a href={ (base) "/swagger-ui/" } { "Use the API in Swagger UI" } }
        form method="post" action={ (base) (SIGN_OUT) } {
            input type="hidden" name="csrf" value=(csrf);
            button type="submit" { "Sign out" }
        }
    };
    document("Signed in", None, &content)
}

/// The page while authentication is off.
pub(super) fn no_sign_in(base: &str) -> Response {
    let content = html! {
        p { "Authentication is off. You need not sign in." }
        p { a href={ (base) "/swagger-ui/" } { "Use the API in Swagger UI" } }
    };
    document("Sign in", None, &content)
}

/// Opens the page to sign in again, as a request of a page of the Director.
pub(super) fn again(base: &str, next: Option<&str>) -> Response {
    let query = next.map(|next| format!("?next={}", encoded(next)));
    let target = format!("{base}{SIGN_IN}{}", query.unwrap_or_default());
    let content = html! { p { a href=(target) { "Continue" } } };
    document("Sign in", Some(&target), &content)
}

fn document(title: &str, refresh: Option<&str>, content: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" dir="ltr" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(target) = refresh { meta http-equiv="refresh" content={ "0; url=" (target) }; }
                title { (title) " - ATQ Director" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { h1 { "ATQ Director" } (content) } }
        }
    };
    let policy = [(CONTENT_SECURITY_POLICY, POLICY.as_str())];
    (policy, Html(page.into_string())).into_response()
}
