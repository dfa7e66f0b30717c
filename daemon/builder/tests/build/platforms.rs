//! Builds for several platforms at once.

use std::collections::BTreeSet;
use std::io::Cursor;

use mica_builder::{Input, Options, Source};
use mica_oci::{ImageConfig, Platform};
use mica_task::{Event, StagePlatform};

use crate::files::Files;
use crate::world::{World, options, told};

fn platforms(list: &[&str]) -> Options {
    Options {
        platforms: list.iter().map(|text| text.parse().unwrap()).collect(),
        ..options()
    }
}

/// A world with a base for each of these platforms.
fn world(list: &[&str]) -> World {
    let world = World::new();
    for text in list {
        let platform: Platform = text.parse().unwrap();
        let config = ImageConfig {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        world.image(
            &format!("base {platform}"),
            &Files::new().file("arch", text),
            config,
        );
    }
    world
}

fn file(text: &str) -> Files {
    Files::new().file("Dockerfile", text)
}

fn host() -> String {
    Platform::host().to_string()
}

#[test]
fn a_stage_for_this_machine_is_carried_out_once_and_the_rest_for_each() {
    let host = host();
    let all = [host.as_str(), "linux/s390x", "linux/arm/v7"];
    let world = world(&all);
    let built = world
        .build(
            &platforms(&all),
            &file(
                "FROM --platform=$BUILDPLATFORM base AS tools\nRUN count /made\nFROM tools AS cross\nARG TARGETPLATFORM\n\
                 RUN write /$TARGETPLATFORM x\nFROM base\nCOPY --from=cross / /\n",
            ),
        )
        .unwrap();
    let ran: Vec<_> = world
        .ran
        .lock()
        .unwrap()
        .iter()
        .map(|p| p.argv.last().unwrap().clone())
        .collect();
    assert_eq!(
        ran.iter().filter(|text| text.starts_with("count")).count(),
        1,
        "{ran:?}"
    );
    assert_eq!(
        ran.iter().filter(|text| text.starts_with("write")).count(),
        3,
        "{ran:?}"
    );
    let of: Vec<String> = built
        .images
        .iter()
        .map(|image| image.platform.to_string())
        .collect();
    assert_eq!(of, all);
    assert_eq!(built.image, built.images[0].image);
    for image in &built.images {
        let config = world.store.image(&image.image).unwrap().unwrap().config;
        assert_eq!(
            (&config.os, &config.architecture, &config.variant),
            (
                &image.platform.os,
                &image.platform.architecture,
                &image.platform.variant
            )
        );
    }
    // every base was looked up once
    let mut looked_up = world.looked_up.lock().unwrap().clone();
    looked_up.sort();
    let mut expected: Vec<String> = all.iter().map(|text| format!("base {text}")).collect();
    expected.sort();
    assert_eq!(looked_up, expected);
}

#[test]
fn steps_have_numbers_of_their_own_and_say_what_they_are_for() {
    let host = host();
    let world = world(&[&host, "linux/s390x"]);
    let text = "ARG a\nFROM --platform=$BUILDPLATFORM base AS tools\nCOPY f /f\nFROM base\nCOPY --from=tools /f /g\n";
    world
        .build(&platforms(&[&host, "linux/s390x"]), &file(text).file("f", "x"))
        .unwrap();
    let events = world.events.lock().unwrap();
    let mut numbers = BTreeSet::new();
    let mut targets = BTreeSet::new();
    let mut plans = 0;
    for event in events.iter() {
        match event {
            Event::Planned { steps } => {
                plans += 1;
                assert_eq!(steps.len(), 8);
            }
            Event::Started {
                step,
                position,
                place,
                ..
            } => {
                assert!(numbers.insert(*step), "{step} is there twice");
                let (number, count) = position.unwrap();
                assert_eq!((number, count), (step + 1, 10));
                if let Some(place) = place {
                    let StagePlatform { own, target } = place.platform.clone().unwrap();
                    targets.insert((place.stage, own.to_string(), target.to_string()));
                }
            }
            _ => {}
        }
    }
    assert_eq!((numbers.len(), plans), (10, 1));
    let other = "linux/s390x".to_owned();
    let expected = [
        (0, host.clone(), host.clone()),
        (0, host.clone(), other.clone()),
        (1, host.clone(), host.clone()),
        (1, other.clone(), other),
    ];
    assert_eq!(targets, expected.into_iter().collect());
}

#[test]
fn one_platform_is_told_as_ever() {
    let world = world(&["linux/s390x"]);
    world
        .build(
            &platforms(&["linux/s390x"]),
            &file("FROM base\nCOPY Dockerfile /\n"),
        )
        .unwrap();
    let events = world.events.lock().unwrap();
    let places = events.iter().filter_map(|event| match event {
        Event::Started {
            place: Some(place), ..
        } => Some(place.platform.clone()),
        _ => None,
    });
    assert_eq!(places.collect::<Vec<_>>(), [None, None]);
}

#[test]
fn a_run_is_for_machines_that_can_do_it() {
    let host = host();
    let world = world(&[&host, "linux/s390x", "linux/riscv64"]);
    let text = "FROM base\nCOPY Dockerfile /\nRUN say hello\n";
    let both = platforms(&[&host, "linux/s390x"]);
    let failed = world.build(&both, &file(text)).unwrap_err();
    assert_eq!(
        told(&failed),
        "line 3: RUN say hello: nothing runs for linux/s390x"
    );
    // an emulator in the image serves too
    let riscv = platforms(&["linux/riscv64"]);
    assert!(told(&world.build(&riscv, &file(text)).unwrap_err()).contains("nothing runs for linux/riscv64"));
    let with = text.replace("RUN", "COPY emulator /\nRUN");
    world.build(&riscv, &file(&with).file("emulator", "x")).unwrap();
    // an image that is for this machine whatever was asked
    let forced = "FROM --platform=$BUILDPLATFORM base\nRUN say hello\n";
    let built = world.build(&platforms(&["linux/s390x"]), &file(forced)).unwrap();
    let config = world.store.image(&built.image).unwrap().unwrap().config;
    assert_eq!(config.architecture, "s390x", "what was asked for is what it says");
}

#[test]
fn what_fails_for_one_platform_stops_the_others() {
    let host = host();
    let world = world(&[&host, "linux/arm64", "linux/arm/v7"]);
    let text = "FROM base\nARG TARGETARCH\nARG TARGETVARIANT\nRUN hang$TARGETVARIANT\n";
    let text = text.replace("RUN hang$TARGETVARIANT", "SHELL [\"x\"]\nRUN [\"hang\"]\n");
    let failing = "FROM --platform=linux/arm/v7 base AS bad\nRUN [\"exit 3\"]\n";
    let text = format!("{failing}{text}COPY --from=bad / /\n");
    let failed = world
        .build(&platforms(&[&host, "linux/arm64"]), &file(&text))
        .unwrap_err();
    assert!(
        told(&failed).contains("returned a non-zero code: 3"),
        "{}",
        told(&failed)
    );
}

#[test]
fn a_named_image_is_opened_for_each_platform() {
    let host = host();
    let world = world(&[&host, "linux/s390x"]);
    let tar = file("FROM own\nCOPY Dockerfile /\n").tar();
    let input = Input {
        named: vec![("own".to_owned(), Source::Image("base".to_owned()))],
        ..Input::of(Source::Tar(Box::new(Cursor::new(tar))))
    };
    let both = platforms(&[&host, "linux/s390x"]);
    let built = world.build_input(&both, input).unwrap();
    for image in &built.images {
        let config = world.store.image(&image.image).unwrap().unwrap().config;
        assert_eq!(config.architecture, image.platform.architecture);
    }
}

#[test]
fn everything_is_verified() {
    let host = host();
    let world = world(&[&host, "linux/arm64"]);
    let verify = Options {
        verify: true,
        ..platforms(&[&host, "linux/arm64"])
    };
    world
        .build(&verify, &file("FROM base\nRUN write /x y\n"))
        .unwrap();
    assert_eq!(world.ran.lock().unwrap().len(), 4);
    let counting = world
        .build(&verify, &file("FROM base\nRUN count /x\n"))
        .unwrap_err();
    assert!(
        told(&counting).contains("not reproducible"),
        "{}",
        told(&counting)
    );
}
