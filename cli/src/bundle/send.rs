//! The upload. It is safe to repeat, because the id is a hash of the content.

use super::{CHUNK, Positioned, Progress, Zip, exists};
use crate::context::Context;
use crate::error::CliError;
use crate::retry::is_temporary;
use atq_api_spec::bundle::Upload;
use atq_retry::retry_with;
use futures_util::{Stream, stream};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Response};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pauses between attempts.
const RETRY_PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// Maximum `Retry-After` of a busy Director.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Without progress for this long, the connection counts as lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// After the upload, the Director unpacks and flushes the zip, at this rate or faster.
const MIN_UNPACKED_PER_SECOND: u64 = 2 << 20;
/// Interval of the progress checks.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Too long to have an effect; [`idle_timeout`] applies instead.
const NO_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Uploads the zip, with retries after a lost connection.
///
/// # Errors
/// When the Director rejects the zip, or is unreachable.
pub async fn send(context: &Context, zip: &Zip) -> Result<(), CliError> {
    let mut is_retry = false;
    let call = || {
        let is_retry = std::mem::replace(&mut is_retry, true);
        async move {
            // The previous attempt may have succeeded although its response was lost.
            if is_retry && matches!(exists(context, &zip.id).await, Ok(true)) {
                return Ok(());
            }
            send_once(context, zip).await
        }
    };
    retry_with(RETRY_PAUSES, call, |error: &CliError, pause| {
        is_temporary(error).then(|| {
            context.out.progress(format!("{error}; retrying"));
            pause.max(error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER))
        })
    })
    .await
}

async fn send_once(context: &Context, zip: &Zip) -> Result<(), CliError> {
    let what = format!("uploading `{}`", zip.name);
    let progress = Progress::begin(context.out, &what, zip.bytes);
    let sent = Arc::new(AtomicU64::new(0));
    let body = Body::wrap_stream(chunks(&zip.file, Arc::clone(&sent), progress.clone()));
    let part = Part::stream_with_length(body, zip.bytes).file_name(zip.name.clone());
    let request = context
        .director
        .request(Method::POST, "databind/upload")?
        .multipart(Form::new().part("file", part));
    let result = tokio::select! {
        result = context.director.send_within(request, NO_TIMEOUT) => result,
        reason = stalled(&sent, zip.bytes) => Err(context.director.unreachable(reason)),
    };
    progress.end();
    confirm(context, result?, &zip.id).await
}

/// Checks that the Director has the expected content.
async fn confirm(context: &Context, response: Response, id: &str) -> Result<(), CliError> {
    let upload: Upload = context.director.read(response).await?;
    if upload.id == id {
        return Ok(());
    }
    let message = format!(
        "the Director stored the bundle as `{}`, expected `{id}`: the content differs from the file",
        upload.id
    );
    Err(CliError::failed(
        message,
        "was the zip modified during the upload?",
    ))
}

/// Returns the reason when the upload makes no progress any more.
async fn stalled(sent: &AtomicU64, bytes: u64) -> String {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        sleep(POLL_INTERVAL).await;
        let now = sent.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let timeout = idle_timeout(last, bytes);
        if since.elapsed() > timeout {
            let seconds = timeout.as_secs();
            return match last < bytes {
                true => {
                    format!("the upload stalled for {seconds} s, after {last} of {bytes} bytes")
                }
                false => format!("no response to the upload within {seconds} s"),
            };
        }
    }
}

/// The idle timeout after this number of bytes.
fn idle_timeout(sent: u64, bytes: u64) -> Duration {
    match sent < bytes {
        true => IDLE_TIMEOUT,
        false => IDLE_TIMEOUT + Duration::from_secs(bytes / MIN_UNPACKED_PER_SECOND),
    }
}

/// The content as a stream of chunks, read on demand.
fn chunks(
    file: &Arc<File>,
    sent: Arc<AtomicU64>,
    progress: Progress,
) -> impl Stream<Item = io::Result<Vec<u8>>> + use<> {
    let reader = Positioned::new(Arc::clone(file));
    stream::try_unfold(reader, move |mut reader| {
        let (sent, progress) = (Arc::clone(&sent), progress.clone());
        async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK];
                let count = reader.read(&mut chunk)?;
                chunk.truncate(count);
                Ok::<_, io::Error>((chunk, reader))
            });
            let (chunk, reader) = read.await.map_err(io::Error::other)??;
            sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            progress.add(chunk.len() as u64);
            Ok((!chunk.is_empty()).then_some((chunk, reader)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stalled_upload_fails_after_a_timeout_that_depends_on_its_size() {
        let sent = AtomicU64::new(5);
        let begun = Instant::now();
        let reason = stalled(&sent, 10).await;
        insta::assert_snapshot!(reason, @"the upload stalled for 60 s, after 5 of 10 bytes");
        assert!(begun.elapsed() >= IDLE_TIMEOUT);
        let all = 1 << 30;
        sent.store(all, Ordering::Relaxed);
        insta::assert_snapshot!(stalled(&sent, all).await, @"no response to the upload within 572 s");
    }
}
