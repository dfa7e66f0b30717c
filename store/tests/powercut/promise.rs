//! What a caller was told is done, which no power cut may undo.

use std::collections::{BTreeMap, BTreeSet};

use mica_oci::{Digest, ImageId, Reference};

/// One thing that was told.
#[derive(Debug, Clone)]
pub(crate) enum Promise {
    /// A call is at work that makes the name lead here, or to nothing; until it returns either is right.
    Moving(Reference, Option<ImageId>),
    /// The name leads here, or to nothing.
    Leads(Reference, Option<ImageId>),
    /// The image is there.
    Has(ImageId),
    /// A call is at work that removes the image.
    Removing(ImageId),
    /// The image is gone.
    Gone(ImageId),
    /// So many cache mounts of this name are there, at least.
    Mount(String),
    /// They are being removed.
    Unmounting(String),
}

impl Promise {
    /// One line that says it.
    pub(crate) fn line(&self) -> String {
        let led = |id: &Option<ImageId>| id.map_or("-".to_owned(), |id| id.digest().hex());
        match self {
            Self::Moving(name, to) => format!("moving {name} {}\n", led(to)),
            Self::Leads(name, to) => format!("leads {name} {}\n", led(to)),
            Self::Has(id) => format!("has {} -\n", id.digest().hex()),
            Self::Removing(id) => format!("removing {} -\n", id.digest().hex()),
            Self::Gone(id) => format!("gone {} -\n", id.digest().hex()),
            Self::Mount(name) => format!("mount {name} -\n"),
            Self::Unmounting(name) => format!("unmounting {name} -\n"),
        }
    }

    /// What a line says.
    pub(crate) fn of(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let id = |word: &str| ImageId(Digest::from_hex(word).unwrap());
        let to = Some(words[2]).filter(|word| *word != "-").map(id);
        match words[0] {
            "moving" => Self::Moving(words[1].parse().unwrap(), to),
            "leads" => Self::Leads(words[1].parse().unwrap(), to),
            "has" => Self::Has(id(words[1])),
            "removing" => Self::Removing(id(words[1])),
            "gone" => Self::Gone(id(words[1])),
            "mount" => Self::Mount(words[1].to_owned()),
            "unmounting" => Self::Unmounting(words[1].to_owned()),
            _ => panic!("{line} says nothing"),
        }
    }
}

/// All that holds at one moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Promised {
    /// Where each name may lead.
    pub(crate) names: BTreeMap<Reference, Vec<Option<ImageId>>>,
    pub(crate) there: BTreeSet<ImageId>,
    pub(crate) gone: BTreeSet<ImageId>,
    pub(crate) mounts: BTreeSet<String>,
}

impl Promised {
    /// Adds what was told next.
    pub(crate) fn add(&mut self, promise: &Promise) {
        match promise {
            Promise::Moving(name, to) => {
                // what was removed may come back with it
                if let Some(id) = to {
                    self.gone.remove(id);
                }
                self.names
                    .entry(name.clone())
                    .or_insert_with(|| vec![None])
                    .push(*to);
            }
            Promise::Leads(name, to) => {
                self.names.insert(name.clone(), vec![*to]);
            }
            Promise::Has(id) => {
                self.gone.remove(id);
                self.there.insert(*id);
            }
            Promise::Removing(id) => _ = self.there.remove(id),
            Promise::Gone(id) => _ = self.gone.insert(*id),
            Promise::Mount(name) => _ = self.mounts.insert(name.clone()),
            Promise::Unmounting(name) => _ = self.mounts.remove(name),
        }
    }
}
