//! What to do about a failure, where the step that found it has nothing better to say: from the code
//! and from Docker's own text in the message.

use atq_task::event::FailureCode;
use atq_task::exit_code::{self, bytes};
use atq_task::spec::TaskSpec;

/// A part of a message, and what helps then. The first one that is found counts.
type Advice = (&'static str, &'static str);

/// Containers that were not started, or have ended.
const CONTAINERS: [Advice; 9] = [
    (
        "No such image",
        "is the image on every node, or can every node pull it? `docker pull` on a node says more",
    ),
    (
        "bind source path does not exist",
        "the bundle is not on that node: every node must see `glusterpath` under the same path",
    ),
    (
        "exec format error",
        "the image is for another kind of processor than that of the node",
    ),
    ("(127)", exit_code::NOT_FOUND),
    ("(126)", exit_code::NOT_EXECUTABLE),
    (
        "OCI runtime",
        "does the image have that program? `args` follow the entrypoint of the image",
    ),
    (
        "network",
        "the node has trouble with the network of the task; its Engine's log says more",
    ),
    (
        "node was lost",
        "see `docker node ls`, and the node's Engine",
    ),
    ("(137)", "it was killed: out of memory, or by somebody"),
];

/// Containers that no node takes.
const PLACES: [Advice; 4] = [
    (
        "insufficient resources",
        "`resources` ask for more than any node has free: ask for less, or add nodes",
    ),
    (
        "scheduling constraints",
        "no active node fits `placement.constraints`; `docker node ls` shows the nodes",
    ),
    (
        "max replicas per node",
        "`placement.maxReplicasPerNode` times the number of nodes is less than `replicas`",
    ),
    (
        "unsupported platform",
        "the image is for another kind of processor than those of the nodes",
    ),
];

/// What to do about a failure with this code and message.
pub(crate) fn of(code: FailureCode, message: &str, spec: &TaskSpec) -> String {
    let found = |table: &[Advice]| {
        let fits = |(part, _): &&Advice| message.contains(part);
        table.iter().find(fits).map(|(_, advice)| *advice)
    };
    let advice = match code {
        FailureCode::WorkerFailed | FailureCode::MasterFailed => {
            let advice = found(&CONTAINERS).unwrap_or("workers have to run until the test is over");
            return format!("{advice}{}", more(code, message, spec));
        }
        FailureCode::WorkerUnplaceable | FailureCode::MasterUnplaceable => {
            found(&PLACES).unwrap_or("add nodes, or ask for less")
        }
        FailureCode::DiscoveryFailed => {
            found(&CONTAINERS).unwrap_or("`orchestrationTimeout` sets how long is waited")
        }
        FailureCode::EngineRefused => {
            "the text after the colon is Docker's own; \
            what it speaks of comes from the definition or from the configuration"
        }
        FailureCode::MasterLost => "see `docker node ls`, and who else works on this Swarm",
        FailureCode::Internal => "this is a bug; the Director's log says more",
        _ => "",
    };
    advice.to_owned()
}

/// The limit that may have killed the container, and where its log is.
fn more(code: FailureCode, message: &str, spec: &TaskSpec) -> String {
    let (role, service) = match code {
        FailureCode::MasterFailed => ("master", &spec.master),
        _ => ("worker", &spec.worker),
    };
    let limit = match service.resources.limits.memory {
        Some(limit) if message.contains("(137)") => {
            format!("; its memory limit is {}", bytes(limit))
        }
        _ => String::new(),
    };
    let has_log = message.contains("exit");
    let log = match has_log {
        true => format!("; GET /task/{{id}}/logs?service={role} shows what it wrote"),
        false => String::new(),
    };
    format!("{limit}{log}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use atq_task::spec::Surroundings;
    use serde_json::json;

    struct Anything;

    impl Surroundings for Anything {
        fn max_replicas(&self) -> u64 {
            10
        }
        fn has_bundle(&self, _: &str) -> bool {
            true
        }
        fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
            Ok(Vec::new())
        }
    }

    fn spec(worker_memory: Option<u64>) -> TaskSpec {
        let service = |alias: &str| json!({"alias": alias, "image": "i:1"});
        let payload = json!({"name": "abc", "worker": service("w"), "master": service("m")});
        let mut spec = TaskSpec::parse(&payload, &Anything).unwrap();
        spec.worker.resources.limits.memory = worker_memory;
        spec
    }

    #[test]
    fn dockers_own_text_decides() {
        let worker = |message: &str| of(FailureCode::WorkerFailed, message, &spec(None));
        let ended = "0 of 1 workers run; replica 1: failed: task: non-zero exit (1)";
        assert_eq!(
            worker(ended),
            "workers have to run until the test is over; GET /task/{id}/logs?service=worker shows what it wrote"
        );
        let missing = "replica 1: rejected: No such image: x:1";
        assert!(worker(missing).starts_with("is the image on every node"));
        assert!(!worker(missing).contains("logs"), "there is no container");
        let mount =
            "rejected: invalid mount config for type \"bind\": bind source path does not exist: /x";
        assert!(worker(mount).contains("`glusterpath`"));
        let full = "pending: no suitable node (insufficient resources on 1 node)";
        let place = of(FailureCode::WorkerUnplaceable, full, &spec(None));
        assert!(place.starts_with("`resources`"), "{place}");
    }

    #[test]
    fn a_limit_that_may_have_killed_a_worker_is_named() {
        let killed = "replica 1: failed: task: non-zero exit (137)";
        let hint = of(FailureCode::WorkerFailed, killed, &spec(Some(16 << 20)));
        assert!(hint.contains("its memory limit is 16 MiB"), "{hint}");
        let hint = of(FailureCode::WorkerFailed, killed, &spec(None));
        assert!(!hint.contains("limit"), "{hint}");
    }
}
