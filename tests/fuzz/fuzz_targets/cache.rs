//! Any bytes as the document of a build cache: what is read of it is written so that it is read the same.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mica_oci::media::OCI_LAYER_GZIP;
use mica_oci::{CacheConfig, CachedStep, Descriptor, Digest, Raw};

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = Raw::<CacheConfig>::parse(bytes) else {
        return;
    };
    // every digest that stands in it may be a blob that the manifest names
    let text = String::from_utf8_lossy(bytes);
    let digests = text
        .match_indices("sha256:")
        .filter_map(|(at, _)| text.get(at..at + 71));
    let blobs: Vec<Descriptor> = digests
        .filter_map(|digest| digest.parse::<Digest>().ok())
        .map(|digest| Descriptor::new(OCI_LAYER_GZIP, digest, 1))
        .collect();
    let Ok(steps) = document.steps(&blobs) else { return };
    let again = CacheConfig::of(&steps)
        .steps(&blobs)
        .expect("it is of our own making");
    assert_eq!(meant(&again), meant(&steps));
});

/// What each key leads to; of several the last counts.
fn meant(steps: &[CachedStep]) -> BTreeMap<String, String> {
    let pair = |step: &CachedStep| {
        let what = (
            step.layer,
            step.parent,
            step.content,
            step.created,
            &step.description,
        );
        (step.key.to_string(), format!("{what:?}"))
    };
    steps.iter().map(pair).collect()
}
