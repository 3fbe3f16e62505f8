//! Human-readable lines. A closed output is not an error: the exit code still counts.

use std::io::Write;
use std::time::Duration;

/// Prints a line on standard output.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "atq-sync: {text}");
}

/// Prints a log_line, or a line of a worker, on standard error: the standard output of a worker belongs to its tool.
pub fn log_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "atq-sync: {text}");
}

/// A duration in milliseconds with three decimals below a second, in seconds with one above.
pub fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.3} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// A text from the network, without control characters and of at most 300 characters.
pub fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(300).map(clean).collect()
}

/// The beginning of a text, of at most this number of bytes.
pub fn shortened(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The message of the operating system, without the error number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_have_a_unit_that_fits() {
        assert_eq!(duration(Duration::from_micros(1234)), "1.234 ms");
        assert_eq!(duration(Duration::from_millis(30_100)), "30.1 s");
    }

    #[test]
    fn text_of_a_peer_is_shortened_and_has_no_control_characters() {
        assert_eq!(printable("a\x1b[31mb\n"), "a [31mb ");
        assert_eq!(printable(&"x".repeat(1000)).len(), 300);
        assert_eq!(shortened("aäb", 2), "a");
        assert_eq!(shortened("aäb", 9), "aäb");
    }
}
