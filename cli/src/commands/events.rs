//! `atq events`.

use crate::args::Events;
use crate::commands::sentence::sentence;
use crate::commands::stdout::{Colours, Lines};
use crate::context::Context;
use crate::director::segment;
use crate::events::{End, follow};
use crate::exit::Exit;
use crate::out::ASIDE;
use crate::trouble::Trouble;
use atq_api_spec::task::{TaskEvent, TaskEvents};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Writes the history of a task. As JSON: the Director's list; followed, one event on each line.
///
/// # Errors
/// When the Director refuses, or cannot be reached.
pub async fn events(context: &Context, args: &Events) -> Result<Exit, Trouble> {
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
        return lines.end();
    }
    let path = format!("task/{}/events", segment(&args.name));
    let history: TaskEvents = context.director.get(&path).await?;
    context.out.result(&history);
    for event in &history.events {
        context.out.line(line(event, colours));
    }
    Ok(Exit::Pass)
}

/// `12:00:01.250  network q6py created`, in UTC.
fn line(event: &TaskEvent, colours: Colours) -> String {
    let time = colours.paint(ASIDE, &clock(&event.at));
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
    fn a_line_has_the_time_and_what_happened() {
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
    fn a_time_that_is_none_is_shown_as_it_is() {
        assert_eq!(clock("soon"), "soon");
        assert_eq!(clock("2026-01-31T12:00:00Z"), "12:00:00.000");
    }
}
