//! `tokenExchange`.

use super::*;
use atq_access::Role;

const RULE: &str = "tokenExchange:
- name: gitlab
  issuer: https://gitlab.example
  audience: https://atq.example
  keys: {url: https://gitlab.example/oauth/discovery/keys}
  claims: {project_path: shop/*}
  role: runner
";

/// The rule with one of its lines replaced.
fn rule(key: &str, line: &str) -> Result<Config, ConfigError> {
    let lines = RULE.lines().map(
        |own| match own.trim_start_matches([' ', '-']).starts_with(key) {
            true => format!("{}{line}", &own[..2]),
            false => own.to_owned(),
        },
    );
    with(&lines.collect::<Vec<_>>().join("\n"))
}

fn fault(key: &str, line: &str) -> String {
    let text = rule(key, line).unwrap_err().to_string();
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_rule_has_defaults_and_claims_may_be_lists_and_booleans() {
    let config = with(RULE).unwrap();
    let [exchange] = &config.token_exchange[..] else {
        panic!("{:?}", config.token_exchange);
    };
    assert_eq!(exchange.rule.role, Role::Runner);
    assert_eq!(exchange.rule.expires_in, Duration::from_secs(3600));
    assert_eq!(
        exchange.keys,
        KeyLocation::Url {
            url: "https://gitlab.example/oauth/discovery/keys".to_owned(),
            ca: None
        }
    );
    let claims = "claims: {project_id: [20, \"21\"], ref_protected: true, ref: [main, release-*]}";
    assert!(rule("claims", claims).is_ok());
    assert!(parse(SMALLEST).unwrap().token_exchange.is_empty());
}

#[test]
fn a_rule_that_any_project_of_the_issuer_could_use_is_a_fault() {
    for claims in [
        "claims: {}",
        "claims:",
        "claims: {ref: main}",
        "claims: {project_path: \"*\"}",
    ] {
        let text = fault("claims", claims);
        assert!(
            text.contains(
                "`tokenExchange[0].claims` (line 4) must bind a claim that identifies the project"
            ),
            "{text}"
        );
    }
}

#[test]
fn faults_of_a_rule_name_their_key() {
    assert_snapshot!(fault("role", "role: owner"), @"  `tokenExchange[0].role` (line 9) must be `viewer`, `runner` or `admin`, found `owner`");
    assert_snapshot!(fault("role", "expiresIn: 25h"), @"
      `tokenExchange[0].role` is missing
      `tokenExchange[0].expiresIn` (line 9) must be a time from `1m` to `24h`, found `25h`
    ");
    assert_snapshot!(fault("audience", "audiences: x"), @"
      `tokenExchange[0].audience` is missing
      `tokenExchange[0].audiences` (line 6) is unknown: did you mean `tokenExchange[0].audience`?
    ");
    assert_snapshot!(fault("claims", "claims: {aud: x, sub: y}"), @"  `tokenExchange[0].claims` (line 4) cannot bind `aud`");
    assert_snapshot!(fault("claims", "claims: {project_path: shop/**}"), @"  `tokenExchange[0].claims` (line 4) has `**` for `project_path`: only `*` is known, and it does not match `/`");
    assert_snapshot!(fault("claims", "claims: {project_path: {a: b}}"), @"  `tokenExchange[0].claims.project_path` (line 8) must be text, or a list of texts, found a mapping");
    assert_snapshot!(fault("keys", "keys: {}"), @"  `tokenExchange[0].keys.url` (line 4) or `file` is required");
    assert_snapshot!(fault("keys", "keys: {url: https://a.example, file: x}"), @"  `tokenExchange[0].keys.file` (line 4) excludes `url`");
    assert_snapshot!(fault("keys", "keys: {file: x, ca: z}"), @"  `tokenExchange[0].keys.ca` (line 4) is only for `url`");
    assert_snapshot!(message(&format!("{RULE}{}", &RULE[RULE.find('-').unwrap()..])), @"
    the configuration has a fault
      `tokenExchange[1]` (line 10) has the same name as an earlier rule: `gitlab`
    ");
}

#[test]
fn keys_come_by_https_or_from_this_machine() {
    for url in [
        "http://gitlab.example/keys",
        "http://10.0.0.1/keys",
        "http://localhost.evil.example/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://127.0.0.1@evil.example/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@gitlab.example/keys",
    ] {
        let text = fault("keys", &format!("keys: {{url: \"{url}\"}}"));
        assert!(text.contains("must be an `https` URL"), "{url}: {text}");
    }
    for url in [
        "https://gitlab.example:8443/keys",
        "http://localhost:8080/keys",
        "http://127.0.0.1/keys",
        "http://[::1]:80/keys",
    ] {
        assert!(
            rule("keys", &format!("keys: {{url: \"{url}\"}}")).is_ok(),
            "{url}"
        );
    }
}

#[test]
fn files_of_keys_become_absolute_and_must_be_readable() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.yaml");
    let rule = RULE.replace(
        "{url: https://gitlab.example/oauth/discovery/keys}",
        "{file: no/such/keys.json}",
    );
    fs::write(&file, format!("{SMALL}{rule}")).unwrap();
    let text = Config::load(Some(&file)).unwrap_err().to_string();
    assert!(
        text.contains("`tokenExchange[gitlab].keys.file` cannot be used: `/"),
        "{text}"
    );
}

#[test]
fn rules_without_authentication_and_a_public_url_without_tls_are_warnings() {
    let of = |text: &str| with(text).unwrap().warnings().join("\n");
    assert!(of(RULE).contains("`tokenExchange` has no effect"));
    assert_eq!(of(&format!("{RULE}auth: tokens\n")), "");
    let tls = "tls: {certificate: /c.pem, key: /k.pem}\npublicUrl:";
    assert!(of(&format!("{tls} http://atq.example\n")).contains("need `https://`"));
    assert_eq!(of(&format!("{tls} https://atq.example\n")), "");
    assert_eq!(of("publicUrl: http://atq.example\n"), "");
}
