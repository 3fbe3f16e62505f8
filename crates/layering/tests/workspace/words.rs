//! Counts Docker's terms outside of the engine's crate. Each is a dependency on this engine.

use crate::checker::words::{Search, Uses, compare, format, parse, uses};
use crate::{check, code, sample};
use std::path::PathBuf;

const SEARCH: Search = Search {
    directories: &[
        "crates/definition",
        "crates/engine/",
        "crates/evidence",
        "crates/report",
        "crates/store",
        "crates/task",
        "director/src",
    ],
    words: &["bollard", "docker", "overlay", "sidecar", "swarm"],
    in_texts: &["node."],
};

fn list() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/workspace/engine-words.txt"
    ))
}

/// With `ATQ_UPDATE_ENGINE_WORDS=1` the list is rewritten, unless it would grow.
#[test]
fn words_of_the_engine_only_decrease() {
    let uses = uses(code(), &SEARCH);
    let committed = std::fs::read_to_string(list()).unwrap();
    let committed = parse(&committed).unwrap();
    if std::env::var_os("ATQ_UPDATE_ENGINE_WORDS").is_some() {
        let found: usize = uses.values().map(Vec::len).sum();
        let allowed = committed.values().sum();
        assert!(
            found <= allowed,
            "{found} words of the engine, but {allowed} in the list"
        );
        return std::fs::write(list(), format(&uses)).unwrap();
    }
    check(&compare(&uses, &committed));
}

fn uses_of(text: &str) -> Uses {
    uses(
        &sample("director", &[("director/src/lib.rs", text)]),
        &SEARCH,
    )
}

#[test]
fn words_in_identifiers_and_texts_are_found() {
    for (text, count) in [
        ("fn f(docker: DockerSwarm) {}", 3),
        ("#[error(\"Docker is away\")] struct Sidecar;", 2),
        ("fn f() { warn!(\"no swarm\", overlay = x::bollard()); }", 3),
        ("const A: &str = \"node.id==x\"; fn f() { node.id; }", 1),
    ] {
        let found = uses_of(text);
        assert_eq!(
            found.values().map(Vec::len).sum::<usize>(),
            count,
            "{text}: {found:?}"
        );
    }
    for text in [
        "//! Docker\n/// a sidecar\nfn f() {} // swarm",
        "#[cfg(test)] mod tests { fn docker() {} }",
        "fn service() {}",
    ] {
        assert_eq!(uses_of(text), Uses::new(), "{text}");
    }
}

#[test]
fn more_words_and_fewer_words_than_listed_are_found() {
    let found = uses_of("struct Docker;\nstruct Swarm;");
    let committed = |list: &str| parse(list).unwrap();
    assert_eq!(compare(&found, &committed(&format(&found))), [""; 0]);
    assert_eq!(
        compare(&found, &committed("1 director/src/lib.rs")),
        [
            "director/src/lib.rs: 2 words of the engine, but 1 are allowed; move the code to the engine's crate (lines [1, 2])"
        ]
    );
    assert_eq!(
        compare(
            &found,
            &committed("2 director/src/lib.rs\n3 director/src/gone.rs")
        ),
        [
            "director/src/gone.rs: 0 words of the engine, but 3 in the list; lower the number in the list"
        ]
    );
    assert!(parse("two director/src/lib.rs").is_err());
}
