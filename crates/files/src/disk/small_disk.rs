#![allow(clippy::unwrap_used)]
//! A small file system for tests.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A mounted file system of a few MiB. Mounting requires root; otherwise the test is skipped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts a file system of `mib` MiB.
    pub fn mount(mib: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        let disk = done
            .is_ok_and(|out| out.status.success())
            .then(|| Self(dir));
        if disk.is_none() {
            eprintln!("skipped: mounting a file system requires root");
        }
        disk
    }

    /// Mount point.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills the disk except for `kib` KiB.
    pub fn fill_but(&self, kib: usize) {
        let mut file = File::create(self.ballast()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length - (kib as u64) * 1024).unwrap();
    }

    /// Frees the space taken by [`Self::fill_but`].
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
