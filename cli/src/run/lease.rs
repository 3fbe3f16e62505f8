//! The lease of a run, renewed while it is watched, whatever becomes of the connection in between.

use super::invocation::Invocation;
use crate::director::{Director, segment};
use crate::trouble::Trouble;
use reqwest::Method;
use std::time::Duration;
use tokio::time::sleep;

/// A lease is renewed so often within its length: one renewal, or its answer, may be lost.
const RENEWALS: u32 = 3;
/// Pause after a renewal that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Renews the lease until the Director refuses: then the run is over, or has none.
pub async fn keep(director: Director, name: String, invocation: Invocation) {
    let Some(lease) = invocation.lease else {
        return;
    };
    let interval = lease / RENEWALS;
    loop {
        let pause = match renew(&director, &name, &invocation, interval).await {
            Ok(()) => interval,
            Err(Trouble::Rejected {
                status: 400..=428, ..
            }) => return,
            Err(_) => interval.min(RETRY_INTERVAL),
        };
        sleep(pause).await;
    }
}

async fn renew(
    director: &Director,
    name: &str,
    invocation: &Invocation,
    patience: Duration,
) -> Result<(), Trouble> {
    let path = format!("task/{}/lease", segment(name));
    let request = director.request(Method::POST, &path)?;
    let sent = director.send_within(invocation.sign(request), patience);
    sent.await.map(drop)
}
