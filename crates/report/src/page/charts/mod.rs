//! Charts as SVG that are complete without scripts. The plot scales with the width of the page; text keeps its size
//! and is positioned in percent of the width.

pub(super) mod axis;
pub(super) mod bars;
pub(super) mod containers;
mod lines;
pub(super) mod percentiles;
pub(super) mod series;

use maud::{Markup, html};

use axis::Tick;
use lines::Line;

/// A line chart.
#[derive(Default)]
struct Chart<'a> {
    /// Unique id in the page; prefix of the ids inside the chart.
    id: &'a str,
    title: &'a str,
    /// Text description for screen readers.
    desc: String,
    /// Height of the plot in pixels.
    height: u32,
    /// The id of the table with the data.
    table: &'a str,
    x_caption: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    lines: Vec<Line>,
}

impl Chart<'_> {
    fn draw(&self) -> Markup {
        html! {
            div.chart id=(self.id) data-table=(self.table) {
                (self.legend())
                div.plot { (self.svg()) }
                p.axis { (self.x_caption) }
            }
        }
    }

    /// The legend. The script adds values while the pointer is over the chart.
    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for line in &self.lines {
                    li data-column=(line.column) data-unit=(line.unit) {
                        svg.swatch aria-hidden="true" width="26" height="10" {
                            line class={ "line " (line.class) } x1="1" x2="25" y1="5" y2="5" {}
                        }
                        (line.name) " " b {}
                    }
                }
                li.when {}
            }
        }
    }

    fn svg(&self) -> Markup {
        let (title, desc) = (format!("{}-title", self.id), format!("{}-desc", self.id));
        html! {
            svg role="img" width="100%" height=(self.height + 22)
                aria-labelledby={ (title) " " (desc) } {
                title id=(title) { (self.title) }
                desc id=(desc) { (self.desc) }
                @for tick in &self.y_ticks { (self.y_tick(tick)) }
                @for tick in &self.x_ticks { (self.x_tick(tick)) }
                svg.plane width="100%" height=(self.height)
                    viewBox={ "0 0 1000 " (self.height) } preserveAspectRatio="none" {
                    @for line in self.lines.iter().rev() { (line.draw(self.height)) }
                }
            }
        }
    }

    /// A tick of the y axis: a grid line, and its label to the left.
    fn y_tick(&self, tick: &Tick) -> Markup {
        let y = lines::coordinate((1.0 - tick.at) * f64::from(self.height));
        html! {
            line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
            text.y x="-6" y=(y) dy="4" { (tick.label) }
        }
    }

    /// A tick of the x axis: a mark at the bottom, and its label below.
    fn x_tick(&self, tick: &Tick) -> Markup {
        let x = format!("{}%", lines::coordinate(tick.at * 100.0));
        let class = match (tick.minor, tick.at) {
            (true, at) if at > 0.96 => "x end minor",
            (true, _) => "x minor",
            (false, at) if at > 0.96 => "x end",
            (false, at) if at < 0.03 => "x start",
            (false, _) => "x",
        };
        html! {
            line.mark x1=(x) x2=(x) y1=(self.height) y2=(self.height + 5) {}
            text class=(class) x=(x) y=(self.height + 18) { (tick.label) }
        }
    }
}
