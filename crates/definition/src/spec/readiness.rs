//! Readiness probes of the workers.

use super::declared::Declared;
use super::reader::{Field, Object, Reader};
use crate::wording::shorten;
use atq_api_spec::service::{HttpQuestion, WorkerReadiness};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::LazyLock;

static READINESS: LazyLock<Declared> = LazyLock::new(Declared::of::<WorkerReadiness>);
static HTTP: LazyLock<Declared> = LazyLock::new(Declared::of::<HttpQuestion>);

const PROBES: [&str; 3] = ["tcp", "http", "exec"];

/// A probe from inside the task's network that every worker must pass to count as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessSpec {
    /// The probe.
    pub probe: ReadinessProbe,
    /// Seconds during which it is retried.
    pub timeout: u64,
}

/// A readiness probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReadinessProbe {
    /// The worker accepts a connection on this TCP port.
    Tcp(u16),
    /// The worker answers a GET with this status.
    Http {
        /// TCP port.
        port: u16,
        /// Path with its leading `/`.
        path: String,
        /// HTTP status.
        status: u16,
    },
    /// This command, run by `/bin/sh -c` in a separate container, exits 0 when
    /// [`PROBED_ADDRESS`](super::PROBED_ADDRESS) names the worker.
    Exec(String),
}

impl ReadinessSpec {
    pub(super) fn shown(&self) -> WorkerReadiness {
        let (mut tcp, mut http, mut exec) = (None, None, None);
        match self.probe.clone() {
            ReadinessProbe::Tcp(port) => tcp = Some(port),
            ReadinessProbe::Http { port, path, status } => {
                http = Some(HttpQuestion { port, path, status });
            }
            ReadinessProbe::Exec(command) => exec = Some(command),
        }
        WorkerReadiness {
            tcp,
            http,
            exec,
            timeout: self.timeout,
        }
    }
}

impl Reader<'_> {
    /// Parses `worker.readiness` of a definition. The master has no probe: it starts when the workers are
    /// ready, and nothing depends on it.
    pub(super) fn readiness(&mut self, task: &Value) -> Option<Option<ReadinessSpec>> {
        if !task["master"]["readiness"].is_null() {
            let why = "belongs to the worker; the master starts when the workers are ready";
            self.note("master.readiness", why.into());
        }
        let value = &task["worker"]["readiness"];
        if value.is_null() {
            return Some(None);
        }
        let readiness = self.object("worker.readiness", value, &READINESS)?;
        let timeout = self.number(&readiness.field("timeout"));
        let probe = self.probe(&readiness);
        Some(Some(ReadinessSpec {
            probe: probe?,
            timeout: timeout?,
        }))
    }

    fn probe(&mut self, readiness: &Object) -> Option<ReadinessProbe> {
        let given: Vec<(&str, Field)> = PROBES
            .into_iter()
            .map(|name| (name, readiness.field(name)))
            .filter(|(_, field)| field.value.is_some())
            .collect();
        let [(name, field)] = given.as_slice() else {
            let names: Vec<String> = given.iter().map(|(name, _)| format!("`{name}`")).collect();
            let named = match names.is_empty() {
                true => "no question".to_owned(),
                false => names.join(" and "),
            };
            let why = format!("has {named}; expected exactly one of `tcp`, `http`, `exec`");
            return self.fault(&readiness.path, why);
        };
        match *name {
            "tcp" => self.port(field).map(ReadinessProbe::Tcp),
            "http" => self.http(field),
            _ => self.command(field).map(ReadinessProbe::Exec),
        }
    }

    fn port(&mut self, field: &Field) -> Option<u16> {
        u16::try_from(self.required_number(field)?).ok()
    }

    fn http(&mut self, field: &Field) -> Option<ReadinessProbe> {
        let http = self.optional_object(field, &HTTP)?;
        let port = self.port(&http.field("port"));
        let path = self.path(&http.field("path"));
        let status = self.number(&http.field("status"));
        Some(ReadinessProbe::Http {
            port: port?,
            path: path?,
            status: u16::try_from(status?).ok()?,
        })
    }

    fn path(&mut self, field: &Field) -> Option<String> {
        let Some(path) = self.any_text(field)? else {
            return field.default().as_str().map(str::to_owned);
        };
        let longest = field.max_length();
        // The request line ends at a blank, and clients do not send the part after `#`.
        let inside = path.chars().all(|c| c.is_ascii_graphic() && c != '#');
        match path.starts_with('/') && inside && path.len() <= longest {
            true => Some(path),
            false => {
                let why = format!(
                    "`{}` is not a path; expected `/` and at most {longest} visible ASCII \
                     characters without `#`, others as `%` and two hex digits",
                    shorten(&path)
                );
                self.fault(&field.path, why)
            }
        }
    }

    fn command(&mut self, field: &Field) -> Option<String> {
        let command = self.optional_text(field)??;
        if command.trim().is_empty() {
            return self.fault(
                &field.path,
                "is empty; expected a command for `/bin/sh -c`".into(),
            );
        }
        Some(command)
    }
}
