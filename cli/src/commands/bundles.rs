//! `atq bundles`.

use super::ps;
use crate::args::Bundles;
use crate::bundle::format_size;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::path::segment;
use crate::table::{NO_VALUE, table};
use atq_api_spec::bundle::{BundleDetails, Upload};
use atq_api_spec::task::{Step, Task};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// Maximum number of concurrent requests.
const MAX_CONCURRENT: usize = 4;
/// Maximum number of task names per bundle in the list.
const MAX_TASK_NAMES: usize = 3;
/// Timeout of a removal: the Director removes the bundle from all nodes before it responds.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(100);

/// A bundle with the tasks that use it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UsedBundle {
    #[serde(flatten)]
    bundle: BundleDetails,
    used_by: Vec<String>,
}

impl UsedBundle {
    fn new(bundle: BundleDetails, tasks: &[Task]) -> Self {
        let uses = |task: &&Task| {
            let files = [&task.master.file_id, &task.worker.file_id];
            task.step != Step::Done && files.contains(&&bundle.id)
        };
        let used_by = tasks.iter().filter(uses).map(|task| task.id.clone());
        Self {
            used_by: used_by.collect(),
            bundle,
        }
    }
}

/// Lists all bundles, shows one, or removes one.
///
/// # Errors
/// When the bundle does not exist or is in use, or the Director is unreachable.
pub async fn bundles(context: &Context, args: &Bundles) -> Result<Exit, CliError> {
    match (&args.id, args.rm) {
        (Some(id), true) => remove(context, id).await?,
        (Some(id), false) => show(context, id).await?,
        (None, _) => list(context).await?,
    }
    Ok(Exit::Pass)
}

async fn remove(context: &Context, id: &str) -> Result<(), CliError> {
    let path = path(id);
    let removal = context.director.remove(&path, REMOVAL_TIMEOUT, None);
    removal.await?;
    let removed = json!({ "id": id, "removed": true });
    context.out.show([id], &removed);
    Ok(())
}

async fn show(context: &Context, id: &str) -> Result<(), CliError> {
    let bundle = context.director.get(&path(id)).await?;
    let bundle = UsedBundle::new(bundle, &ps::all(context).await?);
    context.out.show(description(&bundle), &bundle);
    Ok(())
}

async fn list(context: &Context) -> Result<(), CliError> {
    let request = context.director.request(Method::GET, "databind/list")?;
    let response = context.director.send_with_retries(request).await?;
    let uploads: Vec<Upload> = match response.status() {
        StatusCode::NO_CONTENT => Vec::new(),
        _ => context.director.read(response).await?,
    };
    if uploads.is_empty() {
        context.out.progress("no bundles");
        context.out.result(&uploads);
        return Ok(());
    }
    let tasks = ps::all(context).await?;
    let bundles: Vec<UsedBundle> = stream::iter(uploads)
        .map(|upload| details(context, upload.id))
        .buffered(MAX_CONCURRENT)
        .try_filter_map(async |bundle| Ok(bundle.map(|bundle| UsedBundle::new(bundle, &tasks))))
        .try_collect()
        .await?;
    context.out.show(overview(&bundles), &bundles);
    Ok(())
}

/// Details of a bundle; `None` when it was removed meanwhile.
async fn details(context: &Context, id: String) -> Result<Option<BundleDetails>, CliError> {
    match context.director.get(&path(&id)).await {
        Err(error) if error.is_not_found() => Ok(None),
        answered => answered.map(Some),
    }
}

fn path(id: &str) -> String {
    format!("databind/{}", segment(id))
}

fn overview(bundles: &[UsedBundle]) -> Vec<String> {
    let rows: Vec<_> = bundles
        .iter()
        .map(|UsedBundle { bundle, used_by }| {
            [
                bundle.id.clone(),
                file_name(bundle),
                zip_size(bundle),
                bundle.files.len().to_string(),
                bundle.created_at.clone(),
                abbreviate(used_by),
            ]
        })
        .collect();
    table(
        ["ID", "FILE", "SIZE", "FILES", "UPLOADED", "USED BY"],
        &rows,
    )
}

/// The first task names, and the number of others.
fn abbreviate(tasks: &[String]) -> String {
    let (named, more) = tasks.split_at(tasks.len().min(MAX_TASK_NAMES));
    match (named.is_empty(), more.len()) {
        (true, _) => NO_VALUE.to_owned(),
        (false, 0) => named.join(", "),
        (false, more) => format!("{} and {more} more", named.join(", ")),
    }
}

fn description(UsedBundle { bundle, used_by }: &UsedBundle) -> Vec<String> {
    let mut lines = vec![
        format!("{} {}", bundle.id, file_name(bundle)),
        format!(
            "uploaded {}, {}, unpacked {}",
            bundle.created_at,
            zip_size(bundle),
            format_size(bundle.unpacked_bytes)
        ),
    ];
    lines.extend((!used_by.is_empty()).then(|| format!("used by {}", used_by.join(", "))));
    lines.push(String::new());
    let rows: Vec<_> = bundle
        .files
        .iter()
        .map(|file| [format_size(file.bytes), file.path.clone()])
        .collect();
    lines.extend(table(["SIZE", "FILE"], &rows));
    lines
}

fn file_name(bundle: &BundleDetails) -> String {
    let name = bundle.file_name.clone();
    name.unwrap_or_else(|| NO_VALUE.to_owned())
}

fn zip_size(bundle: &BundleDetails) -> String {
    bundle
        .bytes
        .map_or_else(|| NO_VALUE.to_owned(), format_size)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests;
    use atq_api_spec::bundle::BundleFile;

    fn bundle() -> BundleDetails {
        let file = |path: &str, bytes| BundleFile {
            path: path.to_owned(),
            bytes,
        };
        BundleDetails {
            id: "0f343b0931126a20f133d67c2b018a3b".to_owned(),
            file_name: Some("shop.zip".to_owned()),
            bytes: Some(2100),
            unpacked_bytes: 5 << 20,
            created_at: "2026-03-04T12:00:00Z".to_owned(),
            files: vec![file("data/users.csv", 5 << 20), file("plan.jmx", 0)],
        }
    }

    fn used(bundle: BundleDetails, used_by: &[&str]) -> UsedBundle {
        let used_by = used_by.iter().map(|name| (*name).to_owned()).collect();
        UsedBundle { bundle, used_by }
    }

    /// A task whose master and worker have these bundles.
    fn task(name: &str, step: Step, master: &str, worker: &str) -> Task {
        let mut task = tests::task(json!({"id": name, "step": step}));
        task["master"]["fileId"] = json!(master);
        task["worker"]["fileId"] = json!(worker);
        serde_json::from_value(task).unwrap()
    }

    #[test]
    fn a_bundle_is_used_by_tasks_that_are_not_over() {
        let id = &bundle().id;
        let tasks = [
            task("of-workers", Step::Running, "", id),
            task("of-both", Step::Queued, id, id),
            task("of-another", Step::Running, "other", "other"),
            task("without", Step::Running, "", ""),
            task("cleaning-up", Step::Cleanup, id, ""),
            task("over", Step::Done, id, id),
        ];
        assert_eq!(
            UsedBundle::new(bundle(), &tasks).used_by,
            ["of-workers", "of-both", "cleaning-up"]
        );
    }

    #[test]
    fn bundles_are_listed_in_a_table() {
        let lost = BundleDetails {
            file_name: None,
            bytes: None,
            files: Vec::new(),
            ..bundle()
        };
        let bundles = [
            used(bundle(), &["a", "b", "c", "d", "e"]),
            used(bundle(), &["nightly"]),
            used(lost, &[]),
        ];
        insta::assert_snapshot!(overview(&bundles).join("\n"), @"
        ID                                FILE      SIZE      FILES  UPLOADED              USED BY
        0f343b0931126a20f133d67c2b018a3b  shop.zip  2.05 KiB  2      2026-03-04T12:00:00Z  a, b, c and 2 more
        0f343b0931126a20f133d67c2b018a3b  shop.zip  2.05 KiB  2      2026-03-04T12:00:00Z  nightly
        0f343b0931126a20f133d67c2b018a3b  -         -         0      2026-03-04T12:00:00Z  -
        ");
    }

    #[test]
    fn one_bundle_shows_its_files_and_its_tasks() {
        insta::assert_snapshot!(description(&used(bundle(), &[])).join("\n"), @"
        0f343b0931126a20f133d67c2b018a3b shop.zip
        uploaded 2026-03-04T12:00:00Z, 2.05 KiB, unpacked 5.00 MiB

        SIZE      FILE
        5.00 MiB  data/users.csv
        0 B       plan.jmx
        ");
        let used = used(bundle(), &["nightly", "load"]);
        assert_eq!(description(&used)[2], "used by nightly, load");
    }
}
