//! The terminal: the only file that prints. Results go to standard output, everything else to standard error.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use crate::error::Error;

/// Answers longer than this are no answers.
const MAX_ANSWER_BYTES: u64 = 4096;

/// Writes a result to standard output.
pub(crate) fn result(text: impl AsRef<[u8]>) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())
        .and_then(|()| out.flush())
        .map_err(|source| Error::Output { source })
}

/// Writes progress to standard error as it is. A standard error that is gone stops no work.
pub(crate) fn progress(text: impl AsRef<[u8]>) {
    let mut err = io::stderr().lock();
    let _gone = err.write_all(text.as_ref());
}

/// Writes a line to standard error.
pub(crate) fn notice(text: impl AsRef<str>) {
    progress(format!("{}\n", text.as_ref()));
}

/// Writes a line that begins with `WARNING: ` to standard error.
pub(crate) fn warn(text: impl AsRef<str>) {
    progress(format!("WARNING: {}\n", text.as_ref()));
}

/// A text without control characters other than line ends and tabs: what comes from afar could move the cursor, or
/// worse.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// Asks a question that only `y` and `Y` answer with yes.
pub(crate) fn confirm(warning: &str) -> Result<bool, Error> {
    result(format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = Vec::new();
    io::Read::take(io::stdin().lock(), MAX_ANSWER_BYTES)
        .read_until(b'\n', &mut answer)
        .map_err(|source| Error::Input { source })?;
    Ok(answer.trim_ascii().eq_ignore_ascii_case(b"y"))
}

/// Whether results would land on a terminal.
pub(crate) fn result_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether input would be typed.
pub(crate) fn input_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Standard output for bytes, without buffering.
pub(crate) fn output() -> Result<File, Error> {
    let fd = io::stdout().as_fd().try_clone_to_owned();
    fd.map(File::from).map_err(|source| Error::Output { source })
}

/// Standard input for bytes, without buffering.
pub(crate) fn input() -> Result<File, Error> {
    let fd = io::stdin().as_fd().try_clone_to_owned();
    fd.map(File::from).map_err(|source| Error::Input { source })
}
