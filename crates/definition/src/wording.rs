//! Parts of messages that several readers of text use.

/// The one of `known` that is most like `key`, as a question, or all of them.
pub fn nearest(key: &str, known: &[&str]) -> String {
    let scored = known
        .iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&key.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match scored {
        Some((score, name)) if score > 0.75 => format!("did you mean `{name}`?"),
        _ => format!(
            "known are {}",
            known
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// Keeps a message readable when the text that it quotes is not.
pub fn shorten(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    match clean.chars().count() > 80 {
        true => format!("{}...", clean.chars().take(77).collect::<String>()),
        false => clean,
    }
}
