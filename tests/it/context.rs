//! Build contexts: handed over, sent as a tar where they cannot be, and the same image either way.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use mica_tests::{Daemon, Options, Ran, run};

fn context(at: &Path) {
    fs_err::create_dir_all(at.join("sub")).unwrap();
    fs_err::write(at.join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    fs_err::write(at.join("sub/a"), "text").unwrap();
    fs_err::write(at.join("left-out"), "text").unwrap();
    fs_err::write(at.join(".dockerignore"), "left-out\n").unwrap();
    for path in [at, &at.join("sub")] {
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

fn id(ran: Ran) -> String {
    ran.ok().text().to_owned()
}

/// Passes bytes on and drops descriptors, as ssh does.
fn forward(from: &Path, to: &Path) {
    let listener = UnixListener::bind(from).unwrap();
    let to = to.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = UnixStream::connect(&to).unwrap();
            for (from, to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                thread::spawn(move || copy(from, to));
            }
        }
    });
}

fn copy(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // the other side may have gone first
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_folder_gives_one_image_whichever_way_it_comes() {
    let daemon = Daemon::start();
    let folder = daemon.folder().join("context");
    context(&folder);
    let path = folder.to_str().unwrap();
    let handed = id(daemon.mica(["build", "-q", path]));
    // what was handed over left no tar behind, and a second look finds nothing new
    assert_eq!(id(daemon.mica(["build", "-q", path])), handed);
    let socket = daemon.folder().join("forwarded.sock");
    forward(&socket, &daemon.socket());
    let mut command = daemon.command(["build", "-q", path]);
    command.env("MICA_HOST", format!("unix://{}", socket.display()));
    assert_eq!(id(run(&mut command)), handed);
    let mut command = daemon.command(["build", "-q", "--secret", "id=s,src=/dev/null", path]);
    command.env("MICA_HOST", format!("unix://{}", socket.display()));
    let refused = run(&mut command);
    assert!(
        refused.stderr.contains("takes no descriptors"),
        "{}",
        refused.stderr
    );
}

#[test]
fn another_user_sends_a_tar() {
    let daemon = Daemon::with(Options::default().settings(r#"{"rights": {"build": {"users": ["65534"]}}}"#));
    let folder = daemon.folder().join("context");
    context(&folder);
    fs_err::set_permissions(daemon.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    let handed = id(daemon.mica(["build", "-q", folder.to_str().unwrap()]));
    // a folder only its owner may read is not read for others
    fs_err::set_permissions(folder.join("sub"), PermissionsExt::from_mode(0o700)).unwrap();
    let as_nobody = || {
        let mica = daemon.command(["build", "-q", folder.to_str().unwrap()]);
        let copy = daemon.folder().join("mica");
        // were it written by this process, another test's child could hold it open for writing (ETXTBSY)
        let mut copied = std::process::Command::new("cp");
        let copied = copied.arg(mica.get_program()).arg(&copy).status().unwrap();
        assert!(copied.success());
        fs_err::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(copy)
            .args(mica.get_args())
            .env("MICA_HOST", daemon.host())
            .env("MICA_NO_START", "1")
            .env("HOME", "/nonexistent");
        run(&mut command)
    };
    let refused = as_nobody();
    assert!(
        refused.stderr.contains("no permission to read"),
        "{}",
        refused.stderr
    );
    fs_err::set_permissions(folder.join("sub"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(id(as_nobody()), handed);
}

#[test]
fn standard_input_has_the_dockerfile_or_all() {
    let daemon = Daemon::start();
    let folder = daemon.folder().join("context");
    context(&folder);
    let path = folder.to_str().unwrap();
    let ran = daemon.mica_fed(
        ["build", "-q", "-f", "-", path],
        "FROM scratch\nCOPY sub /there\n",
    );
    id(ran);
    let ran = daemon.mica_fed(["build", "-q", "-"], "FROM scratch\nLABEL a=b\n");
    id(ran);
    let ran = daemon.mica_fed(["build", "-q", "-"], "FROM scratch\nCOPY sub /\n");
    assert!(ran.stderr.contains("stat sub"), "{}", ran.stderr);
}
