//! Bundles that `atq` packs and uploads to a real Director. No task runs.

use anyhow::{Context, Result, ensure};
use atq_tests::director::binary;
use atq_tests::fixture::Fixture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Exit code and output of `atq`.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the `atq` beside the Director's binary.
async fn atq(fixture: &Fixture, args: &[&str]) -> Result<Ended> {
    let program = binary()?.with_file_name("atq");
    let output = Command::new(&program)
        .args(args)
        .env("ATQ_URL", fixture.client().url)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| {
            format!(
                "`{}` is not built; run `cargo build -p atq-cli`",
                program.display()
            )
        })?;
    Ok(Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Content and executable bit of all files below `dir`, by path.
fn tree(dir: &Path) -> Result<BTreeMap<String, (Vec<u8>, bool)>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(inner) = open.pop() {
        for entry in std::fs::read_dir(&inner)? {
            let path = entry?.path();
            let metadata = path.metadata()?;
            if metadata.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(dir)?.to_string_lossy().into_owned();
            let executable = metadata.permissions().mode() & 0o111 != 0;
            found.insert(name, (std::fs::read(&path)?, executable));
        }
    }
    Ok(found)
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
    std::fs::write(&path, content)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
    Ok(())
}

/// Fills a directory with all kinds of files that can be uploaded.
fn fill(dir: &Path) -> Result<()> {
    write(dir, "plan.jmx", "<jmeterTestPlan/>", 0o600)?;
    write(dir, "bin/run me.sh", "#!/bin/sh\n", 0o700)?;
    write(dir, "data/deep/käse.csv", "a,b\n".repeat(100_000), 0o644)?;
    write(dir, ".hidden/empty", "", 0o644)?;
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    write(dir, "noise.bin", noise, 0o640)?;
    symlink("plan.jmx", dir.join("also.jmx"))?;
    Ok(())
}

#[tokio::test]
async fn the_unpacked_bundle_equals_the_directory_and_is_uploaded_once() -> Result<()> {
    let fixture = Fixture::start("test-atq-bundles").await?;
    let parent = tempfile::tempdir()?;
    let dir = parent.path().join("shop");
    fill(&dir)?;
    let sent = tree(&dir)?;
    write(&dir, ".atqignore", "*.log\n/target/\n", 0o644)?;
    write(&dir, "logs/old.log", "left out", 0o644)?;
    write(&dir, "target/big", "left out", 0o644)?;
    let path = dir.to_string_lossy();

    let first = atq(&fixture, &["upload", &path, "--json"]).await?;
    ensure!(first.code == Some(0), "{first:?}");
    let upload: Value = serde_json::from_str(&first.out)?;
    ensure!(
        upload["uploaded"] == true && upload["files"] == sent.len(),
        "{upload}"
    );
    let id = upload["id"].as_str().context("no id")?;
    let unpacked = fixture.director().dir.join("bundles").join(id);
    let mut kept = tree(&unpacked)?;
    // The Director's marker of a complete bundle.
    kept.remove(".atq-bundle");
    ensure!(kept == sent, "{:?} and not {:?}", kept.keys(), sent.keys());

    let touched = std::fs::File::options()
        .append(true)
        .open(dir.join("plan.jmx"))?;
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    let again = atq(&fixture, &["upload", &path, "--json"]).await?;
    let repeated: Value = serde_json::from_str(&again.out)?;
    ensure!(
        repeated["uploaded"] == false && repeated["id"] == id,
        "{again:?}"
    );
    ensure!(again.err.contains("upload skipped"), "{again:?}");

    let list = atq(&fixture, &["bundles"]).await?;
    ensure!(
        list.out.contains(id) && list.out.contains("shop.zip") && list.out.contains("USED BY"),
        "{list:?}"
    );
    let files = atq(&fixture, &["bundles", id]).await?;
    ensure!(files.out.contains("data/deep/käse.csv"), "{files:?}");
    let removed = atq(&fixture, &["bundles", id, "--rm"]).await?;
    ensure!(removed.code == Some(0), "{removed:?}");
    let none = atq(&fixture, &["bundles", "--json"]).await?;
    ensure!(none.out.trim() == "[]", "{none:?}");
    fixture.finish().await
}

#[tokio::test]
async fn simple_commands_work_with_a_real_director() -> Result<()> {
    let fixture = Fixture::start("test-atq-plain").await?;
    let version = atq(&fixture, &["version"]).await?;
    ensure!(
        version
            .out
            .contains(&format!("Director {} at", env!("CARGO_PKG_VERSION"))),
        "{version:?}"
    );
    let swarm = atq(&fixture, &["swarm"]).await?;
    ensure!(
        swarm.code == Some(0) && swarm.out.contains("docker       ok"),
        "{swarm:?}"
    );
    ensure!(!swarm.out.contains("SWMTKN"), "{swarm:?}");
    let swarm = atq(&fixture, &["swarm", "--json"]).await?;
    ensure!(swarm.out.contains("SWMTKN"), "{swarm:?}");
    let ps = atq(&fixture, &["ps", "--status", "finished", "--json"]).await?;
    let list: Value = serde_json::from_str(&ps.out)?;
    ensure!(list["tasks"] == serde_json::json!([]), "{ps:?}");
    for command in ["show", "stop", "rm"] {
        let ended = atq(&fixture, &[command, "no-such-task"]).await?;
        ensure!(ended.code == Some(8), "{command}: {ended:?}");
    }
    let absent = atq(&fixture, &["bundles", "no-bundle"]).await?;
    ensure!(absent.code == Some(8), "{absent:?}");
    fixture.finish().await
}
