//! The terminal's own: its size, whether bars can be drawn on it, and questions whose answer is not shown.

use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::canvas::Window;
use crate::error::Error;
use crate::ui;

/// The size of terminals that do not tell theirs.
const USUAL: Window = Window {
    columns: 80,
    rows: 24,
};

/// Longer answers are no names and no passwords.
const MAX_ANSWER_BYTES: usize = 4096;

/// Whether standard error is a terminal that moves its cursor.
pub(crate) fn can_draw() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stderr().is_terminal() && !is_dumb
}

/// The size of the terminal at standard error, now.
pub(crate) fn window() -> Window {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Window {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        },
        _ => USUAL,
    }
}

/// Asks a question at standard error; the answer is the line typed, without spaces around it.
pub(crate) async fn ask(question: &str) -> Result<String, Error> {
    ui::progress(question);
    Ok(typed().await?.trim().to_owned())
}

/// Asks a question whose answer the terminal does not show.
pub(crate) async fn ask_unseen(question: &str) -> Result<String, Error> {
    let _unseen = Unseen::begin()?;
    ui::progress(question);
    let answer = typed().await;
    // The user's own line end was not shown either.
    ui::progress("\n");
    answer
}

/// A terminal that shows nothing of what is typed, until this goes: at the end of the question or of the program.
struct Unseen {
    before: Termios,
}

impl Unseen {
    fn begin() -> Result<Self, Error> {
        let failed = |error: rustix::io::Errno| Error::Input { source: error.into() };
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        unseen.local_modes.remove(LocalModes::ECHONL);
        unseen.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        // What was typed or pasted ahead counts.
        tcsetattr(io::stdin(), OptionalActions::Now, &unseen).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// A line of standard input, without its end. It is read by a thread: signals must be able to end the wait.
async fn typed() -> Result<String, Error> {
    let read = tokio::task::spawn_blocking(|| -> io::Result<Vec<u8>> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        let mut stdin = std::fs::File::from(fd);
        let mut line = Vec::new();
        let mut byte = [0];
        while stdin.read(&mut byte)? == 1 && byte != *b"\n" {
            if line.len() == MAX_ANSWER_BYTES {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            line.push(byte[0]);
        }
        Ok(line)
    });
    let failed = |source| Error::Input { source };
    let line = read
        .await
        .map_err(|error| failed(io::Error::other(error)))?
        .map_err(failed)?;
    let line = String::from_utf8(line).map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
    Ok(line.strip_suffix('\r').map(str::to_owned).unwrap_or(line))
}
