//! Why a step is done that was done before, and what trouble with the cache costs.

use mica_builder::Options;
use mica_task::Event;

use crate::files::Files;
use crate::world::{World, options};

fn explained(world: &World) -> Vec<String> {
    let events = world.events.lock().unwrap();
    let notes = events.iter().filter_map(|event| match event {
        Event::Note { text, .. } => Some(text.clone()),
        _ => None,
    });
    notes.collect()
}

fn explain(args: &[(&str, &str)]) -> Options {
    Options {
        explain: true,
        ..crate::world::args(args)
    }
}

const DOCKERFILE: &str = "FROM base\nARG A=1\nCOPY src etc /d/\nRUN [\"write a a\"]\nRUN [\"write b b\"]\n";

fn sources() -> Files {
    Files::new()
        .file("src/one", "1")
        .file("src/two", "2")
        .file("etc/x", "x")
}

#[test]
fn each_step_names_the_input_that_changed() {
    let world = World::with_base(Files::new());
    world.make_with(&explain(&[]), DOCKERFILE, &sources());
    let new = "runs because no such instruction was done before";
    assert_eq!(explained(&world), [new, new, new]);
    world.make_with(&explain(&[]), DOCKERFILE, &sources());
    assert_eq!(explained(&world), [""; 0]);

    world.make_with(&explain(&[("A", "2")]), DOCKERFILE, &sources());
    let notes = explained(&world);
    assert_eq!(notes[0], "runs because of environment: A=1 is now A=2");
    assert_eq!(
        notes.len(),
        2,
        "the step with an argument too, as all its layers are the same: {notes:?}"
    );

    world.make_with(&explain(&[]), DOCKERFILE, &sources().file("src/two", "other"));
    let notes = explained(&world);
    assert!(
        notes[0].starts_with("runs because of content of src: "),
        "{notes:?}"
    );
    assert!(
        notes[1].starts_with("runs because of the layers below: "),
        "{notes:?}"
    );

    let fresh = Options {
        no_cache: true,
        ..explain(&[])
    };
    world.make_with(&fresh, DOCKERFILE, &sources());
    assert!(
        explained(&world)
            .iter()
            .all(|note| note == "runs because it is not to be taken from the cache")
    );
}

#[test]
fn records_that_cannot_be_read_cost_time_and_no_build() {
    let world = World::with_base(Files::new());
    let first = world.make(DOCKERFILE, &sources());
    let folder = world.folder.path().join("mica/db.sqlite");
    let database = rusqlite::Connection::open(folder).unwrap();
    database
        .execute_batch(
            "UPDATE cache SET layer = x'00', created = 'never'; UPDATE step_inputs SET inputs = x'ff'",
        )
        .unwrap();
    let again = world.make_with(&explain(&[]), DOCKERFILE, &sources());
    assert_eq!(first.files(), again.files());
    let notes = explained(&world);
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("the cache record of this step cannot be read")),
        "{notes:?}"
    );
    world.make_with(&options(), DOCKERFILE, &sources());
    assert!(
        world.steps().iter().all(|(_, cached)| *cached),
        "they were written anew: {:?}",
        world.steps()
    );
}
