//! Placeholders in the arguments of a tool: `{share:NAME}`.

use std::ffi::{OsStr, OsString};

use crate::share::Share;

const OPEN: &str = "{share:";

/// A piece of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Share(String),
}

/// An argument of the tool, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    /// An argument that is not UTF-8 has no placeholders.
    raw: Option<OsString>,
}

impl Template {
    /// Reads an argument.
    ///
    /// # Errors
    /// A placeholder without an end.
    pub fn parse(argument: &OsStr) -> Result<Self, String> {
        let Some(text) = argument.to_str() else {
            let raw = Some(argument.to_owned());
            return Ok(Self {
                pieces: Vec::new(),
                raw,
            });
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (name, tail) = after.split_once('}').ok_or_else(|| {
                format!("`{text}` has `{OPEN}` without `}}`; a placeholder is `{{share:NAME}}`")
            })?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Share(name.to_owned()));
            rest = tail;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces, raw: None })
    }

    /// The argument with the values of a share.
    ///
    /// # Errors
    /// A placeholder that the share has no value for.
    pub fn fill(&self, share: &Share) -> Result<OsString, String> {
        if let Some(raw) = &self.raw {
            return Ok(raw.clone());
        }
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Ok(text.clone()),
            Piece::Share(name) => value(share, name),
        });
        pieces.collect::<Result<String, _>>().map(OsString::from)
    }
}

fn value(share: &Share, name: &str) -> Result<String, String> {
    let missing = || {
        format!(
            "the arguments contain `{{share:{name}}}`, but the master has no `--share {name}=TOTAL`; known are {}",
            share.names().join(", ")
        )
    };
    share
        .value(name)
        .map(|value| value.to_string())
        .ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::share::divide;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn filled(text: &str) -> Result<String, String> {
        let shares = divide(&["users=10".parse().unwrap()], 3).unwrap();
        let filled = Template::parse(OsStr::new(text))?.fill(&shares[1])?;
        Ok(filled.into_string().unwrap())
    }

    #[test]
    fn placeholders_are_replaced_everywhere_in_an_argument() {
        let text = "--users={share:users}/{share:index}of{share:count}{share:users}";
        assert_eq!(filled(text).unwrap(), "--users=3/1of33");
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_those_that_are_known() {
        let error = filled("{share:rate}").unwrap_err();
        assert!(
            error.contains("`{share:rate}`") && error.ends_with("known are index, count, users"),
            "{error}"
        );
    }

    #[test]
    fn a_placeholder_without_an_end_is_an_error() {
        assert!(filled("x{share:users").unwrap_err().contains("without `}`"));
    }

    #[test]
    fn an_argument_that_is_not_utf8_stays_as_it_is() {
        let raw = OsStr::from_bytes(b"\xff{share:users}");
        let share = &divide(&[], 1).unwrap()[0];
        assert_eq!(Template::parse(raw).unwrap().fill(share).unwrap(), raw);
    }

    proptest! {
        #[test]
        fn text_without_placeholders_stays_as_it_is(text in "[^{]{0,40}|\\{[^s]{0,40}") {
            prop_assert_eq!(filled(&text).unwrap(), text);
        }
    }
}
