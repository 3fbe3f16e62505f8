//! Answers that are kept as files.

use crate::again::{ASKING, Again};
use crate::director::{Director, PIECE, innermost};
use crate::trouble::Trouble;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, Response, header};
use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
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

/// Puts what is at `path` into the file `to`, which is there whole or not at all. A transfer that breaks
/// is begun anew, for a moment.
///
/// # Errors
/// When the Director refuses or cannot be reached, or the file cannot be written.
pub async fn save(director: &Director, path: &str, accept: &str, to: &Path) -> Result<(), Trouble> {
    let part = part(to);
    let mut again = Again::within(ASKING);
    let saved = loop {
        match transfer(director, path, accept, &part).await {
            Ok(()) => break Ok(()),
            Err(trouble) => match again.after(trouble).await {
                Ok(()) => {}
                Err(trouble) => break Err(trouble),
            },
        }
    };
    let saved = match saved {
        Ok(()) => fs::rename(&part, to).await.map_err(unwritten(to)),
        Err(trouble) => Err(trouble),
    };
    if saved.is_err() {
        // Best effort: the trouble says more.
        drop(fs::remove_file(&part).await);
    }
    saved
}

async fn transfer(director: &Director, path: &str, accept: &str, to: &Path) -> Result<(), Trouble> {
    // No file is made for what is refused.
    let response = ask(director, path, accept).await?;
    let mut file = File::create(to).await.map_err(unwritten(to))?;
    let mut body = response.bytes_stream();
    while let Some(piece) = next(director, &mut body).await? {
        let piece = piece.map_err(|error| cut(director, &error))?;
        file.write_all(&piece).await.map_err(unwritten(to))?;
    }
    file.flush().await.map_err(unwritten(to))
}

/// Writes a file that is there whole or not at all, in a directory that is made if it is missing.
///
/// # Errors
/// When it cannot be written.
pub async fn write(to: &Path, content: impl AsRef<[u8]>) -> Result<(), Trouble> {
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    if let Some(dir) = dir {
        fs::create_dir_all(dir).await.map_err(unwritten(to))?;
    }
    let part = part(to);
    fs::write(&part, content).await.map_err(unwritten(&part))?;
    fs::rename(&part, to).await.map_err(unwritten(to))
}

/// Where a file is while it is not whole.
pub fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// The connection broke; the trouble names the innermost cause.
pub fn cut(director: &Director, error: &dyn Error) -> Trouble {
    let reason = innermost(error);
    director.unreachable(format!("the answer was cut off: {reason}"))
}

/// The file cannot be written.
pub fn unwritten<E: Display>(path: &Path) -> impl FnOnce(E) -> Trouble {
    move |error| {
        let message = format!("`{}` cannot be written: {error}", path.display());
        Trouble::failed(message, "")
    }
}

#[cfg(test)]
mod tests;
