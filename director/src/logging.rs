//! Log lines on standard error: as text, or as JSON for log collectors.

use crate::config::LogFormat;
use std::io::{self, IsTerminal, Write};
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
        .with_writer(|| OneLine(io::stderr()))
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_target(false).init(),
    }
}

/// Writes each event as one line: line breaks within it, for example before a hint, become blanks.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// `event` is a whole event: the subscriber writes each one with a single call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.trim_end().replace("\nhint: ", "; hint: ");
        let line = line.replace("\r\n", " ").replace('\n', " ");
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_with_line_breaks_is_one_line() {
        let written = Shared::default();
        let to = written.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || OneLine(to.clone()))
            .with_ansi(false)
            .without_time()
            .with_target(false);
        tracing::subscriber::with_default(lines.finish(), || {
            let error = "the bundle is damaged\nhint: upload it again\n(see GET /databind/list)";
            tracing::warn!(error = %error, "cannot\nstart");
            tracing::info!("next");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            written,
            " WARN cannot start error=the bundle is damaged; hint: upload it again (see GET /databind/list)\n INFO next\n"
        );
    }
}
