//! The derived files: `index.json` for other programs, `refs.json` for the day the database is lost.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mica_oci::media::OCI_INDEX;
use mica_oci::{Descriptor, Digest, ImageId, Index, MediaType};
use serde::{Deserialize, Serialize};

use crate::database::{Database, generation};
use crate::disk;
use crate::error::Error;
use crate::locks::lock;
use crate::paths::Paths;
use crate::room::Ballast;
use crate::rows;

/// Annotation with the name other programs look for (OCI image spec, "Pre-Defined Annotation Keys").
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the whole name, as containerd and docker write it.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// A change waits for its writing while there are no more images and names than this; beyond it, many changes share one
/// writing.
const USUAL: usize = 500;
/// For so long at least, beyond that, changes are gathered.
const PAUSE: Duration = Duration::from_millis(200);
/// For so many times as long as the last writing took: while names come without end, a tenth of a processor writes.
const REST: u32 = 10;

/// How long a writing that failed rests before it is tried again: the disk may have room by then.
const AGAIN: Duration = Duration::from_secs(2);

/// Writes the derived files after changes, on a thread of its own.
pub(crate) struct Catalogue {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Changes so far.
    wanted: u64,
    /// Changes that are in the files.
    written: u64,
    /// Changes that somebody waits for: these are not gathered any longer.
    urgent: u64,
    /// How many images and names there were at the last writing.
    lines: usize,
    /// Whether there was an image then that index.json cannot list yet.
    lacks: bool,
    trouble: Option<String>,
    ends: bool,
}

impl Catalogue {
    /// Starts the thread.
    pub(crate) fn open(
        paths: &Paths,
        database: &Arc<Database>,
        ballast: &Arc<Ballast>,
    ) -> Result<Self, Error> {
        let shared = Arc::<Shared>::default();
        let (ours, paths, database) = (shared.clone(), paths.clone(), database.clone());
        let ballast = ballast.clone();
        // what was removed is to be in no list, also where nothing is free
        let write = move || {
            let lent = ballast.lend();
            let written = write(&paths, &database);
            drop(lent);
            ballast.make();
            written
        };
        let worker = std::thread::Builder::new()
            .name("store-catalogue".into())
            .spawn(move || ours.run(write))
            .map_err(Error::io("start a thread"))?;
        Ok(Self {
            shared,
            worker: Some(worker),
        })
    }

    /// Has the files written again. In a store of usual size they are written when this returns.
    pub(crate) fn changed(&self) {
        let mut state = lock(&self.shared.state);
        state.wanted += 1;
        let mine = state.wanted;
        self.shared.changed.notify_all();
        while state.written < mine && state.lines <= USUAL && !state.ends {
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has the changes so far written without gathering more, and waits for that. What could not be written is told by
    /// [`trouble`](Self::trouble).
    pub(crate) fn settle(&self) {
        let mut state = lock(&self.shared.state);
        state.urgent = state.wanted;
        let mine = state.wanted;
        self.shared.changed.notify_all();
        while state.written < mine && !state.ends {
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether index.json leaves an image out, whose manifest names what is not there.
    pub(crate) fn lacks(&self) -> bool {
        lock(&self.shared.state).lacks
    }

    /// The last failure, if the files could not be written since.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.shared.state).trouble.clone()
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        lock(&self.shared.state).ends = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // a panic there was reported by the thread itself
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn run(&self, write: impl Fn() -> Result<Written, Error>) {
        let mut state = lock(&self.state);
        let mut pause = PAUSE;
        loop {
            while state.written == state.wanted {
                if state.ends {
                    return;
                }
                if state.trouble.is_none() {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let waited = self.changed.wait_timeout(state, AGAIN);
                let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if timeout.timed_out() {
                    break;
                }
            }
            if state.lines > USUAL && !state.ends {
                let (gathered, _) = self
                    .changed
                    .wait_timeout_while(state, pause, |state| !state.ends && state.urgent <= state.written)
                    .unwrap_or_else(PoisonError::into_inner);
                state = gathered;
            }
            let now = state.wanted;
            drop(state);
            let began = Instant::now();
            let result = write();
            pause = PAUSE.max(began.elapsed() * REST);
            state = lock(&self.state);
            state.written = now;
            state.trouble = match result {
                Ok(written) => {
                    state.lines = written.lines;
                    state.lacks = written.lacks;
                    None
                }
                Err(error) => Some(chain(&error)),
            };
            self.changed.notify_all();
        }
    }
}

fn chain(error: &Error) -> String {
    let mut text = format!("cannot write index.json and refs.json: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// One image as `refs.json` has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct ImageLine {
    pub(crate) id: ImageId,
    pub(crate) manifest: Descriptor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ImageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tagged_at: Option<String>,
    pub(crate) names: Vec<String>,
    /// The manifests and indexes it came with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) documents: Vec<Digest>,
    #[serde(skip)]
    complete: bool,
}

/// The version of `refs.json` that is written and read.
pub(crate) const REFS_VERSION: u32 = 1;

/// `refs.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refs {
    pub(crate) schema_version: u32,
    /// How often images and names had changed; see [`generation`]. It stands before the images.
    #[serde(default)]
    pub(crate) generation: u64,
    pub(crate) images: Vec<ImageLine>,
}

/// How much of `refs.json` its generation stands in, in bytes.
const HEAD: u64 = 128;

/// The generation that `refs.json` says it is of; `None` if it does not say or cannot be read.
pub(crate) fn listed_generation(paths: &Paths) -> Option<u64> {
    let mut head = String::new();
    let file = fs_err::File::open(paths.refs()).ok()?;
    // names, whose letters this might cut, stand behind it
    file.take(HEAD).read_to_string(&mut head).ok()?;
    let (_, rest) = head.split_once("\"generation\":")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// Whether the derived files say what the database says.
pub(crate) enum Verdict {
    /// It cannot be told: changes are on their way into the files.
    Changing,
    /// These do not.
    Of(Vec<PathBuf>),
}

impl Catalogue {
    /// Compares the files with the database.
    pub(crate) fn verdict(&self, paths: &Paths, database: &Database) -> Result<Verdict, Error> {
        let settled = || {
            let state = lock(&self.shared.state);
            (state.written == state.wanted).then_some(state.wanted)
        };
        let before = settled();
        if before.is_none() {
            return Ok(Verdict::Changing);
        }
        let (_, documents) = documents(paths, database)?;
        let mut stale = Vec::new();
        for (path, bytes) in documents {
            // one that cannot be read says nothing
            if fs_err::read(&path).ok().as_ref() != Some(&bytes) {
                stale.push(path);
            }
        }
        // what changes the database has it written after that
        match settled() == before {
            true => Ok(Verdict::Of(stale)),
            false => Ok(Verdict::Changing),
        }
    }
}

/// What was written.
struct Written {
    /// The number of images and names.
    lines: usize,
    /// Whether index.json leaves one out.
    lacks: bool,
}

/// Writes both files.
fn write(paths: &Paths, database: &Database) -> Result<Written, Error> {
    let (written, documents) = documents(paths, database)?;
    for (path, bytes) in documents {
        disk::replace(&path, &bytes, false).map_err(Error::io("write a derived file"))?;
    }
    Ok(written)
}

/// A derived file: where it lies and what is to be in it.
type Derived = (PathBuf, Vec<u8>);

/// Both files, and what they have.
fn documents(paths: &Paths, database: &Database) -> Result<(Written, [Derived; 2]), Error> {
    let (generation, images) = database.read(|db| Ok((generation(db)?, images(db)?)))?;
    let written = Written {
        lines: images.iter().map(|image| 1 + image.names.len()).sum(),
        lacks: images.iter().any(|image| !image.complete),
    };
    let index = Index {
        schema_version: 2,
        media_type: Some(MediaType::new(OCI_INDEX)),
        manifests: images
            .iter()
            .filter(|image| image.complete)
            .flat_map(descriptors)
            .collect(),
        annotations: BTreeMap::new(),
    };
    let refs = Refs {
        schema_version: REFS_VERSION,
        generation,
        images,
    };
    let files = [(paths.index(), json(&index)?), (paths.refs(), json(&refs)?)];
    Ok((written, files))
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(|error| Error::io("write a derived file")(error.into()))
}

/// One descriptor for each tag, or one without a name.
fn descriptors(image: &ImageLine) -> Vec<Descriptor> {
    let is_tag = |name: &&String| !name.contains('@');
    let named: Vec<Descriptor> = image
        .names
        .iter()
        .filter(is_tag)
        .map(|name| {
            let mut descriptor = image.manifest.clone();
            descriptor.annotations = [(REF_NAME, name), (IMAGE_NAME, name)]
                .map(|(key, name)| (key.to_owned(), name.clone()))
                .into();
            descriptor
        })
        .collect();
    if named.is_empty() {
        return vec![image.manifest.clone()];
    }
    named
}

/// All images, each with its names and whether all its manifest names can be read in place.
fn images(db: &rusqlite::Transaction<'_>) -> Result<Vec<ImageLine>, Error> {
    let mut names: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    let mut query = db.prepare_cached("SELECT image, name FROM refs ORDER BY name")?;
    let mut found = query.query([])?;
    while let Some(row) = found.next()? {
        names.entry(rows::digest(row, 0)?).or_default().push(row.get(1)?);
    }
    let mut documents: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
    let mut query = db.prepare_cached("SELECT image, digest FROM documents ORDER BY digest")?;
    let mut found = query.query([])?;
    while let Some(row) = found.next()? {
        documents
            .entry(rows::digest(row, 0)?)
            .or_default()
            .push(rows::digest(row, 1)?);
    }
    let mut query = db.prepare_cached(
        "SELECT id, manifest_type, manifest, manifest_size, parent, tagged_at, NOT EXISTS (
             SELECT 1 FROM image_layers named WHERE image = id
             AND NOT EXISTS (SELECT 1 FROM layer_blobs b WHERE b.digest = blob AND b.diff_id = named.diff_id)
             AND NOT EXISTS (SELECT 1 FROM layer_claims c WHERE c.digest = blob AND c.diff_id = named.diff_id)
             AND NOT EXISTS (SELECT 1 FROM layers l WHERE l.diff_id = blob AND blob = named.diff_id AND l.tar > 0))
         FROM images ORDER BY id",
    )?;
    let lines = query.query_map([], |row| {
        let id = rows::digest(row, 0)?;
        Ok(ImageLine {
            id: ImageId(id),
            manifest: Descriptor::new(
                MediaType::new(row.get::<_, String>(1)?),
                rows::digest(row, 2)?,
                rows::bytes(row, 3)?,
            ),
            parent: rows::maybe_digest(row, 4)?.map(ImageId),
            tagged_at: row.get(5)?,
            names: names.remove(&id).unwrap_or_default(),
            documents: documents.remove(&id).unwrap_or_default(),
            complete: row.get(6)?,
        })
    })?;
    Ok(lines.collect::<Result<_, _>>()?)
}
