//! Where a browser continues after it has signed in.

/// Maximum length, as of the target of a request in common servers.
const MAX_LENGTH: usize = 2000;

/// The text if it is a path on this server, with or without a query. Anything that a browser could read as the address
/// of another server is refused: `//host`, `/\host`, and characters that browsers remove (`/<tab>/host`).
pub fn local_path(text: &str) -> Option<&str> {
    let is_visible = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'\\';
    let is_local = text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= MAX_LENGTH
        && text.bytes().all(is_visible);
    is_local.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_of_this_server_are_accepted() {
        for path in [
            "/",
            "/task/x/report",
            "/api/task/x/report?format=html&baseline=y",
            "/a//b",
            "/x?next=//evil.example",
        ] {
            assert_eq!(local_path(path), Some(path));
        }
    }

    #[test]
    fn addresses_of_other_servers_are_refused() {
        for other in [
            "",
            "task/x",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "/x\r\nset-cookie: a=b",
            "https://evil.example/",
            "http:evil.example",
            "javascript:alert(1)",
            "/task/\u{fc}",
            "/x\\..\\y",
        ] {
            assert_eq!(local_path(other), None, "{other:?}");
        }
        assert_eq!(local_path(&format!("/{}", "x".repeat(MAX_LENGTH))), None);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_header_value_without_a_host(text in "[/\\\\a-z\t\n .:@%]{0,12}") {
            if let Some(path) = local_path(&text) {
                let second = path.as_bytes().get(1).copied();
                prop_assert!(path.starts_with('/') && second != Some(b'/') && second != Some(b'\\'));
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
