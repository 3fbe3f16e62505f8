//! Parses a [`Criterion`] in one pass, up to the first error.

use super::{Criterion, CriterionError, Figure, Operator, Unit};
use crate::wording::{nearest, shorten};

/// Maximum amount: far above any measurement, far below the limit of exact whole numbers.
const MAX_AMOUNT: f64 = 1e12;
/// Maximum window in seconds: a day.
const MAX_WINDOW: f64 = 86_400.0;
/// Maximum length of a criterion in characters.
const MAX_LENGTH: usize = 1000;
/// The names of figures, with an example of a percentile.
const FIGURES: [&str; 10] = [
    "p95",
    "p99.9",
    "median",
    "mean",
    "avg",
    "min",
    "max",
    "errors",
    "throughput",
    "samples",
];

type Parsed<T> = Result<T, CriterionError>;

pub(super) fn parse(text: &str, purpose: Purpose) -> Parsed<Criterion> {
    let mut reader = Parser {
        purpose,
        chars: text.chars().collect(),
        at: 0,
    };
    reader.criterion()
}

/// What the text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Judges a run at its end.
    Pass,
    /// Ends a run early.
    Stop,
}

struct Parser {
    purpose: Purpose,
    chars: Vec<char>,
    /// Index of the next character.
    at: usize,
}

impl Parser {
    fn criterion(&mut self) -> Parsed<Criterion> {
        if self.chars.len() > MAX_LENGTH {
            return fault(
                MAX_LENGTH,
                format!("a criterion is longer than {MAX_LENGTH} characters"),
            );
        }
        self.skip_blanks();
        let start = self.at;
        let figure = self.figure()?;
        if self.purpose == Purpose::Stop && !has_window(figure) {
            return fault(start, whole_run(figure));
        }
        let label = self.label()?;
        let operator = self.operator(figure, label.as_deref())?;
        let (amount, unit) = self.amount(figure, operator)?;
        let window = self.window(figure, unit)?;
        if let Some(seen) = self.rest() {
            let place = self.at;
            let right = match window {
                Some(_) => "expected the end",
                None => "expected the end, or `for` and a duration",
            };
            return fault(place, format!("found `{}`; {right}", shorten(&seen)));
        }
        if self.purpose == Purpose::Stop && window.is_none() {
            let right = "expected `for` and a duration, for example `for 30s`";
            return fault(self.end(), format!("the text ends here; {right}"));
        }
        Ok(Criterion {
            figure,
            label,
            operator,
            amount,
            unit,
            window,
        })
    }

    fn figure(&mut self) -> Parsed<Figure> {
        self.skip_blanks();
        let start = self.at;
        let word = self.take(|c| c.is_alphanumeric() || "._-%".contains(c));
        let lower = word.to_lowercase();
        match lower.as_str() {
            "median" => return Ok(Figure::Percentile(50.0)),
            "mean" | "avg" | "average" => return Ok(Figure::Mean),
            "min" => return Ok(Figure::Min),
            "max" => return Ok(Figure::Max),
            "errors" => return Ok(Figure::Errors),
            "throughput" => return Ok(Figure::Throughput),
            "samples" => return Ok(Figure::Samples),
            _ => {}
        }
        if word.is_empty() {
            let seen = self.seen();
            return fault(
                start,
                format!("{seen}; expected a figure, for example `p95`, `mean` or `errors`"),
            );
        }
        let digits = lower
            .strip_prefix('p')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let Some(digits) = digits else {
            let shown = shorten(&word);
            return fault(
                start,
                format!("`{shown}` is not a figure; {}", nearest(&word, &FIGURES)),
            );
        };
        match decimal(digits).filter(|percent| *percent > 0.0 && *percent <= 100.0) {
            Some(percent) => Ok(Figure::Percentile(percent)),
            None => fault(
                start,
                format!(
                    "`{}` is not a percentile; expected a number above 0 and up to 100 after `p`, \
                     for example `p99.9`",
                    shorten(&word)
                ),
            ),
        }
    }

    /// Parses the label after `of`.
    fn label(&mut self) -> Parsed<Option<String>> {
        self.skip_blanks();
        let start = self.at;
        if !self.take_word("of") {
            return Ok(None);
        }
        self.skip_blanks();
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let label = self.take(|c| !"<>=!\"".contains(c));
        let label = label.trim();
        match label.is_empty() {
            true => fault(
                start + 2,
                format!("{}; expected a label after `of`", self.seen()),
            ),
            false => Ok(Some(label.to_owned())),
        }
    }

    fn quoted(&mut self) -> Parsed<String> {
        let start = self.at;
        self.at += 1;
        let mut label = String::new();
        while let Some(next) = self.next() {
            match next {
                '"' if label.is_empty() => {
                    return fault(start, "the label is empty; expected a sample's name".into());
                }
                '"' => return Ok(label),
                '\\' => label.extend(self.next()),
                other => label.push(other),
            }
        }
        fault(start, "the quotes are not closed; expected `\"`".into())
    }

    fn operator(&mut self, figure: Figure, label: Option<&str>) -> Parsed<Operator> {
        self.skip_blanks();
        let start = self.at;
        let sign = self.take(|c| "<>=!".contains(c));
        let known = Operator::ALL
            .into_iter()
            .find(|operator| operator.as_str() == sign);
        let known = known.or((sign == "==").then_some(Operator::Equal));
        let Some(operator) = known else {
            let seen = match sign.is_empty() {
                true => self.seen(),
                false => format!("found `{}`", shorten(&sign)),
            };
            let after = match label {
                Some(label) => format!("after the label `{}`", shorten(label)),
                None => format!("after `{figure}`, or `of` and a label"),
            };
            return fault(
                start,
                format!("{seen}; expected an operator (`<`, `<=`, `>`, `>=`) {after}"),
            );
        };
        let is_above = matches!(operator, Operator::Above | Operator::AtLeast);
        if self.purpose == Purpose::Stop && figure != Figure::Throughput && !is_above {
            return fault(
                start,
                format!(
                    "found `{operator}`; a run ends early if `{figure}` is above a limit: expected `>` or `>=`"
                ),
            );
        }
        let counts = matches!(figure, Figure::Errors | Figure::Samples);
        match operator {
            Operator::Equal | Operator::Unequal if !counts => fault(
                start,
                format!(
                    "`{operator}` is for counts only; expected `<`, `<=`, `>` or `>=` after `{figure}`"
                ),
            ),
            operator => Ok(operator),
        }
    }

    fn amount(&mut self, figure: Figure, operator: Operator) -> Parsed<(f64, Unit)> {
        let (amount, shown) = self.number(&format!("an amount after `{operator}`"))?;
        self.skip_blanks();
        let start = self.at;
        let unit = self.unit();
        let place = if unit.is_empty() { self.end() } else { start };
        let found = units(figure)
            .iter()
            .find(|(word, _)| *word == unit.to_lowercase());
        let Some((_, unit)) = found else {
            return fault(place, wrong_unit(figure, &unit, &shown));
        };
        if *unit == Unit::Count && self.purpose == Purpose::Stop {
            return fault(
                place,
                format!(
                    "`{shown}` is a number of {figure}, which refers to the whole run; expected a rate, for example `20%`"
                ),
            );
        }
        if *unit == Unit::Count && amount.fract() != 0.0 {
            return fault(
                start,
                format!("`{shown}` is not whole; a number of samples is"),
            );
        }
        if *unit == Unit::Percent && matches!(operator, Operator::Equal | Operator::Unequal) {
            return fault(
                place,
                format!(
                    "`{operator}` is for counts only; expected `<`, `<=`, `>` or `>=` before a rate"
                ),
            );
        }
        Ok((amount, *unit))
    }

    /// Parses a unit, which may be followed by the keyword `for` without whitespace.
    fn unit(&mut self) -> String {
        let before = self.at;
        let word = self.take(|c| c.is_alphabetic() || "/%".contains(c));
        if word.eq_ignore_ascii_case("for") {
            self.at = before;
            return String::new();
        }
        word
    }

    fn window(&mut self, figure: Figure, unit: Unit) -> Parsed<Option<u32>> {
        self.skip_blanks();
        let start = self.at;
        if !self.take_word("for") {
            return Ok(None);
        }
        if matches!(figure, Figure::Min | Figure::Max) {
            return fault(
                start,
                format!("`{figure}` refers to the whole run; it cannot be combined with `for`"),
            );
        }
        if unit == Unit::Count {
            return fault(
                start,
                format!(
                    "the number of {figure} refers to the whole run; expected a rate before `for`"
                ),
            );
        }
        self.skip_blanks();
        let start = self.at;
        let (amount, shown) = self.number("a duration after `for`")?;
        self.skip_blanks();
        let place = self.at;
        let unit = self.unit();
        let seconds = match unit.to_lowercase().as_str() {
            "s" => amount,
            "m" | "min" => amount * 60.0,
            "h" => amount * 3600.0,
            _ => {
                let seen = match unit.is_empty() {
                    true => format!("`{shown}` has no unit"),
                    false => format!("`{}` is not a unit of a duration", shorten(&unit)),
                };
                return fault(place, format!("{seen}; expected `s`, `m` or `h`"));
            }
        };
        match seconds.fract() == 0.0 && (1.0..=MAX_WINDOW).contains(&seconds) {
            // A whole number within a day converts exactly.
            true => Ok(Some(seconds as u32)),
            false => fault(
                start,
                format!("`{shown}{unit}` is not a window; expected whole seconds, at most a day"),
            ),
        }
    }

    fn number(&mut self, expected: &str) -> Parsed<(f64, String)> {
        self.skip_blanks();
        let start = self.at;
        let digits = self.take(|c| c.is_ascii_digit() || c == '.');
        if digits.is_empty() {
            return fault(start, format!("{}; expected {expected}", self.seen()));
        }
        match decimal(&digits) {
            Some(amount) if amount <= MAX_AMOUNT => Ok((amount, shorten(&digits))),
            Some(_) => fault(start, format!("`{}` is too large", shorten(&digits))),
            None => fault(
                start,
                format!(
                    "`{}` is not a number; expected digits, with one `.` at most",
                    shorten(&digits)
                ),
            ),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn take(&mut self, inside: impl Fn(char) -> bool) -> String {
        let rest = self.chars.iter().skip(self.at);
        let taken: String = rest.copied().take_while(|c| inside(*c)).collect();
        self.at += taken.chars().count();
        taken
    }

    fn skip_blanks(&mut self) {
        self.take(char::is_whitespace);
    }

    /// Consumes `word` if it is the next word.
    fn take_word(&mut self, word: &str) -> bool {
        let before = self.at;
        let found = self.take(char::is_alphabetic).eq_ignore_ascii_case(word);
        if !found {
            self.at = before;
        }
        found
    }

    /// The index after the last non-blank character.
    fn end(&self) -> usize {
        let mut before = self.chars.iter().take(self.at);
        before
            .rposition(|c| !c.is_whitespace())
            .map_or(0, |last| last + 1)
    }

    fn rest(&mut self) -> Option<String> {
        self.skip_blanks();
        let rest: String = self.chars.iter().skip(self.at).collect();
        (!rest.is_empty()).then_some(rest)
    }

    fn seen(&mut self) -> String {
        let before = self.at;
        let rest = self.rest();
        self.at = before;
        match rest {
            Some(rest) => format!("found `{}`", shorten(rest.trim_end())),
            None => "the text ends here".to_owned(),
        }
    }
}

/// True if the figure of some seconds can be compared with a limit.
fn has_window(figure: Figure) -> bool {
    !matches!(figure, Figure::Min | Figure::Max | Figure::Samples)
}

fn whole_run(figure: Figure) -> String {
    format!(
        "`{figure}` refers to the whole run; a run ends early because of `errors`, `throughput`, `mean` or a percentile such as `p95`"
    )
}

/// The units allowed for a figure.
fn units(figure: Figure) -> &'static [(&'static str, Unit)] {
    match figure {
        Figure::Percentile(_) | Figure::Mean | Figure::Min | Figure::Max => &[
            ("ms", Unit::Millis),
            ("s", Unit::Seconds),
            ("m", Unit::Minutes),
            ("min", Unit::Minutes),
        ],
        Figure::Errors => &[("%", Unit::Percent), ("", Unit::Count)],
        Figure::Samples => &[("", Unit::Count)],
        Figure::Throughput => &[
            ("/s", Unit::PerSecond),
            ("/min", Unit::PerMinute),
            ("/h", Unit::PerHour),
        ],
    }
}

fn wrong_unit(figure: Figure, seen: &str, amount: &str) -> String {
    let seen = match seen.is_empty() {
        true => format!("`{amount}` has no unit"),
        false => format!("`{}` is not a unit of `{figure}`", shorten(seen)),
    };
    let right = match figure {
        Figure::Percentile(_) | Figure::Mean | Figure::Min | Figure::Max => {
            format!("a time needs `ms`, `s` or `m`, for example `{amount}ms`")
        }
        Figure::Errors => "a rate has `%`, a count has none".to_owned(),
        Figure::Samples => "a count has none".to_owned(),
        Figure::Throughput => {
            format!("a throughput needs `/s`, `/min` or `/h`, for example `{amount}/s`")
        }
    };
    format!("{seen}; {right}")
}

/// Parses digits with at most one decimal point.
fn decimal(text: &str) -> Option<f64> {
    let inside = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let edges = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit());
    text.parse().ok().filter(|_| inside && edges)
}

fn fault<T>(index: usize, message: String) -> Parsed<T> {
    Err(CriterionError {
        column: index + 1,
        message,
    })
}
