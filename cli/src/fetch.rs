//! Downloads.

use crate::director::{CHUNK_TIMEOUT, Director};
use crate::error::{CliError, innermost};
use crate::output::draft::Draft;
use crate::output::{named, write_error};
use crate::retry::{REQUEST_RETRY_FOR, Retry};
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
    let write = |all: &mut Vec<u8>, chunk: &[u8]| {
        all.extend_from_slice(chunk);
        Ok(())
    };
    download(director, path, accept, || Ok(Vec::new()), write).await
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
    begin: impl FnMut() -> Result<Draft, CliError>,
) -> Result<Draft, CliError> {
    let write = |draft: &mut Draft, chunk: &[u8]| {
        let written = draft.write_all(chunk);
        written.map_err(write_error(draft.path()))
    };
    download(director, path, accept, begin, write).await
}

async fn download<T>(
    director: &Director,
    path: &str,
    accept: &str,
    mut begin: impl FnMut() -> Result<T, CliError>,
    mut write: impl FnMut(&mut T, &[u8]) -> Result<(), CliError>,
) -> Result<T, CliError> {
    let mut retry = Retry::within(REQUEST_RETRY_FOR);
    loop {
        let attempt = async {
            let mut response = request(director, path, accept).await?;
            let mut to = begin()?;
            loop {
                match timeout(CHUNK_TIMEOUT, response.chunk()).await {
                    Ok(Ok(Some(chunk))) => write(&mut to, &chunk)?,
                    Ok(Ok(None)) => return Ok(to),
                    Ok(Err(error)) => return Err(interrupted(director, &error)),
                    Err(_) => return Err(director.stalled_response()),
                }
            }
        };
        match attempt.await {
            Ok(done) => return Ok(done),
            Err(error) => retry.wait(error).await?,
        }
    }
}

/// An error for an interrupted response, with the innermost cause.
pub fn interrupted(director: &Director, error: &dyn Error) -> CliError {
    let reason = innermost(error);
    director.unreachable(format!("the response was interrupted: {reason}"))
}

#[cfg(test)]
mod tests;
