//! The program itself, as a shell sees it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::process::Command;

#[test]
fn a_disk_without_room_for_the_output_is_a_failure_and_no_panic() {
    for command in ["example", "check"] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_atq-director"))
            .args(["config", command])
            .env(
                "ATQ_CONFIG",
                concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/example.yaml"),
            )
            .stdout(full)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {told}");
        assert!(!told.contains("panicked"), "{command}: {told}");
    }
}
