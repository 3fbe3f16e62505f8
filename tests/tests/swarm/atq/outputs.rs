//! Files that `atq run` writes.

use super::{endless, run, sampled, until_running};
use anyhow::{Result, ensure};
use atq_tests::cli::Atq;
use atq_tests::client::Client;

/// Only files that `atq` wrote are replaced or removed; a conflict is reported before the test starts.
pub async fn keep_files_of_others(atq: &Atq) -> Result<()> {
    let results = atq.dir.path().join("place");
    std::fs::create_dir_all(results.join("logs"))?;
    let own = ["baseline.csv", "logs/app.log"];
    for name in own {
        std::fs::write(results.join(name), "mine")?;
    }
    let task = sampled("atq-files", "p95 < 500ms");
    let more = ["--results", "place", "--replace"];
    for _ in 0..2 {
        run(atq, &task, &more, 0).await?;
        for name in own {
            ensure!(std::fs::read(results.join(name))? == b"mine", "{name}");
        }
        ensure!(results.join("report.html").is_file(), "no report");
    }
    std::fs::write(results.join("report.html"), "mine")?;
    let ended = run(atq, &task, &more, 2).await?;
    ensure!(ended.err.contains("report.html"), "{ended:#?}");
    ensure!(std::fs::read(results.join("report.html"))? == b"mine");
    Ok(())
}

/// Outputs that cannot be written are reported before anything is sent.
pub async fn are_checked_first(atq: &Atq, client: &Client) -> Result<()> {
    std::fs::write(atq.dir.path().join("file"), "")?;
    std::fs::create_dir(atq.dir.path().join("dir"))?;
    let task = sampled("atq-unwritable", "p95 < 500ms");
    for output in [
        ["--results", "file"],
        ["--junit", "dir"],
        ["--junit", "file/junit.xml"],
        ["--gitlab", "/proc/none/load.json"],
    ] {
        let ended = run(atq, &task, &output, 2).await?;
        ensure!(ended.err.contains(output[0]), "{output:?}: {ended:#?}");
        let sent = client.get("/api/task/atq-unwritable").await?.status();
        ensure!(sent == 404, "{output:?}: the test was started");
    }
    Ok(())
}

/// An output that can no longer be written affects neither the exit code nor the other outputs.
pub async fn do_not_change_the_exit_code(atq: &Atq, client: &Client) -> Result<()> {
    let name = "atq-unwritten";
    let file = atq.definition(&endless(name))?;
    let junit = atq.dir.path().join("unwritten.xml");
    let outputs = ["--junit", "unwritten.xml", "--results", "unwritten"];
    let args = [&["run", file.as_str()], &outputs[..]].concat();
    let block_output = async {
        until_running(client, name).await?;
        std::fs::create_dir(&junit)?;
        client.stop(name).await?;
        Ok(())
    };
    let (ended, ()) = tokio::try_join!(atq.run(&args), block_output)?;
    ensure!(ended.code == Some(6), "{ended:#?}");
    ensure!(ended.out.starts_with("STOPPED atq-unwritten"), "{ended:#?}");
    ensure!(ended.err.contains("unwritten.xml"), "{ended:#?}");
    let report = atq.dir.path().join("unwritten/report.html");
    ensure!(report.is_file(), "{ended:#?}");
    Ok(())
}
