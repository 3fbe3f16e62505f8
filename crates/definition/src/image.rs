//! Image references: validation by Docker's grammar, and normalisation.
//!
//! Docker rejects a malformed reference only when the service is created (ARCHITECTURE.md, How Docker Swarm behaves:
//! `is not a valid repository/tag`), which is too late for the author of a task. The grammar is that of
//! the package `reference` of Docker's distribution project.

/// Docker's digest algorithms, with the number of their hex digits.
const DIGESTS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
/// Maximum length of a name including its registry, in bytes.
const MAX_NAME: usize = 255;
/// The default registry.
pub const HUB: &str = "docker.io";

/// Validates a reference; the error is the reason why Docker would reject it.
pub fn check(image: &str) -> Result<(), String> {
    if image.is_empty() {
        return Err("is empty; expected an image such as `registry/name:tag`".into());
    }
    if image.len() == 64 && image.bytes().all(is_hex) {
        return Err("is 64 hex digits, which Docker takes for an id and not for a name".into());
    }
    let rest = match image.split_once('@') {
        Some((rest, digest)) => check_digest(digest).map(|()| rest)?,
        None => image,
    };
    let (name, tag) = split_tag(rest);
    tag.map_or(Ok(()), check_tag)?;
    check_name(name)
}

/// Removes Docker's defaults, so that references to the same image compare equal:
/// `docker.io/library/x:latest`, `library/x` and `x` are all `x`. A tag beside a digest is
/// ignored.
pub fn normalise(image: &str) -> String {
    let image = image.trim();
    let hub = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"];
    let local = hub
        .iter()
        .find_map(|prefix| image.strip_prefix(prefix))
        .unwrap_or(image);
    let short = local
        .strip_prefix("library/")
        .filter(|rest| !rest.contains('/'))
        .unwrap_or(local);
    match short.split_once('@') {
        Some((rest, digest)) => format!("{}@{digest}", split_tag(rest).0),
        None => match split_tag(short) {
            (name, Some("latest")) => name.to_owned(),
            _ => short.to_owned(),
        },
    }
}

/// The registry of an image with its port: `registry.example.com:5000`, or by default Docker
/// Hub's `docker.io`.
pub fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first != "index.docker.io" && is_registry(first) => first,
        _ => HUB,
    }
}

/// A colon after the last slash starts a tag; one before it belongs to a registry's port.
fn split_tag(rest: &str) -> (&str, Option<&str>) {
    let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
    match rest[last_slash..].find(':') {
        Some(at) => {
            let colon = last_slash + at;
            (&rest[..colon], Some(&rest[colon + 1..]))
        }
        None => (rest, None),
    }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let valid = digest.split_once(':').is_some_and(|(algorithm, hex)| {
        let known = DIGESTS.contains(&(algorithm, hex.len()));
        known && hex.bytes().all(is_hex)
    });
    match valid {
        true => Ok(()),
        false => Err(format!(
            "has the digest `{digest}`; expected `sha256:` and 64 hex digits"
        )),
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn check_tag(tag: &str) -> Result<(), String> {
    let starts_well = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let valid = tag.len() <= 128
        && starts_well
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    match valid {
        true => Ok(()),
        false => Err(format!(
            "has the tag `{tag}`; expected 1 to 128 letters, digits, `_`, `.` or `-`"
        )),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let mut parts: Vec<&str> = name.split('/').collect();
    let implied = match parts.len() {
        1 => "docker.io/library/",
        _ if is_registry(parts[0]) => "",
        _ => "docker.io/",
    };
    if implied.len() + name.len() > MAX_NAME {
        return Err(format!(
            "is {} characters long with its registry; Docker allows {MAX_NAME}",
            implied.len() + name.len()
        ));
    }
    if parts.len() > 1 && implied.is_empty() {
        parts.remove(0);
    }
    match parts.iter().find(|part| !is_component(part)) {
        None => Ok(()),
        Some(part) => Err(format!(
            "has the part `{part}`; expected lower-case letters and digits, \
             with single `.`, `_` or `-` between them"
        )),
    }
}

/// Docker treats the first part as a registry if it has a dot or a port, or is `localhost`.
pub fn is_registry(part: &str) -> bool {
    let (host, port) = part.split_once(':').unwrap_or((part, "0"));
    let looks_like_host = part == "localhost" || part.contains('.') || part.contains(':');
    looks_like_host
        && !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
}

/// `[a-z0-9]+` runs joined by `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.starts_with(is_word) || !part.ends_with(is_word) {
        return false;
    }
    part.split(is_word)
        .filter(|gap| !gap.is_empty())
        .all(|gap| matches!(gap, "." | "_" | "__") || gap.chars().all(|c| c == '-'))
}
