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

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::Digest;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn happening(action: Action, subject: Subject, attributes: &[(&str, &str)]) -> Happening {
        Happening {
            time: "2026-01-02T03:04:05.000000006Z".parse().unwrap(),
            action,
            subject,
            attributes: attributes
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }
    }

    fn id() -> ImageId {
        ImageId(Digest::of(b"x"))
    }

    /// One of each shape: by ID and name, by ID alone, by name, and two that are about no image of their own.
    fn all() -> Vec<Happening> {
        let id_text = id().to_string();
        let name = |text: &str| Subject::Name(text.parse().unwrap());
        vec![
            happening(
                Action::Tag,
                Subject::Image(id()),
                &[("name", "busybox:1"), ("a", "b"), ("c", "")],
            ),
            happening(
                Action::Create,
                Subject::Image(id()),
                &[("name", id_text.as_str()), ("a", "z")],
            ),
            happening(
                Action::Pull,
                name("localhost:5000/a/b:2"),
                &[("name", "localhost:5000/a/b")],
            ),
            happening(Action::Prune, Subject::Images, &[("reclaimed", "7")]),
            happening(Action::Prune, Subject::Cache, &[("reclaimed", "0")]),
        ]
    }

    fn wanted(filters: &str, version: u32) -> Wanted {
        let encoded: String = filters.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let query = Query::parse(&format!("filters={encoded}")).unwrap();
        Wanted::of(&query, ApiVersion::v1(version)).unwrap()
    }

    /// Which of `all` are told, by their place.
    fn told(filters: &serde_json::Value) -> Vec<usize> {
        let wanted = wanted(&filters.to_string(), 51);
        let all = all();
        (0..all.len())
            .filter(|at| wanted.message(&all[*at]).is_some())
            .collect()
    }

    #[test]
    fn a_line_is_as_docker_writes_it() {
        let all = all();
        let text = |at: usize| {
            let message = wanted("", 51).message(&all[at]).unwrap();
            String::from_utf8(line(&message).unwrap().to_vec()).unwrap()
        };
        let id = id();
        assert_eq!(
            text(0),
            format!(
                "{{\"status\":\"tag\",\"id\":\"{id}\",\"Type\":\"image\",\"Action\":\"tag\",\"Actor\":{{\"ID\":\"{id}\",\
                 \"Attributes\":{{\"a\":\"b\",\"c\":\"\",\"name\":\"busybox:1\"}}}},\"scope\":\"local\",\
                 \"time\":1767323045,\"timeNano\":1767323045000000006}}\n"
            )
        );
        assert_eq!(
            text(4),
            "{\"Type\":\"builder\",\"Action\":\"prune\",\"Actor\":{\"ID\":\"\",\"Attributes\":{\"reclaimed\":\"0\"}},\
             \"scope\":\"local\",\"time\":1767323045,\"timeNano\":1767323045000000006}\n"
        );
    }

    #[test]
    fn creations_are_told_to_those_who_know_them() {
        let created = &all()[1];
        assert!(wanted("", 45).message(created).is_none());
        assert!(wanted("", 46).message(created).is_some());
        assert!(wanted("", 45).message(&all()[0]).is_some());
    }

    #[test]
    fn filters_select() {
        let id = id().to_string();
        for (filters, expected) in [
            (json!({}), vec![0, 1, 2, 3, 4]),
            (json!({"type": ["image"]}), vec![0, 1, 2, 3]),
            (json!({"type": {"builder": true}}), vec![4]),
            (json!({"type": ["container"]}), vec![]),
            (json!({"event": ["tag", "prune"]}), vec![0, 3, 4]),
            (json!({"action": ["pull"]}), vec![2]),
            (json!({"event": ["ta"]}), vec![]),
            (json!({"scope": ["local"]}), vec![0, 1, 2, 3, 4]),
            (json!({"scope": ["swarm"]}), vec![]),
            (json!({"image": [id]}), vec![0, 1]),
            (json!({"image": [&id[..20]]}), vec![]),
            (json!({"image": ["busybox:1"]}), vec![0]),
            (json!({"image": ["busybox"]}), vec![0]),
            (json!({"image": ["busybox:2"]}), vec![]),
            (json!({"image": ["sha256"]}), vec![]),
            (json!({"image": ["localhost:5000/a/b"]}), vec![2]),
            (json!({"image": ["localhost:5000/a/b:2", "busybox"]}), vec![0, 2]),
            (json!({"label": ["a"]}), vec![0, 1]),
            (json!({"label": ["a=b"]}), vec![0]),
            (json!({"label": ["a", "c"]}), vec![0]),
            (json!({"label": ["c="]}), vec![0]),
            (json!({"label": ["a="]}), vec![]),
            (json!({"container": ["busy"]}), vec![0]),
            (json!({"network": ["bridge"]}), vec![]),
            (json!({"volume": [&id[..20]]}), vec![0, 1]),
            (json!({"nonsense": ["x"]}), vec![0, 1, 2, 3, 4]),
            (
                json!({"type": ["image"], "image": ["busybox"], "event": ["tag"]}),
                vec![0],
            ),
            (json!({"type": ["builder"], "image": ["busybox"]}), vec![]),
        ] {
            assert_eq!(told(&filters), expected, "{filters}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["x", "[]", "%7B%22image%22:1%7D"] {
            let query = Query::parse(&format!("filters={text}")).unwrap();
            let refused = Wanted::of(&query, ApiVersion::v1(51)).unwrap_err();
            assert_eq!(refused.message(), "invalid filter", "{text}");
        }
    }

    fn keys() -> impl Strategy<Value = String> {
        const KNOWN: [&str; 8] = [
            "type",
            "event",
            "action",
            "scope",
            "image",
            "label",
            "container",
            "x",
        ];
        proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned)
    }

    fn values() -> impl Strategy<Value = String> {
        const TEXTS: [&str; 10] = [
            "image", "builder", "tag", "prune", "local", "busybox", "a", "a=b", "c", "b",
        ];
        prop_oneof![
            proptest::sample::select(&TEXTS[..]).prop_map(str::to_owned),
            "\\PC{0,8}",
            Just(id().to_string()),
        ]
    }

    proptest! {
        #[test]
        fn keys_are_joined_by_and_and_values_by_or(
            filters in proptest::collection::btree_map(keys(), proptest::collection::btree_set(values(), 0..4), 0..4)
        ) {
            let together = told(&json!(filters));
            let expected: Vec<usize> = (0..all().len())
                .filter(|at| filters.iter().all(|(key, values)| {
                    let mut alone = values.iter().map(|value| told(&json!({ key: [value] })).contains(at));
                    match key.as_str() {
                        "label" => alone.all(|told| told),
                        _ => values.is_empty() || alone.any(|told| told),
                    }
                }))
                .collect();
            prop_assert_eq!(&together, &expected);
            let as_map: BTreeMap<&String, BTreeMap<&String, bool>> = filters
                .iter()
                .map(|(key, values)| (key, values.iter().map(|value| (value, true)).collect()))
                .collect();
            prop_assert_eq!(&told(&json!(as_map)), &together);
        }

        #[test]
        fn an_image_is_found_by_every_name_of_its_own(name in "[a-z]{1,8}(/[a-z]{1,8}){0,2}", tag in "[a-z0-9]{1,8}") {
            let full: Reference = format!("{name}:{tag}").parse().unwrap();
            let tagged = happening(Action::Tag, Subject::Image(id()), &[("name", &full.familiar())]);
            let pulled = happening(Action::Pull, Subject::Name(full.clone()), &[("name", &full.repository.familiar())]);
            for text in [full.familiar(), full.repository.familiar()] {
                let wanted = wanted(&json!({ "image": [text] }).to_string(), 51);
                prop_assert!(wanted.message(&tagged).is_some() && wanted.message(&pulled).is_some());
            }
            let other = wanted(&json!({ "image": [format!("{}x", full.familiar())] }).to_string(), 51);
            prop_assert!(other.message(&tagged).is_none() && other.message(&pulled).is_none());
        }
    }
}
