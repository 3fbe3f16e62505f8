//! `atq events`.

use crate::args::Events;
use crate::commands::sentence::sentence;
use crate::commands::stdout::{Colours, Lines};
use crate::context::Context;
use crate::error::CliError;
use crate::events::{End, follow};
use crate::exit::Exit;
use crate::out::DIM;
use crate::path::segment;
use atq_api_spec::task::{TaskEvent, TaskEvents};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Prints the history of a task. With `--json`: the list of the Director, or with `--follow` one event per line.
///
/// # Errors
/// When the Director rejects the request, or is unreachable.
pub async fn events(context: &Context, args: &Events) -> Result<Exit, CliError> {
    let colours = Colours::of_stdout();
    if args.follow {
        let json = context.out.json;
        let mut lines = Lines::to_stdout();
        let end = follow(context, &args.name, 0, |event| {
            lines.put(&match json {
                true => serde_json::to_string(event).unwrap_or_default(),
                false => line(event, colours),
            })
        })
        .await?;
        if end == End::Deleted {
            context
                .out
                .progress(format_args!("the task `{}` was removed", args.name));
        }
        return lines.finish();
    }
    let path = format!("task/{}/events", segment(&args.name));
    let history: TaskEvents = context.director.get(&path).await?;
    let lines = history.events.iter().map(|event| line(event, colours));
    context.out.show(lines, &history);
    Ok(Exit::Pass)
}

/// `12:00:01.250  network q6py created`, in UTC.
fn line(event: &TaskEvent, colours: Colours) -> String {
    let time = colours.paint(DIM, &clock(&event.at));
    format!("{time}  {}", sentence(event))
}

fn clock(at: &str) -> String {
    match OffsetDateTime::parse(at, &Rfc3339) {
        Ok(time) => {
            let (hour, minute, second, milli) = time.to_hms_milli();
            format!("{hour:02}:{minute:02}:{second:02}.{milli:03}")
        }
        Err(_) => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_has_the_time_and_the_event() {
        let event = json!({
            "id": 3, "at": "2026-01-31T12:00:01.25Z", "event": "stopped", "step": "running", "data": null
        });
        let event = serde_json::from_value(event).unwrap();
        assert_eq!(
            line(&event, Colours::Off),
            "12:00:01.250  stopped on request"
        );
    }

    #[test]
    fn an_invalid_time_is_shown_unchanged() {
        assert_eq!(clock("soon"), "soon");
        assert_eq!(clock("2026-01-31T12:00:00Z"), "12:00:00.000");
    }
}
