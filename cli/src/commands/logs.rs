//! `atq logs`.

use crate::args::Logs;
use crate::commands::stdout::{Colours, Lines};
use crate::context::Context;
use crate::exit::Exit;
use crate::logs::read;
use crate::out::ASIDE;
use crate::terminal::SOURCES;
use crate::trouble::Trouble;
use anstyle::Style;
use atq_api_spec::task::LogEntry;

/// Writes the lines: as the Director's text, or as NDJSON with `--json`.
///
/// # Errors
/// When the Director refuses, or cannot be reached.
pub async fn logs(context: &Context, args: &Logs) -> Result<Exit, Trouble> {
    let colours = Colours::of_stdout();
    let json = context.out.json;
    let mut lines = Lines::to_stdout();
    read(context, args, |entry| {
        let line = match json {
            true => serde_json::to_string(entry).unwrap_or_default(),
            false => line(entry, &lines.foreign(&entry.text), colours),
        };
        lines.put(&line)
    })
    .await?;
    lines.end()
}

/// `<time> worker.2 <text>`.
fn line(entry: &LogEntry, text: &str, colours: Colours) -> String {
    let at = if entry.at.is_empty() { "-" } else { &entry.at };
    let source = format!("{}.{}", entry.service, entry.replica);
    let source = colours.paint(colour(entry), &source);
    format!("{} {source} {}", colours.paint(ASIDE, at), text)
}

/// Of the master always the same, of the workers one after the other.
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
    fn a_line_is_that_of_the_director() {
        let plain = shown("2026-01-31T12:00:00.250000000Z", Colours::Off);
        assert_eq!(
            plain,
            "2026-01-31T12:00:00.250000000Z worker.2 ready \u{1b}[1mnow"
        );
        assert!(shown("", Colours::Off).starts_with("- worker.2 "));
    }

    #[test]
    fn the_source_is_coloured_where_that_is_of_use() {
        let coloured = shown("-", Colours::On);
        assert!(
            coloured.contains("\u{1b}[35mworker.2\u{1b}[0m ready"),
            "{coloured:?}"
        );
    }
}
