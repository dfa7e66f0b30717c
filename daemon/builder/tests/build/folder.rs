//! A context that is a folder gives what its tar would.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mica_builder::{Input, Options, Source};
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;

use crate::world::{Image, World, args, options, told};

fn open(folder: &Path) -> Source {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Source::Folder(rustix::fs::open(folder, flags, Mode::empty()).unwrap())
}

fn build(world: &World, options: &Options, folder: &Path) -> Image {
    match world.build_input(options, Input::of(open(folder))) {
        Ok(built) => world.look(&built),
        Err(error) => panic!("{}", told(&error)),
    }
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn only_what_is_kept_is_copied_and_the_dockerfile_need_not_be() {
    let folder = TempDir::new().unwrap();
    write(
        folder.path(),
        &[
            ("Dockerfile", "FROM scratch\nCOPY . /\n"),
            (".dockerignore", "Dockerfile\n.dockerignore\nout\n!out/k\n*.o\n"),
            ("a", "1"),
            ("b.o", "2"),
            ("out/k", "3"),
            ("out/n", "4"),
        ],
    );
    let image = build(&World::new(), &Options::default(), folder.path());
    assert_eq!(image.files(), ["/a \"1\"", "/out/", "/out/k \"3\""]);
}

#[test]
fn what_is_left_out_is_never_looked_at() {
    let folder = TempDir::new().unwrap();
    write(
        folder.path(),
        &[
            ("Dockerfile", "FROM scratch\nCOPY . /\n"),
            (".dockerignore", "*\n!a\n"),
            ("a", "1"),
            ("deep/x", "2"),
        ],
    );
    // whoever lists it would fail, unless it is root
    fs::set_permissions(folder.path().join("deep"), fs::Permissions::from_mode(0o0)).unwrap();
    let image = build(&World::new(), &Options::default(), folder.path());
    assert_eq!(image.files(), ["/a \"1\""]);
    fs::set_permissions(folder.path().join("deep"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_dockerfile_comes_apart() {
    let folder = TempDir::new().unwrap();
    write(
        folder.path(),
        &[
            ("Dockerfile", "not this one"),
            ("Dockerfile.dockerignore", "*"),
            ("a", "1"),
        ],
    );
    let world = World::new();
    let input = |context| Input {
        dockerfile: Some(b"FROM scratch\nCOPY a /\n".to_vec()),
        ..Input::of(context)
    };
    let built = world.build_input(&options(), input(open(folder.path()))).unwrap();
    assert_eq!(world.look(&built).files(), ["/a \"1\""]);
    let error = world.build_input(&options(), input(Source::Empty)).unwrap_err();
    assert!(told(&error).contains("stat a: file does not exist"), "{error}");
}

#[test]
fn nothing_is_done_again_until_something_changes() {
    let folder = TempDir::new().unwrap();
    write(
        folder.path(),
        &[
            ("Dockerfile", "FROM scratch\nCOPY d /\n"),
            ("d/a", "one"),
            ("d/e/b", "one"),
        ],
    );
    let world = World::new();
    // until files are old enough they are read each time, then they are known by their times
    for pause in [0, 0, 2200, 0] {
        std::thread::sleep(Duration::from_millis(pause));
        build(&world, &options(), folder.path());
    }
    assert!(world.executed().is_empty());
    let kept = world.in_folder("mica/contexts");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let path = folder.path().join("d/a");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "two").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    let image = build(&world, &options(), folder.path());
    assert_eq!(image.files(), ["/a \"two\"", "/e/", "/e/b \"one\""]);
    // what is kept may be anything
    fs::write(
        world.folder.path().join("mica/contexts").join(&kept[0]),
        "garbage",
    )
    .unwrap();
    build(&world, &options(), folder.path());
    assert!(world.executed().is_empty());
}

/// What is put into a folder, by path.
#[derive(Debug, Clone)]
enum Thing {
    File(String, bool),
    Folder,
    Link(String),
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => ("[a-z]{0,9}", any::<bool>()).prop_map(|(text, run)| Thing::File(text, run)),
        1 => Just(Thing::Folder),
        1 => "(\\.\\./)?[ab](/[ab])?".prop_map(Thing::Link),
    ]
}

fn put(folder: &Path, things: &[(String, Thing)]) {
    for (path, thing) in things {
        let path = folder.join(path);
        // what cannot be there because of what came before is left out
        if fs::create_dir_all(path.parent().unwrap()).is_err() || path.symlink_metadata().is_ok() {
            continue;
        }
        match thing {
            Thing::File(text, run) => {
                fs::write(&path, text).unwrap();
                let mode = if *run { 0o755 } else { 0o640 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            Thing::Folder => fs::create_dir(&path).unwrap(),
            Thing::Link(target) => symlink(target, &path).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_folder_gives_the_layers_of_its_tar(
        things in prop::collection::vec(("[abc](/[abc]){0,3}", thing()), 0..16),
        ignore in prop::collection::vec("!?(\\*\\*/)?[abc*](/[abc*]){0,2}", 0..4),
        dockerfile in prop_oneof![
            Just("COPY . /x/"),
            Just("COPY . /"),
            Just("COPY a /y"),
            Just("COPY * /z/"),
            Just("COPY a/* b* /w/"),
            Just("COPY --exclude=b . /v/"),
        ],
    ) {
        let folder = TempDir::new().unwrap();
        put(folder.path(), &things);
        fs::write(folder.path().join("Dockerfile"), format!("FROM scratch\n{dockerfile}\n")).unwrap();
        fs::write(folder.path().join(".dockerignore"), ignore.join("\n")).unwrap();
        let tar = Command::new("tar").args(["-c", "-C"]).arg(folder.path()).arg(".").output().unwrap();
        prop_assert!(tar.status.success());
        let fixed = args(&[("SOURCE_DATE_EPOCH", "1000000000")]);
        let results = [
            (World::new(), Source::Tar(Box::new(std::io::Cursor::new(tar.stdout)))),
            (World::new(), open(folder.path())),
        ];
        let [tar, here] = results.map(|(world, source)| {
            let built = world.build_input(&fixed, Input::of(source));
            built.map(|built| {
                let image = world.look(&built);
                (image.files(), image.layers.clone())
            }).map_err(|error| told(&error))
        });
        prop_assert_eq!(tar, here);
    }
}
