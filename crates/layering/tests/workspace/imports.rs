//! Imports between top-level modules of a crate, and paths reserved for some modules.

use crate::checker::imports::{Barred, Reserved, TopLevel, barred, reserved, top_level};
use crate::{check, code, sample, workspace};

/// Impure parts of libraries: input, output, time, random numbers.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net::Tcp*",
    "std::net::Udp*",
    "std::process",
    "std::thread",
    "async_trait",
    "futures_util",
    "tokio",
    "tracing",
    "uuid",
    "::Instant",
    "::SystemTime",
    "::now_local",
    "::now_utc",
];

const BARRED: &[Barred] = &[
    Barred {
        module: "atq_mqtt::limits",
        paths: IMPURE,
    },
    Barred {
        module: "atq_mqtt::pattern",
        paths: IMPURE,
    },
    Barred {
        module: "atq_mqtt::payload",
        paths: IMPURE,
    },
    Barred {
        module: "atq_mqtt::plan",
        paths: IMPURE,
    },
    Barred {
        module: "atq_mqtt::schedule",
        paths: IMPURE,
    },
    Barred {
        module: "atq_mqtt::session",
        paths: IMPURE,
    },
    Barred {
        module: "atq_mqtt::tally",
        paths: IMPURE,
    },
    Barred {
        module: "atq_sync::master::worker_state",
        paths: IMPURE,
    },
    Barred {
        module: "atq_sync::master::summary",
        paths: IMPURE,
    },
    Barred {
        module: "atq_sync::placeholder",
        paths: IMPURE,
    },
    Barred {
        module: "atq_sync::protocol",
        paths: IMPURE,
    },
    Barred {
        module: "atq_sync::share",
        paths: IMPURE,
    },
    Barred {
        module: "atq_definition",
        paths: IMPURE,
    },
    Barred {
        module: "atq_task",
        paths: IMPURE,
    },
    // Everything that a run creates is derived from its definition.
    Barred {
        module: "atq_engine_swarm::plan",
        paths: IMPURE,
    },
    Barred {
        module: "atq_engine_swarm::plan",
        paths: &[
            "atq_engine_swarm::discovery",
            "atq_engine_swarm::docker",
            "atq_engine_swarm::fake",
            "atq_engine_swarm::registry",
        ],
    },
    Barred {
        module: "atq_engine_swarm::discovery",
        paths: &["atq_engine_swarm::docker", "atq_engine_swarm::registry"],
    },
    Barred {
        module: "atq_engine_swarm::registry",
        paths: &["atq_engine_swarm::docker", "atq_engine_swarm::discovery"],
    },
];

const RESERVED: &[Reserved] = &[
    Reserved {
        paths: &["bollard"],
        only_for: &["atq_engine_swarm::docker"],
    },
    Reserved {
        paths: &["docker_credential"],
        only_for: &["atq_engine_swarm::registry"],
    },
    Reserved {
        paths: &["sled"],
        only_for: &["atq_store"],
    },
    Reserved {
        paths: &["axum", "hyper", "hyper_util", "tower", "tower_http"],
        only_for: &[
            // Passes the routes of the engine to `api`.
            "=atq_director",
            "atq_director::api",
            "atq_director::token_cli::control",
            "atq_discovery",
            "atq_engine_swarm::engine",
            "atq_engine_swarm::routes",
            "atq_tests",
        ],
    },
    Reserved {
        paths: &["utoipa", "utoipa_axum", "utoipa_swagger_ui"],
        only_for: &[
            "atq_director::api",
            "atq_api_spec",
            "atq_definition::spec::declared",
        ],
    },
    Reserved {
        // Without the enums of a definition, which `atq_definition` re-exports.
        paths: &[
            "atq_api_spec::bundle",
            "atq_api_spec::error",
            "atq_api_spec::health",
            "atq_api_spec::live",
            "atq_api_spec::manifest",
            "atq_api_spec::report",
            "atq_api_spec::swarm",
            "atq_api_spec::task::Task",
            "atq_api_spec::task::TaskService",
            "atq_api_spec::token",
        ],
        only_for: &[
            "atq_director::api",
            "atq_director::token_cli",
            "atq_director::tokens::wire",
            "atq_run::live",
            "atq_run::steps::containers",
            "atq_run::steps::report",
            "atq_api_spec",
            "atq_cli",
            "atq_definition::spec",
            "atq_engine_swarm::routes",
            "atq_evidence",
            "atq_report",
            "atq_tests",
        ],
    },
    Reserved {
        paths: &["reqwest"],
        only_for: &[
            "atq_engine_swarm::discovery",
            "atq_engine_swarm::docker",
            "atq_engine_swarm::self_check",
            "atq_director::exchange",
            "atq_cli",
            "atq_resolver",
            "atq_tests",
        ],
    },
    // Components notify their observers; one module knows the format of metrics.
    Reserved {
        paths: &["prometheus_client"],
        only_for: &["atq_director::metrics"],
    },
    // One place verifies signatures of JWTs.
    Reserved {
        paths: &["jsonwebtoken", "ring"],
        only_for: &["atq_access::exchange"],
    },
    Reserved {
        paths: &["serde_saphyr"],
        only_for: &["atq_director::config", "atq_cli"],
    },
    // Results are received as tar and sent as zip; bundles are read by one crate.
    Reserved {
        paths: &["tokio_tar"],
        only_for: &["atq_evidence::results::unpack"],
    },
    Reserved {
        paths: &["zip"],
        only_for: &[
            "atq_bundle_archive",
            "atq_evidence::results::zip_stream",
            "atq_cli",
            "atq_tests",
        ],
    },
    // The limit of file descriptors, the umask and the user of the process are not available in `std`.
    Reserved {
        paths: &["rustix"],
        only_for: &[
            "atq_director::api::serve::limits",
            "atq_director::permissions",
            "atq_director::sockets",
            "atq_director::token_cli",
            "atq_bundle_archive",
            "atq_carrier",
            "atq_cli",
            "atq_files",
            "atq_mqtt",
            "atq_store",
            "atq_sync",
            "atq_tests",
        ],
    },
    // The authority of the port for carriers.
    Reserved {
        paths: &["rcgen"],
        only_for: &[
            "atq_director::node_port",
            "atq_tests::authority",
            "broker::security",
            "parts::attack",
        ],
    },
    // Brokers are reached with our own connections.
    Reserved {
        paths: &["rumqttc"],
        only_for: &["atq_mqtt::session", "broker::mosquitto"],
    },
    Reserved {
        paths: &["clap"],
        only_for: &[
            "atq_director::args",
            "atq_director::main",
            "atq_carrier",
            "atq_cli",
            "atq_discovery",
            "atq_mqtt::args",
            "atq_mqtt::main",
            "atq_mqtt::session",
            "atq_sync::args",
            "atq_sync::exec_at",
            "atq_sync::main",
            "atq_tests",
        ],
    },
    // Passwords are read by the configuration and sent by the engine.
    Reserved {
        paths: &["atq_engine_swarm::registry"],
        only_for: &[
            "atq_director::config",
            "atq_director::engine",
            "atq_engine_swarm",
        ],
    },
    // Only one module of the Director may name its engine.
    Reserved {
        paths: &[
            "atq_engine_swarm::docker",
            "::DockerSwarm",
            "::HttpDiscovery",
        ],
        only_for: &["atq_director::engine", "atq_engine_swarm"],
    },
];

/// Allowed imports between the top-level modules of the Director, and of crates of the workspace. The root, `lib.rs`, is not restricted.
const DIRECTOR: &[TopLevel] = &[
    TopLevel {
        name: "main",
        may_import: &[
            "args",
            "config",
            "daemon",
            "logging",
            "permissions",
            "store_cli",
            "token_cli",
            "atq_run",
        ],
    },
    TopLevel {
        name: "daemon",
        may_import: &[
            "api",
            "config",
            "listeners",
            "permissions",
            "atq_engine",
            "atq_run",
        ],
    },
    TopLevel {
        name: "listeners",
        may_import: &["api", "config", "groups", "sockets", "tls"],
    },
    TopLevel {
        name: "engine",
        may_import: &[
            "config",
            "atq_bundle_store",
            "atq_engine",
            "atq_engine_swarm",
        ],
    },
    TopLevel {
        name: "node_port",
        may_import: &[
            "api",
            "config",
            "atq_engine_swarm",
            "atq_files",
            "atq_retry",
        ],
    },
    TopLevel {
        name: "args",
        may_import: &["atq_run"],
    },
    TopLevel {
        name: "store_cli",
        may_import: &["args", "atq_store"],
    },
    TopLevel {
        name: "api",
        may_import: &[
            "audit",
            "config",
            "exchange",
            "metrics",
            "tokens",
            "atq_access",
            "atq_api_spec",
            "atq_bundle_archive",
            "atq_bundle_store",
            "atq_definition",
            "atq_engine",
            "atq_evidence",
            "atq_report",
            "atq_run",
            "atq_store",
            "atq_task",
        ],
    },
    TopLevel {
        name: "metrics",
        may_import: &[
            "atq_bundle_archive",
            "atq_bundle_store",
            "atq_engine",
            "atq_run",
            "atq_store",
            "atq_task",
        ],
    },
    TopLevel {
        name: "audit",
        may_import: &["atq_files", "atq_task"],
    },
    TopLevel {
        name: "tokens",
        may_import: &["atq_access", "atq_api_spec", "atq_store", "atq_task"],
    },
    TopLevel {
        name: "token_cli",
        may_import: &[
            "args",
            "audit",
            "sockets",
            "tokens",
            "atq_access",
            "atq_api_spec",
            "atq_retry",
            "atq_store",
        ],
    },
    TopLevel {
        name: "config",
        may_import: &[
            "groups",
            "sockets",
            "tls",
            "atq_access",
            "atq_api_spec",
            "atq_definition",
            "atq_engine_swarm",
        ],
    },
    TopLevel {
        name: "exchange",
        may_import: &["config", "atq_access", "atq_definition", "atq_resolver"],
    },
    TopLevel {
        name: "groups",
        may_import: &[],
    },
    TopLevel {
        name: "sockets",
        may_import: &["atq_retry"],
    },
    TopLevel {
        name: "tls",
        may_import: &[],
    },
    TopLevel {
        name: "identity",
        may_import: &["atq_files"],
    },
    TopLevel {
        name: "logging",
        may_import: &["config"],
    },
    TopLevel {
        name: "permissions",
        may_import: &["config"],
    },
];

fn members() -> Vec<String> {
    let crates = workspace().crates;
    crates
        .iter()
        .map(|member| member.name.replace('-', "_"))
        .collect()
}

#[test]
fn pure_modules_have_no_clock_and_no_input_or_output() {
    check(&barred(code(), BARRED));
}

#[test]
fn reserved_paths_are_imported_only_by_allowed_modules() {
    check(&reserved(code(), RESERVED));
}

#[test]
fn the_modules_of_the_director_import_only_what_the_table_allows() {
    check(&top_level(code(), "atq_director", &members(), DIRECTOR));
}

/// True if a file of a crate violates a rule for modules.
fn is_found(root: &str, module: &str, text: &str) -> bool {
    let declared = format!("pub mod {module};");
    let file = format!("src/{module}.rs");
    let code = sample(root, &[("src/lib.rs", &declared), (&file, text)]);
    !barred(&code, BARRED).is_empty() || !reserved(&code, RESERVED).is_empty()
}

#[test]
fn a_forbidden_or_reserved_import_is_found() {
    for (root, module, text) in [
        ("atq_task", "machine", "use tokio::time::sleep;"),
        (
            "atq_task",
            "machine",
            "fn f() { std::time::SystemTime::now(); }",
        ),
        ("atq_task", "machine", "use std::time::{Duration, Instant};"),
        (
            "atq_task",
            "machine",
            "fn f() { time::OffsetDateTime::now_utc(); }",
        ),
        (
            "atq_task",
            "machine",
            "fn f() { println!(\"{:?}\", std::fs::read(\"x\")); }",
        ),
        ("atq_task", "machine", "use std::fs as files;"),
        ("atq_task", "machine", "use std::{net::{self, TcpStream}};"),
        (
            "atq_task",
            "machine",
            "use std::net; fn f(x: net::TcpListener) {}",
        ),
        (
            "atq_engine_swarm",
            "plan",
            "use crate::docker::DockerSwarm;",
        ),
        ("atq_engine_swarm", "plan", "use super::registry;"),
        ("atq_engine_swarm", "registry", "use bollard::Docker;"),
        ("atq_engine_swarm", "discovery", "fn f(x: sled::Db) {}"),
        (
            "atq_director",
            "orchestrator",
            "use atq_engine_swarm::docker::connect;",
        ),
        (
            "atq_director",
            "orchestrator",
            "use crate::discovery::HttpDiscovery;",
        ),
        ("atq_director", "orchestrator", "type R = axum::Router;"),
        (
            "atq_director",
            "bundle",
            "mod inner { use zip::ZipArchive; }",
        ),
    ] {
        assert!(is_found(root, module, text), "{root}::{module}: {text}");
    }
}

#[test]
fn an_allowed_import_is_not_reported() {
    for (root, module, text) in [
        (
            "atq_task",
            "machine",
            "//! no tokio::time here\nuse std::time::Duration; // not tokio::x",
        ),
        (
            "atq_task",
            "machine",
            "const TEXT: &str = \"tokio::time std::fs\";",
        ),
        (
            "atq_task",
            "machine",
            "#[cfg(test)] mod tests { use tokio::time; }",
        ),
        (
            "atq_task",
            "machine",
            "#[cfg(any(test, feature = \"testing\"))] use tokio::time;",
        ),
        ("atq_engine_swarm", "docker", "use bollard::Docker;"),
        ("atq_store", "watch", "use sled::Db;"),
        ("atq_director", "api", "use axum::Router;"),
        (
            "atq_director",
            "orchestrator",
            "fn f(a: A) { a.iter().zip(a.b()); }",
        ),
    ] {
        assert!(!is_found(root, module, text), "{root}::{module}: {text}");
    }
}

#[test]
fn code_behind_a_feature_that_is_not_for_tests_is_read() {
    let text = "#[cfg(feature = \"fast\")] use tokio::time; #[cfg(not(test))] use tokio::fs;";
    let code = sample("atq_task", &[("src/lib.rs", text)]);
    assert_eq!(
        barred(&code, BARRED),
        [
            "src/lib.rs:1: `tokio::time`: `atq_task` may not use `tokio`",
            "src/lib.rs:1: `tokio::fs`: `atq_task` may not use `tokio`",
        ]
    );
}

#[test]
fn a_forbidden_import_between_modules_is_found() {
    let code = sample(
        "app",
        &[
            (
                "src/lib.rs",
                "mod api; mod core; mod new; pub use engine_crate as engine; pub use core::Core;",
            ),
            (
                "src/api.rs",
                "use crate::core::Core; use crate::engine::Engine;",
            ),
            ("src/core/mod.rs", "pub mod inner; pub struct Core;"),
            (
                "src/core/inner.rs",
                "use serde::Serialize;\nfn f() { crate::api::g(); }",
            ),
            ("src/new.rs", ""),
        ],
    );
    let row = |name, may_import| TopLevel { name, may_import };
    let rows = [row("api", &["core"]), row("core", &[]), row("gone", &[])];
    let members = ["app", "engine_crate"].map(str::to_owned);
    assert_eq!(
        top_level(&code, "app", &members, &rows),
        [
            "the module `app::new` has no row in the table of top-level modules; add one",
            "the table of top-level modules has a row for `gone`, which is not a module of `app`; remove the row",
            "src/api.rs:1: `crate::engine::Engine` (`engine_crate::Engine`): the module `api` may import only core",
            "src/core/inner.rs:2: `crate::api::g` (`app::api::g`): the module `core` may import only none",
        ]
    );
}
