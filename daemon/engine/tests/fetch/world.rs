//! An engine in a folder of its own, and what its builds give.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::Mutex;

use mica_engine::{BuildRequest, Config, Engine, Error, Input, RegistrySettings, Source, blocking};
use mica_layer::{Kind, TarReader, is_tar};
use mica_task::{Cancel, Reporter};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What is in the only layer of an image, by path: mode, time, and the text or target.
pub(crate) type Files = BTreeMap<String, (u32, i64, String)>;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) cancel: Cancel,
    pub(crate) events: std::sync::Arc<Mutex<Vec<mica_task::Event>>>,
    runtime: Runtime,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let config = Config {
            root: folder.path().join("store"),
            helper: PathBuf::from("/nothing/runs"),
            insecure_allowed: false,
            registries: RegistrySettings::default(),
        };
        Self {
            engine: Engine::open(config).unwrap(),
            cancel: Cancel::new(),
            events: Default::default(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            folder,
        }
    }

    pub(crate) fn build_input(&self, input: Input) -> Result<Files, String> {
        let (engine, cancel, events) = (self.engine.clone(), self.cancel.clone(), self.events.clone());
        events.lock().unwrap().clear();
        let reporter = Reporter::new(move |event| events.lock().unwrap().push(event));
        let request = BuildRequest {
            filter_context: true,
            ..BuildRequest::default()
        };
        let built = self.runtime.block_on(blocking(move || {
            let built = engine.build(request, input, reporter, cancel)?;
            files(&engine, &built.image.to_string())
        }));
        built.map_err(|error| error.describe())
    }

    /// Builds a Dockerfile without any files beside it.
    pub(crate) fn build(&self, dockerfile: &str) -> Result<Files, String> {
        self.build_input(Input::of(Source::Tar(Box::new(Cursor::new(tar(&[(
            "Dockerfile",
            dockerfile,
        )]))))))
    }

    pub(crate) fn make(&self, dockerfile: &str) -> Files {
        self.build(dockerfile)
            .unwrap_or_else(|error| panic!("{error}\n{dockerfile}"))
    }

    /// Builds with an address for a context.
    pub(crate) fn build_at(&self, address: &str) -> Result<Files, String> {
        self.build_input(Input::of(Source::Address(address.to_owned())))
    }
}

/// A tar of some files.
pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = mica_layer::TarWriter::new(Vec::new());
    for (name, text) in files {
        let meta = mica_layer::Meta {
            kind: Kind::File {
                size: text.len() as u64,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: mica_layer::Mtime::default(),
            xattrs: mica_layer::Xattrs::new(),
        };
        tar.append(&mica_layer::ImagePath::clamped(name.as_bytes()), &meta)
            .unwrap();
        std::io::Write::write_all(&mut tar, text.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

fn files(engine: &Engine, image: &str) -> Result<Files, Error> {
    let saving = engine.prepare_save(&[image.to_owned()], None)?;
    let mut archive = Vec::new();
    engine.save(&saving, &mut archive)?;
    let mut files = Files::new();
    let mut outer = TarReader::new(Cursor::new(archive));
    while let Some(entry) = outer.next_entry().unwrap() {
        let mut bytes = Vec::new();
        outer.read_to_end(&mut bytes).unwrap();
        if !entry.path.starts_with(b"blobs/") || !is_tar(&bytes[..bytes.len().min(512)]) {
            continue;
        }
        let mut layer = TarReader::new(Cursor::new(bytes));
        while let Some(entry) = layer.next_entry().unwrap() {
            let mut text = String::new();
            match &entry.meta.kind {
                Kind::Symlink { target } => text = format!("-> {}", String::from_utf8_lossy(target)),
                // packed objects of git are no text
                _ => {
                    let mut bytes = Vec::new();
                    layer.read_to_end(&mut bytes).unwrap();
                    text.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
            assert_eq!((entry.meta.uid, entry.meta.gid), (0, 0));
            let name = String::from_utf8(entry.path).unwrap();
            files.insert(name, (entry.meta.mode, entry.meta.mtime.seconds, text));
        }
    }
    Ok(files)
}
