//! Docker's grammar of image references, and their normalisation.

use crate::image::{check, normalise, registry};
use insta::assert_snapshot;

#[test]
fn references_that_docker_accepts() {
    for image in [
        "x",
        "jmeter:5.6",
        "a/b/c",
        "a.b_c__d---e:T_a.g-1",
        "localhost/x",
        "localhost:5000/x:1",
        "reg.example:443/team/tool:latest",
        "UPPER.example/x",
        "x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        &format!("x:1@sha256:{}", "0".repeat(64)),
        &format!("x@sha512:{}", "f".repeat(128)),
        &format!("x:{}", "t".repeat(128)),
        &"n".repeat(237),
        &format!("a/{}", "n".repeat(243)),
        &format!("r.io/{}", "n".repeat(250)),
        &format!("localhost/{}", "a".repeat(64)),
        &format!("{}:1", "a".repeat(64)),
    ] {
        assert_eq!(check(image), Ok(()), "{image}");
    }
}

#[test]
fn references_that_docker_rejects() {
    for image in [
        "X",
        "a b",
        "/x",
        "x/",
        "a//b",
        "-x",
        "x-",
        "a..b",
        "a___b",
        ":1",
        "x:",
        "x:-1",
        "x:a b",
        "x@",
        "x@sha256",
        "x@sha256:12",
        "x@sha256:0123456789abcdef0123456789abcdef",
        &format!("x@sha256:{}", "A".repeat(64)),
        &format!("x@sha256:{}", "z".repeat(64)),
        &format!("x@md5:{}", "a".repeat(32)),
        &"a".repeat(64),
        "reg.example:port/x",
        "UPPER/x",
        "http://x",
        "x\n",
        "ü",
        &format!("x:{}", "t".repeat(129)),
        &"n".repeat(238),
        &format!("a/{}", "n".repeat(244)),
        &format!("r.io/{}", "n".repeat(251)),
        "",
    ] {
        assert!(check(image).is_err(), "{image}");
    }
    assert_snapshot!(check("My/tool").unwrap_err(), @"has the part `My`; expected lower-case letters and digits, with single `.`, `_` or `-` between them");
    assert_snapshot!(check("x:").unwrap_err(), @"has the tag ``; expected 1 to 128 letters, digits, `_`, `.` or `-`");
    assert_snapshot!(check("x@sha256:1").unwrap_err(), @"has the digest `sha256:1`; expected `sha256:` and 64 hex digits");
}

#[test]
fn references_to_the_same_image_are_equal() {
    for (given, normal) in [
        ("jmeter", "jmeter"),
        (" jmeter ", "jmeter"),
        ("jmeter:latest", "jmeter"),
        ("docker.io/library/jmeter", "jmeter"),
        ("index.docker.io/library/jmeter:latest", "jmeter"),
        ("registry-1.docker.io/library/jmeter", "jmeter"),
        ("library/jmeter:5", "jmeter:5"),
        ("library/a/b", "library/a/b"),
        ("docker.io/acme/jmeter", "acme/jmeter"),
        ("localhost:5000/jmeter", "localhost:5000/jmeter"),
        ("localhost:5000/jmeter:latest", "localhost:5000/jmeter"),
        (
            "reg.example/library/jmeter:1",
            "reg.example/library/jmeter:1",
        ),
        ("jmeter@sha256:00", "jmeter@sha256:00"),
        ("jmeter:latest@sha256:00", "jmeter@sha256:00"),
        ("jmeter:5@sha256:00", "jmeter@sha256:00"),
    ] {
        assert_eq!(normalise(given), normal, "{given}");
        assert_eq!(normalise(&normalise(given)), normal, "{given}");
    }
    assert_ne!(normalise("jmeter:5"), normalise("jmeter"));
    assert_ne!(normalise("acme/jmeter"), normalise("jmeter"));
}

#[test]
fn the_first_part_may_be_a_registry() {
    for (image, expected) in [
        ("x", "docker.io"),
        ("x:1", "docker.io"),
        ("team/x@sha256:0", "docker.io"),
        ("docker.io/library/x", "docker.io"),
        ("index.docker.io/x", "docker.io"),
        ("localhost/x", "localhost"),
        ("localhost:5000/x:1", "localhost:5000"),
        ("r.example/a/b", "r.example"),
        ("r.example:443/a/b:1", "r.example:443"),
        // Without a slash, the text is a name with a tag.
        ("r.example:443", "docker.io"),
    ] {
        assert_eq!(registry(image), expected, "{image}");
    }
}
