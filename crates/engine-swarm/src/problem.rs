//! Why an image is not to be had, in words. Docker says no more than `No such image` about a pull that
//! failed on a node.

use atq_task::image;
use std::fmt;

/// Parts of Docker's texts that mean that no registry was reached.
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

/// Which credentials went with the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// None are known.
    Nothing,
    /// Those that were found there.
    From(String),
    /// None, since those that may exist could not be had.
    Unusable(String),
}

/// What is known once a node has said that there is no such image.
#[derive(Debug, Clone)]
pub(super) struct Problem<'a> {
    /// The image.
    pub image: &'a str,
    /// Docker's own text about the registry; none when that has the image.
    pub said: Option<String>,
    /// The credentials.
    pub sent: Sent,
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = image::registry(self.image);
        let Some(said) = &self.said else {
            return self.has_it(f, registry);
        };
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = said.strip_prefix("errors: ").unwrap_or(&said);
        let unreached = UNREACHED.iter().any(|part| said.contains(part));
        match unreached {
            true => write!(f, "no registry at `{registry}` could be asked: {said}")?,
            false => write!(f, "the registry `{registry}` says: {said}")?,
        }
        match &self.sent {
            Sent::From(source) => write!(f, "; the credentials of `{source}` were sent"),
            Sent::Unusable(reason) => write!(f, "; no credentials were sent: {reason}"),
            // Without an answer nobody knows whether it wants any.
            Sent::Nothing if unreached => write!(f, "; no credentials were sent"),
            Sent::Nothing => write!(
                f,
                "; no credentials were sent: `{}` or `registryAuth` gives them",
                login(registry)
            ),
        }
    }
}

impl Problem<'_> {
    fn has_it(&self, f: &mut fmt::Formatter<'_>, registry: &str) -> fmt::Result {
        write!(f, "the registry `{registry}` has it")?;
        if let Sent::From(source) = &self.sent {
            write!(f, " for the credentials of `{source}`")?;
        }
        f.write_str(
            ": does every node reach it? An Engine with `DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1` in its \
             environment pulls nothing for services",
        )
    }
}

/// The command that logs in there.
fn login(registry: &str) -> String {
    match registry {
        image::HUB => "docker login".to_owned(),
        other => format!("docker login {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(image: &str, said: &str, sent: Sent) -> String {
        let said = Some(said.to_owned());
        Problem { image, said, sent }.to_string()
    }

    #[test]
    fn a_refusal_names_the_registry_and_what_was_sent() {
        let said = "errors:\nunauthorized: authentication required\n";
        let image = "r.example:5000/a/b:1";
        assert_eq!(
            problem(image, said, Sent::From("registryAuth".to_owned())),
            "the registry `r.example:5000` says: unauthorized: authentication required; \
             the credentials of `registryAuth` were sent"
        );
        assert_eq!(
            problem(image, said, Sent::Nothing),
            "the registry `r.example:5000` says: unauthorized: authentication required; \
             no credentials were sent: `docker login r.example:5000` or `registryAuth` gives them"
        );
        assert_eq!(
            problem("b", "denied: no", Sent::Unusable("`f` is bad".to_owned())),
            "the registry `docker.io` says: denied: no; no credentials were sent: `f` is bad"
        );
    }

    #[test]
    fn a_registry_that_was_not_reached_is_not_quoted() {
        let said = "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
        assert_eq!(
            problem("x", said, Sent::Nothing),
            format!("no registry at `docker.io` could be asked: {said}; no credentials were sent")
        );
    }

    #[test]
    fn an_image_that_is_there_leaves_the_nodes() {
        let problem = Problem {
            image: "r.example/x",
            said: None,
            sent: Sent::From("registryAuth".to_owned()),
        };
        let text = problem.to_string();
        let expected = "the registry `r.example` has it for the credentials of `registryAuth`: ";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn the_command_for_docker_hub_has_no_name() {
        let text = problem("x", "denied: no", Sent::Nothing);
        assert!(text.contains("`docker login`"), "{text}");
    }
}
