//! Work that does not end with the connection of the client that asked for it.

use super::error::RequestError;
use std::panic::resume_unwind;

/// Runs `work` to its end also when the client goes away: between a record and what follows from it,
/// nothing may be cut off.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, RequestError> {
    tokio::spawn(work)
        .await
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Tasks of the runtime are only ever cancelled when the process ends.
            Err(_) => RequestError::ShuttingDown,
        })
}
