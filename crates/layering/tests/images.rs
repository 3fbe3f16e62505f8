//! The versions of the tools are in `images/versions`. Dockerfiles, lists of hashes, examples and docs must agree with it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The source of an image that contains only files of this repository.
const PROJECT: &str = "project";
/// Images that run as root: JMeter's did so before the others existed, and existing definitions may depend on it.
const ROOT: [&str; 1] = ["jmeter"];
/// Directories without pages and definitions of this repository.
const IGNORED: [&str; 4] = ["build", "node_modules", "target", ".git"];

/// A row of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// An image, or with a dot a part of one.
    name: String,
    version: String,
    source: String,
}

impl Row {
    fn of(line: &str) -> Option<Self> {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [name, version, source] => Some(Self {
                name: name.to_owned(),
                version: version.to_owned(),
                source: source.to_owned(),
            }),
            _ => None,
        }
    }

    fn is_image(&self) -> bool {
        !self.name.contains('.')
    }

    /// Whether the image has a tool of somebody else.
    fn is_fetched(&self) -> bool {
        self.source != PROJECT
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    read("images/versions")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            Row::of(line).unwrap_or_else(|| panic!("`{line}`: expected NAME VERSION SOURCE"))
        })
        .collect()
}

fn images() -> Vec<Row> {
    rows().into_iter().filter(Row::is_image).collect()
}

fn dockerfile(image: &Row) -> String {
    read(format!("images/{}/Dockerfile", image.name))
}

/// All files below `dir` with one of the extensions, and those of its directories.
fn files(dir: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !IGNORED.contains(&name) {
            files(&path, extensions, found);
        } else if extensions.iter().any(|extension| name.ends_with(extension)) {
            found.push(path);
        }
    }
}

/// The tags of an image that `text` mentions, for example `2.47.0` of `atq-locust:2.47.0`.
fn tags<'a>(text: &'a str, image: &str) -> BTreeSet<&'a str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.split(&format!("atq-{image}:"))
        .skip(1)
        .map(|rest| rest.split(|c| !is_part(c)).next().unwrap())
        .map(|tag| tag.trim_end_matches('.'))
        .filter(|tag| !tag.is_empty())
        .collect()
}

#[test]
fn every_image_has_one_row_and_every_row_a_folder() {
    let rows = rows();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "an image has two rows");
    let mut folders = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("images")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Dockerfile").exists() {
            folders.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    let images: BTreeSet<String> = images().into_iter().map(|row| row.name).collect();
    assert_eq!(images, folders);
    for part in rows.iter().filter(|row| !row.is_image()) {
        let (image, _) = part.name.split_once('.').unwrap();
        assert!(
            images.contains(image),
            "`{}` is part of no image",
            part.name
        );
    }
}

#[test]
fn every_source_is_known() {
    for row in rows() {
        let known = ["maven:", "pypi:", "npm:", "go:", "debian:"];
        let is_known = known
            .iter()
            .any(|ecosystem| row.source.starts_with(ecosystem));
        assert!(is_known || row.source == PROJECT, "{row:?}");
        assert_eq!(row.source == PROJECT, row.version == "dev", "{row:?}");
    }
}

#[test]
fn every_dockerfile_has_the_label_and_the_version_of_its_image() {
    for image in images() {
        let text = dockerfile(&image);
        let label = format!("LABEL com.atq.image={}\n", image.name);
        assert!(text.contains(&label), "{}: no `{label}`", image.name);
        if let Some((_, version)) = text.split_once("ARG VERSION=") {
            let version = version.lines().next().unwrap();
            assert_eq!(version, image.version, "{}", image.name);
        } else {
            assert!(
                !image.source.starts_with("debian:"),
                "{}: no version",
                image.name
            );
        }
    }
}

#[test]
fn images_of_tools_use_utf_8_and_an_unprivileged_user() {
    for image in images().iter().filter(|image| image.is_fetched()) {
        let text = dockerfile(image);
        let locale = "LANG=C.UTF-8 LC_ALL=C.UTF-8";
        assert!(text.contains(locale), "{}: no `{locale}`", image.name);
        let user = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("USER "));
        let is_root = user.is_none_or(|user| user.starts_with("root") || user.starts_with('0'));
        let may_be = ROOT.contains(&image.name.as_str());
        assert_eq!(is_root, may_be, "{}: `{user:?}`", image.name);
    }
}

/// So that the layers below are built before the program, and kept when it changes.
#[test]
fn programs_of_the_project_are_the_last_instruction_of_images_of_tools() {
    for image in images().iter().filter(|image| image.is_fetched()) {
        let text = dockerfile(image);
        let mut instructions = text.lines().filter(|line| !line.is_empty());
        let is_copy = |line: &str| line.starts_with("COPY ") && line.contains("atq-");
        if let Some(copy) = instructions.find(|line| is_copy(line)) {
            let after: Vec<&str> = instructions.filter(|line| !is_copy(line)).collect();
            assert!(
                after.is_empty(),
                "{}: after `{copy}`: {after:?}",
                image.name
            );
        }
    }
}

#[test]
fn lists_of_hashes_are_for_the_version() {
    for row in rows() {
        let image = row.name.split('.').next().unwrap();
        let (ecosystem, coordinates) = row.source.split_once(':').unwrap_or((PROJECT, ""));
        let (list, expected) = match ecosystem {
            "maven" => {
                let artifact = coordinates.rsplit(':').next().unwrap();
                ("jars.sha256", format!(" {artifact}-{}.jar\n", row.version))
            }
            "pypi" => (
                "requirements.txt",
                format!("\n{coordinates}=={} ", row.version),
            ),
            "npm" => (
                "package.json",
                format!("\"{coordinates}\": \"{}\"", row.version),
            ),
            "go" => ("go.mod", format!("{coordinates} v{}", row.version)),
            _ => continue,
        };
        let text = read(format!("images/{image}/{list}"));
        assert!(
            text.contains(&expected),
            "images/{image}/{list}: no `{expected}`; run fetch.sh --pin"
        );
    }
}

#[test]
fn examples_and_pages_name_the_version() {
    let mut found = Vec::new();
    for dir in ["docs", "images", "deploy", ".ci"] {
        if root().join(dir).exists() {
            files(
                &root().join(dir),
                &[".md", ".json", ".sh", ".yml", ".yaml"],
                &mut found,
            );
        }
    }
    found.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root().join(page)));
    let mut checked = BTreeMap::<String, usize>::new();
    let mut faults = Vec::new();
    for image in images().iter().filter(|image| image.is_fetched()) {
        for path in &found {
            for tag in tags(&std::fs::read_to_string(path).unwrap(), &image.name) {
                *checked.entry(image.name.clone()).or_default() += 1;
                if tag != image.version {
                    faults.push(format!("{}: atq-{}:{tag}", path.display(), image.name));
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "images/versions has other versions:\n{}",
        faults.join("\n")
    );
    let unnamed = images()
        .into_iter()
        .find(|image| image.is_fetched() && !checked.contains_key(&image.name));
    assert_eq!(unnamed, None, "no page names this image");
}

#[test]
fn the_reference_has_a_row_for_each_image() {
    let page = read("docs/reference/images.md");
    for image in images() {
        let row = format!(
            "| `images/{}` | `atq-{}:{}`",
            image.name, image.name, image.version
        );
        assert!(page.contains(&row), "docs/reference/images.md: no `{row}`");
    }
}

#[test]
fn tags_are_found() {
    let text = "`atq-wrk:4.1.0`, r:5000/atq-wrk:4.0-x and atq-wrk:5. atq-wrk: no; atq-web:1";
    assert_eq!(tags(text, "wrk"), BTreeSet::from(["4.1.0", "4.0-x", "5"]));
    assert_eq!(tags(text, "web"), BTreeSet::from(["1"]));
    assert_eq!(Row::of("a 1"), None);
}
