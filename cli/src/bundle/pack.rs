//! How files become a zip: always the same bytes for the same names, contents and executable bits. Times, owners and
//! other permissions are not in it. (Another version of the library may compress in another way; then the zip has
//! another id and is sent once more, which does no harm.)

use super::pick::Picked;
use super::{CHUNK, Meter, UNLIMITED};
use crate::out::Out;
use crate::trouble::Trouble;
use atq_bundle_archive::{BundleError, scan};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

const EXECUTABLE: u32 = 0o755;
const PLAIN: u32 = 0o644;
/// Larger files need the long form of the zip format. Well below 4 GiB, as incompressible data grows a little.
const LARGE: u64 = 0xf000_0000;

type Writer = ZipWriter<BufWriter<File>>;

/// Packs `files`, in this order, into a file without a name.
///
/// # Errors
/// When one cannot be read, or there is no space for the zip.
pub fn pack(files: &[Picked], out: Out) -> Result<File, Trouble> {
    let deflated = pack_as(files, CompressionMethod::Deflated, out)?;
    let shared = Arc::new(deflated);
    // What shrinks too well is taken for a zip bomb: a file of zeros, for example. It may go as it is.
    let too_small = matches!(scan(&shared, &UNLIMITED), Err(BundleError::Hostile { .. }));
    match Arc::try_unwrap(shared) {
        Ok(file) if !too_small => Ok(file),
        _ => pack_as(files, CompressionMethod::Stored, out),
    }
}

fn pack_as(files: &[Picked], method: CompressionMethod, out: Out) -> Result<File, Trouble> {
    let total = files.iter().map(|file| file.bytes).sum();
    let meter = Meter::begin(out, &format!("packing {} files", files.len()), total);
    let mut zip = ZipWriter::new(BufWriter::new(tempfile::tempfile().map_err(no_space)?));
    let mut buffer = vec![0; CHUNK];
    for file in files {
        add(&mut zip, file, method, &mut buffer, &meter)?;
    }
    let written = zip.finish().map_err(|error| no_space(error.into()))?;
    let packed = written
        .into_inner()
        .map_err(|error| no_space(error.into_error()))?;
    meter.end();
    Ok(packed)
}

fn add(
    zip: &mut Writer,
    file: &Picked,
    method: CompressionMethod,
    buffer: &mut [u8],
    meter: &Meter,
) -> Result<(), Trouble> {
    let unreadable =
        |error: io::Error| Trouble::usage(format!("`{}` cannot be read: {error}", file.name), "");
    let mut content = File::open(&file.path).map_err(unreadable)?;
    zip.start_file(file.name.as_str(), options(file, method))
        .map_err(|error| no_space(error.into()))?;
    loop {
        let count = content.read(buffer).map_err(unreadable)?;
        if count == 0 {
            return Ok(());
        }
        zip.write_all(&buffer[..count]).map_err(no_space)?;
        meter.add(count as u64);
    }
}

fn options(file: &Picked, method: CompressionMethod) -> SimpleFileOptions {
    let mode = match file.executable {
        true => EXECUTABLE,
        false => PLAIN,
    };
    SimpleFileOptions::default()
        .compression_method(method)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(mode)
        .large_file(file.bytes >= LARGE)
}

fn no_space(error: io::Error) -> Trouble {
    let place = std::env::temp_dir();
    Trouble::failed(
        format!("the zip cannot be written: {error}"),
        format!(
            "it is packed in `{}`; `TMPDIR` names another place",
            place.display()
        ),
    )
}
