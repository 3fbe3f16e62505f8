//! The pages for people hang together: links resolve, every page is in the table of contents, and examples can be used.
#![allow(missing_docs, clippy::unwrap_used)]

use atq_director::config::Config;
use atq_task::spec::{Surroundings, TaskSpec};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Papers at the root of the repository.
const PAPERS: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];
/// Pages that moved into a part of the book; other files still link to their former paths.
const MOVED: [&str; 3] = ["docs/atq.md", "docs/formats.md", "docs/from-2018.md"];
const SUMMARY: &str = "docs/SUMMARY.md";
const MAX_README_LINES: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("`{path}`: {e}"))
}

/// Every Markdown file below a directory of the repository, by its path from the root.
/// Files of Markdown below a directory, without what the set-up fetches into `build`.
fn markdown_below(directory: &str) -> BTreeSet<String> {
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

fn all_papers() -> BTreeSet<String> {
    let mut papers = markdown_below("docs");
    papers.extend(PAPERS.map(str::to_owned));
    papers
}

/// A block of code between fences.
struct Block {
    language: String,
    text: String,
}

/// Splits a page into its lines outside of code blocks, and its code blocks.
fn split(text: &str) -> (Vec<&str>, Vec<Block>) {
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

/// The text without inline code.
fn without_code(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find('`') {
        plain += &rest[..begin];
        let opened = &rest[begin..];
        let ticks = &opened[..opened.len() - opened.trim_start_matches('`').len()];
        let inside = &opened[ticks.len()..];
        rest = inside
            .find(ticks)
            .map_or("", |end| &inside[end + ticks.len()..]);
    }
    plain + rest
}

/// The targets of `[text](target)`.
fn link_targets(prose: &[&str]) -> Vec<String> {
    let text = without_code(&prose.join("\n"));
    let targets = text.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// The anchors of the headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    for line in split(text).0 {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let repeated = seen.entry(anchor.clone()).or_default();
        anchors.insert(match *repeated {
            0 => anchor,
            number => format!("{anchor}-{number}"),
        });
        *repeated += 1;
    }
    anchors
}

/// The path that a relative link on `page` leads to, from the root of the repository.
fn resolve(page: &str, path: &str) -> PathBuf {
    let mut resolved = Path::new(page).parent().unwrap().to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => {
                assert!(resolved.pop(), "{page}: `{path}` leaves the repository")
            }
            component => resolved.push(component),
        }
    }
    resolved
}

/// What is wrong with a link, if anything.
fn problem_of(page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => PathBuf::from(page),
        path => resolve(page, path),
    };
    if !root().join(&file).exists() {
        return Some(format!("{page}: `{target}` leads nowhere"));
    }
    let has_anchor = anchor.is_empty() || anchors(&read(file.to_str().unwrap())).contains(anchor);
    (!has_anchor).then(|| format!("{page}: `{target}` names no heading"))
}

#[test]
fn every_relative_link_resolves() {
    let mut checked = 0;
    let mut problems = Vec::new();
    for page in all_papers() {
        let text = read(&page);
        for target in link_targets(&split(&text).0) {
            problems.extend(problem_of(&page, &target));
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    assert!(problem_of("README.md", "docs/missing.md").is_some());
    assert!(problem_of("README.md", "ARCHITECTURE.md#no-such-heading").is_some());
    assert!(problem_of("docs/SUMMARY.md", "../ARCHITECTURE.md#adding-a-field").is_none());
    let targets = link_targets(&["a [b](c.md#d) `[e](f)` ``[g](`h`)`` [i](j)"]);
    assert_eq!(targets, ["c.md#d", "j"]);
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let text = read(SUMMARY);
    let listed: Vec<String> = link_targets(&split(&text).0)
        .iter()
        .map(|target| format!("docs/{target}"))
        .collect();
    let pages: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(pages.len(), listed.len(), "a page is listed twice");
    let mut expected = markdown_below("docs");
    expected.remove(SUMMARY);
    for moved in MOVED {
        assert!(expected.remove(moved), "{moved}");
    }
    assert_eq!(pages, expected);
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= MAX_README_LINES, "{lines} lines");
}

/// Accepts the images and bundles that the papers name.
struct Anything;

impl Surroundings for Anything {
    fn max_replicas(&self) -> u64 {
        1000
    }

    fn has_bundle(&self, _: &str) -> bool {
        true
    }

    fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// The papers, and the READMEs of images and examples, with their code blocks.
fn examples() -> Vec<(String, Block)> {
    let mut pages = all_papers();
    for directory in ["images", "deploy"] {
        pages.extend(markdown_below(directory));
    }
    let blocks = |page: String| {
        let (_, blocks) = split(&read(&page));
        blocks.into_iter().map(move |block| (page.clone(), block))
    };
    pages.into_iter().flat_map(blocks).collect()
}

#[test]
fn definitions_in_examples_are_valid() {
    let (mut parsed, mut definitions) = (0, 0);
    for (page, block) in examples() {
        if block.language != "json" {
            continue;
        }
        let text = &block.text;
        let value: Value =
            serde_json::from_str(text).unwrap_or_else(|e| panic!("{page}: {e}: {text}"));
        parsed += 1;
        if value.get("worker").is_some() {
            TaskSpec::parse(&value, &Anything)
                .unwrap_or_else(|faults| panic!("{page}: {faults:?}: {text}"));
            definitions += 1;
        }
    }
    assert!(parsed >= 10 && definitions >= 6, "{parsed} {definitions}");
}

#[test]
fn configurations_in_examples_are_valid() {
    let (mut parsed, mut configurations) = (0, 0);
    for (page, block) in examples() {
        if block.language != "yaml" {
            continue;
        }
        let text = &block.text;
        serde_saphyr::from_str::<Value>(text).unwrap_or_else(|e| panic!("{page}: {e}: {text}"));
        parsed += 1;
        if text.starts_with("port:") {
            Config::parse(text, |_| None).unwrap_or_else(|e| panic!("{page}: {e}: {text}"));
            configurations += 1;
        }
    }
    assert!(
        parsed >= 4 && configurations >= 2,
        "{parsed} {configurations}"
    );
}
