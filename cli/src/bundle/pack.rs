//! Packing files into a reproducible zip: the same names, contents and executable bits always give the same bytes. Times,
//! owners and other permissions are not stored. (Another version of the library may compress differently. The zip then
//! has another id and is uploaded again.)

use super::pick::SourceFile;
use super::{CHUNK, Progress, UNLIMITED};
use crate::error::CliError;
use crate::out::Out;
use atq_bundle_archive::{BundleError, scan};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

const EXECUTABLE: u32 = 0o755;
const REGULAR: u32 = 0o644;
/// Larger files need ZIP64. Below 4 GiB, because incompressible data grows slightly.
const ZIP64_THRESHOLD: u64 = 0xf000_0000;

type Writer = ZipWriter<BufWriter<File>>;

/// Packs `files`, in this order, into an unnamed temporary file.
///
/// # Errors
/// When a file cannot be read, or the zip cannot be written.
pub fn pack(files: &[SourceFile], out: Out) -> Result<File, CliError> {
    let deflated = pack_as(files, CompressionMethod::Deflated, out)?;
    let shared = Arc::new(deflated);
    // Content with an extreme compression ratio, such as a file of zeros, is rejected as a zip bomb. It is stored instead.
    let is_suspicious = matches!(scan(&shared, &UNLIMITED), Err(BundleError::Hostile { .. }));
    match Arc::try_unwrap(shared) {
        Ok(file) if !is_suspicious => Ok(file),
        _ => pack_as(files, CompressionMethod::Stored, out),
    }
}

fn pack_as(files: &[SourceFile], method: CompressionMethod, out: Out) -> Result<File, CliError> {
    let total = files.iter().map(|file| file.bytes).sum();
    let progress = Progress::begin(out, &packing(files.len()), total);
    let mut zip = ZipWriter::new(BufWriter::new(tempfile::tempfile().map_err(write_failed)?));
    let mut buffer = vec![0; CHUNK];
    for file in files {
        add(&mut zip, file, method, &mut buffer, &progress)?;
    }
    let written = zip.finish().map_err(|error| write_failed(error.into()))?;
    let packed = written
        .into_inner()
        .map_err(|error| write_failed(error.into_error()))?;
    progress.end();
    Ok(packed)
}

fn packing(files: usize) -> String {
    match files {
        1 => "packing 1 file".to_owned(),
        files => format!("packing {files} files"),
    }
}

fn add(
    zip: &mut Writer,
    file: &SourceFile,
    method: CompressionMethod,
    buffer: &mut [u8],
    progress: &Progress,
) -> Result<(), CliError> {
    let unreadable =
        |error: io::Error| CliError::usage(format!("`{}` cannot be read: {error}", file.name), "");
    let mut content = File::open(&file.path).map_err(unreadable)?;
    zip.start_file(file.name.as_str(), options(file, method))
        .map_err(|error| write_failed(error.into()))?;
    loop {
        let count = content.read(buffer).map_err(unreadable)?;
        if count == 0 {
            return Ok(());
        }
        zip.write_all(&buffer[..count]).map_err(write_failed)?;
        progress.add(count as u64);
    }
}

fn options(file: &SourceFile, method: CompressionMethod) -> SimpleFileOptions {
    let mode = match file.executable {
        true => EXECUTABLE,
        false => REGULAR,
    };
    SimpleFileOptions::default()
        .compression_method(method)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(mode)
        .large_file(file.bytes >= ZIP64_THRESHOLD)
}

fn write_failed(error: io::Error) -> CliError {
    let place = std::env::temp_dir();
    CliError::failed(
        format!("the zip cannot be written: {error}"),
        format!(
            "it is written to `{}`; set `TMPDIR` to use another directory",
            place.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::packing;

    #[test]
    fn a_single_file_is_named_in_the_singular() {
        assert_eq!([1, 2].map(packing), ["packing 1 file", "packing 2 files"]);
    }
}
