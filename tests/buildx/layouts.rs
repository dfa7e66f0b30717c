//! OCI layouts: images of the client's as named contexts, and results as one.

use std::process::Command;

use mica_tests::{Context, run};

use crate::client::{Client, says};

#[test]
fn an_image_of_a_layout_is_a_named_context() {
    let Some(client) = Client::start() else { return };
    let laid = Context::with_shell("FROM base\nRUN echo laid > /laid\n");
    client.build(["-t", "laid:v1", laid.arg()]).ok();
    run(&mut client.docker(["save", "-o", "laid.tar", "laid:v1"])).ok();
    let by_save = client.daemon.folder().join("by-save");
    fs_err::create_dir(&by_save).unwrap();
    run(Command::new("tar")
        .arg("-C")
        .arg(&by_save)
        .args(["-xf", &client.path("laid.tar")]))
    .ok();
    // compressed, and by another's hands
    run(&mut client.cleaned(
        "skopeo",
        ["copy", "-q", "docker-archive:laid.tar", "oci:by-skopeo:v1"],
    ))
    .ok();
    run(&mut client.docker(["rmi", "laid:v1"])).ok();
    run(&mut client.docker(["builder", "prune", "-af"])).ok();

    let context = Context::new("FROM lay\nCOPY --from=lay /laid /copy\nRUN cat /copy && touch /more\n");
    for name in ["by-save", "by-skopeo"] {
        let out = format!("{name}-out");
        let base = format!("--build-context=lay=oci-layout://{}:v1", client.path(name));
        client
            .build(["--no-cache", &base, "-o", &out, context.arg()])
            .ok();
        assert_eq!(client.text(&format!("{out}/copy")), "laid\n", "{name}");
    }
    let index = client.json("by-skopeo/index.json");
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let base = format!(
        "--build-context=lay=oci-layout://{}@{digest}",
        client.path("by-skopeo")
    );
    client.build([&base, context.arg()]).ok();
    assert_eq!(run(&mut client.docker(["images", "-q", "laid"])).ok().text(), "");

    let blob = format!("by-skopeo/blobs/sha256/{}", &digest["sha256:".len()..]);
    fs_err::write(client.daemon.folder().join(blob), "{}").unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let base = format!(
        "--build-context=lay=oci-layout://{}@{digest}",
        client.path("by-skopeo")
    );
    let missing = client.build([&base, context.arg()]);
    assert_eq!(missing.code, 1);
    says(&missing.stderr, &["--build-context lay", &digest]);
}

#[test]
fn a_result_may_become_a_layout() {
    let Some(client) = Client::start() else { return };
    let context = Context::with_shell("FROM base\nRUN echo out > /out\n");
    let id = client.build_quietly([context.arg()]);
    let mut frontend = client.buildctl(["build", "--progress=plain", "--frontend=dockerfile.v0"]);
    frontend
        .arg(format!("--local=context={}", context.arg()))
        .arg(format!("--local=dockerfile={}", context.arg()))
        .args(["--output=type=oci,tar=false,name=docker.io/library/x:1,dest=layout"])
        .args(["--metadata-file=told"]);
    run(&mut frontend).ok();
    let (index, told) = (client.json("layout/index.json"), client.json("told"));
    let digest = &index["manifests"][0]["digest"];
    assert_eq!(&told["containerimage.digest"], digest);
    assert_eq!(&told["containerimage.descriptor"]["digest"], digest);
    assert_eq!(told["containerimage.config.digest"], id.as_str());
    // others read it
    let shown = run(&mut client.cleaned("skopeo", ["inspect", "--config", "oci:layout:1"])).ok();
    says(&shown.stdout, &["rootfs"]);
    run(&mut client.cleaned(
        "skopeo",
        ["copy", "-q", "oci:layout:1", "docker-archive:back.tar:back:1"],
    ))
    .ok();
    run(&mut client.docker(["load", "-i", "back.tar"])).ok();
    assert_eq!(client.inspect("back:1", "{{.Id}}"), id);
    // and it can be built on
    let on_top = Context::new("FROM lay\nCOPY --from=lay /out /again\n");
    let base = format!(
        "--build-context=lay=oci-layout://{}@{}",
        client.path("layout"),
        digest.as_str().unwrap()
    );
    client.build([&base, "-o", "files", on_top.arg()]).ok();
    assert_eq!(client.text("files/again"), "out\n");
}
