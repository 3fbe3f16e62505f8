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

/// Allowed imports of a room.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The room: a module directly below the root of the crate.
    pub name: &'static str,
    /// Other rooms of the same crate, and crates of the workspace.
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

/// Forbidden imports between the rooms of the crate `root`, rooms without a row
/// and rows without a room.
pub fn rooms(code: &Code, root: &str, members: &[String], rows: &[Room]) -> Vec<String> {
    let mut faults = Vec::new();
    let rooms = code
        .modules
        .keys()
        .filter_map(|module| room_of(root, module));
    let rooms: Vec<String> = rooms.collect();
    let is_target = |name: &String| members.contains(name) || rooms.contains(name);
    for room in rooms
        .iter()
        .filter(|room| !rows.iter().any(|row| row.name == **room))
    {
        let fault = format!("the room `{root}::{room}` has no row in the table of rooms; add one");
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    for row in rows
        .iter()
        .filter(|row| !rooms.iter().any(|room| room == row.name))
    {
        faults.push(format!(
            "the table of rooms has a row for `{}`, which is not a room of `{root}`; remove the row",
            row.name
        ));
    }
    for (name, module, mention, path) in imports(code) {
        let Some(row) =
            room_of(root, name).and_then(|room| rows.iter().find(|row| row.name == room))
        else {
            continue;
        };
        let target = room_of(root, &path)
            .filter(is_target)
            .or_else(|| path.first().cloned().filter(is_target));
        let Some(target) = target.filter(|target| target != row.name && target != root) else {
            continue;
        };
        if !row.may_import.contains(&target.as_str()) {
            let why = format!(
                "the room `{}` may import only {}",
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

/// The room of a path in a crate: the segment after the root. The root itself is not in a room.
fn room_of(root: &str, path: &[String]) -> Option<String> {
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
