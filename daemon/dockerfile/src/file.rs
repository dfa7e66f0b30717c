//! The whole file: directives, global arguments and stages.

use std::collections::BTreeMap;

use crate::{
    directive::Directives,
    error::{Fault, ParseError},
    grammar,
    heredoc::{self, RawHeredoc},
    instruction::{ArgDecl, From, Instruction, Located, Span},
    line::{self, Joined, Lines},
    statement::Statement,
};

/// A Dockerfile, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The directives at its top.
    pub directives: Directives,
    /// The ARG lines before the first FROM.
    pub globals: Vec<ArgLine>,
    /// The stages in order; at least one.
    pub stages: Vec<Stage>,
    /// The comments directly above instructions, by the instruction's first line: without `#` and outer blanks,
    /// none empty.
    pub comments: BTreeMap<u32, Vec<String>>,
    /// The last lines of instructions that have blank lines inside a continuation.
    pub empty_continuations: Vec<u32>,
}

/// An ARG line before the first FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgLine {
    /// Its lines.
    pub span: Span,
    /// Its joined text.
    pub source: String,
    /// What it declares.
    pub args: Vec<ArgDecl>,
}

/// A FROM and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The FROM.
    pub from: From,
    /// The lines of the FROM.
    pub span: Span,
    /// The joined text of the FROM.
    pub source: String,
    /// The instructions after it.
    pub instructions: Vec<Located>,
}

impl Dockerfile {
    /// Parses a file.
    ///
    /// Bytes that are not UTF-8 are fine in comments; in LABEL and MAINTAINER they become U+FFFD, as they would
    /// in the JSON of an image config; anywhere else they are an error, because commands and files must not be
    /// changed on the way.
    ///
    /// # Errors
    /// [`ParseError::Empty`] and [`ParseError::NoInstructions`] for files with nothing in them, else
    /// [`ParseError::At`] with the place of the first fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let bytes = line::without_mark(bytes);
        if bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        let (directives, last_directive) = Directives::read_block(bytes)?;
        let mut lines = Lines::of_file(bytes);
        let mut file = Self {
            directives,
            globals: Vec::new(),
            stages: Vec::new(),
            comments: BTreeMap::new(),
            empty_continuations: Vec::new(),
        };
        let mut last_global = None;
        while let Some(entry) = Entry::next(&mut lines, file.directives.escape)? {
            let start = entry.joined.start;
            let span = Span {
                start,
                end: lines.number(),
            };
            let instruction = entry
                .instruction(file.directives.escape)
                .map_err(|fault| lines.fault(start, fault))?;
            let source = entry.joined.text.trim().to_owned();
            file.note(&entry.joined, last_directive);
            match (instruction, file.stages.last_mut()) {
                (Parsed::From(from), _) => {
                    file.stages.push(Stage {
                        from,
                        span,
                        source,
                        instructions: Vec::new(),
                    });
                }
                (Parsed::Other(instruction), Some(stage)) => {
                    stage.instructions.push(Located {
                        span,
                        source,
                        instruction,
                    });
                }
                (Parsed::Other(Instruction::Arg(args)), None) => {
                    file.globals.push(ArgLine { span, source, args });
                    last_global = Some(start);
                }
                (Parsed::Other(other), None) => {
                    return Err(lines.fault(
                        start,
                        Fault::NoStage {
                            found: other.keyword(),
                        },
                    ));
                }
            }
        }
        match (file.stages.is_empty(), last_global) {
            (false, _) => Ok(file),
            (true, None) => Err(ParseError::NoInstructions),
            (true, Some(start)) => Err(lines.fault(
                start,
                Fault::NoStage {
                    found: "the end of the file",
                },
            )),
        }
    }

    /// Keeps what stands around an instruction and is no part of it. Directives are no comments.
    fn note(&mut self, joined: &Joined, last_directive: u32) {
        let comments = joined.comments.iter().filter(|(line, _)| *line > last_directive);
        let comments: Vec<String> = comments.map(|(_, text)| text.clone()).collect();
        if !comments.is_empty() {
            self.comments.insert(joined.start, comments);
        }
        if joined.blank_inside {
            self.empty_continuations.push(joined.end);
        }
    }
}

/// Parses the text of an ONBUILD trigger as images store it: one instruction, here-document bodies after it.
///
/// `escape` is the escape character of the file the trigger was written in if that is known, else `\`. Spans
/// count the lines of `text`.
///
/// # Errors
/// As [`Dockerfile::parse`]; also if it is not exactly one instruction, or one that cannot be a trigger.
pub fn parse_trigger(text: &str, escape: char) -> Result<Located, ParseError> {
    let mut lines = Lines::of_trigger(text);
    let Some(entry) = Entry::next(&mut lines, escape)? else {
        return Err(ParseError::NoInstructions);
    };
    let start = entry.joined.start;
    let span = Span {
        start,
        end: lines.number(),
    };
    let instruction = match entry
        .instruction(escape)
        .map_err(|fault| lines.fault(start, fault))?
    {
        Parsed::From(_) => return Err(lines.fault(start, Fault::OnbuildForbidden { instruction: "FROM" })),
        Parsed::Other(Instruction::Onbuild(_)) => return Err(lines.fault(start, Fault::OnbuildChain)),
        Parsed::Other(Instruction::Maintainer(_)) => {
            return Err(lines.fault(
                start,
                Fault::OnbuildForbidden {
                    instruction: "MAINTAINER",
                },
            ));
        }
        Parsed::Other(instruction) => instruction,
    };
    let source = entry.joined.text.trim().to_owned();
    if let Some(more) = line::next_joined(&mut lines, escape)? {
        return Err(lines.fault(more.start, Fault::TriggerCount));
    }
    Ok(Located {
        span,
        source,
        instruction,
    })
}

/// One instruction's text with its here-documents.
struct Entry {
    joined: Joined,
    heredocs: Vec<RawHeredoc>,
}

/// What an entry is.
enum Parsed {
    From(From),
    Other(Instruction),
}

impl Entry {
    fn next(lines: &mut Lines<'_>, escape: char) -> Result<Option<Self>, ParseError> {
        let Some(joined) = line::next_joined(lines, escape)? else {
            return Ok(None);
        };
        let statement = Statement::split(&joined.text).map_err(|fault| lines.fault(joined.start, fault))?;
        if !joined.utf8 && !matches!(statement.keyword, "LABEL" | "MAINTAINER") {
            return Err(lines.fault(joined.start, Fault::NotUtf8));
        }
        let heredocs = if statement.takes_heredocs() {
            heredoc::read_bodies(lines, joined.start, heredoc::words_of(&joined.text))?
        } else {
            Vec::new()
        };
        Ok(Some(Self { joined, heredocs }))
    }

    fn instruction(&self, escape: char) -> Result<Parsed, Fault> {
        let statement = Statement::split(&self.joined.text)?;
        if statement.keyword == "FROM" {
            return grammar::from(&statement).map(Parsed::From);
        }
        grammar::instruction(&statement, &self.joined.text, &self.heredocs, escape).map(Parsed::Other)
    }
}
