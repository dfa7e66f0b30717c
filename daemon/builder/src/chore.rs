//! Tells of what a build does beside its steps.

use mica_task::{Chore, Event, Reporter};

use crate::error::{Error, StepError, unsuccessful};

/// Does something beside the steps, and tells when it begins and how it ends.
pub(crate) fn chore<T, E: Failure>(
    reporter: &Reporter,
    chore: &Chore,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    reporter.report(Event::Begun { chore: chore.clone() });
    let result = work();
    reporter.report(Event::Ended {
        chore: chore.clone(),
        failure: result.as_ref().err().map(Failure::reason),
    });
    result
}

/// An error that says why something failed.
pub(crate) trait Failure: std::error::Error + Sized {
    /// Whether nobody wanted the work any more.
    fn is_cancelled(&self) -> bool;

    /// Why it failed, with all causes; empty for what was stopped.
    fn reason(&self) -> String {
        match self.is_cancelled() {
            true => String::new(),
            false => chain(self),
        }
    }
}

impl Failure for Error {
    fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

impl Failure for StepError {
    fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled(_) => true,
            Self::Stage(error) => error.is_cancelled(),
            _ => false,
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Exit { command, ended } => unsuccessful(command, *ended),
            other if other.is_cancelled() => String::new(),
            other => chain(other),
        }
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let layer = error.to_string();
        // some texts have their cause's in them
        if !text.ends_with(&layer) {
            text.push_str(": ");
            text.push_str(&layer);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ended;
    use std::sync::{Arc, Mutex};

    fn ended(code: i32, out_of_memory: bool) -> Ended {
        Ended {
            code,
            out_of_memory,
            disk_full: false,
        }
    }

    #[test]
    fn what_fails_says_why_and_what_is_stopped_does_not() {
        let exit = StepError::Exit {
            command: "/bin/sh -c exit 3".to_owned(),
            ended: ended(3, false),
        };
        assert_eq!(
            exit.reason(),
            "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3"
        );
        for (code, words) in [
            (137, "cannot allocate memory"),
            (2, "exit code: 2: cannot allocate memory"),
        ] {
            assert_eq!(
                unsuccessful("a b", ended(code, true)),
                format!("process \"a b\" did not complete successfully: {words}")
            );
        }
        assert_eq!(
            unsuccessful("a", ended(137, false)),
            "process \"a\" did not complete successfully: exit code: 137"
        );
        assert_eq!(StepError::Stage(Box::new(Error::Cancelled)).reason(), "");
        let archive = StepError::Archive {
            path: "a.tar".to_owned(),
            source: Box::new(StepError::Invalid("it is damaged".to_owned())),
        };
        assert_eq!(archive.reason(), "cannot unpack a.tar: it is damaged");
    }

    #[test]
    fn every_chore_ends() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let reporter = Reporter::new({
            let told = told.clone();
            move |event| told.lock().unwrap().push(event)
        });
        let failed: Result<(), Error> = chore(&reporter, &Chore::Context, || Err(Error::Cancelled));
        assert!(failed.is_err());
        let begun = Event::Begun {
            chore: Chore::Context,
        };
        let ended = Event::Ended {
            chore: Chore::Context,
            failure: Some(String::new()),
        };
        assert_eq!(*told.lock().unwrap(), [begun, ended]);
    }
}
