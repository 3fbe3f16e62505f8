//! The crates of the workspace, as `cargo metadata` lists them.

use cargo_metadata::{DependencyKind, MetadataCommand, Package, Target};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A crate of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Its name, for example `atq-store`.
    pub name: String,
    /// Its manifest, relative to the root of the workspace.
    pub manifest: PathBuf,
    /// Its dependencies, without those of tests and the build script.
    pub dependencies: BTreeSet<String>,
    /// The roots of its library and programs, relative to the root of the workspace.
    pub roots: Vec<Root>,
}

/// The root file of a library or a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its name for other crates. A program is treated as a module of its crate: `atq_director::main`.
    pub module: String,
    /// The file.
    pub file: PathBuf,
}

/// The workspace of a manifest.
#[derive(Debug)]
pub struct Workspace {
    /// Its directory.
    pub root: PathBuf,
    /// Its crates, sorted by name.
    pub crates: Vec<Crate>,
}

impl Workspace {
    /// Reads the workspace by `cargo metadata`, which needs only manifests: no lock file, no network.
    ///
    /// # Errors
    /// If cargo cannot read the manifests.
    pub fn of(manifest: &Path) -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(manifest)
            .no_deps()
            .exec()?;
        let root = metadata.workspace_root.as_std_path();
        let mut crates: Vec<Crate> = metadata
            .packages
            .iter()
            .map(|package| Crate::of(package, root))
            .collect();
        crates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            root: root.to_owned(),
            crates,
        })
    }
}

impl Crate {
    fn of(package: &Package, root: &Path) -> Self {
        let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        let dependencies = package.dependencies.iter();
        let targets = package.targets.iter();
        Self {
            name: package.name.to_string(),
            manifest: below(package.manifest_path.as_std_path()),
            dependencies: dependencies
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .collect(),
            roots: targets
                .filter(|target| target.is_lib() || target.is_bin())
                .map(|target| Root {
                    module: module_of(package, target),
                    file: below(target.src_path.as_std_path()),
                })
                .collect(),
        }
    }
}

fn module_of(package: &Package, target: &Target) -> String {
    let is_main = target.src_path.ends_with("src/main.rs");
    let name = match (target.is_bin(), is_main) {
        (false, _) => target.name.clone(),
        (true, true) => format!("{}::main", package.name),
        (true, false) => format!("{}::{}", package.name, target.name),
    };
    name.replace('-', "_")
}
