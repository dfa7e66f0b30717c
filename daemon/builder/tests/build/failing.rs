//! What a RUN that failed left can be entered.

use mica_oci::BuildId;

use crate::files::Files;
use crate::world::World;

fn fail(world: &World, number: usize) -> BuildId {
    let dockerfile = format!(
        "FROM base\nENV A=b\nWORKDIR /w\nUSER 7\nSHELL [\"/bin/bash\", \"-c\"]\nRUN [\"write left {number}\\nexit 3\"]\n"
    );
    world.refuse(&dockerfile, &Files::new());
    *world.build_id.lock().unwrap()
}

#[test]
fn the_process_finds_what_the_failed_one_left() {
    let world = World::with_base(Files::new());
    let build = fail(&world, 1);
    let step = world.workshop.failed_step(&build).unwrap();
    let entry = step.clone().enter().unwrap();
    assert!(step.enter().is_err(), "one at a time");
    let process = entry.process(&[]).unwrap();
    assert_eq!(process.argv, ["/bin/bash"]);
    assert_eq!((process.cwd.as_str(), process.user.as_str()), ("/w", "7"));
    assert!(process.env.contains(&"A=b".to_owned()));
    assert_eq!(fs_err::read_to_string(process.upper.join("left")).unwrap(), "1");
    drop(entry);

    let entry = world.workshop.failed_step(&build).unwrap().enter().unwrap();
    let again = entry.process(&["ls".into(), "-l".into()]).unwrap();
    assert_eq!(again.argv, ["ls", "-l"]);
    assert_eq!(again.upper, process.upper);
    assert_ne!(again.work, process.work, "an overlay needs a folder of its own");
    // whoever is in it keeps it
    world.workshop.forget_failed_steps();
    assert!(world.workshop.failed_step(&build).is_none());
    assert!(again.upper.is_dir());
}

#[test]
fn only_the_last_ones_are_kept_and_none_of_a_build_that_worked() {
    let world = World::with_base(Files::new());
    let builds: Vec<_> = (0..10).map(|number| fail(&world, number)).collect();
    let kept = builds
        .iter()
        .filter(|build| world.workshop.failed_step(build).is_some());
    assert_eq!(kept.count(), 8);
    assert!(world.workshop.failed_step(&builds[0]).is_none());
    world.make("FROM base\nRUN [\"write a a\"]\n", &Files::new());
    assert!(
        world
            .workshop
            .failed_step(&world.build_id.lock().unwrap())
            .is_none()
    );
}

#[test]
fn the_lines_that_failed_are_shown_among_others() {
    let world = World::with_base(Files::new());
    world.refuse("FROM base\n# why\nRUN <<E\nexit 3\nE\nENV A=b\n", &Files::new());
    let events = world.events.lock().unwrap();
    let excerpts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            mica_task::Event::Excerpt { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let [excerpt] = excerpts[..] else {
        panic!("{excerpts:?}")
    };
    assert!(excerpt.starts_with("Dockerfile:3\n---"), "{excerpt}");
    for line in [
        "   2 |     # why\n",
        "   3 | >>> RUN <<E\n",
        "   5 | >>> E\n",
        "   6 |     ENV A=b\n",
    ] {
        assert!(excerpt.contains(line), "no {line:?} in {excerpt}");
    }
}
