//! Progress streams as people see them: bars on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use mica_api::Message;

use crate::bars::Bars;
use crate::stream::plain;
use crate::{terminal, ui};

/// Between two drawings: smooth enough for eyes, and few enough for slow connections.
const PAUSE: Duration = Duration::from_millis(80);

/// Where progress is shown. What is on the screen when it goes stays there, complete.
#[derive(Debug)]
pub(crate) struct Display {
    /// `None` where nothing can be drawn.
    bars: Option<Bars>,
    is_quiet: bool,
    last: Option<Instant>,
}

impl Display {
    /// Bars if standard error is a terminal that can draw them, plain lines else, nothing if quiet.
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self {
            bars: (!is_quiet && terminal::can_draw()).then(Bars::default),
            is_quiet,
            last: None,
        }
    }

    /// Plain lines in any case.
    pub(crate) fn plain() -> Self {
        Self {
            bars: None,
            is_quiet: false,
            last: None,
        }
    }

    /// Shows a line of a stream: a line with an id and details in its place, if not at once then when it is
    /// [`Display::due`]; any other below all that came before.
    pub(crate) fn show(&mut self, message: &Message) {
        if self.is_quiet {
            return;
        }
        if let Some(bars) = &mut self.bars
            && let (Some(id), Some(status), None) = (&message.id, &message.status, &message.stream)
            && !id.is_empty()
            && (message.progress_detail.is_some() || bars.has(id))
        {
            if bars.is_full() && !bars.has(id) {
                ui::progress(bars.settle(terminal::window()));
            }
            bars.set(id, status, message.progress_detail.clone().unwrap_or_default());
            if self.due().is_some_and(|due| due <= Instant::now()) {
                self.draw();
            }
        } else if let Some(text) = plain(message) {
            self.settle();
            ui::progress(text);
        }
    }

    /// When what has changed is to be drawn; `None` if nothing has.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.bars.as_ref().filter(|bars| bars.is_stale())?;
        Some(self.last.map_or_else(Instant::now, |last| last + PAUSE))
    }

    /// Draws what has changed.
    pub(crate) fn draw(&mut self) {
        if let Some(bars) = self.bars.as_mut().filter(|bars| bars.is_stale()) {
            ui::progress(bars.draw(terminal::window()));
            self.last = Some(Instant::now());
        }
    }

    /// Draws all for good, so that something else may be written below.
    pub(crate) fn settle(&mut self) {
        if let Some(bars) = &mut self.bars {
            ui::progress(bars.settle(terminal::window()));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.settle();
    }
}
