//! Patterns of topics and client ids, such as `devices/{device}/attrs`.

/// A text with placeholders: `{device}` is the name of a device, `{worker}` the number of its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Device,
    Worker,
}

/// A pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An unknown placeholder, or a brace without its partner.
    #[error("`{{{0}` is not a placeholder; expected `{{device}}` or `{{worker}}`")]
    Placeholder(String),
    /// A topic with `+`, `#` or a NUL, to which no client may publish.
    #[error("a topic to publish to must not contain `{0}`")]
    Wildcard(char),
    /// All devices would have the same text.
    #[error("`{{device}}` is missing, so that all devices would have the same one")]
    NotUnique,
    /// Empty, or longer than MQTT allows.
    #[error("it has {0} bytes; expected 1 to {MAX_BYTES}")]
    Length(usize),
}

/// Maximum length. MQTT allows 65,535 bytes after the placeholders are replaced.
pub const MAX_BYTES: usize = 32_768;

impl Pattern {
    /// Parses the pattern of a topic.
    ///
    /// # Errors
    /// When it has an unknown placeholder or a wildcard, is empty, or is too long.
    pub fn topic(text: &str) -> Result<Self, PatternError> {
        match text.chars().find(|c| "+#\0".contains(*c)) {
            Some(found) => Err(PatternError::Wildcard(found)),
            None => Self::parse(text),
        }
    }

    /// Parses the pattern of a client id.
    ///
    /// # Errors
    /// When it has no `{device}` or an unknown placeholder, is empty, or is too long.
    pub fn client_id(text: &str) -> Result<Self, PatternError> {
        let pattern = Self::parse(text)?;
        match pattern.0.contains(&Piece::Device) {
            true => Ok(pattern),
            false => Err(PatternError::NotUnique),
        }
    }

    fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(PatternError::Length(text.len()));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            pieces.push(Piece::Text(before.to_owned()));
            let (piece, behind) = placeholder(after)?;
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The text for a device.
    pub fn expand(&self, device: &str, worker: u32) -> String {
        let worker = worker.to_string();
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Device => device,
            Piece::Worker => worker.as_str(),
        });
        pieces.collect()
    }
}

/// The placeholder at the beginning of a text after `{`, and what follows it.
fn placeholder(text: &str) -> Result<(Piece, &str), PatternError> {
    for (name, piece) in [("device}", Piece::Device), ("worker}", Piece::Worker)] {
        if let Some(rest) = text.strip_prefix(name) {
            return Ok((piece, rest));
        }
    }
    let end = text.find('}').map_or(text.len(), |at| at + 1);
    Err(PatternError::Placeholder(text[..end].to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn placeholders_are_replaced() {
        let pattern = Pattern::topic("a/{worker}/{device}/x{device}").unwrap();
        assert_eq!(pattern.expand("d7", 3), "a/3/d7/xd7");
        assert_eq!(Pattern::topic("plain").unwrap().expand("d7", 3), "plain");
    }

    #[test]
    fn a_faulty_pattern_is_rejected_with_its_reason() {
        let fault = |text| Pattern::topic(text).unwrap_err().to_string();
        assert!(fault("a/{devices}").contains("`{devices}` is not a placeholder"));
        assert!(fault("a/{").contains("`{` is not a placeholder"));
        assert!(fault("a/#").contains("must not contain `#`"));
        assert!(fault("a/+/{device}").contains("must not contain `+`"));
        assert!(fault("").contains("0 bytes"));
        assert_eq!(Pattern::client_id("x"), Err(PatternError::NotUnique));
        assert!(Pattern::client_id("x{device}").is_ok());
    }
}
