//! Reading the Director's order. Names in it become parts of paths, so they are checked.

use atq_bundle_archive::{BundleId, relative_path};
use atq_node_protocol::order::{Collect, Fetch, Kill, Order, Remove, Split, Watch, Work, variable};

use crate::problem::Problem;

/// Reads the order for `work`.
///
/// # Errors
/// What is wrong with it.
pub fn read(work: Work, text: &str) -> Result<Order, Problem> {
    let order = Order::from_json(work, text).map_err(wrong)?;
    match &order {
        Order::Fetch(order) => {
            bundle(order)?;
            order.split.as_ref().map_or(Ok(()), check_split)?;
        }
        Order::Remove(Remove { volumes }) => volumes.iter().try_for_each(|name| plain(name))?,
        Order::Collect(Collect {
            run, containers, ..
        }) => {
            plain(run)?;
            let mut containers = containers.iter();
            containers.try_for_each(|one| plain(&one.id).and(plain(&one.source)))?;
        }
        Order::Watch(Watch { run, .. }) | Order::Kill(Kill { run, .. }) => plain(run)?,
    }
    Ok(order)
}

/// The bundle that is to be fetched.
///
/// # Errors
/// When what the order names is no id.
pub fn bundle(order: &Fetch) -> Result<BundleId, Problem> {
    order.bundle.parse().map_err(wrong)
}

fn wrong(reason: impl std::fmt::Display) -> Problem {
    Problem::lasting(format!(
        "the order in `{}` is wrong: {reason}",
        variable::ORDER
    ))
}

fn check_split(split: &Split) -> Result<(), Problem> {
    if split.replicas == 0 {
        return Err(Problem::lasting("the order splits for 0 replicas"));
    }
    for file in &split.files {
        if relative_path(&file.path).as_ref() != Ok(&file.path) {
            let text = format!("the order splits `{}`: not a path in a bundle", file.path);
            return Err(Problem::lasting(text));
        }
    }
    Ok(())
}

/// Names become parts of paths of requests.
fn plain(name: &str) -> Result<(), Problem> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.is_empty() && !name.starts_with('.') && name.bytes().all(fits) {
        return Ok(());
    }
    let shown = name.escape_debug();
    Err(Problem::lasting(format!(
        "the order names `{shown}`: expected letters, digits, `.`, `_` and `-`"
    )))
}
