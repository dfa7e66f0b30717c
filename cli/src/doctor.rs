//! What `mica doctor` looks at, and what it finds: one line each, with what to do.

mod access;
mod disk;
mod emulators;
mod groups;
mod kernel;
mod registry;
mod setup;

use serde::Serialize;

pub(crate) use crate::doctor::access::access;
pub(crate) use crate::doctor::disk::disk;
pub(crate) use crate::doctor::emulators::emulators;
pub(crate) use crate::doctor::groups::groups;
pub(crate) use crate::doctor::kernel::kernel;
pub(crate) use crate::doctor::registry::registry;
pub(crate) use crate::doctor::setup::setup;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grade {
    /// As it should be.
    Ok,
    /// Something will not work, or not well.
    Warn,
    /// What everybody needs does not work.
    Fail,
}

impl Grade {
    /// The word at the beginning of its line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) about: &'static str,
    /// How good it is.
    pub(crate) grade: Grade,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

impl Finding {
    /// Something is as it should be.
    pub(crate) fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self {
            about,
            grade: Grade::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    /// Something will not work, or not well.
    pub(crate) fn warn(about: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            grade: Grade::Warn,
            remedy: Some(remedy.into()),
            ..Self::ok(about, found)
        }
    }

    /// What everybody needs does not work.
    pub(crate) fn fail(about: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            grade: Grade::Fail,
            ..Self::warn(about, found, remedy)
        }
    }
}

/// A small file's text; nothing if it cannot be read.
fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Whether a program is in `PATH`.
fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
