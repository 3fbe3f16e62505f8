//! The way from JSON to a [`TaskSpec`]: walks a payload and collects what is wrong with it.

mod bundle;
mod judging;
mod readiness;
mod resources;
mod service;
mod value;

use super::{Fault, OnWorkerLoss, Surroundings, TaskName, TaskSpec, WaitSpec};
use serde_json::{Map, Value};
use value::{MAX_WHOLE, STRING_BYTES, nearest, shorten, too_long, wrong_type};

/// Longest delay and time-out in seconds: a day.
const MAX_SECONDS: u64 = 86_400;
/// Longest test in seconds: a week.
const MAX_DURATION: u64 = 604_800;
/// Longest name of what a task claims for itself.
const MAX_CLAIM: usize = 100;

const TASK_FIELDS: [&str; 12] = [
    "name",
    "master",
    "worker",
    "waitCommand",
    "delay",
    "maxDuration",
    "delivery",
    "onWorkerLoss",
    "exclusive",
    "criteria",
    "minSamples",
    "resultFiles",
];
/// Fields of the answer to `GET /task/{id}` that are none of a definition, which may be sent back as it was received.
const SHOWN_FIELDS: [&str; 18] = [
    "id",
    "status",
    "step",
    "error",
    "failure",
    "timings",
    "workers",
    "queuePosition",
    "createdAt",
    "startedAt",
    "finishedAt",
    "exitCode",
    "verdict",
    "judgement",
    "leftovers",
    "timeoutMs",
    "deadlineAt",
    "lease",
];
const WAIT_FIELDS: [&str; 3] = ["command", "expectedResult", "timeout"];
const LOSS_POLICIES: [&str; 2] = ["continue", "abort"];

impl TaskSpec {
    /// Reads a definition. Unknown fields are faults, with the nearest known name.
    ///
    /// # Errors
    /// Every fault of the definition, in the order of its fields.
    pub fn parse(payload: &Value, around: &dyn Surroundings) -> Result<Self, Vec<Fault>> {
        Reader::read(payload, around)
    }
}

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
        let fields = self.object_as_shown("", payload, &TASK_FIELDS, &SHOWN_FIELDS)?;
        let name = self.name(fields);
        let master = self.service("master", fields);
        let worker = self.service("worker", fields);
        let readiness = self.readiness(fields);
        let wait = self.wait(fields);
        let delay = self.number("delay", fields.get("delay"), 0, MAX_SECONDS, 0);
        let longest = fields.get("maxDuration");
        let max_duration = self.whole_number("maxDuration", longest, 1, MAX_DURATION);
        let on_worker_loss = self.on_worker_loss(fields.get("onWorkerLoss"));
        let exclusive = self.exclusive(fields.get("exclusive"));
        let criteria = self.criteria(fields.get("criteria"));
        let fewest = fields.get("minSamples");
        let min_samples = self.whole_number("minSamples", fewest, 1, MAX_WHOLE);
        let result_files = self.result_files(fields.get("resultFiles"));
        let delivery = self.delivery(fields.get("delivery"));
        self.check_split(delivery, fields);
        self.check_aliases(fields);
        Some(TaskSpec {
            name: name?,
            worker: worker?,
            master: master?,
            wait: wait?,
            delay: delay?,
            readiness: readiness?,
            max_duration: max_duration?,
            delivery: delivery?,
            on_worker_loss: on_worker_loss?,
            exclusive: exclusive?,
            criteria: criteria?,
            min_samples: min_samples?,
            result_files: result_files?,
        })
    }

    fn name(&mut self, fields: &Map<String, Value>) -> Option<TaskName> {
        let given = fields.get("name").or_else(|| fields.get("id"));
        let text = self.required_text("name", given)?;
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
        if spec.command.len() > STRING_BYTES {
            return self.fault("waitCommand.command", too_long(STRING_BYTES));
        }
        Some(Some(spec).filter(|spec| !spec.command.trim().is_empty()))
    }

    fn on_worker_loss(&mut self, value: Option<&Value>) -> Option<OnWorkerLoss> {
        match value {
            None | Some(Value::Null) => Some(OnWorkerLoss::default()),
            Some(Value::String(word)) if word == "continue" => Some(OnWorkerLoss::Continue),
            Some(Value::String(word)) if word == "abort" => Some(OnWorkerLoss::Abort),
            Some(Value::String(word)) => {
                let why = format!("is `{}`; {}", shorten(word), nearest(word, &LOSS_POLICIES));
                self.fault("onWorkerLoss", why)
            }
            Some(other) => self.fault("onWorkerLoss", wrong_type(other, "a string")),
        }
    }

    fn exclusive(&mut self, value: Option<&Value>) -> Option<Option<String>> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Some(None);
        };
        // The empty name is a fault: it comes from a variable that was not set, and two tests would
        // meet on one system without a word.
        let name = self.text("exclusive", Some(value))?;
        let inside = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
        if inside && (1..=MAX_CLAIM).contains(&name.len()) {
            return Some(Some(name));
        }
        let why = format!(
            "`{}` is not a name; expected 1 to {MAX_CLAIM} letters, digits, `_`, `-`, `.` or `:`",
            shorten(&name)
        );
        self.fault("exclusive", why)
    }
}
