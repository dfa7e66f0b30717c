//! A process that is killed at any point of a repair, or whose machine is restarted then, leaves a store in which nothing is worse
//! than it was, and which the next repair mends. The kill is real: the test starts itself as a child that aborts at a named point.
//! A program of its own: a child that was just forked holds the locks of all stores that other tests have open.
#![cfg(debug_assertions)]
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mica_oci::{Compression, DiffId, Digest};
use mica_store::{FAILPOINTS, GivenUp, Growth, Level, Mending, Store};
use support::checks::{blob_in, check, flip, tree_in};
use support::{Entry, config, fast_folder, gzip, name, noise, pull, tar, tree};

const ROOT: &str = "MICA_REPAIR_ROOT";

/// The child: mends all that is found. Does nothing unless it was started by the test below.
#[test]
fn child() {
    if let Ok(root) = std::env::var(ROOT) {
        let store = Store::open(Path::new(&root)).unwrap();
        repair(&store);
        assert!(store.wait_for_room(Duration::from_secs(60)));
    }
}

/// Mends what is found; what nobody has must be something that can be done without.
fn repair(store: &Store) {
    let go_on = || Ok(());
    for finding in check(store, Level::Trees) {
        match store.mend(&finding, &go_on).unwrap() {
            Mending::Done(_) => {}
            Mending::Left(reason) => panic!("{finding}: {reason}"),
            Mending::Fetch(_) => {
                let given_up = store.give_up(&finding, &go_on).unwrap();
                assert!(matches!(given_up, GivenUp::Done(_)), "{finding}");
            }
        }
    }
}

/// A store in which one form of each kind is damaged; gives the layers of which only something else is durable.
fn damaged(root: &Path) -> [DiffId; 2] {
    let store = Store::open(root).unwrap();
    let lease = store.lease();
    let mut images = Vec::new();
    let mut layers = Vec::new();
    // four times pulled and in all three forms, of which another one is damaged each time
    for kind in ["tar", "tree", "blob", "sound"] {
        let plain = tar(&[Entry::File(kind, kind.as_bytes())]);
        let diff_id = DiffId(Digest::of(&plain));
        let zipped = gzip(&plain);
        let image = pull(&store, &lease, kind, diff_id, &zipped);
        store.tree(&lease, &diff_id).unwrap();
        store.tar(&lease, &diff_id).unwrap();
        layers.push((diff_id, Digest::of(&zipped)));
        images.push(image);
    }
    // made here: its tree is durable, its tar is not
    let made = tree(&store, &lease, "made here");
    let built = config("built", &[made]);
    let built = store.commit_image(&lease, &built, None, &[name("built")]);
    let built = built.unwrap().image;
    store.tar(&lease, &made).unwrap();
    // and another one, of which the compressed blob is damaged that was made here
    let noisy = support::layer(&store, &lease, &noise(1, 9000));
    let sent = config("sent", &[noisy]);
    store.commit_image(&lease, &sent, None, &[name("sent")]).unwrap();
    let growth = Growth::new();
    let compressed = store.compress_layer(&lease, &noisy, Compression::Gzip, 1, &growth);
    let compressed = compressed.unwrap().digest;
    drop((lease, store));
    let blob = |digest: &Digest| blob_in(root, digest);
    let of_tree = |diff_id: &DiffId, file: &str| tree_in(root, diff_id).join("fs").join(file);
    flip(&blob(layers[0].0.digest()));
    flip(&of_tree(&layers[1].0, "tree"));
    flip(&blob(&layers[2].1));
    flip(&of_tree(&made, "file"));
    flip(&blob(&compressed));
    flip(&blob(&built.manifest.digest));
    // its length tells at once
    std::fs::write(blob(&images[3].manifest.digest), "{}").unwrap();
    std::fs::write(blob(&Digest::of(b"stray")), "stray").unwrap();
    [layers[2].0, made]
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Whether a layer is still there only because the machine was not restarted: its durable form is damaged, and its tar not durable
/// yet.
fn hangs_on_what_is_loose(root: &Path, layers: &[DiffId]) -> bool {
    let database = rusqlite::Connection::open(root.join("mica/db.sqlite")).unwrap();
    let loose = "SELECT 1 FROM layers WHERE tar = 1 AND diff_id = ?1";
    let mut query = database.prepare(loose).unwrap();
    layers
        .iter()
        .any(|layer| query.exists([layer.digest().as_raw()]).unwrap())
}

#[test]
fn a_kill_at_any_point_of_a_repair_makes_nothing_worse() {
    let folder = fast_folder();
    let original = folder.path().join("original");
    let loose = damaged(&original);
    let found: Vec<Option<Digest>> = {
        let root = folder.path().join("looked-at");
        copy(&original, &root);
        let found = check(&Store::open(&root).unwrap(), Level::Trees);
        found.iter().map(|finding| finding.thing.digest()).collect()
    };
    // an open sweeps the stray away
    assert_eq!(found.len(), 7, "{found:?}");
    let mut kills = 0;
    for point in FAILPOINTS {
        for count in 1.. {
            let root = folder.path().join(format!("{point}-{count}"));
            copy(&original, &root);
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--nocapture"])
                .env(ROOT, &root)
                .env("MICA_FAILPOINT", format!("{point}:{count}"))
                .stdout(Stdio::null())
                .output()
                .unwrap();
            let was_killed = !output.status.success();
            let text = String::from_utf8_lossy(&output.stderr);
            let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
            assert!(!was_killed || signal == Some(6), "{point}:{count}: {text}");
            let store = match count % 2 == 0 || hangs_on_what_is_loose(&root, &loose) {
                true => Store::open(&root).unwrap(),
                false => support::restart(&root),
            };
            for finding in check(&store, Level::Trees) {
                // a manifest that was replaced may still be one that its image came with
                let digest = finding.thing.digest();
                assert!(found.contains(&digest), "{point}:{count}: {finding}");
            }
            repair(&store);
            assert_eq!(check(&store, Level::Trees), [], "{point}:{count}");
            assert_eq!(store.images().unwrap().len(), 6, "{point}:{count}");
            drop(store);
            std::fs::remove_dir_all(&root).unwrap();
            if !was_killed {
                break;
            }
            kills += 1;
        }
    }
    println!("{kills} kills");
    assert!(kills > 30, "{kills}");
}
