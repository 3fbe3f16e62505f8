#![allow(clippy::unwrap_used)]
use super::*;

const AT: &str = "2026-11-21T03:37:48.000000001Z";

fn frame(kind: u8, message: &str) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message.as_bytes());
    bytes
}

fn drain(decoder: &mut Decoder) -> Vec<(LogStream, String)> {
    std::iter::from_fn(|| decoder.line())
        .map(|line| (line.stream, line.text))
        .collect()
}

/// The lines and the error of a log that arrives in parts of `step` bytes.
fn decode(tty: bool, log: &[u8], step: usize) -> (Vec<(LogStream, String)>, Option<String>) {
    let mut decoder = Decoder::new(tty);
    log.chunks(step).for_each(|part| decoder.push(part));
    let error = decoder.finish();
    (drain(&mut decoder), error)
}

fn out(text: &str) -> (LogStream, String) {
    (LogStream::Stdout, text.to_owned())
}

fn err(text: &str) -> (LogStream, String) {
    (LogStream::Stderr, text.to_owned())
}

#[test]
fn frames_are_decoded_however_they_are_split() {
    let log = [
        frame(1, &format!("{AT} one\n")),
        frame(2, &format!("{AT} two\n")),
        frame(1, &format!("{AT} \n")),
    ]
    .concat();
    for step in 1..=log.len() {
        let (lines, error) = decode(false, &log, step);
        assert_eq!(
            lines,
            [out("one"), err("two"), out("")],
            "in parts of {step}"
        );
        assert_eq!(error, None);
    }
}

#[test]
fn the_time_is_separated_from_the_text() {
    let mut decoder = Decoder::new(false);
    decoder.push(&frame(1, &format!("{AT} one two\n")));
    decoder.push(&frame(1, "no time here\n"));
    let first = decoder.line().unwrap();
    assert_eq!((first.at.as_str(), first.text.as_str()), (AT, "one two"));
    let second = decoder.line().unwrap();
    assert_eq!(
        (second.at.as_str(), second.text.as_str()),
        ("", "no time here")
    );
}

#[test]
fn pieces_of_a_long_line_are_joined_and_streams_kept_separate() {
    let log = [
        frame(1, &format!("{AT} long ")),
        frame(2, &format!("{AT} meanwhile\n")),
        frame(1, &format!("{AT} line\n")),
        frame(1, &format!("{AT} without end")),
    ]
    .concat();
    let (lines, error) = decode(false, &log, 7);
    assert_eq!(
        lines,
        [err("meanwhile"), out("long line"), out("without end")]
    );
    assert_eq!(error, None);
}

#[test]
fn an_error_frame_is_returned_after_the_lines() {
    let reason = "Error grabbing logs: node n1 is not available";
    let log = [frame(3, reason), frame(1, &format!("{AT} after\n"))].concat();
    let (lines, error) = decode(false, &log, 5);
    assert_eq!(lines, [out("after")]);
    assert_eq!(error.as_deref(), Some(reason));
}

#[test]
fn invalid_frames_are_an_error() {
    for log in [
        &b"plain text, no frames\n"[..],
        &[1, 0, 0, 0, 255, 255, 255, 255, 1],
        &[7, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0],
    ] {
        let (lines, error) = decode(false, log, 3);
        assert_eq!(lines, []);
        assert!(error.is_some(), "{log:?}");
    }
}

#[test]
fn terminal_output_has_no_frames() {
    let log = format!("{AT} one\r\n{AT} \u{1}two\r\n{AT} without end");
    for step in 1..=log.len() {
        let (lines, error) = decode(true, log.as_bytes(), step);
        assert_eq!(lines, [out("one"), out("\u{1}two"), out("without end")]);
        assert_eq!(error, None);
    }
}

#[test]
fn pieces_of_a_long_terminal_line_are_joined() {
    let (first, second) = ("a".repeat(PIECE), "b".repeat(PIECE));
    let log = format!("{AT} {first}{AT} {second}{AT} c\r\n");
    let (lines, _) = decode(true, log.as_bytes(), 1000);
    assert_eq!(lines, [out(&format!("{first}{second}c"))]);
}

#[test]
fn memory_is_bounded_on_an_endless_line() {
    let piece = frame(1, &"x".repeat(PIECE));
    let mut decoder = Decoder::new(false);
    for _ in 0..200 {
        decoder.push(&piece);
    }
    assert_eq!(decoder.finish(), None);
    let lengths: Vec<_> = drain(&mut decoder).iter().map(|l| l.1.len()).collect();
    assert!(
        lengths.iter().all(|n| *n <= MAX_LINE + PIECE),
        "{lengths:?}"
    );
    assert_eq!(lengths.iter().sum::<usize>(), 200 * PIECE);
}

#[test]
fn invalid_utf8_is_replaced() {
    let mut log = vec![1, 0, 0, 0, 0, 0, 0, 3];
    log.extend([0xff, b'a', b'\n']);
    assert_eq!(decode(false, &log, 99).0, [out("\u{fffd}a")]);
}

/// A terminal line in the format of Docker's log driver: pieces of 16 KiB, each with a time; bytes of split
/// characters are replaced.
fn terminal_line(line: &[u8]) -> Vec<u8> {
    let pieces = line.chunks(PIECE).map(|piece| {
        let text = String::from_utf8_lossy(piece);
        format!("{AT} {text}")
    });
    let mut log = pieces.collect::<String>().into_bytes();
    log.extend(b"\r\n");
    log
}

#[test]
fn a_long_terminal_line_contains_no_time_wherever_it_was_split() {
    let euros = format!("zz{}END", "\u{20ac}".repeat(40_000));
    let long = format!("{}END", "x".repeat(MAX_LINE * 2 + 5));
    for line in [
        euros.as_str(),
        long.as_str(),
        &long[..PIECE],
        &long[..PIECE + 1],
    ] {
        for step in [999, 70_000, usize::MAX] {
            let log = terminal_line(line.as_bytes());
            let (lines, error) = decode(true, &log, step.min(log.len()));
            assert_eq!(error, None);
            let whole: String = lines.iter().map(|(_, text)| text.as_str()).collect();
            assert!(
                !whole.contains("2026-"),
                "a time in {} characters",
                line.len()
            );
            let kept = whole.chars().filter(|c| *c != '\u{fffd}').count();
            let cuts = line.len() / PIECE;
            assert!(kept + cuts >= line.chars().count() && kept <= line.chars().count());
            assert!(whole.ends_with(&line[line.len() - 3..]));
        }
    }
}

#[test]
fn a_time_written_by_the_tool_is_kept() {
    let text = format!("{AT} printed by the tool; {AT} again");
    let log = format!("{AT} {text}\r\n");
    assert_eq!(decode(true, log.as_bytes(), 10).0, [out(&text)]);
}
