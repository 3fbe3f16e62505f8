//! Files of a container, as Docker packs them.

use super::client::{Call, Client, broken};
use crate::error::SwarmError;
use bollard::Docker;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::bytes::Bytes;

/// Longest silence in the middle of an archive. Docker reads from a disk, which others may keep busy.
const STALL: Duration = Duration::from_secs(60);

/// A tar of `path` in the container.
pub(super) async fn open(
    client: Arc<Client>,
    container_id: &str,
    path: &str,
) -> Result<BoxStream<'static, Result<Bytes, SwarmError>>, SwarmError> {
    // Docker has the container's file systems mounted before it answers.
    let call = Call::read(format!("`{path}` of container `{container_id}`")).within(STALL);
    let url = format!("/containers/{container_id}/archive");
    let query = [("path", path.to_owned())];
    let begin = async |docker: Docker| client.get(docker, &url, &query).await;
    let body = client.ask(&call, begin).await?.bytes_stream().boxed();
    let parts = stream::unfold(Some((client, call, body)), |reading| async move {
        let (client, call, mut body) = reading?;
        match timeout(STALL, body.next()).await {
            Ok(Some(Ok(part))) => Some((Ok(part), Some((client, call, body)))),
            Ok(Some(Err(error))) => Some((Err(client.explain(&call, broken(error))), None)),
            Ok(None) => None,
            Err(_) => Some((Err(call.timed_out()), None)),
        }
    });
    Ok(parts.boxed())
}
