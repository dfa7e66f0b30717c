//! How a process ended.

use serde::{Deserialize, Serialize};

/// Which of the process' two output streams some bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// The way a process left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// The number docker prints: the code, or 128 plus the signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// What the process and all its children used, as `getrusage(2)` counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on a processor outside the kernel, in milliseconds.
    pub user_ms: u64,
    /// Time on a processor inside the kernel, in milliseconds.
    pub system_ms: u64,
    /// The largest resident set of any one of them, in KiB.
    pub max_rss_kib: u64,
}

/// The end of a process that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it left.
    pub exit: Exit,
    /// What it used.
    pub usage: Usage,
    /// Why the program could not be executed at all (exit codes 126 and 127), in docker's words;
    /// the same text went to the process' standard error.
    pub note: Option<String>,
    /// Whether the kernel killed a process of it because the memory it may use was full.
    pub out_of_memory: bool,
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_are_dockers() {
        for (exit, code) in [
            (Exit::Code(0), 0),
            (Exit::Code(7), 7),
            (Exit::Signal(9), 137),
            (Exit::Signal(15), 143),
        ] {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
