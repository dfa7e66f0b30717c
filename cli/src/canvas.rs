//! Rows at the bottom of a terminal that are drawn over again and again.
//!
//! Nothing here writes; what is given back is written at once, so that the cursor is hidden only while it moves and is shown
//! whenever something ends the program.

use crate::row::{columns, cut};

/// Columns and rows of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Window {
    /// What may be written to a row: the last column is left free, where some terminals begin a new row.
    pub(crate) fn width(self) -> usize {
        self.columns.saturating_sub(1)
    }

    /// The rows that can be drawn over: the cursor has one below them.
    pub(crate) fn height(self) -> usize {
        self.rows.saturating_sub(1).max(1)
    }
}

/// A row and how it is coloured (parameters of SGR, ECMA-48 8.3.117).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) color: Option<String>,
}

impl From<String> for Row {
    fn from(text: String) -> Self {
        Self { text, color: None }
    }
}

const HIDE: &str = "\x1b[?25l";
const SHOW: &str = "\x1b[?25h";

/// What is on the screen. The cursor stays below the last row.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    /// The columns of each row, so that they are found again when the window has become narrower.
    drawn: Vec<usize>,
}

impl Canvas {
    /// What draws these rows over those drawn before.
    pub(crate) fn over(&mut self, rows: impl IntoIterator<Item = Row>, window: Window) -> String {
        // A terminal that became narrower has broken rows into several.
        let up: usize = self
            .drawn
            .iter()
            .map(|columns| columns.div_ceil(window.columns.max(1)).max(1))
            .sum();
        let mut out = HIDE.to_owned();
        if up > 0 {
            // What is typed meanwhile moves the cursor along its row.
            out.push_str(&format!("\r\x1b[{}A", up.min(window.height())));
        }
        self.drawn.clear();
        for Row { text, color } in rows {
            let text = cut(&text, window.width());
            self.drawn.push(columns(text));
            match color {
                Some(color) => out.push_str(&format!("\x1b[{color}m{text}\x1b[0m")),
                None => out.push_str(text),
            }
            out.push_str("\x1b[K\n");
        }
        if up > self.drawn.len() {
            out.push_str("\x1b[J");
        }
        out.push_str(SHOW);
        out
    }

    /// Leaves what is drawn where it is: whatever comes next is drawn below.
    pub(crate) fn release(&mut self) {
        self.drawn.clear();
    }
}
