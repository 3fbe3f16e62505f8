//! Files crafted to consume memory or time are read in bounded memory and reported.
#![allow(clippy::unwrap_used)]

use atq_report::{Options, ResultFile, Tally};

/// Size of the generated files, above all limits.
const SIZE: usize = 72 * 1024 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;
/// Maximum memory for reading a file in KiB.
const MAX_KIB: u64 = 64 * 1024;

const JTL: &str =
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success\n";
const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testResults version=\"1.2\">\n";
const K6: &str = "{\"metric\":\"http_reqs\",\"type\":\"Metric\",\"data\":{}}\n";

/// Current or peak memory of the process in KiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Reads a head followed by a repeated text; returns the problem and the memory used.
fn read(name: &str, head: &str, filling: &str) -> (Option<String>, u64) {
    let chunk = filling.repeat(CHUNK_BYTES / filling.len());
    // Resets the previous peak.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let mut file = ResultFile::new(name, None, &[]);
    file.push(head.as_bytes());
    for _ in 0..SIZE / chunk.len() {
        file.push(chunk.as_bytes());
    }
    let mut tally = Tally::new(Options::default());
    let source = tally.add(file.finish(None));
    let taken = memory("VmHWM:").saturating_sub(before);
    let finished = tally.finish("t", "r");
    assert_eq!(finished.report.total.samples, 0, "{name}");
    assert!(
        source.problem.is_none() || !finished.doubts.is_empty(),
        "{name}"
    );
    (source.problem, taken)
}

/// A single test, because memory is measured for the whole process.
#[test]
fn endless_content_uses_bounded_memory_and_is_reported() {
    let nothing = "";
    for (name, head, filling, is_reported) in [
        ("line.csv", JTL, "x", true),
        ("quote.csv", &format!("{JTL}1,\""), "x", true),
        ("quotes.csv", &format!("{JTL}1,\""), "\"\"", true),
        ("fields.csv", JTL, "1,", true),
        ("rows.csv", JTL, "a,b\n", true),
        ("binary.jtl", "", "\u{0}\u{1}", true),
        ("comment.xml", &format!("{XML}<!--"), "x ", true),
        (
            "attribute.xml",
            &format!("{XML}<httpSample lb=\""),
            "x",
            true,
        ),
        ("nesting.xml", XML, "<a>", true),
        (
            "data.xml",
            &format!("{XML}<sample><responseData><![CDATA["),
            "x",
            true,
        ),
        (
            "failure.xml",
            &format!("{XML}<sample><assertionResult><failureMessage>"),
            "x",
            true,
        ),
        ("line.json", K6, "x", true),
        (
            "tags.json",
            &format!("{K6}{{\"metric\":\"http_reqs\",\"type\":\"Point\",\"data\":{{"),
            "\"a\":1,",
            true,
        ),
        (
            "summary.json",
            "{\"root_group\":{},\"metrics\":{\"http_reqs\":{",
            "\"a\":1,",
            true,
        ),
        ("nesting.json", "{\"root_group\":{\"groups\":", "[", true),
        ("other.txt", "hello\n", "x", false),
        ("spaces.csv", nothing, " ", false),
    ] {
        let (problem, taken) = read(name, head, filling);
        assert!(taken < MAX_KIB, "{name}: {taken} KiB");
        assert_eq!(problem.is_some(), is_reported, "{name}: {problem:?}");
    }
}
