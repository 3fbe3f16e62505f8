//! `kill -9` of the Director at the planned moments, and its start on the same data.

use super::plan::Moment;
use super::{Soak, client, say};
use crate::stage::Stage;
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// A phase may not come any more: few tasks are left, or none of them has it.
const PATIENCE: Duration = Duration::from_secs(8);

/// A kill that was done.
#[derive(Debug, Clone)]
pub struct Killed {
    /// The planned moment.
    pub moment: String,
    /// How many tasks were in which step.
    pub met: BTreeMap<String, usize>,
}

/// Kills as planned.
///
/// # Errors
/// When a Director does not start on what the one before has left.
pub async fn kill(stage: &mut Stage, soak: &Soak) -> Result<()> {
    let mut kills = soak.plan.kills.iter().peekable();
    while let Some(kill) = kills.next() {
        soak.board.until_ended(kill.ended).await;
        wait(soak, &kill.moment).await;
        soak.post.away();
        note(soak, &kill.moment);
        stage.take().crash()?;
        while let Some(next) = kills.next_if(|next| matches!(next.moment, Moment::Starting(_))) {
            kill_while_it_starts(stage, soak, &next.moment).await?;
        }
        stage.restart().await?;
        soak.post.back(client(stage)?);
    }
    Ok(())
}

async fn wait(soak: &Soak, moment: &Moment) {
    match moment {
        Moment::After(time) | Moment::Starting(time) => tokio::time::sleep(*time).await,
        Moment::Entering(phase, more) => {
            // Too late is as good a moment as any.
            let _ = tokio::time::timeout(PATIENCE, soak.board.until_entered(*phase)).await;
            tokio::time::sleep(*more).await;
        }
    }
}

async fn kill_while_it_starts(stage: &mut Stage, soak: &Soak, moment: &Moment) -> Result<()> {
    tokio::select! {
        // The start is given up, and with it the process is killed.
        () = wait(soak, moment) => {}
        started = stage.restart() => {
            started?;
            stage.take().crash()?;
        }
    }
    note(soak, moment);
    Ok(())
}

fn note(soak: &Soak, moment: &Moment) {
    let killed = Killed {
        moment: moment.name(),
        met: soak.board.under_way(),
    };
    let met: Vec<String> = killed
        .met
        .iter()
        .map(|(step, count)| format!("{count} in {step}"))
        .collect();
    let number = soak.killed(killed) + 1;
    let text = format!("kill {number} {}: {}", moment.name(), met.join(", "));
    say(soak, &text);
}
