#![allow(clippy::unwrap_used)]
//! Keeps the doors between the rooms of the Director shut (ARCHITECTURE.md): which file may name
//! which module of the crate and which library. Tests and fakes may do what they like.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may go where. A room is the beginning of a path below `src`, without `.rs`.
struct Door {
    /// What is named, for example `crate::api` or `sled::`.
    words: &'static [&'static str],
    /// The only rooms that may name it; empty: none.
    open_to: &'static [&'static str],
    /// The rooms that the door is for; empty: all.
    of: &'static [&'static str],
}

const DOORS: &[Door] = &[
    // Libraries that belong to one room.
    Door {
        words: &["sled"],
        open_to: &["store"],
        of: &[],
    },
    Door {
        words: &["bollard"],
        open_to: &["swarm/docker"],
        of: &[],
    },
    Door {
        words: &[
            "axum",
            "utoipa",
            "utoipa_axum",
            "utoipa_swagger_ui",
            "tower_http",
            "atq_api_spec",
        ],
        open_to: &["api"],
        of: &[],
    },
    Door {
        words: &["clap"],
        open_to: &["main", "lib", "args", "daemon", "logging"],
        of: &[],
    },
    Door {
        words: &["atq_bundle_archive"],
        open_to: &["bundle", "evidence/results"],
        of: &[],
    },
    Door {
        words: &["reqwest"],
        open_to: &["discovery", "reach", "swarm/docker"],
        of: &[],
    },
    Door {
        words: &["docker_credential"],
        open_to: &["registry"],
        of: &[],
    },
    Door {
        words: &["serde_saphyr"],
        open_to: &["config"],
        of: &[],
    },
    Door {
        words: &["hyper", "hyper_util"],
        open_to: &["api"],
        of: &[],
    },
    // What `std` has no words for: the limit of descriptors, the room on a disk.
    Door {
        words: &["rustix"],
        open_to: &["api/serve/limits", "disk", "private"],
        of: &[],
    },
    // Reading zips is `atq-bundle-archive`'s work alone; results come as a tar and go as a zip.
    Door {
        words: &["zip"],
        open_to: &["evidence/results/zipped"],
        of: &[],
    },
    Door {
        words: &["tokio_tar"],
        open_to: &["evidence/results/unpack"],
        of: &[],
    },
    // The crate `atq-task`, and what is derived from it for Docker, are pure.
    Door {
        words: &[
            "tokio",
            "futures_util",
            "async_trait",
            "std::fs",
            "std::net::Tcp",
            "SystemTime",
            "Instant",
            "now_utc",
            "uuid",
            "tracing",
        ],
        open_to: &[],
        of: &["task", "plan"],
    },
    Door {
        words: &[
            "crate::api",
            "crate::orchestrator",
            "crate::swarm",
            "crate::store",
            "crate::bundle",
            "crate::evidence",
            "crate::discovery",
            "crate::config",
            "crate::identity",
        ],
        open_to: &[],
        of: &["task", "plan"],
    },
    // One way only.
    Door {
        words: &["crate::api"],
        open_to: &["main", "lib", "args", "daemon", "logging", "api"],
        of: &[],
    },
    Door {
        words: &["crate::orchestrator"],
        open_to: &[
            "main",
            "lib",
            "args",
            "daemon",
            "logging",
            "api",
            "orchestrator",
        ],
        of: &[],
    },
    Door {
        words: &["crate::config"],
        open_to: &[
            "main", "lib", "args", "daemon", "logging", "private", "api", "config",
        ],
        of: &[],
    },
    Door {
        words: &[
            "crate::store",
            "crate::bundle",
            "crate::evidence",
            "crate::discovery",
        ],
        open_to: &[],
        of: &["swarm"],
    },
    Door {
        words: &[
            "crate::store",
            "crate::bundle",
            "crate::evidence",
            "crate::swarm",
        ],
        open_to: &[],
        of: &["discovery"],
    },
    Door {
        words: &[
            "crate::swarm",
            "crate::bundle",
            "crate::evidence",
            "crate::discovery",
        ],
        open_to: &[],
        of: &["store"],
    },
    Door {
        words: &["crate::store", "crate::bundle", "crate::discovery"],
        open_to: &[],
        of: &["evidence"],
    },
    Door {
        words: &[
            "crate::task",
            "crate::swarm",
            "crate::store",
            "crate::evidence",
            "crate::discovery",
        ],
        open_to: &[],
        of: &["bundle"],
    },
    Door {
        words: &[
            "crate::swarm",
            "crate::store",
            "crate::bundle",
            "crate::evidence",
            "crate::discovery",
        ],
        open_to: &[],
        of: &["config"],
    },
    // Who knows passwords: those who read them and who sends them.
    Door {
        words: &["crate::registry", "Credentials"],
        open_to: &["lib", "config", "registry", "swarm/docker"],
        of: &[],
    },
    Door {
        words: &[
            "crate::swarm",
            "crate::store",
            "crate::bundle",
            "crate::evidence",
            "crate::discovery",
        ],
        open_to: &[],
        of: &["registry"],
    },
    // The orchestrator knows the port, not what is behind it.
    Door {
        words: &["crate::swarm::docker", "HttpDiscovery", "DockerSwarm"],
        open_to: &[
            "main",
            "lib",
            "args",
            "daemon",
            "logging",
            "swarm",
            "discovery",
        ],
        of: &[],
    },
];

impl Door {
    /// The word of this door that the line names although the room may not.
    fn is_forced_by(&self, room: &str, line: &str) -> Option<&'static str> {
        let within = |rooms: &[&str]| rooms.iter().any(|open| is_in(room, open));
        if within(self.open_to) || !(self.of.is_empty() || within(self.of)) {
            return None;
        }
        self.words.iter().copied().find(|word| names(line, word))
    }
}

fn is_in(room: &str, open: &str) -> bool {
    room.strip_prefix(open)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the line names the word as a path: whole, and not as a part of another path. `super::` at
/// the top of a room reaches the crate, and a list `crate::{a, b}` names both.
fn names(line: &str, word: &str) -> bool {
    let line = expand(line);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let is_path =
            word.contains("::") || word.starts_with(char::is_uppercase) || word.contains("now_");
        let followed = is_path
            || line[at + word.len()..].starts_with("::")
            || line[..at].trim_end().ends_with("use");
        !before.is_some_and(|c| part(c) || (c == ':' && !is_path) || c == '.')
            && !after.is_some_and(part)
            && followed
    })
}

/// `use crate::{a::B, c};` as `crate::a::B crate::c`.
fn expand(line: &str) -> String {
    let Some((head, list)) = line.split_once("crate::{") else {
        return line.to_owned();
    };
    let inside = list
        .split(['{', '}', ','])
        .map(|item| format!("crate::{} ", item.trim()));
    format!("{head}{}", inside.collect::<String>())
}

/// The code of a file: without comments, texts and test modules; a `use` that goes over several lines
/// is one line.
fn code(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let text = text
        .split("#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests {")
        .next()
        .unwrap();
    let mut lines = Vec::new();
    let mut open = String::new();
    let mut for_tests = false;
    for line in text.lines() {
        let line = without_texts(line.split("//").next().unwrap().trim());
        if for_tests || line == "#[cfg(test)]" {
            for_tests = !for_tests;
            continue;
        }
        open.push_str(&line);
        let goes_on =
            (open.starts_with("use ") || open.starts_with("pub use ")) && !open.ends_with(';');
        if goes_on {
            open.push(' ');
        } else if !open.is_empty() {
            lines.push(std::mem::take(&mut open));
        }
    }
    lines
}

fn without_texts(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

fn forced(room: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code(text) {
        for door in DOORS {
            if let Some(word) = door.is_forced_by(room, &line) {
                found.push(format!("{room}: `{word}` in `{line}`"));
            }
        }
    }
    found
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The room of a file below `src`; none for tests and fakes.
fn room(path: &Path) -> Option<String> {
    let text = path.with_extension("").to_str()?.to_owned();
    let text = text.strip_suffix("/mod").unwrap_or(&text).to_owned();
    let exempt = text
        .split('/')
        .any(|part| part == "tests" || part == "fake");
    (!exempt).then_some(text)
}

#[test]
fn no_door_is_forced() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (src, prefix, least) in [("src", "", 50), ("../crates/task/src", "task", 7)] {
        let src = root.join(src);
        let mut files = Vec::new();
        sources(&src, &mut files);
        assert!(files.len() > least, "only {} files", files.len());
        for file in files {
            let below = Path::new(prefix).join(file.strip_prefix(&src).unwrap());
            if let Some(room) = room(&below) {
                found.extend(forced(&room, &fs::read_to_string(&file).unwrap()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_forced_door_is_found() {
    for (room, text) in [
        ("task/machine", "use tokio::time::sleep;"),
        ("task", "let now = std::time::SystemTime::now();"),
        ("task/spec/reader", "use crate::swarm::Swarm;"),
        (
            "task/spec",
            "use crate::{task::state::State, store::Store};",
        ),
        (
            "task/spec",
            "use crate::{\n    task::state::State,\n    store::Store,\n};",
        ),
        ("orchestrator/run", "pub use crate::api::Error;"),
        ("orchestrator/run", "let db: sled::Db = x();"),
        ("orchestrator/steps/master", "use bollard::Docker;"),
        (
            "orchestrator/health",
            "use crate::swarm::docker::DockerSwarm;",
        ),
        ("swarm", "use bollard;"),
        ("swarm/docker/client", "use crate::store::Store;"),
        ("store", "use crate::swarm::Swarm;"),
        ("evidence", "fn f(x: axum::Router) {}"),
        ("bundle/store", "use crate::task::spec::TaskName;"),
        ("config", "use crate::orchestrator::Settings;"),
        (
            "config",
            "let limits = atq_bundle_archive::Limits::default();",
        ),
        ("bundle/store", "use zip::ZipArchive;"),
        ("orchestrator/run", "use crate::registry::Credential;"),
        ("swarm", "use crate::registry::Secret;"),
        ("registry", "use crate::store::Store;"),
    ] {
        assert!(!forced(room, text).is_empty(), "{room}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (room, text) in [
        ("store", "use sled::Db;"),
        ("swarm/docker", "use bollard::Docker;"),
        (
            "api/tasks",
            "use axum::Router; use crate::orchestrator::Orchestrator;",
        ),
        ("lib", "use crate::swarm::docker::DockerSwarm;"),
        (
            "task/plan",
            "//! no tokio::time here\nuse std::time::Duration; // not tokio::x",
        ),
        ("task/plan", "let text = \"tokio::time crate::swarm::x\";"),
        (
            "task/plan",
            "#[cfg(test)]\nmod tests {\n    use crate::swarm::x;\n}",
        ),
        (
            "orchestrator/run",
            "use crate::swarm::Swarm; self.zip(); a.iter().zip(b)",
        ),
        ("discovery", "use reqwest::Client;"),
        ("bundle/store", "use atq_bundle_archive::{Limits, scan};"),
    ] {
        assert_eq!(forced(room, text), Vec::<String>::new(), "{room}");
    }
    assert_eq!(room(Path::new("swarm/fake/world.rs")), None);
    assert_eq!(room(Path::new("store/mod.rs")).as_deref(), Some("store"));
}
