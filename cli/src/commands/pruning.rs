//! A prune while it goes on: a row at the bottom of a terminal says how far it has got, and goes when it is done.

use std::time::{Duration, Instant};

use hyper::Method;
use mica_api::{LINES_TYPE, PruneLine, PruneProgress};
use serde::de::DeserializeOwned;

use crate::canvas::{Canvas, Row};
use crate::client::{Client, Lines};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::row::printable;
use crate::{size, terminal, ui};

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(80);

/// Has the daemon prune, and gives what it did. `path` is that of the request.
///
/// # Errors
/// When the daemon refuses or fails, or the connection breaks; when a signal comes, which ends the prune.
pub(super) async fn ask<R: DeserializeOwned + Default>(client: &Client, path: &str) -> Result<R, Error> {
    or_interrupted(async {
        if !terminal::can_draw() {
            return client.ask(Method::POST, path).await;
        }
        let answer = client.send_accepting(Method::POST, path, LINES_TYPE).await?;
        // a daemon of another make says nothing until it is done
        match answer.header("content-type") == LINES_TYPE {
            true => follow(answer.long_lines()).await,
            false => answer.json().await,
        }
    })
    .await
}

async fn follow<R: DeserializeOwned + Default>(mut lines: Lines) -> Result<R, Error> {
    let mut view = View::default();
    loop {
        let next = lines.next::<PruneLine<R>>();
        let line = match view.due() {
            None => next.await?,
            Some(due) => match tokio::time::timeout_at(due.into(), next).await {
                Ok(line) => line?,
                Err(_) => {
                    view.draw();
                    continue;
                }
            },
        };
        match line {
            Some(PruneLine {
                progress: Some(progress),
                ..
            }) => view.show(&progress),
            Some(PruneLine {
                error_detail: Some(detail),
                ..
            }) => {
                return Err(Error::Work {
                    message: detail.message,
                    code: None,
                });
            }
            Some(PruneLine { report, .. }) => {
                view.clear();
                return Ok(report);
            }
            None => {
                return Err(Error::Work {
                    message: "the prune ended before it was done".to_owned(),
                    code: None,
                });
            }
        }
    }
}

/// The row. Where a prune ends before it is done, the row stays: so far it has got.
#[derive(Default)]
struct View {
    canvas: Canvas,
    text: String,
    is_stale: bool,
    last: Option<Instant>,
}

impl View {
    fn show(&mut self, progress: &PruneProgress) {
        self.text = words(progress);
        self.is_stale = true;
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.draw();
        }
    }

    /// When what has changed is to be drawn; `None` if nothing has.
    fn due(&self) -> Option<Instant> {
        let at = || self.last.map_or_else(Instant::now, |last| last + PAUSE);
        self.is_stale.then(at)
    }

    fn draw(&mut self) {
        let row = Row::from(self.text.clone());
        ui::progress(self.canvas.over([row], terminal::window()));
        self.is_stale = false;
        self.last = Some(Instant::now());
    }

    /// Takes the row away.
    fn clear(&mut self) {
        self.is_stale = false;
        if self.last.is_some() {
            ui::progress(self.canvas.over([], terminal::window()));
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.is_stale {
            self.draw();
        }
    }
}

/// `removing images: 32 of 100, 1.2MB freed`
fn words(progress: &PruneProgress) -> String {
    let mut text = printable(&progress.doing);
    if progress.total > 0 {
        text.push_str(&format!(": {} of {}", progress.done, progress.total));
    }
    if progress.bytes > 0 {
        let bytes = i64::try_from(progress.bytes).unwrap_or(i64::MAX);
        text.push_str(&format!(", {} freed", size::human(bytes, 3)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_says_what_is_known() {
        let told = |doing: &str, done, total, bytes| {
            words(&PruneProgress {
                doing: doing.to_owned(),
                done,
                total,
                bytes,
            })
        };
        assert_eq!(told("removing images", 0, 70, 0), "removing images: 0 of 70");
        assert_eq!(
            told("removing", 32, 70, 1_234_567),
            "removing: 32 of 70, 1.23MB freed"
        );
        assert_eq!(told("waiting", 0, 0, 0), "waiting");
        assert_eq!(told("\x1b[2Jwaiting\r", 0, 0, 1), "[2Jwaiting, 1B freed");
    }
}
