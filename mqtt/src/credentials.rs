//! Client ids, users and passwords of devices, from a CSV file.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The credentials of one device.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The client id, which is also the device's name in topics.
    pub client_id: String,
    /// The user; an empty one means no login.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, {}, ...)", self.client_id, self.username)
    }
}

/// The login of several devices.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user; an empty one means no login.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, ...)", self.username)
    }
}

/// A file of credentials cannot be used. The text never has a password.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    /// The file is too large.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// A row is not CSV in UTF-8.
    #[error("line {line}: {reason}")]
    Row {
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// No row.
    #[error("it has no rows; expected at least one row `client_id,username,password`")]
    Empty,
}

const HEADER: [&str; 3] = ["client_id", "username", "password"];
/// Maximum number of bytes of a field, as in MQTT.
pub const MAX_FIELD: usize = 65_535;
/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// Reads a file of credentials, with or without the header `client_id,username,password`.
///
/// # Errors
/// When the file cannot be read, is larger than 1 GiB, has no rows, or a row is faulty or repeats a client id.
pub fn read(path: &Path) -> Result<Vec<Credentials>, CredentialsError> {
    parse(&read_at_most(File::open(path)?, MAX_FILE)?)
}

fn read_at_most(file: impl Read, max: u64) -> Result<Vec<u8>, CredentialsError> {
    let mut text = Vec::new();
    file.take(max + 1).read_to_end(&mut text)?;
    match text.len() as u64 > max {
        true => Err(CredentialsError::TooLarge(max)),
        false => Ok(text),
    }
}

fn parse(text: &[u8]) -> Result<Vec<Credentials>, CredentialsError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    let mut rows = Vec::new();
    let mut starts = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(text, error))?;
        let start = record.position().map_or(0, csv::Position::byte);
        if rows.is_empty() && record.iter().map(str::trim).eq(HEADER) {
            continue;
        }
        let fault = |reason| CredentialsError::Row {
            line: line_of(text, start),
            reason,
        };
        let row = row(&record).map_err(fault)?;
        if let Some(first) = starts.insert(row.client_id.clone(), start) {
            let (id, first) = (&row.client_id, line_of(text, first));
            return Err(fault(format!(
                "the client id `{id}` is also in line {first}"
            )));
        }
        rows.push(row);
    }
    match rows.is_empty() {
        true => Err(CredentialsError::Empty),
        false => Ok(rows),
    }
}

fn row(record: &csv::StringRecord) -> Result<Credentials, String> {
    let fields: Vec<&str> = record.iter().collect();
    let [client_id, username, password] = fields[..] else {
        return Err(format!(
            "{} fields; expected 3: client_id,username,password",
            fields.len()
        ));
    };
    if client_id.is_empty() {
        return Err("the client id is empty".to_owned());
    }
    if client_id.contains(['+', '#', '\0']) {
        return Err(format!("the client id `{client_id}` has `+`, `#` or NUL"));
    }
    if fields.iter().any(|field| field.len() > MAX_FIELD) {
        return Err(format!("a field has more than {MAX_FIELD} bytes"));
    }
    Ok(Credentials {
        client_id: client_id.to_owned(),
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

/// The line, from 1, of a row that starts at this byte; empty lines before the row belong to it.
fn line_of(text: &[u8], start: u64) -> u64 {
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(text.len());
    let empty = text[start..]
        .iter()
        .take_while(|byte| b"\r\n".contains(byte));
    let before = &text[..start + empty.count()];
    before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1
}

fn csv_error(text: &[u8], error: csv::Error) -> CredentialsError {
    let start = error.position().map_or(0, csv::Position::byte);
    let reason = match error.into_kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        other => format!("not CSV: {other:?}"),
    };
    CredentialsError::Row {
        line: line_of(text, start),
        reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fault(text: &[u8]) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_read_with_and_without_a_header() {
        let rows = parse(b"d1,ann,pw1\nd2,,\n").unwrap();
        assert_eq!(rows[0].password, "pw1");
        assert_eq!(rows[1].username, "");
        let with = parse(b"client_id,username,password\r\nd1,ann,pw1\r\nd2,,").unwrap();
        assert_eq!(with, rows);
        let quoted = parse(b"d1,ann,\"a,b\"\n").unwrap();
        assert_eq!(quoted[0].password, "a,b");
    }

    #[test]
    fn a_faulty_row_is_named_by_its_line_without_its_password() {
        assert!(fault(b"d1,a,b\nd2,secret\n").starts_with("line 2: 2 fields"));
        assert!(fault(b"d1,a,b\n\n,u,secret\n").starts_with("line 3: the client id is empty"));
        assert!(
            fault(b"d1,a,b\nd1,a,secret\n")
                .contains("line 2: the client id `d1` is also in line 1")
        );
        assert!(fault(b"d#,a,secret\n").contains("line 1: the client id `d#`"));
        assert!(fault(b"d1,a,b\nd2,a,\xff\n").contains("line 2: not UTF-8"));
        assert!(!fault(b"d1,a,b\nd1,a,secret\n").contains("secret"));
    }

    #[test]
    fn a_file_without_rows_is_rejected() {
        assert!(fault(b"").contains("no rows"));
        assert!(fault(b"client_id,username,password\n").contains("no rows"));
    }

    #[test]
    fn a_file_that_is_too_large_is_rejected_and_not_cut() {
        assert_eq!(read_at_most(&b"d1,,"[..], 4).unwrap(), b"d1,,");
        let error = read_at_most(&b"d1,,\n"[..], 4).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 4 bytes");
    }

    #[test]
    fn passwords_are_not_in_debug_output() {
        let rows = parse(b"d1,ann,secret\n").unwrap();
        assert!(!format!("{rows:?}").contains("secret"));
    }
}
