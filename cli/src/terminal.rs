//! Text for a terminal. Container names, log lines and messages come from elsewhere, and a terminal obeys what it
//! reads: it moves its cursor, changes its title, or turns text around. What it would obey is shown instead.

use anstyle::{AnsiColor, Style};
use std::borrow::Cow;

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What should be looked at.
pub const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
/// What is said by the way.
pub const ASIDE: Style = Style::new().dimmed();
/// Where log lines come from.
pub const SOURCES: [Style; 5] = [
    AnsiColor::Yellow.on_default(),
    AnsiColor::Cyan.on_default(),
    AnsiColor::Green.on_default(),
    AnsiColor::Magenta.on_default(),
    AnsiColor::Blue.on_default(),
];

/// Text of unknown origin: every control character but line break and tab, and every character that changes the
/// direction of what follows, as `\u001b`.
pub fn foreign(text: &str) -> Cow<'_, str> {
    match text.chars().any(is_obeyed) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.chars().fold(String::new(), shown)),
    }
}

/// A line of this program with such text in it: only its own colours stay.
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
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
                out = shown(out, c);
                c.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// As they are written, and what ends them all.
fn own_styles() -> Vec<String> {
    let styles = [GOOD, BAD, DOUBT, ASIDE].into_iter().chain(SOURCES);
    let mut written: Vec<String> = styles.map(|style| style.to_string()).collect();
    written.push(format!("{GOOD:#}"));
    written
}

fn shown(mut text: String, c: char) -> String {
    match is_obeyed(c) {
        true => text += &format!("\\u{:04x}", u32::from(c)),
        false => text.push(c),
    }
    text
}

/// C0 and C1 with DEL, separators of lines and paragraphs, and what sets the direction of text.
fn is_obeyed(c: char) -> bool {
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
    fn what_a_terminal_obeys_is_shown() {
        for (text, seen) in [
            ("plain ä😀\t\n", "plain ä😀\t\n"),
            ("a\u{1b}[2Jb", "a\\u001b[2Jb"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("\u{9b}31m\u{85}\u{7f}", "\\u009b31m\\u0085\\u007f"),
            ("a\rb\u{8}\u{0}", "a\\u000db\\u0008\\u0000"),
            ("\u{202e}evil\u{2066}\u{200f}", "\\u202eevil\\u2066\\u200f"),
        ] {
            assert_eq!(foreign(text), seen);
            assert_eq!(line(text), seen);
        }
    }

    #[test]
    fn the_colours_of_this_program_stay_and_no_others() {
        let text = format!("{BAD}error:{BAD:#} \u{1b}[8mhidden\u{1b}[1A {ASIDE}x{ASIDE:#}");
        let seen = format!("{BAD}error:{BAD:#} \\u001b[8mhidden\\u001b[1A {ASIDE}x{ASIDE:#}");
        assert_eq!(line(&text), seen);
        // In what comes from elsewhere not even those.
        assert!(!foreign(&format!("{BAD}x{BAD:#}")).contains('\u{1b}'));
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({"name": "a\u{1b}\u{9b}\u{202e}b"});
        let text = value.to_string();
        let seen: serde_json::Value = serde_json::from_str(&line(&text)).unwrap_or_default();
        assert_eq!(seen, value);
        assert!(!line(&text).chars().any(is_obeyed));
    }
}
