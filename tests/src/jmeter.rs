//! JMeter's report generator, in the JMeter image.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// The image with JMeter.
pub const IMAGE: &str = "atq-jmeter:5.6.3";

/// Generates the dashboard of `results.jtl` in this directory and returns its `statistics.json`. `properties` are
/// JMeter properties as `name=value`.
///
/// # Errors
/// When JMeter fails.
pub async fn dashboard(dir: &Path, name: &str, properties: &[&str]) -> Result<Value> {
    let mount = format!("{}:/figures", dir.display());
    let mut command = Command::new("docker");
    command.args([
        "run",
        "--rm",
        "--network",
        "none",
        "--label",
        "com.atq.test=figures",
    ]);
    command.args(["--name", name, "--volume", &mount]);
    // The dashboard is owned by root, so only its statistics are passed out, through standard output.
    let script = r#"java "$@" >&2 && cat /tmp/dashboard/statistics.json"#;
    command.args(["--entrypoint", "/bin/sh", IMAGE, "-c", script, "java"]);
    command.args(["-Xmx1g", "-Djava.awt.headless=true"]);
    for package in ["lang", "lang.invoke", "lang.reflect", "util", "text"] {
        command.arg(format!("--add-opens=java.base/java.{package}=ALL-UNNAMED"));
    }
    command.args([
        "-jar",
        "/opt/jmeter/bin/ApacheJMeter.jar",
        "-j",
        "/tmp/jmeter.log",
    ]);
    command.args(properties.iter().map(|property| format!("-J{property}")));
    command.args(["-g", "/figures/results.jtl", "-o", "/tmp/dashboard"]);
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run `docker run`")?;
    if !output.status.success() {
        bail!("JMeter: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("no `statistics.json`")
}
