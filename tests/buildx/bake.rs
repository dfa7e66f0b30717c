//! Several targets in one command, as docker compose asks for them too.

use mica_tests::{Context, run};

use crate::client::{Client, says};

fn context(bake: &str) -> Context {
    Context::with_shell(
        "FROM base AS early\nRUN echo early > /early\nFROM early AS late\nRUN echo late > /late\n",
    )
    .file("docker-bake.json", bake)
}

#[test]
fn targets_are_built_side_by_side() {
    let Some(client) = Client::start() else { return };
    let context = context(
        r#"{"group": {"default": {"targets": ["one", "two"]}},
            "target": {"one": {"target": "early", "tags": ["one:1"], "args": {"A": "b"}, "labels": {"k": "v"}},
                       "two": {"tags": ["two:1", "two:2"]}}}"#,
    );
    let told = client.path("told");
    let mut bake = client.buildx(["bake", "--progress=plain", "--metadata-file", &told]);
    let baked = run(bake.current_dir(context.path())).ok();
    says(
        &baked.stderr,
        &[
            "[one early 1/1] RUN echo early > /early",
            "naming to docker.io/library/two:2 done",
        ],
    );
    let told = client.json("told");
    for (name, image) in [("one", "one:1"), ("two", "two:2")] {
        let id = client.inspect(image, "{{.Id}}");
        assert_eq!(told[name]["containerimage.config.digest"], id.as_str());
    }
    assert_eq!(client.inspect("one:1", "{{.Config.Labels}}"), "map[k:v]");

    // as docker compose does it
    let plan = r#"{"group": {"default": {"targets": ["web"]}}, "target": {"web": {"context": ".", "target": "early", "tags": ["web"], "output": ["type=docker"]}}}"#;
    let mut bake = client.buildx([
        "bake",
        "--file=-",
        "--progress=rawjson",
        "--metadata-file",
        &client.path("told"),
    ]);
    let baked = mica_tests::run_fed(bake.current_dir(context.path()), plan).ok();
    says(&baked.stderr, &["exporting to image"]);
    assert_eq!(
        client.json("told")["web"]["containerimage.digest"],
        client.inspect("web", "{{.Id}}").as_str()
    );
}

#[test]
fn one_target_fails_and_is_named() {
    let Some(client) = Client::start() else { return };
    let context = context(
        r#"{"group": {"default": {"targets": ["good", "bad"]}},
            "target": {"good": {"target": "early"}, "bad": {"dockerfile-inline": "FROM scratch\nCOPY none /\n"}}}"#,
    );
    let mut bake = client.buildx(["bake", "--progress=plain"]);
    let failed = run(bake.current_dir(context.path()));
    assert_eq!(failed.code, 1);
    says(
        &failed.stderr,
        &["target bad: failed to solve", ">>> COPY none /"],
    );
}

#[test]
fn a_target_is_built_on_another() {
    let Some(client) = Client::start() else { return };
    let context = context(
        r#"{"target": {"below": {"target": "early", "args": {"A": "b"}, "labels": {"k": "v"}},
                       "above": {"dockerfile-inline": "FROM below\nRUN cat /early > /again\nFROM scratch\nCOPY --from=below /early /\nCOPY --from=0 /again /\n",
                                 "contexts": {"below": "target:below"}, "output": ["type=local,dest=out"]},
                       "beside": {"dockerfile-inline": "FROM below\n", "contexts": {"below": "target:below"}, "tags": ["beside"]}}}"#,
    );
    let mut bake = client.buildx(["bake", "--progress=plain", "--allow=fs=*", "above", "beside"]);
    run(bake.current_dir(context.path())).ok();
    for name in ["early", "again"] {
        let text = fs_err::read_to_string(context.path().join("out").join(name)).unwrap();
        assert_eq!(text, "early\n");
    }
    // what the image below says of itself holds above too
    assert_eq!(client.inspect("beside", "{{.Config.Labels}}"), "map[k:v]");
}
