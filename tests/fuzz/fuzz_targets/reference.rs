//! Any text as an image reference: what parses is displayed, and written as people write it, so that it parses to the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mica_oci::{Reference, Repository};

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else {
        // a name that is no reference is no repository either
        assert!(text.parse::<Repository>().is_err(), "{text:?}");
        return;
    };
    check(&reference);
    let named = reference.clone().or_latest();
    assert!(named.tag.is_some() || named.digest.is_some());
    check(&named);
    let repository = reference.repository.to_string().parse::<Repository>();
    assert_eq!(repository.as_ref(), Ok(&reference.repository));
});

fn check(reference: &Reference) {
    let canonical = reference.to_string();
    assert_eq!(
        canonical.parse::<Reference>().as_ref(),
        Ok(reference),
        "{canonical:?}"
    );
    let familiar = reference.familiar();
    assert_eq!(
        familiar.parse::<Reference>().as_ref(),
        Ok(reference),
        "{familiar:?}"
    );
    assert!(familiar.len() <= canonical.len());
}
