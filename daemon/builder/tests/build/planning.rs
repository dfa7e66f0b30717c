//! Which stages are carried out, and the form their layers get.

use mica_builder::Options;
use mica_oci::ImageConfig;
use mica_oci::config::ContainerConfig;
use mica_task::Event;

use crate::files::Files;
use crate::world::{World, args, options};

fn world() -> World {
    World::with_base(Files::new().file("f", "f"))
}

fn none() -> Files {
    Files::new()
}

#[test]
fn only_needed_stages_are_carried_out() {
    let world = world();
    let dockerfile = "\
FROM base AS tool
RUN write /tool t
FROM missing AS never
RUN never
FROM base AS Other
RUN write /other o
FROM tool AS final
COPY --from=OTHER /other /
FROM final AS test
RUN test
";
    let image = world.make(dockerfile, &none());
    assert_eq!(image.files(), ["/f \"f\"", "/other \"o\"", "/tool \"t\""]);
    // the first two stages do not need each other
    let mut commands = world.commands();
    commands[..2].sort();
    assert_eq!(
        commands,
        ["write /other o", "write /tool t", "test"].map(|c| format!("/bin/sh -c {c}"))
    );
    let target = |name: &str| Options {
        target: Some(name.into()),
        no_cache: true,
        ..options()
    };
    world.make_with(&target("TOOL"), dockerfile, &none());
    assert_eq!(world.commands(), ["/bin/sh -c write /tool t"]);
    world.make_with(&target("final"), dockerfile, &none());
    assert_eq!(world.commands().len(), 2);
    assert!(!world.looked_up.lock().unwrap().contains(&"missing".into()));
}

#[test]
fn steps_are_counted_before_they_are_done() {
    let world = world();
    let options = Options {
        labels: vec![("a".into(), "b".into())],
        ..args(&[("g", "1")])
    };
    world.make_with(
        &options,
        "ARG g\nFROM base AS a\nRUN a\nFROM base AS b\nRUN b\nFROM a\nENV x=y\n",
        &none(),
    );
    let events = world.events.lock().unwrap();
    let mut positions: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Started { position, .. } => *position,
            _ => None,
        })
        .collect();
    // stages begin when they can
    positions.sort();
    assert_eq!(
        positions,
        (1..=5).map(|n| (n, 6)).collect::<Vec<_>>(),
        "the sixth is for the labels"
    );
}

#[test]
fn a_later_stage_of_a_name_hides_the_earlier_and_images_too() {
    let world = world();
    let image = world.make(
        "FROM base AS x\nRUN write /a 1\nFROM base AS x\nRUN write /a 2\nFROM base\nCOPY --from=x /a /\n",
        &none(),
    );
    assert_eq!(image.text("a"), "2");
    let image = world.make("FROM base AS base\nRUN write /a 3\nFROM base\n", &none());
    assert_eq!(image.text("a"), "3");
}

#[test]
fn layers_are_tars_unless_a_process_runs_on_them() {
    let world = world();
    let context = Files::new().file("c", "c");
    let image = world.make(
        "FROM scratch\nCOPY c /1\nWORKDIR /w\nCOPY <<E /2\nx\nE\n",
        &context,
    );
    for layer in &image.layers {
        assert!(world.has_tar(layer) && !world.has_tree(layer));
    }
    let image = world.make(
        "FROM base\nCOPY c /3\nWORKDIR /v\nRUN write /r r\nCOPY c /4\n",
        &context,
    );
    let forms: Vec<_> = image.layers[1..]
        .iter()
        .map(|layer| (world.has_tar(layer), world.has_tree(layer)))
        .collect();
    assert_eq!(
        forms,
        [(false, true), (false, true), (false, true), (true, false)]
    );
    // the process of another stage runs on what this one copies
    let image = world.make(
        "FROM base AS a\nCOPY c /5\nFROM a AS b\nCOPY c /6\nFROM b\nCOPY c /7\nRUN r\nCOPY c /8\n",
        &context,
    );
    let trees: Vec<_> = image.layers[1..]
        .iter()
        .map(|layer| world.has_tree(layer))
        .collect();
    assert_eq!(trees, [true, true, true, true, false]);
    // what is only copied from needs none
    world.make(
        "FROM scratch AS a\nCOPY c /9\nFROM base\nRUN write /r2 r\nCOPY --from=a /9 /\n",
        &context,
    );
    let own = world.make("FROM scratch AS a\nCOPY c /9\n", &context);
    assert!(world.has_tar(own.last()) && !world.has_tree(own.last()));
}

#[test]
fn an_image_may_be_many_stages_deep() {
    let world = world();
    let mut dockerfile = String::from("FROM base AS s0\nARG a=1\n");
    for n in 1..60 {
        dockerfile.push_str(&format!("FROM s{} AS s{n}\nCOPY <<E /f{n}\n$a\nE\n", n - 1));
    }
    let image = world.make(&dockerfile, &none());
    assert_eq!(image.layers.len(), 60);
    assert_eq!(
        image.text("f59"),
        "1\n",
        "the variables of all stages below are seen"
    );
    let mut wide = String::from("FROM base AS s0\nRUN write /x x\n");
    for n in 1..60 {
        wide.push_str(&format!("FROM scratch AS s{n}\nCOPY --from=s{} /x /x\n", n - 1));
    }
    assert_eq!(world.make(&wide, &none()).text("x"), "x");
}

#[test]
fn triggers_run_before_all_else_and_are_gone_then() {
    let world = world();
    let config = ImageConfig {
        config: ContainerConfig {
            on_build: Some(vec![
                "ENV t=1".into(),
                "COPY --from=tool /x /".into(),
                "RUN write /r $t".into(),
                "WORKDIR /w".into(),
            ]),
            ..Default::default()
        },
        ..ImageConfig::default()
    };
    world.image("trigger", &Files::new().file("f", "f"), config);
    let dockerfile = "FROM base AS tool\nRUN write /x x\nFROM trigger\nRUN last\n";
    let image = world.make(dockerfile, &none());
    assert_eq!(image.config.config.on_build, None);
    assert_eq!(image.files(), ["/f \"f\"", "/r \"$t\"", "/w/", "/x \"x\""]);
    assert_eq!(
        image.history()[1..],
        [
            "ENV t=1",
            "COPY /x / # buildkit",
            "RUN /bin/sh -c write /r $t # buildkit",
            "WORKDIR /w",
            "RUN /bin/sh -c last # buildkit"
        ]
    );
    assert_eq!(image.config.config.working_dir, "/w");
    let count = world.events.lock().unwrap().iter().find_map(|event| match event {
        Event::Triggers { count } => Some(*count),
        _ => None,
    });
    assert_eq!(count, Some(4));
    world.make(dockerfile, &none());
    assert!(world.executed().is_empty());
}

#[test]
fn triggers_of_a_stage_are_set_off_by_the_stages_on_it_once() {
    let world = world();
    let dockerfile = "\
FROM base AS a
ONBUILD COPY c /c
ONBUILD USER joe
FROM a AS b
RUN b
FROM b
RUN c
";
    let image = world.make(dockerfile, &Files::new().file("c", "c"));
    assert_eq!(
        world
            .steps()
            .iter()
            .filter(|(name, _)| name.starts_with("COPY"))
            .count(),
        1
    );
    assert_eq!(image.config.config.user, "joe");
    let own = Options {
        target: Some("a".into()),
        ..options()
    };
    let image = world.make_with(&own, dockerfile, &Files::new().file("c", "c"));
    assert_eq!(image.config.config.on_build.unwrap(), ["COPY c /c", "USER joe"]);
    assert_eq!(image.config.history.len(), 1, "a trigger is no step yet");
}

#[test]
fn one_image_for_two_platforms_is_two_images() {
    let world = world();
    for platform in ["linux/amd64", "linux/arm64"] {
        let config = ImageConfig {
            architecture: platform[6..].into(),
            os: "linux".into(),
            ..ImageConfig::default()
        };
        world.image(
            &format!("multi {platform}"),
            &Files::new().file("p", platform),
            config,
        );
    }
    let dockerfile = "\
FROM --platform=linux/arm64 multi AS arm
FROM --platform=linux/amd64 multi
COPY --from=arm /p /arm
COPY --from=multi /p /other
";
    let asked = Options {
        platforms: vec!["linux/arm64".parse().unwrap()],
        ..options()
    };
    let image = world.make_with(&asked, dockerfile, &none());
    assert_eq!(image.text("p"), "linux/amd64");
    assert_eq!(image.text("arm"), "linux/arm64");
    assert_eq!(
        image.text("other"),
        "linux/arm64",
        "--from takes what the build is for"
    );
}

#[test]
fn a_process_gets_what_the_stage_says() {
    let world = world();
    let options = Options {
        extra_hosts: vec![("h".into(), "1.2.3.4".into())],
        shm_size: Some(7),
        ..args(&[
            ("Http_Proxy", "p"),
            ("a", "given"),
            ("BUILDKIT_SANDBOX_HOSTNAME", "box"),
        ])
    };
    let dockerfile = "\
FROM base
ARG a
ARG unset
ENV e=1 a2=$a
USER joe
WORKDIR /w
RUN <<S
#!/bin/own
text
S
RUN [\"exec\", \"form\"]
";
    world.make_with(&options, dockerfile, &none());
    let ran = world.ran.lock().unwrap();
    let [script, exec] = ran.as_slice() else {
        panic!("{ran:?}")
    };
    assert_eq!(script.argv, ["/bin/sh", "-c", "/dev/pipes/S"]);
    assert_eq!(script.mounts[0].target.to_str(), Some("/dev/pipes"));
    assert_eq!(exec.argv, ["exec", "form"]);
    assert!(exec.mounts.is_empty());
    assert_eq!(
        (exec.cwd.as_str(), exec.user.as_str(), exec.hostname.as_str()),
        ("/w", "joe", "box")
    );
    assert_eq!(exec.shm_size, Some(7));
    assert_eq!(exec.extra_hosts, [("h".to_owned(), "1.2.3.4".to_owned())]);
    let mut env = exec.env.clone();
    env.sort();
    let path = format!(
        "PATH={}",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    );
    assert_eq!(
        env,
        [
            "HTTP_PROXY=p",
            &path,
            "a2=given",
            "a=given",
            "e=1",
            "http_proxy=p"
        ]
    );
    assert_eq!(exec.lowers.len(), 3);
}

#[test]
fn arguments_that_nobody_wants_are_told() {
    let world = world();
    let options = args(&[
        ("global", "1"),
        ("local", "1"),
        ("unneeded", "1"),
        ("no_proxy", "1"),
        ("my_proxy", "1"),
        ("TARGETARCH", "1"),
        ("BUILD_ID", "1"),
        ("BUILDKIT_INLINE_CACHE", "1"),
        ("nobody", "1"),
    ]);
    let image = world.make_with(
        &options,
        "ARG global\nFROM base AS a\nARG unneeded\nFROM base\nARG local=2\n",
        &none(),
    );
    assert_eq!(image.unused_args, ["my_proxy", "BUILD_ID", "nobody"]);
}
