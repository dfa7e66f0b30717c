//! Stages and builds that are on their way at the same time.

use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mica_builder::Options;
use mica_task::Event;

use crate::files::Files;
use crate::world::{World, options};

#[test]
fn stages_that_do_not_need_each_other_run_at_the_same_time() {
    let world = World::with_base(Files::new());
    let image = world.make(
        "FROM base AS a\nRUN [\"write a a\\nmeet 3\"]\nFROM base AS b\nRUN [\"write b b\\nmeet 3\"]\n\
         FROM base\nRUN [\"write c c\\nmeet 3\"]\nCOPY --from=a /a /\nCOPY --from=b /b /\n",
        &Files::new(),
    );
    assert_eq!(image.files(), ["/a \"a\"", "/b \"b\"", "/c \"c\""]);
    assert_eq!(world.ran.lock().unwrap().len(), 3);
}

#[test]
fn steps_have_the_numbers_of_their_lines() {
    let world = World::with_base(Files::new());
    let dockerfile = "ARG X=1\nFROM base AS a\nRUN [\"meet 2\"]\nFROM base AS unneeded\nRUN [\"no\"]\n\
                      FROM base\nRUN [\"meet 2\", \"meet 2\"]\nCOPY --from=a / /\n";
    world.make(dockerfile, &Files::new());
    let events = world.events.lock().unwrap();
    let mut positions: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Started {
                position: Some((number, 6)),
                name,
                ..
            } => Some((*number, name.clone())),
            Event::Started { .. } => panic!("{event:?}"),
            _ => None,
        })
        .collect();
    positions.sort();
    let names: Vec<_> = positions
        .iter()
        .map(|(_, name)| name.split('\n').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "ARG X=1",
            "FROM base AS a",
            "RUN [\"meet 2\"]",
            "FROM base",
            "RUN [\"meet 2\", \"meet 2\"]",
            "COPY --from=a / /"
        ]
    );
}

#[test]
fn a_step_that_fails_stops_the_others_and_is_the_one_that_is_told() {
    let world = World::with_base(Files::new());
    let problem = world.refuse(
        "FROM base AS a\nRUN [\"meet 3\\nhang\"]\nFROM base AS b\nRUN [\"meet 3\\nexit 3\"]\n\
         FROM base\nRUN [\"c\", \"meet 3\\nhang\"]\nCOPY --from=a / /\nCOPY --from=b / /\nRUN [\"never\"]\n",
        &Files::new(),
    );
    assert!(problem.contains("returned a non-zero code: 3"), "{problem}");
    assert_eq!(world.ran.lock().unwrap().len(), 3);
    assert!(!world.cancel.is_cancelled());
    let events = world.events.lock().unwrap();
    let failed = events
        .iter()
        .filter(|event| matches!(event, Event::Failed { .. }))
        .count();
    assert_eq!(failed, 3);
}

#[test]
fn a_step_of_two_builds_runs_once() {
    let mut world = World::with_base(Files::new());
    let both = Barrier::new(2);
    world.watch(move |event| {
        if matches!(event, Event::Planned { .. }) {
            both.wait();
        }
    });
    let dockerfile = "FROM base\nRUN [\"write a a\\nmeet 2\"]\nRUN [\"write b b\\nmeet 3\"]\n";
    let files = Files::new().file("Dockerfile", dockerfile);
    let meet = |options: &Options| {
        world.meeting.store(0, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let build = || world.build(options, &files).unwrap().image;
            let builds = [scope.spawn(build), scope.spawn(build)];
            while world.meeting.load(Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            // both have begun: this is long enough for the other to come to the step
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(world.meeting.fetch_add(1, Ordering::SeqCst), 1);
            let [one, other] = builds.map(|build| build.join().unwrap());
            assert_eq!(one, other);
        });
        assert_eq!(world.meeting.load(Ordering::SeqCst), 3);
    };
    meet(&options());
    // what the other build made meanwhile is fresh enough
    meet(&Options {
        no_cache: true,
        ..options()
    });
}

#[test]
fn only_the_stages_of_the_filter_are_built_again() {
    let world = World::with_base(Files::new());
    let dockerfile = "FROM base AS One\nRUN [\"write a a\"]\nFROM base AS two\nRUN [\"write b b\"]\n\
                      FROM base\nCOPY --from=one / /\nCOPY --from=two / /\n";
    world.make(dockerfile, &Files::new());
    let filter = Options {
        no_cache_filter: vec!["one".into()],
        ..options()
    };
    world.make_with(&filter, dockerfile, &Files::new());
    let ran: Vec<_> = world
        .ran
        .lock()
        .unwrap()
        .iter()
        .map(|process| process.argv[0].clone())
        .collect();
    assert_eq!(ran, ["write a a"]);
}
