//! A block of lines at the bottom of a terminal, redrawn in place.

use super::text::Line;
use crate::terminal::sanitize_line;
use std::io::Write;

/// Moves to the first column and clears everything from there to the end of the screen.
const CLEAR_BELOW: &str = "\r\x1b[J";
/// Clears the rest of a row.
const CLEAR_REST: &str = "\x1b[K";

/// The drawn lines. The cursor is in the first column below them.
#[derive(Debug)]
pub struct Block {
    drawn: Vec<Line>,
    has_colours: bool,
}

impl Block {
    /// An empty block on standard error.
    pub fn new() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        Self {
            drawn: Vec::new(),
            has_colours: choice != anstream::ColorChoice::Never,
        }
    }

    /// Replaces the block, on a terminal with this number of columns.
    pub fn draw(&mut self, lines: Vec<Line>, columns: usize) {
        let text = replaced(&self.drawn, &lines, columns, self.has_colours);
        self.drawn = lines;
        write(&text);
    }

    /// Removes the block.
    pub fn clear(&mut self, columns: usize) {
        if !self.drawn.is_empty() {
            let text = up(&self.drawn, columns) + CLEAR_BELOW;
            self.drawn.clear();
            write(&text);
        }
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
fn replaced(drawn: &[Line], lines: &[Line], columns: usize, has_colours: bool) -> String {
    let mut text = up(drawn, columns) + "\r";
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

/// Moves to the first row of the drawn lines. After a terminal became narrower, a line occupies several rows.
fn up(drawn: &[Line], columns: usize) -> String {
    let rows = drawn
        .iter()
        .map(|line| line.width().div_ceil(columns.max(1)).max(1));
    match rows.sum::<usize>() {
        0 => String::new(),
        rows => format!("\x1b[{rows}A"),
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
            replaced(&before, &after, 80, false),
            "\x1b[2A\rthree\x1b[K\n\r\x1b[J"
        );
        assert_eq!(
            replaced(&[], &after, 80, true),
            format!("\r{FAILURE}three{FAILURE:#}\x1b[K\n\r\x1b[J")
        );
    }

    #[test]
    fn lines_that_wrap_on_a_narrower_terminal_are_cleared_completely() {
        let drawn = [
            Line::plain("x".repeat(81)),
            Line::plain(""),
            Line::plain("日本"),
        ];
        assert_eq!(up(&drawn, 40), "\x1b[5A");
        assert_eq!(up(&drawn, 120), "\x1b[3A");
        assert_eq!(up(&[], 40), "");
    }
}
