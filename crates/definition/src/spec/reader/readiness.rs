//! What the workers must answer to before they count as ready.

use super::value::{shorten, too_long};
use super::{MAX_SECONDS, Reader, STRING_BYTES};
use crate::spec::{READINESS_COMMAND, ReadinessProbe, ReadinessSpec};
use serde_json::{Map, Value};

/// Seconds for which is asked when the definition does not say.
const DEFAULT_SECONDS: u64 = 60;
/// Longest path of an HTTP question in bytes.
const MAX_PATH: usize = 2000;
/// Longest command in bytes: it reaches its container as a variable.
const MAX_COMMAND: usize = STRING_BYTES - READINESS_COMMAND.len() - 1;

const PROBES: [&str; 3] = ["tcp", "http", "exec"];
const FIELDS: [&str; 4] = ["tcp", "http", "exec", "timeout"];
const HTTP_FIELDS: [&str; 3] = ["port", "path", "status"];

impl Reader<'_> {
    /// Reads `worker.readiness` of a definition. The master has none: it starts when the workers are
    /// ready, and nothing waits for it.
    pub(super) fn readiness(&mut self, task: &Map<String, Value>) -> Option<Option<ReadinessSpec>> {
        let of = |role: &str| {
            let value = task.get(role)?.get("readiness")?;
            Some(value).filter(|value| !value.is_null())
        };
        if of("master").is_some() {
            let why = "belongs to the worker; the master starts when the workers are ready";
            self.note("master.readiness", why.into());
        }
        let field = "worker.readiness";
        let Some(fields) = self.optional_object(field, of("worker"), &FIELDS)? else {
            return Some(None);
        };
        let timeout = fields.get("timeout");
        let timeout = self.number(
            &format!("{field}.timeout"),
            timeout,
            1,
            MAX_SECONDS,
            DEFAULT_SECONDS,
        );
        let probe = self.probe(field, fields);
        Some(Some(ReadinessSpec {
            probe: probe?,
            timeout: timeout?,
        }))
    }

    fn probe(&mut self, field: &str, fields: &Map<String, Value>) -> Option<ReadinessProbe> {
        let given: Vec<(&str, &Value)> = PROBES
            .into_iter()
            .filter_map(|name| Some((name, fields.get(name)?)))
            .filter(|(_, value)| !value.is_null())
            .collect();
        let &[(name, value)] = given.as_slice() else {
            let named = match given.is_empty() {
                true => "no question".to_owned(),
                false => {
                    let names: Vec<String> =
                        given.iter().map(|(name, _)| format!("`{name}`")).collect();
                    names.join(" and ")
                }
            };
            let why = format!("has {named}; expected exactly one of `tcp`, `http`, `exec`");
            return self.fault(field, why);
        };
        let at = format!("{field}.{name}");
        match name {
            "tcp" => self.port(&at, Some(value)).map(ReadinessProbe::Tcp),
            "http" => self.http(&at, value),
            _ => self.command(&at, value).map(ReadinessProbe::Exec),
        }
    }

    fn port(&mut self, field: &str, value: Option<&Value>) -> Option<u16> {
        match self.whole_number(field, value, 1, u16::MAX.into())? {
            Some(port) => u16::try_from(port).ok(),
            None => self.fault(field, "is missing; it is required".into()),
        }
    }

    fn http(&mut self, field: &str, value: &Value) -> Option<ReadinessProbe> {
        let fields = self.object(field, value, &HTTP_FIELDS)?;
        let port = self.port(&format!("{field}.port"), fields.get("port"));
        let path = self.path(&format!("{field}.path"), fields.get("path"));
        let status = fields.get("status");
        let status = self.number(&format!("{field}.status"), status, 100, 599, 200);
        Some(ReadinessProbe::Http {
            port: port?,
            path: path?,
            status: u16::try_from(status?).ok()?,
        })
    }

    fn path(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        let path = match value {
            None | Some(Value::Null) => return Some("/".to_owned()),
            value => self.text(field, value)?,
        };
        // A request's first line ends at a blank; what follows `#` is never sent.
        let inside = path.chars().all(|c| c.is_ascii_graphic() && c != '#');
        match path.starts_with('/') && inside && path.len() <= MAX_PATH {
            true => Some(path),
            false => {
                let why = format!(
                    "`{}` is not a path; expected `/` and at most {MAX_PATH} visible ASCII \
                     characters without `#`, others as `%` and two hex digits",
                    shorten(&path)
                );
                self.fault(field, why)
            }
        }
    }

    fn command(&mut self, field: &str, value: &Value) -> Option<String> {
        let command = self.text(field, Some(value))?;
        if command.trim().is_empty() {
            return self.fault(
                field,
                "is empty; expected a command for `/bin/sh -c`".into(),
            );
        }
        match command.len() > MAX_COMMAND {
            true => self.fault(field, too_long(MAX_COMMAND)),
            false => Some(command),
        }
    }
}
