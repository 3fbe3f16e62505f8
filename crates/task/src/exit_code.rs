//! Words for the exit codes that shells and Docker give.

/// What helps against 127. The kernel looks for an interpreter with the CR in its name.
pub const NOT_FOUND: &str = "does the image have that program? `args` follow the entrypoint of the image; \
    a script also needs the interpreter that its first line names, and is not found with Windows line ends (CRLF): \
    `dos2unix` removes them";
/// What helps against 126.
pub const NOT_EXECUTABLE: &str = "may that program be executed? A script needs the executable bit (`chmod +x`), \
    or `/bin/sh` before it in `args`; `args` follow the entrypoint of the image";

/// What the code of a process says beyond its number, if it says something.
pub fn meaning(code: i64) -> Option<&'static str> {
    match code {
        126 => Some("its command cannot be executed"),
        127 => Some("its command was not found"),
        137 => Some("killed: out of memory, or it did not end after SIGTERM"),
        143 => Some("ended by SIGTERM"),
        _ => None,
    }
}

/// A number of bytes in the largest unit that has no remainder: "16 MiB".
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
    fn bytes_are_told_in_the_largest_whole_unit() {
        let told = [16 << 20, 3 << 30, 1536, 1000, 0].map(bytes);
        assert_eq!(
            told,
            ["16 MiB", "3 GiB", "1536 bytes", "1000 bytes", "0 bytes"]
        );
    }
}
