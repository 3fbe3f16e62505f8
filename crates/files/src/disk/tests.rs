#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn uploads_are_refused_before_results_and_small_disks_are_usable() {
    let large = 100 << 30;
    assert!(Content::Upload.reserve(large) > Content::Results.reserve(large));
    for total in [0, MIB, 16 * MIB] {
        assert!(Content::Upload.reserve(total) <= total / 2);
    }
}

#[test]
fn the_error_has_the_free_and_the_needed_space() {
    check_free(10 * MIB, 10 * MIB).unwrap();
    let error = check_free(10 * MIB, 10 * MIB + 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let text = "the disk is full: 10 MiB are free, 11 MiB are needed";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_disk_that_does_not_report_its_space_passes() {
    check(Path::new("/nowhere"), u64::MAX, Content::Upload).unwrap();
}
