//! Loading and saving take little memory, however large the layers are. A process of its own, so that nothing else counts.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Cursor, Read};

use mica_oci::DiffId;
use mica_store::archive::{load, save};
use support::{Entry, config, store, tar};

#[test]
fn loading_a_large_layer_takes_little_memory() {
    const SIZE: u64 = 300 << 20;
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }
    let mut hasher = mica_oci::Hasher::new();
    let chunk = vec![7; 1 << 20];
    let inner = support::header("big", b'0', "", SIZE);
    hasher.update(&inner);
    (0..SIZE >> 20).for_each(|_| hasher.update(&chunk));
    hasher.update(&[0; 1024]);
    let config = config("big", &[DiffId(hasher.finish())]);
    let list = br#"[{"Config":"c","RepoTags":["big:1"],"Layers":["l"]}]"#;
    let mut head = support::header("l", b'0', "", 512 + SIZE + 1024);
    head.extend(inner);
    let mut rest = vec![0; 1024];
    rest.extend(tar(&[
        Entry::File("c", config.bytes()),
        Entry::File("manifest.json", list),
    ]));
    let input = Cursor::new(head)
        .chain(std::io::repeat(7).take(SIZE))
        .chain(Cursor::new(rest));

    let (_folder, store) = store();
    let before = peak();
    let start = std::time::Instant::now();
    let loaded = load(&store, &store.lease(), Box::new(input), &mut |_| {}).unwrap();
    println!(
        "300 MiB loaded in {:?}, {} KiB more memory",
        start.elapsed(),
        (peak() - before) >> 10
    );
    let image = store.image(&loaded[0].image).unwrap().unwrap();
    save(&store, &store.lease(), &[(image, vec![])], &mut std::io::sink()).unwrap();
    assert!(peak() - before < 60 << 20);
}
