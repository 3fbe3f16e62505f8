//! What is kept, and for how long.

use super::document::Section;
use super::fields;
use std::time::Duration;

/// What is kept of tasks that are over, and of bundles. `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Number of tasks that are over.
    pub tasks: Option<u64>,
    /// Time since a task was over.
    pub task_age: Option<Duration>,
    /// Bytes of the evidence of tasks that are over.
    pub evidence_bytes: Option<u64>,
    /// Time since the upload of a bundle that no task names.
    pub bundle_age: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            tasks: Some(1000),
            task_age: None,
            evidence_bytes: Some(50 << 30),
            bundle_age: Some(Duration::from_secs(30 * 86_400)),
        }
    }
}

impl Retention {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut number = |key, default: Option<u64>| {
            let read = section.optional(key, |v| fields::integer(v, 0, u64::MAX >> 1));
            read.or(default).filter(|number| *number > 0)
        };
        let (tasks, evidence_bytes) = (
            number("tasks", default.tasks),
            number("evidenceBytes", default.evidence_bytes),
        );
        let mut age = |key, default| section.optional(key, fields::age).unwrap_or(default);
        let (task_age, bundle_age) = (
            age("taskAge", default.task_age),
            age("bundleAge", default.bundle_age),
        );
        section.finish();
        Self {
            tasks,
            task_age,
            evidence_bytes,
            bundle_age,
        }
    }
}
