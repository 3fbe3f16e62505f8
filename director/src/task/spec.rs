//! What the user asked for. A [`TaskSpec`] that exists is valid: the only way in is
//! [`TaskSpec::parse`], which collects *every* fault of a definition, each with its field path.

use super::image;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// The variable that carries the workers' addresses to the master (thesis, section 5.3.1).
pub const WORKER_ADDRESSES: &str = "WORKER_CSV_VIPS";
/// The name under which the same value is given once more, as the original did for JMeter.
pub const REMOTES: &str = "REMOTES";
/// Variables with this prefix are set by the Director.
pub const RESERVED_PREFIX: &str = "ATQ_";
/// The name that the workers also have on the task's network, whatever their alias: short, so that
/// a DNS answer of 64 KiB holds more than two thousand of them (SWARM.md, section 5).
pub const WORKERS_NAME: &str = "atq-workers";

/// The kernel's limit on one string of a new process' environment, without its NUL
/// (`MAX_ARG_STRLEN` of execve(2): 131,072 bytes with it).
const ENV_STRING_BYTES: usize = 131_071;
/// An address and its comma take at most 16 bytes of `WORKER_CSV_VIPS`.
const MAX_WORKERS: u64 = 8_190;
/// Longest delay and time-out in seconds: a day.
const MAX_SECONDS: u64 = 86_400;

/// The id of a task: `[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]`, so that a service name made of it
/// stays within Docker's 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskName(String);

impl TaskName {
    /// Reads a task's name; the error says what is wrong with it and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let edges = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        let inside = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        match edges && inside && (3..=45).contains(&text.len()) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "`{}` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, \
                 with a letter or digit at both ends",
                shorten(text)
            )),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One variable of a container's environment. Its value may be a password: it is kept out of
/// `Debug`, answers, events and log lines.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name, without `=`.
    pub name: String,
    /// Value; may be empty.
    pub value: String,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// A load test as its user defined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task's id.
    pub name: TaskName,
    /// The service that generates load.
    pub worker: ServiceSpec,
    /// The service that coordinates the workers.
    pub master: ServiceSpec,
    /// What has to succeed before the master starts.
    pub wait: Option<WaitSpec>,
    /// Seconds between ready workers and the master.
    pub delay: u64,
}

/// One service of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The service's name on the task's network.
    pub alias: String,
    /// Image reference, as written by the user.
    pub image: String,
    /// Arguments of the container; the image's entrypoint stays.
    pub args: Vec<String>,
    /// Environment of the container.
    pub environment: Vec<EnvVar>,
    /// The bundle that is mounted at `/atq/data`.
    pub fileid: Option<String>,
    /// Number of containers.
    pub replicas: u32,
    /// Whether the containers get a terminal.
    pub tty: bool,
    /// Existing overlay networks to join besides the task's own.
    pub networks: Vec<String>,
}

impl ServiceSpec {
    /// Whether the user set the variable `name`.
    pub fn sets(&self, name: &str) -> bool {
        self.environment.iter().any(|var| var.name == name)
    }
}

/// A command that has to succeed before the master starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSpec {
    /// Given to `/bin/sh -c`.
    pub command: String,
    /// What its trimmed standard output must equal; empty: anything.
    pub expected_result: String,
    /// Seconds for which a new try may begin; 0: one try.
    pub timeout: u64,
}

impl WaitSpec {
    /// [`WaitSpec::timeout`] as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, for example `worker.environment[2]`.
    pub field: String,
    /// What was seen and what would be right; fits after the field's name.
    pub message: String,
}

/// What outside of the definition a definition is checked against.
pub trait Surroundings {
    /// Largest number of replicas of one service.
    fn max_replicas(&self) -> u64;
    /// Whether a bundle with this id is there.
    fn has_bundle(&self, id: &str) -> bool;
    /// The variables that the configuration demands for this image, or why it may not run.
    fn required_variables(&self, image: &str) -> Result<Vec<String>, String>;
}

impl TaskSpec {
    /// Reads a definition. Unknown fields are faults, with the nearest known name.
    ///
    /// # Errors
    /// Every fault of the definition, in the order of its fields.
    pub fn parse(payload: &Value, around: &dyn Surroundings) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let spec = Reader {
            faults: &mut faults,
            around,
        }
        .task(payload);
        match spec {
            Some(spec) if faults.is_empty() => Ok(spec),
            _ => Err(faults),
        }
    }
}

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

/// Walks a payload and collects what is wrong with it. A method that gives `None` has recorded why.
struct Reader<'a> {
    faults: &'a mut Vec<Fault>,
    around: &'a dyn Surroundings,
}

impl Reader<'_> {
    fn task(&mut self, payload: &Value) -> Option<TaskSpec> {
        let fields = self.object("", payload, &TASK_FIELDS)?;
        let name = self.name(fields);
        let master = self.service("master", fields);
        let worker = self.service("worker", fields);
        let wait = self.wait(fields);
        let delay = self.number("delay", fields.get("delay"), 0, MAX_SECONDS, 0);
        let (master, worker) = (master?, worker?);
        self.check_aliases(&master, &worker);
        Some(TaskSpec {
            name: name?,
            worker,
            master,
            wait: wait?,
            delay: delay?,
        })
    }

    fn name(&mut self, fields: &Map<String, Value>) -> Option<TaskName> {
        let text = self.required_text("name", fields.get("name"))?;
        match TaskName::parse(&text) {
            Ok(name) => Some(name),
            Err(why) => self.fault("name", why),
        }
    }

    fn check_aliases(&mut self, master: &ServiceSpec, worker: &ServiceSpec) {
        if master.alias.eq_ignore_ascii_case(&worker.alias) {
            let why = format!(
                "`{}` is also the master's alias; the two aliases of a task must differ, \
                 whatever the case",
                worker.alias
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
        let spec = ServiceSpec {
            alias: alias?,
            image: image?,
            args: args?,
            environment: environment?,
            fileid: fileid?,
            replicas: replicas?,
            tty: tty?,
            networks: networks?,
        };
        self.check_required_variables(role, &spec);
        Some(spec)
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

    fn check_required_variables(&mut self, role: &str, spec: &ServiceSpec) {
        let required = self
            .around
            .required_variables(&spec.image)
            .unwrap_or_default();
        for name in required {
            // The Director itself sets these two for the master.
            let given = role == "master" && (name == REMOTES || name == WORKER_ADDRESSES);
            if !given && !spec.sets(&name) {
                let why = format!("lacks `{name}`, which the image `{}` requires", spec.image);
                self.note(&format!("{role}.environment"), why);
            }
        }
    }

    fn replicas(&mut self, role: &str, value: Option<&Value>) -> Option<u32> {
        let field = format!("{role}.replicas");
        let max = self.around.max_replicas().min(MAX_WORKERS);
        let number = self.number(&field, value, 1, max, 1)?;
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
        for (index, var) in vars.iter().enumerate() {
            if vars[..index].iter().any(|other| other.name == var.name) {
                self.note(field, format!("sets `{}` twice", shorten(&var.name)));
            }
        }
    }

    fn networks(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let names = self.texts(field, value)?;
        let before = self.faults.len();
        for (index, name) in names.iter().enumerate() {
            let at = format!("{field}[{index}]");
            if name.is_empty() {
                self.note(
                    &at,
                    "is empty; expected the name of an overlay network".into(),
                );
            } else if names[..index].contains(name) {
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
