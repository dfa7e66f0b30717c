//! Memory does not grow with what passes through.

use std::io::{Seek, SeekFrom, Write};

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, Daemon};

const LIMIT_MIB: u64 = 100;
const GIB: u64 = 1 << 30;

/// A file of 1 GiB, not all of it holes.
fn big_file(context: &Context, name: &str) {
    let mut file = fs_err::File::create(context.path().join(name)).unwrap();
    let block: Vec<u8> = (0..1 << 20)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for _ in 0..64 {
        file.write_all(&block).unwrap();
    }
    file.seek(SeekFrom::Start(GIB - 1)).unwrap();
    file.write_all(b"x").unwrap();
}

#[test]
fn a_context_and_a_layer_of_a_gibibyte_stay_small() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nCOPY big /big\nRUN cp /big /copy && rm /big\n");
    big_file(&context, "big");
    daemon.mica(["build", "-t", "big", context.arg()]).ok();
    let built = daemon.peak_memory();
    let archive = daemon.folder().join("big.tar");
    daemon.mica(["save", "-o", archive.to_str().unwrap(), "big"]).ok();
    daemon.mica(["rmi", "big"]).ok();
    daemon.mica(["builder", "prune", "-af"]).ok();
    daemon.mica(["load", "-i", archive.to_str().unwrap()]).ok();
    let loaded = daemon.peak_memory();
    println!("peak memory: {built} MiB after build, {loaded} MiB after save and load");
    assert!(
        loaded < LIMIT_MIB,
        "{built} MiB after build, {loaded} MiB after save and load"
    );
}

#[test]
fn a_layer_of_a_gibibyte_travels_small() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let name = registry.name("big:1");
    let context = Context::new("FROM scratch\nCOPY big /big\n");
    big_file(&context, "big");
    daemon.mica(["build", "-q", "-t", &name, context.arg()]).ok();
    daemon.mica(["push", "-q", &name]).ok();
    let pushed = daemon.peak_memory();
    let empty = Daemon::start();
    empty.mica(["pull", "-q", &name]).ok();
    let pulled = empty.peak_memory();
    println!("peak memory: {pushed} MiB after push, {pulled} MiB after pull");
    assert!(
        pushed < LIMIT_MIB && pulled < LIMIT_MIB,
        "{pushed} MiB after push, {pulled} MiB after pull"
    );
}

/// More names than one layer may have: 80 000 of a hundred links, each 3.6 KiB long with the folders it is in, and its target as long.
const LINKS: &str = r"FROM base
RUN <<E
set -e
name=$(printf %0240d 0)
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do mkdir $name; cd $name; done
mkdir 0
for n in $(seq 100); do ln -s $PWD 0/$n; done
for n in $(seq 800); do cp -al 0 $n; done
E
";

#[test]
fn a_run_that_leaves_too_many_names_is_refused() {
    let daemon = Daemon::start();
    let context = Context::with_shell(LINKS);
    let built = daemon.mica(["build", context.arg()]);
    assert_ne!(built.code, 0);
    let parts = [
        "the names and attributes of all that one layer changes take more than 536870912 bytes",
        "split the step",
    ];
    for part in parts {
        assert!(built.stderr.contains(part), "{}", built.stderr);
    }
    let peak = daemon.peak_memory();
    println!("peak memory: {peak} MiB");
    assert!(peak < 1024, "{peak} MiB");
}
