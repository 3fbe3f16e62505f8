//! Sanitises untrusted text: escapes invisible characters, shortens long texts, and isolates writing directions.
//! The template escapes HTML.

use maud::{Markup, html};

/// Displayed characters of a name.
const SHOWN_CHARS: usize = 80;
/// Characters of all full names in one table.
const TABLE_CHARS: usize = 300_000;
/// Maximum characters of a full name.
const MAX_NAME_CHARS: usize = 12_000;

/// A name for display, with its full text as title if it is too long. `of` is the number of
/// names in the same table, which share the budget for full texts.
pub(super) fn name(text: &str, of: usize) -> Markup {
    let clean = visible(text);
    if clean.is_empty() {
        return html! { span.none { "(empty)" } };
    }
    match shortened(&clean, SHOWN_CHARS) {
        None => html! { bdi { (clean) } },
        Some(short) => {
            let budget = (TABLE_CHARS / of.max(1)).clamp(SHOWN_CHARS, MAX_NAME_CHARS);
            let title = shortened(&clean, budget).unwrap_or(clean);
            html! { bdi title=(title) { (short) } }
        }
    }
}

/// A name for a narrow place.
pub(super) fn short(text: &str) -> String {
    let clean = visible(text);
    shortened(&clean, SHOWN_CHARS / 4).unwrap_or(clean)
}

/// An untrusted sentence, which may be longer than a name.
pub(super) fn sentence(text: &str) -> Markup {
    let clean = visible(text);
    let short = shortened(&clean, 1000);
    html! { bdi { (short.unwrap_or(clean)) } }
}

/// Escapes characters that are invisible or change the writing direction.
pub(super) fn visible(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => clean.extend(c.escape_default()),
            _ if is_hidden(c) => clean.extend(c.escape_unicode()),
            _ => clean.push(c),
        }
    }
    clean
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// The beginning, the end and the length, if there are more than `limit` characters.
fn shortened(text: &str, limit: usize) -> Option<String> {
    let length = text.chars().count();
    // The replacement must be shorter than the omitted text.
    if length <= limit + 30 {
        return None;
    }
    let tail = limit / 4;
    let head: String = text.chars().take(limit - tail).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    let length = super::number::count(length as u64);
    Some(format!("{head} … {tail} ({length} characters)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        let shown = name("<script>alert(\"1\")</script> & 'x' ]]>", 1).into_string();
        assert_eq!(
            shown,
            "<bdi>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; 'x' ]]&gt;</bdi>"
        );
    }

    #[test]
    fn invisible_characters_are_escaped() {
        assert_eq!(visible("a\u{202e}b\u{0}c\nd"), "a\\u{202e}b\\u{0}c\\nd");
        assert_eq!(visible("\u{ffff}\u{1fffe}"), "\\u{ffff}\\u{1fffe}");
        assert_eq!(visible("שלום, κόσμε 🌍"), "שלום, κόσμε 🌍");
    }

    #[test]
    fn a_long_name_is_shortened_but_its_title_is_not() {
        let long = "x".repeat(10_240);
        let shown = name(&long, 1).into_string();
        assert!(shown.contains(&format!("title=\"{long}\"")), "{shown}");
        assert!(shown.contains("x (10,240 characters)</bdi>"), "{shown}");
    }

    #[test]
    fn many_long_names_share_the_budget() {
        let long = "x".repeat(10_240);
        assert!(name(&long, 2000).into_string().len() < 500);
    }
}
