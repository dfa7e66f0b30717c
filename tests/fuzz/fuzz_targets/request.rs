//! Any text as query, filters, credentials and bodies of the API: what is read is bounded and is read the same when written again.
#![no_main]
#![allow(dead_code, reason = "the daemon has more in these files than is tried here")]

#[path = "../../../daemon/src/routes"]
mod routes {
    pub(crate) mod build_query;
}
#[path = "../../../daemon/src/wire"]
mod wire {
    pub(crate) mod credential;
    pub(crate) mod filter;
    pub(crate) mod platform;
    pub(crate) mod query;
    pub(crate) mod reply;
    pub(crate) mod time;
    pub(crate) mod version;

    /// How a build is told, which is not looked into here.
    pub(crate) mod stream {
        pub(crate) struct Style {
            pub(crate) quiet: bool,
            pub(crate) remove: bool,
            pub(crate) force_remove: bool,
        }
    }
}

/// A right that is missing, which nothing here asks for.
mod rights {
    pub(crate) struct Denied(pub(crate) String);
}

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::filter::Filters;
use crate::wire::query::Query;

fuzz_target!(|text: &str| {
    if let Ok(query) = Query::parse(text) {
        build(&query);
    }
    filters(text);
    bodies(text);
    let now = jiff::Timestamp::UNIX_EPOCH;
    if let Some(time) = wire::time::read(text, now) {
        let again = wire::time::read(&time.to_string(), now);
        assert_eq!(again, Some(time));
    }
});

/// The same text with everything in it escaped.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn build(query: &Query) {
    if let Ok(request) = routes::build_query::request(query) {
        assert!(request.platforms.len() <= routes::build_query::MOST_PLATFORMS);
        assert!(
            request
                .tags
                .iter()
                .all(|tag| tag.digest.is_none() && tag.tag.is_some())
        );
        for (at, tag) in request.tags.iter().enumerate() {
            assert!(!request.tags[..at].contains(tag), "each name once");
        }
        assert!(
            !request.insecure_allowed && request.cache_to.is_empty(),
            "no query may ask for these"
        );
    }
    let _ = routes::build_query::output(query);
    let _ = routes::build_query::builder(query);
}

fn filters(text: &str) {
    const KEYS: [&str; 6] = ["label", "until", "dangling", "reference", "before", "type"];
    let read = |text: &str| {
        Filters::of(
            &Query::parse(&format!("filters={}", escaped(text))).expect("it is escaped"),
            &KEYS,
        )
    };
    let Ok(filters) = read(text) else { return };
    let lists: std::collections::BTreeMap<&str, &[String]> = KEYS
        .into_iter()
        .map(|key| (key, filters.values(key)))
        .filter(|(_, values)| !values.is_empty())
        .collect();
    let written = serde_json::to_string(&lists).expect("it is JSON");
    let again = read(&written).expect("it was written here");
    for key in KEYS {
        assert_eq!(again.values(key), filters.values(key));
        let _ = (filters.truth(key), filters.time(key, jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(filters.labels(key).len(), filters.values(key).len());
    }
}

fn bodies(text: &str) {
    same::<mica_api::BuildInput>(text);
    same::<mica_api::Message>(text);
    same::<mica_api::EventMessage>(text);
    same::<mica_api::ImageSummary>(text);
    same::<mica_api::Status>(text);
    same::<mica_api::DiskUsage>(text);
    if let Ok(auth) = serde_json::from_str::<mica_api::AuthConfig>(text) {
        // of two passwords nobody can tell which it is
        let other = mica_api::AuthConfig {
            password: format!("{}x", auth.password),
            ..auth.clone()
        };
        let shown = |auth: &mica_api::AuthConfig| format!("{auth:?} {:?}", wire::credential::credential(auth.clone()));
        assert!(auth.password.is_empty() || shown(&auth) == shown(&other));
    }
    let mut headers = hyper::HeaderMap::new();
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::URL_SAFE.encode(text);
    for name in ["x-registry-auth", "x-registry-config"] {
        headers.insert(name, coded.parse().expect("base64 is a header"));
    }
    let _ = (wire::credential::of(&headers), wire::credential::all(&headers));
}

/// What is read is written so that it is read the same.
fn same<T: DeserializeOwned + Serialize>(text: &str) {
    let Ok(value) = serde_json::from_str::<T>(text) else {
        return;
    };
    let written = serde_json::to_value(&value).expect("it is JSON");
    let again: T = serde_json::from_value(written.clone()).expect("it was written here");
    assert_eq!(serde_json::to_value(&again).expect("it is JSON"), written);
}
