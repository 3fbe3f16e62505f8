//! The exit code that the end of a test leads to.

use crate::exit::Exit;
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{Task, TaskStatus};

/// Why watching a test ended before, or beside, the test itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The time of `--timeout` was over, and the test was asked to stop.
    TimedOut,
    /// Somebody at this side asked it to stop.
    Interrupted,
    /// It was left to itself.
    Left,
    /// Somebody removed it.
    Removed,
}

/// What the end of `task` means. Of several things that are true at once the first of these counts:
///
/// 1. The test is not over: [`Exit::TimedOut`] after `--timeout`, else [`Exit::Stopped`].
/// 2. It was stopped: the same. `--timeout` and Ctrl-C count only here: a test that came to its own end
///    just before is told by that end.
/// 3. It failed: the code of its failure decides, see [`failed`]. A tool that ended with a code of its
///    own is [`Exit::ToolFailed`] whatever the verdict is: also when it was killed, or a worker was lost
///    as well (verdict `invalid`), and when criteria do not hold either (verdict `fail`), since figures
///    of a tool that failed are no ground to blame the system under test.
/// 4. It finished: the verdict decides. Without one a test that demands something of its figures is
///    [`Exit::Invalid`], since nobody looked at them; one that demands nothing has passed.
pub fn exit(task: &Task, cut: Option<Cut>) -> Exit {
    match task.status {
        TaskStatus::Initializing | TaskStatus::Started | TaskStatus::Stopped => match cut {
            Some(Cut::TimedOut) => Exit::TimedOut,
            _ => Exit::Stopped,
        },
        TaskStatus::Errored => match &task.failure {
            Some(failure) => failed(&failure.code),
            None => Exit::InfrastructureFailed,
        },
        TaskStatus::Finished => judged(task),
    }
}

/// What a failure means. Only what is called a time that ran out on the wire is [`Exit::TimedOut`]: the
/// test's own time, and the deadline for its start. A test that was ended because a worker was lost says
/// nothing, as one that went on without it. One whose client did not renew its lease was stopped. A probe or a wait command that did not succeed in its
/// time has failed (the time is part of what was asked of it), and so has a Docker that does not answer.
/// Codes that this program does not know are failures of the infrastructure.
fn failed(code: &str) -> Exit {
    match code {
        "master_exit" => Exit::ToolFailed,
        "max_duration" | "timeout" | "workers_timed_out" | "master_timed_out" => Exit::TimedOut,
        "lease_expired" => Exit::Stopped,
        "worker_lost" => Exit::Invalid,
        _ => Exit::InfrastructureFailed,
    }
}

fn judged(task: &Task) -> Exit {
    let demands = !task.criteria.is_empty() || task.min_samples.is_some();
    match task.verdict {
        Some(Verdict::Pass) => Exit::Pass,
        Some(Verdict::Fail) => Exit::CriteriaFailed,
        Some(Verdict::Invalid) => Exit::Invalid,
        None if demands => Exit::Invalid,
        None => Exit::Pass,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::tests::task;
    use atq_api_spec::task::{Failure, Step};

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
    fn every_failure_has_its_exit() {
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
        let untold = with(TaskStatus::Errored, None);
        assert_eq!(exit(&untold, None), Exit::InfrastructureFailed);
    }

    #[test]
    fn of_what_finished_the_verdict_decides() {
        let finished = |verdict| with(TaskStatus::Finished, verdict);
        for (verdict, expected) in [
            (Some(Verdict::Pass), Exit::Pass),
            (Some(Verdict::Fail), Exit::CriteriaFailed),
            (Some(Verdict::Invalid), Exit::Invalid),
            (None, Exit::Pass),
        ] {
            for cut in [None, Some(Cut::TimedOut), Some(Cut::Interrupted)] {
                let exit = exit(&finished(verdict), cut);
                assert_eq!(exit, expected, "{verdict:?} {cut:?}");
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
    fn what_was_stopped_says_who_did_it() {
        for status in [
            TaskStatus::Stopped,
            TaskStatus::Started,
            TaskStatus::Initializing,
        ] {
            let task = with(status, Some(Verdict::Invalid));
            for (cut, expected) in [
                (None, Exit::Stopped),
                (Some(Cut::Interrupted), Exit::Stopped),
                (Some(Cut::Left), Exit::Stopped),
                (Some(Cut::Removed), Exit::Stopped),
                (Some(Cut::TimedOut), Exit::TimedOut),
            ] {
                assert_eq!(exit(&task, cut), expected, "{status:?} {cut:?}");
            }
        }
    }
}
