//! The variables at one place of the file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use crate::{
    expand::{Expansion, expand_heredoc_noting},
    suggest,
};

/// Most variables that are followed. With more, which only a hostile file has, it is no longer known what is set.
const MAX_VARIABLES: usize = 500;
/// Most bytes of a value that is followed, so that values that double with each line stay cheap.
const MAX_VALUE: usize = 256;

/// Variables with their values. Texts are shared between the scopes of stages that build on one another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// `None` for a value that is not known or too long to be followed.
    values: BTreeMap<Rc<str>, Option<Rc<str>>>,
    /// ARGs that have no value: using them is no mistake.
    declared: BTreeSet<Rc<str>>,
    /// Whether others may be set that are not known here.
    pub(crate) open: bool,
}

/// A word with the values put in.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    /// The result as one value.
    pub(crate) value: String,
    /// The result as words.
    pub(crate) words: Vec<String>,
    /// The variables that were asked for and are set.
    pub(crate) used: BTreeSet<String>,
    /// The variables asked for that are neither set nor declared, each once, where it is known what is set; a
    /// default for the case, as in `${name:-word}`, is no excuse to BuildKit.
    pub(crate) unset: Vec<String>,
    /// Whether any variable was asked for.
    pub(crate) varies: bool,
    /// Whether the result is what a build would see.
    pub(crate) certain: bool,
}

/// What an expansion asked for.
#[derive(Default)]
struct Asked {
    used: BTreeSet<String>,
    /// Names without a value, each once, in order.
    lacking: Vec<String>,
    seen: HashSet<String>,
    /// Whether a value is not followed.
    vague: bool,
}

impl Asked {
    /// Notes a name: not set, or set with a value that is followed or not.
    fn note(&mut self, name: &str, followed: Option<bool>) {
        match followed {
            Some(followed) => {
                self.vague |= !followed;
                if !self.used.contains(name) {
                    self.used.insert(name.to_owned());
                }
            }
            None => {
                if !self.seen.contains(name) {
                    self.seen.insert(name.to_owned());
                    self.lacking.push(name.to_owned());
                }
            }
        }
    }
}

impl Scope {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.keep(name, (value.len() <= MAX_VALUE).then_some(value));
    }

    /// Sets a variable to what a word was expanded to, which may not be known.
    pub(crate) fn assign(&mut self, name: &str, expanded: &Expanded) {
        if expanded.certain {
            self.set(name, &expanded.value);
        } else {
            self.keep(name, None);
        }
    }

    fn keep(&mut self, name: &str, value: Option<&str>) {
        if self.values.len() >= MAX_VARIABLES && !self.values.contains_key(name) {
            self.open = true;
        } else {
            self.values.insert(name.into(), value.map(Rc::from));
        }
    }

    /// Notes an ARG, with a value or without.
    pub(crate) fn declare(&mut self, name: &str) {
        if self.declared.len() >= MAX_VARIABLES {
            self.open = true;
        } else {
            self.declared.insert(name.into());
        }
    }

    /// The value of a variable; `None` if it has none, or one that is not followed.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }

    /// Expands a word as a build would; `None` if a build would fail here.
    pub(crate) fn expand(&self, word: &str, escape: char) -> Option<Expanded> {
        self.noting(|lookup| Expansion::of(word, escape, lookup).ok())
    }

    /// The same for the body of a here-document.
    pub(crate) fn expand_body(&self, body: &str) -> Option<Expanded> {
        self.noting(|lookup| expand_heredoc_noting(body, lookup).ok())
    }

    fn noting(
        &self,
        expand: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> Option<Expansion>,
    ) -> Option<Expanded> {
        let asked = RefCell::new(Asked::default());
        let expansion = expand(&|name| {
            let value = self.values.get(name);
            asked.borrow_mut().note(name, value.map(Option::is_some));
            value.map(|value| value.as_deref().unwrap_or_default().to_owned())
        })?;
        let Asked {
            used, lacking, vague, ..
        } = asked.into_inner();
        Some(Expanded {
            value: expansion.value,
            words: expansion.words,
            certain: !vague && (!self.open || lacking.is_empty()),
            varies: !used.is_empty() || !lacking.is_empty(),
            used,
            unset: lacking
                .into_iter()
                .filter(|name| !self.open && !self.declared.contains(name.as_str()))
                .collect(),
        })
    }

    /// The known variable that `name` may have been meant to be.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        let known = self.values.keys().chain(&self.declared);
        suggest::nearest(name, known.map(AsRef::as_ref))
    }

    /// The same among variables with a value alone.
    pub(crate) fn nearest_set(&self, name: &str) -> Option<&str> {
        suggest::nearest(name, self.values.keys().map(AsRef::as_ref))
    }
}
