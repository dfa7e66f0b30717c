//! Files that a client tells of and sends: as few as needed, and not what makes no sense.

use std::time::{Duration, Instant};

use mica_buildkit::message::control::SolveResponse;
use mica_buildkit::{FileKind, Stat};
use mica_tests::{Context, Daemon};
use tonic::{Code, Status};

use crate::build::{Build, Built, SOLVE, WAYS, Way};
use crate::client::Client;
use crate::folder::{Folder, Manner, entry};
use crate::session::Session;
use crate::{LONG, within};

/// How long a build may go on that nobody wants.
const STOPPED: Duration = Duration::from_secs(20);

async fn build(daemon: &Daemon, folder: &Folder, way: Way) -> Built {
    let client = Client::upgraded(daemon).await;
    let session = Session::of(folder).attach(daemon).await;
    within(LONG, Build::new(&session.id).run(&client, way)).await
}

#[tokio::test]
async fn only_what_changed_is_sent_again() {
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nCOPY . /\n");
    for number in 0..2000 {
        context.write(&format!("d{}/f{number}", number % 20), &format!("text {number}"));
    }
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    let age = |path: &std::path::Path| {
        let file = fs_err::File::options().write(true).open(path).unwrap();
        file.file().set_modified(old).unwrap();
    };
    for number in 0..2000 {
        age(&context.path().join(format!("d{}/f{number}", number % 20)));
    }
    age(&context.path().join("Dockerfile"));
    let files = |asked: Vec<String>| asked.into_iter().filter(|path| path.contains("/f")).count();

    let folder = Folder::of(context.path());
    let first = build(&daemon, &folder, Way::Gateway).await.ok();
    assert_eq!(files(folder.asked()), 2000);
    let began = Instant::now();
    let again = build(&daemon, &folder, Way::Gateway).await.ok();
    println!("2,000 files unchanged: {:?}", began.elapsed());
    assert_eq!(files(folder.asked()), 0);
    assert_eq!(first.image(), again.image());
    assert!(again.told.step("COPY . /").cached);

    context.write("d7/f7", "changed");
    age(&context.path().join("d7/f7"));
    let folder = Folder::of(context.path());
    let changed = build(&daemon, &folder, Way::Direct).await.ok();
    let asked = folder.asked();
    let asked: Vec<&String> = asked.iter().filter(|path| path.contains('/')).collect();
    // the layer is made anew, of files that are here in the layer before or have to be sent
    println!("one file of 2,000 changed: {} sent", asked.len());
    assert_ne!(first.image(), changed.image());
    assert!(
        asked.contains(&&"d7/f7".to_owned()) && asked.len() <= 2000,
        "none twice"
    );
    let third = build(&daemon, &folder, Way::Direct).await.ok();
    assert_eq!(changed.image(), third.image());
    assert_eq!(files(folder.asked()), 0);
}

#[tokio::test]
async fn what_is_not_copied_is_not_sent() {
    let daemon = Daemon::start();
    let folder = Folder::with("FROM scratch\nCOPY wanted /\n")
        .file("unwanted", "no")
        .file("wanted", "yes");
    build(&daemon, &folder, Way::Gateway).await.ok();
    let asked = folder.asked();
    assert!(
        asked.contains(&"wanted".to_owned()) && !asked.contains(&"unwanted".to_owned()),
        "{asked:?}"
    );
}

#[tokio::test]
async fn files_that_look_the_same_are_told_apart_by_their_folders() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let mut images = Vec::new();
    for (key, text) in [("one", "aaaa"), ("two", "bbbb"), ("", "cccc"), ("", "dddd")] {
        let folder = Folder::with("FROM scratch\nCOPY f /\n").file("f", text);
        let session = Session::of(&folder).key(key).attach(&daemon).await;
        let built = within(LONG, Build::new(&session.id).run(&client, Way::Gateway)).await;
        images.push(built.ok().image().to_owned());
    }
    images.sort();
    images.dedup();
    assert_eq!(images.len(), 4, "somebody got somebody else's file");
}

#[tokio::test]
async fn names_sort_as_directories_do() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nCOPY d /d/\nRUN find /d | sort\n")
        .file("d/a/x", "")
        .file("d/a-b/y", "")
        .file("d/a.c", "")
        .file("d/a/z/w", "");
    let built = build(&daemon, &Folder::of(context.path()), Way::Direct)
        .await
        .ok();
    assert_eq!(
        built.told.output(),
        "/d\n/d/a\n/d/a-b\n/d/a-b/y\n/d/a.c\n/d/a/x\n/d/a/z\n/d/a/z/w\n"
    );
}

/// A build of a Dockerfile and what else is told after it.
async fn lied_to(daemon: &Daemon, stats: &[Stat]) -> Result<Built, Status> {
    let mut folder = Folder::with("FROM scratch\nCOPY . /\n");
    for stat in stats {
        folder = folder.told(stat.clone(), b"some bytes");
    }
    let built = build(daemon, &folder, Way::Gateway).await;
    assert!(built.told.ended);
    match &built.answer {
        Ok(_) => Ok(built),
        Err(status) => Err(status.clone()),
    }
}

#[tokio::test]
async fn nonsense_is_refused_in_one_line() {
    let daemon = Daemon::start();
    let file = |path: &str| entry(path, FileKind::File, 10);
    let directory = |path: &str| entry(path, FileKind::Directory, 0);
    let linked = |path: &str, to: &str| Stat {
        linkname: to.to_owned(),
        ..file(path)
    };
    let huge = |path: &str| entry(path, FileKind::File, i64::MAX);
    let cases: Vec<(&str, Vec<Stat>)> = vec![
        ("above the folder", vec![file("../x")]),
        ("above the folder, later", vec![directory("a"), file("a/../../x")]),
        ("no name", vec![file("")]),
        ("only a dot", vec![file(".")]),
        ("twice", vec![file("x"), file("x")]),
        ("twice, as something else", vec![file("x"), directory("x")]),
        ("a child before its directory", vec![file("a/x"), directory("a")]),
        ("in a file", vec![file("a"), file("a/x")]),
        (
            "in a link",
            vec![
                Stat {
                    linkname: "/".to_owned(),
                    ..entry("a", FileKind::Symlink, 0)
                },
                file("a/x"),
            ],
        ),
        ("another name of nothing", vec![linked("x", "y")]),
        ("another name of itself", vec![linked("x", "x")]),
        (
            "another name of a directory",
            vec![directory("d"), linked("x", "d")],
        ),
        ("less than nothing", vec![entry("x", FileKind::File, -1)]),
        ("a name of 64 KiB", vec![file(&"n".repeat(64 << 10))]),
        ("a NUL", vec![file("a\0b")]),
        ("more than any file", vec![huge("x"), huge("y"), huge("z")]),
        ("more than was told", vec![entry("x", FileKind::File, 3)]),
        ("fewer than were told", vec![entry("x", FileKind::File, 300)]),
        ("none where some were told", vec![entry("x", FileKind::File, 11)]),
    ];
    for (what, stats) in cases {
        let status = lied_to(&daemon, &stats).await.expect_err(what);
        assert!(
            matches!(status.code(), Code::InvalidArgument | Code::Unavailable),
            "{what}: {status:?}"
        );
        assert!(
            status.message().len() < 2000,
            "{what}: {} bytes",
            status.message().len()
        );
        println!(
            "{what}: {}",
            status.message().chars().take(200).collect::<String>()
        );
    }
    // strange, and no harm
    for (what, stats) in [
        ("a leading slash", vec![file("/x")]),
        (
            "a socket",
            vec![Stat {
                mode: 1 << 24 | 0o644,
                ..file("x")
            }],
        ),
        (
            "a link to nowhere",
            vec![Stat {
                linkname: "../../nowhere".to_owned(),
                ..entry("x", FileKind::Symlink, 0)
            }],
        ),
        (
            "long before and after",
            vec![
                Stat {
                    mod_time: i64::MIN,
                    ..file("x")
                },
                Stat {
                    mod_time: i64::MAX,
                    ..file("y")
                },
            ],
        ),
        (
            "all bits",
            vec![Stat {
                mode: 0o7777 | 1 << 23 | 1 << 22 | 1 << 20,
                ..file("x")
            }],
        ),
        ("another name", vec![file("x"), linked("y", "x")]),
    ] {
        if let Err(status) = lied_to(&daemon, &stats).await {
            panic!("{what}: {status:?}");
        }
    }
    daemon.mica(["version"]).ok();
}

#[tokio::test]
async fn clients_that_break_off_are_told_of() {
    let daemon = Daemon::start();
    for (manner, words) in [
        (Manner::Leaves, "stopped sending"),
        (Manner::GivesUp, "the disk is on fire"),
        (Manner::Confused, "makes no sense"),
        (Manner::SendsUnasked, "not asked for"),
    ] {
        let folder = Folder::with("FROM scratch\nCOPY big /\n")
            .file("big", &"x".repeat(100_000))
            .manner(manner);
        for way in WAYS {
            let built = build(&daemon, &folder, way).await;
            let status = built.answer.unwrap_err();
            assert!(status.message().contains(words), "{manner:?}: {status:?}");
            assert!(built.told.ended);
        }
    }
}

/// Folders that running builds have in the store.
fn work(daemon: &Daemon) -> usize {
    fs_err::read_dir(daemon.root().join("mica/work")).unwrap().count()
}

/// Waits until a build has got so far.
async fn has_begun(mut so_far: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so_far() {
        assert!(began.elapsed() < LONG, "it does not begin");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_client_that_says_no_more_can_be_left() {
    let daemon = Daemon::start();
    for manner in [Manner::NeverTells, Manner::StopsInTheMiddle] {
        for way in WAYS {
            let folder = Folder::with("FROM scratch\nCOPY big /\n")
                .file("big", &"x".repeat(100_000))
                .manner(manner);
            let client = Client::upgraded(&daemon).await;
            // it stays all the time, and so does the connection
            let session = Session::of(&folder).attach(&daemon).await;
            let build = Build::new(&session.id);
            let name = build.request.reference.clone();
            let building = tokio::spawn({
                let client = client.clone();
                async move { build.run(&client, way).await }
            });
            let (mut exchanges, mut asked) = (0, Vec::new());
            has_begun(|| {
                asked.extend(folder.asked());
                exchanges += folder.excluded().len();
                match manner {
                    Manner::StopsInTheMiddle => asked.contains(&"big".to_owned()) && work(&daemon) > 0,
                    // that of the Dockerfile, or more
                    _ => exchanges > 0,
                }
            })
            .await;
            let path = format!("/build/cancel?id={name}");
            let (answer, _) = crate::client::dial_plain(&daemon, &path).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            let built = within(STOPPED, building).await.unwrap();
            built.failure(Code::Cancelled);
            let began = Instant::now();
            while work(&daemon) > 0 {
                assert!(began.elapsed() < STOPPED, "{manner:?} {way:?}: it still waits");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    // the same for one who just hangs up
    let folder = Folder::with("FROM scratch\nCOPY big /\n")
        .file("big", &"x".repeat(100_000))
        .manner(Manner::StopsInTheMiddle);
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&folder).attach(&daemon).await;
    let build = Build::new(&session.id).direct();
    let solving = tokio::spawn({
        let client = client.clone();
        async move { client.ask::<_, SolveResponse>(SOLVE, build).await }
    });
    has_begun(|| work(&daemon) > 0).await;
    solving.abort();
    let began = Instant::now();
    while work(&daemon) > 0 {
        assert!(began.elapsed() < STOPPED, "it still waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn ignore_files_go_to_the_client_and_are_kept_to() {
    let daemon = Daemon::start();
    let dockerfile = "FROM base\nCOPY . /c/\nRUN cd /c && find . -type f | sort\n";
    let context = Context::with_shell(dockerfile)
        .file(
            ".dockerignore",
            "# note\nsecret*\n!secret.pub\nDockerfile*\n.dockerignore\nbusybox\n!busybox\n",
        )
        .file("secret.key", "x")
        .file("secret.pub", "x")
        .file("d/secret", "x");
    let mut folder = Folder::of(context.path());
    for manner in [Manner::TellsAll, Manner::Honest] {
        folder = folder.manner(manner);
        let client = Client::upgraded(&daemon).await;
        let session = Session::of(&folder)
            .key(&format!("{manner:?}"))
            .attach(&daemon)
            .await;
        let build = Build::new(&session.id).attr("no-cache", "");
        let built = within(LONG, build.run(&client, Way::Gateway)).await.ok();
        assert_eq!(built.told.output(), "./busybox\n./d/secret\n./secret.pub\n");
    }
    let patterns = folder.excluded().pop().unwrap();
    assert_eq!(
        patterns,
        [
            "secret*",
            "!secret.pub",
            "Dockerfile*",
            ".dockerignore",
            "busybox",
            "!busybox"
        ]
    );

    // the Dockerfile's own takes its place
    context.write("Dockerfile.dockerignore", "**/secret*\nDock*\n.dock*\n");
    let folder = Folder::of(context.path());
    let built = build(&daemon, &folder, Way::Direct).await.ok();
    assert_eq!(built.told.output(), "./busybox\n");
}

#[tokio::test]
async fn names_of_any_letters_arrive() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nCOPY [\"f ü%2F+\", \"/f\"]\nRUN cat /f\n")
        .file("f ü%2F+", "odd\n")
        .file(".dockerignore", "ö + %41\n");
    let text = fs_err::read_to_string(context.path().join("Dockerfile")).unwrap();
    context.write("Döcker %41+file", &text);
    fs_err::remove_file(context.path().join("Dockerfile")).unwrap();
    let folder = Folder::of(context.path());
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&folder).attach(&daemon).await;
    let build = Build::new(&session.id).attr("filename", "Döcker %41+file");
    let built = within(LONG, build.run(&client, Way::Gateway)).await.ok();
    assert_eq!(built.told.output(), "odd\n");
    assert_eq!(folder.excluded().pop().unwrap(), ["ö + %41"]);
}
