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
    assert!(alike(&once, &twice), "{once} {twice}");
}

/// Whether both are the same, numbers with a fraction to the last digits: they are read to one of the two nearest.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| alike(value, other)))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (
                one.as_f64().expect("it is one"),
                other.as_f64().expect("it is one"),
            );
            (one - other).abs() <= one.abs().max(f64::MIN_POSITIVE) * 4.0 * f64::EPSILON
        }
        (one, other) => one == other,
    }
}
