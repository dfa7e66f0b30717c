//! Mounts that are put together for one run: parts of layers' trees, files in memory, hidden variables.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mica_sandbox::{Error, Hidden, MountSpec, Scratch};

use crate::Test;
use crate::room::Room;

pub(crate) const TESTS: &[Test] = &[
    ("lending::parts_of_one_tree", parts_of_one_tree),
    ("lending::parts_of_several_trees", parts_of_several_trees),
    (
        "lending::what_is_written_goes_nowhere",
        what_is_written_goes_nowhere,
    ),
    ("lending::a_part_is_never_outside", a_part_is_never_outside),
    ("lending::files_in_memory", files_in_memory),
    ("lending::hidden_variables", hidden_variables),
    ("lending::sockets", sockets),
    ("lending::nothing_of_it_stays", nothing_of_it_stays),
];

/// A tree beside the image.
fn tree(room: &Room, name: &str, files: &[(&str, &str)]) -> PathBuf {
    for (path, text) in files {
        room.file(&format!("{name}/{path}"), text);
    }
    room.path(name)
}

fn part(lowers: &[PathBuf], path: &str, target: &str, scratch: Option<Scratch>) -> MountSpec {
    MountSpec::Layers {
        lowers: lowers.to_vec(),
        path: path.into(),
        target: target.into(),
        scratch,
    }
}

fn scratch(room: &Room, name: &str) -> Scratch {
    let [upper, work] = ["upper", "work"].map(|kind| {
        let path = room.path(&format!("{name}-{kind}"));
        fs::create_dir(&path).unwrap();
        path
    });
    Scratch { upper, work }
}

fn parts_of_one_tree() {
    let mut room = Room::script(
        "cat /all/d/f /dir/f /file; for f in /all/x /dir/f /file; do (echo x > $f) 2>/dev/null && echo wrote $f; done; \
         grep -cE ' /(all|dir|file) .* ro,nodev' /proc/mounts",
    );
    let one = tree(&room, "one", &[("d/f", "text\n")]);
    let one = std::slice::from_ref(&one);
    room.spec.mounts = vec![
        part(one, "/", "/all", None),
        part(one, "/d", "/dir", None),
        part(one, "/d/f", "/file", None),
    ];
    assert_eq!(room.stdout(), "text\ntext\ntext\n3\n");
    assert_eq!(room.changes(), [""; 0]);
}

fn parts_of_several_trees() {
    let mut room = Room::script("cat /m/f /m/own /n; (echo x > /m/f) 2>/dev/null && echo wrote; ls /m");
    let upper = tree(&room, "upper-tree", &[("d/f", "upper\n")]);
    let lower = tree(&room, "lower-tree", &[("d/f", "lower\n"), ("d/own", "own\n")]);
    let both = [upper, lower];
    room.spec.mounts = vec![part(&both, "/d", "/m", None), part(&both, "/d/f", "/n", None)];
    assert_eq!(room.stdout(), "upper\nown\nupper\nf\nown\n");
    assert_eq!(room.changes(), [""; 0]);
}

fn what_is_written_goes_nowhere() {
    let mut room = Room::script(
        "echo more >> /m/f; echo new > /m/new; echo over > /n; cat /m/f /m/new /n; rm /m/own; ls /m",
    );
    let one = tree(&room, "one", &[("d/f", "text\n"), ("d/own", "own\n")]);
    let lowers = std::slice::from_ref(&one);
    room.spec.mounts = vec![
        part(lowers, "/d", "/m", Some(scratch(&room, "a"))),
        part(lowers, "/d/f", "/n", Some(scratch(&room, "b"))),
    ];
    assert_eq!(room.stdout(), "text\nmore\nnew\nover\nf\nnew\n");
    assert_eq!(fs::read_to_string(one.join("d/f")).unwrap(), "text\n");
    assert!(one.join("d/own").exists() && !one.join("d/new").exists());
    assert_eq!(room.changes(), [""; 0]);
}

fn a_part_is_never_outside() {
    for (number, path) in ["/link/passwd", "/../x", "/gone", "/f/x"].into_iter().enumerate() {
        for scratched in [false, true] {
            let mut room = Room::new();
            let one = tree(&room, "one", &[("f", "text\n")]);
            std::os::unix::fs::symlink("/etc", one.join("link")).unwrap();
            let scratch = scratched.then(|| scratch(&room, &number.to_string()));
            room.spec.mounts = vec![part(&[one], path, "/m", scratch)];
            match room.try_run() {
                Err(Error::SetUp { step, .. }) => assert!(step.contains(path), "{step}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}

fn file(content: &[u8], target: &str, mode: u32, owner: (u32, u32)) -> MountSpec {
    MountSpec::File {
        content: Hidden::from(content.to_vec()),
        target: target.into(),
        mode,
        uid: owner.0,
        gid: owner.1,
    }
}

fn files_in_memory() {
    let mut room = Room::script(
        "cat /run/secrets/a; stat -c '%a %u %g' /run/secrets/a /b; (echo x > /b) 2>/dev/null && echo wrote; wc -c < /b; \
         (chmod 777 /b) 2>/dev/null && echo changed; grep -cE ' (/run/secrets/a|/b) ramfs ro,nosuid,nodev,noexec' /proc/mounts; ls /run/secrets",
    );
    room.spec.mounts = vec![
        file(b"s3cret\n", "/run/secrets/a", 0o400, (0, 0)),
        file(&vec![b'x'; 300_000], "/b", 0o4755, (1000, 1001)),
    ];
    assert_eq!(room.stdout(), "s3cret\n400 0 0\n4755 1000 1001\n300000\n2\na\n");
    assert_eq!(room.changes(), [""; 0]);
    // not for others
    let mut room = Room::script("cat /run/secrets/a");
    room.spec.user = "ann".to_owned();
    room.spec.mounts = vec![file(b"s3cret\n", "/run/secrets/a", 0o400, (0, 0))];
    let ran = room.run();
    assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
}

fn hidden_variables() {
    let mut room = Room::script("echo \"$TOKEN:$PLAIN:$OTHER\"; env | grep -c '^TOKEN='");
    room.spec.env = ["TOKEN=old", "PLAIN=p"].map(str::to_owned).to_vec();
    let hidden = |name: &str, value: &str| (name.to_owned(), Hidden::from(value.as_bytes().to_vec()));
    room.spec.hidden_env = vec![hidden("TOKEN", "s3cret=x"), hidden("OTHER", "")];
    assert_eq!(room.stdout(), "s3cret=x:p:\n1\n");
    assert!(!format!("{:?}", room.spec).contains("s3cret"));
    // no error repeats it
    room.fresh(1);
    room.spec.hidden_env = vec![hidden("TOKEN", "s3cret\0")];
    let error = room.try_run().unwrap_err().to_string();
    assert!(error.contains("TOKEN") && !error.contains("s3cret"), "{error}");
}

/// What listens outside is reached from inside, on a network of its own too.
fn sockets() {
    let mut room = Room::script("stat -c %a /run/agent.0; ln -s /run/agent.0 /dev/log; logger ping");
    let path = room.path("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    room.spec.network = mica_sandbox::Network::None;
    room.spec.mounts = vec![MountSpec::Bind {
        source: path,
        target: "/run/agent.0".into(),
        read_only: true,
        inert: true,
    }];
    assert_eq!(room.stdout(), "600\n");
    let mut heard = [0; 200];
    let count = socket.recv(&mut heard).unwrap();
    let heard = String::from_utf8_lossy(&heard[..count]).into_owned();
    assert!(heard.contains("ping"), "{heard}");
    assert_eq!(room.changes(), [""; 0]);
}

/// Neither mounts nor files are left on the host, however it ends.
fn nothing_of_it_stays() {
    let mut room = Room::script("exit 3");
    let one = tree(&room, "one", &[("d/f", "text\n")]);
    let two = tree(&room, "two", &[("d/g", "text\n")]);
    let before = fs::metadata(&one).unwrap().mtime();
    room.spec.mounts = vec![
        part(&[one.clone(), two], "/d", "/m", None),
        file(b"s3cret", "/s", 0o400, (0, 0)),
        part(std::slice::from_ref(&one), "/gone", "/x", None),
    ];
    room.try_run().unwrap_err();
    room.spec.mounts.pop();
    room.fresh(1);
    assert_eq!(room.run().outcome.exit.code(), 3);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(room.path("").to_str().unwrap()), "{mounts}");
    assert_eq!(fs::metadata(&one).unwrap().mtime(), before);
    assert!(!holds(&room.path(""), b"s3cret"));
}

/// Whether any file below has these bytes.
fn holds(place: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(place).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            return holds(&entry.path(), bytes);
        }
        kind.is_file()
            && fs::read(entry.path())
                .unwrap()
                .windows(bytes.len())
                .any(|part| part == bytes)
    })
}
