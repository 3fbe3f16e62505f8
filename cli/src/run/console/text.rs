//! Lines of a terminal: styled, without control characters, measured in columns.

use crate::terminal;
use anstyle::Style;
use std::fmt;
use unicode_width::UnicodeWidthChar;

/// Replaces the part that was cut out.
const ELLIPSIS: &str = "...";
/// The character that turns the one before it into a picture, which is two columns wide.
const EMOJI_PRESENTATION: char = '\u{fe0f}';

/// One line. Its text has no line break, tab or other control character: they are escaped when it is added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    /// A line without a style.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::default().and(Style::new(), text)
    }

    /// A line with a style.
    pub fn styled(style: Style, text: impl AsRef<str>) -> Self {
        Self::default().and(style, text)
    }

    /// The line with more text at its end.
    #[must_use]
    pub fn and(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.0.push((style, one_line(text.as_ref())));
        self
    }

    /// The line with another one at its end.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The width in columns.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// The line, shortened at its end to this number of columns.
    #[must_use]
    pub fn cut(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let dots = prefix(ELLIPSIS, columns);
        let mut left = columns - width(dots);
        let mut parts = Vec::new();
        for (style, text) in self.0 {
            let kept = prefix(&text, left);
            let is_whole = kept.len() == text.len();
            left -= width(kept);
            parts.push((style, kept.to_owned()));
            if !is_whole {
                break;
            }
        }
        parts.push((Style::new(), dots.to_owned()));
        Self(parts)
    }

    /// The text without styles.
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// The text with the escape sequences of its styles.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (style, text) in &self.0 {
            write!(f, "{style}{text}{style:#}")?;
        }
        Ok(())
    }
}

/// Escapes all control characters of untrusted text, including line breaks and tabs.
pub fn one_line(text: &str) -> String {
    let escaped = terminal::sanitize(text);
    escaped.replace('\n', "\\u000a").replace('\t', "\\u0009")
}

/// The width of text in columns of a terminal. Sequences that some terminals draw as one picture count as wide as their
/// parts: too wide rather than too narrow, because a line that is too long would break the display.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match c {
        EMOJI_PRESENTATION => 1,
        c => c.width().unwrap_or(0),
    }
}

/// The text, shortened in its middle to this number of columns: labels often differ at their end.
pub fn cut_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(rest) = columns.checked_sub(ELLIPSIS.len()) else {
        return prefix(text, columns).to_owned();
    };
    let head = prefix(text, rest.div_ceil(2));
    let tail = suffix(text, rest - width(head));
    format!("{head}{ELLIPSIS}{tail}")
}

/// The longest beginning with at most this width.
fn prefix(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += char_width(c);
        if used > columns {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// The longest end with at most this width. It does not begin with a mark that belongs to the character before it.
fn suffix(text: &str, columns: usize) -> &str {
    let (mut used, mut begin) = (0, text.len());
    for (at, c) in text.char_indices().rev() {
        used += char_width(c);
        if used > columns {
            break;
        }
        begin = at;
    }
    let end = text.get(begin..).unwrap_or_default();
    end.trim_start_matches(|c| c == EMOJI_PRESENTATION || char_width(c) == 0)
}

/// Fills text to this width on its left.
pub fn right(text: &str, columns: usize) -> String {
    let fill = columns.saturating_sub(width(text));
    format!("{:fill$}{text}", "")
}

/// Fills text to this width on its right.
pub fn left(text: &str, columns: usize) -> String {
    let fill = columns.saturating_sub(width(text));
    format!("{text}{:fill$}", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::FAILURE;
    use proptest::prelude::*;

    #[test]
    fn wide_characters_have_two_columns_and_marks_none() {
        for (text, columns) in [
            ("abc", 3),
            ("löad", 4),
            ("e\u{301}", 1),
            ("日本", 4),
            ("😀", 2),
            ("❤\u{fe0f}", 2),
            ("", 0),
        ] {
            assert_eq!(width(text), columns, "{text}");
        }
    }

    #[test]
    fn long_labels_are_cut_in_the_middle() {
        for (text, columns, expected) in [
            ("GET /cart", 9, "GET /cart"),
            ("GET /cart/items/checkout", 13, "GET /...ckout"),
            ("日本語のラベル", 9, "日...ベル"),
            ("ae\u{301}e\u{301}e\u{301}b", 4, "a..."),
            ("abcdef", 3, "..."),
            ("abcdef", 2, "ab"),
            ("abcdef", 0, ""),
        ] {
            assert_eq!(cut_middle(text, columns), expected);
        }
    }

    #[test]
    fn control_characters_are_escaped_also_line_breaks() {
        let line = Line::plain("a\nb\tc\u{1b}[2J").and(FAILURE, "\u{202e}x");
        assert_eq!(line.text(), "a\\u000ab\\u0009c\\u001b[2J\\u202ex");
    }

    #[test]
    fn a_cut_line_keeps_its_styles() {
        let line = Line::plain("fails ").and(FAILURE, "p95 < 500ms");
        assert_eq!(line.clone().cut(12).text(), "fails p95...");
        let shown = line.cut(12).to_string();
        assert_eq!(shown, format!("fails {FAILURE}p95{FAILURE:#}..."));
    }

    proptest! {
        #[test]
        fn no_cut_is_wider_than_allowed(text in "\\PC{0,40}", columns in 0_usize..30) {
            prop_assert!(width(&cut_middle(&text, columns)) <= columns);
            let line = Line::plain(&text).and(FAILURE, &text);
            prop_assert!(line.cut(columns).width() <= columns);
        }

        #[test]
        fn text_that_fits_is_not_changed(text in "[a-z日]{0,20}") {
            let columns = width(&text);
            prop_assert_eq!(cut_middle(&text, columns), text);
        }
    }
}
