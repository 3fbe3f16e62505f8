//! Answers that are kept as files.

use crate::again::{ASKING, Again};
use crate::director::{Director, PIECE};
use crate::output::draft::Draft;
use crate::output::{named, unwritten};
use crate::trouble::{Trouble, innermost};
use futures_util::{Stream, StreamExt};
use reqwest::{Method, Response, header};
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Until an answer begins: the Director waits up to a minute for figures that are being worked out.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks for `path` once, in the given media type.
///
/// # Errors
/// When the Director refuses, or cannot be reached.
pub async fn ask(director: &Director, path: &str, accept: &str) -> Result<Response, Trouble> {
    let request = director
        .request(Method::GET, path)?
        .header(header::ACCEPT, accept);
    director.send_within(request, PATIENCE).await
}

/// Asks for `path` until there is a whole answer, for a moment.
///
/// # Errors
/// When the Director refuses, or cannot be reached.
pub async fn bytes(director: &Director, path: &str, accept: &str) -> Result<Vec<u8>, Trouble> {
    let mut again = Again::within(ASKING);
    loop {
        let answered = match ask(director, path, accept).await {
            Ok(response) => whole(director, response).await,
            Err(trouble) => Err(trouble),
        };
        match answered {
            Ok(bytes) => return Ok(bytes),
            Err(trouble) => again.after(trouble).await?,
        }
    }
}

async fn whole(director: &Director, response: Response) -> Result<Vec<u8>, Trouble> {
    let mut all = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(piece) = next(director, &mut body).await? {
        all.extend_from_slice(&piece.map_err(|error| cut(director, &error))?);
    }
    Ok(all)
}

/// The next piece of a body, if it goes on.
async fn next<T>(
    director: &Director,
    body: &mut (impl Stream<Item = T> + Unpin),
) -> Result<Option<T>, Trouble> {
    timeout(PIECE, body.next())
        .await
        .map_err(|_| director.stuck())
}

/// Puts what is at `path` into the file `to`, which is there whole or not at all.
///
/// # Errors
/// When the Director refuses or cannot be reached, or the file cannot be written.
pub async fn save(director: &Director, path: &str, accept: &str, to: &Path) -> Result<(), Trouble> {
    let draft = transfer(director, path, accept, || named::begin(to)).await?;
    named::finish(draft, to)
}

/// Puts what is at `path` into a file that `begin` creates, when there is something to put. A transfer that breaks is
/// begun anew, for a moment.
///
/// # Errors
/// When the Director refuses or cannot be reached, or the file cannot be written.
pub async fn transfer(
    director: &Director,
    path: &str,
    accept: &str,
    mut begin: impl FnMut() -> Result<Draft, Trouble>,
) -> Result<Draft, Trouble> {
    let mut again = Again::within(ASKING);
    loop {
        let response = ask(director, path, accept).await;
        let taken = match response {
            Ok(response) => take(director, response, begin()?).await,
            Err(trouble) => Err(trouble),
        };
        match taken {
            Ok(draft) => return Ok(draft),
            Err(trouble) => again.after(trouble).await?,
        }
    }
}

async fn take(director: &Director, response: Response, mut draft: Draft) -> Result<Draft, Trouble> {
    let mut body = response.bytes_stream();
    while let Some(piece) = next(director, &mut body).await? {
        let piece = piece.map_err(|error| cut(director, &error))?;
        let written = draft.write_all(&piece);
        written.map_err(unwritten(draft.path()))?;
    }
    Ok(draft)
}

/// The connection broke; the trouble names the innermost cause.
pub fn cut(director: &Director, error: &dyn Error) -> Trouble {
    let reason = innermost(error);
    director.unreachable(format!("the answer was cut off: {reason}"))
}

#[cfg(test)]
mod tests;
