//! The inputs of a step by name, kept to say later which of them changed.

use std::collections::BTreeSet;

use mica_oci::Digest;
use serde_json::{Value, json};

/// The longest value that is kept as it is, in bytes; of others only a digest is.
const SHOWN: usize = 200;

/// How many changed values of one input are named.
const NAMED: usize = 5;

/// The inputs of a step: names, each with its values. Two steps with the same key have the same inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Inputs(Vec<(String, Vec<String>)>);

impl Inputs {
    /// Adds a value to the input of this name.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        let value = match std::str::from_utf8(value) {
            Ok(text) if text.len() <= SHOWN && !text.chars().any(char::is_control) => text.to_owned(),
            _ => Digest::of(value).short(),
        };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name.to_owned(), vec![value])),
        }
    }

    /// As bytes to be kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let pairs: Vec<Value> = self
            .0
            .iter()
            .map(|(name, values)| json!([name, values]))
            .collect();
        Value::Array(pairs).to_string().into_bytes()
    }

    /// What was kept; `None` if it cannot be read.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let pairs: Vec<(String, Vec<String>)> = serde_json::from_slice(bytes).ok()?;
        Some(Self(pairs))
    }

    /// What is different now from what it was, a text for each input: `environment: A=1 is now A=2`.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<String> {
        let names = self.0.iter().chain(&before.0).map(|(name, _)| name.as_str());
        let mut told = BTreeSet::new();
        names
            .filter(|name| told.insert(*name))
            .filter_map(|name| change(name, before.values(name), self.values(name)))
            .collect()
    }

    fn values(&self, name: &str) -> &[String] {
        let own = self.0.iter().find(|(known, _)| known == name);
        own.map_or(&[], |(_, values)| values)
    }
}

/// How the values of one input differ.
fn change(name: &str, before: &[String], now: &[String]) -> Option<String> {
    if before == now {
        return None;
    }
    if let ([old], [new]) = (before, now) {
        return Some(format!("{name}: {old:?} is now {new:?}"));
    }
    let gone: Vec<_> = before.iter().filter(|value| !now.contains(value)).collect();
    let new: Vec<_> = now.iter().filter(|value| !before.contains(value)).collect();
    // NAME=value: the same name on both sides is a change of its value
    let named = |value: &str| value.split_once('=').map(|(name, _)| name.to_owned());
    let mut words = Vec::new();
    for value in &gone {
        let again = new
            .iter()
            .find(|new| named(new).is_some() && named(new) == named(value));
        words.push(match again {
            Some(again) => format!("{value} is now {again}"),
            None => format!("{value} is gone"),
        });
    }
    for value in &new {
        if !gone
            .iter()
            .any(|old| named(old).is_some() && named(old) == named(value))
        {
            words.push(format!("{value} is new"));
        }
    }
    if words.is_empty() {
        words.push("another order".to_owned());
    }
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    Some(format!("{name}: {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &str)]) -> Inputs {
        let mut inputs = Inputs::default();
        pairs
            .iter()
            .for_each(|(name, value)| inputs.push(name, value.as_bytes()));
        inputs
    }

    #[test]
    fn what_changed_is_named() {
        let before = inputs(&[
            ("user", ""),
            ("environment", "A=1"),
            ("environment", "B=2"),
            ("environment", "C=3"),
        ]);
        for (now, expected) in [
            (
                vec![("user", "")],
                "environment: A=1 is gone, B=2 is gone, C=3 is gone",
            ),
            (
                vec![
                    ("user", "me"),
                    ("environment", "A=1"),
                    ("environment", "B=2"),
                    ("environment", "C=3"),
                ],
                "user: \"\" is now \"me\"",
            ),
            (
                vec![
                    ("user", ""),
                    ("environment", "A=2"),
                    ("environment", "B=2"),
                    ("environment", "D=3"),
                ],
                "environment: A=1 is now A=2, C=3 is gone, D=3 is new",
            ),
            (
                vec![
                    ("user", ""),
                    ("environment", "B=2"),
                    ("environment", "A=1"),
                    ("environment", "C=3"),
                ],
                "environment: another order",
            ),
        ] {
            assert_eq!(inputs(&now).changes_since(&before), [expected]);
        }
        assert!(before.changes_since(&before).is_empty());
    }

    #[test]
    fn what_is_kept_is_read_again_and_garbage_is_not() {
        let mut kept = inputs(&[("a", "1"), ("b", "x\ny")]);
        kept.push("b", &[0xff; 300]);
        assert_eq!(Inputs::from_bytes(&kept.to_bytes()), Some(kept));
        assert_eq!(Inputs::from_bytes(b"[[1]]"), None);
    }
}
