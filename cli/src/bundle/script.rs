//! Detecting scripts with Windows line endings.

use super::pick::SourceFile;
use std::fs::File;
use std::io::Read;

/// Number of bytes checked per file.
const CHECKED_BYTES: u64 = 256;

/// Warnings for scripts whose first line ends with CR: their interpreter is not found, or fails on every line.
pub(super) fn warnings(files: &[SourceFile]) -> Vec<String> {
    let scripts = files.iter().filter(|file| {
        let mut begin = Vec::new();
        // Packing reports files that cannot be read.
        let read = File::open(&file.path)
            .and_then(|opened| opened.take(CHECKED_BYTES).read_to_end(&mut begin));
        read.is_ok() && has_carriage_return(&file.name, &begin)
    });
    scripts
        .map(|file| {
            format!(
                "`{}` is a script with Windows line endings (CRLF), which fails on Linux; convert it with `dos2unix`",
                file.name
            )
        })
        .collect()
}

fn has_carriage_return(name: &str, begin: &[u8]) -> bool {
    let is_script =
        begin.starts_with(b"#!") || [".sh", ".bash"].iter().any(|end| name.ends_with(end));
    let line = begin.split(|byte| *byte == b'\n').next();
    // Without a line ending, the first line may be incomplete.
    is_script && begin.contains(&b'\n') && line.is_some_and(|line| line.ends_with(b"\r"))
}

#[cfg(test)]
mod tests {
    use super::has_carriage_return;

    #[test]
    fn scripts_with_windows_line_endings_are_detected() {
        assert!(has_carriage_return("run", b"#!/bin/sh\r\necho\r\n"));
        assert!(has_carriage_return("run.sh", b"\r\nset -e\r\n"));
        for (name, text) in [
            ("run", &b"#!/bin/sh\necho\r\n"[..]),
            ("users.csv", b"a,b\r\n"),
            ("run", b"#!/bin/sh\r"),
            ("run.sh", b""),
        ] {
            assert!(!has_carriage_return(name, text), "{name}");
        }
    }
}
