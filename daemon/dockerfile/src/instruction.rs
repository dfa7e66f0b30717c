//! The typed form of every instruction; words are unexpanded unless a field says otherwise.

use crate::{heredoc::Heredoc, mount::Mount};

/// A run of physical lines, both ends included, the first line of the file being 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// First line.
    pub start: u32,
    /// Last line.
    pub end: u32,
}

/// An instruction with the place it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its lines, here-documents included.
    pub span: Span,
    /// Its text with continuation lines joined and outer blanks gone, the keyword as it was spelled, without
    /// the bodies of here-documents.
    pub source: String,
    /// What it says.
    pub instruction: Instruction,
}

/// One instruction inside a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// ADD.
    Add(Add),
    /// ARG; at least one.
    Arg(Vec<ArgDecl>),
    /// CMD.
    Cmd(Command),
    /// COPY.
    Copy(Copy),
    /// ENTRYPOINT.
    Entrypoint(Command),
    /// ENV: raw names and values in order, quotes and escapes still in them.
    Env(Vec<(String, String)>),
    /// EXPOSE: raw words in byte order, which is the order a history entry lists their ports in.
    Expose(Vec<String>),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// LABEL: raw names and values in order, quotes and escapes still in them.
    Label(Vec<(String, String)>),
    /// MAINTAINER: the author, never expanded.
    Maintainer(String),
    /// ONBUILD.
    Onbuild(Onbuild),
    /// RUN.
    Run(Run),
    /// SHELL: the words of the shell, never empty, never expanded.
    Shell(Vec<String>),
    /// STOPSIGNAL: the raw word; see [`crate::parse_signal`] for the check after expansion.
    Stopsignal(String),
    /// USER: the raw rest of the line.
    User(String),
    /// VOLUME: raw paths, trimmed, none empty.
    Volume(Vec<String>),
    /// WORKDIR: the raw rest of the line.
    Workdir(String),
}

impl Instruction {
    /// The keyword in upper case.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// A command, either for a shell or as a list of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Text for the shell; may be empty.
    Shell(String),
    /// The words of a JSON array; may be empty where that clears an inherited value.
    Exec(Vec<String>),
}

/// FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The base as written: an earlier stage, an image or `scratch`.
    pub image: String,
    /// `--platform`, unless empty.
    pub platform: Option<String>,
    /// The name after AS, in lower case.
    pub name: Option<String>,
}

/// One name of an ARG line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDecl {
    /// The name; never expanded.
    pub name: String,
    /// The raw text after `=`; `None` without `=`.
    pub default: Option<String>,
}

/// COPY.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copy {
    /// Source paths in order; here-documents are not among them.
    pub sources: Vec<String>,
    /// Here-documents in order; they come after all `sources`.
    pub heredocs: Vec<Heredoc>,
    /// Destination path.
    pub dest: String,
    /// `--from`: stage name, stage number, image or context name; never holds a `$`.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns; never expanded.
    pub excludes: Vec<String>,
}

/// ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Add {
    /// Source paths and addresses in order; here-documents are not among them.
    pub sources: Vec<String>,
    /// Here-documents in order; they come after all `sources`.
    pub heredocs: Vec<Heredoc>,
    /// Destination path.
    pub dest: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--keep-git-dir`; `None` if not said.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`; `None` if not said, then the kind of source decides.
    pub unpack: Option<bool>,
    /// `--exclude` patterns; never expanded.
    pub excludes: Vec<String>,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command line as written; with here-documents it is [`Command::Shell`] and `script` says what to run.
    pub command: Command,
    /// Here-documents in order of their words; never expanded.
    pub heredocs: Vec<Heredoc>,
    /// What here-documents turn the command into; `None` without any: run `command`.
    pub script: Option<RunScript>,
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<NetworkMode>,
    /// `--security`.
    pub security: Option<SecurityMode>,
    /// `--device`, as written.
    pub devices: Vec<String>,
}

/// What a RUN with here-documents runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunScript {
    /// The whole command is one here-document beginning with `#!`: an executable file of that name is put on a
    /// read-only mount at /dev/pipes, and `/dev/pipes/NAME` is the text for the shell.
    File {
        /// File name, without `/`.
        name: String,
        /// Its bytes, leading tabs already gone if `<<-` asked for that.
        body: String,
    },
    /// The whole command is one here-document: its body is the text for the shell.
    Body(String),
    /// Command line, bodies and terminators as written: text for a shell that knows here-documents.
    Inline(String),
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkMode {
    /// What the build was asked to use.
    Default,
    /// Loopback only.
    None,
    /// That of the host; needs leave.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecurityMode {
    /// The usual fence.
    Sandbox,
    /// All rights; needs leave.
    Insecure,
}

/// ONBUILD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger as an image stores it: inner blanks kept, here-document bodies and terminators after it.
    pub text: String,
    /// The same, understood.
    pub instruction: Box<Instruction>,
}

/// HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// NONE: switches an inherited check off.
    None,
    /// CMD with its timing; every duration is in nanoseconds, 0 where not said.
    Test {
        /// What to run.
        test: Command,
        /// `--interval`.
        interval: i64,
        /// `--timeout`.
        timeout: i64,
        /// `--start-period`.
        start_period: i64,
        /// `--start-interval`.
        start_interval: i64,
        /// `--retries`, 0 where not said.
        retries: i64,
    },
}
