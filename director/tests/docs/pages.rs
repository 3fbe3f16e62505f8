//! Reads the pages of the repository and splits them into prose and blocks of code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Pages at the root of the repository.
const ROOT_PAGES: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("`{path}`: {e}"))
}

/// The Markdown files below a directory, as paths relative to the root. Skips directories named `build`, which contain
/// downloaded files.
pub fn markdown_below(directory: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_name() == "build" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            files.extend(markdown_below(&path));
        } else if Path::new(&path).extension().is_some_and(|end| end == "md") {
            files.insert(path);
        }
    }
    files
}

/// The book, the pages at the root, and the READMEs of images and deployment.
pub fn all_pages() -> BTreeSet<String> {
    let mut pages: BTreeSet<String> = ROOT_PAGES.map(str::to_owned).into();
    for directory in ["docs", "images", "deploy"] {
        pages.extend(markdown_below(directory));
    }
    pages
}

/// A block of code between fences.
pub struct Block {
    pub language: String,
    pub text: String,
}

/// Splits a page into its lines outside of code blocks, and its code blocks.
pub fn split(text: &str) -> (Vec<&str>, Vec<Block>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::new());
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (None, None) => prose.push(line),
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "a code block has no end");
    (prose, blocks)
}

/// All blocks of code in this language, with their pages.
pub fn blocks(language: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for page in all_pages() {
        for block in split(&read(&page)).1 {
            if block.language == language {
                found.push((page.clone(), block.text));
            }
        }
    }
    found
}

/// Separates the text from its inline code.
pub fn split_inline(text: &str) -> (String, Vec<&str>) {
    let (mut plain, mut codes) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(begin) = rest.find('`') {
        plain += &rest[..begin];
        let opened = &rest[begin..];
        let ticks = &opened[..opened.len() - opened.trim_start_matches('`').len()];
        let inside = &opened[ticks.len()..];
        let end = inside.find(ticks);
        codes.extend(end.map(|end| &inside[..end]));
        rest = end.map_or("", |end| &inside[end + ticks.len()..]);
    }
    (plain + rest, codes)
}
