//! Progress streams: each line shown as plain text, the failure at the end made an error.

use mica_api::Message;

use crate::client::{Answer, Lines};
use crate::display::Display;
use crate::error::Error;
use crate::ui::printable;

/// A progress stream, read to its end.
pub(crate) struct Progress {
    lines: Lines,
}

impl Progress {
    /// The stream of an answer.
    pub(crate) fn of(answer: Answer) -> Self {
        Self {
            lines: answer.lines(),
        }
    }

    /// The next line.
    ///
    /// # Errors
    /// A broken connection, or the failure the stream tells.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Error> {
        let Some(message) = self.lines.next::<Message>().await? else {
            return Ok(None);
        };
        if let Some(detail) = message.error_detail {
            return Err(Error::Work {
                message: detail.message,
                code: detail.code,
            });
        }
        if let Some(message) = message.error {
            return Err(Error::Work { message, code: None });
        }
        Ok(Some(message))
    }
}

impl Progress {
    /// The next line; while it is awaited, what is due is drawn.
    ///
    /// # Errors
    /// As [`Progress::next`].
    pub(crate) async fn next_on(&mut self, display: &mut Display) -> Result<Option<Message>, Error> {
        while let Some(due) = display.due() {
            match tokio::time::timeout_at(due.into(), self.next()).await {
                Ok(next) => return next,
                Err(_) => display.draw(),
            }
        }
        self.next().await
    }

    /// Shows the stream to its end.
    ///
    /// # Errors
    /// As [`Progress::next`]; no exit code of a command's is passed on, since none ran.
    pub(crate) async fn show(mut self, display: &mut Display) -> Result<(), Error> {
        while let Some(message) = self.next_on(display).await.map_err(Error::without_code)? {
            display.show(&message);
        }
        Ok(())
    }
}

/// What a line shows where no bars are drawn.
pub(crate) fn plain(message: &Message) -> Option<String> {
    let has_bar = message.progress.as_ref().is_some_and(|bar| !bar.is_empty())
        || message
            .progress_detail
            .as_ref()
            .is_some_and(|detail| detail.current.is_some_and(|current| current > 0));
    if has_bar {
        return None;
    }
    let id = message.id.as_ref().filter(|id| !id.is_empty());
    let start = id.map(|id| format!("{id}: ")).unwrap_or_default();
    match (&message.stream, &message.status) {
        // What a build's own commands print is theirs.
        (Some(stream), _) => Some(start + stream),
        (None, Some(status)) => Some(printable(&format!("{start}{status}")) + "\n"),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_without_bars() {
        for (line, expected) in [
            (r#"{"stream":"Step 1/2 : FROM a\n"}"#, Some("Step 1/2 : FROM a\n")),
            (r#"{"stream":"part"}"#, Some("part")),
            (
                r#"{"status":"Pulling from x","id":"latest"}"#,
                Some("latest: Pulling from x\n"),
            ),
            (
                r#"{"status":"Waiting","id":"abc","progressDetail":{}}"#,
                Some("abc: Waiting\n"),
            ),
            (
                r#"{"status":"Downloading","id":"abc","progressDetail":{"current":1,"total":2}}"#,
                None,
            ),
            (r#"{"status":"a\u001b[2Jb\r","id":"x\u0007"}"#, Some("x: a[2Jb\n")),
            (r#"{"stream":"\u001b[1mbold"}"#, Some("\u{1b}[1mbold")),
            (r#"{"aux":{"ID":"sha256:00"}}"#, None),
        ] {
            let message: Message = serde_json::from_str(line).unwrap();
            assert_eq!(plain(&message).as_deref(), expected, "{line}");
        }
    }
}
