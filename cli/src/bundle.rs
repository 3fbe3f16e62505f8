//! Bundles: a directory or a zip on its way to the Director.
//!
//! The id of a bundle is made of the zip's content, so it is known before anything is sent: what the Director has
//! is not sent again, and an upload may safely be repeated when the connection is lost. A directory is packed in
//! such a way that the same files always make the same zip: [`pick`] says which files, [`pack`] how. The zip is a
//! file without a name, so nothing of it is left however this program ends.

mod meter;
mod pack;
mod pick;
mod script;
mod send;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::director::segment;
use crate::out::Out;
use crate::trouble::Trouble;
use atq_bundle_archive::{BundleError, BundleId, Limits, scan};
use indicatif::HumanBytes;
use meter::Meter;
use reqwest::Method;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Everything: what is too large is for the Director to say, whose limits are its own.
const UNLIMITED: Limits = Limits {
    upload_bytes: u64::MAX,
    unpacked_bytes: u64::MAX,
    entries: u64::MAX,
};
/// Read at once.
const CHUNK: usize = 256 * 1024;

/// A bundle that the Director has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Brought {
    /// Its id.
    pub id: String,
    /// Whether it was sent: not, when the Director had it.
    pub uploaded: bool,
    /// Size of the zip in bytes.
    pub bytes: u64,
    /// Number of files in it.
    pub files: u64,
}

/// A zip that is ready to be sent.
#[derive(Debug)]
struct Zip {
    file: Arc<File>,
    /// What the Director is told as the file's name; ends with `.zip`.
    name: String,
    id: String,
    bytes: u64,
    files: u64,
}

/// Brings `path`, a directory or a zip, to the Director, unless it has that content. Gives the bundle's id.
///
/// # Errors
/// When it cannot be read or packed, or the Director does not take it.
pub async fn bring(context: &Context, path: &Path) -> Result<String, Trouble> {
    Ok(carry(context, path).await?.id)
}

/// The same, and tells more about it.
///
/// # Errors
/// When it cannot be read or packed, or the Director does not take it.
pub async fn carry(context: &Context, path: &Path) -> Result<Brought, Trouble> {
    let (out, owned) = (context.out, path.to_owned());
    let (source, name) = blocking(move || open(&owned)).await?;
    knock(context).await?;
    let zip = blocking(move || prepare(source, name, out)).await?;
    let had = has(context, &zip.id).await?;
    if had {
        context.out.progress(format!(
            "the Director has this bundle: {}, nothing is uploaded",
            zip.id
        ));
    } else {
        send::send(context, &zip).await?;
    }
    Ok(Brought {
        id: zip.id,
        uploaded: !had,
        bytes: zip.bytes,
        files: zip.files,
    })
}

/// Nobody wants to wait for the packing of a gigabyte to learn that no Director is there.
async fn knock(context: &Context) -> Result<(), Trouble> {
    let ping = context.director.request(Method::GET, "monitoring/ping")?;
    match context.director.send_again(ping).await {
        Err(away @ (Trouble::Unreachable { .. } | Trouble::Untrusted { .. })) => Err(away),
        _ => Ok(()),
    }
}

/// Whether the Director has the bundle.
async fn has(context: &Context, id: &str) -> Result<bool, Trouble> {
    let path = format!("databind/{}", segment(id));
    let request = context.director.request(Method::GET, &path)?;
    match context.director.send_again(request).await {
        Ok(_) => Ok(true),
        Err(trouble) if trouble.is_absence() => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let crashed = |error| Trouble::failed(format!("packing was cut off: {error}"), "");
    tokio::task::spawn_blocking(work).await.map_err(crashed)?
}

/// What is to be sent.
#[derive(Debug)]
enum Source {
    /// These files of a directory.
    Files(Vec<pick::Picked>),
    /// This zip, as it is.
    Zip(File),
}

/// What is at `path`, and the name under which it is sent.
fn open(path: &Path) -> Result<(Source, String), Trouble> {
    let shown = path.display();
    let root = path.canonicalize().map_err(|error| {
        let hint = "`--bundle` and `upload` take a directory or a zip";
        Trouble::usage(format!("`{shown}` cannot be read: {error}"), hint)
    })?;
    let name = root.file_name().map(|name| name.to_string_lossy());
    let name = zip_name(name.as_deref().unwrap_or("bundle"));
    if root.is_dir() {
        return Ok((Source::Files(pick::pick(&root, path)?), name));
    }
    let file = File::open(&root)
        .map_err(|error| Trouble::usage(format!("`{shown}` cannot be read: {error}"), ""))?;
    Ok((Source::Zip(file), name))
}

/// A bundle is given, and every service has one.
pub fn no_place(path: &Path) -> Trouble {
    Trouble::usage(
        format!(
            "`--bundle {}` has no place: no service lacks a `fileid`",
            path.display()
        ),
        "remove `fileid` from `master` or `worker`, or leave `--bundle` out",
    )
}

/// Looks whether there is a bundle at `path` that can be read.
///
/// # Errors
/// When there is none.
pub fn may_use(path: &Path) -> Result<(), Trouble> {
    open(path).map(drop)
}

/// The Director takes nothing else than `.zip`.
fn zip_name(name: &str) -> String {
    match name.to_ascii_lowercase().ends_with(".zip") {
        true => name.to_owned(),
        false => format!("{name}.zip"),
    }
}

/// Packs what is no zip yet, and looks at it as the Director will.
fn prepare(source: Source, name: String, out: Out) -> Result<Zip, Trouble> {
    let file = match source {
        Source::Files(files) => {
            for warning in script::warnings(&files) {
                out.progress(format!("warning: {warning}"));
            }
            Arc::new(pack::pack(&files, out)?)
        }
        Source::Zip(file) => Arc::new(file),
    };
    let refused = |error: BundleError| refused(&name, &error);
    let totals = scan(&file, &UNLIMITED).map_err(refused)?;
    let (id, bytes) = identify(&file)
        .map_err(|error| Trouble::failed(format!("`{name}` cannot be read: {error}"), ""))?;
    Ok(Zip {
        file,
        name,
        id,
        bytes,
        files: totals.files,
    })
}

fn refused(name: &str, error: &BundleError) -> Trouble {
    let text = error.to_string();
    let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    Trouble::usage(format!("`{name}` cannot be sent: {message}"), hint)
}

/// The id of a zip, and its size in bytes.
fn identify(file: &Arc<File>) -> io::Result<(String, u64)> {
    let mut reader = Positioned::new(Arc::clone(file));
    let (mut hash, mut buffer, mut bytes) = (Sha256::new(), vec![0; CHUNK], 0);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((BundleId::of(hash).to_string(), bytes)),
            count => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

/// A reader with a place of its own: the body of a try that was given up does not move that of the next.
#[derive(Debug)]
struct Positioned {
    file: Arc<File>,
    position: u64,
}

impl Positioned {
    /// At the beginning of the file.
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

/// A size as people read it.
pub fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}
