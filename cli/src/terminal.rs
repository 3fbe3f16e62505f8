//! Text for a terminal. Container names, log lines and messages are untrusted and may contain control sequences, which move
//! the cursor, change the title or reverse text. They are escaped.

use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::os::fd::AsFd;

/// Success.
pub const SUCCESS: Style = AnsiColor::Green.on_default().bold();
/// Failure.
pub const FAILURE: Style = AnsiColor::Red.on_default().bold();
/// A warning.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Secondary text.
pub const DIM: Style = Style::new().dimmed();
/// Sources of log lines.
pub const SOURCES: [Style; 5] = [
    AnsiColor::Yellow.on_default(),
    AnsiColor::Cyan.on_default(),
    AnsiColor::Green.on_default(),
    AnsiColor::Magenta.on_default(),
    AnsiColor::Blue.on_default(),
];

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Number of columns.
    pub columns: usize,
    /// Number of rows.
    pub rows: usize,
}

impl Size {
    /// The size of the terminal behind a stream; `None` if it is not a terminal, or does not know its size.
    pub fn of(stream: impl AsFd) -> Option<Self> {
        let size = rustix::termios::tcgetwinsize(stream).ok()?;
        let (columns, rows) = (size.ws_col.into(), size.ws_row.into());
        (columns > 0 && rows > 0).then_some(Self { columns, rows })
    }
}

/// Escapes untrusted text: every control character except line break and tab, and every bidirectional control character,
/// as `\u001b`.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    match text.chars().any(is_control) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.chars().fold(String::new(), push_escaped)),
    }
}

/// Escapes a line of this program that contains untrusted text, but keeps the program's own colours.
pub fn sanitize_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let own = own_styles();
    let (mut rest, mut out) = (text, String::new());
    while let Some(c) = rest.chars().next() {
        let style = own.iter().find(|style| rest.starts_with(style.as_str()));
        let taken = match style {
            Some(style) => {
                out.push_str(style);
                style.len()
            }
            None => {
                out = push_escaped(out, c);
                c.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// The escape sequences of the program's own styles, including the reset.
fn own_styles() -> Vec<String> {
    let styles = [SUCCESS, FAILURE, WARNING, DIM].into_iter().chain(SOURCES);
    let mut written: Vec<String> = styles.map(|style| style.to_string()).collect();
    written.push(format!("{SUCCESS:#}"));
    written
}

fn push_escaped(mut text: String, c: char) -> String {
    match is_control(c) {
        true => text += &format!("\\u{:04x}", u32::from(c)),
        false => text.push(c),
    }
    text
}

/// C0, C1 and DEL, line and paragraph separators, and bidirectional control characters.
fn is_control(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        for (text, expected) in [
            ("plain ä😀\t\n", "plain ä😀\t\n"),
            ("a\u{1b}[2Jb", "a\\u001b[2Jb"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("\u{9b}31m\u{85}\u{7f}", "\\u009b31m\\u0085\\u007f"),
            ("a\rb\u{8}\u{0}", "a\\u000db\\u0008\\u0000"),
            ("\u{202e}evil\u{2066}\u{200f}", "\\u202eevil\\u2066\\u200f"),
        ] {
            assert_eq!(sanitize(text), expected);
            assert_eq!(sanitize_line(text), expected);
        }
    }

    #[test]
    fn only_the_colours_of_this_program_are_kept() {
        let text = format!("{FAILURE}error:{FAILURE:#} \u{1b}[8mhidden\u{1b}[1A {DIM}x{DIM:#}");
        let seen = format!("{FAILURE}error:{FAILURE:#} \\u001b[8mhidden\\u001b[1A {DIM}x{DIM:#}");
        assert_eq!(sanitize_line(&text), seen);
        // In untrusted text even those are escaped.
        assert!(!sanitize(&format!("{FAILURE}x{FAILURE:#}")).contains('\u{1b}'));
    }

    #[test]
    fn escaped_json_is_still_json() {
        let value = serde_json::json!({"name": "a\u{1b}\u{9b}\u{202e}b"});
        let text = value.to_string();
        let seen: serde_json::Value =
            serde_json::from_str(&sanitize_line(&text)).unwrap_or_default();
        assert_eq!(seen, value);
        assert!(!sanitize_line(&text).chars().any(is_control));
    }
}
