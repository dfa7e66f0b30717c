//! What instructions leave in an image's config and history, and the times in it.

use jiff::Timestamp;
use mica_builder::Options;
use mica_oci::config::ContainerConfig;
use mica_oci::{History, ImageConfig};
use serde_json::{Value, json};

use crate::files::Files;
use crate::world::{Image, World, args, options};

fn context() -> Files {
    Files::new().file("f", "f")
}

fn build(lines: &str) -> Image {
    World::with_base(Files::new().file("f", "f")).make(&format!("FROM base\n{lines}\n"), &context())
}

/// Lines after `FROM base`, the histories they make, and what the config then says.
#[test]
fn every_instruction_has_its_text() {
    let table: [(&str, &[&str], Value); 28] = [
        (
            "ENV a=1 b=\"2 3\"",
            &["ENV a=1 b=2 3"],
            json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "a=1", "b=2 3"]}),
        ),
        (
            "ENV PATH=/p\nENV x=$PATH:/q",
            &["ENV PATH=/p", "ENV x=/p:/q"],
            json!({"Env": ["PATH=/p", "x=/p:/q"]}),
        ),
        ("ENV a=1\nENV a=2 b=$a", &["ENV a=1", "ENV a=2 b=1"], json!({})),
        ("ENV legacy some  text", &["ENV legacy=some  text"], json!({})),
        (
            "LABEL a=1 \"b c\"=d",
            &["LABEL a=1 b c=d"],
            json!({"Labels": {"a": "1", "b c": "d"}}),
        ),
        ("ARG a=1 b=$a c", &["ARG a=1 b=1 c"], json!({})),
        (
            "ARG a=1\nRUN x",
            &["ARG a=1", "RUN |1 a=1 /bin/sh -c x # buildkit"],
            json!({}),
        ),
        (
            "ENV a=e\nARG a=1\nRUN x",
            &["ENV a=e", "ARG a=1", "RUN |1 a=1 /bin/sh -c x # buildkit"],
            json!({}),
        ),
        (
            "ARG a=1\nENV a=e\nRUN x",
            &["ARG a=1", "ENV a=e", "RUN |1 a=e /bin/sh -c x # buildkit"],
            json!({}),
        ),
        ("RUN [\"a b\", \"c\"]", &["RUN a b c # buildkit"], json!({})),
        (
            "RUN <<E\nx\ny\nE",
            &["RUN /bin/sh -c x\ny\n # buildkit"],
            json!({}),
        ),
        (
            "CMD [\"a\", \"b\\\"c\"]",
            &["CMD [\"a\" \"b\\\"c\"]"],
            json!({"Cmd": ["a", "b\"c"]}),
        ),
        (
            "CMD a  b",
            &["CMD [\"/bin/sh\" \"-c\" \"a  b\"]"],
            json!({"Cmd": ["/bin/sh", "-c", "a  b"]}),
        ),
        ("CMD []", &["CMD []"], json!({"Cmd": null})),
        (
            "CMD c\nENTRYPOINT [\"e\"]",
            &["CMD [\"/bin/sh\" \"-c\" \"c\"]", "ENTRYPOINT [\"e\"]"],
            json!({"Cmd": ["/bin/sh", "-c", "c"], "Entrypoint": ["e"]}),
        ),
        (
            "SHELL [\"/s\", \"-x\"]\nENTRYPOINT e",
            &["SHELL [/s -x]", "ENTRYPOINT [\"/s\" \"-x\" \"e\"]"],
            json!({"Shell": ["/s", "-x"], "Entrypoint": ["/s", "-x", "e"]}),
        ),
        (
            "EXPOSE 80 053/UDP 443",
            &["EXPOSE [53/udp 443/tcp 80/tcp]"],
            json!({"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "443/tcp": {}}}),
        ),
        (
            "EXPOSE 8000-8002",
            &["EXPOSE [8000/tcp 8001/tcp 8002/tcp]"],
            json!({}),
        ),
        (
            "ENV p=\"1 2\"\nEXPOSE $p",
            &["ENV p=1 2", "EXPOSE [1/tcp 2/tcp]"],
            json!({}),
        ),
        (
            "VOLUME /a b",
            &["VOLUME [/a b]"],
            json!({"Volumes": {"/a": {}, "b": {}}}),
        ),
        (
            "USER joe:staff",
            &["USER joe:staff"],
            json!({"User": "joe:staff"}),
        ),
        (
            "WORKDIR a\nWORKDIR ../b\nWORKDIR /x/./y/",
            &["WORKDIR /a", "WORKDIR /b", "WORKDIR /x/./y/"],
            json!({"WorkingDir": "/x/./y/"}),
        ),
        (
            "STOPSIGNAL term",
            &["STOPSIGNAL term"],
            json!({"StopSignal": "term"}),
        ),
        (
            "HEALTHCHECK --interval=1m --retries=2 CMD x y",
            &[
                "HEALTHCHECK {Test:[CMD-SHELL x y] Interval:1m0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:2}",
            ],
            json!({"Healthcheck": {"Test": ["CMD-SHELL", "x y"], "Interval": 60_000_000_000_u64, "Retries": 2}}),
        ),
        (
            "HEALTHCHECK NONE",
            &["HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"],
            json!({"Healthcheck": {"Test": ["NONE"]}}),
        ),
        ("ONBUILD RUN  x  y", &[], json!({"OnBuild": ["RUN  x  y"]})),
        (
            "ARG d=/t\nCOPY --chown=0:1 --chmod=600 --link --exclude=x f $d",
            &["ARG d=/t", "COPY --chown=0:1 --chmod=600 f /t # buildkit"],
            json!({}),
        ),
        (
            "ADD --exclude=x f f <<E /t/\nE",
            &["ADD f f <<E /t/ # buildkit"],
            json!({}),
        ),
    ];
    for (lines, histories, expected) in table {
        let image = build(lines);
        assert_eq!(image.history()[1..], *histories, "{lines}");
        let config = serde_json::to_value(&image.config.config).unwrap();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(config.get(key).unwrap_or(&Value::Null), value, "{lines}: {key}");
        }
        let layers = image
            .config
            .history
            .iter()
            .filter(|entry| !entry.empty_layer)
            .count();
        assert_eq!(layers, image.layers.len(), "{lines}");
        assert!(
            image.config.history[1..]
                .iter()
                .all(|entry| entry.comment == "buildkit.dockerfile.v0"),
            "{lines}"
        );
    }
    let image = build("MAINTAINER me <x@y>");
    assert_eq!(
        (image.config.author.as_str(), image.history()[1].as_str()),
        ("me <x@y>", "MAINTAINER me <x@y>")
    );
}

#[test]
fn what_is_inherited() {
    let world = World::new();
    let config = ImageConfig {
        author: "them".into(),
        architecture: "s390x".into(),
        os: "linux".into(),
        config: ContainerConfig {
            user: "u".into(),
            cmd: Some(vec!["c".into()]),
            env: Some(vec!["A=1".into()]),
            working_dir: "/w".into(),
            labels: Some([("l".to_owned(), "m".to_owned())].into()),
            ..ContainerConfig::default()
        },
        ..ImageConfig::default()
    };
    world.image("base", &context(), config);
    let asked = Options {
        labels: vec![
            ("l".into(), "of the command line".into()),
            ("n".into(), "o".into()),
        ],
        ..options()
    };
    let image = world.make_with(
        &asked,
        "FROM base\nENV B=$A\nENTRYPOINT [\"e\"]\nLABEL l=x\n",
        &context(),
    );
    let own = &image.config.config;
    assert_eq!(
        (own.user.as_str(), own.working_dir.as_str(), &own.cmd),
        ("u", "/w", &None)
    );
    assert_eq!(
        own.env.as_deref().unwrap()[..2],
        [
            "A=1",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ]
    );
    assert_eq!(own.env.as_deref().unwrap()[2], "B=1");
    let labels = own.labels.as_ref().unwrap();
    assert_eq!(
        (labels["l"].as_str(), labels["n"].as_str()),
        ("of the command line", "o")
    );
    assert_eq!(
        (image.config.author.as_str(), image.config.architecture.as_str()),
        ("them", "s390x")
    );
    assert_eq!(image.history().len(), 4, "labels of the command line are no step");
}

#[test]
fn nothing_at_all_is_an_image() {
    let image = World::new().make("FROM scratch\n", &Files::new());
    assert!(image.layers.is_empty() && image.config.history.is_empty());
    assert_eq!(image.config.config.working_dir, "/");
    assert_eq!(image.config.config.env.unwrap().len(), 1);
}

fn seconds(image: &Image) -> Vec<Option<i64>> {
    image
        .config
        .history
        .iter()
        .map(|entry| entry.created.map(Timestamp::as_second))
        .collect()
}

#[test]
fn steps_are_as_old_as_their_layers() {
    let world = World::with_base(context());
    let before = Timestamp::now().as_second();
    let image = world.make("FROM base\nENV a=b\nRUN x\nENV c=d\n", &context());
    let [base, env, run, last] = seconds(&image)[..] else {
        panic!()
    };
    assert_eq!(base, Some(1_500_000_000));
    assert!(run >= Some(before) && env == run && last == run);
    assert_eq!(image.config.created.map(Timestamp::as_second), last);
    let again = world.make("FROM base\nENV a=b\nRUN x\nENV c=e\n", &context());
    assert_eq!(seconds(&again), seconds(&image), "cached layers keep their time");
    let labels = world.make("FROM base\nLABEL a=b\n", &context());
    assert_eq!(seconds(&labels), [Some(1_500_000_000); 2]);
    assert_eq!(
        labels.config.created.map(Timestamp::as_second),
        Some(1_500_000_000)
    );
}

#[test]
fn an_epoch_makes_the_same_image_everywhere() {
    let build = |epoch: &str| {
        let world = World::with_base(context());
        let image = world.make_with(
            &args(&[("SOURCE_DATE_EPOCH", epoch)]),
            "FROM base\nENV a=b\nWORKDIR /new\nCOPY f <<E /d/\nx\nE\nRUN write /r r\nLABEL l=m\n",
            &context(),
        );
        (image.config.clone(), seconds(&image))
    };
    let (first, times) = build("1600000000");
    assert_eq!(times[0], Some(1_500_000_000));
    assert!(
        times[1..].iter().all(|time| *time == Some(1_600_000_000)),
        "{times:?}"
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(build("1600000000").0, first);
    let (_, times) = build("1400000000");
    assert_eq!(times[0], Some(1_500_000_000), "what is inherited stays");
    assert!(times[1..].iter().all(|time| *time == Some(1_400_000_000)));
    assert_ne!(build("").0, first);
}

#[test]
fn a_base_with_less_history_than_layers_is_filled_up_and_not_made_older() {
    let world = World::with_base(context());
    {
        let mut images = world.images.lock().unwrap();
        let base = images.get_mut("base").unwrap();
        base.config.history = vec![History {
            created_by: "only a label".into(),
            empty_layer: true,
            created: base.config.created,
            ..History::default()
        }];
    }
    let image = world.make_with(
        &args(&[("SOURCE_DATE_EPOCH", "5")]),
        "FROM base\nRUN x\n",
        &context(),
    );
    assert_eq!(
        seconds(&image),
        [Some(1_500_000_000), Some(1_500_000_000), Some(5)]
    );
    let made: Vec<_> = image
        .config
        .history
        .iter()
        .map(|entry| entry.empty_layer)
        .collect();
    assert_eq!(made, [true, false, false]);
}
