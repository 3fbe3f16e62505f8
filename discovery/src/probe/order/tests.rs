#![allow(clippy::unwrap_used)]

use std::time::Duration;

use atq_node_protocol::probe::{Probe, ProbeOrder};
use serde_json::{Value, json};

use super::Order;
use crate::error::Refusal;
use crate::probe::check::{Check, Get};

fn parse(body: &Value) -> Result<Order, Refusal> {
    Order::parse(body.to_string().as_bytes())
}

#[test]
fn the_message_of_the_director_is_parsed() {
    let (addresses, timeout) = (vec!["10.0.0.2".parse().unwrap()], 0.5);
    let http = Probe::Http {
        port: 8080,
        path: "/ready?deep=1".to_owned(),
        status: 204,
    };
    for probe in [Probe::Tcp(1099), http] {
        let sent = ProbeOrder {
            addresses: addresses.clone(),
            probe: probe.clone(),
            timeout,
        };
        let order = Order::parse(&serde_json::to_vec(&sent).unwrap()).unwrap();
        assert_eq!(order.addresses, addresses);
        assert_eq!(order.timeout, Duration::from_millis(500));
        let read = match &order.check {
            Check::Tcp(port) => Probe::Tcp(port.get()),
            Check::Http(get) => Probe::Http {
                port: get.port.get(),
                path: get.path.clone(),
                status: get.status,
            },
        };
        assert_eq!(read, probe);
    }
}

fn refusal(body: &[u8]) -> String {
    match Order::parse(body).unwrap_err() {
        Refusal::BadInput(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The error for an otherwise valid body with this value of one field.
fn refusal_with(pointer: &str, value: Value) -> String {
    let get = json!({"port": 8080, "path": "/", "status": 200});
    let mut body = json!({"addresses": ["10.0.0.2"], "http": get, "timeout": 1});
    parse(&body).unwrap();
    if pointer == "/tcp" {
        body = json!({"addresses": ["10.0.0.2"], "tcp": 1});
        parse(&body).unwrap();
    }
    *body.pointer_mut(pointer).unwrap() = value;
    refusal(body.to_string().as_bytes())
}

#[test]
fn orders_keep_the_addresses_unchanged() {
    let order = parse(&json!({"addresses": ["10.0.0.3", "10.0.0.2", "10.0.0.3"], "tcp": 1099}));
    let order = order.unwrap();
    let addresses: Vec<_> = order.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.3", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(order.check, Check::Tcp(1099.try_into().unwrap()));
    assert_eq!(order.timeout, Duration::from_secs(5));
}

#[test]
fn orders_for_http_have_a_port_a_path_and_a_status() {
    let get = json!({"port": 8080, "path": "/health?full", "status": 204});
    let order = parse(&json!({"addresses": ["10.0.0.2"], "http": get})).unwrap();
    let expected = Get {
        port: 8080.try_into().unwrap(),
        path: "/health?full".into(),
        status: 204,
    };
    assert_eq!(order.check, Check::Http(expected.into()));
}

#[test]
fn timeouts_are_seconds_with_a_maximum() {
    let cases = [
        (json!(0), 0),
        (json!(0.25), 250),
        (json!(5), 5_000),
        (json!(1e30), 30_000),
    ];
    for (seen, milliseconds) in cases {
        let body = json!({"addresses": ["10.0.0.2"], "tcp": 1, "timeout": seen});
        let difference = parse(&body)
            .unwrap()
            .timeout
            .abs_diff(Duration::from_millis(milliseconds));
        assert!(difference < Duration::from_micros(1), "{seen}");
    }
    for seen in [json!(-1), json!("5"), json!(null), json!([5])] {
        let text = refusal_with("/timeout", seen.clone());
        let expected = format!("`timeout` is `{seen}`, expected seconds, as in");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn ports_paths_and_statuses_are_checked() {
    for seen in [json!(0), json!(65_536), json!(-1), json!(1.5), json!("80")] {
        let expected = format!("is `{seen}`, expected a port from 1 to 65535");
        assert_eq!(
            refusal_with("/tcp", seen.clone()),
            format!("`tcp` {expected}")
        );
        assert_eq!(
            refusal_with("/http/port", seen),
            format!("`http.port` {expected}")
        );
    }
    let long = format!("/{}", "x".repeat(2000));
    for seen in ["", "health", "/a b", "/\r\nHost: x", "/ä", &long] {
        let text = refusal_with("/http/path", json!(seen));
        assert!(text.starts_with("`http.path` is `\""), "{text}");
        assert!(
            text.contains("expected a path that begins with `/`"),
            "{text}"
        );
    }
    for seen in [json!(99), json!(600), json!("200"), json!(null)] {
        let text = refusal_with("/http/status", seen.clone());
        let expected = format!("`http.status` is `{seen}`, expected a status from 100 to 599");
        assert_eq!(text, expected);
    }
}

#[test]
fn addresses_are_ipv4_and_at_least_one() {
    for seen in [json!([]), json!("10.0.0.2"), json!(null), json!({})] {
        let text = refusal_with("/addresses", seen.clone());
        let expected = format!("`addresses` is `{seen}`, expected a list of IPv4 addresses");
        assert!(text.starts_with(&expected), "{text}");
    }
    for seen in [json!("10.0.0"), json!("::1"), json!("worker"), json!(1)] {
        let text = refusal_with("/addresses", json!(["10.0.0.2", seen]));
        let expected = format!("`addresses[1]` is `{seen}`, expected an IPv4 address");
        assert_eq!(text, expected);
    }
}

#[test]
fn missing_and_unknown_fields_are_named() {
    let cases = [
        ("", "`body`: EOF"),
        ("{", "`body`: EOF"),
        ("[]", "`body` is `[]`, expected a JSON object"),
        (r#"{"tcp":1}"#, "`addresses` is missing, expected a list"),
        (
            r#"{"addresses":["10.0.0.2"]}"#,
            "`tcp` is missing, expected either `tcp` or `http`",
        ),
        (
            r#"{"addresses":["10.0.0.2"],"tcp":1,"http":{}}"#,
            "`http` is `{}`, expected only one of `tcp` and `http`",
        ),
        (
            r#"{"addresses":["10.0.0.2"],"http":{"path":"/","status":200}}"#,
            "`http.port` is missing, expected `port`, `path` and `status`",
        ),
        (
            r#"{"addresses":["10.0.0.2"],"http":80}"#,
            "`http` is `80`, expected `port`, `path` and `status`",
        ),
        (
            r#"{"addresses":["10.0.0.2"],"port":1}"#,
            "`field of body` is `port`, expected a JSON object with `addresses`",
        ),
        (
            r#"{"addresses":["10.0.0.2"],"http":{"method":"PUT"}}"#,
            "`field of http` is `method`, expected `port`",
        ),
    ];
    for (body, expected) in cases {
        let text = refusal(body.as_bytes());
        assert!(text.starts_with(expected), "{body}: {text}");
    }
    assert!(refusal(b"\xff").starts_with("`body`: "));
}

#[test]
fn the_value_in_an_error_is_truncated() {
    assert!(refusal_with("/tcp", json!("x".repeat(10_000))).len() < 200);
}
