//! Converts values to the types of keys. Errors continue a sentence that begins with the key.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::document::{Value, expected};
use super::{Auth, Delivery, LogFormat};
use atq_access::Role;

pub(super) fn integer(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    let number = match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        // Quoted numbers are accepted.
        Value::Text(text) | Value::Environment(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| expected(&format!("a whole number from {least} to {most}"), value))
}

/// A number of seconds, or text like `30d`, `12h`, `90m` and `45s`; 0 means no limit.
pub(super) fn age(value: &Value) -> Result<Option<Duration>, String> {
    const MOST: u64 = 100 * 365 * 86_400;
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let with_unit = |text: &str| {
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    };
    let seconds = match value {
        Value::Text(text) | Value::Environment(text) => with_unit(text.trim()),
        _ => None,
    };
    let seconds = seconds.or_else(|| integer(value, 0, MOST).ok());
    let what = "a time like `30d`, `12h` or `90m`, or a number of seconds; at most 100 years, 0 for no limit";
    match seconds.filter(|seconds| *seconds <= MOST) {
        Some(0) => Ok(None),
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(expected(what, value)),
    }
}

pub(super) fn port(value: &Value) -> Result<u16, String> {
    let number = integer(value, 0, u16::MAX.into())?;
    u16::try_from(number).map_err(|e| e.to_string())
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(truth) => Ok(*truth),
        Value::Environment(text) if text == "true" => Ok(true),
        Value::Environment(text) if text == "false" => Ok(false),
        other => Err(expected("`true` or `false`", other)),
    }
}

pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) | Value::Environment(text) if !text.trim().is_empty() => Ok(text),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {
            Err(format!("{}: quote the value", expected("text", value)))
        }
        other => Err(expected("text", other)),
    }
}

/// Text that errors must not contain.
pub(super) fn secret(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        Value::Text(_) => Err("must not be empty".to_owned()),
        Value::List(_) | Value::Map(_) => Err("must be text".to_owned()),
        _ => Err("must be text: quote the value".to_owned()),
    }
}

/// Text without whitespace: an image, a host.
pub(super) fn word(value: &Value) -> Result<String, String> {
    let word = text(value)?;
    if word.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(expected("text without spaces", value));
    }
    Ok(word.to_owned())
}

pub(super) fn path(value: &Value) -> Result<PathBuf, String> {
    let path = text(value)?;
    if path.contains('\0') {
        return Err(expected("a path", value));
    }
    Ok(PathBuf::from(path))
}

/// A path on other machines, which cannot be relative to a working directory.
pub(super) fn absolute(value: &Value) -> Result<PathBuf, String> {
    let found = path(value)?;
    match found.is_absolute() {
        true => Ok(found),
        false => Err(expected("an absolute path", value)),
    }
}

/// A URL, without the trailing slash.
pub(super) fn url(value: &Value) -> Result<String, String> {
    let what = "a URL like `https://10.0.0.1:8081`";
    let url = word(value)?;
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or_else(|| expected(what, value))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok() || port.ends_with(']'));
    let is_invalid = |c: char| !c.is_ascii_graphic() || "?#@\\{}".contains(c);
    match has_port
        && !authority.is_empty()
        && !authority.starts_with(':')
        && !rest.contains(is_invalid)
    {
        true => Ok(url.trim_end_matches('/').to_owned()),
        false => Err(expected(what, value)),
    }
}

/// Host names: a list, or text with commas or blanks between them.
pub(super) fn host_names(value: &Value) -> Result<Vec<String>, String> {
    let what = "host names without a port, like `atq.example.com`";
    let items = match value {
        Value::List(items) => items.iter().map(|item| text(&item.value)).collect(),
        value => text(value).map(|text| text.split([',', ' ']).collect::<Vec<_>>()),
    };
    let names = items.map_err(|_| expected(what, value))?;
    let names = names.into_iter().filter(|name| !name.is_empty());
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    names
        .map(|name| match name.chars().all(is_part) {
            true => Ok(name.to_owned()),
            false => Err(expected(what, value)),
        })
        .collect()
}

pub(super) fn delivery(value: &Value) -> Result<Delivery, String> {
    match text(value)? {
        "push" => Ok(Delivery::Push),
        "shared" => Ok(Delivery::Shared),
        _ => Err(expected("`push` or `shared`", value)),
    }
}

pub(super) fn auth(value: &Value) -> Result<Auth, String> {
    // In YAML 1.1, `off` without quotes is a boolean.
    if *value == Value::Boolean(false) {
        return Ok(Auth::Off);
    }
    match text(value)? {
        "off" => Ok(Auth::Off),
        "tokens" => Ok(Auth::Tokens),
        _ => Err(expected("`off` or `tokens`", value)),
    }
}

pub(super) fn role(value: &Value) -> Result<Role, String> {
    let text = text(value)?;
    let role = Role::ALL.into_iter().find(|role| role.as_str() == text);
    role.ok_or_else(|| expected("`viewer`, `runner` or `admin`", value))
}

pub(super) fn address(value: &Value) -> Result<IpAddr, String> {
    let what = "an IP address like `127.0.0.1` or `0.0.0.0`";
    text(value)?.parse().map_err(|_| expected(what, value))
}

pub(super) fn docker_host(value: &Value) -> Result<String, String> {
    const SCHEMES: [&str; 4] = ["unix://", "tcp://", "http://", "https://"];
    let url = word(value)?;
    let known = SCHEMES.iter().any(|scheme| {
        url.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    });
    if known {
        return Ok(url);
    }
    let what = "a URL like `unix:///var/run/docker.sock` or `tcp://10.0.0.1:2376`";
    Err(expected(what, value))
}

pub(super) fn director_id(value: &Value) -> Result<String, String> {
    let id = text(value)?;
    let fits = (1..=40).contains(&id.len())
        && id
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits {
        return Ok(id.to_owned());
    }
    Err(expected("1 to 40 of `a-z`, `0-9` and `-`", value))
}

pub(super) fn log_format(value: &Value) -> Result<LogFormat, String> {
    match text(value)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(expected("`text` or `json`", value)),
    }
}

/// Private ranges only: a subnet that is used elsewhere would make its hosts unreachable for containers.
pub(super) fn subnet_pool(value: &Value) -> Result<Ipv4Net, String> {
    let what = "an IPv4 range like `10.224.0.0/12`";
    let pool: Ipv4Net = text(value)?.parse().map_err(|_| expected(what, value))?;
    if pool.addr() != pool.network() {
        let truncated = pool.trunc();
        return Err(format!(
            "{}: did you mean `{truncated}`?",
            expected("the start of its range", value)
        ));
    }
    if pool.prefix_len() > 24 {
        return Err(expected("at least a /24: each task needs one", value));
    }
    let private = [
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
    ];
    let inside = private
        .iter()
        .any(|(address, length)| Ipv4Net::new_assert(*address, *length).contains(&pool));
    if inside {
        return Ok(pool);
    }
    Err(expected(
        "within `10.0.0.0/8`, `172.16.0.0/12` or `192.168.0.0/16`",
        value,
    ))
}
