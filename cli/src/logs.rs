//! The log lines of a task, each once, also over a lost connection.

use crate::again::{Again, FOLLOWING};
use crate::args::Logs;
use crate::context::Context;
use crate::director::{PIECE, segment};
use crate::fetch::cut;
use crate::trouble::Trouble;
use atq_api_spec::task::LogEntry;
use futures_util::TryStreamExt;
use reqwest::{Method, Response, header};
use seen::{Replay, Seen};
use std::io;
use std::ops::ControlFlow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::AsyncBufReadExt;
use tokio::time::{Instant, timeout};
use tokio_util::io::StreamReader;

pub(crate) mod seen;
#[cfg(test)]
mod tests;

const NDJSON: &str = "application/x-ndjson";

/// Gives the wanted lines to `each`, until they end or `each` breaks off.
///
/// When the connection is lost the Director is asked again, and of what it says then only the lines are
/// given that were not given before: each line once, none left out.
///
/// # Errors
/// When the Director refuses, or stays away for five minutes; at the first try, for a moment.
pub async fn read(
    context: &Context,
    wanted: &Logs,
    mut each: impl FnMut(&LogEntry) -> ControlFlow<()>,
) -> Result<(), Trouble> {
    let mut seen = Seen::default();
    let mut again = Again::within(FOLLOWING);
    let mut response = open(context, wanted, false, &mut seen).await?;
    let mut replay = Replay::first();
    loop {
        let since = Instant::now();
        let ended = lines(context, wanted, response, &mut seen, &mut replay, |entry| {
            again.reached();
            each(entry)
        })
        .await;
        let Err(mut trouble) = ended else {
            return Ok(());
        };
        again.broke_off(context.out, since, &trouble);
        response = loop {
            again.after(trouble).await?;
            match open(context, wanted, true, &mut seen).await {
                Ok(response) => break response,
                Err(other) => trouble = other,
            }
        };
        replay = seen.replay();
    }
}

async fn open(
    context: &Context,
    wanted: &Logs,
    is_again: bool,
    seen: &mut Seen,
) -> Result<Response, Trouble> {
    let request = context
        .director
        .request(Method::GET, &path(wanted, is_again))?
        .header(header::ACCEPT, NDJSON);
    let response = match is_again {
        true => context.director.send(request).await?,
        false => context.director.send_again(request).await?,
    };
    if wanted.tail == Some(0) && !is_again {
        seen.nothing_before(date(&response));
    }
    Ok(response)
}

/// Where the lines are. Who comes again asks for all that were written: the last so many are others now.
fn path(wanted: &Logs, is_again: bool) -> String {
    let tail = wanted.tail.filter(|_| !(is_again && wanted.follow));
    let query: Vec<String> = [
        wanted.follow.then(|| "follow=1".to_owned()),
        wanted
            .service
            .as_ref()
            .map(|service| format!("service={}", segment(service))),
        wanted.replica.map(|replica| format!("replica={replica}")),
        tail.map(|tail| format!("tail={tail}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!(
        "task/{}/logs{mark}{}",
        segment(&wanted.name),
        query.join("&")
    )
}

/// The Director's time, whole seconds.
fn date(response: &Response) -> Option<OffsetDateTime> {
    let date = response.headers().get(header::DATE)?.to_str().ok()?;
    OffsetDateTime::parse(date, &Rfc2822).ok()
}

/// Reads one answer. Its end is the end of the lines; a part of a line before a break counts as nothing.
async fn lines(
    context: &Context,
    wanted: &Logs,
    response: Response,
    seen: &mut Seen,
    replay: &mut Replay,
    mut each: impl FnMut(&LogEntry) -> ControlFlow<()>,
) -> Result<(), Trouble> {
    let body = response.bytes_stream().map_err(io::Error::other);
    let mut lines = StreamReader::new(body).lines();
    loop {
        let next = match wanted.follow {
            // Nobody knows when the next line is written.
            true => lines.next_line().await,
            false => match timeout(PIECE, lines.next_line()).await {
                Ok(next) => next,
                Err(_) => return Err(context.director.stuck()),
            },
        };
        let line = match next {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => return Err(cut(&context.director, &error)),
        };
        let entry: LogEntry = serde_json::from_str(&line).map_err(stranger)?;
        if replay.is_new(&entry) {
            seen.note(&entry);
            if each(&entry).is_break() {
                return Ok(());
            }
        }
    }
}

fn stranger(error: serde_json::Error) -> Trouble {
    let message = format!("the Director sends a log line that cannot be read: {error}");
    Trouble::failed(message, "do the versions fit? `atq version` shows them")
}
