//! Charts as SVG, whole without scripts. Text keeps its size at every width: what is drawn in the plot
//! stretches, what is written stands at a share of the width.

pub(super) mod axis;
pub(super) mod bars;
mod lines;
pub(super) mod percentiles;
pub(super) mod series;

use maud::{Markup, html};

use axis::Tick;
use lines::Line;

/// A chart of lines.
struct Chart<'a> {
    /// Unique in the page; also what the ids inside start with.
    id: &'a str,
    title: &'a str,
    /// What the lines tell, for who does not see them.
    desc: String,
    /// Pixels of the plot.
    height: u32,
    /// The id of the table with the figures.
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

    /// The values behind the names are filled in when the reader points at the chart.
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
                @for tick in &self.y_ticks { (self.across(tick)) }
                @for tick in &self.x_ticks { (self.upright(tick)) }
                svg.plane width="100%" height=(self.height)
                    viewBox={ "0 0 1000 " (self.height) } preserveAspectRatio="none" {
                    @for line in self.lines.iter().rev() { (line.draw(self.height)) }
                }
            }
        }
    }

    /// A tick of the values: a line across the plot, and its words to the left.
    fn across(&self, tick: &Tick) -> Markup {
        let y = lines::coordinate((1.0 - tick.at) * f64::from(self.height));
        html! {
            line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
            text.y x="-6" y=(y) dy="4" { (tick.label) }
        }
    }

    /// A tick of the other axis: a mark at the bottom, and its words below.
    fn upright(&self, tick: &Tick) -> Markup {
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
