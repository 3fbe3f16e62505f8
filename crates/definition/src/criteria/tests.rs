//! Tests the syntax of criteria.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::examples::any_criterion;
use insta::assert_snapshot;
use proptest::prelude::*;

fn canonical(text: &str) -> String {
    Criterion::parse(text).unwrap().to_string()
}

fn message(text: &str) -> String {
    Criterion::parse(text)
        .expect_err("it was accepted")
        .to_string()
}

#[test]
fn criteria_have_one_canonical_form() {
    for (text, form) in [
        ("p95 < 500ms", "p95 < 500ms"),
        ("P99.9<=2S", "p99.9 <= 2s"),
        ("  p99   of  Login<2s ", "p99 of Login < 2s"),
        (
            "mean of \"GET /cart (json)\" < 300 ms",
            "mean of \"GET /cart (json)\" < 300ms",
        ),
        ("mean of GET /cart < 300ms", "mean of \"GET /cart\" < 300ms"),
        (
            r#"max OF "a \"b\" < \\ c" < 1.5 m"#,
            r#"max of "a \"b\" < \\ c" < 1.5m"#,
        ),
        ("median >= 1min", "p50 >= 1m"),
        ("avg < 300ms FOR 30s", "mean < 300ms for 30s"),
        ("errors < 1%", "errors < 1%"),
        ("errors<10", "errors < 10"),
        ("errors == 0", "errors = 0"),
        ("errors < 10% for 1m", "errors < 10% for 60s"),
        ("samples != 0", "samples != 0"),
        ("throughput > 100/s", "throughput > 100/s"),
        (
            "throughput >= 0.5/H for 1h",
            "throughput >= 0.5/h for 3600s",
        ),
        ("p100 < 1s", "p100 < 1s"),
        ("min > 0ms", "min > 0ms"),
    ] {
        assert_eq!(canonical(text), form, "{text}");
        assert_eq!(canonical(form), form);
    }
}

#[test]
fn an_error_has_a_position_and_the_expected_text() {
    let texts = [
        "",
        "   ",
        "p95",
        "p95 <",
        "p95 <500",
        "p95 < 500 for 30s",
        "p95 < 500mms",
        "p95 < 500%",
        "p95 = 500ms",
        "p95 <> 500ms",
        "p95 500ms",
        "p < 1s",
        "p0 < 1s",
        "p101 < 1s",
        "p9.9.9 < 1s",
        "95p < 1s",
        "erors < 1%",
        "latency < 1s",
        "errors < 1ms",
        "errors = 1%",
        "errors < 1.5",
        "errors < -1",
        "samples > 1000/s",
        "throughput > 100",
        "throughput > 100/d",
        "p99 of < 2s",
        "p99 of Login 2s",
        "p99 of \"Login < 2s",
        "p99 of \"\" < 2s",
        "p99 Login < 2s",
        "mean < 300ms for",
        "mean < 300ms for 30",
        "mean < 300ms for 30 days",
        "mean < 300ms for 0s",
        "mean < 300ms for 1.5s",
        "max < 300ms for 30s",
        "errors < 10 for 30s",
        "mean < 300ms during 30s",
        "mean < 300ms for 30s or so",
        "mean < 9999999999999s",
        "mean < .5s",
    ];
    let all: Vec<String> = texts
        .iter()
        .map(|text| format!("{text:<28} {}", message(text)))
        .collect();
    assert_snapshot!(all.join("\n"), @r#"
                                 column 1: the text ends here; expected a figure, for example `p95`, `mean` or `errors`
                                 column 4: the text ends here; expected a figure, for example `p95`, `mean` or `errors`
    p95                          column 4: the text ends here; expected an operator (`<`, `<=`, `>`, `>=`) after `p95`, or `of` and a label
    p95 <                        column 6: the text ends here; expected an amount after `<`
    p95 <500                     column 9: `500` has no unit; a time needs `ms`, `s` or `m`, for example `500ms`
    p95 < 500 for 30s            column 10: `500` has no unit; a time needs `ms`, `s` or `m`, for example `500ms`
    p95 < 500mms                 column 10: `mms` is not a unit of `p95`; a time needs `ms`, `s` or `m`, for example `500ms`
    p95 < 500%                   column 10: `%` is not a unit of `p95`; a time needs `ms`, `s` or `m`, for example `500ms`
    p95 = 500ms                  column 5: `=` is for counts only; expected `<`, `<=`, `>` or `>=` after `p95`
    p95 <> 500ms                 column 5: found `<>`; expected an operator (`<`, `<=`, `>`, `>=`) after `p95`, or `of` and a label
    p95 500ms                    column 5: found `500ms`; expected an operator (`<`, `<=`, `>`, `>=`) after `p95`, or `of` and a label
    p < 1s                       column 1: `p` is not a figure; did you mean `p95`?
    p0 < 1s                      column 1: `p0` is not a percentile; expected a number above 0 and up to 100 after `p`, for example `p99.9`
    p101 < 1s                    column 1: `p101` is not a percentile; expected a number above 0 and up to 100 after `p`, for example `p99.9`
    p9.9.9 < 1s                  column 1: `p9.9.9` is not a percentile; expected a number above 0 and up to 100 after `p`, for example `p99.9`
    95p < 1s                     column 1: `95p` is not a figure; expected one of `p95`, `p99.9`, `median`, `mean`, `avg`, `min`, `max`, `errors`, `throughput`, `samples`
    erors < 1%                   column 1: `erors` is not a figure; did you mean `errors`?
    latency < 1s                 column 1: `latency` is not a figure; expected one of `p95`, `p99.9`, `median`, `mean`, `avg`, `min`, `max`, `errors`, `throughput`, `samples`
    errors < 1ms                 column 11: `ms` is not a unit of `errors`; a rate has `%`, a count has none
    errors = 1%                  column 11: `=` is for counts only; expected `<`, `<=`, `>` or `>=` before a rate
    errors < 1.5                 column 13: `1.5` is not whole; a number of samples is
    errors < -1                  column 10: found `-1`; expected an amount after `<`
    samples > 1000/s             column 15: `/s` is not a unit of `samples`; a count has none
    throughput > 100             column 17: `100` has no unit; a throughput needs `/s`, `/min` or `/h`, for example `100/s`
    throughput > 100/d           column 17: `/d` is not a unit of `throughput`; a throughput needs `/s`, `/min` or `/h`, for example `100/s`
    p99 of < 2s                  column 7: found `< 2s`; expected a label after `of`
    p99 of Login 2s              column 16: the text ends here; expected an operator (`<`, `<=`, `>`, `>=`) after the label `Login 2s`
    p99 of "Login < 2s           column 8: the quotes are not closed; expected `"`
    p99 of "" < 2s               column 8: the label is empty; expected a sample's name
    p99 Login < 2s               column 5: found `Login < 2s`; expected an operator (`<`, `<=`, `>`, `>=`) after `p99`, or `of` and a label
    mean < 300ms for             column 17: the text ends here; expected a duration after `for`
    mean < 300ms for 30          column 20: `30` has no unit; expected `s`, `m` or `h`
    mean < 300ms for 30 days     column 21: `days` is not a unit of a duration; expected `s`, `m` or `h`
    mean < 300ms for 0s          column 18: `0s` is not a window; expected whole seconds, at most a day
    mean < 300ms for 1.5s        column 18: `1.5s` is not a window; expected whole seconds, at most a day
    max < 300ms for 30s          column 13: `max` refers to the whole run; it cannot be combined with `for`
    errors < 10 for 30s          column 13: the number of errors refers to the whole run; expected a rate before `for`
    mean < 300ms during 30s      column 14: found `during 30s`; expected the end, or `for` and a duration
    mean < 300ms for 30s or so   column 22: found `or so`; expected the end
    mean < 9999999999999s        column 8: `9999999999999` is too large
    mean < .5s                   column 8: `.5` is not a number; expected digits, with one `.` at most
    "#);
}

#[test]
fn a_text_of_any_length_has_a_short_error_message() {
    let long = "p".repeat(100_000);
    assert!(message(&long).len() < 300);
    let label = format!("p95 of {} 1s", "x".repeat(500));
    assert!(message(&label).len() < 300);
}

#[test]
fn values_are_compared_in_the_figures_base_unit() {
    let holds = |text: &str, value: f64| Criterion::parse(text).unwrap().holds(value);
    assert!(holds("p95 < 2s", 1999.9) && !holds("p95 < 2s", 2000.0));
    assert!(holds("p95 <= 2s", 2000.0) && !holds("p95 <= 2s", 2000.1));
    assert!(holds("min > 1ms", 1.1) && !holds("min > 1ms", 1.0));
    assert!(holds("throughput >= 60/min", 1.0) && !holds("throughput >= 60/min", 0.99));
    assert!(holds("errors < 1%", 0.99) && !holds("errors < 1%", 1.0));
    assert!(holds("errors = 0", 0.0) && !holds("errors = 0", 1.0));
    assert!(holds("samples != 5", 4.0) && !holds("samples != 5", 5.0));
    assert!(!holds("p95 < 2s", f64::NAN) && !holds("p95 > 2s", f64::NAN));
}

#[test]
fn a_value_is_formatted_in_the_unit_of_its_limit() {
    let described = |text: &str, value: f64| {
        let criterion = Criterion::parse(text).unwrap();
        format!("{}, wanted {}", criterion.seen(value), criterion.wanted())
    };
    assert_eq!(described("p95 < 500ms", 612.0), "612 ms, wanted < 500 ms");
    assert_eq!(described("p95 < 2s", 2345.6789), "2.35 s, wanted < 2 s");
    assert_eq!(
        described("throughput > 90/min", 1.25),
        "75/min, wanted > 90/min"
    );
    assert_eq!(
        described("errors <= 0%", 0.000_012_345),
        "0.0000123 %, wanted <= 0 %"
    );
    assert_eq!(described("errors < 10", 12.0), "12, wanted < 10");
    assert_eq!(
        described("mean < 300ms for 30s", 301.0),
        "301 ms, wanted < 300 ms in every 30 s"
    );
}

#[test]
fn a_value_has_three_significant_digits_unless_that_would_contradict_the_result() {
    let seen = |text: &str, value: f64| Criterion::parse(text).unwrap().seen(value);
    assert_eq!(seen("p95 < 1s", 14.4321), "0.0144 s");
    assert_eq!(seen("p95 < 500ms", 33.918), "33.9 ms");
    assert_eq!(seen("p95 < 500ms", 3.0), "3 ms");
    assert_eq!(seen("p95 < 500ms", 1234.56), "1235 ms");
    assert_eq!(seen("samples >= 10", 123_456.0), "123456");
    assert_eq!(seen("errors < 1%", 0.0), "0 %");
    assert_eq!(seen("p95 < 500ms", 500.04), "500.04 ms");
    assert_eq!(seen("p95 < 500ms", 499.96), "499.96 ms");
    assert_eq!(seen("p95 <= 500ms", 500.0), "500 ms");
}

proptest! {
    #[test]
    fn the_text_of_a_value_is_on_the_same_side_of_the_limit(
        criterion in any_criterion(),
        value in prop_oneof![0.0..1e-3f64, 0.0..1e6f64, Just(0.0)],
        near in any::<bool>(),
    ) {
        let value = if near { criterion.limit() * (1.0 + value / 1e9) } else { value };
        let text = criterion.seen(value);
        let amount: String = text.chars().take_while(|c| "0123456789.".contains(*c)).collect();
        let side = |amount: f64| amount.partial_cmp(&criterion.amount);
        prop_assert_eq!(side(amount.parse().unwrap()), side(value / criterion.unit.base()));
    }

    #[test]
    fn the_canonical_form_parses_to_the_same_criterion(criterion in any_criterion()) {
        prop_assert_eq!(Criterion::parse(&criterion.to_string()), Ok(criterion));
    }

    #[test]
    fn any_text_is_parsed_or_refused_with_a_position(text in "\\PC{0,60}") {
        if let Err(error) = Criterion::parse(&text) {
            prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
        }
    }

    #[test]
    fn words_of_the_language_in_any_order_never_panic(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "p95", "p", "errors", "of", "\"", "\\", "a b", "<", "<=", "=", "1", ".5", "ms", "%", "/s", "for", "30s", " ",
        ]), 0..12)
    ) {
        let text = words.concat();
        if let Ok(criterion) = Criterion::parse(&text) {
            prop_assert_eq!(Criterion::parse(&criterion.to_string()), Ok(criterion));
        }
    }
}
