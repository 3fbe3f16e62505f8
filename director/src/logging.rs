//! Log lines on standard error: plain ones for people, JSON for collectors.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Appended to what is chosen: the last word about a target counts.
const HELD: &str = "bollard=info,bollard::docker=info";
/// Libraries that write request bodies, and so passwords, at lower levels are held at `info`.
const DEFAULT_FILTER: &str = "info,bollard=info,hyper=warn,reqwest=warn,sled=warn";

/// Starts logging. `ATQ_LOG` chooses what is logged, for example `debug` or `atq_director=debug`.
pub fn init(format: LogFormat) {
    let chosen = std::env::var("ATQ_LOG").unwrap_or_default();
    let filter = match chosen.is_empty() {
        true => EnvFilter::new(DEFAULT_FILTER),
        false => EnvFilter::new(format!("{chosen},{HELD}")),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_target(false).init(),
    }
}
