//! An instruction line split into keyword, flags and the rest.

use crate::{
    error::Fault,
    excerpt::of_word,
    flag::{self, Flags, Takes},
    json::{self, Array},
    suggest, word,
};

/// The instructions there are, in upper case.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One line, split.
pub(crate) struct Statement<'a> {
    /// One of [`KEYWORDS`].
    pub(crate) keyword: &'static str,
    /// The keyword as it is spelled in the file.
    pub(crate) spelling: &'a str,
    /// Flags without their quotes.
    pub(crate) flags: Vec<String>,
    /// What follows them, trimmed.
    pub(crate) rest: &'a str,
}

impl<'a> Statement<'a> {
    /// Splits a joined line.
    pub(crate) fn split(line: &'a str) -> Result<Self, Fault> {
        let (spelling, rest) = word::first(line.trim());
        let upper = spelling.to_uppercase();
        let Some(keyword) = KEYWORDS.into_iter().find(|known| *known == upper) else {
            return Err(Fault::UnknownInstruction {
                word: of_word(&upper),
                hint: suggest::hint(spelling, KEYWORDS),
            });
        };
        let (flags, rest) = flag::split(rest.unwrap_or_default());
        Ok(Self {
            keyword,
            spelling,
            flags,
            rest,
        })
    }

    /// Holds the flags against those the instruction knows.
    pub(crate) fn flags(&self, known: &[(&'static str, Takes)]) -> Result<Flags, Fault> {
        Flags::check(self.keyword, &self.flags, known)
    }

    /// Checks that there are no flags.
    pub(crate) fn no_flags(&self) -> Result<(), Fault> {
        self.flags(&[]).map(|_| ())
    }

    /// The rest as a JSON array, `None` if it is not written as one.
    pub(crate) fn json(&self) -> Result<Option<Vec<String>>, Fault> {
        json_of(self.keyword, self.rest)
    }

    /// The rest as a JSON array or as words between blanks, and whether it was JSON.
    pub(crate) fn list(&self) -> Result<(Vec<String>, bool), Fault> {
        Ok(match self.json()? {
            Some(words) => (words, true),
            None => (word::on_blanks(self.rest), false),
        })
    }

    /// The rest if there is one.
    pub(crate) fn single(&self) -> Result<String, Fault> {
        self.no_flags()?;
        self.some_rest("exactly one argument").map(str::to_owned)
    }

    /// The rest if there is one; `expected` says what should be there.
    pub(crate) fn some_rest(&self, expected: &'static str) -> Result<&'a str, Fault> {
        if self.rest.is_empty() {
            Err(self.wants(expected))
        } else {
            Ok(self.rest)
        }
    }

    /// The fault of arguments not being as `expected`.
    pub(crate) fn wants(&self, expected: &'static str) -> Fault {
        Fault::Arguments {
            instruction: self.keyword,
            expected,
        }
    }

    /// The trigger in an ONBUILD line, if this is one and its keyword is known.
    pub(crate) fn trigger(&self) -> Option<Statement<'a>> {
        if self.keyword != "ONBUILD" {
            return None;
        }
        Statement::split(self.rest).ok()
    }

    /// Whether here-documents are looked for: RUN, COPY, ADD and triggers of these, unless in JSON form.
    pub(crate) fn takes_heredocs(&self) -> bool {
        if let Some(trigger) = self.trigger() {
            return trigger.keyword != "ONBUILD" && trigger.takes_heredocs();
        }
        matches!(self.keyword, "RUN" | "COPY" | "ADD") && matches!(json::array(self.rest), Array::Not)
    }
}

/// `text` as a JSON array of strings; `None` if it is not a JSON array at all.
pub(crate) fn json_of(instruction: &'static str, text: &str) -> Result<Option<Vec<String>>, Fault> {
    match json::array(text) {
        Array::Strings(words) => Ok(Some(words)),
        Array::Mixed => Err(Fault::JsonNotStrings { instruction }),
        Array::Not => Ok(None),
    }
}
