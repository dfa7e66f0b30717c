//! The arguments of COPY and ADD.

use crate::{
    error::Fault,
    excerpt::of_word,
    flag::Takes::{Bool, List, Text},
    heredoc::{self, Heredoc, RawHeredoc},
    instruction::{Add, Copy},
    statement::Statement,
};

/// Reads COPY.
pub(crate) fn copy(statement: &Statement<'_>, heredocs: &[RawHeredoc]) -> Result<Copy, Fault> {
    let flags = statement.flags(&[
        ("chmod", Text),
        ("chown", Text),
        ("exclude", List),
        ("from", Text),
        ("link", Bool),
        ("parents", Bool),
    ])?;
    let from = flags.text("from");
    if from.as_ref().is_some_and(|from| from.contains('$')) {
        return Err(Fault::NoVariables { place: "--from" });
    }
    let paths = Paths::read(statement, heredocs)?;
    Ok(Copy {
        sources: paths.sources,
        heredocs: paths.heredocs,
        dest: paths.dest,
        from,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.bool("link").unwrap_or(false),
        parents: flags.bool("parents").unwrap_or(false),
        excludes: flags.list("exclude"),
    })
}

/// Reads ADD.
pub(crate) fn add(statement: &Statement<'_>, heredocs: &[RawHeredoc]) -> Result<Add, Fault> {
    let flags = statement.flags(&[
        ("checksum", Text),
        ("chmod", Text),
        ("chown", Text),
        ("exclude", List),
        ("keep-git-dir", Bool),
        ("link", Bool),
        ("unpack", Bool),
    ])?;
    let paths = Paths::read(statement, heredocs)?;
    Ok(Add {
        sources: paths.sources,
        heredocs: paths.heredocs,
        dest: paths.dest,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        checksum: flags.text("checksum"),
        link: flags.bool("link").unwrap_or(false),
        keep_git_dir: flags.bool("keep-git-dir"),
        unpack: flags.bool("unpack"),
        excludes: flags.list("exclude"),
    })
}

/// Sources and destination.
struct Paths {
    sources: Vec<String>,
    heredocs: Vec<Heredoc>,
    dest: String,
}

impl Paths {
    fn read(statement: &Statement<'_>, heredocs: &[RawHeredoc]) -> Result<Self, Fault> {
        let instruction = statement.keyword;
        let (mut words, is_json) = statement.list()?;
        let (Some(dest), false) = (words.pop(), words.is_empty()) else {
            return Err(statement.wants("at least two arguments: one or more sources, then the destination"));
        };
        if is_json {
            return Ok(Self {
                sources: words,
                heredocs: Vec::new(),
                dest,
            });
        }
        if heredoc::word(&dest).is_some() {
            return Err(Fault::HeredocDestination { instruction });
        }
        let mut waiting = heredocs.iter();
        let (mut sources, mut found) = (Vec::new(), Vec::new());
        for word in words {
            let Some(named) = heredoc::word(&word) else {
                sources.push(word);
                continue;
            };
            match waiting.next().filter(|h| h.word == named) {
                Some(heredoc) => found.push(heredoc.finish()),
                None => {
                    return Err(Fault::HeredocName {
                        instruction,
                        name: of_word(&named.name),
                    });
                }
            }
        }
        // A name with quoted blanks was a word for the shell, but here it fell into pieces.
        if let Some(heredoc) = waiting.next() {
            return Err(Fault::HeredocName {
                instruction,
                name: of_word(&heredoc.word.name),
            });
        }
        if let Some(bad) = found.iter().find(|h| !heredoc::is_file_name(&h.name)) {
            return Err(Fault::HeredocName {
                instruction,
                name: of_word(&bad.name),
            });
        }
        Ok(Self {
            sources,
            heredocs: found,
            dest,
        })
    }
}
