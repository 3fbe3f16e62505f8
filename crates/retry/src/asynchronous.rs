//! Asynchronous retries and polling, with tokio timers.

use super::Deadline;
use backon::Retryable;
use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::sleep;

/// Calls until the call succeeds, its error is permanent, or the deadline has passed. A call is never cancelled.
///
/// # Errors
/// The last error.
pub async fn retry<T, E, Fut>(
    pauses: impl IntoIterator<Item = Duration, IntoIter: Send + Sync + Unpin>,
    deadline: Deadline,
    call: impl FnMut() -> Fut,
    is_temporary: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    Fut: Future<Output = Result<T, E>>,
{
    retry_with(pauses, call, |error, pause| {
        (is_temporary(error) && !deadline.passed()).then_some(pause)
    })
    .await
}

/// Calls until the call succeeds, the pauses are used up, or `next_pause` returns `None`. `next_pause` gets the error
/// and the pause that is due, and may lengthen the pause.
///
/// # Errors
/// The last error.
pub async fn retry_with<T, E, Fut>(
    pauses: impl IntoIterator<Item = Duration, IntoIter: Send + Sync + Unpin>,
    call: impl FnMut() -> Fut,
    mut next_pause: impl FnMut(&E, Duration) -> Option<Duration>,
) -> Result<T, E>
where
    Fut: Future<Output = Result<T, E>>,
{
    call.retry(pauses.into_iter())
        .sleep(sleep)
        .adjust(|error, pause| next_pause(error, pause?))
        .await
}

/// Polls at each `interval` until `poll` breaks or the deadline has passed. The last poll starts after the deadline.
///
/// # Errors
/// The state returned by the last poll.
pub async fn poll_until<T, S, Fut>(
    deadline: Deadline,
    interval: Duration,
    mut poll: impl FnMut() -> Fut,
) -> Result<T, S>
where
    Fut: Future<Output = ControlFlow<T, S>>,
{
    loop {
        let has_passed = deadline.passed();
        match poll().await {
            ControlFlow::Break(found) => return Ok(found),
            ControlFlow::Continue(state) if has_passed => return Err(state),
            ControlFlow::Continue(_) => sleep(interval).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pauses;
    use std::future::ready;

    const PAUSES: Pauses = Pauses {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(4),
    };

    #[tokio::test(start_paused = true)]
    async fn a_retry_ends_after_the_deadline() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut calls = 0;
        let call = || {
            calls += 1;
            async { Err::<(), _>("busy") }
        };
        let ended = retry(PAUSES, deadline, call, |_| true).await;
        // At 0, 1, 3, 7 and 11 seconds.
        assert_eq!((ended, calls), (Err("busy"), 5));
        assert_eq!((deadline.left(), deadline.seconds()), (Duration::ZERO, 10));
        let call = || async { Err::<(), _>("refused") };
        let later = Deadline::after(Duration::from_secs(10));
        let ended = retry(PAUSES, later, call, |error| *error == "busy").await;
        assert_eq!(ended, Err("refused"));
        assert_eq!(later.left(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_returns_the_last_state_after_the_deadline() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut polls = 0;
        let ended = poll_until(deadline, PAUSES.longest, || {
            polls += 1;
            ready(ControlFlow::<(), _>::Continue(polls))
        });
        // At 0, 4, 8 and 12 seconds.
        assert_eq!(ended.await, Err(4));
        let later = Deadline::after(Duration::from_secs(10));
        let found = poll_until(later, PAUSES.first, || {
            polls += 1;
            ready(match polls {
                7 => ControlFlow::Break("found"),
                _ => ControlFlow::Continue(()),
            })
        });
        assert_eq!(found.await, Ok("found"));
        assert_eq!(deadline.at().elapsed(), Duration::from_secs(4));
    }
}
