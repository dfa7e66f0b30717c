//! What `mica build` hands over as descriptors, and what it does where nobody takes them.

use std::process::Stdio;

use crate::fake::{Fake, Outcome, files, outcome, reply, stream};

const REFUSED: &str = r#"{"message":"folders are read only for root and for the daemon's own user: send the context as a tar"}"#;

fn context() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path(), &[("Dockerfile", "FROM scratch\n"), ("a", "text")]);
    folder
}

fn built() -> String {
    stream(&[r#"{"stream":"Successfully built abababababab\n"}"#])
}

fn fed(fake: &Fake, arguments: &[&str], input: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    std::fs::write(&path, input).unwrap();
    let mut command = fake.command(arguments);
    command.stdin(Stdio::from(std::fs::File::open(path).unwrap()));
    outcome(command)
}

#[test]
fn a_folder_is_handed_over_and_not_sent() {
    let (fake, folder) = (Fake::micad([reply(200, built())]), context());
    let run = fake.run(&["build", folder.path().to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let asked = &fake.asked()[0];
    assert_eq!(asked.header("mica-descriptors"), "1");
    assert_eq!(asked.body.as_deref(), Some(&b""[..]));
    let line = &fake.lines()[0];
    assert!(
        line.starts_with(
            "POST /v1.51/mica/build?dockerfile=Dockerfile&rm=1&progress=status&input={\"context\":{\"folder\":0}"
        ),
        "{line}"
    );
}

#[test]
fn secrets_agents_and_contexts_go_with_it() {
    let (fake, folder) = (Fake::micad([reply(200, built())]), context());
    let socket = folder.path().join("agent");
    let _agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let path = folder.path().to_str().unwrap();
    let mut command = fake.command(&[
        "build",
        "--secret=id=s,env=VALUE",
        "--ssh=default",
        &format!("--build-context=n={path}"),
        "--build-context=i=docker-image://b:1",
        "--no-cache-filter=x,y",
        "--allow=network.host",
        path,
    ]);
    command.env("VALUE", "v").env("SSH_AUTH_SOCK", &socket);
    let run = outcome(command);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fake.asked()[0].header("mica-descriptors"), "4");
    let line = &fake.lines()[0];
    for part in [
        r#""context":{"folder":3}"#,
        r#""contexts":{"i":{"image":"b:1"},"n":{"folder":0}}"#,
        r#""secrets":{"s":1}"#,
        r#""agents":{"default":2}"#,
        r#""no_cache_filter":["x","y"]"#,
        r#""allow":["network.host"]"#,
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("VALUE"), "{line}");
}

#[test]
fn a_user_whose_folders_are_not_read_sends_a_tar() {
    let (fake, folder) = (Fake::micad([reply(403, REFUSED), reply(200, built())]), context());
    let path = folder.path().to_str().unwrap();
    let classic = &["build", "--progress=classic", path];
    assert_eq!(fake.run(classic).code, Some(0));
    assert_eq!(fake.lines()[1], "POST /v1.51/build?dockerfile=Dockerfile&rm=1");
    assert!(fake.asked()[1].body.as_ref().unwrap().len() > 1000);
    // only there a build is told as statuses
    let fake = Fake::micad([reply(403, REFUSED), reply(200, built())]);
    assert_eq!(fake.run(&["build", path]).code, Some(0));
    assert!(
        fake.lines()[1].contains(r#"rm=1&progress=status&input={"context":"body""#),
        "{:?}",
        fake.lines()
    );
    // with more than that the tar goes where the rest does
    let fake = Fake::micad([reply(403, REFUSED), reply(200, built())]);
    let run = fake.run(&["build", "--secret", "id=s,src=/dev/null", path]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        fake.lines()[1].contains(r#"input={"context":"body""#),
        "{:?}",
        fake.lines()
    );
    assert_eq!(fake.asked()[1].header("mica-descriptors"), "1");
    assert!(fake.asked()[1].body.as_ref().unwrap().len() > 1000);
}

#[test]
fn a_daemon_that_takes_nothing_gets_a_tar_or_the_reason_is_told() {
    let folder = context();
    let path = folder.path().to_str().unwrap();
    let dropped = r#"{"message":"1 descriptors were announced and 0 arrived"}"#;
    let fake = Fake::micad([reply(421, dropped), reply(200, built())]);
    assert_eq!(fake.run(&["build", path]).code, Some(0));
    let line = &fake.lines()[1];
    assert!(
        line.contains(r#"/mica/build?dockerfile=Dockerfile&rm=1&progress=status&input={"context":"body""#),
        "{line}"
    );
    assert_eq!(fake.asked()[1].header("mica-descriptors"), "");
    for fake in [
        Fake::micad([reply(421, dropped)]),
        Fake::new([reply(200, built())]),
    ] {
        let run = fake.run(&["build", "--secret", "id=s,src=/dev/null", path]);
        assert_eq!(run.code, Some(1));
        assert!(
            run.stderr.contains("--secret needs a micad of this version"),
            "{run:?}"
        );
    }
}

#[test]
fn standard_input_is_a_dockerfile_or_an_archive() {
    let fake = Fake::micad([reply(200, built())]);
    assert_eq!(fed(&fake, &["build", "-"], "FROM scratch\n").code, Some(0));
    assert!(fake.lines()[0].contains(r#"input={"context":"empty","contexts":{},"dockerfile":0"#));
    let bytes: Vec<u8> = [0x1f, 0x8b, 1, 2, 3].to_vec();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), &bytes).unwrap();
    let mut command = fake.command(&["build", "-f", "d/F", "-"]);
    command.stdin(Stdio::from(std::fs::File::open(folder.path().join("x")).unwrap()));
    assert_eq!(outcome(command).code, Some(0));
    assert_eq!(fake.lines()[1], "HEAD /v1.51/mica/build");
    let line = &fake.lines()[2];
    assert!(
        line.contains(r#"/mica/build?dockerfile=d/F&rm=1&progress=status&input={"context":"body""#),
        "{line}"
    );
    assert_eq!(fake.asked()[2].body.as_deref(), Some(&bytes[..]));
    // a daemon of another make is asked for nothing that it does not know
    let other = Fake::new([reply(200, built())]);
    let mut command = other.command(&["build", "-"]);
    command.stdin(Stdio::from(std::fs::File::open(folder.path().join("x")).unwrap()));
    assert_eq!(outcome(command).code, Some(0));
    assert_eq!(other.lines(), ["POST /v1.51/build?dockerfile=&rm=1"]);
    assert_eq!(other.asked()[0].body.as_deref(), Some(&bytes[..]));
    let run = fed(&fake, &["build", "-f", "-", "-"], "");
    assert_eq!(run.code, Some(125));
    assert!(run.stderr.contains("can't use stdin for both"));
    let run = fed(&fake, &["build", "-f", "x", "-"], "FROM scratch\n");
    assert!(run.stderr.contains("ambiguous Dockerfile source"), "{run:?}");
}

#[test]
fn dockerfiles_from_elsewhere_and_addresses() {
    let fake = Fake::micad([reply(200, built())]);
    let (folder, other) = (context(), context());
    let path = folder.path().to_str().unwrap();
    assert_eq!(
        fed(&fake, &["build", "-f", "-", path], "FROM scratch\n").code,
        Some(0)
    );
    assert!(fake.lines()[0].contains(r#"{"context":{"folder":1},"contexts":{},"dockerfile":0"#));
    let outside = other.path().join("Dockerfile");
    assert_eq!(
        fake.run(&["build", "-f", outside.to_str().unwrap(), path]).code,
        Some(0)
    );
    assert!(fake.lines()[1].contains(r#""dockerfile":0"#));
    assert_eq!(
        fake.run(&["build", "-f", "d/F", "https://h/r.git#x:y"]).code,
        Some(0)
    );
    assert!(
        fake.lines()[2].contains(
            r#"dockerfile=d/F&rm=1&progress=status&input={"context":{"address":"https://h/r.git#x:y"}"#
        ),
        "{:?}",
        fake.lines()
    );
    let old = Fake::new([reply(200, built())]);
    assert_eq!(old.run(&["build", "https://h/r.git"]).code, Some(0));
    assert_eq!(
        old.lines(),
        ["POST /v1.51/build?dockerfile=&rm=1&remote=https://h/r.git"]
    );
}
