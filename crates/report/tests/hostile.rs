//! Files that are made to take memory or time. They are read in bounded memory, and named.
#![allow(clippy::unwrap_used)]

use atq_report::{Options, ResultFile, Tally};

/// More than any file may take.
const SIZE: usize = 72 * 1024 * 1024;
const PORTION: usize = 256 * 1024;
/// Memory that reading a file may take, in KiB.
const MOST_KIB: u64 = 64 * 1024;

const JTL: &str =
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success\n";
const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testResults version=\"1.2\">\n";
const K6: &str = "{\"metric\":\"http_reqs\",\"type\":\"Metric\",\"data\":{}}\n";

/// What the process uses, or has used at most, in KiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Reads a head, then the same text over and over; gives the problem and the memory that it took.
fn read(name: &str, head: &str, filling: &str) -> (Option<String>, u64) {
    let portion = filling.repeat(PORTION / filling.len());
    // The peak of before is of no interest.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let mut file = ResultFile::new(name, None, &[]);
    file.push(head.as_bytes());
    for _ in 0..SIZE / portion.len() {
        file.push(portion.as_bytes());
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

/// All in one test: they measure the memory of the process.
#[test]
fn what_is_endless_takes_bounded_memory_and_is_told() {
    let nothing = "";
    for (name, head, filling, is_told) in [
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
        assert!(taken < MOST_KIB, "{name}: {taken} KiB");
        assert_eq!(problem.is_some(), is_told, "{name}: {problem:?}");
    }
}
