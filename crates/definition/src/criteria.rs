//! What a user demands of a run, in a small language:
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
//! Words are read in any case, and blanks stand where they like. The unit says what is meant: `errors < 1%`
//! is a rate, `errors < 10` a count. With `for` the criterion must hold in every window of so many
//! consecutive seconds.

mod parser;

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// A demand that a run fulfils or not. Shown, it is in its canonical form, which reads as the same demand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Criterion {
    /// What is looked at.
    pub figure: Figure,
    /// Of which samples; `None`: of all.
    pub label: Option<String>,
    /// How it is compared.
    pub operator: Operator,
    /// With how much, in `unit`.
    pub amount: f64,
    /// The unit of `amount`.
    pub unit: Unit,
    /// The seconds of each window in which it must hold; `None`: the whole run is one.
    pub window: Option<u32>,
}

// Amounts and percentiles are read from decimal digits: never NaN.
impl Eq for Criterion {}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// So many percent of the samples took no longer.
    Percentile(f64),
    /// Arithmetic mean of the response times.
    Mean,
    /// Shortest response time.
    Min,
    /// Longest response time.
    Max,
    /// Samples that failed: their number or, with `%`, their part.
    Errors,
    /// Samples in a time.
    Throughput,
    /// Number of samples.
    Samples,
}

/// How two amounts are compared.
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
    /// None: a number of samples.
    Count,
    /// `/s`
    PerSecond,
    /// `/min`
    PerMinute,
    /// `/h`
    PerHour,
}

/// Why a text is no criterion.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
pub struct CriterionError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What was seen and what would be right.
    pub message: String,
}

impl Criterion {
    /// Reads a criterion.
    ///
    /// # Errors
    /// The first thing in the text that has no meaning, with its place.
    pub fn parse(text: &str) -> Result<Self, CriterionError> {
        parser::parse(text)
    }

    /// Whether it holds when its figure is `value`, in the figure's [base unit](Unit::base).
    pub fn holds(&self, value: f64) -> bool {
        let limit = self.limit();
        match self.operator {
            Operator::Below => value < limit,
            Operator::AtMost => value <= limit,
            Operator::Above => value > limit,
            Operator::AtLeast => value >= limit,
            // Of counts only, which are whole.
            Operator::Equal => (value - limit).abs() < 0.5,
            Operator::Unequal => (value - limit).abs() >= 0.5,
        }
    }

    /// The amount in the figure's base unit.
    pub fn limit(&self) -> f64 {
        self.amount * self.unit.base()
    }

    /// Whether small values are the good ones: of several windows the greatest is then the worst.
    pub fn wants_little(&self) -> bool {
        matches!(self.operator, Operator::Below | Operator::AtMost)
    }

    /// What is wanted, for people: `< 500 ms`.
    pub fn wanted(&self) -> String {
        let window = self
            .window
            .map(|seconds| format!(" in every {seconds} s"))
            .unwrap_or_default();
        format!("{} {}{window}", self.operator, self.unit.of(self.amount))
    }

    /// A value of the figure, for people, in the unit of the criterion.
    pub fn seen(&self, value: f64) -> String {
        self.unit.of(value / self.unit.base())
    }
}

impl Unit {
    /// One of it in milliseconds, percent, samples or samples per second.
    pub fn base(self) -> f64 {
        match self {
            Self::Millis | Self::Percent | Self::Count | Self::PerSecond => 1.0,
            Self::Seconds => 1000.0,
            Self::Minutes => 60_000.0,
            Self::PerMinute => 1.0 / 60.0,
            Self::PerHour => 1.0 / 3600.0,
        }
    }

    /// How it is written.
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
        let amount = readable(amount);
        match self {
            Self::Count => amount,
            Self::Millis | Self::Seconds | Self::Percent => format!("{amount} {}", self.as_str()),
            Self::Minutes => format!("{amount} min"),
            Self::PerSecond | Self::PerMinute | Self::PerHour => {
                format!("{amount}{}", self.as_str())
            }
        }
    }
}

/// Three decimals at most; of a small amount four digits, so that it does not look like none.
fn readable(amount: f64) -> String {
    let decimals = match amount.abs() {
        size if size == 0.0 || size >= 1.0 => 3,
        // The exponent of what is below one: -1 for 0.1.
        size => (3 - size.log10().floor() as i32).clamp(3, 12),
    };
    let scale = 10f64.powi(decimals);
    let rounded = (amount * scale).round() / scale;
    format!("{}", if rounded.is_finite() { rounded } else { amount })
}

impl Operator {
    /// All, the longer ones first.
    const ALL: [Self; 6] = [
        Self::AtMost,
        Self::AtLeast,
        Self::Unequal,
        Self::Below,
        Self::Above,
        Self::Equal,
    ];

    /// How it is written.
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
