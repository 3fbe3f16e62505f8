//! The Director in a container, deployed as a stack.

use anyhow::{Result, ensure};
use atq_tests::docker::labelled;
use std::path::PathBuf;
use tokio::process::Command;

async fn check(args: &[&str]) -> Result<()> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/stack-check.sh");
    let output = Command::new(script).args(args).output().await?;
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

// One after the other, because both have a task with the same name.
#[tokio::test]
async fn a_task_runs_from_inside_the_directors_container_also_with_tokens_and_a_private_authority()
-> Result<()> {
    check(&[]).await?;
    check(&["--tls"]).await
}
