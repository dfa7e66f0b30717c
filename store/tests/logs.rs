//! What builds told is kept, and does not grow without end.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};

use mica_oci::BuildId;
use mica_store::Store;
use support::fast_folder;

#[test]
fn the_last_logs_are_kept_and_outlive_the_store() {
    let folder = fast_folder();
    let store = Store::open(folder.path()).unwrap();
    assert!(store.logs().unwrap().is_empty());
    let builds: Vec<BuildId> = (0..205).map(|_| BuildId::fresh()).collect();
    for build in &builds {
        store.create_log(build).unwrap().write_all(b"told").unwrap();
    }
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let logs = store.logs().unwrap();
    assert_eq!(logs.len(), 200);
    assert!(
        logs.iter()
            .all(|log| log.size == 4 && builds.contains(&log.build))
    );
    assert!(store.log(&BuildId::fresh()).unwrap().is_none());
    let mut text = String::new();
    let mut file = store.log(&logs[0].build).unwrap().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "told");
    assert!(
        store.create_log(&logs[0].build).is_err(),
        "a log is never written over"
    );
}
