#![allow(clippy::unwrap_used)]

use super::*;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use tempfile::TempDir;

/// A file system of some MiB; only root can have one, others skip the test.
pub struct SmallDisk(TempDir);

impl SmallDisk {
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

#[test]
fn uploads_are_refused_before_results_and_small_disks_can_be_used() {
    let large = 100 << 30;
    assert!(Content::Upload.reserve(large) > Content::Results.reserve(large));
    for total in [0, MIB, 16 * MIB] {
        assert!(Content::Upload.reserve(total) <= total / 2);
    }
}

#[test]
fn what_is_free_and_needed_stands_in_the_error() {
    enough(10 * MIB, 10 * MIB).unwrap();
    let error = enough(10 * MIB, 10 * MIB + 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let text = "the disk is full: 10 MiB are free, 11 MiB are needed";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_disk_that_does_not_report_its_room_has_some() {
    check(Path::new("/nowhere"), u64::MAX, Content::Upload).unwrap();
}
