//! An answer as one JSON document that can be compared.

use std::collections::BTreeMap;

use mica_tests::http::Answer;
use serde_json::{Map, Value, json};

use crate::ask::Reading;
use crate::names::Names;

/// Headers that say the same in every daemon, or should.
const HEADERS: [&str; 12] = [
    "content-type",
    "api-version",
    "docker-experimental",
    "ostype",
    "server",
    "cache-control",
    "pragma",
    "builder-version",
    "swarm",
    "content-encoding",
    "location",
    "allow",
];

/// The answer: its status, headers and body.
pub(crate) fn read(answer: &Answer, reading: Reading, names: &Names) -> Value {
    let mut headers = Map::new();
    for name in HEADERS {
        if let Some(value) = answer.headers.get(name) {
            headers.insert(
                name.to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned().into(),
            );
        }
    }
    let text = String::from_utf8_lossy(&answer.body);
    let kind = headers
        .get("content-type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let body = match reading {
        Reading::Stream if answer.status == 200 => stream(&text, names),
        Reading::Archive if answer.status == 200 => archive(&answer.body, names),
        _ if kind.contains("json") => whole(&text, names),
        _ => json!({"text": names.replace(&text)}),
    };
    json!({"status": answer.status, "headers": headers, "body": body})
}

fn whole(text: &str, names: &Names) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => named(value, names),
        Err(error) => json!({"no JSON": error.to_string(), "text": names.replace(text)}),
    }
}

/// The same with every text's names replaced.
fn named(value: Value, names: &Names) -> Value {
    match value {
        Value::String(text) => names.replace(&text).into(),
        Value::Array(values) => values.into_iter().map(|value| named(value, names)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (names.replace(&key), named(value, names)))
            .collect(),
        other => other,
    }
}

/// The messages of a stream: those without an ID in their order, those of one ID in theirs. Numbers of progress are only numbers, and
/// how often it was told does not matter.
fn stream(text: &str, names: &Names) -> Value {
    let mut messages = Vec::new();
    let mut failure = Value::Null;
    let mut of_id: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut read = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut ends = std::collections::BTreeSet::new();
    loop {
        match read.next() {
            None => break,
            Some(Err(error)) => {
                messages.push(json!({"no JSON": error.to_string()}));
                break;
            }
            Some(Ok(value)) => {
                let rest = &text[read.byte_offset()..];
                let next = rest.find('{').unwrap_or(rest.len());
                ends.insert(rest[..next].escape_debug().to_string());
                let value = progress(named(value, names));
                if is_by_chance(&value) {
                    continue;
                }
                if value.get("error").is_some() {
                    failure = value;
                    continue;
                }
                let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
                let list = match id {
                    Some(id) => of_id.entry(id).or_default(),
                    None => &mut messages,
                };
                add(list, value);
            }
        }
    }
    json!({"messages": messages, "failure": failure, "of ID": of_id, "after each": ends})
}

/// Whether a message is told or not as time goes: a layer that comes in a moment has none of these.
fn is_by_chance(message: &Value) -> bool {
    let status = message.get("status").and_then(Value::as_str).unwrap_or_default();
    [
        "Downloading",
        "Verifying Checksum",
        "Extracting",
        "Waiting",
        "Pushing",
    ]
    .contains(&status)
}

/// Adds a message to a list. Text comes in pieces of any size; what is compared are its lines.
fn add(list: &mut Vec<Value>, message: Value) {
    let text = |message: &Value| message.get("stream").and_then(Value::as_str).map(str::to_owned);
    match (list.last().and_then(text), text(&message)) {
        (Some(last), Some(more)) if !last.ends_with('\n') => {
            list.pop();
            add(list, json!({"stream": last + &more}));
        }
        // red ends behind the end of the line, and still is of it
        (_, Some(text)) if text.contains("\n\u{1b}[0m") => {
            let text = text.replace("\n\u{1b}[0m", "<line end>\u{1b}[0m\n");
            add(list, json!({"stream": text}));
        }
        (_, Some(lines)) => list.extend(lines.split_inclusive('\n').map(|line| json!({"stream": line}))),
        (_, None) if list.last() == Some(&message) => {}
        (_, None) => list.push(message),
    }
}

fn progress(mut message: Value) -> Value {
    let details = message.get_mut("progressDetail").and_then(Value::as_object_mut);
    for (_, number) in details.into_iter().flatten() {
        *number = "number".into();
    }
    if let Some(bar) = message.get_mut("progress") {
        *bar = "bar".into();
    }
    message
}

/// What the documents of an archive of images say, and how many layers there are.
fn archive(bytes: &[u8], names: &Names) -> Value {
    let members = match mica_tests::conformance::files_of(bytes) {
        Ok(members) => members,
        Err(error) => return json!({"no archive": error}),
    };
    let document = |name: &str| {
        let bytes = members.get(name).map(Vec::as_slice).unwrap_or_default();
        serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null)
    };
    let mut images = Vec::new();
    for entry in document("manifest.json").as_array().into_iter().flatten() {
        let config = entry["Config"].as_str().unwrap_or_default();
        let layers = entry["Layers"].as_array().map(Vec::len).unwrap_or_default();
        images.push(json!({
            "tags": entry["RepoTags"], "layers": layers, "config": whole(&String::from_utf8_lossy(members.get(config).map(Vec::as_slice).unwrap_or_default()), names),
        }));
    }
    // dockerd writes them in any order
    images.sort_by_cached_key(|image| image["tags"].to_string());
    let repositories = document("repositories");
    let repositories: BTreeMap<&String, Vec<&String>> = repositories
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, tags)| (name, tags.as_object().into_iter().flat_map(Map::keys).collect()))
        .collect();
    json!({"images": images, "repositories": repositories})
}
