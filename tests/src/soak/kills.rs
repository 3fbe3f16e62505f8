//! Kills the Director with SIGKILL at the planned moments and restarts it on the same data.

use super::plan::KillTrigger;
use super::{Soak, client, print};
use crate::fixture::Fixture;
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum wait for a phase, which may never be reached when few tasks are left.
const PHASE_TIMEOUT: Duration = Duration::from_secs(8);

/// An executed kill.
#[derive(Debug, Clone)]
pub struct KillRecord {
    /// Name of its trigger.
    pub trigger: String,
    /// Number of tasks in progress by step.
    pub in_progress: BTreeMap<String, usize>,
}

/// Executes the planned kills.
///
/// # Errors
/// When a Director does not start on the data of the killed one.
pub async fn run(fixture: &mut Fixture, soak: &Soak) -> Result<()> {
    let mut kills = soak.plan.kills.iter().peekable();
    while let Some(kill) = kills.next() {
        soak.progress.until_ended(kill.ended).await;
        wait(soak, &kill.trigger).await;
        soak.client.disconnect();
        record(soak, &kill.trigger);
        fixture.take().crash()?;
        while let Some(next) =
            kills.next_if(|next| matches!(next.trigger, KillTrigger::Starting(_)))
        {
            kill_while_it_starts(fixture, soak, &next.trigger).await?;
        }
        fixture.restart().await?;
        soak.client.reconnect(client(fixture)?);
    }
    Ok(())
}

async fn wait(soak: &Soak, trigger: &KillTrigger) {
    match trigger {
        KillTrigger::After(time) | KillTrigger::Starting(time) => tokio::time::sleep(*time).await,
        KillTrigger::Entering(phase, more) => {
            // After a timeout, the kill happens anyway.
            let _ = tokio::time::timeout(PHASE_TIMEOUT, soak.progress.until_entered(*phase)).await;
            tokio::time::sleep(*more).await;
        }
    }
}

async fn kill_while_it_starts(
    fixture: &mut Fixture,
    soak: &Soak,
    trigger: &KillTrigger,
) -> Result<()> {
    tokio::select! {
        // Dropping the start future kills the process.
        () = wait(soak, trigger) => {}
        started = fixture.restart() => {
            started?;
            fixture.take().crash()?;
        }
    }
    record(soak, trigger);
    Ok(())
}

fn record(soak: &Soak, trigger: &KillTrigger) {
    let killed = KillRecord {
        trigger: trigger.name(),
        in_progress: soak.progress.in_progress(),
    };
    let in_progress: Vec<String> = killed
        .in_progress
        .iter()
        .map(|(step, count)| format!("{count} in {step}"))
        .collect();
    let number = soak.record_kill(killed) + 1;
    let text = format!(
        "kill {number} {}: {}",
        trigger.name(),
        in_progress.join(", ")
    );
    print(soak, &text);
}
