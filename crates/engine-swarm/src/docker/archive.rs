//! Archives with files of a container.

use super::client::{Call, Client, connection_error};
use crate::error::SwarmError;
use bollard::Docker;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::bytes::Bytes;

/// Idle timeout within an archive. Docker reads from a disk that may be busy.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A tar of `path` in the container.
pub(super) async fn open(
    client: Arc<Client>,
    container_id: &str,
    path: &str,
) -> Result<BoxStream<'static, Result<Bytes, SwarmError>>, SwarmError> {
    // Docker mounts the container's file systems before it answers.
    let call =
        Call::read(format!("`{path}` of container `{container_id}`")).with_timeout(IDLE_TIMEOUT);
    let url = format!("/containers/{container_id}/archive");
    let query = [("path", path.to_owned())];
    let begin = async |docker: Docker| client.get(docker, &url, &query).await;
    let body = client.send(&call, begin).await?.bytes_stream().boxed();
    let chunks = stream::unfold(Some((client, call, body)), |reading| async move {
        let (client, call, mut body) = reading?;
        match timeout(IDLE_TIMEOUT, body.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some((client, call, body)))),
            Ok(Some(Err(error))) => Some((
                Err(client.to_swarm_error(&call, connection_error(error))),
                None,
            )),
            Ok(None) => None,
            Err(_) => Some((Err(call.timed_out()), None)),
        }
    });
    Ok(chunks.boxed())
}
