//! Uploading bundles from a directory or a zip.
//!
//! The id of a bundle is a hash of the zip, so it is known before the upload: existing bundles are not uploaded again, and
//! an upload can be repeated safely after a lost connection. A directory is packed reproducibly, so that the same files always
//! give the same zip: `pick` selects the files, `pack` packs them. The zip is an unnamed temporary file, which the
//! kernel removes with the process.

mod pack;
mod pick;
mod progress;
mod script;
mod send;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::error::CliError;
use crate::out::Out;
use crate::path::segment;
use atq_bundle_archive::{BundleError, BundleId, Limits, each_file, scan};
use indicatif::HumanBytes;
use progress::Progress;
use reqwest::Method;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// No limits here: the Director enforces its own.
const UNLIMITED: Limits = Limits {
    upload_bytes: u64::MAX,
    unpacked_bytes: u64::MAX,
    entries: u64::MAX,
};
/// Size of a read.
const CHUNK: usize = 256 * 1024;

/// A bundle at the Director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadResult {
    /// The bundle's id.
    pub id: String,
    /// Whether it was uploaded; `false` if the Director had it already.
    pub uploaded: bool,
    /// Size of the zip in bytes.
    pub bytes: u64,
    /// Number of files in it.
    pub files: u64,
}

/// A zip that is ready to upload.
#[derive(Debug)]
struct Zip {
    file: Arc<File>,
    /// The file name for the upload; ends with `.zip`.
    name: String,
    id: String,
    bytes: u64,
    files: u64,
}

/// Uploads `path`, a directory or a zip, unless the Director has its content.
///
/// # Errors
/// When it cannot be read or packed, or the Director rejects it.
pub async fn upload(context: &Context, path: &Path) -> Result<UploadResult, CliError> {
    let (out, opened, packed) = (context.out, path.to_owned(), path.to_owned());
    let (source, name) = blocking(move || open(&opened)).await?;
    check_reachable(context).await?;
    let zip = blocking(move || prepare(source, name, &packed, out)).await?;
    let exists = exists(context, &zip.id).await?;
    if exists {
        context
            .out
            .progress(format!("bundle {} is unchanged; upload skipped", zip.id));
    } else {
        send::send(context, &zip).await?;
    }
    Ok(UploadResult {
        id: zip.id,
        uploaded: !exists,
        bytes: zip.bytes,
        files: zip.files,
    })
}

/// Fails early when the Director is unreachable, before a large directory is packed.
async fn check_reachable(context: &Context) -> Result<(), CliError> {
    let ping = context.director.request(Method::GET, "monitoring/ping")?;
    match context.director.send_with_retries(ping).await {
        Err(
            error @ (CliError::Unreachable { .. }
            | CliError::Untrusted { .. }
            | CliError::Denied { .. }),
        ) => Err(error),
        _ => Ok(()),
    }
}

/// Whether the Director has the bundle.
async fn exists(context: &Context, id: &str) -> Result<bool, CliError> {
    let path = format!("databind/{}", segment(id));
    let request = context.director.request(Method::GET, &path)?;
    match context.director.send_with_retries(request).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    let crashed = |error| CliError::failed(format!("packing was aborted: {error}"), "");
    tokio::task::spawn_blocking(work).await.map_err(crashed)?
}

/// The source of an upload.
#[derive(Debug)]
enum Source {
    /// Files of a directory.
    Files(Vec<pick::SourceFile>),
    /// An existing zip, unchanged.
    Zip(File),
}

/// Opens `path`; also returns the file name for the upload.
fn open(path: &Path) -> Result<(Source, String), CliError> {
    let shown = path.display();
    let root = path.canonicalize().map_err(|error| {
        let hint = "`--bundle` and `upload` take a directory or a zip";
        CliError::usage(format!("`{shown}` cannot be read: {error}"), hint)
    })?;
    let name = root.file_name().map(|name| name.to_string_lossy());
    let name = zip_name(name.as_deref().unwrap_or("bundle"));
    if root.is_dir() {
        return Ok((Source::Files(pick::pick(&root, path)?), name));
    }
    let file = File::open(&root)
        .map_err(|error| CliError::usage(format!("`{shown}` cannot be read: {error}"), ""))?;
    Ok((Source::Zip(file), name))
}

/// An error for a bundle that no service can use.
pub fn unused_bundle(path: &Path) -> CliError {
    CliError::usage(
        format!(
            "`--bundle {}` is not used: every service has a `fileid`",
            path.display()
        ),
        "remove `fileid` from `master` or `worker`, or omit `--bundle`",
    )
}

/// The paths of the files in the bundle `path`, a directory or a zip.
///
/// # Errors
/// When it cannot be read, or the Director would reject it with any configuration.
pub fn files(path: &Path) -> Result<BTreeSet<String>, CliError> {
    match open(path)?.0 {
        Source::Files(files) => Ok(files.into_iter().map(|file| file.name).collect()),
        Source::Zip(file) => files_of_zip(&Arc::new(file)).map_err(|error| refused(path, &error)),
    }
}

fn files_of_zip(zip: &Arc<File>) -> Result<BTreeSet<String>, BundleError> {
    scan(zip, &UNLIMITED)?;
    let mut files = BTreeSet::new();
    each_file(zip, |path| {
        files.insert(path.to_owned());
    })?;
    Ok(files)
}

/// The Director accepts only names that end with `.zip`.
fn zip_name(name: &str) -> String {
    match name.to_ascii_lowercase().ends_with(".zip") {
        true => name.to_owned(),
        false => format!("{name}.zip"),
    }
}

/// Packs a directory, and validates the zip as the Director does; `path` is named in errors.
fn prepare(source: Source, name: String, path: &Path, out: Out) -> Result<Zip, CliError> {
    let file = match source {
        Source::Files(files) => {
            for warning in script::warnings(&files) {
                out.progress(format!("warning: {warning}"));
            }
            Arc::new(pack::pack(&files, out)?)
        }
        Source::Zip(file) => Arc::new(file),
    };
    let refused = |error: BundleError| refused(path, &error);
    let totals = scan(&file, &UNLIMITED).map_err(refused)?;
    let (id, bytes) = identify(&file).map_err(|error| {
        CliError::failed(format!("`{}` cannot be read: {error}", path.display()), "")
    })?;
    Ok(Zip {
        file,
        name,
        id,
        bytes,
        files: totals.files,
    })
}

fn refused(path: &Path, error: &BundleError) -> CliError {
    let shown = path.display();
    let text = error.to_string();
    let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    CliError::usage(format!("`{shown}` cannot be uploaded: {message}"), hint)
}

/// The id and the size of a zip.
fn identify(file: &Arc<File>) -> io::Result<(String, u64)> {
    let mut reader = BufReader::with_capacity(CHUNK, Positioned::new(Arc::clone(file)));
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut reader, &mut hash)?;
    Ok((BundleId::of(hash).to_string(), bytes))
}

/// A reader with its own position, so that an aborted attempt does not affect the next one.
#[derive(Debug)]
struct Positioned {
    file: Arc<File>,
    position: u64,
}

impl Positioned {
    /// Starts at the beginning of the file.
    fn new(file: Arc<File>) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A human-readable size.
pub fn format_size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}
