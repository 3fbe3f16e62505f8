//! The upload. It may be repeated: the id says the content, so twice the same is once.

use super::{CHUNK, Meter, Positioned, Zip, has};
use crate::again::may_pass;
use crate::context::Context;
use crate::trouble::Trouble;
use atq_api_spec::bundle::Upload;
use atq_patience::retry_with;
use futures_util::{Stream, stream};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Response};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pauses between tries.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// The longest pause that a busy Director may ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// For so long nothing of the zip may be taken before the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(60);
/// Once all is sent, the Director unpacks it and brings it safely to its disk: at least so many bytes a second.
const UNPACKED_PER_SECOND: u64 = 2 << 20;
/// How often it is looked whether it goes on.
const LOOK: Duration = Duration::from_secs(1);
/// The real limits are [`SILENCE`] and [`patience`].
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// Sends the zip, again after a lost connection.
///
/// # Errors
/// When the Director refuses it, or cannot be reached.
pub async fn send(context: &Context, zip: &Zip) -> Result<(), Trouble> {
    let mut is_retry = false;
    let call = || {
        let is_retry = std::mem::replace(&mut is_retry, true);
        async move {
            // Perhaps only the answer was lost.
            if is_retry && matches!(has(context, &zip.id).await, Ok(true)) {
                return Ok(());
            }
            try_to_send(context, zip).await
        }
    };
    retry_with(PAUSES, call, |lost: &Trouble, pause| {
        may_pass(lost).then(|| {
            context.out.progress(format!("{lost}; trying again"));
            pause.max(lost.retry_after().unwrap_or_default().min(LONGEST))
        })
    })
    .await
}

async fn try_to_send(context: &Context, zip: &Zip) -> Result<(), Trouble> {
    let what = format!("uploading `{}`", zip.name);
    let meter = Meter::begin(context.out, &what, zip.bytes);
    let sent = Arc::new(AtomicU64::new(0));
    let body = Body::wrap_stream(chunks(&zip.file, Arc::clone(&sent), meter.clone()));
    let part = Part::stream_with_length(body, zip.bytes).file_name(zip.name.clone());
    let request = context
        .director
        .request(Method::POST, "databind/upload")?
        .multipart(Form::new().part("file", part));
    let answered = tokio::select! {
        answered = context.director.send_within(request, LONG) => answered,
        reason = stalled(&sent, zip.bytes) => Err(context.director.unreachable(reason)),
    };
    meter.end();
    confirm(context, answered?, &zip.id).await
}

/// The Director has what was meant.
async fn confirm(context: &Context, response: Response, id: &str) -> Result<(), Trouble> {
    let upload: Upload = context.director.read(response).await?;
    if upload.id == id {
        return Ok(());
    }
    let message = format!(
        "the Director keeps the bundle as `{}`, expected `{id}`: something else arrived than was sent",
        upload.id
    );
    Err(Trouble::failed(message, "did the zip change meanwhile?"))
}

/// Ends, with the reason, when nothing moves any more.
async fn stalled(sent: &AtomicU64, bytes: u64) -> String {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        sleep(LOOK).await;
        let now = sent.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        let patience = patience(seen, bytes);
        if since.elapsed() > patience {
            let seconds = patience.as_secs();
            return match seen < bytes {
                true => format!(
                    "it takes no more of the upload since {seconds} s, after {seen} of {bytes} bytes"
                ),
                false => format!("no answer to the upload within {seconds} s"),
            };
        }
    }
}

/// How long nothing may happen after so many bytes.
fn patience(sent: u64, bytes: u64) -> Duration {
    match sent < bytes {
        true => SILENCE,
        false => SILENCE + Duration::from_secs(bytes / UNPACKED_PER_SECOND),
    }
}

/// The content from its beginning, read when it is wanted.
fn chunks(
    file: &Arc<File>,
    sent: Arc<AtomicU64>,
    meter: Meter,
) -> impl Stream<Item = io::Result<Vec<u8>>> + use<> {
    let reader = Positioned::new(Arc::clone(file));
    stream::try_unfold(reader, move |mut reader| {
        let (sent, meter) = (Arc::clone(&sent), meter.clone());
        async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK];
                let count = reader.read(&mut chunk)?;
                chunk.truncate(count);
                Ok::<_, io::Error>((chunk, reader))
            });
            let (chunk, reader) = read.await.map_err(io::Error::other)??;
            sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            meter.add(chunk.len() as u64);
            Ok((!chunk.is_empty()).then_some((chunk, reader)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_stands_still_is_given_up_after_a_time_that_fits_its_size() {
        let sent = AtomicU64::new(5);
        let begun = Instant::now();
        let reason = stalled(&sent, 10).await;
        insta::assert_snapshot!(reason, @"it takes no more of the upload since 60 s, after 5 of 10 bytes");
        assert!(begun.elapsed() >= SILENCE);
        let all = 1 << 30;
        sent.store(all, Ordering::Relaxed);
        insta::assert_snapshot!(stalled(&sent, all).await, @"no answer to the upload within 572 s");
    }
}
