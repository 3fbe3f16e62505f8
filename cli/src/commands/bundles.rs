//! `atq bundles`.

use crate::Context;
use crate::args::Bundles;
use crate::bundle::size;
use crate::director::segment;
use crate::exit::Exit;
use crate::table::{NOTHING, table};
use crate::trouble::Trouble;
use atq_api_spec::bundle::{BundleDetails, Upload};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::Duration;

/// Bundles looked at at the same time.
const AT_ONCE: usize = 4;
/// A bundle is removed from all nodes before the answer comes.
const REMOVAL: Duration = Duration::from_secs(100);

/// Lists all bundles, shows one, or removes one.
///
/// # Errors
/// When there is no such bundle, a task uses it, or no Director answers.
pub async fn bundles(context: &Context, args: &Bundles) -> Result<Exit, Trouble> {
    match (&args.id, args.rm) {
        (Some(id), true) => remove(context, id).await?,
        (Some(id), false) => show(context, id).await?,
        (None, _) => list(context).await?,
    }
    Ok(Exit::Pass)
}

async fn remove(context: &Context, id: &str) -> Result<(), Trouble> {
    context.director.remove(&path(id), REMOVAL).await?;
    context.out.line(id);
    context.out.result(&json!({ "id": id, "removed": true }));
    Ok(())
}

async fn show(context: &Context, id: &str) -> Result<(), Trouble> {
    let bundle: BundleDetails = context.director.get(&path(id)).await?;
    for line in description(&bundle) {
        context.out.line(line);
    }
    context.out.result(&bundle);
    Ok(())
}

async fn list(context: &Context) -> Result<(), Trouble> {
    let request = context.director.request(Method::GET, "databind/list")?;
    let response = context.director.send_again(request).await?;
    let uploads: Vec<Upload> = match response.status() {
        StatusCode::NO_CONTENT => Vec::new(),
        _ => context.director.read(response).await?,
    };
    let bundles: Vec<BundleDetails> = stream::iter(uploads)
        .map(|upload| details(context, upload.id))
        .buffered(AT_ONCE)
        .try_filter_map(async |bundle| Ok(bundle))
        .try_collect()
        .await?;
    if bundles.is_empty() {
        context.out.progress("the Director has no bundle");
    } else {
        for line in overview(&bundles) {
            context.out.line(line);
        }
    }
    context.out.result(&bundles);
    Ok(())
}

/// Nothing, when it was removed since the list was made.
async fn details(context: &Context, id: String) -> Result<Option<BundleDetails>, Trouble> {
    match context.director.get(&path(&id)).await {
        Err(trouble) if trouble.is_absence() => Ok(None),
        answered => answered.map(Some),
    }
}

fn path(id: &str) -> String {
    format!("databind/{}", segment(id))
}

fn overview(bundles: &[BundleDetails]) -> Vec<String> {
    let rows: Vec<_> = bundles
        .iter()
        .map(|bundle| {
            [
                bundle.id.clone(),
                file_name(bundle),
                zip_size(bundle),
                bundle.files.len().to_string(),
                bundle.created_at.clone(),
            ]
        })
        .collect();
    table(["ID", "FILE", "SIZE", "FILES", "UPLOADED"], &rows)
}

fn description(bundle: &BundleDetails) -> Vec<String> {
    let mut lines = vec![
        format!("{} {}", bundle.id, file_name(bundle)),
        format!(
            "uploaded {}, {}, unpacked {}",
            bundle.created_at,
            zip_size(bundle),
            size(bundle.unpacked_bytes)
        ),
        String::new(),
    ];
    let rows: Vec<_> = bundle
        .files
        .iter()
        .map(|file| [size(file.bytes), file.path.clone()])
        .collect();
    lines.extend(table(["SIZE", "FILE"], &rows));
    lines
}

fn file_name(bundle: &BundleDetails) -> String {
    let name = bundle.file_name.clone();
    name.unwrap_or_else(|| NOTHING.to_owned())
}

fn zip_size(bundle: &BundleDetails) -> String {
    bundle.bytes.map_or_else(|| NOTHING.to_owned(), size)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn all_bundles_are_a_table() {
        let lost = BundleDetails {
            file_name: None,
            bytes: None,
            files: Vec::new(),
            ..bundle()
        };
        insta::assert_snapshot!(overview(&[bundle(), lost]).join("\n"), @"
        ID                                FILE      SIZE      FILES  UPLOADED
        0f343b0931126a20f133d67c2b018a3b  shop.zip  2.05 KiB  2      2026-03-04T12:00:00Z
        0f343b0931126a20f133d67c2b018a3b  -         -         0      2026-03-04T12:00:00Z
        ");
    }

    #[test]
    fn one_bundle_shows_its_files() {
        insta::assert_snapshot!(description(&bundle()).join("\n"), @"
        0f343b0931126a20f133d67c2b018a3b shop.zip
        uploaded 2026-03-04T12:00:00Z, 2.05 KiB, unpacked 5.00 MiB

        SIZE      FILE
        5.00 MiB  data/users.csv
        0 B       plan.jmx
        ");
    }
}
