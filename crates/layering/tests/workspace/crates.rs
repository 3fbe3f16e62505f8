//! Dependencies between crates, and on libraries that belong to few of them.

use crate::checker::crates::{Row, faults};
use crate::checker::workspace::{Crate, Workspace};
use crate::{check, workspace};
use std::path::PathBuf;

/// Libraries restricted to the crates that list them in the table below.
const GUARDED: &[&str] = &[
    "async-trait",
    "astral-tokio-tar",
    "axum",
    "backon",
    "bollard",
    "clap",
    "docker_credential",
    "futures-util",
    "hyper",
    "hyper-util",
    "prometheus-client",
    "reqwest",
    "rumqttc",
    "serde-saphyr",
    "sled",
    "tokio",
    "tokio-rustls",
    "tokio-util",
    "tower",
    "tower-http",
    "tracing",
    "tracing-subscriber",
    "ureq",
    "utoipa",
    "utoipa-axum",
    "utoipa-swagger-ui",
    "uuid",
    "zip",
];

/// The crates, from the leaves to the programs.
const CRATES: &[Row] = &[
    Row {
        name: "atq-access",
        crates: &[],
        libraries: &[],
    },
    Row {
        name: "atq-api-spec",
        crates: &[],
        libraries: &["utoipa"],
    },
    Row {
        name: "atq-files",
        crates: &[],
        libraries: &[],
    },
    Row {
        name: "atq-node-protocol",
        crates: &[],
        libraries: &[],
    },
    Row {
        name: "atq-retry",
        crates: &[],
        libraries: &["backon", "tokio"],
    },
    Row {
        name: "atq-resolver",
        crates: &[],
        libraries: &["reqwest", "tokio"],
    },
    Row {
        name: "atq-layering",
        crates: &[],
        libraries: &[],
    },
    Row {
        name: "atq-bundle-archive",
        crates: &["atq-files"],
        libraries: &["zip"],
    },
    Row {
        name: "atq-report",
        crates: &["atq-api-spec"],
        libraries: &[],
    },
    // Pure: no runtime, no random numbers, no logging.
    Row {
        name: "atq-definition",
        // The wire types declare the fields of a definition.
        crates: &["atq-api-spec"],
        libraries: &["utoipa"],
    },
    Row {
        name: "atq-task",
        crates: &["atq-definition"],
        libraries: &[],
    },
    Row {
        name: "atq-engine",
        crates: &["atq-retry", "atq-task"],
        libraries: &[
            "async-trait",
            "futures-util",
            "tokio",
            "tokio-util",
            "tracing",
        ],
    },
    Row {
        name: "atq-engine-swarm",
        crates: &[
            "atq-api-spec",
            "atq-definition",
            "atq-engine",
            "atq-files",
            "atq-node-protocol",
            "atq-retry",
            "atq-resolver",
            "atq-task",
        ],
        libraries: &[
            "astral-tokio-tar",
            "async-trait",
            "axum",
            "bollard",
            "docker_credential",
            "futures-util",
            "reqwest",
            "tokio",
            "tokio-util",
            "tracing",
            "uuid",
        ],
    },
    Row {
        name: "atq-store",
        crates: &["atq-access", "atq-files", "atq-retry", "atq-task"],
        libraries: &["sled", "tokio", "tracing", "uuid"],
    },
    Row {
        name: "atq-evidence",
        crates: &["atq-engine", "atq-files", "atq-report", "atq-task"],
        libraries: &[
            "astral-tokio-tar",
            "futures-util",
            "tokio",
            "tokio-util",
            "tracing",
            "uuid",
            "zip",
        ],
    },
    Row {
        name: "atq-carrier",
        crates: &[
            "atq-bundle-archive",
            "atq-files",
            "atq-node-protocol",
            "atq-retry",
        ],
        libraries: &["clap", "ureq"],
    },
    Row {
        name: "atq-discovery",
        crates: &["atq-node-protocol", "atq-resolver"],
        libraries: &["axum", "clap", "tokio"],
    },
    // Knows nothing of the Director.
    Row {
        name: "atq-sync",
        crates: &["atq-retry"],
        libraries: &["clap", "futures-util", "tokio", "tokio-util"],
    },
    // Knows nothing of the Director.
    Row {
        name: "atq-mqtt",
        crates: &["atq-resolver"],
        libraries: &["clap", "rumqttc", "tokio", "tokio-rustls", "tokio-util"],
    },
    Row {
        name: "atq-cli",
        crates: &[
            "atq-access",
            "atq-api-spec",
            "atq-bundle-archive",
            "atq-definition",
            "atq-files",
            "atq-retry",
            "atq-resolver",
        ],
        libraries: &[
            "clap",
            "futures-util",
            "reqwest",
            "serde-saphyr",
            "tokio",
            "tokio-util",
            "uuid",
            "zip",
        ],
    },
    Row {
        name: "atq-bundle-store",
        crates: &["atq-bundle-archive", "atq-engine", "atq-files"],
        libraries: &["async-trait", "tokio", "tracing"],
    },
    // Does not depend on an engine.
    Row {
        name: "atq-run",
        crates: &[
            "atq-bundle-store",
            "atq-engine",
            "atq-evidence",
            "atq-retry",
            "atq-report",
            "atq-store",
            "atq-task",
        ],
        libraries: &[
            "async-trait",
            "futures-util",
            "tokio",
            "tokio-util",
            "tracing",
            "uuid",
        ],
    },
    // Does not depend on sled, bollard or docker_credential.
    Row {
        name: "atq-director",
        crates: &[
            "atq-access",
            "atq-api-spec",
            "atq-bundle-archive",
            "atq-bundle-store",
            "atq-definition",
            "atq-engine",
            "atq-engine-swarm",
            "atq-evidence",
            "atq-files",
            "atq-node-protocol",
            "atq-retry",
            "atq-report",
            "atq-run",
            "atq-resolver",
            "atq-store",
            "atq-task",
        ],
        libraries: &[
            "astral-tokio-tar",
            "async-trait",
            "axum",
            "clap",
            "futures-util",
            "hyper",
            "hyper-util",
            "prometheus-client",
            "reqwest",
            "serde-saphyr",
            "tokio",
            "tokio-rustls",
            "tokio-util",
            "tower",
            "tower-http",
            "tracing",
            "tracing-subscriber",
            "utoipa",
            "utoipa-axum",
            "utoipa-swagger-ui",
            "uuid",
            "zip",
        ],
    },
    Row {
        name: "atq-tests",
        crates: &["atq-api-spec", "atq-report"],
        libraries: &["axum", "clap", "futures-util", "reqwest", "tokio", "zip"],
    },
];

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    check(&faults(&workspace(), CRATES, GUARDED));
}

#[test]
fn a_forbidden_dependency_is_found() {
    let member = |name: &str, dependencies: &[&str]| Crate {
        name: name.to_owned(),
        manifest: PathBuf::from(format!("{name}/Cargo.toml")),
        dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        roots: Vec::new(),
    };
    let workspace = Workspace {
        root: PathBuf::new(),
        crates: vec![
            member("leaf", &["serde", "sled"]),
            member("low", &["leaf", "top"]),
            member("top", &["leaf"]),
        ],
    };
    let row = |name, crates| Row {
        name,
        crates,
        libraries: &[],
    };
    let rows = [row("leaf", &[]), row("low", &["leaf"]), row("gone", &[])];
    assert_eq!(
        faults(&workspace, &rows, &["sled"]),
        [
            "leaf/Cargo.toml: `leaf` may not depend on the library `sled`; allowed: none",
            "low/Cargo.toml: `low` may not depend on the crate `top`; allowed: leaf",
            "top/Cargo.toml: the crate `top` has no row in the table of crates; add one",
            "the table of crates has a row for `gone`, which is not a crate; remove the row",
        ]
    );
}

#[test]
fn cargo_lists_normal_dependencies_only() {
    let workspace = workspace();
    let names = workspace.crates.iter().map(|member| member.name.as_str());
    assert!(
        names.clone().any(|name| name == "atq-director"),
        "{names:?}"
    );
    let task = workspace
        .crates
        .iter()
        .find(|member| member.name == "atq-task")
        .unwrap();
    assert!(task.dependencies.contains("atq-definition"), "{task:?}");
    assert!(!task.dependencies.contains("proptest"), "{task:?}");
}
