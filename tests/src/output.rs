//! A command that was run, and what it said.

use std::process::{Command, Stdio};

/// What a finished command said.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; 128 + N after signal N.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// This result, which must be a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The standard output without the last line end.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }
}

/// Runs a command to its end with nothing on its standard input.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output();
    ran(command, output)
}

/// Runs a command to its end with this text on its standard input.
#[track_caller]
pub fn run_fed(command: &mut Command, input: &str) -> Ran {
    use std::io::Write;

    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = child.and_then(|mut child| {
        let mut stdin = child.stdin.take().expect("it is piped");
        // a command that does not want it has ended by then
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output()
    });
    ran(command, output)
}

#[track_caller]
fn ran(command: &Command, output: std::io::Result<std::process::Output>) -> Ran {
    use std::os::unix::process::ExitStatusExt;

    let output = output.unwrap_or_else(|e| panic!("cannot run {:?}: {e}", command.get_program()));
    Ran {
        code: output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default()),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
