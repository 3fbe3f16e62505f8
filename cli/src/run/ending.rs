//! The exit code for the end of a test.

use crate::exit::Exit;
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{Task, TaskStatus};

/// The reason why watching ended before the test did, or why this program stopped the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyEnd {
    /// `--timeout` passed, and the stop of the test was requested.
    TimedOut,
    /// The user or a signal requested the stop.
    Interrupted,
    /// The test was left running.
    Detached,
    /// The task was removed.
    Removed,
}

/// The exit code for the end of `task`. The first rule that applies counts:
///
/// 1. The test is not finished: [`Exit::TimedOut`] after `--timeout`, else [`Exit::Stopped`].
/// 2. It was stopped: the same, unless a condition of `stopWhen` stopped it. Only such a test is stopped and has the
///    verdict `fail`: [`Exit::CriteriaFailed`]; with another verdict it is [`Exit::Invalid`]. `--timeout` and Ctrl-C count in these two cases only: a test that ended by
///    itself just before is reported with its own result.
/// 3. It failed: the failure code decides, see `failed`. A tool that ended with an exit code other than 0 is
///    [`Exit::ToolFailed`] regardless of the verdict: also when it was killed or a worker was lost (verdict `invalid`), and
///    when criteria do not hold (verdict `fail`), since the figures of a failed tool do not prove a fault of the system
///    under test.
/// 4. It finished: the verdict decides. Without a verdict, a test with criteria or `minSamples` is [`Exit::Invalid`], since
///    they were not evaluated; the same holds for `stopWhen`. Other tests have passed.
pub fn exit(task: &Task, early_end: Option<EarlyEnd>) -> Exit {
    match task.status {
        TaskStatus::Stopped if task.verdict == Some(Verdict::Fail) => Exit::CriteriaFailed,
        TaskStatus::Stopped if task.stopped_when.is_some() => Exit::Invalid,
        TaskStatus::Initializing | TaskStatus::Started | TaskStatus::Stopped => match early_end {
            Some(EarlyEnd::TimedOut) => Exit::TimedOut,
            _ => Exit::Stopped,
        },
        TaskStatus::Errored => match &task.failure {
            Some(failure) => failed(&failure.code),
            None => Exit::InfrastructureFailed,
        },
        TaskStatus::Finished => by_verdict(task),
    }
}

/// The exit code for a failure code. Only codes that name a time limit of the test or of its start are
/// [`Exit::TimedOut`]. A test that ended because a worker was lost is inconclusive, like one that continued without the
/// worker. A test whose lease expired was stopped. A probe or wait command that did not succeed in time, an
/// unresponsive Docker and unknown codes are infrastructure failures.
fn failed(code: &str) -> Exit {
    match code {
        "master_exit" => Exit::ToolFailed,
        "max_duration" | "timeout" | "workers_timed_out" | "master_timed_out" => Exit::TimedOut,
        "lease_expired" => Exit::Stopped,
        "worker_lost" => Exit::Invalid,
        _ => Exit::InfrastructureFailed,
    }
}

fn by_verdict(task: &Task) -> Exit {
    let has_requirements =
        !task.criteria.is_empty() || !task.stop_when.is_empty() || task.min_samples.is_some();
    match task.verdict {
        Some(Verdict::Pass) => Exit::Pass,
        Some(Verdict::Fail) => Exit::CriteriaFailed,
        Some(Verdict::Invalid) => Exit::Invalid,
        None if has_requirements => Exit::Invalid,
        None => Exit::Pass,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::tests::task;
    use atq_api_spec::task::{Failure, MetCondition, Step};

    fn errored(code: &str, verdict: Option<Verdict>) -> Task {
        let failure = Failure {
            step: Step::Running,
            code: code.to_owned(),
            message: String::new(),
            hint: String::new(),
            last_lines: Vec::new(),
        };
        Task {
            status: TaskStatus::Errored,
            failure: Some(failure),
            verdict,
            ..task("t")
        }
    }

    fn with(status: TaskStatus, verdict: Option<Verdict>) -> Task {
        Task {
            status,
            verdict,
            ..task("t")
        }
    }

    #[test]
    fn every_failure_code_has_an_exit_code() {
        let infrastructure = [
            "docker_unavailable",
            "docker_refused",
            "subnets_exhausted",
            "no_addresses",
            "bundle_missing",
            "delivery_failed",
            "discovery_failed",
            "worker_failed",
            "worker_unplaceable",
            "workers_not_ready",
            "wait_command_failed",
            "master_failed",
            "master_unplaceable",
            "master_lost",
            "internal",
            "of_a_later_version",
        ];
        for code in infrastructure {
            let exit = exit(&errored(code, Some(Verdict::Invalid)), None);
            assert_eq!(exit, Exit::InfrastructureFailed, "{code}");
        }
        let lost = errored("worker_lost", Some(Verdict::Invalid));
        assert_eq!(exit(&lost, None), Exit::Invalid);
        let left = errored("lease_expired", Some(Verdict::Invalid));
        assert_eq!(exit(&left, None), Exit::Stopped);
        for code in [
            "max_duration",
            "timeout",
            "workers_timed_out",
            "master_timed_out",
        ] {
            let exit = exit(&errored(code, Some(Verdict::Invalid)), None);
            assert_eq!(exit, Exit::TimedOut, "{code}");
        }
        for verdict in [None, Some(Verdict::Fail), Some(Verdict::Invalid)] {
            let exit = exit(&errored("master_exit", verdict), None);
            assert_eq!(exit, Exit::ToolFailed, "{verdict:?}");
        }
        let unknown = with(TaskStatus::Errored, None);
        assert_eq!(exit(&unknown, None), Exit::InfrastructureFailed);
    }

    #[test]
    fn the_verdict_decides_for_a_finished_test() {
        let finished = |verdict| with(TaskStatus::Finished, verdict);
        for (verdict, expected) in [
            (Some(Verdict::Pass), Exit::Pass),
            (Some(Verdict::Fail), Exit::CriteriaFailed),
            (Some(Verdict::Invalid), Exit::Invalid),
            (None, Exit::Pass),
        ] {
            for early_end in [None, Some(EarlyEnd::TimedOut), Some(EarlyEnd::Interrupted)] {
                let exit = exit(&finished(verdict), early_end);
                assert_eq!(exit, expected, "{verdict:?} {early_end:?}");
            }
        }
        let mut demanding = finished(None);
        demanding.criteria = vec!["p95 < 1 s".to_owned()];
        assert_eq!(exit(&demanding, None), Exit::Invalid);
        let mut counting = finished(None);
        counting.min_samples = Some(1);
        assert_eq!(exit(&counting, None), Exit::Invalid);
    }

    #[test]
    fn a_test_that_a_condition_stopped_has_failed() {
        let stopped = with(TaskStatus::Stopped, Some(Verdict::Fail));
        for early_end in [None, Some(EarlyEnd::TimedOut), Some(EarlyEnd::Interrupted)] {
            assert_eq!(
                exit(&stopped, early_end),
                Exit::CriteriaFailed,
                "{early_end:?}"
            );
        }
    }

    #[test]
    fn a_test_that_a_condition_stopped_and_that_is_inconclusive_is_invalid() {
        let mut stopped = with(TaskStatus::Stopped, Some(Verdict::Invalid));
        stopped.stopped_when = Some(MetCondition {
            condition: "errors > 20% for 30s".to_owned(),
            seen: "35 %".to_owned(),
        });
        assert_eq!(exit(&stopped, None), Exit::Invalid);
        let mut unjudged = with(TaskStatus::Finished, None);
        unjudged.stop_when = vec!["errors > 20% for 30s".to_owned()];
        assert_eq!(exit(&unjudged, None), Exit::Invalid);
    }

    #[test]
    fn a_stopped_test_has_the_exit_code_of_its_cause() {
        for status in [
            TaskStatus::Stopped,
            TaskStatus::Started,
            TaskStatus::Initializing,
        ] {
            let task = with(status, Some(Verdict::Invalid));
            for (early_end, expected) in [
                (None, Exit::Stopped),
                (Some(EarlyEnd::Interrupted), Exit::Stopped),
                (Some(EarlyEnd::Detached), Exit::Stopped),
                (Some(EarlyEnd::Removed), Exit::Stopped),
                (Some(EarlyEnd::TimedOut), Exit::TimedOut),
            ] {
                assert_eq!(exit(&task, early_end), expected, "{status:?} {early_end:?}");
            }
        }
    }
}
