//! Describes why an image cannot be pulled. After a failed pull on a node Docker reports only `No such image`.

use crate::registry::{Credential, CredentialError};
use atq_task::image;
use std::fmt;

/// Parts of Docker's texts that show that no registry was reached.
const UNREACHED: [&str; 9] = [
    "dial tcp",
    "no such host",
    "connection refused",
    "timeout",
    "did not answer",
    "deadline exceeded",
    "x509",
    "gave HTTP response",
    "EOF",
];

/// The credentials that were sent with the request, if any, or the reason why the configured ones could not be read.
pub(super) type SentCredentials = Result<Option<Credential>, CredentialError>;

/// The findings after a node has reported that the image does not exist.
#[derive(Debug, Clone)]
pub(super) struct RegistryProblem<'a> {
    /// The image.
    pub image: &'a str,
    /// Docker's own text about the registry; `None` if the registry has the image.
    pub reason: Option<String>,
    /// The credentials.
    pub sent: &'a SentCredentials,
}

impl fmt::Display for RegistryProblem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = image::registry(self.image);
        let Some(reason) = &self.reason else {
            return self.fmt_available(f, registry);
        };
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let reason = reason.strip_prefix("errors: ").unwrap_or(&reason);
        let unreached = UNREACHED.iter().any(|part| reason.contains(part));
        match unreached {
            true => write!(f, "cannot reach a registry at `{registry}`: {reason}")?,
            false => write!(f, "the registry `{registry}` reports: {reason}")?,
        }
        match self.sent {
            Ok(Some(sent)) => write!(f, "; the credentials of {} were sent", sent.source),
            Err(error) => write!(f, "; no credentials were sent: {error}"),
            // Without an answer it is unknown whether the registry requires credentials.
            Ok(None) if unreached => write!(f, "; no credentials were sent"),
            Ok(None) => write!(
                f,
                "; no credentials were sent: set them with `{}` or `registryAuth`",
                login(registry)
            ),
        }
    }
}

impl RegistryProblem<'_> {
    fn fmt_available(&self, f: &mut fmt::Formatter<'_>, registry: &str) -> fmt::Result {
        write!(f, "the registry `{registry}` has the image")?;
        if let Ok(Some(sent)) = self.sent {
            write!(f, " for the credentials of {}", sent.source)?;
        }
        f.write_str(
            ": can every node reach it? An Engine with `DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1` in its \
             environment pulls nothing for services",
        )
    }
}

/// The command that logs in to the registry.
fn login(registry: &str) -> String {
    match registry {
        image::HUB => "docker login".to_owned(),
        other => format!("docker login {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Secret, Secrets, Source};

    fn credential() -> Credential {
        Credential {
            server: "r.example".to_owned(),
            secrets: Secrets::IdentityToken(Secret::new("t")),
            source: Source::RegistryAuth,
        }
    }

    fn problem(image: &str, reason: &str, sent: SentCredentials) -> String {
        let reason = Some(reason.to_owned());
        let sent = &sent;
        RegistryProblem {
            image,
            reason,
            sent,
        }
        .to_string()
    }

    #[test]
    fn a_refusal_names_the_registry_and_what_was_sent() {
        let reason = "errors:\nunauthorized: authentication required\n";
        let image = "r.example:5000/a/b:1";
        assert_eq!(
            problem(image, reason, Ok(Some(credential()))),
            "the registry `r.example:5000` reports: unauthorized: authentication required; \
             the credentials of `registryAuth` were sent"
        );
        assert_eq!(
            problem(image, reason, Ok(None)),
            "the registry `r.example:5000` reports: unauthorized: authentication required; \
             no credentials were sent: set them with `docker login r.example:5000` or `registryAuth`"
        );
        let unusable = CredentialError {
            path: "f".into(),
            reason: "it is bad".to_owned(),
        };
        assert_eq!(
            problem("b", "denied: no", Err(unusable)),
            "the registry `docker.io` reports: denied: no; no credentials were sent: \
             `f` cannot be used: it is bad"
        );
    }

    #[test]
    fn an_unreachable_registry_is_reported_as_such() {
        let reason = "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
        assert_eq!(
            problem("x", reason, Ok(None)),
            format!("cannot reach a registry at `docker.io`: {reason}; no credentials were sent")
        );
    }

    #[test]
    fn an_available_image_points_to_the_nodes() {
        let problem = RegistryProblem {
            image: "r.example/x",
            reason: None,
            sent: &Ok(Some(credential())),
        };
        let text = problem.to_string();
        let expected =
            "the registry `r.example` has the image for the credentials of `registryAuth`: ";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn the_command_for_docker_hub_has_no_name() {
        let text = problem("x", "denied: no", Ok(None));
        assert!(text.contains("`docker login`"), "{text}");
    }
}
