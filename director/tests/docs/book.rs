//! The links of the built book.

use crate::pages::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A page of the book: its links and the anchors in it.
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
    /// Redirects keep the fragment of the request.
    is_redirect: bool,
}

/// The values of an attribute in a document.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {name}=\"");
    let rests: Vec<&str> = html.split(start.as_str()).skip(1).collect();
    rests.into_iter().filter_map(|rest| rest.split('"').next())
}

impl Page {
    fn parse(html: &str) -> Self {
        let links = attributes(html, "href").chain(attributes(html, "src"));
        Self {
            links: links.map(|link| link.replace("&amp;", "&")).collect(),
            anchors: attributes(html, "id").map(str::to_owned).collect(),
            is_redirect: html.contains("http-equiv=\"refresh\""),
        }
    }
}

fn pages_below(dir: &Path, pages: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages_below(&path, pages);
        } else if path.extension().is_some_and(|end| end == "html") {
            let page = Page::parse(&fs::read_to_string(&path).unwrap());
            pages.insert(path, page);
        }
    }
}

/// The file that a link leads to, without `..` in its path; `None` for links to other sites.
fn target_of(page: &Path, link: &str) -> Option<PathBuf> {
    let path = link.split(['#', '?']).next().unwrap_or_default();
    if link.contains("://") || ["mailto:", "data:"].iter().any(|it| link.starts_with(it)) {
        return None;
    }
    if path.is_empty() {
        return Some(page.to_owned());
    }
    let mut target = page.parent().unwrap().to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => _ = target.pop(),
            component => target.push(component),
        }
    }
    Some(target)
}

/// The problem with a link, if there is one.
fn problem_of(pages: &BTreeMap<PathBuf, Page>, page: &Path, link: &str) -> Option<String> {
    let target = target_of(page, link)?;
    if !pages.contains_key(&target) && !target.is_file() {
        return Some(format!("{}: `{link}` leads nowhere", page.display()));
    }
    let anchor = link.split_once('#').map_or("", |(_, anchor)| anchor);
    let found = pages.get(&target).is_none_or(|target| {
        anchor.is_empty() || target.is_redirect || target.anchors.contains(anchor)
    });
    (!found).then(|| format!("{}: `{link}` names no anchor", page.display()))
}

#[test]
#[ignore = "needs the built book: `make book`"]
fn links_of_the_built_book_resolve() {
    // `CARGO_TARGET_TMPDIR` and the book are in the same directory.
    let book = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("book");
    let mut pages = BTreeMap::new();
    pages_below(&book, &mut pages);
    // The error page has no fixed path, so its relative links cannot be resolved.
    pages.retain(|path, _| !path.ends_with("404.html"));
    let (mut checked, mut problems) = (0, Vec::new());
    for (path, page) in &pages {
        for link in &page.links {
            problems.extend(problem_of(&pages, path, link));
            checked += 1;
        }
    }
    let chapters = crate::pages::markdown_below("docs").len();
    assert!(pages.len() > chapters && checked > 1000, "{checked}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_broken_link_of_the_book_is_found() {
    let page = root().join("README.html");
    let html = "<a id=\"x\" href=\"#x\"></a><a href=\"#y\"></a><a href=\"a/../README.md\"></a>\
                <a href=\"a/b.html\"></a><img src=\"a.png\"><a href=\"https://example.com/#z\"></a>";
    let parsed = Page::parse(html);
    let links = parsed.links.clone();
    let pages = BTreeMap::from([(page.clone(), parsed)]);
    let broken: Vec<&String> = links
        .iter()
        .filter(|link| problem_of(&pages, &page, link).is_some())
        .collect();
    assert_eq!(broken, ["#y", "a/b.html", "a.png"]);
}
