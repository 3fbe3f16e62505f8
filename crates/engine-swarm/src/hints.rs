//! Default hints for failures, derived from the code and from Docker's own text in the message. Used when the step
//! has no better hint.

use crate::refused_setting::RefusedSetting;
use atq_task::event::FailureCode;
use atq_task::exit_code::{self, bytes};
use atq_task::spec::TaskSpec;

/// A part of a message, and the hint for it. The first match counts.
type Hint = (&'static str, &'static str);

/// Containers that did not start, or have ended.
const CONTAINERS: [Hint; 9] = [
    (
        "No such image",
        "is the image on every node, or can every node pull it? `docker pull` on a node shows the reason",
    ),
    (
        "bind source path does not exist",
        "the bundle is not on that node: every node must see `glusterpath` under the same path",
    ),
    (
        "exec format error",
        "the image is for another processor architecture than that of the node",
    ),
    ("(127)", exit_code::NOT_FOUND),
    ("(126)", exit_code::NOT_EXECUTABLE),
    (
        "OCI runtime",
        "does the image have that program? `args` follow the entrypoint of the image",
    ),
    (
        "network",
        "the node failed to set up the network of the task; see its Engine's log",
    ),
    (
        "node was lost",
        "see `docker node ls` and the log of the node's Engine",
    ),
    ("(137)", "it was killed: out of memory, or from outside"),
];

/// Containers that no node accepts.
const PLACEMENT: [Hint; 4] = [
    (
        "insufficient resources",
        "`resources` request more than any node has free: request less, or add nodes",
    ),
    (
        "scheduling constraints",
        "no active node satisfies `placement.constraints`; `docker node ls` lists the nodes",
    ),
    (
        "max replicas per node",
        "`placement.maxReplicasPerNode` times the number of active nodes that satisfy the other constraints is less than `replicas`",
    ),
    (
        "unsupported platform",
        "the image is for another processor architecture than those of the nodes",
    ),
];

/// The hint for a failure with this code and message.
pub(crate) fn hint_for(code: FailureCode, message: &str, spec: &TaskSpec) -> String {
    let found = |table: &[Hint]| {
        let fits = |(part, _): &&Hint| message.contains(part);
        table.iter().find(fits).map(|(_, hint)| *hint)
    };
    let hint = match code {
        FailureCode::WorkerFailed | FailureCode::MasterFailed => {
            if let Some(refused) = RefusedSetting::find(message) {
                return refused.hint(spec);
            }
            let hint = found(&CONTAINERS).unwrap_or("workers must run until the test ends");
            return format!("{hint}{}", limit_and_log(code, message, spec));
        }
        FailureCode::WorkerUnplaceable | FailureCode::MasterUnplaceable => {
            found(&PLACEMENT).unwrap_or("add nodes, or request less")
        }
        FailureCode::DiscoveryFailed => {
            found(&CONTAINERS).unwrap_or("`orchestrationTimeout` sets the timeout")
        }
        FailureCode::EngineRefused => {
            "the text after the colon is Docker's own; \
            the rejected value comes from the definition or from the configuration"
        }
        FailureCode::MasterLost => {
            "see `docker node ls`; another user of this Swarm may have removed it"
        }
        FailureCode::Internal => "this is a bug; see the Director's log",
        _ => "",
    };
    hint.to_owned()
}

/// The memory limit, which the container may have exceeded, and the location of its log.
fn limit_and_log(code: FailureCode, message: &str, spec: &TaskSpec) -> String {
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
        true => format!("; GET /task/{{id}}/logs?service={role} shows its output"),
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
    fn the_hint_follows_from_dockers_own_text() {
        let worker = |message: &str| hint_for(FailureCode::WorkerFailed, message, &spec(None));
        let ended = "0 of 1 workers run; replica 1: failed: task: non-zero exit (1)";
        assert_eq!(
            worker(ended),
            "workers must run until the test ends; GET /task/{id}/logs?service=worker shows its output"
        );
        let missing = "replica 1: rejected: No such image: x:1";
        assert!(worker(missing).starts_with("is the image on every node"));
        assert!(!worker(missing).contains("logs"), "there is no container");
        let mount =
            "rejected: invalid mount config for type \"bind\": bind source path does not exist: /x";
        assert!(worker(mount).contains("`glusterpath`"));
        let full = "pending: no suitable node (insufficient resources on 1 node)";
        let place = hint_for(FailureCode::WorkerUnplaceable, full, &spec(None));
        assert!(place.starts_with("`resources`"), "{place}");
    }

    #[test]
    fn the_hint_for_a_refused_limit_names_the_requested_one() {
        let spec = atq_definition::examples::spec(&[
            ("/worker/ulimits", json!({"nofile": 65536})),
            (
                "/master/ulimits",
                json!({"nofile": {"soft": 1024, "hard": 70000}, "core": 0}),
            ),
        ]);
        let refused = "replica 1: failed: starting container failed: OCI runtime create failed: error setting rlimit type 7: \
                       operation not permitted: unknown";
        let hint = hint_for(FailureCode::WorkerFailed, refused, &spec);
        assert!(
            hint.starts_with("the definition requests 70000 and 65536; "),
            "{hint}"
        );
        assert!(hint.contains("`LimitNOFILE`"), "{hint}");
        let refused = "failed: OCI runtime create failed: write /proc/sys/net/ipv4/tcp_tw_reuse: invalid argument";
        let hint = hint_for(FailureCode::MasterFailed, refused, &spec);
        assert!(
            hint.starts_with("the kernel of the node lacks this setting"),
            "{hint}"
        );
    }

    #[test]
    fn a_limit_that_may_have_killed_a_worker_is_named() {
        let killed = "replica 1: failed: task: non-zero exit (137)";
        let hint = hint_for(FailureCode::WorkerFailed, killed, &spec(Some(16 << 20)));
        assert!(hint.contains("its memory limit is 16 MiB"), "{hint}");
        let hint = hint_for(FailureCode::WorkerFailed, killed, &spec(None));
        assert!(!hint.contains("limit"), "{hint}");
    }
}
