//! Images of registries that want a login: what Docker is sent, and what it says when it cannot get
//! one.

use super::DockerSwarm;
use super::client::Call;
use crate::error::SwarmError;
use crate::problem::{Problem, Sent};
use crate::registry::{Credential, CredentialError, Proof, Source};
use bollard::Docker;
use bollard::auth::DockerCredentials;
use std::time::Duration;

/// Deadline of a question to a registry.
const QUESTION: Duration = Duration::from_secs(5);

impl From<Credential> for DockerCredentials {
    fn from(found: Credential) -> Self {
        let empty = Self {
            serveraddress: Some(found.server),
            ..Self::default()
        };
        match found.proof {
            Proof::Password { username, password } => Self {
                username: Some(username),
                password: Some(password.expose().to_owned()),
                ..empty
            },
            Proof::IdentityToken(token) => Self {
                identitytoken: Some(token.expose().to_owned()),
                ..empty
            },
        }
    }
}

impl DockerSwarm {
    /// What to send for an image. Without credentials that cannot be had the image may still be on
    /// the nodes, or be public.
    pub(super) async fn credentials(&self, image: &str) -> Option<DockerCredentials> {
        match self.registries.for_image(image).await {
            Ok(found) => found.map(DockerCredentials::from),
            Err(error) => {
                tracing::warn!(image, %error, "no credentials are sent for an image");
                None
            }
        }
    }

    /// Asks the registry of an image through Docker. None when Docker itself does not answer.
    pub(super) async fn ask_registry(&self, image: &str) -> Option<String> {
        let found = self.registries.for_image(image).await;
        let sent = sent(&found);
        let credentials = found.ok().flatten().map(DockerCredentials::from);
        let call = Call::pull(format!("image `{image}`")).within(QUESTION);
        let question = async |docker: Docker| {
            docker
                .inspect_registry_image(image, credentials.clone())
                .await
        };
        let said = match self.client.ask(&call, question).await {
            Err(
                SwarmError::Rejected { reason, .. }
                | SwarmError::Internal { reason, .. }
                | SwarmError::NoLeader { reason },
            ) => Some(reason),
            Err(error @ SwarmError::TimedOut { .. }) => Some(error.to_string()),
            Ok(_) => None,
            Err(_) => return None,
        };
        Some(Problem { image, said, sent }.to_string())
    }
}

fn sent(found: &Result<Option<Credential>, CredentialError>) -> Sent {
    match found {
        Ok(Some(credential)) => Sent::From(match &credential.source {
            Source::RegistryAuth => "registryAuth".to_owned(),
            Source::DockerConfig(path) => path.display().to_string(),
        }),
        Ok(None) => Sent::Nothing,
        Err(error) => Sent::Unusable(error.to_string()),
    }
}
