//! An unpacked layer and the same layer read out of its tar are one and the same.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod hand_made;

use hand_made::{Chance, dir_view, listing, tar_view, unpack};
use mica_layer::Stack;

#[test]
fn a_random_tar_unpacks_to_the_tree_its_index_shows() {
    let scratch = tempfile::tempdir().unwrap();
    let mut sound = 0;
    for seed in 0..300 {
        let mut chance = Chance::new(seed);
        let entries = 1 + chance.below(14);
        let tar = chance.layer(entries).end();
        let place = scratch.path().join(format!("{seed}"));
        let unpacked = unpack(&tar, &place);
        let indexed = tar_view(&tar, &scratch.path().join(format!("{seed}.tar")));
        let view = match (unpacked, indexed) {
            (Ok(applied), Ok(view)) => {
                assert_eq!(applied.size, tar.len() as u64);
                assert_eq!(*applied.diff_id.digest(), mica_oci::Digest::of(&tar));
                view
            }
            (Err(_), Err(_)) => continue,
            (Err(error), Ok(_)) => panic!("seed {seed}: only unpacking fails: {error}"),
            (Ok(_), Err(error)) => panic!("seed {seed}: only indexing fails: {error}"),
        };
        sound += 1;
        let below = chance.layer(8);
        let below_place = scratch.path().join(format!("{seed}-below"));
        let below = unpack(&below.end(), &below_place)
            .map(|_| dir_view(&below_place))
            .into_iter();
        let below: Vec<_> = below.collect();
        let stack = |top| Stack::new(below.iter().cloned().chain([top]).collect());
        assert_eq!(
            listing(&stack(dir_view(&place))),
            listing(&stack(view)),
            "seed {seed}"
        );
    }
    assert!(sound > 75, "only {sound} tars were sound");
}
