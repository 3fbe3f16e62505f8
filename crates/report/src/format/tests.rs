#![allow(clippy::unwrap_used, clippy::float_cmp)]

use crate::{Options, SourceSummary, Tally};
use atq_api_spec::report::Report;
use proptest::prelude::*;

fn read_as(name: &str, text: &[u8]) -> (SourceSummary, Report) {
    let mut tally = Tally::new(Options::default());
    let source = tally.read(name, Some("w"), text).unwrap();
    (source, tally.finish("t", "r").report)
}

const JTL: &str = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n";
const ROW: &str =
    "1760000000000,12,Home,200,OK,10.0.24.3-Users 1-1,text,true,,5,6,1,1,http://x/,1,0,1\n";

#[test]
fn a_truncated_row_is_ignored_and_reported() {
    let text = format!("{JTL}{ROW}{ROW}");
    for cut in [1, 5, 40, 70] {
        let (source, report) = read_as("a.jtl", &text.as_bytes()[..text.len() - cut - 2]);
        assert_eq!(report.total.samples, 1, "{cut}");
        assert!(source.problem.unwrap().contains("truncated"));
    }
    let (source, report) = read_as("a.jtl", text.trim_end().as_bytes());
    assert_eq!((source.problem, report.total.samples), (None, 2));
}

#[test]
fn unreadable_rows_are_counted_with_the_first() {
    let text = format!(
        "{JTL}{ROW}x,y\n{}{ROW}{JTL}{ROW}",
        ROW.replace(",12,", ",-12,")
    );
    let (source, report) = read_as("a.jtl", text.as_bytes());
    assert_eq!((source.samples, report.total.samples), (3, 3));
    assert_eq!(
        source.problem.unwrap(),
        "2 rows cannot be read, the first is row 3: it has 2 fields instead of 17"
    );
}

#[test]
fn an_unreadable_value_is_reported_with_the_column_name_of_the_file() {
    for (header, name) in [
        ("timestamp,elapsed,label,success", "timestamp"),
        (" TimeStamp ,elapsed,label,success", "TimeStamp"),
        ("timeStamp,elapsed,label,success,threadName", "timeStamp"),
    ] {
        let more = if header.ends_with("Name") { ",t" } else { "" };
        let text = format!("{header}\nabc,1,x,true{more}\n1760000000000,1,x,true{more}\n");
        let (source, _) = read_as("a.csv", text.as_bytes());
        let wanted = format!("row 2 cannot be read: its `{name}` is `abc`");
        assert_eq!(source.problem.unwrap(), wanted);
    }
}

#[test]
fn empty_files_and_headers_alone_are_no_problem() {
    for (name, text, format) in [
        ("a.jtl", "", "jtl-csv"),
        ("a", JTL, "jtl-csv"),
        ("a.csv", "timestamp,elapsed,label,success\n", "csv"),
        ("l_stats.csv", "", "locust"),
        ("notes.txt", "hello, world\nthis is text\n", ""),
        ("a.xml", "<?xml version=\"1.0\"?><testsuite/>", ""),
        (
            "a.xml",
            "<testResults version=\"1.2\"></testResults>",
            "jtl-xml",
        ),
        ("a.bin", "\0\u{1}\u{2}", ""),
        ("a.json", "{\"hello\": 1}", ""),
    ] {
        let (source, report) = read_as(name, text.as_bytes());
        assert_eq!(
            (source.format.as_str(), source.samples, source.problem),
            (format, 0, None),
            "{text}"
        );
        assert_eq!(report.total.samples, 0);
    }
}

#[test]
fn files_of_jmeter_without_a_header_are_detected_by_their_columns() {
    let old = "1760000000000,12,Home,500,Oops,Users 1-1,text,false,5,1,7,1,host-a,0\n";
    let (source, report) = read_as("results", old.as_bytes());
    assert_eq!(source.format, "jtl-csv");
    assert_eq!((report.total.errors, report.total.received_bytes), (1, 5));
    assert_eq!(report.workers[0].name, "host-a");
    assert_eq!(report.series.points[0].active, Some(7.0));
    let (_, report) = read_as("results", ROW.as_bytes());
    assert_eq!(
        (report.total.received_bytes, report.total.sent_bytes),
        (5, 6)
    );
    assert_eq!(report.workers[0].name, "10.0.24.3");
}

#[test]
fn the_simple_csv_accepts_fractions_and_columns_in_any_order() {
    let text = "success,worker,label,elapsed,timestamp,active\r\n1,w1,\"a,b\",0.25,1760000000000.5,3\r\nfalse,w2,c,2,1760000001000,4\r\n";
    let (source, report) = read_as("x.csv", text.as_bytes());
    assert_eq!((source.format.as_str(), source.problem), ("csv", None));
    assert_eq!(
        (report.total.samples, report.total.errors, report.total.min),
        (2, 1, 0.25)
    );
    assert_eq!(report.labels[0].name, "a,b");
    assert_eq!(report.workers.len(), 2);
}

#[test]
fn transactions_alone_are_the_total() {
    let row = ROW.replace(
        ",OK,",
        ",\"Number of samples in transaction : 1, number of failing samples : 0\",",
    );
    let (_, report) = read_as("a.jtl", format!("{JTL}{row}").as_bytes());
    assert_eq!((report.total.samples, report.series.points.len()), (1, 1));
    assert!(report.notes[0].contains("transactions"));
    let (_, report) = read_as("a.jtl", format!("{JTL}{row}{ROW}").as_bytes());
    assert_eq!(
        (report.total.samples, report.labels[0].figures.samples),
        (1, 2)
    );
}

#[test]
fn truncated_xml_keeps_the_decoded_samples() {
    let text = "<testResults><httpSample t=\"5\" ts=\"1760000000000\" s=\"true\" lb=\"a\"/>\n<httpSample t=";
    let (source, report) = read_as("a.xml", text.as_bytes());
    assert_eq!(report.total.samples, 1);
    assert!(source.problem.is_some());
    let (source, _) = read_as("a.xml", &text.as_bytes()[..text.len() - 14]);
    assert_eq!(source.problem.unwrap(), "it ends before `</testResults>`");
}

#[test]
fn data_of_responses_in_xml_is_skipped() {
    let data = "x".repeat(3_000_000);
    let text = format!(
        "<testResults><sample t=\"5\" ts=\"1760000000000\" s=\"true\" lb=\"a\"><responseData>{data}</responseData></sample></testResults>"
    );
    let (source, report) = read_as("a.xml", text.as_bytes());
    assert_eq!((source.problem, report.total.samples), (None, 1));
}

#[test]
fn a_sample_of_unknown_success_is_judged_by_its_code() {
    let xml = r#"<testResults version="1.2">
<httpSample t="5" ts="1760000000000" lb="Home" rc="500"/>
<httpSample t="5" ts="1760000000000" lb="Home" rc="200"/>
</testResults>"#;
    let points = "metric_name,timestamp,metric_value,check,error,error_code,expected_response,name,status\n\
                  http_req_duration,1760000000,5.0,,,,,Home,503\n\
                  http_req_duration,1760000000,5.0,,,,,Home,200\n";
    for (name, text) in [("a.xml", xml), ("k6.csv", points)] {
        let (_, report) = read_as(name, text.as_bytes());
        assert_eq!(
            (report.total.samples, report.total.errors),
            (2, 1),
            "{name}"
        );
    }
}

#[test]
fn a_non_numeric_figure_of_locust_is_missing() {
    let text = "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,\
                Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\n\
                ,Aggregated,10,0,5,N/A,1,9,1,1.0,0.0,5,5,5,5,5,5,5,5,5,5,9\n";
    let (_, report) = read_as("l_stats.csv", text.as_bytes());
    assert_eq!(report.total.samples, 10);
    assert!(
        report.total.missing.contains(&"mean".to_owned()),
        "{:?}",
        report.total.missing
    );
}

#[test]
fn summaries_of_several_workers_are_bounded_and_not_averaged() {
    let one = r#"{"metrics":{"http_reqs":{"count":10,"rate":5},"http_req_failed":{"passes":1},"http_req_duration":{"avg":10,"min":1,"med":9,"max":30,"p(90)":20,"p(95)":25,"p(99)":29}}}"#;
    let two = one
        .replace("\"count\":10", "\"count\":30")
        .replace("\"avg\":10", "\"avg\":50")
        .replace("\"p(95)\":25", "\"p(95)\":80");
    let mut tally = Tally::new(Options::default());
    tally.read("1.json", Some("w1"), one.as_bytes()).unwrap();
    tally.read("2.json", Some("w2"), two.as_bytes()).unwrap();
    assert_eq!(tally.percentile(None, 95.0), Some(80.0));
    let report = tally.finish("t", "r").report;
    assert_eq!(
        (report.total.samples, report.total.mean, report.total.p95),
        (40, 40.0, 80.0)
    );
    assert_eq!(report.workers.len(), 2);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("highest of 2"))
    );
}

const HEADS: &[&str] = &[
    JTL,
    "1760000000000,12,Home,200,OK,t,text,true\n",
    "<testResults><httpSample t=\"1\" ",
    "Type,Name,Request Count,Failure Count,50%\n",
    "Timestamp,User Count,Type,Name,Total Request Count\n",
    "Method,Name,Error,Occurrences\n",
    "{\"metrics\":{\"http_reqs\":{\"count\":3}}}",
    "metric_name,timestamp,metric_value,name\nhttp_req_duration,1,2,x\n",
    "{\"metric\":\"x\",\"type\":\"Point\",\"data\":{}}\n",
    "timestamp,elapsed,label,success\n",
    "[{\"name\":\"a\",\"num_requests\":3,\"num_failures\":1,\"total_response_time\":9.5,\"max_response_time\":5,\"total_content_length\":7,\"response_times\":{\"3\":3}}]",
    "{\"Total\":{\"transaction\":\"Total\",\"sampleCount\":3,\"errorCount\":1,\"meanResTime\":2.5,\"pct1ResTime\":4.0}}",
    "Label,# Samples,Average,Median,90% Line,Min,Max,Error %,Throughput\na,3,5,4,6,1,9,33.333%,2.5\n",
    "{\"aggregate\":{\"counters\":{\"vusers.created\":1,\"http.requests\":3,\"http.codes.500\":1},\"firstMetricAt\":1,\"lastMetricAt\":2},\"intermediate\":[{\"period\":\"10000\"}]}",
    "{\"aggregate\":{\"scenariosCreated\":1,\"requestsCompleted\":3,\"codes\":{\"500\":1}},\"intermediate\":[{\"latencies\":[5]}]}",
    "id,time (s),published (msg/s),returned (msg/s),confirmed (msg/s),nacked (msg/s),received (msg/s)\na,1,2,,3,0,4\n",
    "Label,# Samples,Average,Min,Max,Std. Dev.,Error %,Throughput,Avg. Bytes\n",
    "{\"attack\":\"\",\"seq\":0,\"code\":200,\"timestamp\":\"2026-11-28T14:46:26Z\",\"latency\":7,\"bytes_out\":0,\"bytes_in\":1,\"error\":\"\"}\n",
    "1795877186301308996,200,7339833,0,13,,YQ==,shop,0\n",
    "{\"latencies\":{},\"bytes_in\":{},\"wait\":1,\"status_codes\":{}}",
    "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset\n",
    "\nSummary:\n  Total:\t0.5 secs\n  Slowest:\t0.1 secs\nStatus code distribution:\n",
    "{\"date\":\"2026-11-28T14:50:43Z\",\"endReason\":\"normal\",\"options\":{\"call\":\"a.B\"},\"count\":3,\"details\":[{\"timestamp\":\"",
    "\nduration (ms),status,error\n",
    "{\"summary\":{\"successRate\":1},\"statusCodeDistribution\":{},\"latencyPercentiles\":{}}",
    "request-start,DNS,DNS+dialup,Response-delay,request-duration,bytes,status\n",
    "RUN\tA\ta\t1760000000000\t \t3.9.5\nUSER\tU\tSTART\t1760000000000\nREQUEST\tG\tN\t1760000000000\t1760000000005\tOK\t \n",
    GATLING,
    "#[Histogram log format version 1.3]\n0.000,0.998,9.759,HISTFAAAAKZ42i2OPQrCQBBGd98SRXQLC\n",
    "Value Percentile TotalCount 1/(1-Percentile)\n\n 0.055 0.0 1 1.00\n#[Mean = 2.653, StdDeviation = 3.5]\n#[Buckets = 22, SubBuckets = 2048]\n",
    "Running 4s test @ http://x/\n  2 threads and 4 connections\n    Latency 4.62ms 1.93ms 10.24ms 58.00%\n  402 requests in 4.01s, 71.45KB read\nRequests/sec: 100.32\nTransfer/sec: 17.83KB\n",
    "\"Value\",\"Percentile\",\"TotalCount\",\"1/(1-Percentile)\"\n0.055,0.0,1,1.00\n",
];

/// Definitions of a gob, followed by the beginning of a result.
const GOB: &[u8] = b"\x30\x7f\x03\x01\x01\x06Result\x01\xff\x80\x00\x01\x03\x01\x09Timestamp\x01\xff\x82\x00\x01\x07Latency\x01\x04\x00\x01\x04Body\x01\x0a\x00\x00\x00\x08\xff\x81\x05\x01\x01\x01\x00\x00\x20\xff\x80\x01\x0f\x01\x00";

#[test]
fn a_gob_without_results_is_detected() {
    assert_eq!(read_as("any", GOB).0.format, "vegeta");
}
/// Gatling's binary log: a run without scenarios and a request.
const GATLING: &str = "\0\0\0\0\u{6}3.15.1\0\0\0\0\u{1}A\0\0\0\u{1}\x70\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
                       \u{1}\0\0\0\0\0\0\0\u{1}\0\0\0\u{1}N\0\0\0\0\u{1}\0\0\0\u{9}\u{1}\0\0\0\u{2}\0\0\0\0";

proptest! {
    #[test]
    fn no_gob_causes_a_panic(
        cut in 10_usize..GOB.len(),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = GOB[..cut].to_vec();
        bytes.extend(rest);
        read_as("any", &bytes);
    }

    #[test]
    fn no_file_causes_a_panic(
        head in prop::sample::select(HEADS.to_vec()),
        cut in 0_usize..200,
        rest in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[0-9a-z,.\"<>/= \n{}:-]{0,300}".prop_map(String::into_bytes),
            "(([0-9]{1,20}|Aggregated|true|false|)[,\n]){0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let mut text = head.as_bytes()[..cut.min(head.len()).max(head.len() / 2)].to_vec();
        text.extend(rest);
        let (source, report) = read_as("any", &text);
        prop_assert!(report.total.samples <= source.samples || source.format.is_empty());
        prop_assert!(report.series.points.len() <= 600);
    }
}
