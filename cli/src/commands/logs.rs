//! `atq logs`.

use crate::args::Logs;
use crate::commands::stdout::{Colours, Lines};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::logs::read;
use crate::out::DIM;
use crate::terminal::SOURCES;
use anstyle::Style;
use atq_api_spec::task::LogEntry;

/// Prints the lines, with `--json` as NDJSON.
///
/// # Errors
/// When the Director rejects the request, or is unreachable.
pub async fn logs(context: &Context, args: &Logs) -> Result<Exit, CliError> {
    let colours = Colours::of_stdout();
    let json = context.out.json;
    let mut lines = Lines::to_stdout();
    read(context, args, |entry| {
        let line = match json {
            true => serde_json::to_string(entry).unwrap_or_default(),
            false => line(entry, &lines.untrusted(&entry.text), colours),
        };
        lines.put(&line)
    })
    .await?;
    lines.finish()
}

/// `<time> worker.2 <text>`.
fn line(entry: &LogEntry, text: &str, colours: Colours) -> String {
    let at = if entry.at.is_empty() { "-" } else { &entry.at };
    let source = format!("{}.{}", entry.service, entry.replica);
    let source = colours.paint(colour(entry), &source);
    format!("{} {source} {}", colours.paint(DIM, at), text)
}

/// A fixed colour for the master, alternating colours for the workers.
fn colour(entry: &LogEntry) -> Style {
    let [master, workers @ ..] = SOURCES;
    match entry.service.as_str() {
        "worker" => workers[entry.replica as usize % workers.len()],
        _ => master,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: &str) -> LogEntry {
        LogEntry {
            at: at.to_owned(),
            service: "worker".to_owned(),
            replica: 2,
            stream: "stdout".to_owned(),
            text: "ready \u{1b}[1mnow".to_owned(),
        }
    }

    fn shown(at: &str, colours: Colours) -> String {
        let entry = entry(at);
        line(&entry, &entry.text, colours)
    }

    #[test]
    fn a_line_has_the_format_of_the_director() {
        let plain = shown("2026-01-31T12:00:00.250000000Z", Colours::Off);
        assert_eq!(
            plain,
            "2026-01-31T12:00:00.250000000Z worker.2 ready \u{1b}[1mnow"
        );
        assert!(shown("", Colours::Off).starts_with("- worker.2 "));
    }

    #[test]
    fn the_source_is_coloured_on_a_terminal() {
        let coloured = shown("-", Colours::On);
        assert!(
            coloured.contains("\u{1b}[35mworker.2\u{1b}[0m ready"),
            "{coloured:?}"
        );
    }
}
