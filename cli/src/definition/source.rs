//! Reading the text of a definition and detecting its format.

use super::places::{Lines, Place, PlacedFault, Places};
use super::{json, yaml};
use crate::error::CliError;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Maximum file size in bytes. The Director accepts 1 MiB; comments are not sent.
const MAX_BYTES: u64 = 8 << 20;
/// Name of standard input in messages.
const STDIN: &str = "<stdin>";

/// A parsed definition.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: String,
    pub(super) payload: Value,
    pub(super) places: Places,
}

/// Reads the file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Source, CliError> {
    let file = match path == Path::new("-") {
        true => STDIN.to_owned(),
        false => path.display().to_string(),
    };
    let bytes = bytes(path).map_err(|error| {
        let hint = "the definition is a file in JSON or YAML, or `-` for standard input";
        CliError::usage(format!("`{file}` cannot be read: {error}"), hint)
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        let why = format!("`{file}` is larger than {MAX_BYTES} bytes");
        return Err(CliError::usage(why, "put large data into the bundle"));
    }
    let is_json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    match parse(&bytes, is_json) {
        Ok((payload, places)) => Ok(Source {
            file,
            payload,
            places,
        }),
        Err(fault) => Err(CliError::Faults {
            file,
            faults: vec![fault],
        }),
    }
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(path)?),
    };
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a definition. YAML is nearly a superset of JSON (tabs are an exception), so text that looks like JSON is parsed
/// as JSON first, regardless of the extension.
pub(super) fn parse(bytes: &[u8], is_json: bool) -> Result<(Value, Places), PlacedFault> {
    if is_utf16(bytes) {
        let why = "is UTF-16; expected UTF-8 (in PowerShell: `Out-File -Encoding utf8`)";
        return Err(PlacedFault::at(why, Place { line: 1, column: 1 }));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        PlacedFault::at("is not UTF-8", Lines::of(&valid).place(valid.len()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    match (is_json, looks_like_json) {
        (true, _) => json::read(text),
        (false, false) => yaml::read(text),
        // If neither parser succeeds, the JSON error is more helpful.
        (false, true) => json::read(text).or_else(|fault| yaml::read(text).map_err(|_| fault)),
    }
}

/// Detects UTF-16 by a byte order mark, or by a zero byte in the first character, which is ASCII in both formats.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..]
    )
}
