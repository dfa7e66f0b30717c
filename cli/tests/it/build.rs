//! `mica build`: what is asked, what is shown where, and what the exit code is.

use std::process::Stdio;

use crate::fake::{Fake, files, outcome, reply, stream};

fn success() -> String {
    let id = format!("sha256:{}", "ab".repeat(32));
    stream(&[
        r#"{"stream":"Step 1/1 : FROM scratch\n"}"#,
        r#"{"status":"Downloading","id":"x","progressDetail":{"current":1,"total":2}}"#,
        &format!(r#"{{"aux":{{"ID":"{id}"}}}}"#),
        r#"{"stream":"Successfully built abababababab\n"}"#,
    ])
}

fn context() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path(), &[("Dockerfile", "FROM scratch\n")]);
    folder
}

#[test]
fn progress_goes_to_standard_error_and_the_id_to_its_file() {
    let (fake, folder) = (Fake::new([reply(200, success())]), context());
    let file = folder.path().join("id");
    let run = fake.run(&[
        "build",
        "--iidfile",
        file.to_str().unwrap(),
        folder.path().to_str().unwrap(),
    ]);
    assert_eq!(
        run.stderr,
        "Step 1/1 : FROM scratch\nSuccessfully built abababababab\n"
    );
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""));
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        format!("sha256:{}", "ab".repeat(32))
    );
    assert_eq!(fake.lines(), ["POST /v1.51/build?dockerfile=Dockerfile&rm=1"]);
}

#[test]
fn quiet_builds_say_the_id_and_nothing_else() {
    let id = format!("sha256:{}", "ab".repeat(32));
    let fake = Fake::new([reply(200, stream(&[&format!(r#"{{"stream":"{id}\n"}}"#)]))]);
    let folder = context();
    let file = folder.path().join("id");
    let run = fake.run(&[
        "build",
        "-q",
        "--iidfile",
        file.to_str().unwrap(),
        folder.path().to_str().unwrap(),
    ]);
    assert_eq!(
        (run.code, run.stdout, run.stderr.as_str()),
        (Some(0), format!("{id}\n"), "")
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), id);
    let failure = stream(&[
        r#"{"stream":"Step 1/1 : RUN false\n"}"#,
        r#"{"errorDetail":{"code":7,"message":"it failed"},"error":"it failed"}"#,
    ]);
    let run = Fake::new([reply(200, failure)]).run(&["build", "-q", folder.path().to_str().unwrap()]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(7), ""));
    assert_eq!(run.stderr, "Step 1/1 : RUN false\nit failed\n");
}

#[test]
fn every_flag_arrives() {
    let (fake, folder) = (Fake::new([reply(200, success())]), context());
    let path = folder.path().to_str().unwrap();
    let mut command = fake.command(&[
        "build",
        "-t",
        "a:1",
        "--tag=b",
        "--target",
        "t",
        "--build-arg",
        "A=1",
        "--build-arg",
        "B",
        "--build-arg",
        "C",
        "--label",
        "l=m",
        "--no-cache=true",
        "--pull",
        "--platform",
        "linux/arm64",
        "--network",
        "none",
        "--add-host",
        "h=1.2.3.4",
        "--ulimit",
        "nofile=1:2",
        "--shm-size",
        "1m",
        "--rm=false",
        "--provenance=false",
        path,
    ]);
    command
        .env("B", "from here")
        .env("SOURCE_DATE_EPOCH", "5")
        .env("DOCKER_DEFAULT_PLATFORM", "linux/386");
    let run = outcome(command);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stderr.starts_with("WARNING: --rm=false has no effect\n"),
        "{run:?}"
    );
    assert_eq!(
        fake.lines(),
        [concat!(
            "POST /v1.51/build?dockerfile=Dockerfile&t=a:1&t=b&nocache=1&pull=1&rm=1&target=t",
            r#"&buildargs={"A":"1","B":"from here","C":null,"SOURCE_DATE_EPOCH":"5"}&labels={"l":"m"}"#,
            r#"&platform=linux/arm64&networkmode=none&extrahosts=h:1.2.3.4&ulimits=[{"Name":"nofile","Soft":1,"Hard":2}]"#,
            "&shmsize=1048576"
        )]
    );
    let mut command = fake.command(&[
        "buildx",
        "build",
        "--build-arg",
        "SOURCE_DATE_EPOCH=6",
        "--no-cache=false",
        path,
    ]);
    command
        .env("SOURCE_DATE_EPOCH", "5")
        .env("DOCKER_DEFAULT_PLATFORM", "linux/386");
    outcome(command);
    assert_eq!(
        fake.lines()[1],
        r#"POST /v1.51/build?dockerfile=Dockerfile&rm=1&buildargs={"SOURCE_DATE_EPOCH":"6"}&platform=linux/386"#
    );
}

#[test]
fn failures_end_with_their_code() {
    let folder = context();
    let path = folder.path().to_str().unwrap();
    let failure = |detail: &str| stream(&[&format!(r#"{{"errorDetail":{detail},"error":"x"}}"#)]);
    for (status, body, code, text) in [
        (
            200,
            failure(r#"{"code":42,"message":"The command failed"}"#),
            42,
            "The command failed\n",
        ),
        (200, failure(r#"{"message":"COPY failed"}"#), 1, "COPY failed\n"),
        (
            400,
            r#"{"message":"unknown instruction: X"}"#.to_owned(),
            1,
            "Error response from daemon: unknown instruction: X\n",
        ),
    ] {
        let run = Fake::new([reply(status, body)]).run(&["build", path]);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (Some(code), "", text)
        );
    }
    let file = folder.path().join("id");
    std::fs::write(&file, "old").unwrap();
    let fake = Fake::new([reply(400, "")]);
    fake.run(&["build", "--iidfile", file.to_str().unwrap(), path]);
    assert!(!file.exists(), "an old ID must not be taken for the new one");
}

#[test]
fn several_platforms_are_one_build_and_pushed_together() {
    let images =
        r#"[{"Platform":"linux/amd64","ID":"sha256:aa"},{"Platform":"linux/arm64","ID":"sha256:bb"}]"#;
    let built = || {
        let aux = format!("{{\"aux\":{{\"ID\":\"sha256:aa\",\"Images\":{images}}}}}\r\n");
        reply(200, aux)
    };
    let folder = context();
    let path = folder.path().to_str().unwrap();
    let args = [
        "--platform",
        "linux/amd64",
        "--platform",
        "linux/arm64",
        "-t",
        "r.io/a:1",
        path,
    ];
    let fake = Fake::new([built()]);
    let run = fake.run(&[&["build", "--progress=classic"], &args[..]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("that for linux/amd64; those for linux/arm64 are in the store without a name")
    );
    assert!(
        fake.lines()[0].contains("&platform=linux/amd64,linux/arm64"),
        "{:?}",
        fake.lines()
    );

    let pushed = reply(200, "{\"status\":\"1: digest: sha256:cc size: 5\"}\r\n");
    let fake = Fake::new([built(), pushed]);
    let run = fake.run(&[&["build", "-q", "--push"], &args[..]].concat());
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), "sha256:cc\n"),
        "{}",
        run.stderr
    );
    assert_eq!(
        fake.lines()[1],
        format!("POST /v1.51/images/r.io/a/push?tag=1&images={images}")
    );
}

#[test]
fn what_is_not_done_yet_is_refused_by_name() {
    let (fake, folder) = (Fake::new([reply(200, success())]), context());
    let path = folder.path().to_str().unwrap();
    let run = fake.run(&["build", "--progress=tty", path]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (
            Some(125),
            "",
            "--progress=tty needs a terminal on standard error\n"
        )
    );
    assert!(fake.asked().is_empty());
}

#[test]
fn interrupted_builds_end_with_130_and_hang_up() {
    let folder = context();
    let socket = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut command = crate::fake::mica(&["build", folder.path().to_str().unwrap()]);
    command
        .env("MICA_HOST", format!("unix://{}", socket.display()))
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    // The request is on its way: the program waits for the answer now.
    let mut first = [0; 16];
    std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(130), &b""[..])
    );
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut rest).unwrap();
}
