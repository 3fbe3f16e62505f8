#![allow(clippy::unwrap_used)]
//! A small disk, for tests.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A file system of some MiB; only root can have one, others skip the test.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one of so many MiB.
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
            eprintln!("not tested: mounting a file system needs more rights");
        }
        disk
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes everything but so many KiB.
    pub fn fill_but(&self, kib: usize) {
        let mut file = File::create(self.ballast()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length - (kib as u64) * 1024).unwrap();
    }

    /// Gives back what [`Self::fill_but`] has taken.
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
