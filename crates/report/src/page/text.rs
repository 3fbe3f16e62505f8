//! Text of unknown origin: made visible, shortened, and kept from upsetting what stands around it.
//! Escaping for HTML is the template's.

use maud::{Markup, html};

/// Characters of a name that are shown.
const SHOWN: usize = 80;
/// Characters of all full names in a table together.
const FULL: usize = 300_000;
/// Characters of a full name, however few there are.
const LONGEST: usize = 12_000;

/// A name as it is shown, with its full text as title where it is too long. `of` is the number of
/// names in the same table, which share the room for full texts.
pub(super) fn name(text: &str, of: usize) -> Markup {
    let clean = visible(text);
    if clean.is_empty() {
        return html! { span.none { "(empty)" } };
    }
    match shortened(&clean, SHOWN) {
        None => html! { bdi { (clean) } },
        Some(short) => {
            let room = (FULL / of.max(1)).clamp(SHOWN, LONGEST);
            let title = shortened(&clean, room).unwrap_or(clean);
            html! { bdi title=(title) { (short) } }
        }
    }
}

/// A sentence that may have come from elsewhere; longer than a name may be.
pub(super) fn sentence(text: &str) -> Markup {
    let clean = visible(text);
    let short = shortened(&clean, 1000);
    html! { bdi { (short.unwrap_or(clean)) } }
}

/// Characters that no reader sees, or that turn the text around them, by their numbers.
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

/// The beginning and the end with the length, when there are more than `limit` characters.
fn shortened(text: &str, limit: usize) -> Option<String> {
    let length = text.chars().count();
    // What is put in must not be longer than what is left out.
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
    fn what_is_not_seen_is_shown() {
        assert_eq!(visible("a\u{202e}b\u{0}c\nd"), "a\\u{202e}b\\u{0}c\\nd");
        assert_eq!(visible("\u{ffff}\u{1fffe}"), "\\u{ffff}\\u{1fffe}");
        assert_eq!(visible("שלום, κόσμε 🌍"), "שלום, κόσμε 🌍");
    }

    #[test]
    fn a_long_name_is_shortened_and_its_title_is_not() {
        let long = "x".repeat(10_240);
        let shown = name(&long, 1).into_string();
        assert!(shown.contains(&format!("title=\"{long}\"")), "{shown}");
        assert!(shown.contains("x (10,240 characters)</bdi>"), "{shown}");
    }

    #[test]
    fn many_long_names_share_the_room() {
        let long = "x".repeat(10_240);
        assert!(name(&long, 2000).into_string().len() < 500);
    }
}
