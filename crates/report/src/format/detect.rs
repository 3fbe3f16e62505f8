//! Detects the format of a file by its beginning, or by its name if the beginning is missing.

use super::jtl_columns::Columns;
use super::{
    Format, HEAD, gatling_binary, gatling_text, ghz, hdr_log, hdr_table, hey, jmeter_table,
    numbers, oha, perftest, perftest_messages, table, vegeta, vegeta_gob, wrk,
};

/// The result of the detection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detected {
    /// More bytes are needed.
    Undecided,
    /// A result file.
    Results(Format),
    /// The file should be a result file, but cannot be read for this reason.
    Unreadable(String),
    /// Not a result file.
    Other,
}

/// Detects the format. `whole`: `head` is the whole file. A longer beginning never changes the
/// result, unless it was undecided.
pub fn detect(name: &str, head: &[u8], whole: bool) -> Detected {
    let whole = whole || head.len() >= HEAD;
    let text = numbers::without_mark(head).trim_ascii_start();
    let detected = match text.first() {
        None => by_name(name),
        // Its first byte is a length, and may equal that of any text.
        Some(_) if vegeta_gob::is_gob(head) => Detected::Results(Format::VegetaGob),
        Some(b'<') => xml(text),
        Some(b'{' | b'[') => json(text, whole),
        Some(b'S') if hey::is_summary(text) => Detected::Results(Format::HeySummary),
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
            Detected::Unreadable("its format is not recognised".to_owned())
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

/// The extension `.jtl` is used only for results.
fn is_named_as_results(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.to_ascii_lowercase().ends_with(".jtl")
}

fn has(text: &[u8], word: &str) -> bool {
    memchr::memmem::find(text, word.as_bytes()).is_some()
}

fn xml(text: &[u8]) -> Detected {
    match has_root(text, b"testResults") {
        true => Detected::Results(Format::JtlXml),
        false => Detected::Other,
    }
}

/// True if the first element of the document has this name.
fn has_root(mut text: &[u8], name: &[u8]) -> bool {
    loop {
        let end: &[u8] = match text {
            [b'<', b'?', ..] => b"?>",
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'<', b'!', ..] => b">",
            [b'<', rest @ ..] => {
                let after = rest.strip_prefix(name).and_then(|rest| rest.first());
                return after
                    .is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'));
            }
            _ => return false,
        };
        let Some(at) = memchr::memmem::find(text, end) else {
            return false;
        };
        text = text[at + end.len()..].trim_ascii_start();
    }
}

/// Detects unsupported compressed files by their first bytes.
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
            "it is compressed by {packer}: only gzip and uncompressed files are supported"
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
    if is_point.iter().any(|point| has(line, point))
        && has(line, r#""metric""#)
        && has(line, r#""data""#)
    {
        return Detected::Results(Format::K6Json);
    }
    if let Some(format) = json_of(text, line) {
        return Detected::Results(format);
    }
    if !whole {
        return Detected::Undecided;
    }
    if is_k6_summary(text) {
        return Detected::Results(Format::K6Summary);
    }
    if is_locust_json(text) {
        return Detected::Results(Format::LocustJson);
    }
    if is_artillery(text) {
        return Detected::Results(Format::Artillery);
    }
    if is_jmeter_dashboard(text) {
        return Detected::Results(Format::JmeterDashboard);
    }
    Detected::Other
}

/// Detects documents and lines by their first name, and by other names that must be present.
fn json_of(text: &[u8], line: &[u8]) -> Option<Format> {
    let all = |text: &[u8], names: &[&str]| names.iter().all(|name| has(text, name));
    let result = [r#""latency":"#, r#""bytes_out":"#, r#""bytes_in":"#];
    let format = match first_name(text)? {
        b"attack" | b"code" if all(line, &result) => Format::VegetaJson,
        b"latencies" if all(text, &[r#""bytes_in""#, r#""wait""#, r#""status_codes""#]) => {
            Format::VegetaReport
        }
        b"date" if all(text, &[r#""endReason""#, r#""options""#, r#""call""#]) => Format::GhzJson,
        b"summary" if all(text, &[r#""successRate""#, r#""latencyPercentiles""#]) => {
            Format::OhaJson
        }
        _ => return None,
    };
    Some(format)
}

/// The first name of an object.
fn first_name(text: &[u8]) -> Option<&[u8]> {
    let name = text.strip_prefix(b"{")?.trim_ascii_start();
    let name = name.strip_prefix(b"\"")?;
    name.get(..memchr::memchr(b'"', name)?)
}

/// Many programs write an object with `metrics`; k6 is recognised by the metrics of every k6 test.
fn is_k6_summary(text: &[u8]) -> bool {
    let own = [
        r#""http_req_duration"#,
        r#""iteration_duration""#,
        r#""data_received""#,
        r#""http_reqs""#,
    ];
    has(text, r#""metrics""#) && own.iter().any(|metric| has(text, metric))
        // The beginning may consist of checks and groups.
        || (has(text, r#""root_group""#) && has(text, r#""groups""#) && !has(text, r#""schema"#))
}

/// Detects Locust's list of statistics by name and method. An empty list could belong to any program.
fn is_locust_json(text: &[u8]) -> bool {
    let own = [
        r#""num_requests""#,
        r#""num_failures""#,
        r#""total_response_time""#,
        r#""response_times""#,
    ];
    text.first() == Some(&b'[') && own.iter().all(|name| has(text, name))
}

/// `aggregate` comes first, with the counters of virtual users (Artillery 2) or of scenarios (Artillery 1).
fn is_artillery(text: &[u8]) -> bool {
    let begins = text
        .strip_prefix(b"{")
        .is_some_and(|text| text.trim_ascii_start().starts_with(b"\"aggregate\""));
    let is_second = has(text, r#""counters""#) && has(text, r#""vusers."#);
    let is_first = has(text, r#""scenariosCreated""#) && has(text, r#""requestsCompleted""#);
    begins && (is_second || is_first)
}

/// Detects the figures of each label by JMeter's names.
fn is_jmeter_dashboard(text: &[u8]) -> bool {
    let own = [
        r#""transaction""#,
        r#""sampleCount""#,
        r#""errorCount""#,
        r#""meanResTime""#,
        r#""pct1ResTime""#,
    ];
    text.first() == Some(&b'{') && own.iter().all(|name| has(text, name))
}

fn table(head: &[u8], whole: bool) -> Detected {
    if vegeta::is_csv(head, whole) {
        return Detected::Results(Format::VegetaCsv);
    }
    let Some(line) = table::first_line(head, whole) else {
        return Detected::Undecided;
    };
    let mut near = None;
    for delimiter in table::DELIMITERS {
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

/// Detects the format by column names.
fn header(names: &[&[u8]]) -> Detected {
    /// The first columns of tables.
    const BEGINNINGS: [(&str, Format); 9] = [
        ("metric_name,timestamp,metric_value", Format::K6Csv),
        ("Type,Name,Request Count", Format::LocustStats),
        ("Type,Name,# requests", Format::LocustStats),
        ("Timestamp,User Count", Format::LocustHistory),
        ("Method,Name,Error,Occurrences", Format::LocustFailures),
        ("Count,Message,Traceback", Format::LocustExceptions),
        (hey::HEADER, Format::HeyCsv),
        (oha::HEADER, Format::OhaCsv),
        (perftest_messages::HEADER, Format::PerfTestMessages),
    ];
    let has = |name: &str| table::has(names, name);
    let columns = |header: &'static str| header.split(',').map(str::as_bytes).collect::<Vec<_>>();
    let mut beginnings = BEGINNINGS.into_iter();
    let begun = beginnings.find(|&(header, _)| names.starts_with(&columns(header)));
    let format = if let Some((_, format)) = begun {
        format
    } else if jmeter_table::is_header(names) {
        Format::JmeterTable
    } else if perftest::is_header(names) {
        Format::PerfTest
    } else if names == columns(ghz::HEADER) {
        Format::GhzCsv
    } else if has("elapsed") && is_jtl(names) {
        Format::JtlCsv
    } else if has("elapsed") && has("label") && has("success") {
        Format::Csv
    } else if let Some(missing) = missing_column(names) {
        return Detected::Unreadable(format!("its header has no column `{missing}`"));
    } else {
        return Detected::Other;
    };
    Detected::Results(format)
}

/// Columns specific to JMeter.
const OF_JMETER: [&str; 5] = [
    "responseCode",
    "responseMessage",
    "threadName",
    "allThreads",
    "grpThreads",
];

fn is_jtl(names: &[&[u8]]) -> bool {
    let has = |name: &str| table::has(names, name);
    let of_jmeter = OF_JMETER.iter().any(|name| has(name));
    let is_dated = names.contains(&&b"timeStamp"[..]);
    (is_dated && (of_jmeter || has("label") || has("success"))) || (of_jmeter && has("label"))
}

/// The missing column of an otherwise valid table of samples.
fn missing_column(names: &[&[u8]]) -> Option<&'static str> {
    let wanted = ["timestamp", "elapsed", "label", "success"];
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|name| !table::has(names, name))
        .collect();
    match missing.as_slice() {
        [missing] if *missing != "timestamp" => Some(missing),
        ["elapsed", _] if OF_JMETER.iter().any(|name| table::has(names, name)) => Some("elapsed"),
        _ => None,
    }
}
