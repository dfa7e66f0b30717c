//! Lines of a progress stream that change in place, as text with cursor movements for a terminal.
//!
//! Nothing here writes or reads the time; `display` does.

mod bar;

use mica_api::ProgressDetail;

use crate::canvas::{Canvas, Row, Window};
use crate::row::{columns, printable};

/// Lines that are kept apart at once. Images have at most some hundred layers.
const MAX_LINES: usize = 1000;

/// The lines, one to each id, and what of them is on the screen. The cursor stays below the last.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    lines: Vec<Line>,
    canvas: Canvas,
    is_stale: bool,
}

#[derive(Debug)]
struct Line {
    id: String,
    status: String,
    detail: ProgressDetail,
}

impl Line {
    fn is_moving(&self) -> bool {
        self.detail.current.is_some_and(|current| current > 0)
    }

    fn text(&self, width: usize) -> String {
        let start = printable(&format!("{}: {}", self.id, self.status));
        let space = width.saturating_sub(columns(&start) + 1);
        match bar::text(&self.detail, space) {
            bar if bar.is_empty() => start,
            bar => format!("{start} {bar}"),
        }
    }
}

impl Bars {
    /// Whether there is a line of this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.lines.iter().any(|line| line.id == id)
    }

    /// Whether another line would be one too many.
    pub(crate) fn is_full(&self) -> bool {
        self.lines.len() >= MAX_LINES
    }

    /// Whether something changed since it was drawn.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Changes the line of this id, or adds it below the others.
    pub(crate) fn set(&mut self, id: &str, status: &str, detail: ProgressDetail) {
        self.is_stale = true;
        match self.lines.iter_mut().find(|line| line.id == id) {
            Some(line) => {
                status.clone_into(&mut line.status);
                line.detail = detail;
            }
            None => self.lines.push(Line {
                id: id.to_owned(),
                status: status.to_owned(),
                detail,
            }),
        }
    }

    /// What draws the lines over what was drawn before. Where the window is not high enough, those that move come
    /// first, and how many are left out is said below.
    pub(crate) fn draw(&mut self, window: Window) -> String {
        let rows = window.height();
        let shown = self.shown(rows);
        let missing = self.lines.len() - shown.len();
        let mut texts: Vec<String> = shown.into_iter().map(|line| line.text(window.width())).collect();
        if missing > 0 && rows > 1 {
            texts.push(format!("… {missing} more"));
        }
        self.is_stale = false;
        self.canvas.over(texts.into_iter().map(Row::from), window)
    }

    /// What draws all lines for good, and forgets them: whatever is written next comes below.
    pub(crate) fn settle(&mut self, window: Window) -> String {
        let lines = std::mem::take(&mut self.lines);
        self.is_stale = false;
        if lines.is_empty() {
            return String::new();
        }
        let rows = lines.iter().map(|line| Row::from(line.text(window.width())));
        let text = self.canvas.over(rows, window);
        self.canvas.release();
        text
    }

    fn shown(&self, rows: usize) -> Vec<&Line> {
        if self.lines.len() <= rows {
            return self.lines.iter().collect();
        }
        let mut places: Vec<usize> = (0..self.lines.len()).collect();
        places.sort_by_key(|place| !self.lines[*place].is_moving());
        places.truncate(rows.saturating_sub(1).max(1));
        places.sort_unstable();
        places.into_iter().map(|place| &self.lines[place]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::Emulator;
    use proptest::prelude::*;

    const WINDOW: Window = Window {
        columns: 80,
        rows: 24,
    };

    fn at(current: i64, total: i64) -> ProgressDetail {
        ProgressDetail {
            current: Some(current),
            total: Some(total),
            ..ProgressDetail::default()
        }
    }

    /// What is drawn, without the cursor going away and coming back.
    fn bare(drawn: &str) -> &str {
        let inner = drawn.strip_prefix("\x1b[?25l").unwrap();
        inner.strip_suffix("\x1b[?25h").unwrap()
    }

    #[test]
    fn lines_change_in_place() {
        let mut bars = Bars::default();
        bars.set("a", "Waiting", ProgressDetail::default());
        bars.set("b", "Waiting", ProgressDetail::default());
        assert!(bars.is_stale() && bars.has("a") && !bars.has("c"));
        assert_eq!(bare(&bars.draw(WINDOW)), "a: Waiting\x1b[K\nb: Waiting\x1b[K\n");
        assert!(!bars.is_stale());
        bars.set("a", "Downloading", at(500, 1000));
        assert_eq!(
            bare(&bars.draw(WINDOW)),
            "\r\x1b[2Aa: Downloading [========================>                        ]     500B/1kB\x1b[K\nb: Waiting\x1b[K\n"
        );
        bars.set("a", "Pull complete", ProgressDetail::default());
        assert_eq!(
            bare(&bars.settle(WINDOW)),
            "\r\x1b[2Aa: Pull complete\x1b[K\nb: Waiting\x1b[K\n"
        );
        bars.set("c", "Waiting", ProgressDetail::default());
        assert_eq!(
            bare(&bars.draw(WINDOW)),
            "c: Waiting\x1b[K\n",
            "below what was settled"
        );
    }

    #[test]
    fn low_windows_show_what_moves_and_all_in_the_end() {
        let window = Window { columns: 40, rows: 5 };
        let mut bars = Bars::default();
        for id in 0..9 {
            bars.set(&format!("l{id}"), "Waiting", ProgressDetail::default());
        }
        bars.set("l7", "Downloading", at(1, 2));
        let drawn = bars.draw(window);
        let shown: Vec<&str> = bare(&drawn)
            .lines()
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(shown, ["l0", "l1", "l7", "… 6 more\x1b[K"]);
        let settled = bars.settle(window);
        assert!(bare(&settled).starts_with("\r\x1b[4A"));
        assert_eq!(bare(&settled).lines().count(), 9);
    }

    #[test]
    fn a_window_made_narrow_is_found_again() {
        let mut bars = Bars::default();
        bars.set("a", &"x".repeat(70), ProgressDetail::default());
        bars.set("b", "y", ProgressDetail::default());
        bars.draw(WINDOW);
        let narrow = Window {
            columns: 30,
            rows: 24,
        };
        assert!(bare(&bars.draw(narrow)).starts_with("\r\x1b[4Aa: x"));
        let none = Window { columns: 0, rows: 0 };
        bars.draw(none);
        bars.settle(none);
    }

    #[test]
    fn nothing_a_registry_says_moves_the_cursor() {
        let mut bars = Bars::default();
        bars.set("a\n\x1b[2J", "b\r\u{9b}2J\x07", ProgressDetail::default());
        assert_eq!(bare(&bars.draw(WINDOW)), "a[2J: b2J\x1b[K\n");
    }

    proptest! {
        #[test]
        fn the_screen_holds_each_line_once(
            updates in proptest::collection::vec((0..12_usize, 0..3_i64), 1..60),
            rows in 2..10_usize,
            columns in 12..120_usize,
        ) {
            let window = Window { columns, rows };
            let mut bars = Bars::default();
            let mut terminal = Emulator::new(columns, rows);
            terminal.write("$ mica pull\n");
            let mut ids = Vec::new();
            for (id, current) in updates {
                let id = format!("id{id:02}");
                if !ids.contains(&id) {
                    ids.push(id.clone());
                }
                bars.set(&id, "Status", at(current, 2));
                terminal.write(&bars.draw(window));
            }
            terminal.write(&bars.settle(window));
            let text = terminal.text();
            let (typed, rest) = text.split_once('\n').unwrap();
            prop_assert_eq!(typed, "$ mica pull");
            let shown: Vec<String> = rest.lines().map(|row| row.chars().take(4).collect()).collect();
            prop_assert_eq!(shown, ids);
        }
    }
}
