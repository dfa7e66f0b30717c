//! JSON values as Go prints them.

use std::fmt::Write as _;

use serde_json::Value;

/// What a missing value prints as.
pub(super) const NO_VALUE: &str = "<no value>";

/// A value and what it prints as when it is null.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Datum {
    pub(super) value: Value,
    pub(super) nil: &'static str,
}

impl From<Value> for Datum {
    fn from(value: Value) -> Self {
        Self { value, nil: NO_VALUE }
    }
}

impl From<String> for Datum {
    fn from(text: String) -> Self {
        Value::String(text).into()
    }
}

impl Datum {
    /// The value as `%v` prints it.
    pub(super) fn text(&self) -> String {
        if self.value.is_null() {
            return self.nil.to_owned();
        }
        let mut out = String::new();
        print(&self.value, &mut out);
        out
    }

    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match &self.value {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(number) => number.as_f64().is_none_or(|number| number != 0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
        }
    }
}

/// The Go name of a value's type, for messages.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A map's entries in the order Go visits them: by key.
pub(super) fn sorted(map: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => out.push_str(&float_text(float)),
            _ => write!(out, "{number}").expect("writing to a string cannot fail"),
        },
        Value::String(text) => out.push_str(text),
        Value::Array(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                print(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (index, (key, item)) in sorted(map).into_iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                print(item, out);
            }
            out.push(']');
        }
    }
}

/// A float as `%v` prints it: shortest, with an exponent below 1e-4 and from 1e21 on.
pub(super) fn float_text(float: f64) -> String {
    if float == 0.0 || (1e-4..1e21).contains(&float.abs()) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}
