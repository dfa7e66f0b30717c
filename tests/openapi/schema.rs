//! Holds values to the schemas of the description, and remembers which of their properties were seen.

use std::collections::BTreeSet;

use serde_json::Value;

/// The description, and the properties of its schemas that values had, each by its JSON pointer (RFC 6901).
pub(crate) struct Schemas {
    description: Value,
    seen: BTreeSet<String>,
}

/// A digest as the description's patterns have it.
const HEX: &str = "[0-9a-f]{";

impl Schemas {
    pub(crate) fn new(description: Value) -> Self {
        Self {
            description,
            seen: BTreeSet::new(),
        }
    }

    /// What the description has at a pointer, references followed, and the pointer to where they led.
    pub(crate) fn at(&self, pointer: &str) -> Option<(String, &Value)> {
        let found = self.description.pointer(pointer)?;
        match found["$ref"].as_str() {
            Some(reference) => self.at(&reference[1..]),
            None => Some((pointer.to_owned(), found)),
        }
    }

    /// Holds a value to the schema at `pointer`. `place` says in messages where the value is.
    ///
    /// # Errors
    /// How it differs.
    pub(crate) fn check(&mut self, pointer: &str, value: &Value, place: &str) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        self.hold(pointer, value, place, &mut seen)?;
        self.seen.append(&mut seen);
        Ok(())
    }

    fn hold(
        &self,
        pointer: &str,
        value: &Value,
        place: &str,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let (pointer, schema) = self
            .at(pointer)
            .unwrap_or_else(|| panic!("there is nothing at {pointer}"));
        let wrong = |what: &str| Err(format!("{place} is {value}, not {what} ({pointer})"));
        let Value::Object(keywords) = schema else {
            return if *schema == Value::Bool(false) {
                wrong("absent")
            } else {
                Ok(())
            };
        };
        for (keyword, wanted) in keywords {
            match keyword.as_str() {
                "description"
                | "examples"
                | "default"
                | "properties"
                | "additionalProperties"
                | "minimum" => {}
                "type" if !has_type(wanted, value) => return wrong(&wanted.to_string()),
                "const" if value != wanted => return wrong(&wanted.to_string()),
                "enum" if !wanted.as_array().is_some_and(|all| all.contains(value)) => {
                    return wrong(&format!("one of {wanted}"));
                }
                "pattern" if value.as_str().is_some_and(|text| !matches(wanted, text)) => {
                    return wrong(&wanted.to_string());
                }
                "format" if value.as_str().is_some_and(|text| !has_format(wanted, text)) => {
                    return wrong(&wanted.to_string());
                }
                "minLength" if value == "" => return wrong("some text"),
                "maxItems" if value.as_array().is_some_and(|items| !items.is_empty()) => {
                    return wrong("empty");
                }
                "required" => {
                    let names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                    if let Some(name) = value
                        .as_object()
                        .and_then(|own| names.into_iter().find(|name| !own.contains_key(*name)))
                    {
                        return Err(format!("{place} has no {name} ({pointer})"));
                    }
                }
                "items" => {
                    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.hold(&format!("{pointer}/items"), item, &format!("{place}[{at}]"), seen)?;
                    }
                }
                "anyOf" | "oneOf" => {
                    let branches = 0..wanted.as_array().map_or(0, Vec::len);
                    let tried = branches.map(|at| {
                        let mut own = BTreeSet::new();
                        self.hold(&format!("{pointer}/{keyword}/{at}"), value, place, &mut own)
                            .map(|()| own)
                    });
                    let fits: Vec<_> = tried.filter_map(Result::ok).collect();
                    match fits.len() {
                        0 => return wrong("any of what it can be"),
                        _ => seen.extend(fits.into_iter().flatten()),
                    }
                }
                "type" | "const" | "enum" | "pattern" | "format" | "minLength" | "maxItems" => {}
                other => panic!("the keyword {other} is not known here ({pointer})"),
            }
        }
        for (name, own) in value.as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            let property = format!("{pointer}/properties/{}", escape(name));
            if schema["properties"].get(name).is_some() {
                seen.insert(property.clone());
                self.hold(&property, own, &place, seen)?;
            } else if keywords.get("additionalProperties") == Some(&Value::Bool(false)) {
                return Err(format!("{place} is not described ({pointer})"));
            } else if keywords.contains_key("additionalProperties") {
                self.hold(&format!("{pointer}/additionalProperties"), own, &place, seen)?;
            }
        }
        Ok(())
    }

    /// The properties of all schemas that lead from `pointer`, which no value had.
    pub(crate) fn unseen(&self, pointer: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let (mut known, mut waiting) = (BTreeSet::new(), vec![pointer.to_owned()]);
        while let Some(pointer) = waiting.pop() {
            let Some((pointer, schema)) = self.at(&pointer) else {
                continue;
            };
            if !known.insert(pointer.clone()) {
                continue;
            }
            let properties = schema["properties"].as_object().into_iter().flatten();
            for (name, _) in properties {
                let property = format!("{pointer}/properties/{}", escape(name));
                waiting.push(property.clone());
                all.insert(property);
            }
            waiting.push(format!("{pointer}/items"));
            waiting.push(format!("{pointer}/additionalProperties"));
            for keyword in ["anyOf", "oneOf"] {
                let branches = schema[keyword].as_array().map_or(0, Vec::len);
                waiting.extend((0..branches).map(|at| format!("{pointer}/{keyword}/{at}")));
            }
        }
        all.difference(&self.seen).cloned().collect()
    }
}

/// A name as a part of a pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        other => panic!("the type {other:?} is not known here"),
    };
    wanted
        .as_array()
        .map_or_else(|| is(wanted), |kinds| kinds.iter().any(is))
}

/// Patterns are a beginning and a number of hexadecimal digits.
fn matches(pattern: &Value, text: &str) -> bool {
    let whole = pattern
        .as_str()
        .and_then(|pattern| pattern.strip_prefix('^')?.strip_suffix("}$"));
    let (beginning, count) = whole
        .and_then(|pattern| pattern.split_once(HEX))
        .unwrap_or_else(|| panic!("the pattern {pattern} is not known here"));
    let digits = text.strip_prefix(beginning).unwrap_or_default();
    digits.len().to_string() == count && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Times are written as RFC 3339 has it.
fn has_format(format: &Value, text: &str) -> bool {
    assert_eq!(format, "date-time", "the format is not known here");
    let shape: String = text
        .chars()
        .take(19)
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let rest = text.get(19..).unwrap_or_default();
    let zone = rest
        .strip_prefix('.')
        .map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    shape == "0000-00-00T00:00:00" && zone == "Z"
}

#[test]
fn values_are_held_to_their_schemas() {
    let mut schemas = Schemas::new(serde_json::json!({
        "A": {"type": "object", "required": ["id"], "additionalProperties": false, "properties": {
            "id": {"type": "string", "pattern": "^x:[0-9a-f]{2}$"},
            "many": {"type": ["array", "null"], "items": {"$ref": "#/B"}},
            "never": {"const": 1}}},
        "B": {"anyOf": [{"type": "integer"}, {"type": "object", "additionalProperties": {"format": "date-time"}}]},
    }));
    let mut fits = |text: &str| schemas.check("/A", &serde_json::from_str(text).unwrap(), "it");
    for good in [
        r#"{"id":"x:0f"}"#,
        r#"{"id":"x:0f","many":null}"#,
        r#"{"id":"x:0f","many":[1,{"a":"2026-01-02T03:04:05.6Z"}]}"#,
    ] {
        assert_eq!(fits(good), Ok(()), "{good}");
    }
    for (bad, part) in [
        ("[]", "\"object\""),
        ("{}", "has no id"),
        (r#"{"id":"x:0g"}"#, "it.id is"),
        (r#"{"id":"x:0f","more":1}"#, "it.more is not described"),
        (r#"{"id":"x:0f","many":["1"]}"#, "it.many[0] is"),
        (
            r#"{"id":"x:0f","many":[{"a":"2026-01-02 03:04:05Z"}]}"#,
            "it.many[0] is",
        ),
        (r#"{"id":"x:0f","never":2}"#, "it.never is 2"),
    ] {
        let message = fits(bad).unwrap_err();
        assert!(message.contains(part), "{bad}: {message}");
    }
    assert_eq!(
        schemas.unseen("/A"),
        BTreeSet::from(["/A/properties/never".to_owned()])
    );
}
