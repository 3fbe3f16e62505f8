//! Parses criteria, stop conditions and patterns of result files.

use super::reader::{Field, Reader};
use crate::criteria::{Criterion, StopCondition};
use crate::wording::{shorten, wrong_type};
use std::path::{Component, Path};

/// Maximum length of a pattern in bytes.
const MAX_PATTERN: usize = 1000;

impl Reader<'_> {
    pub(super) fn criteria(&mut self, field: &Field) -> Option<Vec<Criterion>> {
        self.items(field, |text| {
            Criterion::parse(text).map_err(|error| format!("`{}`: {error}", shorten(text)))
        })
    }

    pub(super) fn stop_when(&mut self, field: &Field) -> Option<Vec<StopCondition>> {
        self.items(field, |text| {
            StopCondition::parse(text).map_err(|error| format!("`{}`: {error}", shorten(text)))
        })
    }

    pub(super) fn result_files(&mut self, field: &Field) -> Option<Vec<String>> {
        self.items(field, |text| pattern(text).map(|()| text.to_owned()))
    }

    fn items<T>(
        &mut self,
        field: &Field,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let texts = self.list(field, "a list of strings")?;
        let most = field.max_items();
        if texts.len() > most {
            let why = format!("has {} items; expected at most {most}", texts.len());
            return self.fault(&field.path, why);
        }
        let before = self.faults.len();
        let mut items = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let item = match text.as_str() {
                Some(text) => read(text),
                None => Err(wrong_type(text, "a string")),
            };
            match item {
                Ok(item) => items.push(item),
                Err(why) => self.note(&field.item(index), why),
            }
        }
        (self.faults.len() == before).then_some(items)
    }
}

/// Checks a pattern, which must be relative to `/atq/results` and must not leave it.
fn pattern(text: &str) -> Result<(), String> {
    let shown = shorten(text);
    if text.is_empty() || text.len() > MAX_PATTERN {
        return Err(format!(
            "has {} bytes; expected a pattern of 1 to {MAX_PATTERN}, for example `*.jtl`",
            text.len()
        ));
    }
    let inside = Path::new(text)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(format!(
            "`{shown}` leads out of `/atq/results`; expected a path below it, for example `run/*.jtl`"
        ));
    }
    match globset::Glob::new(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{shown}` is not a pattern: {}", error.kind())),
    }
}
