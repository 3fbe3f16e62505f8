//! What a file is, by its beginning, and by its name only when there is none.

use super::jtl_columns::Columns;
use super::{Format, HEAD, gatling_binary, gatling_text, hdr_log, hdr_table, numbers, table, wrk};

/// What the beginning of a file shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detected {
    /// More of it is needed.
    Undecided,
    /// A result file.
    Results(Format),
    /// It is meant to be a result file, but cannot be read, for this reason.
    Unreadable(String),
    /// Something else.
    Other,
}

/// Looks at the beginning of a file. `whole`: it is all of the file. A longer beginning never gives
/// another answer than a shorter one, unless that was undecided.
pub fn detect(name: &str, head: &[u8], whole: bool) -> Detected {
    let whole = whole || head.len() >= HEAD;
    let text = numbers::without_mark(head).trim_ascii_start();
    let detected = match text.first() {
        None => by_name(name),
        Some(b'<') => xml(text),
        Some(b'{' | b'[') => json(text, whole),
        Some(_) => binary(name, head)
            .or_else(|| gatling_binary::detect(name, head, whole))
            .or_else(|| gatling_text::detect(head, whole))
            .or_else(|| hdr_log::detect(head, whole))
            .or_else(|| hdr_table::detect(head, whole))
            .or_else(|| wrk::detect(head, whole))
            .unwrap_or_else(|| table(head, whole)),
    };
    match detected {
        Detected::Other | Detected::Undecided if !whole => Detected::Undecided,
        Detected::Other | Detected::Undecided if is_named_as_results(name) => {
            Detected::Unreadable("it is in none of the known formats".to_owned())
        }
        Detected::Undecided => Detected::Other,
        decided => decided,
    }
}

fn by_name(name: &str) -> Detected {
    let endings = [
        (".jtl", Format::JtlCsv),
        ("_stats.csv", Format::LocustStats),
        ("_stats_history.csv", Format::LocustHistory),
        ("_failures.csv", Format::LocustFailures),
        ("_exceptions.csv", Format::LocustExceptions),
    ];
    let found = endings.iter().find(|(ending, _)| name.ends_with(ending));
    found.map_or(Detected::Other, |(_, format)| Detected::Results(*format))
}

/// `.jtl` is a name for nothing else.
fn is_named_as_results(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.to_ascii_lowercase().ends_with(".jtl")
}

fn has(text: &[u8], word: &str) -> bool {
    memchr::memmem::find(text, word.as_bytes()).is_some()
}

fn xml(text: &[u8]) -> Detected {
    match has(text, "<testResults") {
        true => Detected::Results(Format::JtlXml),
        false => Detected::Other,
    }
}

/// Packed files that cannot be read, by their first bytes.
fn binary(name: &str, head: &[u8]) -> Option<Detected> {
    let packers: [(&[u8], &str, &str); 5] = [
        (b"\xfd7zXZ\0", "xz", ".xz"),
        (b"\x28\xb5\x2f\xfd", "zstd", ".zst"),
        (b"BZh", "bzip2", ".bz2"),
        (b"PK\x03\x04", "zip", ".zip"),
        (b"7z\xbc\xaf\x27\x1c", "7z", ".7z"),
    ];
    let mut packers = packers.iter();
    let (_, packer, ending) = packers.find(|(magic, ..)| head.starts_with(magic))?;
    let inner = name.strip_suffix(ending).unwrap_or(name);
    let is_meant = [".jtl", ".csv", ".json"];
    let is_meant = is_meant.iter().any(|ending| inner.ends_with(ending));
    Some(match is_meant {
        true => Detected::Unreadable(format!(
            "it is packed by {packer}: only gzip and plain files are read"
        )),
        false => Detected::Other,
    })
}

fn json(text: &[u8], whole: bool) -> Detected {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or(text);
    let is_point = [
        r#""type":"Metric""#,
        r#""type":"Point""#,
        r#""type": "Metric""#,
        r#""type": "Point""#,
    ];
    if is_point.iter().any(|point| has(line, point)) && has(line, r#""metric""#) {
        return Detected::Results(Format::K6Json);
    }
    if !whole {
        return Detected::Undecided;
    }
    if is_k6_summary(text) {
        return Detected::Results(Format::K6Summary);
    }
    Detected::Other
}

/// Many programs write an object with `metrics`; those that every test of k6 has are k6's own.
fn is_k6_summary(text: &[u8]) -> bool {
    let own = [
        r#""http_req_duration"#,
        r#""iteration_duration""#,
        r#""data_received""#,
        r#""http_reqs""#,
    ];
    has(text, r#""root_group""#)
        || (has(text, r#""metrics""#) && own.iter().any(|metric| has(text, metric)))
}

fn table(head: &[u8], whole: bool) -> Detected {
    let Some(line) = table::first_line(head, whole) else {
        return Detected::Undecided;
    };
    let mut near = None;
    for delimiter in *b",;\t|" {
        let fields = table::split(line, delimiter);
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        match header(&fields) {
            Detected::Results(format) => return Detected::Results(format),
            Detected::Unreadable(why) => near = near.or(Some(Detected::Unreadable(why))),
            _ => {}
        }
        if whole && Columns::guessed(head, delimiter).is_some() {
            return Detected::Results(Format::JtlCsv);
        }
    }
    near.unwrap_or(Detected::Other)
}

/// What the names of columns belong to.
fn header(names: &[&[u8]]) -> Detected {
    let has = |name: &str| table::has(names, name);
    let any = |wanted: &[&str]| wanted.iter().any(|name| has(name));
    let begins = |with: &[&str]| {
        names.len() >= with.len() && names.iter().zip(with).all(|(a, b)| *a == b.as_bytes())
    };
    let of_jmeter = [
        "responseCode",
        "responseMessage",
        "threadName",
        "allThreads",
        "grpThreads",
    ];
    let format = if begins(&["metric_name", "timestamp", "metric_value"]) {
        Format::K6Csv
    } else if begins(&["Type", "Name", "Request Count"]) || begins(&["Type", "Name", "# requests"])
    {
        Format::LocustStats
    } else if begins(&["Timestamp", "User Count"]) {
        Format::LocustHistory
    } else if begins(&["Method", "Name", "Error", "Occurrences"]) {
        Format::LocustFailures
    } else if begins(&["Count", "Message", "Traceback"]) {
        Format::LocustExceptions
    } else if has("elapsed") && (names.contains(&&b"timeStamp"[..]) || any(&of_jmeter)) {
        Format::JtlCsv
    } else if has("elapsed") && has("label") && has("success") {
        Format::Csv
    } else if names.contains(&&b"timeStamp"[..]) || (any(&of_jmeter) && has("label")) {
        return Detected::Unreadable("its header has no column `elapsed`".to_owned());
    } else if has("elapsed") && has("timestamp") {
        let lacks = if has("label") { "success" } else { "label" };
        return Detected::Unreadable(format!("its header has no column `{lacks}`"));
    } else {
        return Detected::Other;
    };
    Detected::Results(format)
}
