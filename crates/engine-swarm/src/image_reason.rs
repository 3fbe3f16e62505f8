//! What a registry says about an image that a node could not get: Docker keeps that to itself.

use crate::core::Core;
use crate::port::Swarm;
use atq_task::image;
use std::time::Duration;
use tokio::time::timeout;

/// Docker's words for whatever went wrong with a pull.
const MASK: &str = "No such image";
/// Longest wait for the answer: the failure is certain, and is to be told within a second.
const PATIENCE: Duration = Duration::from_millis(800);

/// The message, and what the registry says if it is about an image that is missing.
pub(crate) async fn explain(core: &Core, image: &str, message: String) -> String {
    explain_with(&*core.swarm, image, message).await
}

/// The same, for what belongs to no run.
pub(crate) async fn explain_with(swarm: &dyn Swarm, image: &str, message: String) -> String {
    if !message.contains(MASK) {
        return message;
    }
    match timeout(PATIENCE, swarm.image_problem(image)).await {
        Ok(Some(problem)) => format!("{message}; {problem}"),
        Ok(None) => message,
        Err(_) => format!(
            "{message}; no registry at `{}` could be asked: no answer within {} ms",
            image::registry(image),
            PATIENCE.as_millis()
        ),
    }
}
