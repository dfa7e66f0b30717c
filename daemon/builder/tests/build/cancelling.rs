//! Builds that are stopped half way.

use std::io::Read;
use std::time::{Duration, Instant};

use mica_builder::Error;
use mica_task::Cancel;

use crate::files::{Files, RawTar};
use crate::world::{World, options};

/// Bytes that cancel a build once some of them were read.
struct Stops {
    bytes: std::io::Cursor<Vec<u8>>,
    at: u64,
    cancel: Cancel,
}

impl Read for Stops {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.position() >= self.at {
            self.cancel.cancel();
        }
        let most = buf.len().min(8192);
        self.bytes.read(&mut buf[..most])
    }
}

/// Folders that are dropped go away in the background.
fn assert_nothing_is_left(world: &World) {
    let end = Instant::now() + Duration::from_secs(5);
    for folder in ["mica/work", "mica/ingest"] {
        while !world.in_folder(folder).is_empty() {
            assert!(Instant::now() < end, "{folder}: {:?}", world.in_folder(folder));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(world.store.images().unwrap().is_empty());
}

#[test]
fn while_the_context_comes() {
    let world = World::with_base(Files::new());
    let files = Files::new()
        .file("Dockerfile", "FROM base\n")
        .file("big", vec![7; 1 << 20]);
    let context = Stops {
        bytes: std::io::Cursor::new(files.tar()),
        at: 1 << 19,
        cancel: world.cancel.clone(),
    };
    let error = world.build_from(&options(), context).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_nothing_is_left(&world);
}

/// Stops as soon as a step is being carried out.
fn stop_in(dockerfile: &str, files: Files) {
    let mut world = World::with_base(Files::new().file("f", "f"));
    let cancel = world.cancel.clone();
    world.watch(move |event| {
        if matches!(event, mica_task::Event::Executing { .. }) {
            cancel.cancel();
        }
    });
    let error = world
        .build(&options(), &files.file("Dockerfile", dockerfile))
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert_nothing_is_left(&world);
    assert!(world.store.cache_entries().unwrap().is_empty(), "{dockerfile}");
}

#[test]
fn while_a_layer_is_packed() {
    let big = || Files::new().file("d/big", vec![7; 4 << 20]).file("other", "o");
    stop_in("FROM base\nCOPY d/big /x\n", big());
    stop_in("FROM base\nCOPY d /x\nRUN x\n", big());
    stop_in("FROM base\nCOPY --from=base /f <<E /x/\ne\nE\n", big());
}

#[test]
fn while_an_archive_is_unpacked() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let tar = RawTar::default()
        .file("a", &"a".repeat(1 << 20))
        .file("b", "b")
        .end();
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    stop_in(
        "FROM base\nADD a.gz /x\n",
        Files::new().file("a.gz", gzip.finish().unwrap()),
    );
    stop_in("FROM base\nADD a.tar /x\n", Files::new().file("a.tar", tar));
}

#[test]
fn while_a_process_runs() {
    let world = World::with_base(Files::new());
    let files = Files::new().file(
        "Dockerfile",
        "FROM base\nRUN [\"write /f x\\ncancel\"]\nRUN never\n",
    );
    let error = world.build(&options(), &files).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(world.commands().len(), 1);
    assert_nothing_is_left(&world);
    assert!(world.store.cache_entries().unwrap().is_empty());
}

#[test]
fn in_a_stage_only_a_trigger_names() {
    let world = World::with_base(Files::new());
    let dockerfile = "FROM base AS tool\nRUN cancel\nFROM base AS a\nONBUILD COPY --from=tool / /x\nFROM a\n";
    let error = world
        .build(&options(), &Files::new().file("Dockerfile", dockerfile))
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_nothing_is_left(&world);
}

#[test]
fn between_two_steps_and_before_the_first() {
    let world = World::with_base(Files::new());
    world.cancel.cancel();
    let error = world
        .build(&options(), &Files::new().file("Dockerfile", "FROM base\n"))
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    stop_in("FROM base\nENV a=b\nRUN x\n", Files::new());
    stop_in("FROM base\nWORKDIR /w\nRUN x\n", Files::new());
}

#[test]
fn failures_leave_nothing_either() {
    let world = World::with_base(Files::new());
    for line in [
        "RUN [\"write /f x\\nexit 1\"]",
        "RUN die",
        "COPY none /",
        "ADD a.tar /",
    ] {
        let archive = RawTar::default().file("../x", "").end();
        world.refuse(
            &format!("FROM base\n{line}\n"),
            &Files::new().file("a.tar", archive),
        );
        // but for what can be entered
        world.workshop.forget_failed_steps();
        assert_nothing_is_left(&world);
    }
}
