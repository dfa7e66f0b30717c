//! The verb debug: a command, or a shell, where a RUN failed.

use std::os::fd::OwnedFd;

use mica_oci::BuildId;
use mica_task::Cancel;

use crate::adapters::exec::SandboxExecutor;
use crate::engine::Engine;
use crate::error::Error;

impl Engine {
    /// Runs `command`, or the stage's shell if it is empty, on what the failed RUN of a build left, with its environment and
    /// its mounts. `terminal` is the slave's side of a pseudo-terminal. Blocks until it has ended; gives its exit code, 128 + N
    /// for signal N. What it changes is there the next time, and in no image.
    pub fn debug(
        &self,
        build: &BuildId,
        command: &[String],
        terminal: OwnedFd,
        cancel: &Cancel,
    ) -> Result<i32, Error> {
        if !rustix::termios::isatty(&terminal) {
            return Err(Error::NoTerminal);
        }
        let missing = || Error::NoFailedStep { build: *build };
        let step = self.workshop().failed_step(build).ok_or_else(missing)?;
        let entry = step.enter().map_err(|_| Error::StepOccupied { build: *build })?;
        let process = entry.process(command).map_err(|source| Error::Io {
            action: "enter the step",
            source,
        })?;
        let executor = SandboxExecutor {
            helper: &self.config().helper,
        };
        executor.run_on(&process, terminal, cancel).map_err(|source| {
            if cancel.is_cancelled() {
                return Error::Cancelled;
            }
            Error::Enter { source }
        })
    }
}
