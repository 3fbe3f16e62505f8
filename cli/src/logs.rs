//! The log lines of a task, each once, resumed after lost connections.

use crate::args::Logs;
use crate::context::Context;
use crate::director::CHUNK_TIMEOUT;
use crate::error::CliError;
use crate::fetch::interrupted;
use crate::path::{segment, with_query};
use crate::retry::{FOLLOW_RETRY_FOR, Retry};
use atq_api_spec::task::LogEntry;
use futures_util::TryStreamExt;
use position::{LogPosition, Replay};
use reqwest::{Method, Response, header};
use std::io;
use std::ops::ControlFlow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::AsyncBufReadExt;
use tokio::time::{Instant, timeout};
use tokio_util::io::StreamReader;

pub(crate) mod position;
#[cfg(test)]
mod tests;

const NDJSON: &str = "application/x-ndjson";

/// Passes the selected lines to `each`, until they end or `each` breaks.
///
/// After a lost connection the lines are requested again, and those that were passed before are skipped: each line is passed
/// exactly once.
///
/// # Errors
/// When the Director rejects the request, or is unreachable for five minutes (a few seconds at the first attempt).
pub async fn read(
    context: &Context,
    wanted: &Logs,
    mut each: impl FnMut(&LogEntry) -> ControlFlow<()>,
) -> Result<(), CliError> {
    let mut position = LogPosition::default();
    let mut retry = Retry::within(FOLLOW_RETRY_FOR);
    let mut response = open(context, wanted, false, &mut position).await?;
    let mut replay = Replay::first();
    loop {
        let since = Instant::now();
        let ended = lines(
            context,
            wanted,
            response,
            &mut position,
            &mut replay,
            |entry| {
                retry.connected();
                each(entry)
            },
        )
        .await;
        let Err(mut error) = ended else {
            return Ok(());
        };
        retry.disconnected(context.out, since, &error);
        response = loop {
            retry.wait(error).await?;
            match open(context, wanted, true, &mut position).await {
                Ok(response) => break response,
                Err(other) => error = other,
            }
        };
        replay = position.replay();
    }
}

async fn open(
    context: &Context,
    wanted: &Logs,
    is_retry: bool,
    position: &mut LogPosition,
) -> Result<Response, CliError> {
    let request = context
        .director
        .request(Method::GET, &path(wanted, is_retry))?
        .header(header::ACCEPT, NDJSON);
    let response = match is_retry {
        true => context.director.send(request).await?,
        false => context.director.send_with_retries(request).await?,
    };
    if wanted.tail == Some(0) && !is_retry {
        position.skip_before(date(&response));
    }
    Ok(response)
}

/// The path of the lines. A retry requests all lines, because `tail` would now select different ones.
fn path(wanted: &Logs, is_retry: bool) -> String {
    let tail = wanted.tail.filter(|_| !(is_retry && wanted.follow));
    let path = format!("task/{}/logs", segment(&wanted.name));
    let parameters = [
        ("follow", wanted.follow.then(|| "1".to_owned())),
        ("service", wanted.service.as_deref().map(segment)),
        ("replica", wanted.replica.map(|number| number.to_string())),
        ("tail", tail.map(|number| number.to_string())),
    ];
    with_query(&path, parameters)
}

/// The time of the Director, in whole seconds.
fn date(response: &Response) -> Option<OffsetDateTime> {
    let date = response.headers().get(header::DATE)?.to_str().ok()?;
    OffsetDateTime::parse(date, &Rfc2822).ok()
}

/// Reads one response. Its end is the end of the lines; an incomplete line before an interruption is ignored.
async fn lines(
    context: &Context,
    wanted: &Logs,
    response: Response,
    position: &mut LogPosition,
    replay: &mut Replay,
    mut each: impl FnMut(&LogEntry) -> ControlFlow<()>,
) -> Result<(), CliError> {
    let body = response.bytes_stream().map_err(io::Error::other);
    let mut lines = StreamReader::new(body).lines();
    loop {
        let next = match wanted.follow {
            // The next line may be written at any time.
            true => lines.next_line().await,
            false => match timeout(CHUNK_TIMEOUT, lines.next_line()).await {
                Ok(next) => next,
                Err(_) => return Err(context.director.stalled_response()),
            },
        };
        let line = match next {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => return Err(interrupted(&context.director, &error)),
        };
        let entry: LogEntry = serde_json::from_str(&line).map_err(invalid_body)?;
        if replay.is_new(&entry) {
            position.record(&entry);
            if each(&entry).is_break() {
                return Ok(());
            }
        }
    }
}

fn invalid_body(error: serde_json::Error) -> CliError {
    let message = format!("invalid log line from the Director: {error}");
    CliError::failed(message, "check that the versions match: `atq version`")
}
