//! Downloads.

use crate::director::{CHUNK_TIMEOUT, Director};
use crate::error::{CliError, innermost};
use crate::output::draft::Draft;
use crate::output::{named, write_error};
use crate::retry::{REQUEST_RETRY_FOR, Retry};
use futures_util::{Stream, StreamExt};
use reqwest::{Method, Response, header};
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Timeout until a response begins: the Director waits up to a minute until the figures are computed.
const REPORT_TIMEOUT: Duration = Duration::from_secs(90);

/// Requests `path` once, in the given media type.
///
/// # Errors
/// When the Director rejects the request, or is unreachable.
pub async fn request(director: &Director, path: &str, accept: &str) -> Result<Response, CliError> {
    let request = director
        .request(Method::GET, path)?
        .header(header::ACCEPT, accept);
    director.send_within(request, REPORT_TIMEOUT).await
}

/// Downloads `path` to memory, with retries.
///
/// # Errors
/// When the Director rejects the request, or is unreachable.
pub async fn bytes(director: &Director, path: &str, accept: &str) -> Result<Vec<u8>, CliError> {
    let mut retry = Retry::within(REQUEST_RETRY_FOR);
    loop {
        let result = match request(director, path, accept).await {
            Ok(response) => read_all(director, response).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(bytes) => return Ok(bytes),
            Err(error) => retry.wait(error).await?,
        }
    }
}

async fn read_all(director: &Director, response: Response) -> Result<Vec<u8>, CliError> {
    let mut all = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = next_chunk(director, &mut body).await? {
        all.extend_from_slice(&chunk.map_err(|error| interrupted(director, &error))?);
    }
    Ok(all)
}

/// The next chunk of a body.
async fn next_chunk<T>(
    director: &Director,
    body: &mut (impl Stream<Item = T> + Unpin),
) -> Result<Option<T>, CliError> {
    timeout(CHUNK_TIMEOUT, body.next())
        .await
        .map_err(|_| director.stalled_response())
}

/// Downloads `path` to the file `to`, atomically.
///
/// # Errors
/// When the Director rejects the request or is unreachable, or the file cannot be written.
pub async fn save(
    director: &Director,
    path: &str,
    accept: &str,
    to: &Path,
) -> Result<(), CliError> {
    let draft = transfer(director, path, accept, || named::begin(to)).await?;
    named::finish(draft, to)
}

/// Downloads `path` to a draft created by `begin`, which is called only after a successful response. An interrupted download
/// is restarted.
///
/// # Errors
/// When the Director rejects the request or is unreachable, or the file cannot be written.
pub async fn transfer(
    director: &Director,
    path: &str,
    accept: &str,
    mut begin: impl FnMut() -> Result<Draft, CliError>,
) -> Result<Draft, CliError> {
    let mut retry = Retry::within(REQUEST_RETRY_FOR);
    loop {
        let response = request(director, path, accept).await;
        let result = match response {
            Ok(response) => write_body(director, response, begin()?).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(draft) => return Ok(draft),
            Err(error) => retry.wait(error).await?,
        }
    }
}

async fn write_body(
    director: &Director,
    response: Response,
    mut draft: Draft,
) -> Result<Draft, CliError> {
    let mut body = response.bytes_stream();
    while let Some(chunk) = next_chunk(director, &mut body).await? {
        let chunk = chunk.map_err(|error| interrupted(director, &error))?;
        let written = draft.write_all(&chunk);
        written.map_err(write_error(draft.path()))?;
    }
    Ok(draft)
}

/// An error for an interrupted response, with the innermost cause.
pub fn interrupted(director: &Director, error: &dyn Error) -> CliError {
    let reason = innermost(error);
    director.unreachable(format!("the response was interrupted: {reason}"))
}

#[cfg(test)]
mod tests;
