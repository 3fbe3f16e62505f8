//! Credentials for private images, and the registry's reason when Docker cannot pull one.

use super::DockerSwarm;
use super::client::Call;
use crate::error::SwarmError;
use crate::registry::{Credential, Secrets};
use crate::registry_problem::RegistryProblem;
use bollard::Docker;
use bollard::auth::DockerCredentials;
use std::time::Duration;

/// Timeout of a request to a registry.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(5);

impl From<Credential> for DockerCredentials {
    fn from(found: Credential) -> Self {
        let empty = Self {
            serveraddress: Some(found.server),
            ..Self::default()
        };
        match found.secrets {
            Secrets::Password { username, password } => Self {
                username: Some(username),
                password: Some(password.expose().to_owned()),
                ..empty
            },
            Secrets::IdentityToken(token) => Self {
                identitytoken: Some(token.expose().to_owned()),
                ..empty
            },
        }
    }
}

impl DockerSwarm {
    /// The credentials to send for an image. Errors are logged only: the image may be on the nodes or public.
    pub(super) async fn credentials(&self, image: &str) -> Option<DockerCredentials> {
        match self.registries.for_image(image).await {
            Ok(found) => found.map(DockerCredentials::from),
            Err(error) => {
                tracing::warn!(image, %error, "no credentials sent for an image");
                None
            }
        }
    }

    /// Requests the image from its registry through Docker. Returns `None` when Docker itself does not answer.
    pub(super) async fn check_registry(&self, image: &str) -> Option<String> {
        let sent = self.registries.for_image(image).await;
        let credentials = sent.clone().ok().flatten().map(DockerCredentials::from);
        let call = Call::pull(format!("image `{image}`")).with_timeout(REGISTRY_TIMEOUT);
        let inspect = async |docker: Docker| {
            docker
                .inspect_registry_image(image, credentials.clone())
                .await
        };
        let reason = match self.client.send(&call, inspect).await {
            Err(
                SwarmError::Rejected { reason, .. }
                | SwarmError::Internal { reason, .. }
                | SwarmError::NoLeader { reason },
            ) => Some(reason),
            Err(error @ SwarmError::TimedOut { .. }) => Some(error.to_string()),
            Ok(_) => None,
            Err(_) => return None,
        };
        let problem = RegistryProblem {
            image,
            reason,
            sent: &sent,
        };
        Some(problem.to_string())
    }
}
