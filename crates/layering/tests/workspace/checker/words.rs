//! Counts uses of the words of one engine per file, in identifiers and string literals.

use super::code::{Code, Word};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The words to search for.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Directories, relative to the root of the workspace.
    pub directories: &'static [&'static str],
    /// Parts of identifiers and string literals, in lower case.
    pub words: &'static [&'static str],
    /// Parts of string literals only.
    pub in_texts: &'static [&'static str],
}

/// Uses of the words by file: one line number per use.
pub type Uses = BTreeMap<String, Vec<usize>>;

/// All uses, by file.
pub fn uses(code: &Code, search: &Search) -> Uses {
    let mut uses = Uses::new();
    for module in code.modules.values() {
        let is_searched = |directory: &&str| module.file.starts_with(Path::new(directory));
        if !search.directories.iter().any(is_searched) {
            continue;
        }
        let file = module.file.display().to_string();
        for word in &module.words {
            let lines = std::iter::repeat_n(word.line, count(word, search));
            uses.entry(file.clone()).or_default().extend(lines);
        }
    }
    uses.retain(|_, lines| !lines.is_empty());
    uses
}

fn count(word: &Word, search: &Search) -> usize {
    let text = word.text.to_lowercase();
    let in_texts = if word.is_text { search.in_texts } else { &[] };
    let wanted = search.words.iter().chain(in_texts);
    wanted.map(|wanted| text.matches(wanted).count()).sum()
}

/// Parses the committed counts, one file per line: `count path`.
///
/// # Errors
/// The first invalid line.
pub fn parse(list: &str) -> Result<BTreeMap<String, usize>, String> {
    let lines = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (count, file) = line.split_once(' ').ok_or(line)?;
            Ok((file.to_owned(), count.parse().map_err(|_| line)?))
        })
        .collect::<Result<_, &str>>()
        .map_err(|line| format!("`{line}` is not `count path`"))
}

/// Formats counts for committing.
pub fn format(uses: &Uses) -> String {
    uses.iter().fold(String::new(), |mut list, (file, lines)| {
        let _ = writeln!(list, "{} {file}", lines.len());
        list
    })
}

/// Compares the uses with the committed counts, which may only decrease.
pub fn compare(uses: &Uses, committed: &BTreeMap<String, usize>) -> Vec<String> {
    let none = Vec::new();
    let mut faults = Vec::new();
    for (file, lines) in uses {
        let allowed = committed.get(file).copied().unwrap_or_default();
        if lines.len() > allowed {
            faults.push(format!(
                "{file}: {} words of the engine, but {allowed} are allowed; move the code to the engine's crate (lines {lines:?})",
                lines.len()
            ));
        }
    }
    for (file, allowed) in committed {
        let found = uses.get(file).unwrap_or(&none).len();
        if found < *allowed {
            faults.push(format!(
                "{file}: {found} words of the engine, but {allowed} in the list; lower the number in the list"
            ));
        }
    }
    faults
}
