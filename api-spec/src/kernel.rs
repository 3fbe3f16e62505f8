//! Limits of processes and settings of the network of a service's containers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Limits of the processes of each container (`setrlimit(2)`). A limit that is absent is the default of the node's
/// Engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ulimits {
    /// Size of a core dump in bytes: 0 to 9007199254740992; 0: no core dumps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<Ulimit>,
    /// Locked memory in bytes: 0 to 9007199254740992.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memlock: Option<Ulimit>,
    /// Open files and connections: 64 to 1073741824.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nofile: Option<Ulimit>,
    /// Processes and threads of the user of the container, counted on the whole node: 1 to 4194304. It does not apply
    /// to root. `limits.pids` of the Director's configuration limits each container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc: Option<Ulimit>,
    /// Size of the stack of a thread in bytes: 131072 to 1073741824.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<Ulimit>,
}

/// A limit: one number, or a soft and a hard limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Ulimit {
    /// The soft and the hard limit.
    #[schema(example = 65536)]
    Both(u64),
    /// Different limits.
    Each(SoftAndHard),
}

/// A soft and a hard limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SoftAndHard {
    /// The limit at the start of a process; at most the hard limit.
    #[schema(example = 1024)]
    pub soft: u64,
    /// The limit up to which a process can raise its soft limit.
    #[schema(example = 65536)]
    pub hard: u64,
}

/// Settings of the kernel for the network of each container (`sysctl`). A setting that is absent has the default of the
/// node. Other containers and the node itself are not affected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysctls {
    /// Length of the queue of connections that a listening program has not accepted yet.
    #[serde(
        default,
        rename = "net.core.somaxconn",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 65535)]
    pub somaxconn: Option<u64>,
    /// The lowest and the highest port of outgoing connections: two numbers from 1024 to 65535, separated by a blank.
    /// The range limits the connections from one address to one port of a server.
    #[serde(
        default,
        rename = "net.ipv4.ip_local_port_range",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(pattern = "^[0-9]{4,5}[ \\t][0-9]{4,5}$", example = "1024 65535")]
    pub ip_local_port_range: Option<String>,
    /// Seconds that a closed connection waits for the end of the peer's side.
    #[serde(
        default,
        rename = "net.ipv4.tcp_fin_timeout",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 3600)]
    pub tcp_fin_timeout: Option<u64>,
    /// Seconds between two keepalive probes without an answer.
    #[serde(
        default,
        rename = "net.ipv4.tcp_keepalive_intvl",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 32767)]
    pub tcp_keepalive_intvl: Option<u64>,
    /// Number of keepalive probes without an answer after which a connection is lost.
    #[serde(
        default,
        rename = "net.ipv4.tcp_keepalive_probes",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 127)]
    pub tcp_keepalive_probes: Option<u64>,
    /// Seconds without data before the first keepalive probe.
    #[serde(
        default,
        rename = "net.ipv4.tcp_keepalive_time",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 32767)]
    pub tcp_keepalive_time: Option<u64>,
    /// Number of half-open connections of a listening program.
    #[serde(
        default,
        rename = "net.ipv4.tcp_max_syn_backlog",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 1048576)]
    pub tcp_max_syn_backlog: Option<u64>,
    /// Number of connections in the state `TIME_WAIT`; further ones are closed at once.
    #[serde(
        default,
        rename = "net.ipv4.tcp_max_tw_buckets",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 1048576)]
    pub tcp_max_tw_buckets: Option<u64>,
    /// Number of retransmissions after which an established connection is lost.
    #[serde(
        default,
        rename = "net.ipv4.tcp_retries2",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 255)]
    pub tcp_retries2: Option<u64>,
    /// Whether the congestion window shrinks while a connection is idle: 0 or 1.
    #[serde(
        default,
        rename = "net.ipv4.tcp_slow_start_after_idle",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 0, maximum = 1)]
    pub tcp_slow_start_after_idle: Option<u64>,
    /// Number of retransmissions of the first packet of an outgoing connection.
    #[serde(
        default,
        rename = "net.ipv4.tcp_syn_retries",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 1, maximum = 127)]
    pub tcp_syn_retries: Option<u64>,
    /// Use of ports in the state `TIME_WAIT` for new outgoing connections: 0 never, 1 always, 2 only to the same
    /// machine.
    #[serde(
        default,
        rename = "net.ipv4.tcp_tw_reuse",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(minimum = 0, maximum = 2)]
    pub tcp_tw_reuse: Option<u64>,
}
