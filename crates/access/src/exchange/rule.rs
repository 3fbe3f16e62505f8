//! Rules: which JWTs are exchanged, and for what.

use crate::role::Role;
use serde_json::Value;
use std::time::Duration;
use thiserror::Error;

/// Claims that a rule cannot bind, because they have keys of their own or change with each JWT.
const RESERVED: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];
/// Claims whose value any project of an issuer can choose, or that are the same for many. A rule that binds no other claim
/// would accept the jobs of strangers on a public issuer.
const ANYBODYS: [&str; 23] = [
    "actor",
    "actor_id",
    "base_ref",
    "deployment_tier",
    "environment",
    "environment_action",
    "environment_protected",
    "event_name",
    "head_ref",
    "job_workflow_ref",
    "job_workflow_sha",
    "pipeline_source",
    "project_visibility",
    "ref",
    "ref_path",
    "ref_protected",
    "ref_type",
    "repository_visibility",
    "runner_environment",
    "sha",
    "user_email",
    "user_login",
    "workflow",
];

/// A rule for the exchange of JWTs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeRule {
    /// Its name, which is a part of the names of its clients.
    pub name: String,
    /// The value of the claim `iss`.
    pub issuer: String,
    /// The value of the claim `aud`, or one of its items.
    pub audience: String,
    /// Further claims; all must match.
    pub claims: BoundClaims,
    /// What the clients may do.
    pub role: Role,
    /// How long their tokens are valid.
    pub expires_in: Duration,
}

/// Claims that a rule does not accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidClaims {
    /// The claim has a key of its own, or cannot be bound.
    #[error("cannot bind `{0}`")]
    Reserved(String),
    /// A claim without values matches nothing.
    #[error("has no value for `{0}`")]
    NoValue(String),
    /// `**` means something else in other programs.
    #[error("has `**` for `{0}`: only `*` is known, and it does not match `/`")]
    DoubleStar(String),
    /// The rule binds nothing that identifies the project.
    #[error(
        "must bind a claim that identifies the project, like `project_path`, `repository` or `sub`, with its owner (the part before the first `/`) without `*`: otherwise every project of the issuer is accepted"
    )]
    Unbound,
}

/// The accepted values of claims. At least one claim identifies the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundClaims(Vec<(String, Vec<Pattern>)>);

impl BoundClaims {
    /// Claims with the accepted values of each: texts, in which `*` stands for any characters except `/`.
    ///
    /// # Errors
    /// When a claim cannot be bound, or none identifies the project.
    pub fn new(claims: Vec<(String, Vec<String>)>) -> Result<Self, InvalidClaims> {
        let mut bound = Vec::new();
        let mut identifies = false;
        for (name, values) in claims {
            if RESERVED.contains(&name.as_str()) {
                return Err(InvalidClaims::Reserved(name));
            }
            if values.is_empty() || values.iter().any(String::is_empty) {
                return Err(InvalidClaims::NoValue(name));
            }
            if values.iter().any(|value| value.contains("**")) {
                return Err(InvalidClaims::DoubleStar(name));
            }
            let patterns: Vec<Pattern> = values.into_iter().map(Pattern).collect();
            identifies |=
                !ANYBODYS.contains(&name.as_str()) && patterns.iter().all(Pattern::names_owner);
            bound.push((name, patterns));
        }
        match identifies {
            true => Ok(Self(bound)),
            false => Err(InvalidClaims::Unbound),
        }
    }

    /// The first claim that does not match. Only text, booleans and whole numbers are compared, each as text; a list or
    /// an object matches nothing.
    pub(super) fn mismatch(&self, claim: impl Fn(&str) -> Option<Value>) -> Option<&str> {
        let fails = |(name, patterns): &&(String, Vec<Pattern>)| {
            let value = claim(name).as_ref().and_then(text_of);
            !value.is_some_and(|value| patterns.iter().any(|pattern| pattern.matches(&value)))
        };
        self.0.iter().find(fails).map(|(name, _)| name.as_str())
    }
}

/// A scalar value as text; `None` for others.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// An accepted value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(String);

impl Pattern {
    /// Whether the owner of the project is given, the part before the first slash: everybody can choose the parts after
    /// it. The kind of the value, as in `repo:owner/name` and `https://host/`, is not the owner.
    fn names_owner(&self) -> bool {
        let text = ["repo:", "project_path:", "https://", "http://"]
            .iter()
            .find_map(|kind| self.0.strip_prefix(kind))
            .unwrap_or(&self.0);
        let owner = text.split('/').next().unwrap_or_default();
        owner.chars().any(|c| c != ':') && !owner.contains('*')
    }

    /// Compares part by part between the slashes. The parts between two stars are searched from left to right, which is
    /// sufficient without backtracking.
    fn matches(&self, text: &str) -> bool {
        let (mut patterns, mut parts) = (self.0.split('/'), text.split('/'));
        loop {
            match (patterns.next(), parts.next()) {
                (None, None) => return true,
                (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
                _ => return false,
            }
        }
    }
}

fn part_matches(pattern: &str, part: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == part;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = part
        .strip_prefix(first)
        .and_then(|inner| inner.strip_suffix(last));
    let Some(mut inner) = inner else {
        return false;
    };
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        match inner.split_once(piece) {
            Some((_, after)) => inner = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn bound(name: &str, values: &[&str]) -> Result<BoundClaims, InvalidClaims> {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        BoundClaims::new(vec![(name.to_owned(), values)])
    }

    fn accepts(value: &str, claim: Value) -> bool {
        let patterns = vec![Pattern(value.to_owned())];
        let claims = BoundClaims(vec![("project_path".to_owned(), patterns)]);
        claims.mismatch(|_| Some(claim.clone())).is_none()
    }

    #[test]
    fn a_rule_must_name_the_owner_of_the_projects() {
        for (claim, value, is_bound) in [
            ("project_path", "shop/*", true),
            ("repository", "octo-org/load-*", true),
            ("repository", "*/load", false),
            ("repository", "octo-*/load", false),
            ("sub", "repo:octo-org/*:ref:refs/heads/main", true),
            ("sub", "repo:*/*:ref:refs/heads/main", false),
            (
                "sub",
                "project_path:shop/load:ref_type:branch:ref:main",
                true,
            ),
            ("sub", "project_path:*/load:ref_type:branch:ref:main", false),
            ("sub", "https://jenkins.example.com/job/*/", true),
            ("repository_owner_id", "1234", true),
            ("actor", "ana", false),
            (
                "job_workflow_ref",
                "octo-org/x/.github/workflows/a.yml@main",
                false,
            ),
        ] {
            assert_eq!(bound(claim, &[value]).is_ok(), is_bound, "{claim} {value}");
        }
    }

    #[test]
    fn a_star_matches_any_characters_except_a_slash() {
        for (pattern, text) in [
            ("group/*", "group/project"),
            ("group/*", "group/"),
            ("group/*/x", "group/sub/x"),
            ("g*p/pro*t", "group/project"),
            ("*-load/a", "shop-load/a"),
            ("a*b*c", "a-b-b-c"),
            ("a*a", "aa"),
            ("group/project", "group/project"),
        ] {
            assert!(accepts(pattern, json!(text)), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("group/*", "group"),
            ("group/*", "group/sub/project"),
            ("group/*", "evil/group/project"),
            ("group/*", "groupx/project"),
            ("group*", "group/project"),
            ("group/project", "group/project2"),
            ("group/project", "Group/project"),
            ("group/project", " group/project"),
            ("group/project", "group/project\n"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("a.c", "abc"),
            ("a?c", "abc"),
            ("[ab]", "a"),
        ] {
            assert!(!accepts(pattern, json!(text)), "{pattern} {text}");
        }
    }

    #[test]
    fn booleans_and_numbers_are_compared_as_text_and_other_values_match_nothing() {
        assert!(accepts("true", json!(true)));
        assert!(accepts("true", json!("true")));
        assert!(accepts("22", json!(22)));
        assert!(!accepts("22", json!(22.0)));
        assert!(!accepts("true", json!("True")));
        assert!(!accepts("a", json!(["a"])));
        assert!(!accepts("a", json!({"a": "a"})));
        assert!(!accepts("null", json!(null)));
        let claims = bound("project_path", &["a"]).unwrap();
        assert_eq!(claims.mismatch(|_| None), Some("project_path"));
    }

    #[test]
    fn one_of_several_values_suffices_and_every_claim_must_match() {
        let values = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let claims = BoundClaims::new(vec![
            ("project_path".to_owned(), values(&["g/a", "g/b"])),
            ("ref".to_owned(), values(&["main"])),
        ])
        .unwrap();
        let mismatch = |project: &str, git_ref: &str| {
            let found = claims.mismatch(|name| {
                Some(json!(match name {
                    "ref" => git_ref,
                    _ => project,
                }))
            });
            found.map(str::to_owned)
        };
        assert_eq!(mismatch("g/b", "main"), None);
        assert_eq!(mismatch("g/c", "main").as_deref(), Some("project_path"));
        assert_eq!(mismatch("g/a", "fork").as_deref(), Some("ref"));
    }

    #[test]
    fn a_rule_must_bind_a_claim_that_identifies_the_project() {
        assert_eq!(BoundClaims::new(Vec::new()), Err(InvalidClaims::Unbound));
        for (name, value) in [
            ("ref", "main"),
            ("ref_protected", "true"),
            ("environment", "production"),
            ("project_path", "*"),
            ("project_path", "*/*"),
            ("sub", "*:*"),
        ] {
            let refused = bound(name, &[value]);
            assert_eq!(refused, Err(InvalidClaims::Unbound), "{name}: {value}");
        }
        let refused = bound("project_path", &["group/*", "*/*"]);
        assert_eq!(refused, Err(InvalidClaims::Unbound));
        for name in RESERVED {
            let refused = bound(name, &["x"]);
            assert_eq!(refused, Err(InvalidClaims::Reserved(name.to_owned())));
        }
        let refused = bound("project_path", &["group/**"]);
        assert!(matches!(refused, Err(InvalidClaims::DoubleStar(_))));
        let refused = bound("project_path", &[]);
        assert!(matches!(refused, Err(InvalidClaims::NoValue(_))));
    }

    proptest! {
        #[test]
        fn a_pattern_agrees_with_a_simple_recursive_one(pattern in "[ab/*]{0,8}", text in "[ab/]{0,8}") {
            fn simple(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => {
                        simple(rest, text) || matches!(text.split_first(), Some((c, more)) if *c != b'/' && simple(pattern, more))
                    }
                    Some((c, rest)) => text.split_first().is_some_and(|(d, more)| c == d && simple(rest, more)),
                }
            }
            prop_assert_eq!(Pattern(pattern.clone()).matches(&text), simple(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
