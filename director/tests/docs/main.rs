//! The pages for people: links resolve, every page is in the table of contents, examples and commands can be used.
#![allow(missing_docs, clippy::unwrap_used)]

mod book;
mod commands;
mod examples;
mod pages;
mod shell;

use pages::{all_pages, markdown_below, read, root, split, split_inline};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Pages that moved into a part of the book; other files still link to their former paths.
const MOVED: [&str; 3] = ["docs/atq.md", "docs/formats.md", "docs/from-2018.md"];
const SUMMARY: &str = "docs/SUMMARY.md";
const MAX_README_LINES: usize = 150;

/// The targets of `[text](target)`.
fn link_targets(prose: &[&str]) -> Vec<String> {
    let (text, _) = split_inline(&prose.join("\n"));
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
    for page in all_pages() {
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
