#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// The rows of a text split into chunks of this size; `None` for an unreadable one.
fn ours(text: &[u8], piece: usize) -> Vec<Option<Vec<Vec<u8>>>> {
    let mut rows = Rows::new(b',');
    let mut all = Vec::new();
    let mut read = |rows: &mut Rows| {
        while let Some(row) = rows.next() {
            all.push(match row {
                Row::Malformed => None,
                Row::Fields => Some(rows.fields().map(<[u8]>::to_vec).collect()),
            });
        }
    };
    for bytes in text.chunks(piece) {
        rows.push(bytes);
        read(&mut rows);
    }
    rows.end();
    read(&mut rows);
    all
}

proptest! {
    #[test]
    fn rows_are_those_of_the_csv_crate(
        table in prop::collection::vec(prop::collection::vec("[a-c ,\"\n\r]{0,6}", 1..5), 0..20),
        piece in 1_usize..50,
        windows in any::<bool>(),
    ) {
        let terminator = if windows { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().flexible(true).terminator(terminator).from_writer(Vec::new());
        for row in &table {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text.as_slice());
        let theirs: Vec<Option<Vec<Vec<u8>>>> = reader
            .byte_records()
            .map(|row| Some(row.unwrap().iter().map(<[u8]>::to_vec).collect()))
            .collect();
        prop_assert_eq!(ours(&text, piece), theirs);
    }

    #[test]
    fn arbitrary_bytes_cause_no_panic(text in prop::collection::vec(prop::sample::select(b"a,\"\"\n\r\0\xff".to_vec()), 0..200)) {
        ours(&text, 7);
    }
}

#[test]
fn an_unclosed_quote_loses_only_its_line() {
    let text = b"a,b\n\"c,d\ne,f\n";
    let rows = ours(text, 100);
    assert_eq!(rows.len(), 3);
    assert!(rows[0].is_some() && rows[1].is_none() && rows[2].is_some());
}

#[test]
fn rows_across_buffers_are_complete() {
    let row = format!("{},\"{}\"\n", "x".repeat(1000), "y,\n".repeat(300));
    let rows = ours(row.repeat(1500).as_bytes(), 999_983);
    assert_eq!(rows.len(), 1500);
    assert!(rows.iter().all(|row| row.as_ref().unwrap()[1].len() == 900));
}

#[test]
fn a_row_that_is_too_long_is_skipped() {
    let text = format!("a,b\n{}\nc,d\n", "x".repeat(MAX_ROW + 1));
    let rows = ours(text.as_bytes(), 1 << 20);
    assert_eq!(
        rows.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, true]
    );
}
