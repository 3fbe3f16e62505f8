//! The stream of the figures of a running task, resumed after lost connections.

use super::follow::{BACKOFF, Finished, Update, send};
use crate::director::Director;
use crate::error::CliError;
use crate::events::{self, LAST_EVENT_ID};
use crate::path::segment;
use atq_api_spec::live::LiveTask;
use atq_retry::Backoff;
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::{Method, Response, header};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

/// A stream without data for this long is considered lost: the Director sends an event a second, and a comment every
/// 15 s when there is nothing to send.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The name of the events.
const LIVE: &str = "live";

/// The reason why a stream ended.
enum End {
    /// The connection was lost, or the Director is shutting down.
    Lost {
        /// Whether there was an event.
        was_useful: bool,
    },
    /// An event is not understood.
    Unreadable(serde_json::Error),
}

/// Sends the figures of the task, until they are final. Ends early if the Director has none.
pub async fn figures(director: Director, name: String, updates: Sender<Update>) {
    let mut last = String::new();
    let mut backoff = Backoff::new(BACKOFF);
    loop {
        let update = match open(&director, &name, &last).await {
            Ok(response) => match read(response, &mut last, &updates).await {
                Err(Finished) => return,
                Ok(End::Unreadable(error)) => Update::NoFigures(Some(error.to_string())),
                Ok(End::Lost { was_useful }) => {
                    if was_useful {
                        backoff.reset();
                    }
                    Update::FiguresLost
                }
            },
            Err(error) if is_permanent(&error) => Update::NoFigures(None),
            Err(_) => Update::FiguresLost,
        };
        let is_over = matches!(update, Update::NoFigures(_));
        if send(&updates, update).await.is_err() || is_over {
            return;
        }
        sleep(backoff.next_pause()).await;
    }
}

/// Whether the Director has no live figures: an earlier version (404 or 405), or it refuses them. The 404 of a proxy
/// without a Director behind it is temporary.
fn is_permanent(error: &CliError) -> bool {
    match error {
        CliError::Rejected {
            status: 404, code, ..
        } => !code.is_empty(),
        CliError::Rejected { status, .. } => *status < 500,
        CliError::Denied { .. } => true,
        _ => false,
    }
}

async fn open(director: &Director, name: &str, last: &str) -> Result<Response, CliError> {
    let path = format!("task/{}/live", segment(name));
    let mut request = director
        .request(Method::GET, &path)?
        .header(header::ACCEPT, "text/event-stream");
    if !last.is_empty() {
        request = request.header(LAST_EVENT_ID, last);
    }
    director.send(request).await
}

/// Sends the figures of one connection.
async fn read(
    response: Response,
    last: &mut String,
    updates: &Sender<Update>,
) -> Result<End, Finished> {
    let mut events = Box::pin(events::bytes(response, IDLE_TIMEOUT).eventsource());
    let mut was_useful = false;
    while let Some(Ok(event)) = events.next().await {
        if event.event != LIVE {
            continue;
        }
        let mut live: Box<LiveTask> = match serde_json::from_str(&event.data) {
            Ok(live) => live,
            Err(error) => return Ok(End::Unreadable(error)),
        };
        // Not shown, and it grows with the test.
        if let Some(figures) = &mut live.figures {
            figures.series.points = Vec::new();
        }
        let is_final = live.is_final;
        send(updates, Update::Figures(live)).await?;
        if is_final {
            return Err(Finished);
        }
        was_useful = true;
        if !event.id.is_empty() {
            *last = event.id;
        }
    }
    Ok(End::Lost { was_useful })
}
