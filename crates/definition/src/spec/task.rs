//! A complete definition.

use super::declared::Declared;
use super::reader::{Field, Object, Reader};
use super::{Delivery, Fault, OnWorkerLoss, ReadinessSpec, ServiceSpec, Surroundings, WaitSpec};
use crate::criteria::{Criterion, StopCondition};
use crate::wording::{is_name, shorten};
use atq_api_spec::task::{ServicePayload, Task, TaskPayload, TaskService};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::LazyLock;

static TASK: LazyLock<Declared> =
    LazyLock::new(|| Declared::of::<TaskPayload>().shown_as::<Task>());

/// The id of a task: `[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]`. Service names derived from it
/// stay within Docker's 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskName(String);

impl TaskName {
    /// Parses a task's name; the error has the value found and the value expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match is_name(text, 3..=45) {
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

/// A validated definition of a load test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task's id.
    pub name: TaskName,
    /// The service that generates load.
    pub worker: ServiceSpec,
    /// The service that coordinates the workers.
    pub master: ServiceSpec,
    /// A command that must succeed before the master starts.
    pub wait: Option<WaitSpec>,
    /// Seconds to wait between the readiness of the workers and the start of the master.
    pub delay: u64,
    /// The readiness probe of the workers; `None`: no probe.
    #[serde(default)]
    pub readiness: Option<ReadinessSpec>,
    /// Maximum duration of the test in seconds; `None`: the Director's maximum.
    #[serde(default)]
    pub max_duration: Option<u64>,
    /// The delivery of bundles to the containers.
    #[serde(default = "original_delivery")]
    pub delivery: Delivery,
    /// The reaction to a worker lost during the test.
    #[serde(default)]
    pub on_worker_loss: OnWorkerLoss,
    /// The name of an exclusive resource: two tasks with the same name here never run at the same time.
    #[serde(default)]
    pub exclusive: Option<String>,
    /// Criteria that the run must meet to pass.
    #[serde(default)]
    pub criteria: Vec<Criterion>,
    /// Conditions that end the run early.
    #[serde(default)]
    pub stop_when: Vec<StopCondition>,
    /// The minimum number of samples of a conclusive run.
    #[serde(default)]
    pub min_samples: Option<u64>,
    /// Patterns of the result files in `/atq/results`; empty: all files of a recognised format.
    #[serde(default)]
    pub result_files: Vec<String>,
}

/// The delivery of definitions that were stored before this field existed.
fn original_delivery() -> Delivery {
    Delivery::Shared
}

impl TaskSpec {
    fn has_bundle(&self) -> bool {
        self.worker.fileid.is_some() || self.master.fileid.is_some()
    }

    /// True if bundles must be delivered to the nodes first.
    pub fn delivers(&self) -> bool {
        self.delivery == Delivery::Push && self.has_bundle()
    }

    /// True if the definition has requirements for the samples: criteria, stop conditions or a minimum number. Only then
    /// incomplete samples make a run inconclusive.
    pub fn has_requirements(&self) -> bool {
        !self.criteria.is_empty() || !self.stop_when.is_empty() || self.min_samples.is_some()
    }

    /// Parses a definition. Unknown fields are faults; the message names the closest known field.
    ///
    /// # Errors
    /// Every fault of the definition, in the order of its fields.
    pub fn parse(payload: &Value, surroundings: &dyn Surroundings) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader {
            faults: Vec::new(),
            surroundings,
        };
        match reader.task(payload) {
            Some(spec) if reader.faults.is_empty() => Ok(spec),
            _ => Err(reader.faults),
        }
    }

    /// The fields of the definition as shown in answers; those of the run are empty. `master` and `worker` are Docker's ids
    /// of the services.
    pub fn shown(&self, master: Option<&str>, worker: Option<&str>) -> Task {
        Task {
            id: self.name.to_string(),
            master: self.master.shown(master),
            worker: TaskService {
                readiness: self.readiness.as_ref().map(ReadinessSpec::shown),
                ..self.worker.shown(worker)
            },
            wait_command: self.wait.as_ref().map(WaitSpec::shown),
            delay: self.delay,
            max_duration: self.max_duration,
            on_worker_loss: self.on_worker_loss,
            exclusive: self.exclusive.clone(),
            criteria: self.criteria.iter().map(ToString::to_string).collect(),
            stop_when: self.stop_when.iter().map(ToString::to_string).collect(),
            min_samples: self.min_samples,
            result_files: self.result_files.clone(),
            delivery: self.has_bundle().then_some(self.delivery),
            ..Task::default()
        }
    }

    /// The definition in a format that can be sent, without the values of variables. An entry without `=` is a fault
    /// there, so that no test starts with a missing password.
    pub fn without_values(&self) -> TaskPayload {
        let shown = self.shown(None, None);
        TaskPayload {
            name: shown.id,
            master: self.master.without_values(),
            worker: ServicePayload {
                readiness: shown.worker.readiness,
                ..self.worker.without_values()
            },
            wait_command: shown.wait_command,
            delay: shown.delay,
            max_duration: shown.max_duration,
            delivery: shown.delivery,
            on_worker_loss: shown.on_worker_loss,
            exclusive: shown.exclusive,
            criteria: shown.criteria,
            stop_when: shown.stop_when,
            min_samples: shown.min_samples,
            result_files: shown.result_files,
        }
    }
}

impl Reader<'_> {
    pub(super) fn task(&mut self, payload: &Value) -> Option<TaskSpec> {
        let task = self.object("", payload, &TASK)?;
        let name = self.name(&task);
        let master = self.service("master", &task);
        let worker = self.service("worker", &task);
        let readiness = self.readiness(payload);
        let wait = self.wait(&task.field("waitCommand"));
        let delay = self.number(&task.field("delay"));
        let max_duration = self.whole_number(&task.field("maxDuration"));
        let on_worker_loss = self.word(&task.field("onWorkerLoss"));
        let exclusive = self.exclusive(&task.field("exclusive"));
        let criteria = self.criteria(&task.field("criteria"));
        let stop_when = self.stop_when(&task.field("stopWhen"));
        let min_samples = self.whole_number(&task.field("minSamples"));
        let result_files = self.result_files(&task.field("resultFiles"));
        let delivery = self.delivery(&task.field("delivery"));
        self.check_split(delivery, payload);
        self.check_aliases(payload);
        Some(TaskSpec {
            name: name?,
            worker: worker?,
            master: master?,
            wait: wait?,
            delay: delay?,
            readiness: readiness?,
            max_duration: max_duration?,
            delivery: delivery?,
            on_worker_loss: on_worker_loss?.unwrap_or_default(),
            exclusive: exclusive?,
            criteria: criteria?,
            stop_when: stop_when?,
            min_samples: min_samples?,
            result_files: result_files?,
        })
    }

    /// Parses `name`, or `id` as used in answers.
    fn name(&mut self, task: &Object) -> Option<TaskName> {
        let mut name = task.field("name");
        name.value = name.value.or(task.field("id").value);
        let text = self.required_text(&name)?;
        match TaskName::parse(&text) {
            Ok(name) => Some(name),
            Err(why) => self.fault("name", why),
        }
    }

    /// Checks the payload itself, so that a conflict is reported together with other faults.
    fn check_aliases(&mut self, payload: &Value) {
        let alias = |role: &str| payload[role]["alias"].as_str();
        let (Some(master), Some(worker)) = (alias("master"), alias("worker")) else {
            return;
        };
        if !worker.is_empty() && master.eq_ignore_ascii_case(worker) {
            let why = format!(
                "`{}` is also the master's alias; the two aliases of a task must differ, \
                 ignoring case",
                shorten(worker)
            );
            self.note("worker.alias", why);
        }
    }

    fn delivery(&mut self, field: &Field) -> Option<Delivery> {
        let given = self.word(field)?;
        Some(given.unwrap_or_else(|| self.surroundings.delivery()))
    }

    fn exclusive(&mut self, field: &Field) -> Option<Option<String>> {
        // The empty name is a fault: it usually results from an unset variable, and two tests would
        // silently share a system.
        let Some(name) = self.any_text(field)? else {
            return Some(None);
        };
        let inside = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
        let longest = field.max_length();
        if inside && (1..=longest).contains(&name.len()) {
            return Some(Some(name));
        }
        let why = format!(
            "`{}` is not a name; expected 1 to {longest} letters, digits, `_`, `-`, `.` or `:`",
            shorten(&name)
        );
        self.fault(&field.path, why)
    }
}
