//! Import cycles between files of different module groups.

use crate::checker::cycles::{compare, cycles};
use crate::{check, code, sample};

/// Known cycles. The list may only shrink.
const KNOWN: &[&[&str]] = &[];

#[test]
fn files_of_different_module_groups_do_not_import_each_other() {
    check(&compare(&cycles(code()), KNOWN));
}

/// Two module groups, with the file `a/one.rs` and the file `b/two.rs`.
fn cycles_of(one: &str, two: &str) -> Vec<Vec<String>> {
    let code = sample(
        "app",
        &[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a/mod.rs", "pub mod one; pub use one::One;"),
            ("src/a/one.rs", one),
            ("src/b.rs", "pub mod two;"),
            ("src/b/two.rs", two),
        ],
    );
    let cycles = cycles(&code).into_iter();
    cycles.map(|cycle| cycle.imports).collect()
}

#[test]
fn a_cycle_between_module_groups_is_found() {
    let found = cycles_of("use crate::b::two::Two;", "fn f(x: crate::a::one::One) {}");
    let expected = [
        "src/a/one.rs:1: `crate::b::two::Two` -> src/b/two.rs",
        "src/b/two.rs:1: `crate::a::one::One` -> src/a/one.rs",
    ];
    assert_eq!(found, [expected]);
    for (one, two) in [
        ("use super::super::b::two;", "use crate::a::one;"),
        (
            "use crate::b::two as other;",
            "fn f() { vec![crate::a::one::f()]; }",
        ),
        (
            "use crate::b; fn f() { b::two::f(); }",
            "mod inner { use super::super::super::a::one::One; }",
        ),
        (
            "use crate::{b::{self, two::*}};",
            "#[cfg(not(test))] use crate::a::{one::One};",
        ),
        // The re-export resolves from `a/mod.rs` to `a/one.rs`.
        ("use crate::b::two::Two;", "use crate::a::One;"),
    ] {
        assert_eq!(cycles_of(one, two).len(), 1, "{one} {two}");
    }
}

#[test]
fn a_nested_module_group_is_a_group_of_its_own() {
    let files = [
        ("src/lib.rs", "mod a;"),
        ("src/a/mod.rs", "pub mod run; pub mod steps;"),
        ("src/a/run.rs", "use super::steps::first;"),
        ("src/a/steps/mod.rs", "pub mod first;"),
        ("src/a/steps/first.rs", "use crate::a::run::Run;"),
    ];
    assert_eq!(cycles(&sample("app", &files)).len(), 1);
}

#[test]
fn a_cycle_within_a_module_group_or_in_tests_is_allowed() {
    for (one, two) in [
        ("use crate::b::two::Two;", ""),
        (
            "use crate::b::two::Two;",
            "#[cfg(test)] mod tests { use crate::a::one::One; }",
        ),
        ("use crate::b::two::Two;", "// use crate::a::one::One;"),
        ("use crate::b::two::Two;", "pub(in crate::b) struct Two;"),
        ("use super::One; use crate::a::one;", ""),
    ] {
        assert_eq!(cycles_of(one, two).len(), 0, "{one} {two}");
    }
    let files = [
        ("src/lib.rs", "mod a;"),
        ("src/a.rs", "pub mod b; pub mod c; use b::B;"),
        ("src/a/b.rs", "use super::c::C;"),
        ("src/a/c.rs", "use super::b::B; use super::*;"),
    ];
    assert_eq!(cycles(&sample("app", &files)), []);
}

#[test]
fn the_list_of_known_cycles_may_only_shrink() {
    let code = sample(
        "app",
        &[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a/mod.rs", "pub use crate::b::B;"),
            ("src/b/mod.rs", "pub use crate::a::A;"),
        ],
    );
    let found = cycles(&code);
    let (a, b, c) = ("src/a/mod.rs", "src/b/mod.rs", "src/c.rs");
    assert_eq!(compare(&found, &[&[a, b]]), [""; 0]);
    assert!(compare(&found, &[])[0].starts_with("new import cycle between module groups"));
    assert_eq!(
        compare(&found, &[&[a, b, c]]),
        ["not in the known cycle any more; remove from the list:\n    src/c.rs"]
    );
    assert_eq!(compare(&[], &[&[a, b]]).len(), 1);
}
