//! The crate bollard: it is client and session in one, and asks for the Dockerfile's frontend itself.

use std::collections::HashMap;
use std::process::Command;

use bollard::Docker;
use bollard::grpc::build::{ImageBuildFrontendOptions, ImageBuildLoadInput, NamedContext, SecretSource};
use bollard::grpc::driver::Build;
use bollard::grpc::driver::moby::Moby;
use bollard::grpc::error::GrpcError;
use mica_tests::{Context, Daemon, run};

/// The seconds that an answer may take.
const PATIENCE: u64 = 120;

fn build(
    daemon: &Daemon,
    context: &Context,
    name: &str,
    options: ImageBuildFrontendOptions,
) -> Result<(), GrpcError> {
    let tar = daemon.folder().join("context.tar.gz");
    run(Command::new("tar")
        .arg("-C")
        .arg(context.path())
        .arg("-czf")
        .arg(&tar)
        .arg("."))
    .ok();
    let tar = ImageBuildLoadInput::Upload(fs_err::read(tar).unwrap().into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let socket = daemon.socket();
        let docker =
            Docker::connect_with_unix(socket.to_str().unwrap(), PATIENCE, bollard::API_DEFAULT_VERSION);
        let docker = docker.unwrap().negotiate_version().await.unwrap();
        let nobody = Some(HashMap::new());
        Moby::new(&docker)
            .docker_build(name, options, tar, nobody, None)
            .await
    })
}

#[test]
fn an_upload_is_built_with_what_the_client_lends() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base AS early\nARG WHO\nRUN --mount=type=secret,id=s test \"$(cat /run/secrets/s)\" = hidden\nRUN echo $WHO > /made\nFROM none\n",
    );
    let secret = daemon.folder().join("secret");
    fs_err::write(&secret, "hidden").unwrap();
    let options = || {
        ImageBuildFrontendOptions::builder()
            .target("early")
            .buildarg("WHO", "me")
            .label("k", "v")
            .set_secret("s", &SecretSource::File(secret.clone()))
    };
    build(&daemon, &context, "docker.io/library/x:1", options().build()).unwrap();
    let labels = daemon.docker(["inspect", "-f", "{{.Config.Labels}}", "x:1"]).ok();
    assert_eq!(labels.text(), "map[k:v]");
    // an image that is there has a name in another build
    let named = Context::new("FROM scratch\nCOPY --from=other /made /\n");
    let path = NamedContext {
        path: "docker-image://x:1".to_owned(),
    };
    let options = ImageBuildFrontendOptions::builder()
        .named_context("other", path)
        .build();
    build(&daemon, &named, "y", options).unwrap();
    let ids = daemon.docker(["images", "-q"]).ok();
    assert_eq!(ids.stdout.lines().count(), 2, "{}", ids.stdout);
}

#[test]
fn a_step_that_fails_is_told() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN exit 9\n");
    let failed = build(&daemon, &context, "x", ImageBuildFrontendOptions::default());
    let told = failed.unwrap_err().to_string();
    assert!(
        told.contains("process \"/bin/sh -c exit 9\" did not complete successfully: exit code: 9"),
        "{told}"
    );
    assert_eq!(daemon.docker(["images", "-q"]).ok().stdout, "");
}
