//! Bars below figures in tables. They are decorative: the figure is next to the bar.

use maud::{Markup, html};

use super::lines::coordinate;

/// A bar with the length of `value` relative to `largest`.
pub(in super::super) fn bar(value: f64, largest: f64, class: &str) -> Markup {
    let share = match value.is_finite() && largest.is_finite() && largest > 0.0 {
        true => (value / largest).clamp(0.0, 1.0) * 100.0,
        false => 0.0,
    };
    html! {
        svg class={ "bar " (class) } aria-hidden="true" width="100%" height="6" {
            rect width={ (coordinate(share)) "%" } height="6" {}
        }
    }
}
