//! The rules of `tokenExchange`.

use super::document::{Located, Section, Value, expected};
use super::error::Origin;
use super::fields;
use atq_access::exchange::{BoundClaims, ExchangeRule};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const KEY: &str = "tokenExchange";
/// Default lifetime of a token.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// Bounds of the lifetime of a token.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A rule for the exchange of JWTs, and where the keys of its issuer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenExchange {
    /// The rule.
    pub rule: ExchangeRule,
    /// The keys of its issuer.
    pub keys: KeyLocation,
}

/// Where the public keys of an issuer come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyLocation {
    /// A JSON Web Key Set behind a URL.
    Url {
        /// The URL: `https`, or `http` on loopback.
        url: String,
        /// PEM file with certificates that are trusted besides those of the machine.
        ca: Option<PathBuf>,
    },
    /// A file with a JSON Web Key Set, or with a public key in PEM.
    File(PathBuf),
}

impl KeyLocation {
    /// The file of this location.
    pub(super) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Url { ca, .. } => ca.as_mut(),
            Self::File(path) => Some(path),
        }
    }

    /// The file of this location, with its key below the rule.
    pub(super) fn path(&self) -> Option<(&'static str, &PathBuf)> {
        match self {
            Self::Url { ca, .. } => ca.as_ref().map(|path| ("keys.ca", path)),
            Self::File(path) => Some(("keys.file", path)),
        }
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Vec<TokenExchange> {
    let mut rules: Vec<TokenExchange> = Vec::new();
    let items = section.list(KEY).unwrap_or_default();
    for (index, item) in items.into_iter().enumerate() {
        let line = item.line;
        let Some(exchange) = section
            .item(KEY, index, item)
            .and_then(|mut item| TokenExchange::read(&mut item, line))
        else {
            continue;
        };
        let name = &exchange.rule.name;
        if rules.iter().any(|earlier| earlier.rule.name == *name) {
            let message = format!("has the same name as an earlier rule: `{name}`");
            section.fault(&format!("{KEY}[{index}]"), Origin::Line(line), message);
        }
        rules.push(exchange);
    }
    rules
}

impl TokenExchange {
    fn read(item: &mut Section<'_>, line: u64) -> Option<Self> {
        let name = item.required("name", fields::director_id);
        let issuer = item.required("issuer", fields::word);
        let audience = item.required("audience", fields::word);
        let keys = KeyLocation::read(&mut item.child("keys"), line);
        let claims = read_claims(item, line);
        let role = item.required("role", fields::role);
        let expires_in = item.or("expiresIn", lifetime, DEFAULT_LIFETIME);
        item.finish();
        Some(Self {
            rule: ExchangeRule {
                name: name?,
                issuer: issuer?,
                audience: audience?,
                claims: claims?,
                role: role?,
                expires_in,
            },
            keys: keys?,
        })
    }
}

impl KeyLocation {
    /// `url` with an optional `ca`, or `file`.
    fn read(keys: &mut Section<'_>, line: u64) -> Option<Self> {
        let before = keys.faults();
        let url = keys.optional("url", key_url);
        let file = keys.optional("file", fields::path);
        let ca = keys.optional("ca", fields::path);
        keys.finish();
        let has_fault = keys.faults() > before;
        let place = Origin::Line(line);
        match (url, file, ca) {
            (Some(url), None, ca) => Some(Self::Url { url, ca }),
            (None, Some(file), None) => Some(Self::File(file)),
            (None, None, _) if has_fault => None,
            (None, None, _) => {
                keys.fault("url", place, "or `file` is required".to_owned());
                None
            }
            (None, Some(_), Some(_)) => {
                keys.fault("ca", place, "is only for `url`".to_owned());
                None
            }
            (Some(_), Some(_), _) => {
                keys.fault("file", place, "excludes `url`".to_owned());
                None
            }
        }
    }
}

/// The bound claims: text, a boolean, a whole number, or a list of them.
fn read_claims(item: &mut Section<'_>, line: u64) -> Option<BoundClaims> {
    let mut claims = Vec::new();
    for (name, located) in item.entries("claims", "a mapping of claims to values") {
        match values(&located) {
            Ok(values) => claims.push((name, values)),
            Err(message) => {
                let key = format!("claims.{name}");
                item.fault(&key, Origin::Line(located.line), message);
                return None;
            }
        }
    }
    match BoundClaims::new(claims) {
        Ok(claims) => Some(claims),
        Err(error) => {
            item.fault("claims", Origin::Line(line), error.to_string());
            None
        }
    }
}

fn values(located: &Located) -> Result<Vec<String>, String> {
    let scalar = |value: &Value| match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Integer(number) => Ok(number.to_string()),
        other => Err(expected("text, or a list of texts", other)),
    };
    match &located.value {
        Value::List(items) => items.iter().map(|item| scalar(&item.value)).collect(),
        value => scalar(value).map(|text| vec![text]),
    }
}

fn lifetime(value: &Value) -> Result<Duration, String> {
    let found = fields::age(value).ok().flatten();
    found
        .filter(|time| (MIN_LIFETIME..=MAX_LIFETIME).contains(time))
        .ok_or_else(|| expected("a time from `1m` to `24h`", value))
}

/// Keys that arrive over plain HTTP could be those of anybody.
fn key_url(value: &Value) -> Result<String, String> {
    let what = "an `https` URL without query (`http` only on loopback)";
    let url = fields::url(value).map_err(|_| expected(what, value))?;
    let is_loopback = url.strip_prefix("http://").map(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(inner) => inner.split(']').next(),
            None => authority.split(':').next(),
        };
        let host = host.unwrap_or_default();
        let address = host.parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    match is_loopback.unwrap_or(true) {
        true => Ok(url),
        false => Err(expected(what, value)),
    }
}
