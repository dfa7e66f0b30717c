//! The archive that is sent for a folder, read back by `tar`.

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fake::{Fake, PROGRAM, files, outcome, reply};

/// The archive a build with these arguments sends.
fn sent(arguments: &[&str]) -> (Vec<u8>, String) {
    let fake = Fake::new([reply(200, "")]);
    let run = fake.run(&[&["build"], arguments].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    let asked = fake.asked().remove(0);
    (
        asked.body.expect("the archive arrived whole").to_vec(),
        fake.lines().remove(0),
    )
}

fn tar(archive: &[u8], arguments: &[&str]) -> Vec<u8> {
    let mut child = Command::new("tar")
        .args(arguments)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = archive.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    let _closed_early = writer.join().unwrap();
    assert!(output.status.success(), "tar {arguments:?}");
    output.stdout
}

fn names(archive: &[u8]) -> Vec<String> {
    String::from_utf8(tar(archive, &["-tf", "-"]))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_tree_arrives_as_it_is() {
    let (folder, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = files(
        folder.path(),
        &[
            ("Dockerfile", "FROM scratch\n"),
            ("dir/file", "text"),
            ("empty", ""),
        ],
    );
    let long = format!("dir/{}/{}", "l".repeat(90), "é".repeat(60));
    files(&root, &[(&long, "long")]);
    let odd = root.join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    fs::write(&odd, "odd").unwrap();
    symlink("../nowhere", root.join("link")).unwrap();
    symlink("t".repeat(150), root.join("longlink")).unwrap();
    fs::hard_link(root.join("dir/file"), root.join("twin")).unwrap();
    fs::set_permissions(root.join("dir/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(root.join("dir"), fs::Permissions::from_mode(0o2751)).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(root.join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    for (path, time) in [("empty", "@1.25"), ("dir", "@5"), ("Dockerfile", "@-1.75")] {
        assert!(
            Command::new("touch")
                .args(["-d", time, text(&root.join(path))])
                .status()
                .unwrap()
                .success()
        );
    }
    let (archive, _) = sent(&[text(&root)]);
    let out = target.path();
    tar(&archive, &["-xpf", "-", "--same-permissions", "-C", text(out)]);
    let data = |path: &str| fs::symlink_metadata(out.join(path)).unwrap();
    assert_eq!(fs::read_to_string(out.join(&long)).unwrap(), "long");
    assert_eq!(
        fs::read_to_string(out.join(odd.file_name().unwrap())).unwrap(),
        "odd"
    );
    assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("../nowhere"));
    assert_eq!(
        fs::read_link(out.join("longlink")).unwrap().as_os_str().len(),
        150
    );
    assert_eq!(data("dir/file").ino(), data("twin").ino());
    assert_eq!(data("dir/file").mode() & 0o7777, 0o4755);
    assert_eq!(data("dir").mode() & 0o7777, 0o2751);
    assert_eq!(
        (data("empty").mtime(), data("empty").mtime_nsec()),
        (1, 250_000_000)
    );
    assert_eq!(
        (data("Dockerfile").mtime(), data("Dockerfile").mtime_nsec()),
        (-2, 250_000_000)
    );
    assert_eq!(data("dir").mtime(), 5);
    use std::os::unix::fs::FileTypeExt as _;
    assert!(data("pipe").file_type().is_fifo());
    assert!(!out.join("socket").exists());
    let listing = String::from_utf8_lossy(&tar(&archive, &["--numeric-owner", "-tvf", "-"])).into_owned();
    assert!(
        listing
            .lines()
            .all(|line| line.split_whitespace().nth(1) == Some("0/0")),
        "{listing}"
    );
    assert_eq!(
        archive,
        sent(&[text(&root)]).0,
        "the same folder gives the same bytes"
    );
}

#[test]
fn entries_come_in_order_and_large_files_whole() {
    let folder = tempfile::tempdir().unwrap();
    let root = files(
        folder.path(),
        &[
            ("Dockerfile", "FROM scratch\n"),
            ("b/2", ""),
            ("b/1", ""),
            ("a", ""),
            ("b.c", ""),
        ],
    );
    let bytes: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    fs::write(root.join("large"), &bytes).unwrap();
    let (archive, _) = sent(&[text(&root)]);
    assert_eq!(
        names(&archive),
        ["Dockerfile", "a", "b/", "b/1", "b/2", "b.c", "large"]
    );
    assert_eq!(tar(&archive, &["-xOf", "-", "large"]), bytes);
    assert_eq!(archive.len() % 512, 0);
}

#[test]
fn ignored_paths_stay_at_home() {
    let folder = tempfile::tempdir().unwrap();
    let root = files(
        folder.path(),
        &[
            ("Dockerfile", ""),
            (".dockerignore", "# all but\n*\n!src\n!deep/er/keep\nsrc/*.o\n"),
            ("src/a.c", ""),
            ("src/a.o", ""),
            ("deep/er/keep", ""),
            ("deep/er/drop", ""),
            ("deep/other/drop", ""),
            ("other", ""),
        ],
    );
    fs::set_permissions(root.join("deep/er"), fs::Permissions::from_mode(0o710)).unwrap();
    let (archive, _) = sent(&[text(&root)]);
    assert_eq!(
        names(&archive),
        [
            ".dockerignore",
            "Dockerfile",
            "deep/",
            "deep/er/",
            "deep/er/keep",
            "src/",
            "src/a.c"
        ]
    );
    let listing = String::from_utf8_lossy(&tar(&archive, &["-tvf", "-"])).into_owned();
    assert!(listing.contains("drwx--x--- 0/0"), "{listing}");
    files(&root, &[("Dockerfile.dockerignore", "src\n")]);
    assert!(
        names(&sent(&[text(&root)]).0).contains(&"other".to_owned()),
        "its own ignore file instead of the other"
    );
    fs::write(
        root.join("Dockerfile.dockerignore"),
        "Dockerfile\n.dockerignore\nsrc\n",
    )
    .unwrap();
    let (archive, line) = sent(&[text(&root)]);
    assert!(
        line.contains("?dockerfile=.dockerfile."),
        "an own ignore file leaves the Dockerfile out: {line}"
    );
    assert!(!names(&archive).contains(&"Dockerfile".to_owned()));
    let ignore = String::from_utf8(tar(&archive, &["-xOf", "-", ".dockerignore"])).unwrap();
    assert!(ignore.starts_with(".dockerignore\n.dockerfile."), "{ignore}");
    fs::write(root.join("Dockerfile.dockerignore"), "!\n").unwrap();
    let run = Fake::new([]).run(&["build", text(&root)]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("line 1: illegal exclusion pattern"),
        "{run:?}"
    );
}

#[test]
fn dockerfiles_are_found_inside_and_outside() {
    let folder = tempfile::tempdir().unwrap();
    let root = files(
        folder.path(),
        &[
            ("ctx/sub/My.file", ""),
            ("ctx/a", ""),
            ("out/Dockerfile", "FROM scratch\n"),
        ],
    );
    let ctx = root.join("ctx");
    let (archive, line) = sent(&["-f", text(&ctx.join("sub/My.file")), text(&ctx)]);
    assert!(line.contains("?dockerfile=sub/My.file&"), "{line}");
    assert_eq!(names(&archive), ["a", "sub/", "sub/My.file"]);
    let outside = root.join("out/Dockerfile");
    let (archive, line) = sent(&["-f", text(&outside), text(&ctx)]);
    let name = line
        .split("dockerfile=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap()
        .to_owned();
    assert!(name.starts_with(".dockerfile."), "{line}");
    assert_eq!(
        names(&archive),
        ["a", "sub/", "sub/My.file", &name, ".dockerignore"]
    );
    assert_eq!(tar(&archive, &["-xOf", "-", &name]), b"FROM scratch\n");
    let ignore = String::from_utf8(tar(&archive, &["-xOf", "-", ".dockerignore"])).unwrap();
    assert_eq!(ignore, format!(".dockerignore\n{name}\n"));
    fs::rename(ctx.join("a"), ctx.join("dockerfile")).unwrap();
    assert!(sent(&[text(&ctx)]).1.contains("dockerfile=dockerfile"));
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let fake = Fake::new([reply(200, "")]);
    let run = fake.run(&["build", text(&root.join("none"))]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("unable to prepare context: path \""),
        "{run:?}"
    );
    let run = fake.run(&["build", text(root)]);
    assert!(
        run.stderr
            .contains("unable to evaluate symlinks in Dockerfile path: lstat "),
        "{run:?}"
    );
    assert!(
        run.stderr.ends_with("/Dockerfile: no such file or directory\n"),
        "{run:?}"
    );
    assert!(fake.asked().is_empty());
    files(root, &[("Dockerfile", ""), ("locked", "")]);
    fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything: become nobody, who reaches a copy of the program wherever the program itself is. Were it
    // written by this process, another test's child could hold it open for writing, and it would not start (ETXTBSY).
    let reachable = tempfile::tempdir().unwrap();
    fs::set_permissions(reachable.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = reachable.path().join("mica");
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap();
    assert!(copied.success());
    let mut command = fake.command_of(&program, &["build", text(root)]);
    if fs::metadata(root).unwrap().uid() == 0 {
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        let socket = fake.host().replace("unix://", "");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(
            Path::new(&socket).parent().unwrap(),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        use std::os::unix::process::CommandExt as _;
        command.uid(65534).gid(65534);
    }
    let run = outcome(command);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stderr
            .contains("error checking context: no permission to read from '"),
        "{run:?}"
    );
    assert!(run.stderr.ends_with("/locked'\n"), "{run:?}");
}

#[test]
fn attributes_of_users_are_sent() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = files(folder.path(), &[("Dockerfile", "")]);
    let file = fs::File::open(root.join("Dockerfile")).unwrap();
    rustix::fs::fsetxattr(&file, c"user.mica", b"va\0lue", rustix::fs::XattrFlags::empty()).unwrap();
    let (archive, _) = sent(&[text(&root)]);
    let record = b"33 SCHILY.xattr.user.mica=va\0lue\n";
    assert!(archive.windows(record.len()).any(|window| window == record));
}
