//! An image as lines of text: what of it differs from the image it is compared with.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::conformance::entry::{Content, Entry, Kind, NOW, shown};
use crate::conformance::image::Image;

/// The fields of `config` that are compared; `ArgsEscaped` is a docker oddity and is not.
const CONFIG: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "Labels",
    "Volumes",
    "ExposedPorts",
    "Healthcheck",
    "OnBuild",
    "Shell",
    "StopSignal",
];

/// Fields beside `config`.
const TOP: [&str; 4] = ["author", "architecture", "os", "variant"];

/// What every history entry of a build says.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// An image in the words of an expectation.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Every name and what it is.
    pub files: BTreeMap<String, Entry>,
    /// Field, value as JSON.
    pub config: BTreeMap<String, String>,
    /// `history …` and `history-empty …`.
    pub history: Vec<String>,
    /// The names in each layer, sorted as the layers have them.
    pub layers: Vec<Vec<String>>,
}

/// Describes an image; what is not older than `since` was made "now".
pub fn describe(image: &Image, since: i64) -> Facts {
    let mut first: BTreeMap<usize, &str> = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (path, file) in &image.names {
        let mut entry = image.files[*file].clone();
        entry.path.clone_from(path);
        entry.time = entry.time.map(|time| if time >= since { NOW } else { time });
        if let Some(other) = first.get(file) {
            entry = Entry {
                kind: Kind::Hard((*other).to_owned()),
                mode: 0o777,
                owner: (0, 0),
                time: None,
                xattrs: BTreeMap::new(),
                ..entry
            };
        } else {
            first.insert(*file, path);
        }
        if let Kind::File(Content::Bytes(bytes)) = &entry.kind {
            entry.kind = Kind::File(shown(bytes));
        }
        if matches!(entry.kind, Kind::Link(_)) {
            entry.mode = 0o777;
        }
        files.insert(path.clone(), entry);
    }
    Facts {
        files,
        config: config(&image.config),
        history: history(&image.config),
        layers: image.layers.clone(),
    }
}

fn config(document: &Value) -> BTreeMap<String, String> {
    let inner = CONFIG.iter().map(|name| (*name, &document["config"][*name]));
    let outer = TOP.iter().map(|name| (*name, &document[*name]));
    let fields = inner
        .chain(outer)
        .map(|(name, value)| (name.to_owned(), plain(value)));
    fields.collect()
}

/// A value as JSON with sorted names; what is empty is `null`, and of sets only the names count.
fn plain(value: &Value) -> String {
    let sorted = match value {
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Object(fields) if fields.is_empty() => Value::Null,
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields
                .iter()
                .filter(|(_, value)| !value.is_null() && **value != 0)
                .collect();
            if sorted
                .values()
                .all(|value| value.as_object().is_some_and(Map::is_empty))
            {
                sorted
                    .into_keys()
                    .map(|name| Value::from(name.as_str()))
                    .collect()
            } else {
                sorted
                    .into_iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            }
        }
        other => other.clone(),
    };
    sorted.to_string()
}

fn history(document: &Value) -> Vec<String> {
    let entries = document["history"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let text = entry["created_by"].as_str().unwrap_or_default();
            let text = if text.contains(char::is_control) || text.ends_with(' ') || text.starts_with('"') {
                Value::from(text).to_string()
            } else {
                text.to_owned()
            };
            let kind = if entry["empty_layer"] == true {
                "history-empty"
            } else {
                "history"
            };
            let comment = entry["comment"].as_str().unwrap_or_default();
            let odd = if comment == COMMENT {
                String::new()
            } else {
                format!(" (comment {comment:?})")
            };
            format!("{kind} {text}{odd}")
        })
        .collect()
}

impl Facts {
    /// Whether a name is as the other image has it; the times of folders do not count.
    pub fn same(&self, other: &Self, path: &str) -> bool {
        match (self.files.get(path), other.files.get(path)) {
            (Some(one), Some(two)) if one.kind == Kind::Folder => {
                Entry {
                    time: None,
                    ..one.clone()
                } == Entry {
                    time: None,
                    ..two.clone()
                }
            }
            (one, two) => one == two,
        }
    }

    /// The lines of an expectation that this image meets. Times of folders are left out.
    pub fn lines(&self, base: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, entry) in self.files.iter().filter(|(path, _)| !self.same(base, path)) {
            let mut entry = entry.clone();
            if entry.kind == Kind::Folder {
                entry.time = None;
            }
            debug_assert_eq!(&entry.path, path);
            lines.push(entry.to_string());
        }
        lines.extend(self.gone(base).into_iter().map(|path| format!("- {path}")));
        let changed = self
            .config
            .iter()
            .filter(|(name, value)| base.config.get(*name) != Some(*value));
        lines.extend(changed.map(|(name, value)| format!("config {name} {value}")));
        lines.push(format!(
            "layers {}",
            self.layers.len().saturating_sub(base.layers.len())
        ));
        lines.extend(self.history.iter().skip(base.history.len()).cloned());
        lines
    }

    /// Names of the base that are not there; of a whole folder only its own name.
    pub fn gone<'a>(&self, base: &'a Self) -> Vec<&'a str> {
        let missing = |path: &str| !self.files.contains_key(path) && base.files.contains_key(path);
        let parent = |path: &str| {
            path.rsplit_once('/')
                .map(|(parent, _)| parent.to_owned())
                .unwrap_or_default()
        };
        let names = base.files.keys().map(String::as_str);
        names
            .filter(|path| missing(path) && !missing(&parent(path)))
            .collect()
    }
}
