//! Caches that lie elsewhere.

use mica_builder::Options;
use mica_builder::ports::KnownStep;
use mica_task::Event;

use crate::files::Files;
use crate::world::{World, options};

const DOCKERFILE: &str = "FROM base AS work\nCOPY f /f\nRUN [\"write a a\"]\nFROM base\nRUN [\"write b b\"]\n\
                          COPY --from=work /a /z\nRUN [\"write c c\"]\n";

fn files() -> Files {
    Files::new().file("f", "f")
}

fn from(names: &[&str]) -> Options {
    Options {
        cache_from: names.iter().map(|name| (*name).to_owned()).collect(),
        ..options()
    }
}

/// A world that has built, and another that knows of that as the cache `far`.
fn worlds() -> (World, World) {
    let [first, second] = [(), ()].map(|()| World::with_base(Files::new()));
    first.make(DOCKERFILE, &files());
    tell(&first, &second, |_| true);
    (first, second)
}

fn tell(first: &World, second: &World, wanted: impl Fn(bool) -> bool) {
    let made = first.elsewhere.made.lock().unwrap();
    let steps = made.iter().filter(|step| wanted(step.in_image)).flat_map(|step| {
        let known = |key| KnownStep {
            key,
            record: step.record.clone(),
        };
        step.keys.iter().copied().map(known).collect::<Vec<_>>()
    });
    second
        .elsewhere
        .known
        .lock()
        .unwrap()
        .insert("far".into(), steps.collect());
    *second.elsewhere.layers.lock().unwrap() = Some(first.store.clone());
}

fn notes(world: &World) -> Vec<String> {
    let events = world.events.lock().unwrap();
    let notes = events.iter().filter_map(|event| match event {
        Event::Note { step: None, text } => Some(text.clone()),
        _ => None,
    });
    notes.collect()
}

#[test]
fn nothing_is_done_and_only_the_image_s_layers_come() {
    let (first, second) = worlds();
    let made = first.elsewhere.made.lock().unwrap().clone();
    let in_image: Vec<bool> = made.iter().map(|step| step.in_image).collect();
    assert_eq!(in_image.iter().filter(|is| **is).count(), 3, "{made:?}");
    assert_eq!(made.len(), 5);
    let image = second.make_with(&from(&["far"]), DOCKERFILE, &files());
    assert!(second.ran.lock().unwrap().is_empty());
    let mut brought = second.elsewhere.brought.lock().unwrap().clone();
    let mut own = image.layers[1..].to_vec();
    brought.sort();
    own.sort();
    assert_eq!(
        brought, own,
        "the layers of the stage that is only copied from stay away"
    );
    // and from now on it is known here
    let again = second.make(DOCKERFILE, &files());
    assert_eq!(again.layers, image.layers);
    assert_eq!(
        second.commands(),
        ["write a a"],
        "what never came is done once it is asked for"
    );
}

#[test]
fn what_a_step_works_on_is_brought() {
    let (_first, second) = worlds();
    let more = format!("{DOCKERFILE}RUN [\"write d d\"]\n");
    second.make_with(&from(&["far"]), &more, &files());
    assert_eq!(second.commands(), ["write d d"]);
    assert_eq!(second.ran.lock().unwrap()[0].lowers.len(), 4);
}

#[test]
fn an_intermediate_stage_that_changed_is_built_on_what_is_known() {
    let (_first, second) = worlds();
    let other = DOCKERFILE.replace("write a a", "write a other");
    second.make_with(&from(&["far"]), &other, &files());
    assert_eq!(second.commands(), ["write a other", "write c c"]);
}

#[test]
fn a_cache_of_the_image_s_steps_knows_no_other() {
    let (first, second) = worlds();
    tell(&first, &second, |in_image| in_image);
    second.make_with(&from(&["far"]), DOCKERFILE, &files());
    assert_eq!(second.commands(), ["write a a"]);
}

#[test]
fn a_broken_promise_costs_time_and_not_the_build() {
    for breaks in 0..3 {
        let (_first, second) = worlds();
        let image = {
            let (_, third) = worlds();
            third.make_with(&from(&["far"]), DOCKERFILE, &files()).layers
        };
        // the same everywhere: what was written is
        let missing = second.elsewhere.known.lock().unwrap()["far"]
            .iter()
            .map(|step| step.record.layer)
            .collect::<Vec<_>>();
        *second.elsewhere.missing.lock().unwrap() = missing;
        let more = match breaks {
            0 => DOCKERFILE.to_owned(),
            1 => format!("{DOCKERFILE}RUN [\"write d d\"]\n"),
            _ => format!("{DOCKERFILE}COPY --from=work /f /g\n"),
        };
        let built = second.make_with(&from(&["far"]), &more, &files());
        assert!(built.layers.len() >= image.len());
        assert!(second.elsewhere.brought.lock().unwrap().is_empty());
        let commands = second.commands();
        assert!(commands.len() >= 3 && commands.len() <= 4, "{commands:?}");
        let notes = notes(&second);
        let left: Vec<&String> = notes
            .iter()
            .filter(|note| note.contains("is left aside: no "))
            .collect();
        assert_eq!(left.len(), 1, "{notes:?}");
    }
}

#[test]
fn a_cache_that_knows_nothing_is_told_of() {
    let (_first, second) = worlds();
    second
        .elsewhere
        .known
        .lock()
        .unwrap()
        .insert("empty".into(), Vec::new());
    second.make_with(&from(&["empty", "nowhere", "far"]), DOCKERFILE, &files());
    assert!(second.ran.lock().unwrap().is_empty());
    let notes = notes(&second);
    for part in [
        "the cache empty knows no steps",
        "no cache from nowhere",
        "far knows ",
    ] {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    }
}
