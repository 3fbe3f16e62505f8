//! Inventory of Docker objects, kernel objects and files, taken before and after a test and compared by name.
//!
//! It contains services, networks, containers, volumes and images from Docker's lists; the files of the Director (data
//! without the store's own files and the socket, bundles); and kernel objects that Docker does not list: network namespaces, and the
//! vxlan interfaces inside and outside of them. A leaked vxlan interface blocks its network id on the node forever.
//!
//! The *files* in `/run/docker/netns` are not counted: the Engine removes those of ended namespaces about once a minute.
//! A live namespace is mounted on its file.
//!
//! Objects of other Directors on this Swarm are excluded. Namespaces and interfaces that disappear are no difference,
//! because the Engine also cleans up after earlier tests.

use crate::docker::docker;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const NAMESPACES: &str = "/run/docker/netns";
/// In the data directory, the store and a socket that exists only while the Director runs.
const NOT_COUNTED: [&str; 2] = ["state", "control.sock"];
/// Kinds of which only new objects count.
const KERNEL_KINDS: [&str; 2] = ["vxlan interfaces", "network namespaces"];
/// Kinds, the commands that list them, and the output formats.
const LISTS: [(&str, &[&str], &str); 5] = [
    ("services", &["service", "ls"], "{{.ID}} {{.Name}}"),
    (
        "networks",
        &["network", "ls", "--no-trunc"],
        "{{.ID}} {{.Name}}",
    ),
    (
        "containers",
        &["ps", "-a", "--no-trunc"],
        "{{.ID}} {{.Names}}",
    ),
    ("volumes", &["volume", "ls"], "{{.Name}}"),
    (
        "images",
        &["image", "ls", "--no-trunc"],
        "{{.ID}} {{.Repository}}:{{.Tag}}",
    ),
];

/// Object names by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<&'static str, BTreeSet<String>>);

impl Inventory {
    /// Takes an inventory; `dir` is the working directory of the Director with the id `director`.
    ///
    /// # Errors
    /// When Docker or the kernel cannot be queried.
    pub async fn take(dir: &Path, director: &str) -> Result<Self> {
        let mut kinds = BTreeMap::new();
        let mut others = BTreeSet::new();
        for (kind, command, format) in LISTS {
            let foreign = foreign(command, format, director).await?;
            let all = list(command, format, None).await?;
            kinds.insert(kind, all.difference(&foreign).cloned().collect());
            others.extend(foreign.iter().map(|line| first_word(line).to_owned()));
        }
        let namespaces = namespaces(&others).await?;
        let mut interfaces = vxlan_interfaces(None)?;
        for namespace in &namespaces {
            interfaces.extend(vxlan_interfaces(Some(namespace))?);
        }
        kinds.insert("network namespaces", namespaces);
        kinds.insert("vxlan interfaces", interfaces);
        kinds.insert("data files", files(&dir.join("data"), &NOT_COUNTED)?);
        kinds.insert("bundle files", files(&dir.join("bundles"), &[])?);
        Ok(Self(kinds))
    }

    /// Number of objects by kind, in a fixed order.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().map(|(kind, names)| (*kind, names.len()))
    }

    /// Differences from `before`, by name.
    pub fn differences(&self, before: &Self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let none = BTreeSet::new();
        for (kind, names) in &self.0 {
            let earlier = before.0.get(kind).unwrap_or(&none);
            let new = names.difference(earlier);
            found.extend(new.map(|name| format!("{kind}: `{name}` is left")));
            if !KERNEL_KINDS.contains(kind) {
                let gone = earlier.difference(names);
                found.extend(gone.map(|name| format!("{kind}: `{name}` is missing")));
            }
        }
        found
    }
}

async fn list(command: &[&str], format: &str, label: Option<&str>) -> Result<BTreeSet<String>> {
    let filter = label.map(|label| format!("label={label}"));
    let mut args = [command, &["--format", format]].concat();
    if let Some(filter) = &filter {
        args.extend(["--filter", filter]);
    }
    Ok(docker(&args).await?.lines().map(str::to_owned).collect())
}

/// Objects of other Directors.
async fn foreign(command: &[&str], format: &str, director: &str) -> Result<BTreeSet<String>> {
    let own = format!("com.atq.director={director}");
    let own = list(command, format, Some(&own)).await?;
    let any = list(command, format, Some("com.atq.director")).await?;
    Ok(any.difference(&own).cloned().collect())
}

fn first_word(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(word, _)| word)
}

/// Docker's live network namespaces: those of containers, overlay networks (`1-<network>`) and their load balancers
/// (`lb_<network>`), without those of the objects `others`.
async fn namespaces(others: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut taken = BTreeSet::new();
    for id in others {
        let format = "{{.NetworkSettings.SandboxKey}}";
        // Services and networks have none, and a container may have been removed meanwhile.
        if let Ok(key) = docker(&["container", "inspect", "--format", format, id]).await {
            taken.extend(key.rsplit('/').next().map(str::to_owned));
        }
    }
    let of_others = |name: &String| {
        let network = name.strip_prefix("lb_").or_else(|| name.strip_prefix("1-"));
        let is_prefix = |network: &str| others.iter().any(|id| id.starts_with(network));
        taken.contains(name) || network.is_some_and(is_prefix)
    };
    Ok(live()?
        .into_iter()
        .filter(|name| !of_others(name))
        .collect())
}

fn live() -> Result<BTreeSet<String>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points
        .filter_map(|point| Path::new(point).strip_prefix(NAMESPACES).ok())
        .map(|name| name.display().to_string())
        .collect())
}

/// The vxlan interfaces of a namespace, or of this process's namespace.
fn vxlan_interfaces(namespace: Option<&String>) -> Result<BTreeSet<String>> {
    let show = [
        "ip", "-oneline", "-details", "link", "show", "type", "vxlan",
    ];
    let mut command = match namespace {
        None => Command::new(show[0]),
        Some(name) => {
            let mut enter = Command::new("nsenter");
            enter.arg(format!("--net={NAMESPACES}/{name}")).arg(show[0]);
            enter
        }
    };
    let output = command.args(&show[1..]).output();
    let output = output.context("cannot run `ip` (package `iproute2`) or `nsenter`")?;
    if !output.status.success() {
        // A namespace may end between the two queries; then it has no interfaces.
        let is_live = namespace.is_none_or(|name| live().is_ok_and(|live| live.contains(name)));
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !is_live,
            "vxlan interfaces of {namespace:?}: {}\n(root?)",
            why.trim()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = namespace.map_or("host", String::as_str);
    let names = text.lines().filter_map(|line| line.split(": ").nth(1));
    Ok(names.map(|name| format!("{place}/{name}")).collect())
}

/// Files and directories below `root`, except its immediate subdirectories, which are created on demand and kept.
fn files(root: &Path, except: &[&str]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            // Removed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("`{}`", dir.display())),
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let name = path.strip_prefix(root)?.display().to_string();
            if except.contains(&name.as_str()) {
                continue;
            }
            let is_dir = entry.file_type()?.is_dir();
            if !is_dir || dir != root {
                found.insert(name);
            }
            if is_dir {
                open.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn inventory(kinds: &[(&'static str, &[&str])]) -> Inventory {
        let owned = kinds.iter().map(|(kind, names)| {
            let names = names.iter().map(|name| (*name).to_owned());
            (*kind, names.collect())
        });
        Inventory(owned.collect())
    }

    #[test]
    fn new_and_missing_objects_are_named() {
        let before = inventory(&[("volumes", &["a", "b"]), ("images", &["i"])]);
        let after = inventory(&[("volumes", &["b", "c"]), ("images", &["i"])]);
        let found: Vec<String> = after.differences(&before).into_iter().collect();
        assert_eq!(found, ["volumes: `a` is missing", "volumes: `c` is left"]);
        assert!(before.differences(&before).is_empty());
    }

    #[test]
    fn removed_kernel_objects_are_ignored_and_new_ones_are_not() {
        let before = inventory(&[("vxlan interfaces", &["1-old/vxlan0"])]);
        assert!(
            inventory(&[("vxlan interfaces", &[])])
                .differences(&before)
                .is_empty()
        );
        let after = inventory(&[("vxlan interfaces", &["1-new/vxlan0"])]);
        assert_eq!(after.differences(&before).len(), 1);
    }

    #[test]
    fn all_files_count_except_those_of_a_running_director() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "state/db",
            "evidence/task/run/log",
            "director-id",
            "control.sock",
        ];
        for path in names {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let found: Vec<String> = files(dir.path(), &NOT_COUNTED)
            .unwrap()
            .into_iter()
            .collect();
        let wanted = [
            "director-id",
            "evidence/task",
            "evidence/task/run",
            "evidence/task/run/log",
        ];
        assert_eq!(found, wanted);
    }
}
