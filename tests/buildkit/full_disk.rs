//! A disk that becomes full while a client's files come.

use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon, Options, SmallDisk};

use crate::build::{Build, WAYS};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

/// What may be gone afterwards, in bytes: pages of the database and its log, and blocks of folders.
const SLACK: u64 = 256 << 10;

#[tokio::test]
async fn files_that_do_not_fit_are_an_error_and_given_back() {
    let Some(disk) = SmallDisk::make(64, "files of a session on a full disk") else {
        return;
    };
    let daemon = Daemon::with(Options::default().root(&disk.path().join("store")));
    let context = Context::new("FROM scratch\nCOPY big /\n");
    let big = std::fs::File::create(context.path().join("big")).unwrap();
    big.set_len(100 << 20).unwrap();
    let small = Folder::with("FROM scratch\nCOPY small /\n").file("small", "text");
    let client = Client::upgraded(&daemon).await;
    for way in WAYS {
        let folder = Folder::of(context.path());
        let session = Session::of(&folder).attach(&daemon).await;
        let before = disk.free();
        let built = within(LONG, Build::new(&session.id).run(&client, way)).await;
        let status = built.answer.unwrap_err();
        println!("{:?}: {}", status.code(), status.message());
        for word in [
            "No space left on device",
            "is full",
            " free once",
            "mica system prune",
        ] {
            assert!(status.message().contains(word), "{word}: {status:?}");
        }
        assert!(built.told.ended);
        let began = Instant::now();
        while disk.free() + SLACK < before {
            assert!(
                began.elapsed() < LONG,
                "{before} bytes were free, now {}",
                disk.free()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // what fits is built by the same daemon
        let session = Session::of(&small).attach(&daemon).await;
        within(LONG, Build::new(&session.id).run(&client, way)).await.ok();
    }
}
