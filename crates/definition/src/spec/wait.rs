//! The wait command.

use super::declared::Declared;
use super::reader::{Field, Reader, STRING_BYTES};
use crate::wording::too_long;
use atq_api_spec::task::WaitCommand;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use std::time::Duration;

static WAIT: LazyLock<Declared> = LazyLock::new(Declared::of::<WaitCommand>);

/// A command that must succeed before the master starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSpec {
    /// The command for `/bin/sh -c`.
    pub command: String,
    /// The expected standard output after trimming; empty: any output.
    pub expected_result: String,
    /// Seconds during which a new attempt may start; 0: a single attempt.
    pub timeout: u64,
}

impl WaitSpec {
    /// [`WaitSpec::timeout`] as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    pub(super) fn shown(&self) -> WaitCommand {
        WaitCommand {
            command: self.command.clone(),
            expected_result: self.expected_result.clone(),
            timeout: self.timeout,
        }
    }
}

impl Reader<'_> {
    pub(super) fn wait(&mut self, field: &Field) -> Option<Option<WaitSpec>> {
        let wait = self.optional_object(field, &WAIT)?;
        let command = wait.field("command");
        let given = self.optional_text(&command);
        let expected_result = self.optional_text(&wait.field("expectedResult"));
        let timeout = self.number(&wait.field("timeout"));
        let spec = WaitSpec {
            command: given?.unwrap_or_default(),
            expected_result: expected_result?.unwrap_or_default(),
            timeout: timeout?,
        };
        if spec.command.len() > STRING_BYTES {
            return self.fault(&command.path, too_long(STRING_BYTES));
        }
        Some(Some(spec).filter(|spec| !spec.command.trim().is_empty()))
    }
}
