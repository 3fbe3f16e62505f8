//! Meanings of the exit codes of shells and Docker.

/// Hint for exit code 127. With CRLF line ends the kernel searches for an interpreter with the CR in its name.
pub const NOT_FOUND: &str = "check that the image contains the program; `args` are appended to the entrypoint of the image; \
    a script also needs the interpreter named in its first line, which is not found with Windows line ends (CRLF): \
    `dos2unix` removes them";
/// Hint for exit code 126.
pub const NOT_EXECUTABLE: &str = "check that the program is executable; a script needs the executable bit (`chmod +x`), \
    or `/bin/sh` before it in `args`; `args` are appended to the entrypoint of the image";

/// The meaning of an exit code that shells or Docker assign; `None` for other codes.
pub fn meaning(code: i64) -> Option<&'static str> {
    match code {
        126 => Some("its command cannot be executed"),
        127 => Some("its command was not found"),
        137 => Some("killed: out of memory, or it did not end after SIGTERM"),
        143 => Some("ended by SIGTERM"),
        _ => None,
    }
}

/// The meaning of an exit code after a blank, in brackets; empty for other codes.
pub fn in_brackets(code: i64) -> String {
    meaning(code).map_or(String::new(), |meaning| format!(" ({meaning})"))
}

/// Formats a number of bytes in the largest unit that leaves no remainder: "16 MiB".
pub fn bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |(_, shift): &&(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match units.iter().find(fits) {
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_formatted_in_the_largest_whole_unit() {
        let formatted = [16 << 20, 3 << 30, 1536, 1000, 0].map(bytes);
        assert_eq!(
            formatted,
            ["16 MiB", "3 GiB", "1536 bytes", "1000 bytes", "0 bytes"]
        );
    }
}
