//! `atq events`.

use crate::Context;
use crate::args::Events;
use crate::commands::stdout::{Colours, Lines};
use crate::director::segment;
use crate::events::{End, follow};
use crate::exit::Exit;
use crate::out::ASIDE;
use crate::trouble::Trouble;
use atq_api_spec::task::{TaskEvent, TaskEvents};
use serde_json::Value;
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

/// `12:00:01.250 network     networkCreated         name=...`, in UTC.
fn line(event: &TaskEvent, colours: Colours) -> String {
    let time = colours.paint(ASIDE, &clock(&event.at));
    let step = serde_json::to_value(event.step).unwrap_or_default();
    let step = step.as_str().unwrap_or_default();
    let line = format!(
        "{time} {step:<11} {:<22} {}",
        event.event,
        details(&event.data, step)
    );
    line.trim_end().to_owned()
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

/// `name=value` for each, without what the line says already.
fn details(data: &Value, step: &str) -> String {
    let Some(data) = data.as_object() else {
        return data.to_string();
    };
    data.iter()
        .filter(|(name, value)| !(*name == "step" && *value == step))
        .map(|(name, value)| match value {
            Value::String(text) if is_plain(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether the text needs no quotes to be told from what follows.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn shown(event: &str, step: &str, data: Value) -> String {
        let event = json!({
            "id": 3, "at": "2026-01-31T12:00:01.25Z", "event": event, "step": step, "data": data
        });
        line(&serde_json::from_value(event).unwrap(), Colours::Off)
    }

    #[test]
    fn lines_are_in_columns() {
        let data = json!({"step": "network"});
        assert_eq!(
            shown("stepStarted", "network", data),
            "12:00:01.250 network     stepStarted"
        );
        let data = json!({"id": "q6py", "subnet": {"size": 24}, "why": "no \"room\"", "note": ""});
        assert_eq!(
            shown("networkCreated", "network", data),
            r#"12:00:01.250 network     networkCreated         id=q6py note="" subnet={"size":24} why="no \"room\"""#
        );
        let data = json!({"text": "a\u{1b}[2J"});
        assert!(shown("x", "done", data).ends_with(r#"text="a\u001b[2J""#));
    }

    #[test]
    fn a_time_that_is_none_is_shown_as_it_is() {
        assert_eq!(clock("soon"), "soon");
        assert_eq!(clock("2026-01-31T12:00:00Z"), "12:00:00.000");
    }
}
