//! The inputs of the last steps are remembered, and no more than that.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use mica_oci::{CacheKey, Digest};
use mica_store::Store;
use support::fast_folder;

#[test]
fn the_last_steps_that_are_alike_are_remembered() {
    let folder = fast_folder();
    let store = Store::open(folder.path()).unwrap();
    let [one, other] = [b"RUN a", b"RUN b"].map(|text| Digest::of(text));
    let key = |n: u8| CacheKey(Digest::of(&[n]));
    for n in 0..20 {
        store.remember_inputs(&one, &key(n), &[n]).unwrap();
    }
    store.remember_inputs(&one, &key(15), b"again").unwrap();
    store.remember_inputs(&other, &key(0), &vec![0; 1 << 20]).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let found = store.inputs_alike(&one).unwrap();
    assert_eq!(found.len(), 8);
    assert_eq!(found[0], (key(15), b"again".to_vec()));
    assert_eq!(found[1], (key(19), vec![19]));
    assert!(
        store.inputs_alike(&other).unwrap().is_empty(),
        "too long to be remembered"
    );
}
