//! Shows a build in one of the ways there are, whatever the daemon tells it in.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mica_api::{Message, STATUS_ID, Status};

use crate::canvas::Canvas;
use crate::display::Display;
use crate::error::Error;
use crate::progress::ending;
use crate::progress::kind::Kind;
use crate::progress::palette::Palette;
use crate::progress::plain::Plain;
use crate::progress::screen;
use crate::progress::trace::Trace;
use crate::{terminal, ui};

/// Between two drawings: smooth enough for eyes, and few enough for slow connections.
const PAUSE: Duration = Duration::from_millis(100);

/// The most text that waits for the end of the build.
const LAST_WORDS_LIMIT: usize = 1 << 20;

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The daemon told the end.
    Told,
    /// It was not waited for.
    Interrupted,
}

/// A build as it is shown.
pub(crate) struct View {
    kind: Kind,
    /// For daemons that tell of builds in classic lines only.
    classic: Display,
    told: Told,
    palette: Palette,
    last_words: String,
}

/// What was told as statuses.
enum Told {
    Nothing,
    Objects,
    Lines(Box<Plain>),
    Rows(Box<Rows>),
}

#[derive(Default)]
struct Rows {
    trace: Trace,
    canvas: Canvas,
    /// How far the clock of the daemon is behind this one.
    behind: Option<SignedDuration>,
    is_stale: bool,
    drawn: Option<Instant>,
}

impl View {
    /// Nothing is shown yet.
    pub(crate) fn new(kind: Kind) -> Self {
        let variable = |name: &str| {
            let value = std::env::var_os(name).unwrap_or_default();
            value.to_string_lossy().into_owned()
        };
        Self {
            kind,
            classic: match kind {
                Kind::Quiet => Display::new(true),
                Kind::Plain => Display::plain(),
                Kind::Tty | Kind::RawJson | Kind::Classic => Display::new(false),
            },
            told: Told::Nothing,
            palette: if terminal::can_draw() {
                Palette::of(variable)
            } else {
                Palette::none()
            },
            last_words: String::new(),
        }
    }

    /// Whether nothing is shown.
    pub(crate) fn is_quiet(&self) -> bool {
        self.kind == Kind::Quiet
    }

    /// Shows a line of a build's stream.
    ///
    /// # Errors
    /// A status that is none.
    pub(crate) fn show(&mut self, message: Message) -> Result<(), Error> {
        if is_status(&message) && self.kind.wants_status() {
            let aux = message.aux.unwrap_or_default();
            if self.kind == Kind::RawJson {
                ui::progress(format!("{aux}\n"));
                self.told = Told::Objects;
                return Ok(());
            }
            let status = serde_json::from_value(aux).map_err(|source| Error::Answer {
                path: "/mica/build".to_owned(),
                source,
            })?;
            self.update(status);
        } else if matches!(self.told, Told::Nothing) {
            self.classic.show(&message);
        } else if let Some(text) = &message.stream
            && self.last_words.len() + text.len() <= LAST_WORDS_LIMIT
        {
            self.last_words.push_str(text);
        }
        Ok(())
    }

    fn update(&mut self, status: Status) {
        if let Told::Nothing = self.told {
            self.told = match self.kind {
                Kind::Tty => Told::Rows(Box::default()),
                _ => Told::Lines(Box::default()),
            };
        }
        match &mut self.told {
            Told::Nothing | Told::Objects => {}
            Told::Lines(plain) => ui::progress(plain.update(status, Instant::now())),
            Told::Rows(rows) => {
                rows.update(status);
                if rows.due().is_some_and(|due| due <= Instant::now()) {
                    rows.draw(&self.palette);
                }
            }
        }
    }

    /// When something is to be drawn though nothing more is told; `None` if nothing is.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.told {
            Told::Nothing => self.classic.due(),
            Told::Objects => None,
            Told::Lines(plain) => plain.due(),
            Told::Rows(rows) => rows.due(),
        }
    }

    /// Draws what is due.
    pub(crate) fn draw(&mut self) {
        match &mut self.told {
            Told::Nothing => self.classic.draw(),
            Told::Objects => {}
            Told::Lines(plain) => ui::progress(plain.tick(Instant::now())),
            Told::Rows(rows) => rows.draw(&self.palette),
        }
    }

    /// Shows the last state for good, so that something else may be written below; then what failed and what the user
    /// should know.
    pub(crate) fn finish(mut self, end: End) {
        let (failures, warnings) = match &mut self.told {
            Told::Nothing => return self.classic.settle(),
            Told::Objects => return,
            Told::Lines(plain) => {
                ui::progress(plain.finish(Timestamp::now()));
                (
                    plain.failures(),
                    ending::warnings(plain.warnings(), &self.palette),
                )
            }
            Told::Rows(rows) => {
                rows.finish(&self.palette, end);
                let warnings = ending::warnings(&rows.trace.warnings, &self.palette);
                (rows.failures(), warnings)
            }
        };
        if end == End::Interrupted {
            return;
        }
        for (name, lines) in failures {
            ui::progress(ending::failure(&name, lines));
        }
        ui::progress(warnings);
        ui::progress(ui::printable(&self.last_words));
    }
}

/// Whether a line of a build's stream is one of statuses.
pub(crate) fn is_status(message: &Message) -> bool {
    message.id.as_deref() == Some(STATUS_ID)
}

impl Rows {
    fn update(&mut self, status: Status) {
        self.trace.update(status);
        self.is_stale = true;
        if self.behind.is_none()
            && let Some(first) = self.trace.first
        {
            self.behind = Some(Timestamp::now().duration_since(first));
        }
    }

    /// Now, by the daemon's clock.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_sub(self.behind.unwrap_or_default()).unwrap_or(now)
    }

    fn due(&self) -> Option<Instant> {
        let is_running = || self.trace.vertices.iter().any(|piece| piece.is_running());
        // the time of what runs changes by itself
        (self.is_stale || is_running()).then(|| self.drawn.map_or_else(Instant::now, |drawn| drawn + PAUSE))
    }

    fn draw(&mut self, palette: &Palette) {
        self.is_stale = false;
        self.drawn = Some(Instant::now());
        let window = terminal::window();
        let rows = screen::rows(&self.trace, palette, self.now(), window, false);
        ui::progress(self.canvas.over(rows, window));
    }

    fn finish(&mut self, palette: &Palette, end: End) {
        if end == End::Interrupted {
            let now = self.now();
            self.trace.cancel(now);
        }
        let window = terminal::window();
        let rows = screen::rows(&self.trace, palette, self.now(), window, true);
        ui::progress(self.canvas.over(rows, window));
        self.canvas.release();
    }

    fn failures(&self) -> Vec<(String, Vec<String>)> {
        let failed = |error: &str| !error.is_empty() && !error.ends_with(mica_api::CANCELED);
        let failed = self.trace.vertices.iter().filter(|piece| failed(&piece.error));
        failed
            .map(|piece| (piece.name.clone(), piece.failure.lines().collect()))
            .collect()
    }
}
