//! The program of `make demo`.

use anyhow::{Context, Result, ensure};
use atq_tests::director::binary;
use atq_tests::docker::labelled;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Both tests use the demo's port.
static PORT_LOCK: Mutex<()> = Mutex::const_new(());

fn demo(dir: &Path, output: &Path) -> Result<Child> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_demo"));
    binary()?;
    let output = std::fs::File::create(output)?;
    let child = Command::new(program)
        .env("ATQ_DEMO_DIR", dir)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    Ok(child)
}

fn end_director(dir: &Path) -> Result<()> {
    let pid = std::fs::read_to_string(dir.join("director.pid"))
        .context("the demo must leave its Director running")?;
    ensure!(
        Command::new("kill")
            .args(["-TERM", pid.trim()])
            .status()?
            .success()
    );
    Ok(())
}

#[tokio::test]
async fn the_demo_counts_every_sample() -> Result<()> {
    let _lock = PORT_LOCK.lock().await;
    let dir = tempfile::tempdir()?;
    let output = dir.path().join("output");
    let status = demo(dir.path(), &output)?.wait()?;
    let text = std::fs::read_to_string(&output)?;
    ensure!(status.success(), "{status}\n{text}");
    ensure!(
        text.contains("200 samples of each of 3 workers, no errors"),
        "{text}"
    );
    ensure!(
        text.contains("/swagger-ui/") && text.contains("curl -s"),
        "{text}"
    );
    end_director(dir.path())
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing() -> Result<()> {
    let _lock = PORT_LOCK.lock().await;
    let dir = tempfile::tempdir()?;
    let output = dir.path().join("output");
    let mut child = demo(dir.path(), &output)?;
    let begun = Instant::now();
    while !std::fs::read_to_string(&output)?.contains("step resolve") {
        ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "{}",
            std::fs::read_to_string(&output)?
        );
        ensure!(
            child.try_wait()?.is_none(),
            "{}",
            std::fs::read_to_string(&output)?
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()?
            .success()
    );
    let status = child.wait()?;
    let text = std::fs::read_to_string(&output)?;
    ensure!(status.code() == Some(130), "{status}\n{text}");
    for label in ["com.atq.task=atq-demo", "atq.demo=target"] {
        let left = labelled(label).await?;
        ensure!(left.is_empty(), "{left:?}\n{text}");
    }
    Ok(())
}
