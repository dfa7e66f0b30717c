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
/// Most bytes of a value that are kept, so that values that double with each line stay cheap.
const MAX_VALUE: usize = 512;

/// Variables with their values. Texts are shared between the scopes of stages that build on one another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    values: BTreeMap<Rc<str>, Rc<str>>,
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
    /// The variables asked for that are neither set nor declared, each once; a default for the case, as in
    /// `${name:-word}`, is no excuse to BuildKit.
    pub(crate) unset: Vec<String>,
    /// Whether any variable was asked for.
    pub(crate) varies: bool,
    /// Whether the result is what a build would see.
    pub(crate) certain: bool,
}

/// Names without a value, each once, in order.
#[derive(Default)]
struct Lacking {
    names: Vec<String>,
    seen: HashSet<String>,
}

impl Lacking {
    fn note(&mut self, name: &str) {
        if self.seen.insert(name.to_owned()) {
            self.names.push(name.to_owned());
        }
    }
}

impl Scope {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if self.values.len() >= MAX_VARIABLES && !self.values.contains_key(name) {
            self.open = true;
            return;
        }
        let mut cut = value.len().min(MAX_VALUE);
        while !value.is_char_boundary(cut) {
            cut -= 1;
        }
        self.values.insert(name.into(), value[..cut].into());
    }

    /// Notes an ARG, with a value or without.
    pub(crate) fn declare(&mut self, name: &str) {
        if self.declared.len() >= MAX_VARIABLES {
            self.open = true;
        } else {
            self.declared.insert(name.into());
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(AsRef::as_ref)
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
        let used = RefCell::new(BTreeSet::new());
        let lacking = RefCell::new(Lacking::default());
        let expansion = expand(&|name| {
            let value = self.get(name);
            if value.is_some() {
                used.borrow_mut().insert(name.to_owned());
            } else {
                lacking.borrow_mut().note(name);
            }
            value.map(str::to_owned)
        })?;
        let (used, lacking) = (used.into_inner(), lacking.into_inner().names);
        Some(Expanded {
            value: expansion.value,
            words: expansion.words,
            certain: !self.open || lacking.is_empty(),
            varies: !used.is_empty() || !lacking.is_empty(),
            used,
            unset: lacking
                .into_iter()
                .filter(|name| !self.declared.contains(name.as_str()))
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
