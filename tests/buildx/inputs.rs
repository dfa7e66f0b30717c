//! What a client lends a build: secrets, its agent, folders by name, contexts that are none of its folders.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mica_tests::{Context, run};

use crate::client::{Client, greeting, said, says};

#[test]
fn secrets_come_from_files_and_the_environment() {
    let Some(client) = Client::start() else { return };
    let context = Context::with_shell(
        "FROM base\nRUN --mount=type=secret,id=f cat /run/secrets/f > /file\n\
         RUN --mount=type=secret,id=e,env=TOLD echo $TOLD > /told\nRUN test ! -s /run/secrets/f\n",
    );
    fs_err::write(client.daemon.folder().join("secret"), "of a file").unwrap();
    let mut build = client.buildx(["build", "--secret=id=f,src=secret", "--secret=id=e,env=HERE"]);
    build
        .args(["-o", "out", context.arg()])
        .env("HERE", "of the environment");
    run(&mut build).ok();
    assert_eq!(client.text("out/file"), "of a file");
    assert_eq!(client.text("out/told"), "of the environment\n");

    let context =
        Context::with_shell("FROM base\nRUN --mount=type=secret,id=f,required=true cat /run/secrets/f\n");
    let missing = client.build([context.arg()]);
    assert_eq!(missing.code, 1);
    says(
        &missing.stderr,
        &[
            "secret f: not found",
            ">>> RUN --mount=type=secret,id=f,required=true",
        ],
    );
}

/// An agent with one key, on a socket in a folder.
struct Agent(Child);

impl Agent {
    /// Nothing where OpenSSH's client is not installed.
    fn start(folder: &Path) -> Option<Self> {
        let socket = folder.join("agent");
        let mut agent = Command::new("ssh-agent");
        agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
        let agent = Self(agent.spawn().ok()?);
        let began = Instant::now();
        while !socket.exists() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "ssh-agent makes no socket"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let key = folder.join("key");
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f"])
            .arg(&key))
        .ok();
        run(Command::new("ssh-add")
            .arg("-q")
            .arg(&key)
            .env("SSH_AUTH_SOCK", &socket))
        .ok();
        Some(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // it may have ended by itself, which the test has noticed by then
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Copies a program of this machine into a context, with the libraries it is linked to.
fn copy_program(name: &str, context: &Context) {
    let path = run(Command::new("sh").args(["-c", &format!("command -v {name}")])).ok();
    let linked = run(Command::new("ldd").arg(path.text())).ok();
    let libraries = linked
        .stdout
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let folder = context.path().join("program");
    for file in libraries.chain([path.text()]) {
        let to = folder.join(file.trim_start_matches('/'));
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(file, to).unwrap();
    }
}

#[test]
fn an_agent_answers_within_a_step() {
    let Some(client) = Client::start() else { return };
    let Some(_agent) = Agent::start(client.daemon.folder()) else {
        println!("skipped: ssh-agent, of openssh-client, is not installed");
        return;
    };
    let context = Context::with_shell(
        "FROM base\nCOPY program /\nRUN --mount=type=ssh ssh-add -L; ssh-add -l\nRUN ssh-add -L\n",
    );
    copy_program("ssh-add", &context);
    let mut build = client.buildx(["build", "--progress=plain", "--ssh=default", context.arg()]);
    build.env("SSH_AUTH_SOCK", client.daemon.folder().join("agent"));
    let built = run(&mut build);
    // the second step has no agent
    assert_eq!(built.code, 1, "{}", built.stderr);
    let key = client.text("key.pub");
    let said = said(&built.stderr);
    assert_eq!(said[0], key.trim_end(), "{}", built.stderr);
    assert!(said[1].contains("SHA256:"), "{said:?}");
    says(&built.stderr, &[">>> RUN ssh-add -L", "exit code: 2"]);
}

#[test]
fn contexts_have_names() {
    let Some(client) = Client::start() else { return };
    client
        .build(["-t", "made", "--build-arg=WHO=image", greeting().arg()])
        .ok();
    let folder = Context::new("")
        .file("f", "of a folder")
        .file(".dockerignore", "ignored")
        .file("ignored", "");
    let context = Context::new(
        "FROM stage AS one\nRUN cp /made /copied\nFROM scratch\nCOPY --from=one /copied /\nCOPY --from=image /made /\nCOPY --from=files . /\n",
    );
    client
        .build([
            "--build-context=stage=docker-image://made",
            "--build-context=image=docker-image://docker.io/library/made:latest",
            &format!("--build-context=files={}", folder.arg()),
            "-o",
            "out",
            context.arg(),
        ])
        .ok();
    assert_eq!(client.text("out/copied"), "made by image\n");
    assert_eq!(client.text("out/made"), "made by image\n");
    assert_eq!(client.text("out/f"), "of a folder");
    assert!(!client.daemon.folder().join("out/ignored").exists());

    let missing = client.build([
        "--build-context=stage=docker-image://localhost:1/none",
        context.arg(),
    ]);
    assert_eq!(missing.code, 1);
    says(
        &missing.stderr,
        &["--build-context stage: cannot reach http://localhost:1/"],
    );
}

#[test]
fn a_dockerfile_comes_alone_or_beside_its_context() {
    let Some(client) = Client::start() else { return };
    let alone = client.build_fed(["-t", "alone", "-"], "FROM scratch\nLABEL a=b\n");
    alone.ok();
    assert_eq!(client.inspect("alone", "{{.Config.Labels}}"), "map[a:b]");
    let context = Context::new("FROM nothing\n").file("f", "x");
    client
        .build_fed(["-f-", "-o", "out", context.arg()], "FROM scratch\nCOPY f /g\n")
        .ok();
    assert_eq!(client.text("out/g"), "x");
    let elsewhere = Context::new("").file("other/name", "FROM scratch\nCOPY f /h\n");
    let file = elsewhere.path().join("other/name");
    client
        .build(["-f", file.to_str().unwrap(), "-o", "out", context.arg()])
        .ok();
    assert_eq!(client.text("out/h"), "x");
}

#[test]
fn a_tar_is_a_context() {
    let Some(client) = Client::start() else { return };
    let context = Context::new("FROM scratch\nCOPY f /\n")
        .file("f", "x")
        .file("D", "FROM scratch\nCOPY f /g\n");
    for option in ["-c", "-cz"] {
        let tar = client.daemon.folder().join("context.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(context.path())
            .arg(option)
            .arg("-f")
            .arg(&tar)
            .arg("."))
        .ok();
        let mut build = client.buildx(["build", "-f", "D", "-o", "out", "-"]);
        let built = build
            .stdin(fs_err::File::open(&tar).unwrap().into_file())
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        assert_eq!(client.text("out/g"), "x");
        fs_err::remove_dir_all(client.daemon.folder().join("out")).unwrap();
    }
}

/// A server of a folder's files, on this machine.
struct Files(Child, u16);

impl Files {
    fn serve(folder: &Path) -> Self {
        let port = mica_tests::servers::free_port();
        let mut server = Command::new("python3");
        server.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]);
        server
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = Self(server.spawn().unwrap(), port);
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "python3 serves nothing"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // it may have ended by itself, which the test has noticed by then
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn repositories_are_contexts() {
    let Some(client) = Client::start() else { return };
    let repository = Context::new("FROM scratch\nCOPY f /\n")
        .file("f", "of a repository")
        .file("below/Dockerfile", "FROM scratch\nCOPY g /\n")
        .file("below/g", "below");
    let commands = "git init -q -b main && git add . && git -c user.name=me -c user.email=me@example.org commit -q -m first && git update-server-info";
    run(Command::new("sh")
        .args(["-c", commands])
        .current_dir(repository.path()))
    .ok();
    let server = Files::serve(repository.path());
    let address = format!("http://127.0.0.1:{}/.git", server.1);
    client.build(["-o", "out", &format!("{address}#main")]).ok();
    assert_eq!(client.text("out/f"), "of a repository");
    client.build(["-o", "out", &format!("{address}#main:below")]).ok();
    assert_eq!(client.text("out/g"), "below");
    let context = Context::new("FROM scratch\nCOPY --from=there f /named\n");
    client
        .build([
            &format!("--build-context=there={address}#main"),
            "-o",
            "out",
            context.arg(),
        ])
        .ok();
    assert_eq!(client.text("out/named"), "of a repository");
    let missing = client.build([format!("{address}#no-such-branch")]);
    assert_eq!(missing.code, 1);
    says(&missing.stderr, &["no-such-branch"]);
}
