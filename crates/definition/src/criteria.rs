//! Pass criteria of a run, in a small language:
//!
//! ```text
//! criterion = figure [ "of" label ] operator amount [ "for" duration ]
//! figure    = "p" number | "median" | "mean" | "avg" | "min" | "max"
//!           | "errors" | "throughput" | "samples"
//! label     = text up to the operator, or quoted: "a \"b\" < c"
//! operator  = "<" | "<=" | ">" | ">=" | "=" | "!="
//! amount    = number unit
//! duration  = number ( "s" | "m" | "min" | "h" )
//! ```
//!
//! Keywords are case-insensitive; whitespace is ignored. The unit selects the meaning: `errors < 1%`
//! is a rate, `errors < 10` a count. With `for` the criterion must hold in every window of that many
//! consecutive seconds.
//!
//! A [`StopCondition`] ends a run early. It has the same grammar; `for` is required, and the figures are those of the
//! latest seconds: `errors > 20% for 30s`.

mod parser;
mod stop;

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

pub use stop::StopCondition;

/// A pass criterion. `Display` prints its canonical form, which parses to the same criterion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Criterion {
    /// The measured figure.
    pub figure: Figure,
    /// The label whose samples count; `None`: all samples.
    pub label: Option<String>,
    /// The comparison operator.
    pub operator: Operator,
    /// The limit in `unit`.
    pub amount: f64,
    /// The unit of `amount`.
    pub unit: Unit,
    /// The length in seconds of each window in which it must hold; `None`: the whole run.
    pub window: Option<u32>,
}

// Amounts and percentiles are parsed from decimal digits and are never NaN.
impl Eq for Criterion {}

/// A measured figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// Percentile of the response times.
    Percentile(f64),
    /// Arithmetic mean of the response times.
    Mean,
    /// Shortest response time.
    Min,
    /// Longest response time.
    Max,
    /// Failed samples: their number or, with `%`, their share.
    Errors,
    /// Samples per time.
    Throughput,
    /// Number of samples.
    Samples,
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `=`
    Equal,
    /// `!=`
    Unequal,
}

/// The unit of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `ms`
    Millis,
    /// `s`
    Seconds,
    /// `m`
    Minutes,
    /// `%`
    Percent,
    /// No unit: a number of samples.
    Count,
    /// `/s`
    PerSecond,
    /// `/min`
    PerMinute,
    /// `/h`
    PerHour,
}

/// A syntax error of a criterion.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
pub struct CriterionError {
    /// Position in characters, from 1.
    pub column: usize,
    /// The text found, and the text expected.
    pub message: String,
}

/// Maximum number of decimals of an amount.
const MAX_DECIMALS: i32 = 12;

impl Criterion {
    /// Parses a criterion.
    ///
    /// # Errors
    /// The first syntax error, with its position.
    pub fn parse(text: &str) -> Result<Self, CriterionError> {
        parser::parse(text, parser::Purpose::Pass)
    }

    /// True if the criterion holds for `value`, in the figure's [base unit](Unit::base).
    pub fn holds(&self, value: f64) -> bool {
        let limit = self.limit();
        match self.operator {
            Operator::Below => value < limit,
            Operator::AtMost => value <= limit,
            Operator::Above => value > limit,
            Operator::AtLeast => value >= limit,
            // These operators are allowed for counts only, which are whole numbers.
            Operator::Equal => (value - limit).abs() < 0.5,
            Operator::Unequal => (value - limit).abs() >= 0.5,
        }
    }

    /// The amount in the figure's base unit.
    pub fn limit(&self) -> f64 {
        self.amount * self.unit.base()
    }

    /// True if small values are good; then the greatest of several windows is the worst.
    pub fn is_upper_bound(&self) -> bool {
        matches!(self.operator, Operator::Below | Operator::AtMost)
    }

    /// The requirement as text: `< 500 ms`.
    pub fn wanted(&self) -> String {
        let window = self
            .window
            .map(|seconds| format!(" in every {seconds} s"))
            .unwrap_or_default();
        format!("{} {}{window}", self.operator, self.unit.of(self.amount))
    }

    /// A measured value as text, in the unit of the criterion: whole digits, and fractions with three significant digits,
    /// or with more if the text would otherwise be on the other side of the limit than the value.
    pub fn seen(&self, value: f64) -> String {
        let amount = value / self.unit.base();
        let side = |amount: f64| amount.partial_cmp(&self.amount);
        let mut texts = (decimals(amount, 3)..=MAX_DECIMALS).map(|count| rounded(amount, count));
        let honest = texts.find(|text| side(*text) == side(amount));
        self.unit.with_symbol(&honest.unwrap_or(amount).to_string())
    }
}

impl Unit {
    /// One unit in milliseconds, percent, samples or samples per second.
    pub fn base(self) -> f64 {
        match self {
            Self::Millis | Self::Percent | Self::Count | Self::PerSecond => 1.0,
            Self::Seconds => 1000.0,
            Self::Minutes => 60_000.0,
            Self::PerMinute => 1.0 / 60.0,
            Self::PerHour => 1.0 / 3600.0,
        }
    }

    /// The symbol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Percent => "%",
            Self::Count => "",
            Self::PerSecond => "/s",
            Self::PerMinute => "/min",
            Self::PerHour => "/h",
        }
    }

    fn of(self, amount: f64) -> String {
        self.with_symbol(&readable(amount))
    }

    fn with_symbol(self, amount: &str) -> String {
        match self {
            Self::Count => amount.to_owned(),
            Self::Millis | Self::Seconds | Self::Percent => format!("{amount} {}", self.as_str()),
            Self::Minutes => format!("{amount} min"),
            Self::PerSecond | Self::PerMinute | Self::PerHour => {
                format!("{amount}{}", self.as_str())
            }
        }
    }
}

/// Formats with at most three decimals; small amounts with four significant digits, so that they do not appear as 0.
fn readable(amount: f64) -> String {
    rounded(amount, decimals(amount, 4).max(3)).to_string()
}

/// The number of decimals with which an amount has this number of significant digits; at least none.
fn decimals(amount: f64, digits: i32) -> i32 {
    let exponent = match amount.abs() {
        0.0 => 0,
        // -1 for 0.1.
        size => size.log10().floor() as i32,
    };
    (digits - 1 - exponent).clamp(0, MAX_DECIMALS)
}

fn rounded(amount: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    let rounded = (amount * scale).round() / scale;
    if rounded.is_finite() { rounded } else { amount }
}

impl Operator {
    /// All operators, the longer ones first.
    const ALL: [Self; 6] = [
        Self::AtMost,
        Self::AtLeast,
        Self::Unequal,
        Self::Below,
        Self::Above,
        Self::Equal,
    ];

    /// The symbol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Equal => "=",
            Self::Unequal => "!=",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percent) => write!(f, "p{percent}"),
            Self::Mean => f.write_str("mean"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Errors => f.write_str("errors"),
            Self::Throughput => f.write_str("throughput"),
            Self::Samples => f.write_str("samples"),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.figure)?;
        match &self.label {
            Some(label) if is_plain(label) => write!(f, " of {label}")?,
            Some(label) => write!(
                f,
                " of \"{}\"",
                label.replace('\\', "\\\\").replace('"', "\\\"")
            )?,
            None => {}
        }
        write!(
            f,
            " {} {}{}",
            self.operator,
            self.amount,
            self.unit.as_str()
        )?;
        match self.window {
            Some(seconds) => write!(f, " for {seconds}s"),
            None => Ok(()),
        }
    }
}

fn is_plain(label: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    !label.is_empty() && label.chars().all(inside)
}

impl TryFrom<String> for Criterion {
    type Error = CriterionError;

    fn try_from(text: String) -> Result<Self, CriterionError> {
        Self::parse(&text)
    }
}

impl From<Criterion> for String {
    fn from(criterion: Criterion) -> Self {
        criterion.to_string()
    }
}

#[cfg(test)]
mod tests;
