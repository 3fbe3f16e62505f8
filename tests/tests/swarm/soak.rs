//! A short soak test; `make soak` runs the full one.

use anyhow::{Result, ensure};
use atq_tests::soak::{Options, run};
use std::time::Duration;

#[tokio::test]
async fn fifteen_tasks_and_four_kills_leave_nothing() -> Result<()> {
    let options = Options {
        id: "test-soak".to_owned(),
        seed: 3,
        tasks: 15,
        kills: 4,
        deadline: Duration::from_secs(300),
    };
    let report = run(&options).await?;
    println!("{report}");
    ensure!(report.is_clean(), "{report}");
    let ended: usize = report.outcomes.values().sum();
    ensure!((ended, report.kills.len()) == (15, 4), "{report}");
    Ok(())
}
