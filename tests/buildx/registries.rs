//! Images that are pushed, pulled as bases with the client's credentials, and taken for a cache.

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, run, run_fed};

use crate::client::{Client, greeting, says};

#[test]
fn what_is_pushed_is_a_base_and_a_cache() {
    let (Some(client), Some(other)) = (Client::start(), Client::start()) else {
        return;
    };
    let registry = DockerRegistry::plain();
    let (name, second, context) = (registry.name("app:1"), registry.name("app:2"), greeting());
    let pushed = client
        .build([
            "--push",
            "--cache-to=type=inline",
            "--metadata-file=told",
            "-t",
            &name,
            "-t",
            &second,
            context.arg(),
        ])
        .ok();
    says(&pushed.stderr, &[&format!("pushing manifest for {name}"), "DONE"]);
    let told = client.json("told");
    let digests = client.inspect(&name, "{{index .RepoDigests 0}}");
    let digest = digests.split_once('@').unwrap().1;
    assert_eq!(told["containerimage.digest"], digest);
    assert_eq!(
        told["containerimage.config.digest"],
        client.inspect(&name, "{{.Id}}").as_str()
    );
    assert_eq!(client.pushed(&second), digest);

    // another daemon has nothing of it yet
    let base = Context::new(&format!("FROM {name}\nCOPY --from={second} /made /again\n"));
    let built = other.build(["-o", "out", base.arg()]).ok();
    says(&built.stderr, &[&format!("load metadata for {}", name)]);
    assert_eq!(other.text("out/again"), "made by nobody\n");
}

#[test]
fn a_registry_is_a_cache() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::plain();
    let name = registry.name("app:1");
    let base = registry.name("base:1");
    client.build(["--push", "-t", &base, greeting().arg()]).ok();
    let context = Context::new(&format!("FROM {base}\nRUN sleep 3; echo long > /long\n"));
    client
        .build(["--push", "--cache-to=type=inline", "-t", &name, context.arg()])
        .ok();
    for from in [format!("type=registry,ref={name}"), name.clone()] {
        let empty = Client::start().unwrap();
        let built = empty
            .build(["--cache-from", &from, "-o", "out", context.arg()])
            .ok();
        says(&built.stderr, &[&format!("{name} knows 1 steps")]);
        assert_eq!(empty.text("out/long"), "long\n");
    }
    // one that is not there is not missed
    let none = format!("--cache-from={}", registry.name("none:1"));
    client.build([&none, context.arg()]).ok();
}

#[test]
fn the_output_of_type_image_is_pushed_too() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::plain();
    let name = registry.name("app:1");
    client
        .build([
            &format!("--output=type=image,name={name},push=true"),
            greeting().arg(),
        ])
        .ok();
    client.pushed(&name);
}

#[test]
fn the_clients_credentials_are_asked_for() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::htpasswd("me", "right");
    let (server, name) = (registry.address(), format!("{}/private:1", registry.address()));
    let context = Context::new(&format!("FROM {name}\nRUN cat /made > /again\n"));
    run_fed(
        &mut client.docker(["login", &server, "-u", "me", "--password-stdin"]),
        "right\n",
    )
    .ok();
    client.build(["--push", "-t", &name, greeting().arg()]).ok();
    run(&mut client.docker(["rmi", &name])).ok();
    let built = client.build(["-o", "out", context.arg()]).ok();
    says(
        &built.stderr,
        &[&format!("[auth] sharing credentials for {server}")],
    );
    assert_eq!(client.text("out/again"), "made by nobody\n");

    run(&mut client.docker(["logout", &server])).ok();
    let refused = client.build(["--pull", context.arg()]);
    assert_eq!(refused.code, 1);
    says(
        &refused.stderr,
        &["pull access denied", &format!(">>> FROM {name}")],
    );
    let config = format!(r#"{{"auths":{{"{server}":{{"auth":"bWU6d3Jvbmc="}}}}}}"#);
    fs_err::write(client.daemon.folder().join("docker-config/config.json"), config).unwrap();
    let refused = client.build(["--pull", context.arg()]);
    assert_eq!(refused.code, 1);
    says(&refused.stderr, &["pull access denied", "are wrong"]);
}
