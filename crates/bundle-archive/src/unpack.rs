//! The second pass: writes the content to disk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use zip::ZipReadOptions;

use crate::error::BundleError;
use crate::scan::{self, Checked, Cursor};

const BUFFER: usize = 128 * 1024;
const DIRECTORY: u32 = 0o755;
const EXECUTABLE: u32 = 0o755;
const PLAIN: u32 = 0o644;

/// Unpacks a scanned archive into the empty directory `root`.
///
/// Modes are set regardless of the umask, because containers of any user must be able to read the files. Existing files
/// are never opened, so even a path that passed the scan by mistake cannot overwrite anything.
///
/// # Errors
/// If the archive differs from its directory, or on an I/O error. The caller removes the partial result.
pub fn unpack(zip: &Arc<File>, root: &Path) -> Result<(), BundleError> {
    let mut archive = scan::open(Arc::clone(zip))?;
    let mut unpacker = Unpacker {
        data: Cursor::new(Arc::clone(zip)),
        root,
        last_directory: String::new(),
        buffer: vec![0; BUFFER],
    };
    set_mode(root, DIRECTORY).map_err(BundleError::storage("prepare a directory"))?;
    for entry in archive.files().map_err(|e| scan::zip_error(None, e))? {
        unpacker.visit(scan::check(entry.map_err(|e| scan::zip_error(None, e))?)?)?;
    }
    Ok(())
}

struct Unpacker<'a> {
    data: Cursor,
    root: &'a Path,
    /// The directory of the previous entry, which most entries share.
    last_directory: String,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn visit(&mut self, checked: Checked<'_>) -> Result<(), BundleError> {
        let action = format!("unpack entry `{}`", checked.name.escape_debug());
        if checked.entry.is_dir() {
            return self
                .make_directory(&checked.path)
                .map_err(BundleError::storage(action));
        }
        let parent = checked
            .path
            .rsplit_once('/')
            .map_or("", |(parent, _)| parent);
        self.make_directory(parent)
            .map_err(BundleError::storage(action.clone()))?;
        self.write_file(checked, action)
    }

    fn make_directory(&mut self, path: &str) -> io::Result<()> {
        if path == self.last_directory {
            return Ok(());
        }
        let ends = path.match_indices('/').map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            let directory = self.root.join(&path[..end]);
            match fs::create_dir(&directory) {
                Ok(()) => set_mode(&directory, DIRECTORY)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        path.clone_into(&mut self.last_directory);
        Ok(())
    }

    fn write_file(&mut self, checked: Checked<'_>, action: String) -> Result<(), BundleError> {
        let mode = if checked.executable() {
            EXECUTABLE
        } else {
            PLAIN
        };
        let Checked { name, path, entry } = checked;
        let declared = entry.size();
        let mut from = entry
            .with_reader(&mut self.data, ZipReadOptions::new())
            .map_err(|e| scan::zip_error(Some(&name), e))?;
        let mut to =
            create(&self.root.join(path), mode).map_err(BundleError::storage(action.clone()))?;
        let mut written = 0;
        loop {
            let count =
                read(&mut from, &mut self.buffer).map_err(|e| scan::data_error(&name, e))?;
            if count == 0 {
                break;
            }
            written += count as u64;
            if written > declared {
                let reason = format!("contains more than the {declared} bytes it declares");
                return Err(BundleError::hostile(Some(&name), reason));
            }
            to.write_all(&self.buffer[..count])
                .map_err(BundleError::storage(action.clone()))?;
        }
        if written < declared {
            let reason = format!("contains {written} bytes but declares {declared}");
            return Err(BundleError::broken(Some(&name), reason));
        }
        Ok(())
    }
}

fn read(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}
