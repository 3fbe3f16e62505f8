//! A block of lines at the bottom of a terminal, redrawn in place.

use super::text::Line;
use crate::terminal::sanitize_line;
use std::io::Write;

/// Clears everything below the cursor, which is in the first column.
const CLEAR_BELOW: &str = "\x1b[J";
/// Clears the rest of a row.
const CLEAR_REST: &str = "\x1b[K";
/// Moves to the row above, and clears it.
const CLEAR_ABOVE: &str = "\x1b[A\x1b[2K";

/// The drawn lines. The cursor is in the first column below them.
#[derive(Debug)]
pub struct Block {
    drawn: Vec<Line>,
    /// Number of columns of the terminal when they were drawn.
    columns: usize,
    has_colours: bool,
}

impl Block {
    /// An empty block on standard error.
    pub fn new() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        Self {
            drawn: Vec::new(),
            columns: 0,
            has_colours: choice != anstream::ColorChoice::Never,
        }
    }

    /// Replaces the block, on a terminal with this number of columns.
    pub fn draw(&mut self, lines: Vec<Line>, columns: usize) {
        // A terminal joins rows that it has wrapped, also after they are overwritten.
        if columns != self.columns {
            self.clear(columns);
        }
        write(&replaced(&self.drawn, &lines, self.has_colours));
        self.drawn = lines;
        self.columns = columns;
    }

    /// Removes the block, from a terminal with this number of columns.
    pub fn clear(&mut self, columns: usize) {
        write(&cleared(&self.drawn, columns));
        self.drawn.clear();
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes in one piece. A write error is ignored, because the program may have to stop a test.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()));
    drop(stderr.flush());
}

/// The sequence that replaces the drawn lines. Each row is overwritten before its rest is cleared, so that nothing
/// flickers.
fn replaced(drawn: &[Line], lines: &[Line], has_colours: bool) -> String {
    let mut text = match drawn.len() {
        0 => "\r".to_owned(),
        rows => format!("\x1b[{rows}A\r"),
    };
    for line in lines {
        match has_colours {
            true => text += &sanitize_line(&line.to_string()),
            false => text += &line.text(),
        }
        text += CLEAR_REST;
        text.push('\n');
    }
    text + CLEAR_BELOW
}

/// The sequence that clears the drawn lines. After a terminal became narrower, a line occupies several rows. Rows are
/// cleared one by one: some terminals keep in their history what is cleared at once from the top of the screen.
fn cleared(drawn: &[Line], columns: usize) -> String {
    let rows = drawn
        .iter()
        .map(|line| line.width().div_ceil(columns.max(1)).max(1));
    match rows.sum::<usize>() {
        0 => String::new(),
        // The row of the cursor may contain `^C`.
        rows => format!("\r{CLEAR_REST}{}", CLEAR_ABOVE.repeat(rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::FAILURE;

    #[test]
    fn a_block_is_overwritten_row_by_row() {
        let before = [Line::plain("one"), Line::plain("two")];
        let after = [Line::styled(FAILURE, "three")];
        assert_eq!(
            replaced(&before, &after, false),
            "\x1b[2A\rthree\x1b[K\n\x1b[J"
        );
        assert_eq!(
            replaced(&[], &after, true),
            format!("\r{FAILURE}three{FAILURE:#}\x1b[K\n\x1b[J")
        );
    }

    #[test]
    fn lines_that_wrap_on_a_narrower_terminal_are_cleared_completely() {
        let drawn = [
            Line::plain("x".repeat(81)),
            Line::plain(""),
            Line::plain("日本"),
        ];
        let rows = |columns| cleared(&drawn, columns).matches(CLEAR_ABOVE).count();
        assert_eq!((rows(40), rows(120)), (5, 3));
        assert_eq!(cleared(&[], 40), "");
    }
}
