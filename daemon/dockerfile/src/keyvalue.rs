//! The arguments of ENV, LABEL and ARG.

use crate::{error::Fault, excerpt::of_word, instruction::ArgDecl, statement::Statement, word};

/// The pairs of ENV or LABEL, raw; both the `name=value ...` form and the old `name rest of the line`.
pub(crate) fn pairs(statement: &Statement<'_>, escape: char) -> Result<Vec<(String, String)>, Fault> {
    statement.no_flags()?;
    let instruction = statement.keyword;
    let rest = statement.some_rest("at least one argument, as NAME=VALUE")?;
    let words = word::with_quotes(rest, escape);
    let pairs = if is_legacy(&words) {
        match word::first(rest) {
            (name, Some(value)) => vec![(name.to_owned(), value.to_owned())],
            _ => return Err(statement.wants("two arguments: a name and a value, as NAME=VALUE")),
        }
    } else {
        let split = |word: &String| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(Fault::NoEquals {
                instruction,
                word: of_word(word),
            }),
        };
        words.iter().map(split).collect::<Result<Vec<_>, _>>()?
    };
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(Fault::BlankName { instruction });
    }
    Ok(pairs)
}

/// Whether these words are in the old form: the first has no `=`.
pub(crate) fn is_legacy(words: &[String]) -> bool {
    words.first().is_none_or(|first| !first.contains('='))
}

/// The names of ARG. Words that look like flags are dropped unread, as the reference implementation does.
pub(crate) fn declarations(statement: &Statement<'_>, escape: char) -> Result<Vec<ArgDecl>, Fault> {
    let rest = statement.some_rest("at least one argument, as NAME or NAME=DEFAULT")?;
    let declare = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(Fault::BlankName { instruction: "ARG" }),
        Some((name, default)) => Ok(ArgDecl {
            name: name.to_owned(),
            default: Some(default.to_owned()),
        }),
        None => Ok(ArgDecl {
            name: word,
            default: None,
        }),
    };
    let declared = word::with_quotes(rest, escape)
        .into_iter()
        .map(declare)
        .collect::<Result<Vec<_>, _>>()?;
    if declared.is_empty() {
        Err(Fault::BlankName { instruction: "ARG" })
    } else {
        Ok(declared)
    }
}
