#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn split(text: &[u8], header: bool, parts: usize) -> Result<Vec<Vec<u8>>, SplitError> {
    let mut out = vec![Vec::new(); parts];
    split_rows(text, header, &mut out).map(|_| out)
}

fn texts(text: &str, header: bool, parts: usize) -> Vec<String> {
    let out = split(text.as_bytes(), header, parts).unwrap();
    out.into_iter()
        .map(|part| String::from_utf8(part).unwrap())
        .collect()
}

#[test]
fn rows_are_distributed_round_robin_and_the_header_goes_to_all() {
    assert_eq!(
        texts("h\n1\n2\n3\n4\n5\n", true, 3),
        ["h\n1\n4\n", "h\n2\n5\n", "h\n3\n"]
    );
    assert_eq!(texts("1\n2\n3\n", false, 2), ["1\n3\n", "2\n"]);
    assert_eq!(texts("1\n", false, 1), ["1\n"]);
}

#[test]
fn line_endings_are_preserved() {
    assert_eq!(
        texts("h\r\n1\r\n2\r\n3", true, 2),
        ["h\r\n1\r\n3", "h\r\n2\r\n"]
    );
    assert_eq!(texts("1\n2", false, 2), ["1\n", "2"]);
}

#[test]
fn a_quoted_field_may_contain_anything() {
    let text = "a,\"x\ny\"\n\"he said \"\"no\n\"\"\",b\nc,d\n";
    assert_eq!(
        texts(text, false, 3),
        ["a,\"x\ny\"\n", "\"he said \"\"no\n\"\"\",b\n", "c,d\n"]
    );
    assert_eq!(texts("\"h\nh\"\n1\n2\n", true, 2)[1], "\"h\nh\"\n2\n");
}

#[test]
fn a_quote_within_a_field_is_an_ordinary_character() {
    assert_eq!(
        texts("pipe 5\",a\nb\"\nc\n", false, 3),
        ["pipe 5\",a\n", "b\"\n", "c\n"]
    );
    for delimiter in [',', ';', '|', '\t'] {
        let text = format!("a{delimiter}\"\n\"\nb\n");
        assert_eq!(texts(&text, false, 2)[1], "b\n", "{delimiter:?}");
    }
}

#[test]
fn empty_lines_are_rows_but_not_at_the_end() {
    assert_eq!(texts("1\n\n2\n\n\r\n\n", false, 3), ["1\n", "\n", "2\n"]);
    assert_eq!(
        texts("\r\n\n1\n", false, 3),
        ["\r\n".to_owned(), "\n".to_owned(), "1\n".to_owned()]
    );
    assert_eq!(texts("1\n2\n\r", false, 2), ["1\n", "2\n"]);
}

#[test]
fn the_byte_order_mark_belongs_to_the_first_record() {
    let mark = "\u{feff}";
    assert_eq!(
        texts(&format!("{mark}\"h\nh\"\n1\n2\n"), true, 2),
        [
            format!("{mark}\"h\nh\"\n1\n"),
            format!("{mark}\"h\nh\"\n2\n")
        ]
    );
    assert_eq!(
        texts(&format!("{mark}1\n2\n"), false, 2),
        [format!("{mark}1\n"), "2\n".to_owned()]
    );
}

#[test]
fn fewer_rows_than_parts_are_an_error() {
    for (text, header, rows) in [("h\n1\n2\n", true, 2), ("h\n", true, 0), ("", false, 0)] {
        let error = split(text.as_bytes(), header, 3).unwrap_err();
        assert!(
            matches!(error, SplitError::TooFew(seen) if seen == rows),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn an_unclosed_quote_is_an_error() {
    let error = split(b"h\n1\n\"2\n3\n", true, 1).unwrap_err();
    assert!(matches!(error, SplitError::Unclosed(3)), "{error}");
}

/// Returns at most the given number of bytes per read.
struct ChunkedReader<'a>(&'a [u8], usize);

impl Read for ChunkedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(self.1).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn records_and_line_endings_may_span_buffers() {
    for shift in 0..4 {
        let long = "x".repeat(BUFFER - 2 + shift);
        let text = format!("{long}\r\n\r\n\"{long}\n\"\r\n1\r\n");
        let expected = [
            format!("{long}\r\n"),
            "\r\n".to_owned(),
            format!("\"{long}\n\"\r\n"),
            "1\r\n".to_owned(),
        ];
        assert!(texts(&text, false, 4) == expected, "shift {shift}");
    }
    let mut out = vec![Vec::new(); 2];
    split_rows(ChunkedReader(b"\xef\xbb\xbfh\n1\n2\n", 1), true, &mut out).unwrap();
    assert_eq!(out[1], b"\xef\xbb\xbfh\n2\n");
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z 0-9']{0,6}",
        "[a-z][a-z\"]{0,4}",
        "[a-z,;\t\r\n]{0,6}".prop_map(|inside| format!("\"{inside}\"")),
        Just("\"a\"\"b\n\"\"\"".to_owned()),
    ]
}

/// A record with its line ending; never an empty line.
fn record() -> impl Strategy<Value = String> {
    let end = prop_oneof![Just("\n"), Just("\r\n")];
    (proptest::collection::vec(field(), 1..4), end).prop_map(|(fields, end)| {
        let line = fields.join(",");
        let line = if line.is_empty() {
            "0".to_owned()
        } else {
            line
        };
        format!("{line}{end}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// No row is lost or duplicated, each part keeps the order, and each has the header.
    #[test]
    fn the_parts_together_contain_exactly_the_rows(
        rows in proptest::collection::vec(prop_oneof![8 => record(), 1 => Just("\n".to_owned())], 1..40),
        header in proptest::option::of(record()),
        last in record(),
        ends in any::<bool>(),
        blanks in 0usize..3,
        parts in 1usize..6,
    ) {
        let mut rows = rows;
        rows.push(if ends { last } else { last.trim_end_matches(['\r', '\n']).to_owned() });
        // After a row without a line ending, an empty line would end that row.
        let blanks = if ends { "\n".repeat(blanks) } else { String::new() };
        let text = header.clone().unwrap_or_default() + &rows.concat() + &blanks;
        let outcome = split(text.as_bytes(), header.is_some(), parts);
        if rows.len() < parts {
            prop_assert!(matches!(outcome, Err(SplitError::TooFew(seen)) if seen == rows.len() as u64));
            return Ok(());
        }
        let out = outcome.unwrap();
        for (index, part) in out.iter().enumerate() {
            let own: String = rows.iter().skip(index).step_by(parts).cloned().collect();
            let expected = header.clone().unwrap_or_default() + &own;
            prop_assert_eq!(String::from_utf8_lossy(part), expected);
        }
    }

    /// Any input is handled; with one part and no header only empty lines at the end are dropped.
    #[test]
    fn arbitrary_bytes_are_preserved(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'"')], 0..200)) {
        if let Ok(out) = split(&bytes, false, 1) {
            let rest = bytes.strip_prefix(out[0].as_slice()).unwrap();
            prop_assert!(rest.iter().all(|b| matches!(b, b'\r' | b'\n')));
        }
    }
}
