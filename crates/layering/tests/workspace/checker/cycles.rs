//! Import cycles between files of different module groups.
//!
//! A module group is a directory: `a/mod.rs` or `a.rs` belongs to the group `a` if there are files below it.

use super::code::Code;
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Files of several module groups with direct or indirect mutual imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// The files.
    pub files: BTreeSet<PathBuf>,
    /// The imports between groups, as `file:line: path -> file`.
    pub imports: Vec<String>,
}

#[derive(Clone)]
struct Import<'a> {
    from: &'a Path,
    to: &'a Path,
    line: usize,
    written: String,
}

/// All cycles between module groups, sorted by their files.
pub fn cycles(code: &Code) -> Vec<Cycle> {
    let imports = imports(code);
    let files: BTreeSet<&Path> = code
        .modules
        .values()
        .map(|module| module.file.as_path())
        .collect();
    let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    let graph: DiGraphMap<&Path, ()> = imports
        .iter()
        .map(|import| (import.from, import.to))
        .collect();
    let mut cycles: Vec<Cycle> = tarjan_scc(&graph)
        .into_iter()
        .filter(|files: &Vec<&Path>| {
            let groups: BTreeSet<PathBuf> =
                files.iter().map(|file| group(file, &directories)).collect();
            groups.len() > 1
        })
        .map(|files: Vec<&Path>| cycle(&files, &imports, &directories))
        .collect();
    cycles.sort_by(|a, b| a.files.cmp(&b.files));
    cycles
}

/// Compares the cycles with the known ones. If a known one loses files, its list must be reduced, too.
pub fn compare(found: &[Cycle], known: &[&[&str]]) -> Vec<String> {
    let known: Vec<BTreeSet<PathBuf>> = known
        .iter()
        .map(|files| files.iter().map(PathBuf::from).collect())
        .collect();
    let mut faults = Vec::new();
    for cycle in found {
        if !known.iter().any(|known| cycle.files.is_subset(known)) {
            faults.push(format!(
                "new import cycle between module groups; move the common part into a file that imports neither:\n    {}\n  imports between its module groups:\n    {}",
                shown(&cycle.files),
                cycle.imports.join("\n    ")
            ));
        }
    }
    for known in &known {
        let left = |file: &&PathBuf| {
            found
                .iter()
                .any(|cycle| cycle.files.is_subset(known) && cycle.files.contains(*file))
        };
        let gone: BTreeSet<PathBuf> = known.iter().filter(|file| !left(file)).cloned().collect();
        let is_new = found
            .iter()
            .any(|cycle| !cycle.files.is_subset(known) && !cycle.files.is_disjoint(known));
        if !gone.is_empty() && !is_new {
            faults.push(format!(
                "not in the known cycle any more; remove from the list:\n    {}",
                shown(&gone)
            ));
        }
    }
    faults
}

fn shown(files: &BTreeSet<PathBuf>) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    files.join("\n    ")
}

fn cycle(files: &[&Path], imports: &[Import], directories: &BTreeSet<&Path>) -> Cycle {
    let crosses = |import: &&Import| {
        files.contains(&import.from)
            && files.contains(&import.to)
            && group(import.from, directories) != group(import.to, directories)
    };
    // One line per pair of files.
    let mut shown = BTreeMap::new();
    for import in imports.iter().filter(crosses) {
        let (from, to) = (import.from.display(), import.to.display());
        let line = format!("{from}:{}: `{}` -> {to}", import.line, import.written);
        shown.entry((import.from, import.to)).or_insert(line);
    }
    Cycle {
        files: files.iter().map(|file| file.to_path_buf()).collect(),
        imports: shown.into_values().collect(),
    }
}

/// Imports from file to file within a crate.
fn imports(code: &Code) -> Vec<Import<'_>> {
    let mut imports = Vec::new();
    for (name, module) in &code.modules {
        for mention in &module.mentions {
            let path = code.resolve(name, &mention.path);
            let target = code.module_of(&path).map(|(_, target)| target);
            let target =
                target.filter(|target| target.root == module.root && target.file != module.file);
            if let Some(target) = target {
                imports.push(Import {
                    from: &module.file,
                    to: &target.file,
                    line: mention.line,
                    written: mention.path.join("::"),
                });
            }
        }
    }
    imports
}

fn group(file: &Path, directories: &BTreeSet<&Path>) -> PathBuf {
    let own = file.with_extension("");
    if directories.contains(own.as_path()) {
        return own;
    }
    file.parent().map(Path::to_owned).unwrap_or_default()
}
