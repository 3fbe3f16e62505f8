//! Blocking retries and polling, without a runtime.

use backon::BlockingRetryable;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

/// Calls until the call succeeds, its error is permanent, the pauses are used up, or the next pause would end after the
/// deadline. `notify` gets each error that is retried, and the pause.
///
/// # Errors
/// The last error.
pub fn retry<T, E>(
    pauses: impl IntoIterator<Item = Duration, IntoIter: Send + Sync + Unpin>,
    deadline: Instant,
    call: impl FnMut() -> Result<T, E>,
    is_temporary: impl FnMut(&E) -> bool,
    notify: impl FnMut(&E, Duration),
) -> Result<T, E> {
    let in_time = move |pause: &Duration| Instant::now() + *pause < deadline;
    call.retry(pauses.into_iter().take_while(in_time))
        .sleep(thread::sleep)
        .when(is_temporary)
        .notify(notify)
        .call()
}

/// Polls at each `interval` until `poll` breaks or the deadline has passed. The last poll starts after the deadline.
///
/// # Errors
/// The state returned by the last poll.
pub fn poll_until<T, S>(
    deadline: Instant,
    interval: Duration,
    mut poll: impl FnMut() -> ControlFlow<T, S>,
) -> Result<T, S> {
    loop {
        let has_passed = Instant::now() >= deadline;
        match poll() {
            ControlFlow::Break(found) => return Ok(found),
            ControlFlow::Continue(state) if has_passed => return Err(state),
            ControlFlow::Continue(_) => thread::sleep(interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_ends_after_the_last_pause_at_the_deadline_or_with_a_permanent_error() {
        let failing = |error: &'static str, seconds: u64| {
            let (mut calls, mut notified) = (0, 0);
            let deadline = Instant::now() + Duration::from_secs(60);
            let pauses = [Duration::ZERO, Duration::from_secs(seconds)];
            let call = || -> Result<(), _> {
                calls += 1;
                Err(error)
            };
            let notify = |_: &&str, _| notified += 1;
            let ended = retry(pauses, deadline, call, |error| *error == "busy", notify);
            assert_eq!(ended, Err(error));
            (calls, notified)
        };
        assert_eq!(failing("busy", 0), (3, 2));
        assert_eq!(failing("busy", 100), (2, 1));
        assert_eq!(failing("refused", 0), (1, 0));
    }

    #[test]
    fn a_poll_returns_the_last_state() {
        let mut polls = 0;
        let ended = poll_until(Instant::now(), Duration::ZERO, || {
            polls += 1;
            ControlFlow::<(), _>::Continue(polls)
        });
        assert_eq!(ended, Err(1));
        let later = Instant::now() + Duration::from_secs(60);
        let ended = poll_until(later, Duration::ZERO, || {
            polls += 1;
            match polls {
                5 => ControlFlow::Break("found"),
                _ => ControlFlow::Continue(()),
            }
        });
        assert_eq!(ended, Ok("found"));
    }
}
