#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::{AddressQuery, parse_timeout};
use crate::error::Refusal;

fn parse(hostname: &str, pairs: &[(&str, &str)]) -> Result<AddressQuery, Refusal> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    AddressQuery::parse(hostname, &pairs)
}

fn refusal(hostname: &str, pairs: &[(&str, &str)]) -> String {
    match parse(hostname, pairs).unwrap_err() {
        Refusal::BadInput(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_unchanged_and_fully_qualified() {
    let long = "a".repeat(63);
    for name in [
        "w",
        "Task_Workers-1",
        "tasks.w",
        "10.0.0.1",
        "-a-",
        "_",
        &long,
    ] {
        let parsed = parse(name, &[]).unwrap().name;
        let labels: Vec<_> = parsed.iter().collect();
        assert_eq!(labels.join(&b'.'), name.as_bytes());
        assert!(parsed.is_fqdn());
    }
    assert_eq!(
        parse("w.", &[]).unwrap().name,
        parse("w", &[]).unwrap().name
    );
}

#[test]
fn names_that_are_invalid_in_dns_are_refused() {
    let label = "a".repeat(63);
    let four = [label.as_str(); 4].join(".");
    let cases = [
        ("", "a name, as in"),
        (".", "no empty part"),
        ("a..b", "no empty part"),
        (".a", "no empty part"),
        ("a b", "only ASCII letters"),
        ("a/b", "only ASCII letters"),
        ("a*", "only ASCII letters"),
        ("a\\046b", "only ASCII letters"),
        ("größe", "only ASCII letters"),
        (&"a".repeat(64), "at most 63"),
        (&"a.".repeat(128), "at most 255"),
        (&four, "a name that fits in a DNS message"),
    ];
    for (name, expected) in cases {
        let text = refusal(name, &[]);
        assert!(text.starts_with("`hostname` is `"), "{text}");
        assert!(text.contains(expected), "{name}: {text}");
    }
}

#[test]
fn the_default_is_a_single_lookup_without_probe() {
    let query = parse("w", &[]).unwrap();
    assert_eq!(query.replicas, None);
    assert_eq!(query.probe, None);
    assert_eq!(query.timeout, Duration::from_secs(5));
}

#[test]
fn replicas_are_limited_by_the_size_of_a_dns_message() {
    assert_eq!(parse("w", &[("replicas", "1")]).unwrap().replicas, Some(1));
    // Header 12, question 1 + 60 + 1 + 4, then 16 bytes for each address: 65534 of 65535 bytes at 4091.
    let name = "w".repeat(60);
    assert_eq!(
        parse(&name, &[("replicas", "4091")]).unwrap().replicas,
        Some(4091)
    );
    assert!(refusal(&name, &[("replicas", "4092")]).contains("from 1 to 4091"));
    for seen in [
        "0",
        "-1",
        "",
        "3.5",
        "three",
        "10000",
        "99999999999999999999999",
    ] {
        let text = refusal("w", &[("replicas", seen)]);
        assert!(text.contains(&format!("`replicas` is `{seen}`")), "{text}");
    }
}

#[test]
fn timeouts_have_units_and_a_maximum() {
    let cases = [
        ("5", 5_000),
        ("5s", 5_000),
        ("0", 0),
        ("0.25", 250),
        (".5", 500),
        ("500ms", 500),
        ("30", 30_000),
        ("31", 30_000),
        ("86400s", 30_000),
        (&"9".repeat(400), 30_000),
    ];
    for (seen, milliseconds) in cases {
        let parsed = parse_timeout(seen).unwrap().as_secs_f64();
        let expected = Duration::from_millis(milliseconds).as_secs_f64();
        assert!((parsed - expected).abs() < 1e-6, "{seen}: {parsed}");
    }
    for seen in [
        "", "s", "ms", "-1", "+1", "inf", "NaN", "1e3", "5m", "5 s", "1.2.3", ".",
    ] {
        let text = refusal("w", &[("timeout", seen)]);
        assert!(
            text.contains(&format!("`timeout` is `{seen}`, expected seconds")),
            "{text}"
        );
    }
}

#[test]
fn probes_need_a_port() {
    let port = parse("w", &[("probe", "tcp:1099")]).unwrap().probe;
    assert_eq!(port.map(u16::from), Some(1099));
    for seen in [
        "",
        "1099",
        "tcp",
        "tcp:",
        "tcp:0",
        "tcp:65536",
        "udp:53",
        "http:80",
        "TCP:1",
    ] {
        let text = refusal("w", &[("probe", seen)]);
        assert!(
            text.contains(&format!("`probe` is `{seen}`, expected `tcp:PORT`")),
            "{text}"
        );
    }
}

#[test]
fn unknown_and_repeated_parameters_are_refused() {
    assert!(refusal("w", &[("replica", "3")]).contains("`parameter` is `replica`"));
    assert!(refusal("w", &[("replicas", "3"), ("replicas", "4")]).contains("`replicas` is `4`"));
}

#[test]
fn the_value_in_an_error_is_truncated() {
    assert!(refusal("w", &[("probe", &"x".repeat(10_000))]).len() < 200);
}
