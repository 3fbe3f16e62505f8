//! `atq ps`.

use crate::args::Ps;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::path::{segment, with_query};
use crate::table::{NO_VALUE, age, api_name, millis, table};
use atq_api_spec::task::{Task, TaskList, TaskStatus};
use atq_definition::spec::{names_of, nearest};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Maximum number of tasks per page.
const PAGE_SIZE: u32 = 1000;

/// Prints the tasks, newest first; with `--json` as one page, whose `next` is set if there are more.
///
/// # Errors
/// When the status is unknown, or the Director is unreachable.
pub async fn ps(context: &Context, args: &Ps) -> Result<Exit, CliError> {
    let status = args.status.as_deref();
    status.map_or(Ok(()), check_status)?;
    if args.limit == 0 {
        return Err(CliError::usage("`--limit` is 0", "expected at least 1"));
    }
    let list = collect(context, status, args.limit).await?;
    if list.tasks.is_empty() {
        context.out.progress("no tasks");
    } else {
        for line in lines(&list.tasks, OffsetDateTime::now_utc()) {
            context.out.line(line);
        }
    }
    if list.next.is_some() && !context.out.json {
        context
            .out
            .progress("there are more tasks; increase `--limit` to show them");
    }
    context.out.result(&list);
    Ok(Exit::Pass)
}

/// All tasks.
///
/// # Errors
/// When the Director is unreachable.
pub async fn all(context: &Context) -> Result<Vec<Task>, CliError> {
    Ok(collect(context, None, u32::MAX).await?.tasks)
}

/// Reads pages until there are `limit` tasks or no more.
async fn collect(
    context: &Context,
    status: Option<&str>,
    limit: u32,
) -> Result<TaskList, CliError> {
    let mut list = TaskList {
        tasks: Vec::new(),
        next: None,
    };
    loop {
        let missing = limit.saturating_sub(u32::try_from(list.tasks.len()).unwrap_or(limit));
        let path = path(status, missing.min(PAGE_SIZE), list.next.as_deref());
        let page: TaskList = context.director.get(&path).await?;
        let is_last = page.tasks.is_empty();
        list.tasks.extend(page.tasks);
        list.next = page.next;
        if is_last || list.next.is_none() || list.tasks.len() >= limit as usize {
            return Ok(list);
        }
    }
}

fn path(status: Option<&str>, limit: u32, after: Option<&str>) -> String {
    let parameters = [
        ("limit", Some(limit.to_string())),
        ("status", status.map(str::to_owned)),
        ("after", after.map(segment)),
    ];
    with_query("task", parameters)
}

fn check_status(text: &str) -> Result<(), CliError> {
    let known = names_of::<TaskStatus>();
    match known.contains(&text) {
        true => Ok(()),
        false => Err(CliError::usage(
            format!("`{}` is not a status", text.escape_debug()),
            nearest(text, known),
        )),
    }
}

fn lines(tasks: &[Task], now: OffsetDateTime) -> Vec<String> {
    let rows: Vec<_> = tasks
        .iter()
        .map(|task| {
            [
                task.id.clone(),
                api_name(&task.status),
                step(task),
                run_time(task, now),
                api_name(&task.verdict),
                rate(task),
                age(&task.created_at, now),
            ]
        })
        .collect();
    let head = [
        "NAME", "STATUS", "STEP", "DURATION", "VERDICT", "RATE", "AGE",
    ];
    table(head, &rows)
}

/// The time from the start of the master to the end of the test, or until now.
fn run_time(task: &Task, now: OffsetDateTime) -> String {
    let parse = |at: &str| OffsetDateTime::parse(at, &Rfc3339).ok();
    let time = task.started_at.as_deref().and_then(parse).and_then(|from| {
        let to = match &task.finished_at {
            Some(at) => parse(at)?,
            None => now,
        };
        u64::try_from((to - from).whole_milliseconds()).ok()
    });
    time.map_or_else(|| NO_VALUE.to_owned(), millis)
}

/// Requests per second, if the report has them.
fn rate(task: &Task) -> String {
    let rate = task.requests_per_second.map(|rate| format!("{rate:.1}/s"));
    rate.unwrap_or_else(|| NO_VALUE.to_owned())
}

fn step(task: &Task) -> String {
    match task.queue_position {
        Some(position) => format!("{} ({position})", api_name(&task.step)),
        None => api_name(&task.step),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn task(name: &str, changes: serde_json::Value) -> Task {
        let service = json!({"id": "", "alias": "a", "fileId": "", "image": "i", "replicas": 1, "tty": false, "args": []});
        let mut task = json!({
            "id": name, "status": "initializing", "step": "queued", "delay": 0, "timings": {}, "workers": [],
            "createdAt": "2026-03-04T12:00:00Z", "master": service, "worker": service,
        });
        for (key, value) in changes.as_object().unwrap() {
            task[key] = value.clone();
        }
        serde_json::from_value(task).unwrap()
    }

    #[test]
    fn tasks_are_a_table() {
        let now = OffsetDateTime::parse("2026-03-04T14:00:00Z", &Rfc3339).unwrap();
        let tasks = [
            task("next", json!({"queuePosition": 2})),
            task(
                "nightly",
                json!({
                    "status": "finished", "step": "done", "verdict": "fail", "requestsPerSecond": 41.84,
                    "startedAt": "2026-03-04T12:00:05Z", "finishedAt": "2026-03-04T12:03:05Z",
                }),
            ),
            task(
                "running",
                json!({"status": "started", "step": "running", "startedAt": "2026-03-04T13:59:00Z"}),
            ),
            task(
                "x1x",
                json!({"status": "initializing", "step": "waitCommand", "createdAt": "2026-03-04T13:59:30Z"}),
            ),
        ];
        insta::assert_snapshot!(lines(&tasks, now).join("\n"), @"
        NAME     STATUS        STEP         DURATION  VERDICT  RATE    AGE
        next     initializing  queued (2)   -         -        -       2 h
        nightly  finished      done         3m        fail     41.8/s  2 h
        running  started       running      60.0 s    -        -       2 h
        x1x      initializing  waitCommand  -         -        -       30 s
        ");
    }

    #[test]
    fn an_unknown_status_is_reported_with_the_nearest() {
        check_status("started").unwrap();
        let errors = ["startet", "done"].map(|text| {
            let error = check_status(text).unwrap_err();
            format!("{error}; {}", error.hint())
        });
        insta::assert_snapshot!(errors.join("\n"), @"
        `startet` is not a status; did you mean `started`?
        `done` is not a status; expected one of `initializing`, `started`, `stopped`, `finished`, `errored`
        ");
    }

    #[test]
    fn the_next_page_is_requested_by_its_position() {
        let next = path(Some("errored"), 20, Some("17.a b"));
        assert_eq!(next, "task?limit=20&status=errored&after=17.a%20b");
        assert_eq!(path(None, 5, None), "task?limit=5");
    }
}
