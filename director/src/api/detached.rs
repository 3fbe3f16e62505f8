//! Work that continues when the client disconnects.

use super::error::RequestError;
use std::panic::resume_unwind;

/// Runs `work` to completion even if the client disconnects: a record and its consequences must not be separated.
pub(super) async fn to_completion<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, RequestError> {
    tokio::spawn(work)
        .await
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Tasks of the runtime are cancelled only when the process ends.
            Err(_) => RequestError::ShuttingDown,
        })
}
