//! The way from JSON to a [`TaskSpec`]: walks a payload and collects what is wrong with it.

use super::{
    EnvVar, Fault, MAX_WORKERS, OnWorkerLoss, Placement, REMOTES, RESERVED_PREFIX, Resources,
    ServiceSpec, Surroundings, TaskName, TaskSpec, WORKER_ADDRESSES, WORKERS_NAME, WaitSpec,
};
use crate::task::image;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// The kernel's limit on one string of a new process' environment, without its NUL
/// (`MAX_ARG_STRLEN` of execve(2): 131,072 bytes with it).
const ENV_STRING_BYTES: usize = 131_071;
/// Longest delay and time-out in seconds: a day.
const MAX_SECONDS: u64 = 86_400;
/// Most faults that are told. A definition of a mebibyte has room for a hundred thousand, and the
/// answer would be a hundred times as long as the question.
const MAX_FAULTS: usize = 1000;

const TASK_FIELDS: [&str; 5] = ["name", "master", "worker", "waitCommand", "delay"];
const WAIT_FIELDS: [&str; 3] = ["command", "expectedResult", "timeout"];
const SERVICE_FIELDS: [&str; 8] = [
    "alias",
    "image",
    "args",
    "environment",
    "fileid",
    "replicas",
    "tty",
    "networks",
];

/// A method that gives `None` has recorded why.
pub(super) struct Reader<'a> {
    faults: Vec<Fault>,
    around: &'a dyn Surroundings,
}

impl Reader<'_> {
    pub(super) fn read(payload: &Value, around: &dyn Surroundings) -> Result<TaskSpec, Vec<Fault>> {
        let mut reader = Reader {
            faults: Vec::new(),
            around,
        };
        match reader.task(payload) {
            Some(spec) if reader.faults.is_empty() => Ok(spec),
            _ => Err(reader.faults),
        }
    }

    fn task(&mut self, payload: &Value) -> Option<TaskSpec> {
        let fields = self.object("", payload, &TASK_FIELDS)?;
        let name = self.name(fields);
        let master = self.service("master", fields);
        let worker = self.service("worker", fields);
        let wait = self.wait(fields);
        let delay = self.number("delay", fields.get("delay"), 0, MAX_SECONDS, 0);
        self.check_aliases(fields);
        Some(TaskSpec {
            name: name?,
            worker: worker?,
            master: master?,
            wait: wait?,
            delay: delay?,
            readiness: None,
            max_duration: None,
            on_worker_loss: OnWorkerLoss::default(),
            exclusive: None,
        })
    }

    fn name(&mut self, fields: &Map<String, Value>) -> Option<TaskName> {
        let text = self.required_text("name", fields.get("name"))?;
        match TaskName::parse(&text) {
            Ok(name) => Some(name),
            Err(why) => self.fault("name", why),
        }
    }

    /// Looks at the payload itself, so that a clash is told beside the other faults.
    fn check_aliases(&mut self, fields: &Map<String, Value>) {
        let alias = |role: &str| fields.get(role)?.get("alias")?.as_str();
        let (Some(master), Some(worker)) = (alias("master"), alias("worker")) else {
            return;
        };
        if !worker.is_empty() && master.eq_ignore_ascii_case(worker) {
            let why = format!(
                "`{}` is also the master's alias; the two aliases of a task must differ, \
                 whatever the case",
                shorten(worker)
            );
            self.note("worker.alias", why);
        }
    }

    fn service(&mut self, role: &str, parent: &Map<String, Value>) -> Option<ServiceSpec> {
        let Some(value) = parent.get(role).filter(|value| !value.is_null()) else {
            return self.fault(
                role,
                "is missing; expected an object with `alias` and `image`".into(),
            );
        };
        let fields = self.object(role, value, &SERVICE_FIELDS)?;
        let at = |field: &str| format!("{role}.{field}");
        let alias = self.alias(&at("alias"), fields.get("alias"));
        let image = self.image(&at("image"), fields.get("image"));
        let args = self.texts(&at("args"), fields.get("args"));
        let environment = self.environment(&at("environment"), fields.get("environment"));
        let fileid = self.fileid(&at("fileid"), fields.get("fileid"));
        let replicas = self.replicas(role, fields.get("replicas"));
        let tty = self.boolean(&at("tty"), fields.get("tty"));
        let networks = self.networks(&at("networks"), fields.get("networks"));
        if let (Some(image), Some(environment)) = (&image, &environment) {
            self.check_required_variables(role, image, environment);
        }
        Some(ServiceSpec {
            alias: alias?,
            image: image?,
            args: args?,
            environment: environment?,
            fileid: fileid?,
            replicas: replicas?,
            tty: tty?,
            networks: networks?,
            resources: Resources::default(),
            placement: Placement::default(),
            labels: BTreeMap::new(),
            stop_grace_period: None,
        })
    }

    fn alias(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        let alias = self.required_text(field, value)?;
        let edges = alias.starts_with(|c: char| c.is_ascii_alphanumeric())
            && alias.ends_with(|c: char| c.is_ascii_alphanumeric());
        let inside = alias
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !edges || !inside || alias.len() > 63 {
            let why = format!(
                "`{}` is not an alias; expected 1 to 63 letters, digits, `_` or `-`, \
                 with a letter or digit at both ends",
                shorten(&alias)
            );
            return self.fault(field, why);
        }
        match alias.eq_ignore_ascii_case(WORKERS_NAME) {
            true => self.fault(field, format!("`{alias}` is used by the Director itself")),
            false => Some(alias),
        }
    }

    fn image(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        let text = self.required_text(field, value)?;
        if let Err(why) = image::check(&text) {
            return self.fault(field, format!("`{}` {why}", shorten(&text)));
        }
        match self.around.required_variables(&text) {
            Ok(_) => Some(text),
            Err(why) => self.fault(field, why),
        }
    }

    fn check_required_variables(&mut self, role: &str, image: &str, environment: &[EnvVar]) {
        let required = self.around.required_variables(image).unwrap_or_default();
        for name in required {
            // The Director itself sets these two for the master.
            let given = role == "master" && (name == REMOTES || name == WORKER_ADDRESSES);
            if !given && !environment.iter().any(|var| var.name == name) {
                let why = format!("lacks `{name}`, which the image `{image}` requires");
                self.note(&format!("{role}.environment"), why);
            }
        }
    }

    fn replicas(&mut self, role: &str, value: Option<&Value>) -> Option<u32> {
        let field = format!("{role}.replicas");
        let number = self.number(&field, value, 1, self.around.max_replicas(), 1)?;
        if role == "worker" && number > MAX_WORKERS {
            let why = format!(
                "is {number}; at most {MAX_WORKERS} workers fit into one answer of Docker's DNS (64 KiB)"
            );
            return self.fault(&field, why);
        }
        u32::try_from(number).ok()
    }

    fn fileid(&mut self, field: &str, value: Option<&Value>) -> Option<Option<String>> {
        let id = match value {
            None | Some(Value::Null) => return Some(None),
            Some(Value::String(id)) if id.is_empty() => return Some(None),
            Some(Value::String(id)) => id,
            Some(other) => return self.fault(field, wrong_type(other, "a string")),
        };
        match self.around.has_bundle(id) {
            true => Some(Some(id.clone())),
            false => {
                let id = shorten(id);
                self.fault(
                    field,
                    format!(
                        "`{id}` is unknown; upload the bundle first and use the `id` of the answer"
                    ),
                )
            }
        }
    }

    fn environment(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<EnvVar>> {
        let texts = self.texts(field, value)?;
        let before = self.faults.len();
        let vars: Vec<EnvVar> = texts
            .iter()
            .enumerate()
            .filter_map(|(index, text)| self.variable(&format!("{field}[{index}]"), text))
            .collect();
        self.check_doubles(field, &vars);
        (self.faults.len() == before).then_some(vars)
    }

    /// The value is never part of a message: it may be a password.
    fn variable(&mut self, field: &str, text: &str) -> Option<EnvVar> {
        let Some((name, value)) = text.split_once('=') else {
            return self.fault(field, "has no `=`; expected `NAME=value`".into());
        };
        if name.is_empty() {
            return self.fault(
                field,
                "has no name before `=`; expected `NAME=value`".into(),
            );
        }
        if name == WORKER_ADDRESSES {
            return self.fault(
                field,
                format!("sets `{WORKER_ADDRESSES}`, which the Director sets itself"),
            );
        }
        if name.starts_with(RESERVED_PREFIX) {
            let name = shorten(name);
            let why = format!(
                "sets `{name}`; names that start with `{RESERVED_PREFIX}` belong to the Director"
            );
            return self.fault(field, why);
        }
        if text.len() > ENV_STRING_BYTES {
            let why = format!(
                "is {} bytes long; a container's variable holds at most {ENV_STRING_BYTES} bytes \
                 together with its name (a limit of the Linux kernel)",
                text.len()
            );
            return self.fault(field, why);
        }
        Some(EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }

    fn check_doubles(&mut self, field: &str, vars: &[EnvVar]) {
        let mut seen = HashSet::new();
        for var in vars {
            if !seen.insert(var.name.as_str()) {
                self.note(field, format!("sets `{}` twice", shorten(&var.name)));
            }
        }
    }

    fn networks(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let names = self.texts(field, value)?;
        let before = self.faults.len();
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            let at = format!("{field}[{index}]");
            if name.is_empty() {
                self.note(
                    &at,
                    "is empty; expected the name of an overlay network".into(),
                );
            } else if !seen.insert(name) {
                self.note(&at, format!("names `{}` twice", shorten(name)));
            }
        }
        (self.faults.len() == before).then_some(names)
    }

    fn wait(&mut self, parent: &Map<String, Value>) -> Option<Option<WaitSpec>> {
        let Some(value) = parent.get("waitCommand").filter(|value| !value.is_null()) else {
            return Some(None);
        };
        let fields = self.object("waitCommand", value, &WAIT_FIELDS)?;
        let command = self.text("waitCommand.command", fields.get("command"));
        let expected_result = self.text("waitCommand.expectedResult", fields.get("expectedResult"));
        let timeout = self.number(
            "waitCommand.timeout",
            fields.get("timeout"),
            0,
            MAX_SECONDS,
            0,
        );
        let spec = WaitSpec {
            command: command?,
            expected_result: expected_result?,
            timeout: timeout?,
        };
        if spec.command.len() > ENV_STRING_BYTES {
            return self.fault("waitCommand.command", "is longer than 131071 bytes".into());
        }
        Some(Some(spec).filter(|spec| !spec.command.trim().is_empty()))
    }

    fn object<'v>(
        &mut self,
        field: &str,
        value: &'v Value,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Some(fields) = value.as_object() else {
            let field = if field.is_empty() { "body" } else { field };
            return self.fault(field, wrong_type(value, "an object"));
        };
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let path = if field.is_empty() {
                shorten(key)
            } else {
                format!("{field}.{}", shorten(key))
            };
            self.note(
                &path,
                format!("is not a known field; {}", nearest(key, known)),
            );
        }
        Some(fields)
    }

    fn required_text(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        match value {
            None | Some(Value::Null) => self.fault(field, "is missing; it is required".into()),
            Some(Value::String(text)) if text.is_empty() => {
                self.fault(field, "is empty; it is required".into())
            }
            other => self.text(field, other),
        }
    }

    /// Docker hands texts to `execve`, which ends them at the first NUL.
    fn text(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        match value {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) if text.contains('\0') => self.fault(
                field,
                "holds a NUL character, which no container can take".into(),
            ),
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => self.fault(field, wrong_type(other, "a string")),
        }
    }

    fn texts(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let items = match value {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return self.fault(field, wrong_type(other, "a list of strings")),
        };
        let before = self.faults.len();
        let texts: Vec<String> = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| match item {
                Value::Null => {
                    self.fault(&format!("{field}[{index}]"), wrong_type(item, "a string"))
                }
                item => self.text(&format!("{field}[{index}]"), Some(item)),
            })
            .collect();
        for (index, text) in texts.iter().enumerate() {
            if text.len() > ENV_STRING_BYTES && !field.ends_with("environment") {
                self.note(
                    &format!("{field}[{index}]"),
                    "is longer than 131071 bytes".into(),
                );
            }
        }
        (self.faults.len() == before).then_some(texts)
    }

    fn number(
        &mut self,
        field: &str,
        value: Option<&Value>,
        min: u64,
        max: u64,
        default: u64,
    ) -> Option<u64> {
        let expected = format!("a whole number from {min} to {max}");
        match value {
            None | Some(Value::Null) => Some(default),
            Some(Value::Number(number)) => match whole(number) {
                Some(number) if (min..=max).contains(&number) => Some(number),
                _ => self.fault(field, format!("is {number}; expected {expected}")),
            },
            Some(other) => self.fault(field, wrong_type(other, &expected)),
        }
    }

    fn boolean(&mut self, field: &str, value: Option<&Value>) -> Option<bool> {
        match value {
            None | Some(Value::Null) => Some(false),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(other) => self.fault(field, wrong_type(other, "true or false")),
        }
    }

    fn note(&mut self, field: &str, message: String) {
        let (field, message) = match self.faults.len() {
            0..MAX_FAULTS => (field, message),
            MAX_FAULTS => (
                "body",
                format!(
                    "has more faults than these {MAX_FAULTS}; they are told when these are mended"
                ),
            ),
            _ => return,
        };
        self.faults.push(Fault {
            field: field.to_owned(),
            message,
        });
    }

    fn fault<T>(&mut self, field: &str, message: String) -> Option<T> {
        self.note(field, message);
        None
    }
}

/// JSON has one kind of number: `3.0` is as whole as `3`.
fn whole(number: &serde_json::Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let value = number.as_f64()?;
        let is_whole = value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value);
        // In range and without a fraction: the conversion is exact.
        is_whole.then_some(value as u64)
    })
}

fn wrong_type(seen: &Value, expected: &str) -> String {
    let seen = match seen {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("is {seen}; expected {expected}")
}

pub(crate) fn nearest(key: &str, known: &[&str]) -> String {
    let scored = known
        .iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&key.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match scored {
        Some((score, name)) if score > 0.75 => format!("did you mean `{name}`?"),
        _ => format!(
            "known are {}",
            known
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// Keeps a message readable when the text that it quotes is not.
pub(crate) fn shorten(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    match clean.chars().count() > 80 {
        true => format!("{}...", clean.chars().take(77).collect::<String>()),
        false => clean,
    }
}
