//! Parsing and validating the Director's order. Names in it become parts of paths.

use std::collections::BTreeMap;

use atq_bundle_archive::{BundleId, relative_path};
use atq_node_protocol::order::{
    Collect, Fetch, Kill, Order, Remove, Split, Tail, Watch, Work, variable,
};

use crate::docker::{RUN_LABEL, TASK_LABEL};
use crate::problem::Problem;

/// Reads the order for `work`.
///
/// # Errors
/// The first fault in the order.
pub fn read(work: Work, text: &str) -> Result<Order, Problem> {
    let order = Order::from_json(work, text).map_err(invalid)?;
    match &order {
        Order::Fetch(order) => {
            bundle(order)?;
            order.split.as_ref().map_or(Ok(()), check_split)?;
        }
        Order::Remove(Remove { volumes, labels }) => {
            volumes.iter().try_for_each(|name| check_name(name))?;
            labels.iter().try_for_each(check_labels)?;
        }
        Order::Collect(Collect {
            run, containers, ..
        }) => {
            check_name(run)?;
            let mut containers = containers.iter();
            containers.try_for_each(|one| check_name(&one.id).and(check_name(&one.source)))?;
        }
        Order::Watch(Watch { run, .. }) | Order::Kill(Kill { run, .. }) => check_name(run)?,
        Order::Tail(Tail { run, sources, .. }) => {
            check_name(run)?;
            sources.iter().try_for_each(|source| check_name(source))?;
        }
    }
    Ok(order)
}

/// The bundle to fetch.
///
/// # Errors
/// When the order does not have a valid bundle id.
pub fn bundle(order: &Fetch) -> Result<BundleId, Problem> {
    order.bundle.parse().map_err(invalid)
}

fn invalid(reason: impl std::fmt::Display) -> Problem {
    Problem::permanent(format!(
        "the order in `{}` is invalid: {reason}",
        variable::ORDER
    ))
}

fn check_split(split: &Split) -> Result<(), Problem> {
    if split.replicas == 0 {
        return Err(Problem::permanent(
            "`split.replicas` in the order is 0, expected at least 1",
        ));
    }
    for file in &split.files {
        if relative_path(&file.path).as_ref() != Ok(&file.path) {
            let text = format!(
                "`split` in the order has the path `{}`, expected a path within the bundle",
                file.path
            );
            return Err(Problem::permanent(text));
        }
    }
    Ok(())
}

/// The volumes of all runs and of the user carry every label of an empty set.
fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Problem> {
    if labels.contains_key(RUN_LABEL) || labels.contains_key(TASK_LABEL) {
        return Ok(());
    }
    let text = format!(
        "`labels` in the order has neither `{RUN_LABEL}` nor `{TASK_LABEL}`, expected those of volumes of runs"
    );
    Err(Problem::permanent(text))
}

/// Names become parts of request paths.
fn check_name(name: &str) -> Result<(), Problem> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.is_empty() && !name.starts_with('.') && name.bytes().all(fits) {
        return Ok(());
    }
    let shown = name.escape_debug();
    Err(Problem::permanent(format!(
        "the order has the name `{shown}`, expected letters, digits, `.`, `_` and `-`"
    )))
}
