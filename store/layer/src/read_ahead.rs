//! Small files of a layer, opened and read by a thread of its own while those before them are packed.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope};

use crate::changes::{Change, Changes};
use crate::entry::Kind;
use crate::error::Error;
use crate::path::ImagePath;

/// The largest file that is read ahead, in bytes. Of larger ones the reading takes longer than the opening.
const SMALL: u64 = 64 << 10;

/// How many files may wait; with [`SMALL`] this bounds the memory.
const QUEUE: usize = 64;

/// From how many files on a thread is worth its start.
const WORTH_A_THREAD: usize = 64;

/// A file that was read.
type Item<'c> = (&'c ImagePath, Result<Vec<u8>, Error>);

/// Files in the order of their paths.
pub(crate) struct ReadAhead<'c> {
    items: Receiver<Item<'c>>,
    spare: Sender<Vec<u8>>,
}

impl<'c> ReadAhead<'c> {
    /// Starts reading, where there are enough files; the thread lives in `scope`, and ends when this is dropped.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>, changes: &'c Changes) -> Option<Self>
    where
        'c: 'scope,
    {
        let files = changes.values().filter(|change| is_small(change));
        if files.take(WORTH_A_THREAD).count() < WORTH_A_THREAD {
            return None;
        }
        let (sender, items) = sync_channel(QUEUE);
        let (spare, used) = channel();
        // without a thread everything is read when it is needed
        thread::Builder::new()
            .name("layer-reader".to_owned())
            .spawn_scoped(scope, move || read_all(changes, &sender, &used))
            .ok()?;
        Some(Self { items, spare })
    }

    /// The bytes of a file; `None` if it is not among those read ahead. Paths must be asked for in their order.
    pub(crate) fn take(&self, path: &ImagePath, change: &Change) -> Option<Result<Vec<u8>, Error>> {
        if !is_small(change) {
            return None;
        }
        loop {
            // the thread ends early only if it panicked: then the file is read as if there was none
            let (read, bytes) = self.items.recv().ok()?;
            if read == path {
                return Some(bytes);
            }
        }
    }

    /// Gives a buffer back.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        // the thread may have read everything
        let _ = self.spare.send(buffer);
    }
}

/// Files that may have several names are left out: only the first of them is read.
fn is_small(change: &Change) -> bool {
    match change {
        Change::Node { meta, link: None, .. } => {
            matches!(meta.kind, Kind::File { size } if (1..=SMALL).contains(&size))
        }
        _ => false,
    }
}

fn read_all<'c>(changes: &'c Changes, items: &SyncSender<Item<'c>>, used: &Receiver<Vec<u8>>) {
    for (path, change) in changes {
        let Change::Node { meta, source, .. } = change else {
            continue;
        };
        if !is_small(change) {
            continue;
        }
        let mut buffer = used.try_recv().unwrap_or_default();
        buffer.clear();
        let read = source.open().and_then(|content| {
            // one byte more than it should have: a file that grew is to be noticed
            content
                .reader()
                .take(meta.size() + 1)
                .read_to_end(&mut buffer)
                .map_err(Error::io(format!("packing {path}")))
        });
        if items.send((path, read.map(|_| buffer))).is_err() {
            return;
        }
    }
}
