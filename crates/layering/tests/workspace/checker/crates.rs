//! Allowed dependencies of crates on crates and libraries.

use super::workspace::{Crate, Workspace};

/// The allowed dependencies of a crate. Test dependencies are not restricted.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The crate.
    pub name: &'static str,
    /// Crates of the workspace.
    pub crates: &'static [&'static str],
    /// Guarded libraries.
    pub libraries: &'static [&'static str],
}

/// The violations: a forbidden dependency, a crate without a row, a row without a crate.
pub fn faults(workspace: &Workspace, rows: &[Row], guarded: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in &workspace.crates {
        match rows.iter().find(|row| row.name == member.name) {
            Some(row) => faults.extend(forbidden(workspace, member, row, guarded)),
            None => faults.push(format!(
                "{}: the crate `{}` has no row in the table of crates; add one",
                member.manifest.display(),
                member.name
            )),
        }
    }
    let is_member = |name: &str| workspace.crates.iter().any(|member| member.name == name);
    let gone = rows.iter().filter(|row| !is_member(row.name));
    faults.extend(gone.map(|row| {
        format!(
            "the table of crates has a row for `{}`, which is not a crate; remove the row",
            row.name
        )
    }));
    faults
}

fn forbidden(workspace: &Workspace, member: &Crate, row: &Row, guarded: &[&str]) -> Vec<String> {
    let is_member = |name: &str| workspace.crates.iter().any(|member| member.name == name);
    let fault = |name: &str, kind: &str, allowed: &[&str]| {
        format!(
            "{}: `{}` may not depend on the {kind} `{name}`; allowed: {}",
            member.manifest.display(),
            member.name,
            listed(allowed)
        )
    };
    let mut faults = Vec::new();
    for name in &member.dependencies {
        if is_member(name) && !row.crates.contains(&name.as_str()) {
            faults.push(fault(name, "crate", row.crates));
        }
        if guarded.contains(&name.as_str()) && !row.libraries.contains(&name.as_str()) {
            faults.push(fault(name, "library", row.libraries));
        }
    }
    faults
}

pub(crate) fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
