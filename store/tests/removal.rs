//! Removing many images at once.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use mica_store::{Doomed, Fate};
use support::{Entry, blob_files, config, layer, name, store, tar};

/// More than go at once.
const MANY: usize = 70;

#[test]
fn of_many_images_those_go_that_are_called_what_they_were() {
    let (folder, store) = store();
    let lease = store.lease();
    let shared = layer(&store, &lease, &tar(&[Entry::File("shared", b"x")]));
    let mut doomed = Vec::new();
    for at in 0..MANY {
        let own = layer(
            &store,
            &lease,
            &tar(&[Entry::File("own", at.to_string().as_bytes())]),
        );
        let config = config(&at.to_string(), &[shared, own]);
        let named = name(&format!("image{at}"));
        let image = store
            .commit_image(&lease, &config, None, std::slice::from_ref(&named))
            .unwrap()
            .image;
        doomed.push(Doomed {
            image: image.id,
            names: vec![named],
        });
    }
    drop(lease);
    // one is called something else by now, one was called nothing when it was chosen, and one is a parent
    store.tag(&name("new"), &doomed[3].image).unwrap();
    doomed[5].names.clear();
    store
        .set_parent(&doomed[9].image, Some(&doomed[7].image))
        .unwrap();
    store.tag(&name("child"), &doomed[9].image).unwrap();
    let mut fates: Vec<Fate> = Vec::new();
    store
        .remove_images(&doomed, &mut |fate| fates.push(fate))
        .unwrap();
    let left: Vec<_> = store.images().unwrap().iter().map(|image| image.id).collect();
    let mut expected = [3, 5, 7, 9].map(|at: usize| doomed[at].image);
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(fates.len(), MANY - 1);
    for fate in &fates {
        let at = doomed.iter().position(|one| one.image == fate.image).unwrap();
        assert_eq!(fate.untagged, [name(&format!("image{at}"))], "{at}");
        assert_eq!(fate.removed.len(), usize::from(!expected.contains(&fate.image)));
        for (_, removed) in &fate.removed {
            assert_eq!(removed.chains.len(), 1, "the layer below is another's too");
        }
    }
    // the rest, and with the child its parent, which nothing is called any more
    let names = |at: usize, text: &str| Doomed {
        image: doomed[at].image,
        names: vec![name(text)],
    };
    let rest = [names(3, "new"), names(5, "image5"), names(9, "child")];
    let mut removed = Vec::new();
    store
        .remove_images(&rest, &mut |fate| removed.extend(fate.removed))
        .unwrap();
    assert!(store.images().unwrap().is_empty());
    let (last, freed) = removed.last().unwrap();
    assert_eq!((*last, freed.chains.len()), (doomed[7].image, 2));
    drop(store);
    assert!(blob_files(folder.path()).is_empty());
}
