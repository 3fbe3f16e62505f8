//! Adds the registry's reason to messages about an image that a node could not pull: Docker does not report it.

use crate::core::Core;
use crate::port::Swarm;
use atq_task::image;
use std::time::Duration;
use tokio::time::timeout;

/// Docker's text for every failed pull.
const NO_SUCH_IMAGE: &str = "No such image";
/// Timeout of the request: the failure is certain and should be reported within a second.
const TIMEOUT: Duration = Duration::from_millis(800);

/// The message, with the registry's reason if it is about a missing image.
pub(crate) async fn explain(core: &Core, image: &str, message: String) -> String {
    explain_with(&*core.swarm, image, message).await
}

/// The same for images outside a run.
pub(crate) async fn explain_with(swarm: &dyn Swarm, image: &str, message: String) -> String {
    if !message.contains(NO_SUCH_IMAGE) {
        return message;
    }
    match timeout(TIMEOUT, swarm.image_problem(image)).await {
        Ok(Some(problem)) => format!("{message}; {problem}"),
        Ok(None) => message,
        Err(_) => format!(
            "{message}; cannot reach a registry at `{}`: no answer within {} ms",
            image::registry(image),
            TIMEOUT.as_millis()
        ),
    }
}
