//! The text of a definition: where it is read from, and in which language it is.

use super::places::{Place, PlacedFault, Places};
use super::{json, yaml};
use crate::trouble::Trouble;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Largest file in bytes. The Director takes a mebibyte, in which there are no comments.
const MAX_BYTES: u64 = 8 << 20;
/// What standard input is called in messages.
const STDIN: &str = "<stdin>";

/// A definition as it was found.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: String,
    pub(super) payload: Value,
    pub(super) places: Places,
}

/// Reads the file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Source, Trouble> {
    let file = match path == Path::new("-") {
        true => STDIN.to_owned(),
        false => path.display().to_string(),
    };
    let bytes = bytes(path).map_err(|error| {
        let hint = "the definition is a file in JSON or YAML, or `-` for standard input";
        Trouble::usage(format!("`{file}` cannot be read: {error}"), hint)
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        let why = format!("`{file}` is larger than {MAX_BYTES} bytes");
        return Err(Trouble::usage(why, "large data belongs into the bundle"));
    }
    let is_json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    match understand(&bytes, is_json) {
        Ok((payload, places)) => Ok(Source {
            file,
            payload,
            places,
        }),
        Err(fault) => Err(Trouble::Faults {
            file,
            faults: vec![fault],
        }),
    }
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = MAX_BYTES + 1;
    match path == Path::new("-") {
        true => std::io::stdin()
            .lock()
            .take(bound)
            .read_to_end(&mut bytes)?,
        false => std::fs::File::open(path)?
            .take(bound)
            .read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// What a definition says. YAML is a superset of JSON, but for oddities (tabs, for one): what looks like
/// JSON is tried as JSON first, whatever its extension.
pub(super) fn understand(bytes: &[u8], is_json: bool) -> Result<(Value, Places), PlacedFault> {
    if is_utf16(bytes) {
        let why = "is UTF-16; expected UTF-8 (in PowerShell: `Out-File -Encoding utf8`)";
        return Err(PlacedFault::at(
            "",
            why.to_owned(),
            Place { line: 1, column: 1 },
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let sound = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let place = Place::of(&sound, sound.len());
        PlacedFault::at("", "is not UTF-8".to_owned(), place)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    match (is_json, looks_like_json) {
        (true, _) => json::read(text),
        (false, false) => yaml::read(text),
        // Of two complaints, that about JSON is the one that helps.
        (false, true) => json::read(text).or_else(|fault| yaml::read(text).map_err(|_| fault)),
    }
}

/// With a byte order mark, or by the zero that is half of the first character: both languages begin in ASCII.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..]
    )
}
