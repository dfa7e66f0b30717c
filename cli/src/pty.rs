//! A pseudo-terminal whose other side a program elsewhere has, joined to this program's own input and output.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

/// Bytes moved at once.
const CHUNK: usize = 16 << 10;

/// What a terminal takes for the end of input at the start of a line: Ctrl-D.
const END_OF_INPUT: u8 = 4;

/// A pseudo-terminal; the user's own terminal is raw until this goes.
pub(crate) struct Pty {
    master: Arc<File>,
    output: JoinHandle<io::Result<()>>,
    _raw: Option<Raw>,
}

impl Pty {
    /// Opens one of the size of the user's terminal, and joins it to standard input and output. Gives the other side too.
    pub(crate) fn open() -> io::Result<(Self, OwnedFd)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = openat(
            CWD,
            name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let raw = if io::stdin().is_terminal() {
            Some(Raw::begin()?)
        } else {
            plain(&slave)?;
            None
        };
        let master = Arc::new(File::from(master));
        let pty = Self {
            output: thread::spawn({
                let master = master.clone();
                move || show(&master)
            }),
            master,
            _raw: raw,
        };
        pty.resize();
        let (from, to) = (io::stdin().as_fd().try_clone_to_owned()?, pty.master.clone());
        // it waits for input until the program ends
        thread::spawn(move || type_in(from.into(), &to));
        Ok((pty, slave))
    }

    /// Gives it the size that the user's terminal has now.
    pub(crate) fn resize(&self) {
        let size = tcgetwinsize(io::stdin()).or_else(|_| tcgetwinsize(io::stdout()));
        let size = size.unwrap_or(Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        });
        // a terminal of another size is still one
        let _kept = tcsetwinsize(&*self.master, size);
    }

    /// Shows what is still to be shown, once the other side is closed.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Self { output, master, _raw } = self;
        let shown = output.join();
        drop(master);
        shown.unwrap_or(Ok(()))
    }
}

/// Without echo and without carriage returns: nobody types, and output goes into a pipe or file.
fn plain(slave: &OwnedFd) -> io::Result<()> {
    let mut modes = tcgetattr(slave)?;
    modes.local_modes.remove(LocalModes::ECHO);
    modes.output_modes.remove(OutputModes::OPOST);
    tcsetattr(slave, OptionalActions::Now, &modes)?;
    Ok(())
}

fn show(mut master: &File) -> io::Result<()> {
    let mut output = io::stdout();
    let mut buffer = vec![0; CHUNK];
    loop {
        match master.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                output.write_all(&buffer[..count])?;
                output.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // nobody has the other side any more (EIO)
            Err(_) => return Ok(()),
        }
    }
}

fn type_in(mut from: File, mut master: &File) {
    let is_terminal = from.is_terminal();
    let mut buffer = vec![0; CHUNK];
    let mut at_start = true;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        if count == 0 {
            // in the middle of a line the first only sends what there is
            let end: &[u8] = if at_start {
                &[END_OF_INPUT]
            } else {
                &[END_OF_INPUT, END_OF_INPUT]
            };
            if !is_terminal {
                // whoever would read it may be gone
                let _gone = master.write_all(end);
            }
            return;
        }
        at_start = buffer[count - 1] == b'\n';
        if master.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// The user's terminal passes everything on as it is typed, until this goes.
struct Raw {
    before: Termios,
}

impl Raw {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
