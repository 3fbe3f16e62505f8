//! Arranging parts on a terminal of any size.

use super::text::Line;
use crate::out::DIM;

/// Between the parts of a flowing line.
const GAP: &str = "   ";

/// A part of the display with a title, of which some lines may be left out.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// The title; absent: the lines need none.
    pub title: Option<Line>,
    /// The lines, each with its rank: those with the lowest rank are kept if there is no room for all.
    pub lines: Vec<(u8, Line)>,
    /// Number of lines to keep before other sections get more lines.
    pub least: usize,
    /// Number of further lines that are not known here.
    pub left_out: usize,
}

impl Section {
    /// The number of rows with `shown` lines.
    fn rows(&self, shown: usize) -> usize {
        let has_more = shown < self.lines.len() || self.left_out > 0;
        usize::from(self.title.is_some()) + shown + usize::from(has_more)
    }

    /// The largest number of lines that fits into `rows`, at most `most`; `None` if not even one fits.
    fn fitting(&self, rows: usize, most: usize) -> Option<usize> {
        let most = most.min(self.lines.len());
        (1..=most).rev().find(|shown| self.rows(*shown) <= rows)
    }

    /// The section with `shown` lines, in their order.
    fn render(self, shown: usize) -> Vec<Line> {
        let more = self.lines.len() - shown + self.left_out;
        let mut ranks: Vec<(u8, usize)> = self
            .lines
            .iter()
            .enumerate()
            .map(|(at, (rank, _))| (*rank, at))
            .collect();
        ranks.sort_unstable();
        let mut kept: Vec<usize> = ranks.into_iter().take(shown).map(|(_, at)| at).collect();
        kept.sort_unstable();
        let lines = self.lines.into_iter().enumerate();
        let lines = lines.filter(|(at, _)| kept.binary_search(at).is_ok());
        let more = (more > 0).then(|| Line::styled(DIM, format!("  and {more} more")));
        let title = self.title.into_iter();
        title
            .chain(lines.map(|(_, (_, line))| line))
            .chain(more)
            .collect()
    }
}

/// The lines that fit into `rows` and `columns`: the head, and below it the sections, the important ones first. If
/// there is room for everything, sections are separated by empty lines.
pub fn fit(head: Vec<Line>, sections: Vec<Section>, columns: usize, rows: usize) -> Vec<Line> {
    let sections: Vec<Section> = sections
        .into_iter()
        .filter(|section| !section.lines.is_empty())
        .collect();
    let mut left = rows.saturating_sub(head.len());
    let mut shown = vec![0; sections.len()];
    let least = |section: &Section| section.least;
    let all = |section: &Section| section.lines.len();
    for most in [least, all] {
        for (section, shown) in sections.iter().zip(&mut shown) {
            let before = match *shown {
                0 => 0,
                shown => section.rows(shown),
            };
            if let Some(more) = section
                .fitting(left + before, most(section))
                .filter(|more| more > shown)
            {
                left = left + before - section.rows(more);
                *shown = more;
            }
        }
    }
    let is_complete = sections
        .iter()
        .zip(&shown)
        .all(|(section, shown)| section.lines.len() == *shown);
    let is_airy = is_complete && left >= sections.len();
    let parts = sections
        .into_iter()
        .zip(shown)
        .filter(|(_, shown)| *shown > 0);
    let below = parts.flat_map(|(section, shown)| {
        let gap = is_airy.then(Line::default);
        gap.into_iter().chain(section.render(shown))
    });
    head.into_iter()
        .chain(below)
        .take(rows)
        .map(|line| line.cut(columns))
        .collect()
}

/// Packs parts into lines of at most this width.
pub fn flow(parts: impl IntoIterator<Item = Line>, columns: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for part in parts {
        match lines.pop() {
            Some(last) if last.width() + GAP.len() + part.width() <= columns => {
                lines.push(last.join(Line::plain(GAP)).join(part));
            }
            last => lines.extend(last.into_iter().chain([part])),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn section(title: &str, lines: usize, least: usize) -> Section {
        Section {
            title: Some(Line::plain(title)),
            lines: (0..lines)
                .map(|at| (0, Line::plain(format!("{title}{at}"))))
                .collect(),
            least,
            left_out: 0,
        }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::text).collect()
    }

    #[test]
    fn each_section_gets_its_least_lines_before_the_first_one_gets_more() {
        let sections = vec![section("a", 4, 1), section("b", 4, 1)];
        let lines = fit(vec![Line::plain("head")], sections, 80, 8);
        assert_eq!(
            texts(&lines),
            [
                "head",
                "a",
                "a0",
                "a1",
                "  and 2 more",
                "b",
                "b0",
                "  and 3 more"
            ]
        );
    }

    #[test]
    fn lines_of_the_lowest_rank_are_kept_in_their_order() {
        let mut criteria = section("c", 4, 4);
        for (line, rank) in criteria.lines.iter_mut().zip([2, 0, 2, 1]) {
            line.0 = rank;
        }
        let lines = fit(Vec::new(), vec![criteria], 80, 4);
        assert_eq!(texts(&lines), ["c", "c1", "c3", "  and 2 more"]);
    }

    #[test]
    fn parts_flow_into_lines() {
        let parts = ["one", "two", "three"].map(Line::plain);
        assert_eq!(texts(&flow(parts, 10)), ["one   two", "three"]);
    }

    proptest! {
        #[test]
        fn the_display_never_exceeds_the_terminal(
            sizes in proptest::collection::vec((0_usize..40, 0_usize..5, 0_usize..3), 0..6),
            head in 0_usize..6, columns in 1_usize..40, rows in 1_usize..40,
        ) {
            let sections = sizes.into_iter().map(|(lines, least, left_out)| Section {
                left_out, ..section("a long title of a section", lines, least)
            });
            let head = vec![Line::plain("head of the display"); head];
            let lines = fit(head, sections.collect(), columns, rows);
            prop_assert!(lines.len() <= rows);
            prop_assert!(lines.iter().all(|line| line.width() <= columns));
        }
    }
}
