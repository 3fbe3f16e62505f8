//! Retention of tasks and bundles.

use super::document::Section;
use super::fields;
use std::time::Duration;

/// Retention of ended tasks and of bundles. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Maximum number of ended tasks.
    pub tasks: Option<u64>,
    /// Maximum time since the end of a task.
    pub task_age: Option<Duration>,
    /// Maximum size of the evidence of ended tasks in bytes.
    pub evidence_bytes: Option<u64>,
    /// Maximum time since the upload of an unused bundle.
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
            let number = section.integer(key, 0..=u64::MAX >> 1, default.unwrap_or(0));
            Some(number).filter(|number| *number > 0)
        };
        // Faults list the known keys in this order.
        let retention = Self {
            tasks: number("tasks", default.tasks),
            evidence_bytes: number("evidenceBytes", default.evidence_bytes),
            task_age: section.or("taskAge", fields::age, default.task_age),
            bundle_age: section.or("bundleAge", fields::age, default.bundle_age),
        };
        section.finish();
        retention
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::{Config, ConfigError, SMALLEST};
    use std::time::Duration;

    fn with(line: &str) -> Result<Config, ConfigError> {
        Config::parse(&format!("{}{line}\n", SMALLEST), |_| None)
    }

    #[test]
    fn ages_are_times_or_seconds() {
        for (text, seconds) in [
            ("30d", Some(2_592_000)),
            ("90m", Some(5400)),
            ("'45s'", Some(45)),
            ("'7'", Some(7)),
            ("0", None),
            ("0d", None),
        ] {
            let config = with(&format!("retention: {{taskAge: {text}}}")).unwrap();
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(config.retention.task_age, expected, "{text}");
        }
        for text in [
            "-1",
            "soon",
            "d",
            "1w",
            "1.5h",
            "36501d",
            "99999999999999999999d",
        ] {
            let error = with(&format!("retention: {{taskAge: {text}}}")).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("`retention.taskAge`"), "{error}");
            assert!(error.contains("must be a time like `30d`"), "{error}");
        }
        let error = with("retention: {tasksAge: 1d}").unwrap_err().to_string();
        assert!(error.contains("did you mean `retention.task"), "{error}");
    }
}
