//! The modules of the workspace: the paths they mention, and the resolution of paths.

use super::Segments;
use super::collect::collect;
use super::workspace::{Root, Workspace};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Maximum number of re-exports followed; more indicate a loop.
const MAX_REEXPORTS: usize = 8;

/// A path in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// As written.
    pub path: Segments,
    /// The line in the file.
    pub line: usize,
}

/// An identifier or a string literal in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As written.
    pub text: String,
    /// The line in the file.
    pub line: usize,
    /// True for a string literal.
    pub is_text: bool,
}

/// A module without its submodules.
#[derive(Debug, Clone)]
pub struct Module {
    /// The module that `crate` refers to.
    pub root: Segments,
    /// Its file, relative to the root of the workspace.
    pub file: PathBuf,
    /// Names imported by `use`, with their paths as written.
    pub names: BTreeMap<String, Segments>,
    /// Paths of two or more segments, and all imports by `use`.
    pub mentions: Vec<Mention>,
    /// Identifiers and string literals, without comments.
    pub words: Vec<Word>,
}

impl Module {
    pub(crate) fn new(root: Segments, file: PathBuf) -> Self {
        Self {
            root,
            file,
            names: BTreeMap::new(),
            mentions: Vec::new(),
            words: Vec::new(),
        }
    }
}

/// All code except tests.
#[derive(Debug, Default)]
pub struct Code {
    /// The modules by full path, for example `atq_store::watch`.
    pub modules: BTreeMap<Segments, Module>,
}

impl Code {
    /// Reads all crates of the workspace.
    ///
    /// # Errors
    /// If a file is missing or is not valid Rust.
    pub fn of(workspace: &Workspace) -> anyhow::Result<Self> {
        let read = |file: &Path| std::fs::read_to_string(workspace.root.join(file)).ok();
        let mut code = Self::default();
        for root in workspace.crates.iter().flat_map(|member| &member.roots) {
            code.add(root, &read)?;
        }
        Ok(code)
    }

    /// Reads one crate, starting at its root file.
    ///
    /// # Errors
    /// If a file is missing or is not valid Rust.
    pub fn add(
        &mut self,
        root: &Root,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> anyhow::Result<()> {
        let path = super::segments(&root.module);
        let text = read(&root.file).with_context(|| format!("no file {}", root.file.display()))?;
        let mut open = vec![(path.clone(), root.file.clone(), text)];
        while let Some((module, file, text)) = open.pop() {
            let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
            let found = collect(&path, &module, file.clone(), &parsed);
            self.modules.extend(found.modules);
            for child in found.children {
                let below = child[module.len()..].join("/");
                let directory = directory_of(&file, file == root.file);
                let Some((file, text)) = first_of(&directory, &below, read) else {
                    bail!(
                        "{} declares `mod {below}`, which has no file",
                        file.display()
                    );
                };
                open.push((child, file, text));
            }
        }
        Ok(())
    }

    /// The full path for a path `written` in `module`, also through re-exports of other crates.
    /// Paths of external libraries stay unchanged.
    pub fn resolve(&self, module: &[String], written: &[String]) -> Segments {
        let mut path = self.absolute(module, written);
        for _ in 0..MAX_REEXPORTS {
            match self.leads_outside(&path) {
                Some(elsewhere) => path = elsewhere,
                None => break,
            }
        }
        path
    }

    /// The module of a path: its longest prefix that is a module.
    pub fn module_of(&self, path: &[String]) -> Option<(&Segments, &Module)> {
        (1..=path.len())
            .rev()
            .find_map(|length| self.modules.get_key_value(&path[..length]))
    }

    fn absolute(&self, module: &[String], written: &[String]) -> Segments {
        let Some((first, rest)) = written.split_first() else {
            return Segments::new();
        };
        match first.as_str() {
            "crate" => [&self.root_of(module)[..], rest].concat(),
            "self" => self.below(module, rest),
            "super" => self.below(&module[..module.len().saturating_sub(1)], rest),
            _ if self
                .modules
                .contains_key(&[module, std::slice::from_ref(first)].concat()) =>
            {
                [module, written].concat()
            }
            _ => match self.name(module, first) {
                Some(bound) => [self.absolute(module, bound), rest.to_vec()].concat(),
                None => written.to_vec(),
            },
        }
    }

    /// A path after `self` or `super`, which may continue with `super`.
    fn below(&self, module: &[String], rest: &[String]) -> Segments {
        match rest.first().map(String::as_str) {
            Some("super") => self.absolute(module, rest),
            _ => [module, rest].concat(),
        }
    }

    fn root_of(&self, module: &[String]) -> Segments {
        self.modules
            .get(module)
            .map_or_else(|| module.to_vec(), |found| found.root.clone())
    }

    /// The path imported under a name by `use`. `use x::x` is ignored, because it resolves to itself.
    fn name(&self, module: &[String], name: &str) -> Option<&Segments> {
        let bound = self.modules.get(module)?.names.get(name)?;
        (bound.first()? != name).then_some(bound)
    }

    /// Resolves a name that its module only re-exports from another crate.
    fn leads_outside(&self, path: &[String]) -> Option<Segments> {
        let (module, found) = self.module_of(path)?;
        let (name, rest) = path[module.len()..].split_first()?;
        let bound = self.absolute(module, found.names.get(name)?);
        let is_outside = bound.first() != module.first();
        is_outside.then(|| [bound, rest.to_vec()].concat())
    }
}

/// The directory of the submodules' files.
fn directory_of(file: &Path, is_root: bool) -> PathBuf {
    if is_root || file.ends_with("mod.rs") {
        file.with_file_name("")
    } else {
        file.with_extension("")
    }
}

fn first_of(
    directory: &Path,
    module: &str,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Option<(PathBuf, String)> {
    let files = [format!("{module}.rs"), format!("{module}/mod.rs")];
    files.into_iter().find_map(|name| {
        let file = directory.join(name);
        read(&file).map(|text| (file, text))
    })
}
