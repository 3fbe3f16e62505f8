//! Converts Docker's errors. Docker distinguishes many errors only by text; the texts are those of ARCHITECTURE.md,
//! How Docker Swarm behaves, and of Engine 20.10 to 29.

use crate::error::SwarmError;

/// The kind of a call, which determines the meaning of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperationKind {
    /// Changes nothing.
    Read,
    /// Creates the object.
    Create,
    /// Stops the object.
    End,
    /// Removes the object.
    Remove,
    /// Pulls the object from a registry.
    Pull,
}

/// Description of a call.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// The kind of the call.
    pub kind: OperationKind,
    /// The object: "service `x`".
    pub object: String,
}

impl Operation {
    /// The whole description: "the removal of service `x`".
    pub fn text(&self) -> String {
        match self.kind {
            OperationKind::Read => self.object.clone(),
            OperationKind::Create => format!("the creation of {}", self.object),
            OperationKind::End => format!("the end of {}", self.object),
            OperationKind::Remove => format!("the removal of {}", self.object),
            OperationKind::Pull => format!("the pull of {}", self.object),
        }
    }
}

/// The error for a response with the HTTP status `status` and Docker's text `reason`.
pub(super) fn classify(operation: &Operation, status: u16, reason: &str) -> SwarmError {
    swarm_error(reason).unwrap_or_else(|| of_status(operation, status, reason))
}

/// Errors that are independent of the call.
fn swarm_error(reason: &str) -> Option<SwarmError> {
    let has = |part: &str| reason.contains(part);
    if has("is not a swarm manager") {
        // Only the second part of the text distinguishes a worker from a node outside any Swarm.
        return Some(match has("Worker nodes can't") {
            true => SwarmError::NotManager,
            false => SwarmError::NotASwarm,
        });
    }
    let no_leader = has("does not have a leader")
        || has("lost leadership")
        || has("quorum")
        || has("context deadline exceeded")
        || has("code = DeadlineExceeded")
        || has("code = Unavailable")
        || has("Swarm is encrypted and needs to be unlocked");
    no_leader.then(|| SwarmError::NoLeader {
        reason: reason.to_owned(),
    })
}

fn of_status(operation: &Operation, status: u16, reason: &str) -> SwarmError {
    let (object, what) = (operation.object.clone(), operation.text());
    let reason = reason.to_owned();
    let exists = status == 409 || reason.contains("code = AlreadyExists");
    let in_use = reason.contains("in use") || reason.contains("has active endpoints");
    match (operation.kind, status) {
        (OperationKind::Remove, 400 | 403 | 409 | 500) if in_use => SwarmError::InUse {
            what: object,
            reason,
        },
        (OperationKind::Create, _) if exists => SwarmError::Conflict {
            what: object,
            reason,
        },
        (OperationKind::Read | OperationKind::End | OperationKind::Remove, 404) => {
            SwarmError::NotFound { what: object }
        }
        (OperationKind::Pull, 404 | 500) | (_, 400..=499) => SwarmError::Rejected { what, reason },
        _ if is_request_error(&reason) => SwarmError::Rejected { what, reason },
        _ => SwarmError::Internal { what, reason },
    }
}

/// Docker answers 500 to some requests that can never succeed.
fn is_request_error(reason: &str) -> bool {
    let network = reason.starts_with("network ") && reason.ends_with(" not found");
    network
        || [
            "code = InvalidArgument",
            "constraint expected",
            "message is too large",
            "message larger than max",
        ]
        .iter()
        .any(|text| reason.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: OperationKind = OperationKind::Create;
    const READ: OperationKind = OperationKind::Read;
    const REMOVE: OperationKind = OperationKind::Remove;

    /// The name of the error's variant.
    fn class(kind: OperationKind, status: u16, reason: &str) -> String {
        let object = "service `x`".to_owned();
        let error = classify(&Operation { kind, object }, status, reason);
        let debug = format!("{error:?}");
        debug
            .split([' ', '{'])
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    #[test]
    fn dockers_errors_are_classified() {
        let table = [
            (
                OperationKind::Pull,
                404,
                "pull access denied for x, repository does not exist",
                "Rejected",
            ),
            (
                OperationKind::Pull,
                500,
                "dial tcp: lookup registry.example: no such host",
                "Rejected",
            ),
            (REMOVE, 404, "service nope not found", "NotFound"),
            (READ, 404, "No such image: x:1", "NotFound"),
            (CREATE, 404, "network nonesuch not found", "Rejected"),
            (CREATE, 500, "network nonesuch not found", "Rejected"),
            (
                CREATE,
                500,
                "constraint expected one operator from ==, !=",
                "Rejected",
            ),
            (
                CREATE,
                500,
                "raft: raft message is too large and can't be sent",
                "Rejected",
            ),
            (
                CREATE,
                400,
                "rpc error: code = InvalidArgument desc = name must be 63 characters or fewer",
                "Rejected",
            ),
            (
                CREATE,
                409,
                "network with name x-n already exists",
                "Conflict",
            ),
            (
                CREATE,
                409,
                "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service x-c already exists",
                "Conflict",
            ),
            (
                CREATE,
                500,
                "rpc error: code = AlreadyExists desc = name conflicts",
                "Conflict",
            ),
            (
                REMOVE,
                400,
                "rpc error: code = FailedPrecondition desc = network x is in use by service y",
                "InUse",
            ),
            (
                REMOVE,
                403,
                "error while removing network: network x id y has active endpoints",
                "InUse",
            ),
            (
                REMOVE,
                409,
                "remove x-vol: volume is in use - [c1]",
                "InUse",
            ),
            (
                REMOVE,
                403,
                "ingress is a pre-defined network and cannot be removed",
                "Rejected",
            ),
            (
                READ,
                503,
                r#"This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again."#,
                "NotASwarm",
            ),
            (
                READ,
                503,
                "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.",
                "NotManager",
            ),
            (
                READ,
                500,
                "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.",
                "NoLeader",
            ),
            (
                CREATE,
                500,
                "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
                "NoLeader",
            ),
            (
                CREATE,
                500,
                "rpc error: code = Unavailable desc = connection error",
                "NoLeader",
            ),
            (
                READ,
                500,
                "open /var/lib/docker/x: no space left on device",
                "Internal",
            ),
        ];
        for (kind, status, reason, expected) in table {
            assert_eq!(class(kind, status, reason), expected, "{status} {reason}");
        }
    }
}
