//! JWTs of GitLab, GitHub and Jenkins, and attacks.
#![allow(clippy::unwrap_used)]

use super::testing::{TestKey, encode, gitlab_claims};
use super::*;
use crate::Role;
use serde_json::{Value, json};
use std::time::Duration;

const NOW: u64 = 1_800_000_000;
const KID: &str = "k1";

fn claims(bound: &[(&str, &[&str])]) -> BoundClaims {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let bound = bound.iter();
    BoundClaims::new(
        bound
            .map(|(name, values)| ((*name).to_owned(), owned(values)))
            .collect(),
    )
    .unwrap()
}

fn rule(issuer: &str, bound: &[(&str, &[&str])]) -> ExchangeRule {
    ExchangeRule {
        name: "ci".to_owned(),
        issuer: issuer.to_owned(),
        audience: "https://atq.example".to_owned(),
        claims: claims(bound),
        role: Role::Runner,
        expires_in: Duration::from_secs(3600),
    }
}

fn gitlab() -> ExchangeRule {
    let bound: &[(&str, &[&str])] = &[
        ("project_path", &["shop/*"]),
        ("ref", &["main", "release-*"]),
        ("ref_protected", &["true"]),
    ];
    ExchangeRule {
        name: "gitlab".to_owned(),
        ..rule("https://gitlab.example", bound)
    }
}

fn jwks(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn header(algorithm: &str) -> Value {
    json!({"typ": "JWT", "alg": algorithm, "kid": KID})
}

fn check(text: &str, rule: &ExchangeRule, keys: &KeySet) -> Result<Identity, Refusal> {
    Jwt::parse(text)?.check(rule, keys, NOW)
}

/// GitLab's claims with changes; `null` removes a claim.
fn with(changes: Value) -> Value {
    let mut claims = gitlab_claims(NOW);
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.remove(name),
            value => object.insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// The result for GitLab's rule and a JWT of its key with these changes.
fn changed(changes: Value) -> Result<Identity, Refusal> {
    let key = TestKey::p256();
    let keys = jwks(&[key.named_jwk(KID, "ES256")]);
    check(
        &key.sign(&header("ES256"), &with(changes)),
        &gitlab(),
        &keys,
    )
}

#[test]
fn a_job_of_gitlab_gets_the_role_of_the_rule_and_a_name_of_its_own() {
    let key = TestKey::rsa();
    let text = key.sign(&header("RS256"), &gitlab_claims(NOW));
    let identity = check(&text, &gitlab(), &jwks(&[key.named_jwk(KID, "RS256")])).unwrap();
    assert_eq!(identity.name, "ci:gitlab:shop/load#302");
    assert_eq!(identity.role, Role::Runner);
    assert_eq!(identity.expires_in, Duration::from_secs(3600));
    assert_eq!(identity.jwt_ends, NOW + 3660);
}

#[test]
fn a_workflow_of_github_is_accepted() {
    let key = TestKey::rsa();
    let claims = json!({
        "jti": "6d9d1a2c", "sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "aud": "https://atq.example",
        "ref": "refs/heads/main", "sha": "1a2b", "repository": "octo-org/octo-repo", "repository_owner": "octo-org",
        "repository_id": "74", "run_id": "8001", "run_number": "10", "run_attempt": "2", "actor": "octocat",
        "workflow": "load", "event_name": "push", "ref_type": "branch", "ref_protected": "true",
        "job_workflow_ref": "octo-org/octo-repo/.github/workflows/load.yml@refs/heads/main",
        "iss": "https://token.actions.githubusercontent.com", "nbf": NOW - 600, "exp": NOW + 300, "iat": NOW
    });
    let bound: &[(&str, &[&str])] = &[("sub", &["repo:octo-org/octo-repo:ref:refs/heads/*"])];
    let rule = rule("https://token.actions.githubusercontent.com", bound);
    let text = key.sign(&header("RS256"), &claims);
    let identity = check(&text, &rule, &jwks(&[key.named_jwk(KID, "RS256")])).unwrap();
    assert_eq!(identity.name, "ci:ci:octo-org/octo-repo#8001");
}

#[test]
fn a_build_of_jenkins_is_accepted_without_nbf_and_jti() {
    let key = TestKey::rsa();
    let claims = json!({
        "iss": "https://jenkins.example/oidc", "aud": "https://atq.example", "exp": NOW + 3600, "iat": NOW,
        "sub": "https://jenkins.example/job/load%20test/", "build_number": 12
    });
    let bound: &[(&str, &[&str])] = &[("sub", &["https://jenkins.example/job/load%20test/"])];
    let rule = rule("https://jenkins.example/oidc", bound);
    let text = key.sign(&header("RS256"), &claims);
    let identity = check(&text, &rule, &jwks(&[key.named_jwk(KID, "RS256")])).unwrap();
    let name = "ci:ci:https://jenkins.example/job/load%20test/#12";
    assert_eq!(identity.name, name);
}

#[test]
fn every_asymmetric_algorithm_is_accepted_with_its_own_key_only() {
    let rsa = TestKey::rsa;
    let cases: [(&str, TestKey); 9] = [
        ("RS256", rsa()),
        ("RS384", rsa()),
        ("RS512", rsa()),
        ("PS256", rsa()),
        ("PS384", rsa()),
        ("PS512", rsa()),
        ("ES256", TestKey::p256()),
        ("ES384", TestKey::p384()),
        ("EdDSA", TestKey::ed25519()),
    ];
    for (algorithm, key) in &cases {
        let keys = jwks(&[key.named_jwk(KID, algorithm)]);
        for (other, signer) in &cases {
            let text = signer.sign(&header(other), &gitlab_claims(NOW));
            let result = check(&text, &gitlab(), &keys).map(drop);
            let expected = match algorithm == other {
                true => Ok(()),
                false => Err(Refusal::OtherAlgorithm),
            };
            assert_eq!(result, expected, "{other} by a key for {algorithm}");
        }
    }
}

#[test]
fn an_rsa_key_without_an_algorithm_is_for_rs256_and_others_follow_their_curve() {
    for (algorithm, key) in [
        ("RS256", TestKey::rsa()),
        ("ES256", TestKey::p256()),
        ("ES384", TestKey::p384()),
        ("EdDSA", TestKey::ed25519()),
    ] {
        let mut jwk = key.jwk();
        jwk["kid"] = json!(KID);
        let text = key.sign(&header(algorithm), &gitlab_claims(NOW));
        assert!(
            check(&text, &gitlab(), &jwks(&[jwk])).is_ok(),
            "{algorithm}"
        );
    }
    let key = TestKey::rsa();
    let mut jwk = key.jwk();
    jwk["kid"] = json!(KID);
    let text = key.sign(&header("PS256"), &gitlab_claims(NOW));
    let refused = check(&text, &gitlab(), &jwks(&[jwk]));
    assert_eq!(refused, Err(Refusal::OtherAlgorithm));
}

#[test]
fn a_public_key_in_pem_is_accepted_for_any_key_id() {
    for (algorithm, key) in [
        ("RS256", TestKey::rsa()),
        ("ES256", TestKey::p256()),
        ("ES384", TestKey::p384()),
        ("EdDSA", TestKey::ed25519()),
    ] {
        let keys = KeySet::parse(key.pem().as_bytes()).unwrap();
        for header in [header(algorithm), json!({"alg": algorithm})] {
            let text = key.sign(&header, &gitlab_claims(NOW));
            assert!(check(&text, &gitlab(), &keys).is_ok(), "{header}");
        }
    }
}

#[test]
fn an_unsigned_jwt_is_refused() {
    let keys = jwks(&[TestKey::rsa().named_jwk(KID, "RS256")]);
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let (head, body) = (
            header(algorithm).to_string(),
            gitlab_claims(NOW).to_string(),
        );
        for signature in ["", "AAAA"] {
            let text = format!("{}.{}.{signature}", encode(&head), encode(&body));
            let refused = check(&text, &gitlab(), &keys);
            assert_eq!(refused, Err(Refusal::Algorithm), "{algorithm}");
        }
    }
}

#[test]
fn the_public_key_is_not_accepted_as_the_secret_of_a_symmetric_algorithm() {
    let key = TestKey::rsa();
    let secrets = [key.pem(), key.jwk()["n"].as_str().unwrap().to_owned()];
    for secret in secrets {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let message = format!(
            "{}.{}",
            encode(header("HS256").to_string()),
            encode(gitlab_claims(NOW).to_string())
        );
        let signature = encode(ring::hmac::sign(&secret, message.as_bytes()));
        let text = format!("{message}.{signature}");
        for keys in [
            jwks(&[key.named_jwk(KID, "RS256")]),
            KeySet::parse(key.pem().as_bytes()).unwrap(),
        ] {
            assert_eq!(check(&text, &gitlab(), &keys), Err(Refusal::Algorithm));
        }
    }
    // A symmetric key in the set itself is ignored.
    let symmetric = json!({"kty": "oct", "kid": "k2", "alg": "HS256", "k": encode("secret")});
    let keys = jwks(&[symmetric, key.named_jwk(KID, "RS256")]);
    assert_eq!(keys.ignored(), ["key 1: symmetric keys are not accepted"]);
    assert!(!keys.has(Some("k2")));
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let (own, other) = (TestKey::p256(), TestKey::p256());
    let keys = jwks(&[own.named_jwk(KID, "ES256")]);
    let forged = other.sign(&header("ES256"), &gitlab_claims(NOW));
    assert_eq!(check(&forged, &gitlab(), &keys), Err(Refusal::Signature));
    // Also with another payload, an empty signature, and that of another JWT.
    let text = own.sign(&header("ES256"), &gitlab_claims(NOW));
    let parts: Vec<&str> = text.split('.').collect();
    let evil = encode(with(json!({"project_path": "shop/evil"})).to_string());
    let head = encode(json!({"kid": KID, "alg": "ES256"}).to_string());
    for text in [
        format!("{}.{evil}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{head}.{}.{}", parts[1], parts[2]),
        format!("{text}A"),
    ] {
        assert_eq!(check(&text, &gitlab(), &keys), Err(Refusal::Signature));
    }
}

#[test]
fn a_key_in_the_jwt_itself_is_ignored() {
    let (own, other) = (TestKey::p256(), TestKey::p256());
    let keys = jwks(&[own.named_jwk(KID, "ES256")]);
    let mut header = header("ES256");
    header["jwk"] = other.named_jwk(KID, "ES256");
    header["jku"] = json!("https://evil.example/jwks");
    header["x5u"] = json!("https://evil.example/cert");
    let text = other.sign(&header, &gitlab_claims(NOW));
    assert_eq!(check(&text, &gitlab(), &keys), Err(Refusal::Signature));
    // An extension that must be understood is not.
    let mut header = self::header("ES256");
    header["crit"] = json!(["b64"]);
    header["b64"] = json!(false);
    let text = own.sign(&header, &gitlab_claims(NOW));
    assert_eq!(check(&text, &gitlab(), &keys), Err(Refusal::Signature));
}

#[test]
fn the_key_id_selects_the_key_and_is_only_compared() {
    let (first, second) = (TestKey::p256(), TestKey::p256());
    let keys = jwks(&[
        first.named_jwk("k1", "ES256"),
        second.named_jwk("k2", "ES256"),
    ]);
    let sign = |key: &TestKey, id: Value| {
        key.sign(&json!({"alg": "ES256", "kid": id}), &gitlab_claims(NOW))
    };
    assert!(check(&sign(&first, json!("k1")), &gitlab(), &keys).is_ok());
    assert!(check(&sign(&second, json!("k2")), &gitlab(), &keys).is_ok());
    let swapped = check(&sign(&first, json!("k2")), &gitlab(), &keys);
    assert_eq!(swapped, Err(Refusal::Signature));
    for id in [
        "",
        "k",
        "K1",
        "k1\0",
        "../../etc/passwd",
        "' OR '1'='1",
        "https://evil.example/jwks",
    ] {
        let refused = check(&sign(&first, json!(id)), &gitlab(), &keys);
        assert_eq!(refused, Err(Refusal::UnknownKey), "{id}");
    }
    for id in [json!(1), json!(["k1"]), json!({"k1": 1})] {
        let refused = check(&sign(&first, id), &gitlab(), &keys);
        assert_eq!(refused, Err(Refusal::Malformed));
    }
    let without = first.sign(&json!({"alg": "ES256"}), &gitlab_claims(NOW));
    let refused = check(&without, &gitlab(), &keys);
    assert_eq!(refused, Err(Refusal::UnknownKey));
    let only = jwks(&[first.named_jwk("k1", "ES256")]);
    assert!(check(&without, &gitlab(), &only).is_ok());
}

#[test]
fn times_are_checked_with_a_minute_of_leeway() {
    for (changes, expected) in [
        (json!({"exp": NOW - 59}), Ok(())),
        (json!({"exp": NOW - 60}), Err(Refusal::Expired)),
        (json!({"exp": 0}), Err(Refusal::Expired)),
        (json!({"exp": null}), Err(Refusal::Time("exp"))),
        (
            json!({"exp": (NOW + 60).to_string()}),
            Err(Refusal::Time("exp")),
        ),
        (json!({"exp": [NOW + 60]}), Err(Refusal::Malformed)),
        (json!({"exp": -5}), Err(Refusal::Time("exp"))),
        (json!({"exp": NOW as f64 + 0.5}), Ok(())),
        (json!({"exp": u64::MAX}), Ok(())),
        (json!({"exp": 1e300}), Ok(())),
        (json!({"nbf": NOW + 60}), Ok(())),
        (json!({"nbf": NOW + 61}), Err(Refusal::NotYet)),
        (json!({"nbf": "x"}), Err(Refusal::Time("nbf"))),
        (json!({"nbf": null}), Ok(())),
        (json!({"iat": NOW + 61}), Err(Refusal::NotYet)),
        (json!({"iat": true}), Err(Refusal::Time("iat"))),
        (json!({"iat": null}), Ok(())),
    ] {
        assert_eq!(changed(changes.clone()).map(drop), expected, "{changes}");
    }
}

#[test]
fn a_jwt_for_another_recipient_is_refused() {
    for audience in [
        json!("https://other.example"),
        json!("https://atq.example/"),
        json!("HTTPS://atq.example"),
        json!("https://atq.example.evil.example"),
        json!([]),
        json!(["https://other.example"]),
        json!([["https://atq.example"]]),
        json!({"https://atq.example": true}),
        json!(true),
        json!(null),
    ] {
        let refused = changed(json!({"aud": audience.clone()}));
        assert_eq!(refused, Err(Refusal::Audience), "{audience}");
    }
    let several = json!({"aud": ["https://other.example", "https://atq.example"]});
    assert!(changed(several).is_ok());
}

#[test]
fn another_issuer_is_refused_even_with_the_same_keys() {
    for issuer in [
        json!("https://gitlab.example/"),
        json!("https://gitlab.example.evil.example"),
        json!("http://gitlab.example"),
        json!(["https://gitlab.example"]),
        json!(null),
    ] {
        let refused = changed(json!({"iss": issuer.clone()}));
        assert_eq!(refused, Err(Refusal::Issuer), "{issuer}");
    }
}

#[test]
fn claims_of_other_projects_and_refs_are_refused() {
    for (changes, claim) in [
        (json!({"project_path": "evil/load"}), "project_path"),
        (json!({"project_path": "shop/load/fork"}), "project_path"),
        (json!({"project_path": "evil/shop/load"}), "project_path"),
        (json!({"project_path": "shop"}), "project_path"),
        (json!({"project_path": null}), "project_path"),
        (json!({"project_path": ["shop/load"]}), "project_path"),
        (
            json!({"project_path": ["evil/x", "shop/load"]}),
            "project_path",
        ),
        (json!({"project_path": {"shop/load": 1}}), "project_path"),
        (json!({"ref": "feature"}), "ref"),
        (json!({"ref": "refs/heads/main"}), "ref"),
        (json!({"ref": "release-1/../main"}), "ref"),
        (json!({"ref_protected": "false"}), "ref_protected"),
        (json!({"ref_protected": 1}), "ref_protected"),
    ] {
        let expected = Err(Refusal::Claim(claim.to_owned()));
        assert_eq!(changed(changes.clone()), expected, "{changes}");
    }
    // A fork has a path of its own, whatever its branch is called.
    let fork = json!({"project_path": "mallory/load", "namespace_path": "mallory", "ref": "main"});
    let expected = Err(Refusal::Claim("project_path".to_owned()));
    assert_eq!(changed(fork), expected);
    assert!(changed(json!({"ref": "release-1"})).is_ok());
    assert!(changed(json!({"ref_protected": true})).is_ok());
}

#[test]
fn duplicate_names_are_refused_in_header_and_claims() {
    let key = TestKey::p256();
    let keys = jwks(&[key.named_jwk(KID, "ES256")]);
    let (head, body) = (header("ES256").to_string(), gitlab_claims(NOW).to_string());
    let evil = |text: &str, more: &str| format!("{{{more},{}", &text[1..]);
    let last = |text: &str, more: &str| format!("{},{more}}}", &text[..text.len() - 1]);
    for (head, body) in [
        (head.clone(), evil(&body, r#""project_path":"evil/load""#)),
        (head.clone(), last(&body, r#""project_path":"evil/load""#)),
        (head.clone(), last(&body, r#""exp":1"#)),
        (head.clone(), last(&body, r#""iss":"https://evil.example""#)),
        (last(&head, r#""alg":"ES256""#), body.clone()),
        (evil(&head, r#""alg":"none""#), body.clone()),
        (last(&head, r#""kid":"k2""#), body.clone()),
    ] {
        let text = key.sign_text(&head, &body);
        assert_eq!(check(&text, &gitlab(), &keys), Err(Refusal::Malformed));
    }
}

#[test]
fn a_huge_jwt_and_other_texts_are_refused() {
    let key = TestKey::p256();
    let keys = jwks(&[key.named_jwk(KID, "ES256")]);
    let huge = with(json!({"padding": "x".repeat(MAX_JWT_BYTES)}));
    let text = key.sign(&header("ES256"), &huge);
    assert_eq!(check(&text, &gitlab(), &keys), Err(Refusal::TooLarge));
    let deep = format!("{{\"iss\":{}}}", "[".repeat(10_000));
    let text = key.sign_text(&header("ES256").to_string(), &deep);
    assert_eq!(check(&text, &gitlab(), &keys), Err(Refusal::Malformed));
    let good = key.sign(&header("ES256"), &gitlab_claims(NOW));
    for text in [
        String::new(),
        "...".to_owned(),
        "a.b".to_owned(),
        "a.b.c.d.e".to_owned(),
        format!("{good}.x"),
        format!(" {good}"),
        format!("Bearer {good}"),
        good.replace('.', "="),
        key.sign_text("[]", "{}"),
        key.sign_text("{}", "{}"),
        key.sign_text(&header("ES256").to_string(), "[]"),
    ] {
        let refused = check(&text, &gitlab(), &keys);
        assert_eq!(refused, Err(Refusal::Malformed), "{text}");
    }
}

#[test]
fn the_same_jwt_is_recognized_and_others_are_not_confused_with_it() {
    let key = TestKey::p256();
    let keys = jwks(&[key.named_jwk(KID, "ES256")]);
    // ECDSA signs with random numbers, so that the texts differ.
    let id = |changes: Value| {
        let text = key.sign(&header("ES256"), &with(changes));
        check(&text, &gitlab(), &keys).unwrap().jwt
    };
    assert_eq!(id(json!({})), id(json!({})));
    assert_eq!(id(json!({"jti": null})), id(json!({"jti": null})));
    assert_ne!(id(json!({"jti": "a"})), id(json!({"jti": "b"})));
    assert_ne!(
        id(json!({"jti": null})),
        id(json!({"jti": null, "sha": "x"}))
    );
    let empty_is_an_id = id(json!({"jti": ""}));
    assert_eq!(empty_is_an_id, id(json!({"jti": "", "sha": "x"})));
}

#[test]
fn the_name_of_a_client_has_no_unusual_characters_and_is_bounded() {
    let key = TestKey::p256();
    let keys = jwks(&[key.named_jwk(KID, "ES256")]);
    let rule = rule("https://gitlab.example", &[("project_id", &["20"])]);
    let name = |path: &str| {
        let text = key.sign(&header("ES256"), &with(json!({"project_path": path})));
        check(&text, &rule, &keys).unwrap().name
    };
    assert_eq!(name("a\n\"b\u{1b}[31m/ä"), "ci:ci:a__b__31m/_#302");
    assert_eq!(name(&"x".repeat(5000)).chars().count(), 200);
}

#[test]
fn unusable_keys_are_ignored_and_the_others_are_used() {
    let key = TestKey::p256();
    let small =
        json!({"kty": "RSA", "kid": "small", "alg": "RS256", "n": encode([255; 128]), "e": "AQAB"});
    let padded = json!({"kty": "RSA", "kid": "padded", "n": encode([[0; 128], [255; 128]].concat()), "e": "AQAB"});
    let mut encryption = key.named_jwk("enc", "ES256");
    encryption["use"] = json!("enc");
    let set = json!({"keys": [
        small, padded, encryption, key.named_jwk("odd", "RS256"), key.named_jwk("new", "XY999"),
        {"kty": "PQ", "kid": "future", "alg": "ML-DSA-44"}, {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "alg": "ES512"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}, "text", {}, key.named_jwk(KID, "ES256")
    ]});
    let keys = KeySet::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys.ignored().len(), 10, "{:?}", keys.ignored());
    assert!(keys.has(Some(KID)));
    for id in ["small", "padded", "enc", "odd", "new", "future"] {
        assert!(!keys.has(Some(id)), "{id}");
    }
    let text = key.sign(&header("ES256"), &gitlab_claims(NOW));
    assert!(check(&text, &gitlab(), &keys).is_ok());
}

#[test]
fn a_file_without_a_usable_public_key_is_refused_with_the_reason() {
    let parse = |text: &str| KeySet::parse(text.as_bytes()).map(drop);
    let key = TestKey::rsa();
    for text in [
        "",
        "x",
        "{}",
        "[]",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        assert_eq!(parse(text), Err(InvalidKeys::Format), "{text}");
    }
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(parse(private), Err(InvalidKeys::Private));
    let two = format!("{}{}", key.pem(), key.pem());
    assert_eq!(parse(&two), Err(InvalidKeys::Several));
    let none = parse(r#"{"keys": []}"#);
    assert_eq!(none, Err(InvalidKeys::NoneUsable(Vec::new())));
    let only_symmetric = parse(r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#);
    let message = only_symmetric.unwrap_err().to_string();
    assert_eq!(
        message,
        "has no usable key: key 1: symmetric keys are not accepted"
    );
    // RSA with 1024 bits.
    let small = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDCfC8tLCUeNuUvs7+Ef2Pe4NDK
B+77EtxQiWY+zen72p1kstZOgFdplPENegtdc1czG3MH68BKaMtNCyXVKMmMyvZh
hk2gcLjj8F6mBzBHShBJuDB5V9G5KPdYwf0YnawbXcobfa5CDY48buN8mP5dYDm1
uVeEofXpt9q6VAGQewIDAQAB
-----END PUBLIC KEY-----
";
    let message = parse(small).unwrap_err().to_string();
    assert_eq!(
        message,
        "has no usable key: RSA keys must have 2048 bits or more"
    );
}

#[test]
fn neither_a_refusal_nor_debug_output_contains_the_jwt() {
    let key = TestKey::p256();
    let text = key.sign(&header("ES256"), &gitlab_claims(NOW));
    let jwt = Jwt::parse(&text).unwrap();
    let shown = format!("{jwt:?}");
    for part in text.split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
}
