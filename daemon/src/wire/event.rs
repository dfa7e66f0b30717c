//! Happenings as `/events` tells them, and which of them a client wants (engine API contract, section 2.9).

use bytes::Bytes;
use mica_api::{Actor, EventMessage};
use mica_engine::{Action, Happening, Subject};
use mica_oci::{ImageId, Reference};

use crate::wire::filter::Filters;
use crate::wire::query::Query;
use crate::wire::reply::Failure;
use crate::wire::version::ApiVersion;

/// The type of everything that is done to images.
const IMAGE: &str = "image";
/// The type of what is done to the build cache.
const BUILDER: &str = "builder";
/// Where everything happens.
const LOCAL: &str = "local";
/// Keys for things there are none of here. Docker compares each with the ID and the name of whatever something happened to,
/// of any type, and so an image whose name begins like the container that is asked for is told of.
const OTHERS: [&str; 9] = [
    "daemon",
    "container",
    "plugin",
    "volume",
    "network",
    "node",
    "service",
    "secret",
    "config",
];
/// The first version that knows of images being created.
const CREATE: ApiVersion = ApiVersion::v1(46);

/// Which happenings a client wants to hear of.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    filters: Filters,
    version: ApiVersion,
}

impl Wanted {
    /// Reads the query's `filters`. Keys that mean nothing here are no error and select everything, as docker has it.
    pub(crate) fn of(query: &Query, version: ApiVersion) -> Result<Self, Failure> {
        Ok(Self {
            filters: Filters::of_any_key(query)?,
            version,
        })
    }

    /// What is told of a happening, if it is wanted.
    pub(crate) fn message(&self, happening: &Happening) -> Option<EventMessage> {
        if happening.action == Action::Create && self.version < CREATE {
            return None;
        }
        Some(message(happening)).filter(|message| self.admits(message))
    }

    fn admits(&self, message: &EventMessage) -> bool {
        let (id, attributes) = (message.actor.id.as_str(), &message.actor.attributes);
        let name = attributes.get("name").map_or("", String::as_str);
        self.is_one_of("type", &[&message.kind])
            && self.is_one_of("event", &[&message.action])
            // docker does not know this key; whoever writes it means the other
            && self.is_one_of("action", &[&message.action])
            && self.is_one_of("scope", &[&message.scope])
            && self.is_one_of("image", &images(message, id, name))
            && OTHERS.iter().all(|key| self.begins(key, &[id, name]))
            && self.filters.labels("label").iter().all(|label| {
                let own = attributes.get(&label.key);
                own.is_some_and(|own| label.value.as_ref().is_none_or(|value| value == own))
            })
    }

    /// Whether one of the values of `key` is among `own`; true if `key` is not there.
    fn is_one_of(&self, key: &str, own: &[impl AsRef<str>]) -> bool {
        let values = self.filters.values(key);
        let is_own = |value: &String| own.iter().any(|own| own.as_ref() == value);
        values.is_empty() || values.iter().any(is_own)
    }

    /// Whether something of `own` begins with one of the values of `key`; true if `key` is not there.
    fn begins(&self, key: &str, own: &[&str]) -> bool {
        let values = self.filters.values(key);
        let begins = |value: &String| own.iter().any(|own| own.starts_with(value.as_str()));
        values.is_empty() || values.iter().any(begins)
    }
}

/// What the image of a message may be called: by its ID and its name, the name also without tag or digest.
fn images(message: &EventMessage, id: &str, name: &str) -> Vec<String> {
    if message.kind != IMAGE {
        return Vec::new();
    }
    let mut called = Vec::new();
    for text in [id, name] {
        // an ID reads as a name with a tag, but is none
        if text.parse::<ImageId>().is_err()
            && let Ok(reference) = text.parse::<Reference>()
        {
            called.push(reference.repository.familiar());
        }
        called.push(text.to_owned());
    }
    called
}

/// What is told of a happening.
fn message(happening: &Happening) -> EventMessage {
    let (kind, id) = match &happening.subject {
        Subject::Image(id) => (IMAGE, id.to_string()),
        Subject::Name(reference) => (IMAGE, reference.familiar()),
        Subject::Images => (IMAGE, String::new()),
        Subject::Cache => (BUILDER, String::new()),
    };
    let action = happening.action.as_str().to_owned();
    // for clients before 1.52, and those are all there are
    let (status, old_id) = match kind {
        IMAGE => (action.clone(), id.clone()),
        _ => Default::default(),
    };
    EventMessage {
        status,
        id: old_id,
        kind: kind.to_owned(),
        action,
        actor: Actor {
            id,
            attributes: happening.attributes.clone(),
        },
        scope: LOCAL.to_owned(),
        time: happening.time.as_second(),
        // 64 bits reach to the year 2262
        time_nano: i64::try_from(happening.time.as_nanosecond()).unwrap_or(i64::MAX),
    }
}

/// One line of the stream, ended as Go ends it.
pub(crate) fn line(message: &EventMessage) -> serde_json::Result<Bytes> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    Ok(bytes.into())
}
