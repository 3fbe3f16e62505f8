//! Log lines on standard error: as text, or as JSON for log collectors.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Appended to the configured filter: the last directive for a target takes precedence.
const FORCED_FILTER: &str = "bollard=info,bollard::docker=info";
/// Libraries that log request bodies, including passwords, at lower levels are limited to `info`.
const DEFAULT_FILTER: &str = "info,bollard=info,hyper=warn,reqwest=warn,sled=warn";

/// Initialises logging. `ATQ_LOG` sets the filter, for example `debug` or `atq_director=debug`.
pub fn init(format: LogFormat) {
    let configured = std::env::var("ATQ_LOG").unwrap_or_default();
    let filter = match configured.is_empty() {
        true => EnvFilter::new(DEFAULT_FILTER),
        false => EnvFilter::new(format!("{configured},{FORCED_FILTER}")),
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
