//! A stack shows what Linux shows when it mounts the same trees as an overlay. Needs the right to mount.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod hand_made;
mod mounted;

use hand_made::{Chance, dir_view, listing, tar_view, unpack};
use mica_layer::Stack;
use mounted::Overlay;

#[test]
fn a_stack_is_what_an_overlay_of_its_trees_is() {
    let scratch = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let mut trees = Vec::new();
        let mut tars = Vec::new();
        let wanted = 1 + chance.below(5);
        for at in 0.. {
            if trees.len() == wanted {
                break;
            }
            let tar = chance.layer(10).end();
            let place = scratch.path().join(format!("{seed}-{at}"));
            if unpack(&tar, &place).is_ok() {
                tars.push(tar_view(&tar, &place.with_extension("tar")).unwrap());
                trees.push(place);
            }
        }
        let overlay = match Overlay::mount(&trees, scratch.path(), &format!("{seed}")) {
            Ok(overlay) => overlay,
            Err(rustix::io::Errno::PERM) => {
                eprintln!("skipped: no right to mount");
                return;
            }
            Err(error) => panic!("seed {seed}: cannot mount: {error}"),
        };
        let mounted = listing(&Stack::new(vec![dir_view(overlay.root())]));
        let trees: Vec<_> = trees.iter().map(|place| dir_view(place)).collect();
        assert_eq!(listing(&Stack::new(trees)), mounted, "seed {seed}: trees");
        assert_eq!(listing(&Stack::new(tars)), mounted, "seed {seed}: tars");
        compared += 1;
    }
    assert_eq!(compared, 60);
}
