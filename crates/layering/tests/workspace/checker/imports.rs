//! Allowed imports of modules.

use super::code::{Code, Mention, Module};
use super::crates::listed;
use super::{Segments, is_within, segments};

/// Paths reserved for some modules.
#[derive(Debug, Clone, Copy)]
pub struct Reserved {
    /// Prefixes of paths; `::name` is an item of this name in any module.
    pub paths: &'static [&'static str],
    /// The allowed modules, including their submodules; `=module` is the module alone.
    pub only_for: &'static [&'static str],
}

/// Paths that a module, including its submodules, may not import.
#[derive(Debug, Clone, Copy)]
pub struct Barred {
    /// The module.
    pub module: &'static str,
    /// Prefixes of paths; `::name` is an item of this name in any module.
    pub paths: &'static [&'static str],
}

/// Allowed imports of a top-level module.
#[derive(Debug, Clone, Copy)]
pub struct TopLevel {
    /// The module, directly below the root of the crate.
    pub name: &'static str,
    /// Other top-level modules of the same crate, and crates of the workspace.
    pub may_import: &'static [&'static str],
}

/// Imports of paths reserved for other modules.
pub fn reserved(code: &Code, rules: &[Reserved]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, module, mention, path) in imports(code) {
        for rule in rules {
            let is_named = rule.paths.iter().any(|reserved| matches(&path, reserved));
            if is_named && !rule.only_for.iter().any(|allowed| admits(allowed, name)) {
                let only = listed(rule.only_for);
                faults.push(fault(
                    module,
                    mention,
                    &path,
                    &format!("reserved for {only}"),
                ));
            }
        }
    }
    faults
}

/// Forbidden imports.
pub fn barred(code: &Code, rules: &[Barred]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, module, mention, path) in imports(code) {
        for rule in rules.iter().filter(|rule| is_within(name, rule.module)) {
            if let Some(barred) = rule.paths.iter().find(|barred| matches(&path, barred)) {
                let why = format!(
                    "`{}` may not use `{}`",
                    rule.module,
                    barred.trim_start_matches(':')
                );
                faults.push(fault(module, mention, &path, &why));
            }
        }
    }
    faults
}

/// Forbidden imports between the top-level modules of the crate `root`, modules without a row and rows without a module.
pub fn top_level(code: &Code, root: &str, members: &[String], rows: &[TopLevel]) -> Vec<String> {
    let mut faults = Vec::new();
    let modules = code
        .modules
        .keys()
        .filter_map(|module| top_level_of(root, module));
    let modules: Vec<String> = modules.collect();
    let is_target = |name: &String| members.contains(name) || modules.contains(name);
    for module in modules
        .iter()
        .filter(|module| !rows.iter().any(|row| row.name == **module))
    {
        let fault = format!(
            "the module `{root}::{module}` has no row in the table of top-level modules; add one"
        );
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    for row in rows
        .iter()
        .filter(|row| !modules.iter().any(|module| module == row.name))
    {
        faults.push(format!(
            "the table of top-level modules has a row for `{}`, which is not a module of `{root}`; remove the row",
            row.name
        ));
    }
    for (name, module, mention, path) in imports(code) {
        let Some(row) =
            top_level_of(root, name).and_then(|own| rows.iter().find(|row| row.name == own))
        else {
            continue;
        };
        let target = top_level_of(root, &path)
            .filter(is_target)
            .or_else(|| path.first().cloned().filter(is_target));
        let Some(target) = target.filter(|target| target != row.name && target != root) else {
            continue;
        };
        if !row.may_import.contains(&target.as_str()) {
            let why = format!(
                "the module `{}` may import only {}",
                row.name,
                listed(row.may_import)
            );
            faults.push(fault(module, mention, &path, &why));
        }
    }
    faults
}

fn matches(path: &[String], pattern: &str) -> bool {
    match pattern.strip_prefix("::") {
        Some(item) => path.iter().any(|segment| segment == item),
        None => is_within(path, pattern),
    }
}

fn admits(allowed: &str, module: &[String]) -> bool {
    match allowed.strip_prefix('=') {
        Some(exact) => module == segments(exact),
        None => is_within(module, allowed),
    }
}

/// The top-level module of a path in a crate: the segment after the root; `None` for the root itself.
fn top_level_of(root: &str, path: &[String]) -> Option<String> {
    let root = segments(root);
    path.strip_prefix(&root[..])?.first().cloned()
}

/// All paths in the code, with their resolution.
fn imports(code: &Code) -> impl Iterator<Item = (&Segments, &Module, &Mention, Segments)> {
    code.modules.iter().flat_map(move |(name, module)| {
        let mentions = module.mentions.iter();
        mentions.map(move |mention| (name, module, mention, code.resolve(name, &mention.path)))
    })
}

fn fault(module: &Module, mention: &Mention, path: &[String], why: &str) -> String {
    let file = module.file.display();
    let (line, written, path) = (mention.line, mention.path.join("::"), path.join("::"));
    let leads = if written == path {
        String::new()
    } else {
        format!(" (`{path}`)")
    };
    format!("{file}:{line}: `{written}`{leads}: {why}")
}
