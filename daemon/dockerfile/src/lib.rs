//! Dockerfile text to typed instructions, and what goes with them: expansion, ignore files.
//!
//! Everything here is pure: bytes or text go in, values come out, nothing is read from a disk and nothing is
//! known about images. [`Dockerfile::parse`] turns the text into stages of typed [`Instruction`]s whose words are
//! still unexpanded; [`expand_word`] and its siblings put values in when a stage is evaluated.

pub mod answer;
mod directive;
mod duration;
mod error;
mod excerpt;
mod expand;
mod expose;
mod file;
mod flag;
mod glob;
mod grammar;
mod heredoc;
pub mod ignore;
mod instruction;
mod json;
mod keyvalue;
mod line;
pub mod lint;
mod modifier;
mod mount;
pub mod outline;
mod run;
mod signal;
mod statement;
mod suggest;
mod transfer;
mod word;

pub use directive::{Directives, is_builtin_frontend};
pub use duration::{DurationError, parse_duration};
pub use error::{Fault, ParseError};
pub use expand::{ExpandError, Expansion, expand_heredoc, expand_word, expand_words};
pub use expose::{ExposeError, parse_expose};
pub use file::{ArgLine, Dockerfile, Stage, parse_trigger};
pub use glob::{BadPattern, glob_match};
pub use heredoc::Heredoc;
pub use instruction::{
    Add, ArgDecl, Command, Copy, From, Healthcheck, Instruction, Located, NetworkMode, Onbuild, Run,
    RunScript, SecurityMode, Span,
};
pub use mount::{CacheSharing, Mount, MountError, MountKind, MountOptions};
pub use signal::{SignalError, parse_signal};
pub use suggest::nearest;
