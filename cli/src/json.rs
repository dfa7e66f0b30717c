//! JSON as text: indented without changing a token, and objects whose unknown parts survive a change.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// An object that keeps the order of its keys and the text of their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    entries: Vec<(String, Box<RawValue>)>,
}

impl Object {
    /// The text of a key's value. Of a key that is there twice the last counts, as in Go.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .rfind(|(name, _)| name == key)
            .map(|(_, value)| value.get())
    }

    /// Sets a key: in its place if it is there, else at the end.
    pub(crate) fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.entries.iter_mut().rfind(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Removes a key; whether it was there.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(name, _)| name != key);
        self.entries.len() < before
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object { entries })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries.iter().map(|(key, value)| (key, value)))
    }
}

/// Puts valid JSON on lines, `unit` a level, and changes nothing else: not the order of keys, no digit of a number,
/// no escape in a text.
pub(crate) fn indented(json: &str, unit: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut is_text = false;
    let mut is_escaped = false;
    let mut opened = false;
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(unit, depth));
    };
    for c in json.chars() {
        if is_text {
            out.push(c);
            is_text = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if c.is_ascii_whitespace() {
            continue;
        }
        if closes {
            depth = depth.saturating_sub(1);
        }
        // Nothing between the brackets: they stay together.
        if opened != closes {
            line(&mut out, depth);
        }
        opened = matches!(c, '{' | '[');
        out.push(c);
        match c {
            '{' | '[' => depth += 1,
            ',' => line(&mut out, depth),
            ':' => out.push(' '),
            _ => is_text = c == '"',
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn json_is_indented_and_nothing_else() {
        for (json, expected) in [
            ("{}", "{}"),
            ("[ ]", "[]"),
            ("1", "1"),
            (r#""a""#, r#""a""#),
            (
                r#"{"b":1e2, "a":[ ] ,"c":[1,{ "d" : "x,\"{:" }],"e":{}}"#,
                "{\n  \"b\": 1e2,\n  \"a\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"x,\\\"{:\"\n    }\n  ],\n  \"e\": {}\n}",
            ),
            (r#"["\\",2]"#, "[\n  \"\\\\\",\n  2\n]"),
        ] {
            assert_eq!(indented(json, "  "), expected);
        }
    }

    #[test]
    fn the_last_of_two_keys_counts() {
        let mut object: Object = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.get("a"), Some("3"));
        object.set("a", RawValue::from_string("4".to_owned()).unwrap());
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"a":1,"b":2,"a":4}"#);
        assert!(object.remove("a") && !object.remove("a"));
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"b":2}"#);
        assert!(serde_json::from_str::<Object>("[]").is_err());
    }

    /// Any JSON, some levels deep.
    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((".{0,6}", inner), 0..4)
                    .prop_map(|list| Value::Object(list.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn indenting_keeps_the_value(value in any_json()) {
            let pretty = indented(&value.to_string(), "\t");
            prop_assert_eq!(&serde_json::from_str::<Value>(&pretty).unwrap(), &value);
            prop_assert_eq!(indented(&pretty, "\t"), pretty);
        }
    }
}
