//! Renewing the lease of a run while it is watched, also over lost connections.

use super::invocation::Invocation;
use crate::director::Director;
use crate::error::CliError;
use crate::path::segment;
use reqwest::Method;
use std::time::Duration;
use tokio::time::sleep;

/// Renewals within the length of a lease: one of them, or its response, may be lost.
const RENEWALS_PER_LEASE: u32 = 3;
/// Pause after a failed renewal.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Renews the lease until the Director rejects the renewal, because the run is over or has no lease.
pub async fn keep_renewing(director: Director, name: String, invocation: Invocation) {
    let Some(lease) = invocation.lease else {
        return;
    };
    let interval = lease / RENEWALS_PER_LEASE;
    loop {
        let pause = match renew(&director, &name, &invocation, interval).await {
            Ok(()) => interval,
            Err(
                CliError::Rejected {
                    status: 400..=428, ..
                }
                | CliError::Denied { .. },
            ) => return,
            Err(_) => interval.min(RETRY_INTERVAL),
        };
        sleep(pause).await;
    }
}

async fn renew(
    director: &Director,
    name: &str,
    invocation: &Invocation,
    timeout: Duration,
) -> Result<(), CliError> {
    let path = format!("task/{}/lease", segment(name));
    let request = director.request(Method::POST, &path)?;
    let sent = director.send_within(invocation.sign(request), timeout);
    sent.await.map(drop)
}
