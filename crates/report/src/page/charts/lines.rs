//! Lines of a chart.

use std::borrow::Cow;
use std::fmt::Write;

use maud::{Markup, html};

/// A line, or an area below it.
pub(super) struct Line {
    pub(super) name: Cow<'static, str>,
    /// CSS class for colour and dashes.
    pub(super) class: &'static str,
    /// Column of the table with the data, from zero.
    pub(super) column: usize,
    /// Unit appended to values of that column.
    pub(super) unit: &'static str,
    pub(super) filled: bool,
    /// Points from left to right, with coordinates from 0 to 1, up and to the right. `None` is a gap.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

impl Line {
    pub(super) fn draw(&self, height: u32) -> Markup {
        let runs = self.runs();
        html! {
            @if self.filled { path class={ "area " (self.class) } d=(area(&runs, height)) {} }
            path class={ "line " (self.class) } d=(path(&runs, height)) {}
            @let dots = dots(&runs, height);
            @if !dots.is_empty() { path class={ "line dot " (self.class) } d=(dots) {} }
        }
    }

    /// Splits the line at gaps.
    fn runs(&self) -> Vec<Vec<(f64, f64)>> {
        let mut runs = vec![Vec::new()];
        for (x, y) in &self.points {
            match (y.filter(|y| y.is_finite()), runs.last_mut()) {
                (Some(y), Some(run)) => run.push((*x, y)),
                (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
                _ => {}
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }
}

/// Isolated values, as lines of zero length with round caps.
fn dots(runs: &[Vec<(f64, f64)>], height: u32) -> String {
    let mut d = String::new();
    for run in runs.iter().filter(|run| run.len() == 1) {
        d.push('M');
        push(&mut d, run[0], height);
        d.push_str("h0.01");
    }
    d
}

fn path(runs: &[Vec<(f64, f64)>], height: u32) -> String {
    let mut d = String::new();
    for run in runs.iter().filter(|run| run.len() > 1) {
        for (n, point) in run.iter().enumerate() {
            d.push(if n == 0 { 'M' } else { 'L' });
            push(&mut d, *point, height);
        }
    }
    d
}

fn area(runs: &[Vec<(f64, f64)>], height: u32) -> String {
    let mut d = String::new();
    for run in runs {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        d.push('M');
        push(&mut d, (first.0, 0.0), height);
        for point in run {
            d.push('L');
            push(&mut d, *point, height);
        }
        d.push('L');
        push(&mut d, (last.0, 0.0), height);
        d.push('Z');
    }
    d
}

fn push(d: &mut String, (x, y): (f64, f64), height: u32) {
    let y = (1.0 - y.clamp(0.0, 1.0)) * f64::from(height);
    // Writing to a string does not fail.
    let _ = write!(
        d,
        "{} {}",
        coordinate(x.clamp(0.0, 1.0) * 1000.0),
        coordinate(y)
    );
}

/// Formats with at most one decimal.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[Option<f64>]) -> Line {
        let points = values.iter().enumerate();
        #[allow(clippy::cast_precision_loss)]
        let points = points.map(|(n, y)| (n as f64 / 10.0, *y)).collect();
        Line {
            name: "p50".into(),
            class: "p50",
            column: 0,
            unit: "",
            filled: true,
            points,
        }
    }

    #[test]
    fn a_gap_splits_the_line_and_an_isolated_value_is_a_dot() {
        let line = line(&[Some(0.0), Some(1.0), None, None, Some(0.5), Some(f64::NAN)]);
        assert_eq!(path(&line.runs(), 200), "M0 200L100 0");
        assert_eq!(dots(&line.runs(), 200), "M400 100h0.01");
        assert_eq!(
            area(&line.runs(), 200),
            "M0 200L0 200L100 0L100 200ZM400 200L400 100L400 200Z"
        );
    }

    #[test]
    fn an_empty_line_draws_nothing() {
        assert_eq!(path(&line(&[None]).runs(), 200), "");
    }
}
