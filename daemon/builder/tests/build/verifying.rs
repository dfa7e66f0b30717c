//! Building twice and comparing.

use std::sync::atomic::Ordering;

use mica_builder::{Error, Options};

use crate::files::Files;
use crate::world::{World, options};

fn verify() -> Options {
    Options {
        verify: true,
        ..options()
    }
}

#[test]
fn a_build_that_gives_the_same_twice_is_done_twice() {
    let world = World::with_base(Files::new());
    let dockerfile =
        "FROM base AS a\nRUN [\"write a a\"]\nFROM base\nCOPY f /d/\nWORKDIR /w\nCOPY --from=a /a /\n";
    let image = world.make_with(&verify(), dockerfile, &Files::new().file("f", "f"));
    assert_eq!(image.files(), ["/a \"a\"", "/d/", "/d/f \"f\"", "/w/"]);
    assert_eq!(world.ran.lock().unwrap().len(), 2);
}

#[test]
fn what_differs_is_named_and_no_image_is_left() {
    let world = World::with_base(Files::new());
    let dockerfile = "FROM base\nRUN [\"write same s\"]\nRUN [\"count d/n\\nwrite d/same s\"]\n";
    world.meeting.store(0, Ordering::SeqCst);
    let error = world
        .build(&verify(), &Files::new().file("Dockerfile", dockerfile))
        .unwrap_err();
    let Error::NotReproducible { step, differences } = &error else {
        panic!("{error}")
    };
    assert!(step.starts_with("RUN count d/n"), "{step}");
    assert_eq!(differences, "  /d/n: content\n");
    assert!(world.store.images().unwrap().is_empty());
}
