//! The Director in a container, deployed as a stack.

use anyhow::{Result, ensure};
use atq_tests::docker::labelled;
use std::path::PathBuf;
use tokio::process::Command;

#[tokio::test]
async fn a_task_runs_from_inside_the_directors_container() -> Result<()> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/stack-check.sh");
    let output = Command::new(script).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    ensure!(text.contains("finished"), "{text}");
    ensure!(labelled("com.atq.task=stack-check").await?.is_empty());
    Ok(())
}
