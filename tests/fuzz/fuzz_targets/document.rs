//! Any bytes as what a registry sends: manifest, index and image config are what they say and nothing else, and are kept to the byte.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use mica_oci::document::Document;
use mica_oci::{Digest, ImageConfig, Index, Manifest, Platform, Raw, Received};
use serde::Serialize;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    same::<Manifest>(bytes);
    same::<Index>(bytes);
    same::<ImageConfig>(bytes);
    let types = Received::ACCEPTED
        .into_iter()
        .map(Some)
        .chain([None, Some("text/plain")]);
    let read: Vec<(Option<&str>, Received)> = types
        .filter_map(|kind| Some((kind, Received::read(bytes, kind).ok()?)))
        .collect();
    for (kind, received) in &read {
        is_one_thing(bytes, received);
        let told = kind.filter(|kind| kind.contains("vnd."));
        let own = received.media_type();
        assert!(told.is_none_or(|told| own.as_str() == told || names_no_type(received)));
    }
    // whatever a server calls it, it is never both
    let lists = read
        .iter()
        .filter(|(_, received)| matches!(received, Received::Index(_)))
        .count();
    assert!(
        lists == 0 || lists == read.len(),
        "an image to one, a list to another"
    );
});

fn names_no_type(received: &Received) -> bool {
    match received {
        Received::Manifest(manifest) => manifest.media_type.is_none(),
        Received::Index(index) => index.media_type.is_none(),
    }
}

/// A manifest has no list, and a list no layers (CVE-2021-41190).
fn is_one_thing(bytes: &[u8], received: &Received) {
    // texts that are passed over may be none
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let has = |key: &str| value.get(key).is_some_and(|value| !value.is_null());
    match received {
        Received::Manifest(manifest) => {
            assert!(!has("manifests"));
            assert_eq!(manifest.bytes(), bytes);
            assert_eq!(manifest.digest(), Digest::of(bytes));
        }
        Received::Index(index) => {
            assert!(!has("layers") && !has("config"));
            assert_eq!(index.bytes(), bytes);
            for text in ["linux/amd64", "linux/arm/v7", "linux/arm64/v8"] {
                let platform: Platform = text.parse().expect("a platform");
                if let Some(chosen) = platform.choose(&index.manifests) {
                    assert!(index.manifests.iter().any(|own| own.digest == chosen.digest));
                }
            }
        }
    }
}

/// What is read of a document is written so that it is read the same.
fn same<T: Document + Serialize + Debug>(bytes: &[u8]) {
    let Ok(document) = Raw::<T>::parse(bytes) else {
        return;
    };
    assert_eq!(document.bytes(), bytes);
    assert_eq!(document.digest(), Digest::of(bytes));
    let written = serde_json::to_vec(document.value()).expect("it is JSON");
    let again = Raw::<T>::parse(&written).expect("it was written here");
    let once = serde_json::to_value(document.value()).expect("it is JSON");
    let twice = serde_json::to_value(again.value()).expect("it is JSON");
    // numbers with a fraction are read to the nearest
    assert!(once == twice || has_fraction(&once));
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(values) => values.values().any(has_fraction),
        value => value.is_f64(),
    }
}
