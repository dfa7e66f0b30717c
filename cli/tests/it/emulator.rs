//! A terminal for tests: what it shows after what was written to it. It fails on what would spoil a real one.
//!
//! While the cursor is hidden a program draws. Then no row may reach the last column, and the cursor may not go above where
//! the drawing began, nor above the top of the screen.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "two programs of tests use parts of it"
)]

/// A terminal that breaks long rows, and breaks them anew when its size changes.
#[derive(Debug)]
pub(crate) struct Emulator {
    columns: usize,
    rows: usize,
    /// All rows, those that scrolled off included.
    lines: Vec<Line>,
    /// The first that is on the screen.
    top: usize,
    row: usize,
    column: usize,
    /// The first row that was drawn and not released by other text.
    floor: Option<usize>,
    is_hidden: bool,
    /// How often something was drawn.
    pub(crate) drawings: usize,
    /// Whether anything was coloured.
    pub(crate) is_colored: bool,
    rest: String,
}

#[derive(Debug, Clone, Default)]
struct Line {
    /// Characters with the marks that stand on them; the second half of a wide one is empty.
    cells: Vec<String>,
    /// Whether it goes on in the next row.
    is_broken: bool,
}

impl Emulator {
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            rows,
            lines: vec![Line::default()],
            top: 0,
            row: 0,
            column: 0,
            floor: None,
            is_hidden: false,
            drawings: 0,
            is_colored: false,
            rest: String::new(),
        }
    }

    /// Everything it shows, from the first row that ever was, without blanks at the ends.
    pub(crate) fn text(&self) -> String {
        let rows = self
            .lines
            .iter()
            .map(|line| line.cells.concat().trim_end().to_owned() + "\n");
        rows.collect::<String>().trim_end().to_owned()
    }

    pub(crate) fn is_cursor_shown(&self) -> bool {
        !self.is_hidden
    }

    /// The column the cursor is in, from 0.
    pub(crate) fn column(&self) -> usize {
        self.column
    }

    /// Takes in what a program writes; sequences may come in parts.
    pub(crate) fn write(&mut self, text: &str) {
        let text = std::mem::take(&mut self.rest) + text;
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            if c != '\x1b' {
                rest = &rest[c.len_utf8()..];
                self.put(c);
                continue;
            }
            let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) else {
                break;
            };
            let sequence = rest[..=end].to_owned();
            rest = &rest[end + 1..];
            self.obey(&sequence);
        }
        self.rest = rest.to_owned();
    }

    fn obey(&mut self, sequence: &str) {
        let inner = sequence
            .strip_prefix("\x1b[")
            .unwrap_or_else(|| panic!("{sequence:?}"));
        let (parameters, letter) = inner.split_at(inner.len() - 1);
        match (letter, parameters) {
            ("l", "?25") => {
                self.is_hidden = true;
                self.drawings += 1;
                self.floor.get_or_insert(self.row);
            }
            ("h", "?25") => self.is_hidden = false,
            ("A", count) => {
                assert!(self.is_hidden, "only drawings move the cursor");
                let count: usize = count.parse().unwrap();
                let floor = self.floor.unwrap_or(self.row).max(self.top);
                assert!(
                    self.row >= count && self.row - count >= floor,
                    "{count} up from {} with the drawing at {floor}:\n{}",
                    self.row,
                    self.text()
                );
                self.row -= count;
            }
            ("K", "") => {
                self.lines[self.row].cells.truncate(self.column);
                self.lines[self.row].is_broken = false;
            }
            ("J", "") => {
                self.lines.truncate(self.row + 1);
                self.lines[self.row].cells.truncate(self.column);
            }
            ("m", code) => self.is_colored |= !matches!(code, "" | "0"),
            _ => panic!("{sequence:?}"),
        }
    }

    fn put(&mut self, c: char) {
        if !self.is_hidden && c == '\n' {
            // whoever writes a line below has done with the drawing; what is typed there is no such line
            self.floor = None;
        }
        match c {
            '\r' => self.column = 0,
            '\n' => self.feed(false),
            c => {
                assert!(!c.is_control(), "{c:?}");
                self.character(c);
            }
        }
    }

    fn feed(&mut self, is_broken: bool) {
        self.lines[self.row].is_broken = is_broken;
        (self.row, self.column) = (self.row + 1, 0);
        self.lines
            .resize(self.lines.len().max(self.row + 1), Line::default());
        self.top = self.top.max((self.row + 1).saturating_sub(self.rows));
    }

    fn character(&mut self, c: char) {
        let width = width(c);
        if width == 0 {
            let cells = &mut self.lines[self.row].cells[..self.column];
            let base = cells.iter_mut().rev().find(|cell| !cell.is_empty());
            base.expect("a mark stands on something").push(c);
            return;
        }
        if self.is_hidden {
            assert!(
                self.column + width < self.columns,
                "a row reaches the last column:\n{}",
                self.text()
            );
        } else if self.column + width > self.columns {
            self.feed(true);
        }
        let cells = &mut self.lines[self.row].cells;
        cells.resize(cells.len().max(self.column + width), " ".to_owned());
        cells[self.column] = c.to_string();
        if width == 2 {
            cells[self.column + 1] = String::new();
        }
        self.column += width;
    }

    /// Becomes another size, as terminals do that break rows anew.
    pub(crate) fn resize(&mut self, columns: usize, rows: usize) {
        let mut whole: Vec<Line> = Vec::new();
        // where the cursor and the drawing are, as whole line and place in it
        let (mut cursor, mut floor) = ((0, 0), None);
        let mut goes_on = false;
        for (number, line) in self.lines.iter().enumerate() {
            if !goes_on {
                whole.push(Line::default());
            }
            let last = whole.len() - 1;
            let before = whole[last].cells.len();
            if number == self.row {
                cursor = (last, before + self.column);
            }
            if Some(number) == self.floor {
                floor = Some((last, before));
            }
            whole[last].cells.extend(line.cells.iter().cloned());
            goes_on = line.is_broken;
        }
        self.lines.clear();
        self.floor = None;
        for (number, line) in whole.into_iter().enumerate() {
            let first = self.lines.len();
            let pieces: Vec<&[String]> = line.cells.chunks(columns).collect();
            let count = pieces.len().max(1);
            for piece in 0..count {
                self.lines.push(Line {
                    cells: pieces.get(piece).map(|cells| cells.to_vec()).unwrap_or_default(),
                    is_broken: piece + 1 < count,
                });
            }
            if cursor.0 == number {
                (self.row, self.column) = (first + cursor.1 / columns, cursor.1 % columns);
            }
            if let Some((_, place)) = floor.filter(|(line, _)| *line == number) {
                self.floor = Some(first + place / columns);
            }
        }
        (self.columns, self.rows) = (columns, rows);
        self.lines
            .resize(self.lines.len().max(self.row + 1), Line::default());
        self.top = (self.row + 1).saturating_sub(rows);
    }
}

/// The columns of the characters that tests use.
fn width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{ff01}'..='\u{ff60}' => 2,
        '\u{1f000}'.. => 2,
        _ => 1,
    }
}

#[test]
fn rows_are_drawn_over_and_broken_anew() {
    let mut terminal = Emulator::new(10, 4);
    terminal.write("$ x\n\x1b[?25labc\x1b[K\n日本\x1b[K\n\x1b[?25h");
    assert_eq!(terminal.text(), "$ x\nabc\n日本");
    terminal.write("\x1b[?25l\r\x1b[2Ae\u{301}\x1b[K\n\x1b[J\x1b[?2");
    assert!(!terminal.is_cursor_shown());
    terminal.write("5h");
    assert!(terminal.is_cursor_shown() && !terminal.is_colored && terminal.drawings == 2);
    assert_eq!(terminal.text(), "$ x\ne\u{301}");
    terminal.write("0123456789ab\n");
    assert_eq!(terminal.text(), "$ x\ne\u{301}\n0123456789\nab");
    terminal.resize(6, 4);
    assert_eq!(terminal.text(), "$ x\ne\u{301}\n012345\n6789ab");
}

#[test]
#[should_panic(expected = "last column")]
fn a_row_that_is_too_wide_is_an_error() {
    Emulator::new(4, 4).write("\x1b[?25labcd");
}

#[test]
#[should_panic(expected = "up from")]
fn whatever_was_there_before_is_not_touched() {
    Emulator::new(9, 9).write("$ x\n\x1b[?25la\n\r\x1b[2A");
}
