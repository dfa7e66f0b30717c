//! What can be wrong with the text of a Dockerfile.

use thiserror::Error;

use crate::{instruction::Span, mount::MountError};

/// Why a Dockerfile, or the text of a trigger, was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The file has no bytes at all (or nothing but a byte order mark).
    #[error("the Dockerfile is empty")]
    Empty,
    /// The file has bytes, but only comments and blank lines.
    #[error("file with no instructions")]
    NoInstructions,
    /// Something is wrong on certain lines.
    #[error("dockerfile parse error on line {}: {fault}", span.start)]
    At {
        /// The lines of the instruction in which it was found.
        span: Span,
        /// Those lines as they are written, shortened if they are many or long.
        excerpt: String,
        /// What is wrong, and what was expected instead.
        fault: Box<Fault>,
    },
}

impl ParseError {
    /// The lines it is about; `None` when it is about the whole file.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Empty | Self::NoInstructions => None,
            Self::At { span, .. } => Some(*span),
        }
    }

    /// The offending lines as written; empty when it is about the whole file.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        match self {
            Self::Empty | Self::NoInstructions => "",
            Self::At { excerpt, .. } => excerpt,
        }
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Empty | Self::NoInstructions => self.to_string(),
            Self::At { fault, .. } => fault.to_string(),
        }
    }
}

/// What is wrong with one instruction or line.
///
/// Words taken from the file are shortened before they get in here. `hint` is either empty or
/// ` (did you mean X?)`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A physical line is too long.
    #[error("dockerfile line greater than max allowed size of {limit}")]
    LineTooLong {
        /// Most bytes a line may have.
        limit: usize,
    },
    /// An instruction whose bytes matter, or a here-document, is not UTF-8.
    #[error("line is not valid UTF-8; only comments, LABEL and MAINTAINER may hold other bytes")]
    NotUtf8,
    /// A parser directive was given twice.
    #[error("only one {name} parser directive can be used")]
    RepeatedDirective {
        /// The directive, in lower case.
        name: &'static str,
    },
    /// The escape directive names another character than the two allowed.
    #[error("invalid escape directive '{value}': expected \\ or `")]
    BadEscape {
        /// What it was set to.
        value: String,
    },
    /// The first word of a line is not an instruction.
    #[error("unknown instruction: {word}{hint}")]
    UnknownInstruction {
        /// The word, in upper case.
        word: String,
        /// Near instruction.
        hint: String,
    },
    /// The instruction does not know the flag.
    #[error("unknown flag: --{flag}{hint}, {instruction} {expected}")]
    UnknownFlag {
        /// The instruction.
        instruction: &'static str,
        /// The flag without its dashes.
        flag: String,
        /// Near flag.
        hint: String,
        /// The flags it does know.
        expected: String,
    },
    /// A flag that may come once came twice.
    #[error("duplicate flag specified: --{flag}")]
    RepeatedFlag {
        /// The flag without its dashes.
        flag: &'static str,
    },
    /// A flag lacks its value.
    #[error("missing a value on flag: --{flag}, expected --{flag}=VALUE")]
    FlagWithoutValue {
        /// The flag without its dashes.
        flag: &'static str,
    },
    /// A yes/no flag has another value.
    #[error("expecting boolean value for flag: --{flag}, not: {value}")]
    FlagNotBoolean {
        /// The flag without its dashes.
        flag: &'static str,
        /// What it was set to.
        value: String,
    },
    /// A flag has a value outside the allowed words.
    #[error("unsupported value \"{value}\" for --{flag}, expected {expected}")]
    FlagValue {
        /// The flag without its dashes.
        flag: &'static str,
        /// What it was set to.
        value: String,
        /// The allowed ones.
        expected: &'static str,
    },
    /// The number or form of the arguments is wrong.
    #[error("{instruction} requires {expected}")]
    Arguments {
        /// The instruction.
        instruction: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// A JSON array holds something else than strings.
    #[error("{instruction}: when using JSON array syntax, arrays must be comprised of strings only")]
    JsonNotStrings {
        /// The instruction.
        instruction: &'static str,
    },
    /// A word of ENV or LABEL has no `=`.
    #[error("{instruction}: can't find = in \"{word}\". Must be of the form: name=value")]
    NoEquals {
        /// The instruction.
        instruction: &'static str,
        /// The word.
        word: String,
    },
    /// A name of ENV, LABEL or ARG is blank.
    #[error("{instruction} names can not be blank, expected NAME=VALUE")]
    BlankName {
        /// The instruction.
        instruction: &'static str,
    },
    /// There is something before the first FROM which is not ARG, or no FROM at all.
    #[error("no build stage in current context: expected FROM before {found}")]
    NoStage {
        /// What was there instead.
        found: &'static str,
    },
    /// A stage name has other characters than allowed.
    #[error(
        "invalid name for build stage: \"{name}\", name can't start with a number or contain symbols, expected \
         letters, digits, '-', '_' and '.' after a first letter"
    )]
    StageName {
        /// The name as written.
        name: String,
    },
    /// The end of a here-document is missing.
    #[error("unterminated heredoc: no line is exactly \"{name}\"")]
    UnterminatedHeredoc {
        /// The terminator looked for.
        name: String,
    },
    /// COPY or ADD was told to write into a here-document.
    #[error("{instruction} cannot accept a heredoc as a destination, expected a path as the last word")]
    HeredocDestination {
        /// The instruction.
        instruction: &'static str,
    },
    /// A here-document that becomes a file has a name that cannot be a file name.
    #[error(
        "{instruction} cannot make a file of heredoc \"{name}\": expected <<NAME with no blank before or in the name \
         and no '/' in it"
    )]
    HeredocName {
        /// The instruction.
        instruction: &'static str,
        /// The name.
        name: String,
    },
    /// A `$` where no variables are expanded, and none can be meant literally.
    #[error("'{place}' doesn't support variable expansion, define alias stage instead")]
    NoVariables {
        /// The flag or option.
        place: &'static str,
    },
    /// A `--mount` is wrong.
    #[error("invalid --mount: {0}")]
    Mount(MountError),
    /// ONBUILD of ONBUILD.
    #[error("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    /// An instruction that cannot be a trigger.
    #[error("{instruction} isn't allowed as an ONBUILD trigger")]
    OnbuildForbidden {
        /// The instruction.
        instruction: &'static str,
    },
    /// The text of a trigger is not exactly one instruction.
    #[error("onbuild trigger should be a single instruction")]
    TriggerCount,
    /// HEALTHCHECK with a word that is neither CMD nor NONE.
    #[error("unknown type \"{word}\" in HEALTHCHECK, expected CMD or NONE")]
    HealthcheckType {
        /// The word.
        word: String,
    },
    /// A duration or a number of HEALTHCHECK is wrong.
    #[error("HEALTHCHECK --{flag}: {problem}")]
    HealthcheckValue {
        /// The flag without its dashes.
        flag: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// VOLUME with an empty path.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
}
