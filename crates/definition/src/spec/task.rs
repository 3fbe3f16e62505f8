//! A whole definition.

use super::declared::Declared;
use super::reader::{Field, Object, Reader};
use super::{Delivery, Fault, OnWorkerLoss, ReadinessSpec, ServiceSpec, Surroundings, WaitSpec};
use crate::criteria::Criterion;
use crate::wording::{is_name, shorten};
use atq_api_spec::task::{ServicePayload, Task, TaskPayload, TaskService};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::LazyLock;

static TASK: LazyLock<Declared> =
    LazyLock::new(|| Declared::of::<TaskPayload>().shown_as::<Task>());

/// The id of a task: `[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]`, so that a service name made of it
/// stays within Docker's 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskName(String);

impl TaskName {
    /// Reads a task's name; the error says what is wrong with it and what would be right.
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
    /// What the workers must answer to before they count as ready; `None`: nothing.
    #[serde(default)]
    pub readiness: Option<ReadinessSpec>,
    /// Seconds for which the test may run; `None`: as long as the Director allows at all.
    #[serde(default)]
    pub max_duration: Option<u64>,
    /// How bundles come to the containers.
    #[serde(default = "before_there_was_a_choice")]
    pub delivery: Delivery,
    /// What a worker that is lost while the test runs means.
    #[serde(default)]
    pub on_worker_loss: OnWorkerLoss,
    /// Two tasks with the same name here never run at the same time: that of what they test.
    #[serde(default)]
    pub exclusive: Option<String>,
    /// What the run must fulfil to pass.
    #[serde(default)]
    pub criteria: Vec<Criterion>,
    /// With fewer samples the run says nothing.
    #[serde(default)]
    pub min_samples: Option<u64>,
    /// Patterns of the files in `/atq/results` that hold samples; none: those that are recognised.
    #[serde(default)]
    pub result_files: Vec<String>,
}

/// What definitions mean that were stored before there was a choice.
fn before_there_was_a_choice() -> Delivery {
    Delivery::Shared
}

impl TaskSpec {
    fn has_bundle(&self) -> bool {
        self.worker.fileid.is_some() || self.master.fileid.is_some()
    }

    /// Whether bundles have to be brought to the nodes first.
    pub fn delivers(&self) -> bool {
        self.delivery == Delivery::Push && self.has_bundle()
    }

    /// Reads a definition. Unknown fields are faults, with the nearest known name.
    ///
    /// # Errors
    /// Every fault of the definition, in the order of its fields.
    pub fn parse(payload: &Value, around: &dyn Surroundings) -> Result<Self, Vec<Fault>> {
        Reader::read(payload, around)
    }

    /// The fields of the definition as answers show them; those of the run are empty. Docker's ids of the services
    /// come from outside.
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
            min_samples: self.min_samples,
            result_files: self.result_files.clone(),
            delivery: self.has_bundle().then_some(self.delivery),
            ..Task::default()
        }
    }

    /// The definition as it may be sent, but for the values of variables. An entry without `=` is a fault
    /// there: nobody starts a test with a password that is missing.
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
            min_samples: min_samples?,
            result_files: result_files?,
        })
    }

    /// `name`, or `id` as answers have it.
    fn name(&mut self, task: &Object) -> Option<TaskName> {
        let mut name = task.field("name");
        name.value = name.value.or(task.field("id").value);
        let text = self.required_text(&name)?;
        match TaskName::parse(&text) {
            Ok(name) => Some(name),
            Err(why) => self.fault("name", why),
        }
    }

    /// Looks at the payload itself, so that a clash is told beside the other faults.
    fn check_aliases(&mut self, payload: &Value) {
        let alias = |role: &str| payload[role]["alias"].as_str();
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

    fn delivery(&mut self, field: &Field) -> Option<Delivery> {
        let given = self.word(field)?;
        Some(given.unwrap_or_else(|| self.around.delivery()))
    }

    fn exclusive(&mut self, field: &Field) -> Option<Option<String>> {
        // The empty name is a fault: it comes from a variable that was not set, and two tests would
        // meet on one system without a word.
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
