//! RabbitMQ PerfTest's CSV.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]

mod summaries;

use serde_json::json;
use summaries::*;

const NEVER: [&str; 5] = ["mean", "p90", "max", "receivedBytes", "sentBytes"];
const NO_ERRORS: [&str; 7] = [
    "mean",
    "p90",
    "max",
    "receivedBytes",
    "sentBytes",
    "errors",
    "errorPercent",
];

fn near(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 5e-4, "{ours} instead of {theirs}");
}

#[test]
fn messages_are_rates_times_intervals_and_percentiles_are_the_highest() {
    let (source, report) = sound("perftest/confirm.csv");
    assert_eq!((source.format.as_str(), source.samples), ("perftest", 4932));
    let consume =
        json!({"samples": 4932, "min": 0.283, "p50": 128.692, "p95": 246.981, "p99": 273.396});
    assert_figures("total", &report.total, &consume, &NO_ERRORS);
    assert_figures("consume", label(&report, "consume"), &consume, &NO_ERRORS);
    near(report.total.throughput, 986.177);
    let confirm = json!({"samples": 4930, "errors": 0, "errorPercent": 0, "min": 0.203, "p50": 8.689, "p95": 74.15, "p99": 114.895});
    assert_figures("confirm", label(&report, "confirm"), &confirm, &NEVER);
    near(label(&report, "confirm").throughput, 985.864);
    let publish = label(&report, "publish");
    near(publish.throughput, 985.942);
    assert_eq!((publish.samples, publish.missing.len()), (4931, 11));
    let curve: Vec<(f64, f64)> = report
        .distribution
        .iter()
        .map(|point| (point.percentile, point.millis))
        .collect();
    assert_eq!(curve[2], (75.0, 170.535));
    assert_eq!((report.duration, report.series.points.len()), (5.001, 0));
    assert_truncation_is_reported("perftest/confirm.csv", &[88, 95]);
}

#[test]
fn the_unit_of_latencies_is_in_the_header() {
    let (_, report) = sound("perftest/millis.csv");
    let consume = json!({"min": 1, "p50": 12, "p95": 71, "p99": 85});
    assert_figures("total", &report.total, &consume, &NO_ERRORS);
    assert_eq!(label(&report, "confirm").p99, 76.0);
}

#[test]
fn figures_that_are_not_measured_have_no_label() {
    let names = |name: &str| -> Vec<String> {
        let (_, report) = sound(name);
        report.labels.into_iter().map(|label| label.name).collect()
    };
    assert_eq!(names("perftest/noconfirm.csv"), ["consume", "publish"]);
    assert_eq!(names("perftest/noconsumer.csv"), ["confirm", "publish"]);
    let (_, report) = sound("perftest/backlog.csv");
    near(report.total.throughput, 1087.703);
    near(label(&report, "publish").throughput, 6506.035);
    // An id with a comma, and no consumers: the total is `confirm`.
    let (_, report) = sound("perftest/noconsumer.csv");
    let confirm = json!({"samples": 601, "errors": 0, "min": 0.329, "p50": 1.714, "p95": 12.024, "p99": 13.627});
    assert_figures("total", &report.total, &confirm, &NEVER);
    near(report.total.throughput, 200.334);
    let (_, report) = sound("perftest/mandatory.csv");
    let publish = label(&report, "publish");
    assert_eq!(publish.errors, 0);
    assert!(publish.missing.iter().all(|name| name != "errors"));
}

#[test]
fn refused_messages_are_errors_and_appended_runs_are_separate() {
    let text = String::from_utf8(fixture("perftest/confirm.csv")).unwrap();
    let refused = text.replace("570,,570,0,469", "570,,370,200,469");
    let (_, report) = read("p.csv", refused.as_bytes());
    let confirm = label(&report, "confirm");
    assert_eq!((confirm.samples, confirm.errors), (4930, 401));
    let (source, report) = read("p.csv", text.repeat(2).as_bytes());
    assert_eq!((source.problem, report.total.samples), (None, 9864));
    assert_eq!(report.duration, 10.002);
}

#[test]
fn an_unreadable_interval_is_reported() {
    let text = String::from_utf8(fixture("perftest/confirm.csv")).unwrap();
    for bad in [
        text.replace("confirm,3.025,1327", "confirm,3.025,x"),
        text.replace("confirm,3.025,1327,", "confirm,3.025,"),
    ] {
        let (source, _) = read("p.csv", bad.as_bytes());
        assert!(source.problem.unwrap().contains("1 rows cannot be read"));
    }
}

const HEADER: &str = "timestamp_us,operation,step,elapsed_us,messages,failed,bytes\n";

#[test]
fn every_message_is_counted_and_the_total_are_those_that_were_received() {
    let (source, report) = sound("perftest/messages-w1.csv");
    assert_eq!((source.format.as_str(), source.samples), ("perftest", 214));
    let consume = json!({"samples": 106, "errors": 0, "min": 1.45, "max": 103.068, "receivedBytes": 790_000, "sentBytes": 0});
    assert_figures("total", &report.total, &consume, &[]);
    let small = json!({"samples": 54, "min": 1.45, "max": 103.068, "receivedBytes": 270_000});
    assert_figures("consume", label(&report, "consume 5000 B"), &small, &[]);
    let publish = label(&report, "publish 10000 B");
    let large = json!({"samples": 26, "errors": 0, "min": 0.602, "max": 3.065, "sentBytes": 260_000, "receivedBytes": 0});
    assert_figures("publish", publish, &large, &[]);
    assert_eq!(label(&report, "confirm 5000 B").samples, 28);
    assert_eq!(report.labels.len(), 6);
    assert!(report.notes.iter().all(|note| !note.contains("JMeter")));
    assert!(!report.series.points.is_empty());
}

#[test]
fn messages_of_all_workers_are_added_up() {
    let files = ["perftest/messages-w1.csv", "perftest/messages-w2.csv"];
    let files = files.map(|name| (name, fixture(name)));
    let report = read_all(
        &files
            .each_ref()
            .map(|(name, text)| (*name, text.as_slice())),
    );
    assert_eq!(report.total.samples, 106 + 105);
    assert_eq!(label(&report, "publish 5000 B").samples, 28 + 26);
    assert_eq!(label(&report, "consume 10000 B").samples, 52 + 51);
    assert_eq!(label(&report, "confirm 10000 B").max, 23.336);
}

#[test]
fn a_row_of_many_messages_counts_as_often_as_many_rows() {
    let row = |messages: u32| format!("1796053019000500,consume,,250,{messages},0,12\n");
    let (_, one) = read("m.csv", format!("{HEADER}{}", row(1000)).as_bytes());
    let (_, many) = read(
        "m.csv",
        format!("{HEADER}{}", row(1).repeat(1000)).as_bytes(),
    );
    assert_eq!(one.total.mean, 0.25);
    assert_eq!(one.total.received_bytes, 12);
    for (one, many) in [
        (&one.total, &many.total),
        (&one.labels[0].figures, &many.labels[0].figures),
    ] {
        assert_eq!(
            (one.samples, one.min, one.mean),
            (many.samples, many.min, many.mean)
        );
        assert_eq!((one.p50, one.p99, one.max), (many.p50, many.p99, many.max));
        assert_eq!(one.throughput, many.throughput);
    }
    let point = |report: &atq_api_spec::report::Report| report.series.points[0].clone();
    assert_eq!(
        (point(&one).samples, point(&one).p95),
        (point(&many).samples, point(&many).p95)
    );
}

#[test]
fn refused_and_returned_messages_are_errors() {
    let rows = "1796053019000500,publish,,100,10,0,120\n1796053019000900,publish,,0,0,3,0\n1796053019000900,confirm,,500,1,1,0\n1796053019000950,confirm,,600,9,0,0\n";
    let (source, report) = read("m.csv", format!("{HEADER}{rows}").as_bytes());
    assert_eq!(source.problem, None);
    let publish =
        json!({"samples": 10, "errors": 3, "min": 0.1, "max": 0.1, "mean": 0.1, "p99": 0.1});
    assert_figures("publish", label(&report, "publish"), &publish, &[]);
    let confirm = label(&report, "confirm");
    assert_eq!((confirm.samples, confirm.errors), (10, 1));
    let kinds: Vec<&str> = report
        .errors
        .iter()
        .map(|error| error.message.as_str())
        .collect();
    assert!(kinds[0].contains("no queue"), "{kinds:?}");
    assert!(kinds[1].contains("nack"), "{kinds:?}");
}

#[test]
fn a_wrong_or_truncated_row_of_messages_is_reported() {
    for bad in [
        "1796053019000500,deliver,,100,10,0,120\n",
        "1796053019000500,publish,,100,-1,0,120\n",
        "1796053019000500,publish,,100,1000000001,0,120\n",
        "1796053019000500,publish,,100,1,0\n",
        "1796053019000500,publish,,100,1,0,12",
    ] {
        let (source, _) = read("m.csv", format!("{HEADER}{bad}").as_bytes());
        assert!(source.problem.is_some(), "{bad}");
    }
    let good = "1796053019000500,publish,,100,1,0,120\n".repeat(30);
    let (source, report) = read("m.csv", format!("{HEADER}{good}x\n").as_bytes());
    assert_eq!((source.samples, report.total.samples), (30, 30));
}
